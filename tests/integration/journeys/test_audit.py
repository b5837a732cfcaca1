"""audit.yml: which accounts it reads, with which credentials, which reports it writes, and when it fails."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from fleet import Fleet
from harness import (
    ADMIN_POLICY,
    ADMIN_ROLE,
    CHECKOUT,
    PARAMETER,
    POLICY_ARN,
    SERVER_ROLE,
    SERVER_USER,
    SSM_POLICY,
    WINDOW_POLICY,
    Controller,
    Play,
    allow,
    associate,
    create_role,
    leave_restore_tag,
)
from in_process import run_module
from policies import example
from states import States, after_site

from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.policy import Opening, open_policy

AUDIT, USER = example("audit"), f"{SERVER_USER}-db1"
KEYS = "aws-credentials"
OWN, SHOP, BLOG = "123456789012", "210987654321", "111122223333"
"""The controller's account, and others that the emulator serves too."""
EXTERNAL_ID = "of-the-blog"
REPORTS = ["audit.html", "audit.json", "audit.junit.xml", "audit.sarif"]
SESSION, SESSION_TOKEN = "ASIA", "FwoGZX"
"""The beginning of the ID of a temporary access key, and of the emulator's session tokens."""
SECRET_KEY = re.compile(r'(?<!"checksum": ")\b[0-9a-f]{40}\b')
"""The emulator's secret access keys, which look like the checksums that Ansible prints."""


def root(account: str) -> dict[str, str]:
    """Credentials of an account's root user, which the emulator accepts."""
    return {"AccessKeyId": account, "SecretAccessKey": "test"}


def plant_in(controller: Controller, account: str, name: str) -> None:
    """Create a writer: a role that permanently has the permission to write, and that no instance has."""
    iam = controller.aws.client("iam", credentials=root(account))
    document = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=policy(document))
    iam.put_role_policy(RoleName=name, PolicyName="write", PolicyDocument=json.dumps(allow("ssm:PutParameter")))


