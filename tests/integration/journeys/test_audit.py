"""audit.yml and history.yml: which reports they write, and when they fail. ``test_accounts.py`` has many accounts."""

from __future__ import annotations

import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from accounts import OWN
from harness import (
    ADMIN_POLICY,
    ADMIN_ROLE,
    CHECKOUT,
    PARAMETER,
    POLICY_ARN,
    SERVER_ROLE,
    SERVER_USER,
    UNREACHABLE,
    WINDOW_POLICY,
    Controller,
    associate,
    create_role,
    create_user,
    leave_restore_tag,
)
from in_process import run_module
from policies import filled
from printed import assert_brief
from states import States, after_site

from ansible_collections.cwagent.iam.plugins.module_utils._principals.window_policy import Opening, open_policy

USER = f"{SERVER_USER}-db1"
REPORTS = ["audit.html", "audit.json", "audit.junit.xml", "audit.sarif"]


def files(controller: Controller) -> dict[str, Any]:
    return {"cwagent_report_files": [str(controller.home / name) for name in REPORTS]}


def written(controller: Controller) -> list[Path]:
    return sorted(controller.home.glob("audit.*"))


def document(controller: Controller) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((controller.home / "audit.json").read_text())
    return found


def test_what_the_audit_finds_is_in_private_reports_and_fails_the_run(states: States) -> None:
    """After site.yml, it finds nothing. Access keys are in files, which it does not read."""
    fleet = states.begin(after_site)
    controller, aws = fleet.controller, fleet.aws
    create_user(aws, "controller", filled("provision", SERVER_ROLE))
    play = fleet.play("audit", **files(controller)).assert_succeeded()
    assert play.writes == []
    assert [each for each in play.changed_tasks if " : Write the " not in each] == []
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
    words = " ".join(" ".join(play.problems).split())
    verdict = f"Account {OWN}: no server can write the configuration now."
    assert f"{verdict} User controller can change policies so that a server can write." in words
    play.assert_narrow()
    assert_brief(play, "audit")

    create_role(aws, "ForGood", ADMIN_POLICY)
    instance = fleet.instances["web2"]
    associate(aws, instance, "ForGood")
    play = fleet.play("audit", **files(controller)).assert_failed()
    assert play.writes == []
    [finding] = document(controller)["findings"]
    counts = "Findings of severity error or above: 1."
    assert play.message == f"{counts} error, admin-without-window: ForGood ({OWN}): {finding['why']}"
    assert finding["rule"] == "admin-without-window"
    [case] = ET.fromstring((controller.home / "audit.junit.xml").read_text()).iter("testcase")  # noqa: S314  this run wrote it
    assert case.find("failure") is not None
    [run] = json.loads((controller.home / "audit.sarif").read_text())["runs"]
    assert [result["ruleId"] for result in run["results"]] == ["admin-without-window"]
    assert "ForGood" in (controller.home / "audit.html").read_text()
    assert any(line.startswith("- error, admin-without-window: ForGood") for line in play.problems)
    play.assert_narrow()


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
    assert_brief(play, "history")
    play.assert_narrow()


def test_without_an_inventory_findings_name_the_playbooks_that_repair_them(states: States) -> None:
    """It writes the files into the folder of the command, and fails from a lower severity."""
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
    read = run_module(aws, "cwagent_access_info", instances={aws.region: [*fleet.instances.values()]})
    assert {each["rule"] for each in read["findings"]} == {"deprecated-ssm-policy"}


def test_a_limit_that_leaves_out_all_accounts_is_refused(controller: Controller) -> None:
    group = {"hosts": {"blog": UNREACHABLE}}
    inventory = controller.file("hosts.yml", {"all": {"hosts": {"other": {}}, "children": {"cwagent_accounts": group}}})
    nobody = controller.play(inventory, "audit", "--limit", "localhost,other").assert_failed()
    assert "this run left out blog or the task that validates the inputs" in nobody.message
