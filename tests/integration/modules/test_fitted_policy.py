"""The fitted policies of an account: they follow the stored configurations, and only what this collection made."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from emulator import Emulator
from harness import assert_no_writes, create_role
from in_process import run_module

NAME, REGION, ELSEWHERE = "AmazonCloudWatch-linux", "eu-central-1", "us-east-1"
SERVER, ADMIN = "CloudWatchAgentFittedServerPolicy", "CloudWatchAgentFittedAdminPolicy"


def config(*groups: str, **more: Any) -> dict[str, Any]:
    """A configuration that sends a file to each log group."""
    entries = [{"file_path": f"/var/log/{each}.log", "log_group_name": each, **more} for each in groups]
    return {"logs": {"logs_collected": {"files": {"collect_list": entries}}}}


class Account:
    """An account with stored configurations."""

    def __init__(self, aws: Emulator, folder: Path) -> None:
        self.aws, self.folder = aws, folder
        self.regions = [REGION]

    def store(self, *groups: str, name: str = NAME, region: str = REGION, text: str = "") -> int:
        value = text or json.dumps(config(*groups), separators=(",", ":"))
        ssm = self.aws.client("ssm", region)
        return int(ssm.put_parameter(Name=name, Value=value, Type="String", Overwrite=True)["Version"])

    def fit(self, *faults: Any, groups: Sequence[str] = (), **options: Any) -> dict[str, Any]:
        """The result of the module, with a configuration for these log groups."""
        given = {"read_regions": self.regions, "wait_timeout": 20, **options}
        if groups:
            file = self.folder / "config.json"
            file.write_text(json.dumps(config(*groups)))
            given["configs"] = [{"name": NAME, "file": str(file)}]
        return run_module(self.aws, "cwagent_fitted_policy", *faults, **given)

    def statements(self, name: str = SERVER) -> list[dict[str, Any]]:
        iam = self.aws.client("iam")
        arns = [each["Arn"] for each in iam.list_policies(Scope="Local")["Policies"] if each["PolicyName"] == name]
        [arn] = arns
        [version] = [each for each in iam.list_policy_versions(PolicyArn=arn)["Versions"] if each["IsDefaultVersion"]]
        found = iam.get_policy_version(PolicyArn=arn, VersionId=version["VersionId"])["PolicyVersion"]["Document"]
        return found["Statement"]

    def groups(self) -> set[str]:
        [found] = [each for each in self.statements() if each["Sid"] == "SendingLogEvents"]
        return {each.split(":")[6] for each in found["Resource"]}


@pytest.fixture
def account(aws: Emulator, tmp_path: Path) -> Account:
    return Account(aws, tmp_path)


def test_a_first_run_creates_the_policies_and_the_second_changes_nothing(account: Account) -> None:
    found = account.fit(groups=["shop"], tags={"team": "web"})
    assert found["changed"], found
    assert account.groups() == {"shop"}
    assert [each["Action"] for each in account.statements(ADMIN)] == [["ssm:PutParameter"]]
    with assert_no_writes(account.aws):
        again = account.fit(groups=["shop"], tags={"team": "web"})
    assert not again["changed"], again
    assert again["server_policies"] == found["server_policies"]


def test_storing_widens_and_apply_narrows(account: Account) -> None:
    account.fit(groups=["old"])
    account.store("old")
    widened = account.fit(groups=["new"])
    assert not widened["failed"], widened["msg"]
    assert account.groups() == {"old", "new"}, (widened, account.statements())
    version = account.store("new")
    client = account.aws.client("ssm")
    client.label_parameter_version(Name=NAME, ParameterVersion=version, Labels=["cwagent-applied"])
    found = account.fit(narrow=True)
    assert found["warnings"] == [], found
    assert account.groups() == {"new"}
    with assert_no_writes(account.aws):
        assert not account.fit(narrow=True)["changed"]


def test_check_mode_predicts_the_steps_and_shows_the_statements(account: Account) -> None:
    account.fit(groups=["old"])
    account.store("old")
    with assert_no_writes(account.aws):
        predicted = account.fit(groups=["new"], check=True)
    real = account.fit(groups=["new"])
    assert predicted["steps"] == real["steps"]
    assert predicted["server_policies"] == real["server_policies"]
    before, after = (json.dumps(real["diff"][side]) for side in ("before", "after"))
    assert "log-group:new:" in after
    assert "log-group:new:" not in before


def test_absent_deletes_the_policies_that_nothing_has(account: Account) -> None:
    found = account.fit(groups=["shop"])
    role = create_role(account.aws, "Shop")
    iam = account.aws.client("iam")
    iam.attach_role_policy(RoleName="Shop", PolicyArn=found["server_policies"][0])
    kept = account.fit(state="absent")
    assert [each.split("'")[1] for each in kept["steps"]] == [ADMIN], role
    assert kept["blockers"] == [f"policy {found['server_policies'][0]} is attached to role 'Shop'"]
    assert kept["warnings"] == [f"not deleted: {each}" for each in kept["blockers"]]
    iam.detach_role_policy(RoleName="Shop", PolicyArn=found["server_policies"][0])
    assert [each.split("'")[1] for each in account.fit(state="absent")["steps"]] == [SERVER]
    assert account.fit(state="absent")["steps"] == []


@pytest.mark.parametrize("check", [False, True], ids=["run", "check mode"])
def test_a_policy_that_others_created_is_refused(account: Account, check: bool) -> None:
    statement = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    account.aws.client("iam").create_policy(PolicyName=SERVER, Path="/cwagent/", PolicyDocument=document)
    with assert_no_writes(account.aws):
        found = account.fit(groups=["shop"], check=check)
        assert account.fit(state="absent", check=check)["steps"] == []
    assert found["failed"]
    assert "does not have the tag cwagent:managed=created" in found["msg"]
