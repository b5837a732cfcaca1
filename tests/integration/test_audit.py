"""audit.yml: which accounts it reads, with which credentials, which reports it writes, and when it fails."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from harness import ADMIN_POLICY, CHECKOUT, Controller, allow, create_role

AUDIT = json.loads((CHECKOUT / "examples" / "policies" / "audit.json").read_text())
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
    return {"AWS_SHARED_CREDENTIALS_FILE": str(controller.file("aws-credentials", "\n".join(lines)))}


def files(controller: Controller) -> dict[str, Any]:
    return {"cwagent_report_files": [str(controller.home / name) for name in REPORTS]}


def written(controller: Controller) -> list[Path]:
    return sorted(controller.home.glob("audit.*"))


def document(controller: Controller) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((controller.home / "audit.json").read_text())
    return found


def without_hosts(controller: Controller) -> Path:
    return controller.file("none.yml", {"all": {"hosts": {}}})


# The controller's own account


def test_an_account_after_site_passes_and_the_reports_are_private(controller: Controller) -> None:
    web, admin = map(controller.instance_host, controller.aws.instances(2))
    groups: dict[str, Any] = {
        "ec2_servers": {"web1": web},
        "ec2_admin": {"admin1": admin},
        "onprem_servers": {"db1": {}},
    }
    inventory = controller.inventory(groups)
    folder: dict[str, Any] = {"cwagent_key_store_directory": str(controller.credentials)}
    controller.play(inventory, "site", **folder).assert_succeeded()

    play = controller.play(inventory, "audit", **folder, **files(controller)).assert_succeeded()
    assert play.writes == []
    assert [path.name for path in written(controller)] == REPORTS
    assert {stat.S_IMODE(path.stat().st_mode) for path in written(controller)} == {0o600}
    [account] = document(controller)["accounts"]
    assert (account["account"]["label"], account["account"]["id"]) == ("controller", OWN)
    assert {each["id"] for each in account["instances"]} == {web["instance_id"], admin["instance_id"]}
    assert document(controller)["counts"]["high"] == 0
    assert f"Account {OWN}: no server can write the configuration now." in play.problems
    play.assert_narrow()


def test_a_run_without_an_inventory_reads_the_account_of_the_controller(controller: Controller) -> None:
    """It finds the files in the folder of the command, and the accounts of the credentials."""
    collection = {"ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg")}
    relative: dict[str, Any] = {"cwagent_report_files": ",".join(REPORTS)}
    play = controller.play(
        Path("localhost,"), "audit", cwd=controller.home, env=collection, **relative
    ).assert_succeeded()
    assert play.problems[1:] == [f"Account {OWN}: no server can write the configuration now.", "No findings."]
    assert [each["account"]["id"] for each in document(controller)["accounts"]] == [OWN]


def test_planted_things_are_in_each_report_and_fail_the_run(controller: Controller) -> None:
    create_role(controller.aws, "ForGood", ADMIN_POLICY)
    [instance] = controller.aws.instances(1)
    controller.aws.client("ec2").associate_iam_instance_profile(
        InstanceId=instance, IamInstanceProfile={"Name": "ForGood"}
    )
    inventory = without_hosts(controller)
    play = controller.play(inventory, "audit", **files(controller)).assert_failed()
    assert play.writes == []
    [finding] = document(controller)["findings"]
    counts = "Findings of severity high or above: 1. Accounts that were not read: 0."
    assert play.message == f"{counts} high, admin-without-window: ForGood ({OWN}): {finding['why']}"
    assert finding["rule"] == "admin-without-window"
    [case] = ET.fromstring((controller.home / "audit.junit.xml").read_text()).iter("testcase")  # noqa: S314
    assert case.find("failure") is not None
    [run] = json.loads((controller.home / "audit.sarif").read_text())["runs"]
    assert [result["ruleId"] for result in run["results"]] == ["admin-without-window"]
    assert "ForGood" in (controller.home / "audit.html").read_text()
    assert any(line.startswith("- high, admin-without-window: ForGood") for line in play.problems)
    play.assert_narrow()

    for path in written(controller):
        path.unlink()
    checked = controller.play(inventory, "audit", "--check", **files(controller)).assert_failed()
    assert checked.message == play.message
    assert checked.problems[1:] == play.problems[1:]
    assert written(controller) == []


def test_the_severity_from_which_a_run_fails_is_a_variable(controller: Controller, subtests: pytest.Subtests) -> None:
    plant_in(controller, OWN, "Writer")
    for severity, fails in {"none": False, "info": True, "low": True, "medium": True, "high": False}.items():
        with subtests.test(severity=severity):
            play = controller.play(without_hosts(controller), "audit", cwagent_audit_fail_at=severity)
            assert (play.code != 0) == fails, play.output
            assert any(line.startswith("- medium, unmanaged-writer: Writer") for line in play.problems)


# Several accounts


def accounts(controller: Controller, hosts: Mapping[str, Any]) -> Path:
    """An inventory with a host for each account, to which nobody can connect, and another host."""
    nowhere = {"ansible_connection": "ssh", "ansible_host": "192.0.2.1"}
    group = {"hosts": {name: {**nowhere, **more} for name, more in hosts.items()}}
    return controller.file("accounts.yml", {"all": {"hosts": {"other": {}}, "children": {"cwagent_accounts": group}}})


@pytest.mark.parametrize("own", ["key", "profile"])
def test_accounts_are_read_with_a_profile_and_with_a_role(controller: Controller, own: str) -> None:
    """Even if the environment has credentials of another account, as the controller's has here."""
    env = auditor_profile(controller, SHOP, "shop")
    if own == "profile":
        env |= {"AWS_PROFILE": "controller", "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    arn = auditor_role(controller, BLOG)
    for account, name in ((SHOP, "ShopWriter"), (BLOG, "BlogWriter")):
        plant_in(controller, account, name)
    inventory = accounts(
        controller,
        {
            "shop": {"cwagent_account_aws_profile": "shop"},
            "blog": {"cwagent_account_assume_role_arn": arn, "cwagent_account_external_id": EXTERNAL_ID},
        },
    )
    regions: dict[str, Any] = {"cwagent_audit_regions": ["eu-central-1", "us-east-1"]}
    play = controller.play(inventory, "audit", env=env, **regions, **files(controller)).assert_succeeded()
    assert play.writes == []
    found = document(controller)
    assert [(each["account"]["label"], each["account"]["id"]) for each in found["accounts"]] == [
        ("shop", SHOP),
        ("blog", BLOG),
    ]
    assert all(each["account"]["regions"] == regions["cwagent_audit_regions"] for each in found["accounts"])
    assert {(each["object"], each["account"]) for each in found["findings"]} == {
        ("ShopWriter", SHOP),
        ("BlogWriter", BLOG),
    }
    assert play.problems[0].startswith("2 accounts read at ")
    play.assert_narrow()


def test_an_account_that_is_not_read_is_named_and_stops_no_other(controller: Controller) -> None:
    blog = auditor_role(controller, BLOG)
    denied = auditor_role(controller, SHOP, allow("s3:GetObject"))
    plant_in(controller, BLOG, "BlogWriter")
    inventory = accounts(
        controller,
        {
            "untrusted": {"cwagent_account_assume_role_arn": blog, "cwagent_account_external_id": "of-another"},
            "missing": {"cwagent_account_assume_role_arn": f"arn:aws:iam::{BLOG}:role/Missing"},
            "denied": {"cwagent_account_assume_role_arn": denied, "cwagent_account_external_id": EXTERNAL_ID},
            "no-profile": {"cwagent_account_aws_profile": "missing"},
            "blog": {"cwagent_account_assume_role_arn": blog, "cwagent_account_external_id": EXTERNAL_ID},
        },
    )
    play = controller.play(inventory, "audit", **files(controller)).assert_failed()
    lines = play.problems
    assert lines[0].startswith("1 account read at ")
    assert f"Account {BLOG}: role BlogWriter can write the configuration" in lines
    errors = {each["account"]["label"]: each.get("error", "") for each in document(controller)["accounts"]}
    assert [*errors] == ["untrusted", "missing", "denied", "no-profile", "blog"]
    assert errors["untrusted"].startswith("The role of the account could not be assumed.")
    assert errors["missing"].startswith("The role of the account could not be assumed.")
    assert all("is not authorized to perform: sts:AssumeRole" in errors[name] for name in ("untrusted", "missing"))
    assert "lacks iam:GetAccountAuthorizationDetails" in errors["denied"]
    assert "The config profile (missing) could not be found" in errors["no-profile"]
    assert errors["blog"] == ""
    counts = "Findings of severity high or above: 0. Accounts that were not read: 4."
    assert play.message.startswith(f"{counts} Account untrusted was not read: {' '.join(errors['untrusted'].split())}")
    assert play.message.endswith(" There are 3 more problems.")
    for name in ("untrusted", "missing", "denied", "no-profile"):
        assert any(line.startswith(f"! account {name} was not read: ") for line in lines)
    play.assert_narrow()
    [suite] = ET.fromstring((controller.home / "audit.junit.xml").read_text()).iter("testsuite")  # noqa: S314
    assert (suite.get("errors"), suite.get("failures")) == ("4", "1")


def test_findings_are_not_counted_where_none_fails_the_run_and_no_account_was_read(controller: Controller) -> None:
    inventory = accounts(controller, {"no-profile": {"cwagent_account_aws_profile": "missing"}})
    play = controller.play(inventory, "audit", cwagent_audit_fail_at="none").assert_failed()
    assert play.message.startswith("Accounts that were not read: 1. Account no-profile was not read: ")
    assert "The config profile (missing) could not be found" in play.message
    assert "Findings" not in play.message
    assert play.problems[0] == "No account was read."
    assert "No findings." not in play.problems


@pytest.mark.parametrize("mode", [(), ("--check", "--diff")], ids=["run", "check"])
def test_credentials_of_an_assumed_role_never_appear_in_output_or_files(
    controller: Controller, mode: tuple[str, ...]
) -> None:
    hosts = {
        name: {
            "cwagent_account_assume_role_arn": auditor_role(controller, account),
            "cwagent_account_external_id": EXTERNAL_ID,
        }
        for name, account in (("shop", SHOP), ("blog", BLOG))
    }
    env = {"ANSIBLE_REMOTE_TEMP": str(controller.home / "remote"), "ANSIBLE_INJECT_INVOCATION": "true"}
    play = controller.play(accounts(controller, hosts), "audit", "-vvvv", *mode, env=env, **files(controller))
    play.assert_succeeded()
    ids = {call.access_key for call in play.calls if call.access_key.startswith(SESSION)}
    assert len(ids) == len(hosts)
    kept = [path.read_text(errors="replace") for path in controller.home.rglob("*") if path.is_file()]
    texts = [play.output, *kept]
    for secret in (*ids, SESSION_TOKEN):
        assert [text for text in texts if secret in text] == []
    assert [found for text in texts for found in SECRET_KEY.findall(text)] == []


def test_limit_leaves_out_accounts(controller: Controller) -> None:
    arn = auditor_role(controller, BLOG)
    role = {"cwagent_account_assume_role_arn": arn, "cwagent_account_external_id": EXTERNAL_ID}
    inventory = accounts(controller, {"shop": {"cwagent_account_aws_profile": "missing"}, "blog": role})
    play = controller.play(inventory, "audit", "--limit", "blog", **files(controller)).assert_succeeded()
    assert [each["account"]["label"] for each in document(controller)["accounts"]] == ["blog"]
    assert "shop" not in play.output
    nobody = controller.play(inventory, "audit", "--limit", "localhost,other").assert_failed()
    assert "this run left out the hosts of the group cwagent_accounts" in nobody.message