def policy(statement: Mapping[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def auditor_role(controller: Controller, account: str, document: Mapping[str, Any] = AUDIT) -> str:
    """The ARN of a role of an account that the controller's account may assume with the external ID."""
    iam = controller.aws.client("iam", credentials=root(account))
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{OWN}:root"},
        "Action": "sts:AssumeRole",
        "Condition": {"StringEquals": {"sts:ExternalId": EXTERNAL_ID}},
    }
    arn: str = iam.create_role(RoleName="Auditor", AssumeRolePolicyDocument=policy(statement))["Role"]["Arn"]
    iam.put_role_policy(RoleName="Auditor", PolicyName="audit", PolicyDocument=json.dumps(document))
    return arn


def auditor_profile(controller: Controller, account: str, name: str) -> dict[str, str]:
    """The environment in which a profile belongs to an account's auditor, and another profile to the controller."""
    iam = controller.aws.client("iam", credentials=root(account))
    iam.create_user(UserName="auditor")
    iam.put_user_policy(UserName="auditor", PolicyName="audit", PolicyDocument=json.dumps(AUDIT))
    key = iam.create_access_key(UserName="auditor")["AccessKey"]
    lines = [
        *("[controller]", "aws_access_key_id = test", "aws_secret_access_key = test"),
        f"[{name}]",
        f"aws_access_key_id = {key['AccessKeyId']}",
        f"aws_secret_access_key = {key['SecretAccessKey']}",
    ]
    return {"AWS_SHARED_CREDENTIALS_FILE": str(controller.file(KEYS, "\n".join(lines)))}


def files(controller: Controller) -> dict[str, Any]:
    return {"cwagent_report_files": [str(controller.home / name) for name in REPORTS]}


def written(controller: Controller) -> list[Path]:
    return sorted(controller.home.glob("audit.*"))


def document(controller: Controller) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((controller.home / "audit.json").read_text())
    return found


# The controller's own account


def test_what_the_audit_finds_is_in_private_reports_and_fails_the_run(states: States) -> None:
    """After site.yml, it finds nothing. Access keys are in files, which it does not read."""
    fleet = states.begin(after_site)
    controller, aws = fleet.controller, fleet.aws
    play = fleet.play("audit", **files(controller)).assert_succeeded()
    assert play.writes == []
    assert [path.name for path in written(controller)] == REPORTS
    assert {stat.S_IMODE(path.stat().st_mode) for path in written(controller)} == {0o600}
    [account] = document(controller)["accounts"]
    assert (account["account"]["label"], account["account"]["id"]) == ("controller", OWN)
    assert {(each["id"], each["profile"]) for each in account["instances"]} == {
        (instance, SERVER_ROLE) for instance in fleet.instances.values()
    }
    assert {each["name"]: each["writes"] for each in account["principals"]} == dict.fromkeys(
        (ADMIN_ROLE, SERVER_ROLE, USER), "no"
    )
    assert {key["saved"] for each in account["principals"] for key in each["access_keys"]} == {None}
    assert document(controller)["findings"] == []
    assert f"Account {OWN}: no server can write the configuration now." in play.problems
    play.assert_narrow()

    create_role(aws, "ForGood", ADMIN_POLICY)
    instance = fleet.instances["web2"]
    associate(aws, instance, "ForGood")
    play = fleet.play("audit", **files(controller)).assert_failed()
    assert play.writes == []
    [finding] = document(controller)["findings"]
    counts = "Findings of severity error or above: 1. Accounts that were not read: 0."
    assert play.message == f"{counts} error, admin-without-window: ForGood ({OWN}): {finding['why']}"
    assert finding["rule"] == "admin-without-window"
    [case] = ET.fromstring((controller.home / "audit.junit.xml").read_text()).iter("testcase")  # noqa: S314  this run wrote it
    assert case.find("failure") is not None
    [run] = json.loads((controller.home / "audit.sarif").read_text())["runs"]
    assert [result["ruleId"] for result in run["results"]] == ["admin-without-window"]
    assert "ForGood" in (controller.home / "audit.html").read_text()
    assert any(line.startswith("- error, admin-without-window: ForGood") for line in play.problems)
    play.assert_narrow()

    for path in written(controller):
        path.unlink()
    checked = fleet.play("audit", "--check", **files(controller)).assert_failed()
    assert (checked.message, checked.problems[1:]) == (play.message, play.problems[1:])
    assert written(controller) == []


def test_the_history_lists_versions_and_fails_if_somebody_else_wrote_the_current_one(states: States) -> None:
    """It needs no file of a configuration, and writes every report but the page."""
    fleet = states.begin(after_site)
    ssm = fleet.aws.client("ssm")
    for seconds in (60, 30):
        value = json.dumps({"agent": {"metrics_collection_interval": seconds}})
        ssm.put_parameter(Name=PARAMETER, Value=value, Type="String", Overwrite=True)
    stored = {"cwagent_config_file": "gone.json", **files(fleet.controller)}
    play = fleet.play("history", **stored).assert_failed()
    assert play.writes == []
    assert [path.name for path in written(fleet.controller)] == [name for name in REPORTS if name != "audit.html"]
    [account] = document(fleet.controller)["accounts"]
    [history] = account["history"]
    assert history["versions"][0]["changes"] == ["~ $.agent.metrics_collection_interval: 60 -> 30"]
    assert "  ~ $.agent.metrics_collection_interval: 60 -> 30" in play.problems
    assert f"error, version-by-others: {PARAMETER}" in play.message
    play.assert_narrow()


def test_playbooks_repair_what_the_audit_finds(states: States) -> None:
    """The audit has no inventory, finds the files in the folder of the command, and fails from a lower severity."""
    fleet = states.begin(after_site)
    controller, aws, instance = fleet.controller, fleet.aws, fleet.instances["web2"]
    leave_restore_tag(aws, instance, SERVER_ROLE)
    associate(aws, instance, ADMIN_ROLE)
    window = open_policy(Opening(datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1), instance))
    fleet.iam.put_role_policy(RoleName=ADMIN_ROLE, PolicyName=WINDOW_POLICY, PolicyDocument=json.dumps(window))
    for name in (SERVER_ROLE, ADMIN_ROLE):
        fleet.iam.attach_role_policy(RoleName=name, PolicyArn=f"{POLICY_ARN}service-role/AmazonEC2RoleforSSM")
    relative: dict[str, Any] = {"cwagent_report_files": ",".join(REPORTS), "cwagent_audit_fail_at": "warning"}
    collection = {"ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg")}
    play = controller.play(Path("localhost,"), "audit", cwd=controller.home, env=collection, **relative)
    assert play.assert_failed().message.startswith("Findings of severity warning or above: 4. ")
    by_restore = {
        ("admin-instance-without-window", "warning", instance),
        ("restore-tag", "warning", instance),
        ("window-expired", "notice", ADMIN_ROLE),
    }
    by_site = {("deprecated-ssm-policy", "warning", name) for name in (SERVER_ROLE, ADMIN_ROLE)}
    *found, without_host = document(controller)["findings"]
    assert (without_host["rule"], without_host["object"]) == ("user-without-host", USER)
    assert {(each["rule"], each["severity"], each["object"]) for each in found} == by_restore | by_site
    assert {each["fix"] for each in found} == {
        "Run the playbook cwagent.iam.restore.",
        "Set cwagent_ssm_policy to AmazonSSMManagedInstanceCore, and run the playbook cwagent.iam.site.",
    }
    fleet.play("restore").assert_succeeded()
    assert {each["rule"] for each in read_findings(fleet)} == {"deprecated-ssm-policy"}
    fleet.play("site", cwagent_ssm_policy=SSM_POLICY).assert_succeeded()
    assert read_findings(fleet) == []


