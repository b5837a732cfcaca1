"""The fitted policies of an account: they follow the stored configurations, and only what this collection made."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from emulator import Emulator, Kind
from harness import allow, assert_no_writes, create_role, create_user
from in_process import run_module

NAME, REGION, ELSEWHERE, ACCOUNT = "AmazonCloudWatch-linux", "eu-central-1", "us-east-1", "123456789012"
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

    def storing_tags(self) -> set[str]:
        tags = self.aws.client("iam").list_policy_tags(PolicyArn=f"arn:aws:iam::{ACCOUNT}:policy/cwagent/{SERVER}")
        return {each["Key"] for each in tags["Tags"] if each["Key"].startswith("cwagent:storing-")}

    def groups(self) -> set[str]:
        [found] = [each for each in self.statements() if each["Sid"] == "SendingLogEvents"]
        return {each.split(":")[6] for each in found["Resource"]}


@pytest.fixture
def account(enforcing: Emulator, tmp_path: Path) -> Account:
    return Account(enforcing, tmp_path)


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
    assert not account.fit(groups=["new"])["failed"]
    assert account.groups() == {"old", "new"}
    waiting = account.fit(narrow=True)
    assert not waiting["changed"]
    assert "would store configurations, and has not stored them" in waiting["warnings"][0]
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
    create_role(account.aws, "Shop")
    iam = account.aws.client("iam")
    iam.attach_role_policy(RoleName="Shop", PolicyArn=found["server_policies"][0])
    kept = account.fit(state="absent")
    assert [each.split("'")[1] for each in kept["steps"]] == [ADMIN]
    assert kept["blockers"] == [f"policy {found['server_policies'][0]} is attached to role 'Shop'"]
    assert kept["warnings"] == [f"not deleted: {each}" for each in kept["blockers"]]
    iam.detach_role_policy(RoleName="Shop", PolicyArn=found["server_policies"][0])
    assert [each.split("'")[1] for each in account.fit(state="absent")["steps"]] == [SERVER]
    assert account.fit(state="absent")["steps"] == []


def test_earlier_tasks_of_check_mode_have_detached_the_policies(account: Account) -> None:
    found = account.fit(groups=["shop"])
    create_role(account.aws, "Shop")
    account.aws.client("iam").attach_role_policy(RoleName="Shop", PolicyArn=found["server_policies"][0])
    lost = [{"kind": "role", "name": "Shop", "policy": each} for each in found["server_policies"]]
    earlier = {"changed": True, "detached": lost}
    predicted = account.fit(state="absent", planned=[earlier], check=True)
    assert [each.split("'")[1] for each in predicted["steps"]] == [SERVER, ADMIN]
    assert predicted["warnings"] == []


@pytest.mark.parametrize(
    "action", ["CreatePolicy", "TagPolicy", "CreatePolicyVersion", "SetDefaultPolicyVersion", "DeletePolicyVersion"]
)
def test_a_lost_answer_changes_nothing_in_the_end(account: Account, action: str) -> None:
    lost = {"kind": Kind.LOSE_ANSWER, "action": action}
    for group in ("old", "new"):
        found = account.fit(lost, groups=[group])
        assert not found["failed"], found
        account.store(group)
    assert account.groups() == {"old", "new"}
    with assert_no_writes(account.aws):
        assert not account.fit(groups=["new"])["changed"]


def test_four_controllers_at_once_end_with_one_policy_for_all(account: Account) -> None:
    account.fit(groups=["shop"])
    account.store("shop")
    names = [f"AmazonCloudWatch-{number}" for number in range(4)]
    for name in names:
        (account.folder / f"{name}.json").write_text(json.dumps(config(name)))

    def fit(name: str) -> dict[str, Any]:
        return account.fit(configs=[{"name": name, "file": str(account.folder / f"{name}.json")}], wait_timeout=120)

    with ThreadPoolExecutor(4) as pool:
        results = [*pool.map(fit, names)]
    assert [each.get("msg") for each in results if each["failed"]] == []
    assert account.groups() == {"shop", *names}
    for name in names:
        account.store(name, name=name)
    with assert_no_writes(account.aws):
        assert not account.fit()["changed"]


def test_a_policy_that_others_created_is_refused(account: Account) -> None:
    statement = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    account.aws.client("iam").create_policy(PolicyName=SERVER, Path="/cwagent/", PolicyDocument=document)
    with assert_no_writes(account.aws):
        for check in (False, True):
            found = account.fit(groups=["shop"], check=check)
            assert "does not have the tag cwagent:managed=created" in found["msg"]
            assert account.fit(state="absent", check=check)["steps"] == []


def test_the_policies_cover_split_encrypted_and_other_parameters_of_all_regions(account: Account) -> None:
    account.regions = [REGION, ELSEWHERE]
    account.store("one", name="AmazonCloudWatch-a", region=ELSEWHERE)
    value = json.dumps(config("secret"))
    ssm = account.aws.client("ssm", REGION)
    ssm.put_parameter(Name="AmazonCloudWatch-b", Value=value, Type="SecureString")
    file = account.folder / "large.json"
    file.write_text(json.dumps(config(*(f"{'x' * 200}{number}" for number in range(40)))))
    found = account.fit(split_config=True, configs=[{"name": NAME, "file": str(file), "regions": [REGION]}])
    assert not found["failed"], found
    statements = {each["Sid"]: each for each in account.statements()}
    read = {each.rpartition("/")[2] for each in statements["ReadingTheConfiguration"]["Resource"]}
    assert read >= {"AmazonCloudWatch-a", "AmazonCloudWatch-b", NAME, f"{NAME}-2"}
    [encrypted] = statements["DecryptingTheConfiguration"]["Condition"]["StringLike"].values()
    assert [each.rpartition("/")[2] for each in encrypted] == ["AmazonCloudWatch-b"]
    [stored] = account.statements(ADMIN)
    assert f"arn:aws:ssm:{ELSEWHERE}:{ACCOUNT}:parameter/AmazonCloudWatch-a" in stored["Resource"]


def test_no_output_names_what_only_an_encrypted_configuration_contains(account: Account) -> None:
    ssm = account.aws.client("ssm", REGION)

    def store(*groups: str) -> None:
        role = {"credentials": {"role_arn": "arn:aws:iam::210987654321:role/hidden"}}
        text = {**config(*groups, file_path="/a"), "metrics": role}
        options = {"Type": "SecureString", "Tier": "Advanced", "Overwrite": True}
        ssm.put_parameter(Name="AmazonCloudWatch-b", Value=json.dumps(text), **options)

    store("hidden-a", "hidden-{hostname}", "{hostname}")
    account.store("shop")
    results = [account.fit(check=True), account.fit()]
    assert account.groups() == {"shop", "hidden-a", "hidden-*", "*"}
    version = account.store("web")
    store("hidden-b")
    for name, number in ((NAME, version), ("AmazonCloudWatch-b", 2)):
        ssm.label_parameter_version(Name=name, ParameterVersion=number, Labels=["cwagent-applied"])
    results += [account.fit(), account.fit(narrow=True)]
    assert account.groups() == {"web", "hidden-b"}
    assert all(not each["failed"] and each["changed"] for each in results)
    # So many that a second policy has names, which cannot decrypt anything itself.
    store(*(f"hidden-{number}-{'x' * 100}" for number in range(40)))
    results += [account.fit(check=True), account.fit()]
    assert {SERVER, f"{SERVER}-2"} <= results[-1]["diff"]["after"].keys(), results[-1]
    ssm.delete_parameter(Name="AmazonCloudWatch-b")
    results += [account.fit(check=True, ignored_parameters=[NAME]), account.fit()]
    assert "sts:AssumeRole on 1 (not shown" in str(results[-1]["warnings"])
    store("hidden-\u20ac")
    results.append(account.fit())
    assert results[-1]["failed"]
    assert "hidden" not in str(results)
    assert all(f"log-group:{each}:" in str(results[3]["diff"]) for each in ("shop", "web"))
    assert "3 not shown, because configurations are encrypted" in str(results[0]["diff"])


def test_a_parameter_without_a_fitted_policy_is_refused_unless_it_is_ignored(account: Account) -> None:
    name = "AmazonCloudWatch-x.yaml"
    account.store("shop")
    account.store(name=name, text="receivers: {}")
    with assert_no_writes(account.aws):
        # The principals have AWS's policies, so there is nothing to narrow.
        assert not account.fit(narrow=True)["failed"]
        refused = account.fit()
    assert refused["failed"]
    for words in ("OpenTelemetry configuration in YAML are not known", name, REGION):
        assert words in refused["msg"]
    assert account.fit(ignored_parameters=[f"{ELSEWHERE}:{name}"])["failed"]
    for ignored in (f"{REGION}:{name}", name):
        assert not account.fit(ignored_parameters=[ignored])["failed"]
    assert account.groups() == {"shop"}


@pytest.mark.parametrize(
    ("action", "texts"),
    [
        ("GetParameterHistory", [f"'{NAME}' in {REGION}", "ignored_parameters"]),
        ("DescribeParameters", [f"in {REGION}", "read_regions"]),
    ],
)
def test_anything_that_cannot_be_read_is_refused(account: Account, action: str, texts: list[str]) -> None:
    account.store("shop")
    with assert_no_writes(account.aws):
        refused = account.fit({"kind": Kind.DENY, "action": action})
    assert refused["failed"]
    assert [each for each in (f"lacks ssm:{action}", *texts) if each not in refused["msg"]] == []


def test_an_account_without_configurations_has_no_fitted_policy(account: Account) -> None:
    with assert_no_writes(account.aws):
        assert "neither configs nor Parameter Store" in account.fit()["msg"]


def test_older_versions_are_deleted_before_the_fifth(account: Account) -> None:
    [arn] = account.fit(groups=["shop"])["server_policies"]
    iam = account.aws.client("iam")
    document = iam.get_policy_version(PolicyArn=arn, VersionId="v1")["PolicyVersion"]["Document"]
    for _number in range(4):
        iam.create_policy_version(PolicyArn=arn, PolicyDocument=json.dumps(document))
    assert not account.fit(groups=["new"])["failed"]
    assert account.groups() == {"shop", "new"}
    assert len(iam.list_policy_versions(PolicyArn=arn)["Versions"]) == 1


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ("CreatePolicyVersion", "Cannot exceed quota for PolicySize: 6144"),
        ("CreatePolicyVersion", "Cannot exceed quota for PolicyVersionsInUse: 10000"),
        ("CreatePolicy", "Cannot exceed quota for PoliciesPerAccount: 1500"),
        ("TagPolicy", "Cannot exceed quota for TagsPerPolicy: 50"),
    ],
)
def test_a_limit_that_no_other_run_has_reached_is_reported_at_once(account: Account, action: str, message: str) -> None:
    account.fit(groups=["old"])
    account.store("old")
    if action == "CreatePolicy":
        account.aws.client("iam").delete_policy(PolicyArn=f"arn:aws:iam::{ACCOUNT}:policy/cwagent/{ADMIN}")
    before, since = account.storing_tags(), account.aws.mark()
    fault = {"kind": Kind.ERROR, "action": action, "code": "LimitExceeded", "message": message, "times": 100}
    refused = account.fit(fault, groups=["new"])
    assert f"{message} (LimitExceeded)." in refused["msg"]
    assert "Another run" not in refused["msg"]
    assert "other runs have just" not in refused["msg"]
    assert [call.action for call in account.aws.writes(since)].count(action) == 1
    assert account.storing_tags() == before
    assert not account.fit(groups=["new"])["failed"]


def test_a_statement_that_no_policy_can_have_is_refused_before_the_first_write(account: Account) -> None:
    account.aws.client("ssm", REGION).put_parameter(
        Name=NAME, Value=json.dumps(config("x" * 6100, file_path="/a.log")), Type="String", Tier="Advanced"
    )
    with assert_no_writes(account.aws):
        for check in (False, True):
            refused = account.fit(groups=["shop"], check=check)
            assert f"parameter '{NAME}' in {REGION}, version 1: $.logs.logs_collected" in refused["msg"]
            assert "use a shorter name" in refused["msg"]


def test_a_run_that_may_not_widen_does_not_prevent_narrowing(account: Account) -> None:
    account.fit(groups=["old"])
    account.store("old")
    account.fit(groups=["kept"])
    version = account.store("kept")
    refused = account.fit({"kind": Kind.DENY, "action": "SetDefaultPolicyVersion"}, groups=["new"])
    assert "lacks iam:SetDefaultPolicyVersion" in refused["msg"]
    assert "The tags of this run were removed again." in refused["msg"]
    client = account.aws.client("ssm")
    client.label_parameter_version(Name=NAME, ParameterVersion=version, Labels=["cwagent-applied"])
    account.fit(narrow=True)  # which deletes the version that does not apply
    assert account.fit(narrow=True)["warnings"] == []
    assert account.groups() == {"kept"}


def test_a_tag_that_cannot_be_removed_is_named(account: Account) -> None:
    account.fit(groups=["old"])
    account.store("old")
    actions = ("CreatePolicyVersion", "UntagPolicy")
    refused = account.fit(*({"kind": Kind.DENY, "action": each} for each in actions), groups=["new"])
    assert all(f"lacks iam:{each}" in refused["msg"] for each in actions)
    assert "for a day, no run narrows" in refused["msg"]


def test_statements_of_others_are_lost_with_a_warning(account: Account) -> None:
    [arn] = account.fit(groups=["shop"])["server_policies"]
    account.store("shop")
    other = {"Sid": "ByHand", "Effect": "Allow", "Action": "iam:*", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [*account.statements(), other]})
    account.aws.client("iam").create_policy_version(PolicyArn=arn, PolicyDocument=document, SetAsDefault=True)
    words = "leaves out something that no stored configuration needs: iam:* on *"
    for check in (True, False):
        found = account.fit(check=check)
        assert [each for each in found["warnings"] if words in each], found
        assert ("ByHand" in [each["Sid"] for each in account.statements()]) == check
    assert account.fit()["warnings"] == []


@pytest.mark.parametrize("narrow", [False, True])
def test_the_next_run_removes_a_hand_edit_that_looks_like_ours(account: Account, narrow: bool) -> None:
    [arn] = account.fit(groups=["shop"])["server_policies"]
    account.store("shop")
    secret = f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/prod/db/password"
    key = {"kms:EncryptionContext:PARAMETER_ARN": secret}
    role = f"arn:aws:iam::{ACCOUNT}:role/OrganizationAccountAccessRole"
    edits: list[dict[str, Any]] = [
        {"Action": "sts:AssumeRole", "Resource": role},
        {"Action": "ssm:GetParameter", "Resource": [secret, f"{secret}:*"]},
        {"Action": "kms:Decrypt", "Resource": "*", "Condition": {"StringLike": key}},
        {"Action": "logs:PutLogEvents", "Resource": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:audit:*"},
    ]
    before = account.statements()
    listed = [*before, *({"Effect": "Allow", **each} for each in edits)]
    document = json.dumps({"Version": "2012-10-17", "Statement": listed})
    account.aws.client("iam").create_policy_version(PolicyArn=arn, PolicyDocument=document, SetAsDefault=True)
    # The version before the edit stays, so a run that narrows does not know whether another run is at work.
    found = account.fit(narrow=narrow)
    assert account.statements() == before
    [warning] = [each for each in found["warnings"] if "leaves out" in each]
    # Nothing tells a name that was added from the name of a role in a configuration that was encrypted.
    assert all(
        each in warning
        for each in (secret, "kms:Decrypt", "sts:AssumeRole on 1 (not shown", "logs:PutLogEvents on 1 (")
    )
    assert not any(each in warning for each in (role, ":audit:"))
    assert all("prod/db" not in each for each in found["warnings"] if each != warning)
    assert account.fit(narrow=True)["warnings"] == []
    with assert_no_writes(account.aws):
        assert not account.fit()["changed"]


def test_a_name_with_another_path_is_used(account: Account) -> None:
    statement = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    account.aws.client("iam").create_policy(PolicyName=SERVER, Path="/ours/", PolicyDocument=document)
    # The emulators allow a name in several paths, and IAM does not.
    exists = {"kind": Kind.ERROR, "action": "CreatePolicy", "code": "EntityAlreadyExists"}
    refused = account.fit(exists, groups=["shop"])
    assert f"policy arn:aws:iam::{ACCOUNT}:policy/ours/{SERVER} has this name, and another path" in refused["msg"]
    assert "Delete this policy, or set cwagent_server_policy to aws." in refused["msg"]


def test_nothing_is_narrowed_while_agents_may_run_something_that_was_not_read(account: Account) -> None:
    account.regions = [REGION, ELSEWHERE]
    for region in account.regions:
        account.store("shop", region=region)
    account.store("old", name="AmazonCloudWatch-old")
    account.fit()
    account.aws.client("ssm").delete_parameter(Name="AmazonCloudWatch-old")
    account.regions = [REGION]
    found = account.fit(narrow=True)
    assert not found["changed"]
    entries = [f"{REGION}:AmazonCloudWatch-old", f"{ELSEWHERE}:{NAME}"]
    assert [[each in warning for each in entries] for warning in found["warnings"]] == [[True, False], [False, True]]
    account.fit(narrow=True, ignored_parameters=entries)
    assert account.groups() == {"shop"}


def test_the_policies_of_china_have_its_partition(moto: Emulator, tmp_path: Path) -> None:
    account = Account(moto, tmp_path)
    account.regions = ["cn-north-1"]
    found = account.fit(groups=["shop"], region="cn-north-1")
    assert found["server_policies"] == [f"arn:aws-cn:iam::{ACCOUNT}:policy/cwagent/{SERVER}"]
    assert f"arn:aws-cn:logs:cn-north-1:{ACCOUNT}:log-group:shop:*" in str(found["diff"]["after"])


def test_without_permission_nothing_is_written_and_the_message_names_it(enforcing: Emulator, tmp_path: Path) -> None:
    account = Account(enforcing, tmp_path)
    reading = allow("iam:Get*", "iam:List*", "ssm:Describe*", "ssm:Get*", "ec2:DescribeRegions")
    credentials = create_user(enforcing, "ops", reading)
    since = enforcing.mark()
    refused = account.fit(groups=["shop"], credentials=credentials)
    assert "lacks iam:CreatePolicy" in refused["msg"]
    assert [call.action for call in enforcing.writes(since)] == ["CreatePolicy"]


AWS_SERVER, AWS_ADMIN = "CloudWatchAgentServerPolicy", "CloudWatchAgentAdminPolicy"


def policies_of_role(aws: Emulator, name: str) -> list[str]:
    found = aws.client("iam").list_attached_role_policies(RoleName=name)["AttachedPolicies"]
    return sorted(each["PolicyName"] for each in found)


def manage(aws: Emulator, name: str, access: str = "server", **options: Any) -> dict[str, Any]:
    given = {"name": name, "access": access, "wait_timeout": 20, **options}
    return run_module(aws, "cwagent_iam_role", **given)


def test_a_role_without_a_choice_follows_the_account(account: Account) -> None:
    aws = account.aws
    bound = aws.client("iam").create_policy(PolicyName="Bound", PolicyDocument=json.dumps(allow("*")))["Policy"]["Arn"]
    account.fit(groups=["shop"])
    # The policies exist, and nobody has them.
    manage(aws, "A", permissions_boundary=bound)
    assert policies_of_role(aws, "A") == [AWS_SERVER]
    manage(aws, "A", server_policy="fitted")
    assert policies_of_role(aws, "A") == [SERVER]
    # From now on, the account decides, for each access.
    assert manage(aws, "A")["changed"] is False
    predicted = manage(aws, "B", "admin", permissions_boundary=bound, check=True)
    done = manage(aws, "B", "admin", permissions_boundary=bound)
    assert predicted["steps"] == done["steps"]
    assert policies_of_role(aws, "B") == [ADMIN, SERVER]
    # Fitted policies need a boundary, which is known before the first write.
    with assert_no_writes(aws):
        refused = manage(aws, "C")
    assert "role 'C' would have fitted policies and no permissions boundary" in refused["msg"]
    # Only a choice goes back.
    manage(aws, "A", server_policy="aws")
    manage(aws, "B", "admin", server_policy="aws")
    assert (policies_of_role(aws, "A"), policies_of_role(aws, "B")) == ([AWS_SERVER], [AWS_ADMIN])
    assert manage(aws, "C")["changed"] is True
    assert policies_of_role(aws, "C") == [AWS_SERVER]