def read_findings(fleet: Fleet) -> list[dict[str, Any]]:
    found = run_module(fleet.aws, "cwagent_access_info", instances={fleet.aws.region: [*fleet.instances.values()]})
    return list(found["findings"])


# Several accounts


def accounts(controller: Controller, hosts: Mapping[str, Any]) -> Path:
    """An inventory with a host for each account, to which nobody can connect, and another host."""
    nowhere = {"ansible_connection": "ssh", "ansible_host": "192.0.2.1"}
    group = {"hosts": {name: {**nowhere, **more} for name, more in hosts.items()}}
    return controller.file("accounts.yml", {"all": {"hosts": {"other": {}}, "children": {"cwagent_accounts": group}}})


@dataclass
class Accounts:
    """Two accounts that are read, with a profile and with a role, and four that are not. Each of two has a writer."""

    controller: Controller
    inventory: Path
    env: dict[str, str]

    def audit(self, *arguments: str, **variables: Any) -> Play:
        """Run the audit with output at any verbosity, and assert that no secret is there or in a file."""
        env = {**self.env, "ANSIBLE_REMOTE_TEMP": str(self.controller.home / "remote")}
        env |= {"ANSIBLE_INJECT_INVOCATION": "true"}
        given = {**files(self.controller), **variables}
        play = self.controller.play(self.inventory, "audit", "-vvvv", *arguments, env=env, **given)
        assert play.writes == []
        kept = [path for path in self.controller.home.rglob("*") if path.is_file() and path.name != KEYS]
        texts = [play.output, *(path.read_text(errors="replace") for path in kept)]
        sessions = {call.access_key for call in play.calls if call.access_key.startswith(SESSION)}
        assert [text for text in texts for secret in (*sessions, SESSION_TOKEN) if secret in text] == []
        assert [found for text in texts for found in SECRET_KEY.findall(text)] == []
        return play


@pytest.fixture
def several(controller: Controller) -> Accounts:
    env = auditor_profile(controller, SHOP, "shop")
    blog = auditor_role(controller, BLOG)
    denied = auditor_role(controller, SHOP, allow("s3:GetObject"))
    for account, name in ((SHOP, "ShopWriter"), (BLOG, "BlogWriter")):
        plant_in(controller, account, name)

    def role(arn: str, external_id: str = EXTERNAL_ID) -> dict[str, str]:
        return {"cwagent_account_assume_role_arn": arn, "cwagent_account_external_id": external_id}

    hosts = {
        "untrusted": role(blog, "of-another"),
        "missing": role(f"arn:aws:iam::{BLOG}:role/Missing"),
        "denied": role(denied),
        "no-profile": {"cwagent_account_aws_profile": "missing"},
        "shop": {"cwagent_account_aws_profile": "shop"},
        "blog": role(blog),
    }
    return Accounts(controller, accounts(controller, hosts), env)


def test_an_account_that_is_not_read_is_named_and_stops_no_other(several: Accounts) -> None:
    """The environment has the key of the controller's account."""
    controller = several.controller
    play = several.audit().assert_failed()
    lines = play.problems
    assert lines[0].startswith("2 accounts read at ")
    assert any(line.startswith(f"Account blog ({BLOG}): role BlogWriter can write") for line in lines)
    errors = {each["account"]["label"]: each.get("error", "") for each in document(controller)["accounts"]}
    assert [*errors] == ["untrusted", "missing", "denied", "no-profile", "shop", "blog"]
    for name in ("untrusted", "missing"):
        assert errors[name].startswith("The role of the account could not be assumed.")
        assert "is not authorized to perform: sts:AssumeRole" in errors[name]
    assert "lacks iam:GetAccountAuthorizationDetails" in errors["denied"]
    assert "The config profile (missing) could not be found" in errors["no-profile"]
    assert (errors["shop"], errors["blog"]) == ("", "")
    counts = "Findings of severity error or above: 0. Accounts that were not read: 1."
    failed = {each.host: " ".join(each.result["msg"].split()) for each in play.failures}
    assert [*failed] == ["untrusted", "missing", "denied", "no-profile"]
    for name, message in failed.items():
        assert message.startswith(f"{counts} Account {name} was not read: {' '.join(errors[name].split())}")
    for name in ("untrusted", "missing", "denied", "no-profile"):
        assert any(line.startswith(f"! account {name} was not read: ") for line in lines)
    [suite] = ET.fromstring((controller.home / "audit.junit.xml").read_text()).iter("testsuite")  # noqa: S314  this run wrote it
    assert (suite.get("errors"), suite.get("failures")) == ("4", "2")

    play = several.audit("--limit", "no-profile", cwagent_audit_fail_at="none").assert_failed()
    assert play.message.startswith("Accounts that were not read: 1. Account no-profile was not read: ")
    assert play.problems[0] == "No account was read."
    assert not {"Findings", "No findings."} & {*play.message.split(), *play.problems}


def test_accounts_are_read_with_a_profile_and_with_a_role(several: Accounts) -> None:
    """The controller has a profile of its account. The limit leaves out the accounts that cannot be read."""
    own = {"AWS_PROFILE": "controller", "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    several.env |= own
    regions: dict[str, Any] = {"cwagent_audit_regions": ["eu-central-1", "us-east-1"]}
    play = several.audit("--limit", "shop,blog", "--diff", **regions).assert_succeeded()
    found = document(several.controller)
    read = [(each["account"]["label"], each["account"]["id"]) for each in found["accounts"]]
    assert read == [("shop", SHOP), ("blog", BLOG)]
    assert all(each["account"]["regions"] == regions["cwagent_audit_regions"] for each in found["accounts"])
    assert {(each["object"], each["account"]) for each in found["findings"]} == {
        ("ShopWriter", SHOP),
        ("BlogWriter", BLOG),
    }
    for path in written(several.controller):
        path.unlink()
    checked = several.audit("--limit", "blog", "--check", "--diff", **regions).assert_succeeded()
    assert any(line.startswith(f"Account blog ({BLOG}): role BlogWriter can") for line in checked.problems)
    assert (written(several.controller), "ShopWriter" in checked.output) == ([], False)
    assert len([call for call in checked.calls if call.action == "AssumeRole"]) == 1
    assert "untrusted" not in play.output + checked.output

    nobody = several.audit("--limit", "localhost,other").assert_failed()
    assert "this run left out the hosts of the group cwagent_accounts" in nobody.message
