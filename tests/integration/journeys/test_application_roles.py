"""Application roles get the agent's policy from the playbooks: attach, audit and remove."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from accounts import Accounts
from emulator import Emulator
from emulator.snapshot import snapshot
from fleet import Fleet
from harness import PARAMETER, POLICY_ARN, SERVER_POLICY, Controller, Play, assert_complete_report, create_role, trust

TAG = "cwagent:attached-policy"
SHOP, BATCH, JOBS, SPARE = "Shop", "Batch", "Jobs", "Spare"
OTHER_ACCOUNT = "arn:aws:iam::000000000000:root"
ATTACH: dict[str, Any] = {"cwagent_on_other_profile": "attach"}
WITH_POLICY = ([SERVER_POLICY], {TAG: SERVER_POLICY})
UNTOUCHED: tuple[list[str], dict[str, str]] = ([], {})
TRUSTS_ALL = {"Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}]}


def role_of(aws: Emulator, name: str) -> tuple[list[str], dict[str, str]]:
    """The attached policies and the tags of a role."""
    found = snapshot(aws)["roles"][name]
    return found["policies"], found["tags"]


def writes_on(play: Play, role: str) -> list[str]:
    return [call.action for call in play.calls if call.write and call.params.get("RoleName") == role]


LISTED: dict[str, Any] = {"cwagent_attach_to_roles": f"{SHOP},{BATCH},{JOBS}"}


def shops(controller: Controller) -> Fleet:
    """Two servers that share a role, batch jobs whose role does not trust EC2, and two others with their own roles.

    An instance that is not in the inventory has the shop's role too.
    """
    aws, fleet = controller.aws, Fleet(controller)
    for role in (SHOP, BATCH, JOBS, SPARE):
        create_role(aws, role, services=["lambda.amazonaws.com" if role == BATCH else "ec2.amazonaws.com"])
    hosts = {"web1": SHOP, "web2": SHOP, "batch1": BATCH, "jobs1": JOBS, "spare1": SPARE, "outsider": SHOP}
    for host, role in hosts.items():
        fleet.add_instance(host, role)
    fleet.remove("outsider")
    principal = json.loads(trust("ec2.amazonaws.com"))
    principal["Statement"][0]["Principal"]["AWS"] = OTHER_ACCOUNT
    aws.client("iam").update_assume_role_policy(RoleName=SHOP, PolicyDocument=json.dumps(principal))
    fleet.configure({"agent": {}})
    fleet.variables |= {**ATTACH, "cwagent_store_config_from": "controller"}
    return fleet


def test_roles_get_the_policy_with_their_servers_and_lose_it_with_them(controller: Controller) -> None:
    fleet, aws = shops(controller), controller.aws
    before = snapshot(aws)

    # A refused role fails the run at its end, after everything else.
    check = fleet.play("site", "--check", "--diff", **LISTED).assert_failed()
    assert (check.writes, snapshot(aws)) == ([], before)
    run = fleet.play("site", "--diff", **LISTED).assert_failed()
    assert check.changes == run.changes
    for play in (check, run):
        assert f"{SERVER_POLICY} was not attached to role 'Batch': EC2 is not allowed to assume it" in play.message
        grants = f"attaching {SERVER_POLICY} to role 'Shop' also grants it to"
        outsider = f"{fleet.instances['outsider']} in {aws.region}"
        assert f"{grants} instances that are not in the list: {outsider}" in play.words
        assert f"{grants} other principals that can assume the role: {OTHER_ACCOUNT}" in play.words
        assert "add the roles to cwagent_attach_to_roles: Spare." in " ".join(play.report)
    # A real run also says it before the first write.
    assert [play.words.count("other principals that can assume") for play in (check, run)] == [1, 2]
    assert_complete_report(run)
    assert writes_on(run, SHOP) == writes_on(run, JOBS) == ["TagRole", "AttachRolePolicy"]
    assert [role_of(aws, role) for role in (SHOP, BATCH, JOBS, SPARE)] == [WITH_POLICY, UNTOUCHED] * 2
    assert list(snapshot(aws)["parameters"][aws.region]) == [PARAMETER]

    # A role with the policy that is not listed any more is a finding.
    file: Path = controller.home / "audit.json"
    report: dict[str, Any] = {"cwagent_audit_fail_at": "none"}
    fleet.play("audit", cwagent_attach_to_roles=SHOP, cwagent_report_files=str(file), **report).assert_succeeded()
    findings = json.loads(file.read_text())["accounts"][0]["findings"]
    found = [(each["object"], each["severity"]) for each in findings if each["rule"] == "attached-policy"]
    assert found == [(JOBS, "notice")]

    # The role of a leaving server keeps the policy for servers outside the limit.
    removal: dict[str, Any] = {"cwagent_confirm": "remove_servers", "cwagent_remove_servers": ["web1"]}
    kept = fleet.play("remove_servers", "--limit", "localhost,web1", **removal).assert_succeeded()
    assert (writes_on(kept, SHOP), role_of(aws, SHOP)) == ([], WITH_POLICY)
    fleet.remove("web1")
    removal |= {"cwagent_remove_servers": ["web2"], "cwagent_detach_from_roles": SHOP}
    fleet.play("remove_servers", **removal).assert_succeeded()
    assert [role_of(aws, role) for role in (SHOP, JOBS)] == [UNTOUCHED, WITH_POLICY]

    # Teardown finds roles by their tags, whatever the variables are then.
    fleet.remove("web2")
    down = fleet.play("teardown", cwagent_confirm="teardown").assert_succeeded()
    assert writes_on(down, JOBS) == ["DetachRolePolicy", "UntagRole"]
    assert snapshot(aws) == before


def test_the_role_alone_keeps_the_policy_for_other_instances(controller: Controller) -> None:
    """It does not know the hosts of another play, whose instances may need the policy."""
    aws, fleet = controller.aws, Fleet(controller)
    create_role(aws, SHOP)
    fleet.add_instance("web1", SHOP)
    fleet.add_instance("web2", SHOP)
    role = {"name": "cwagent.iam.ec2_server"}
    wanted = {"ec2_server_on_other_profile": "attach", "ec2_server_attach_to_roles": [SHOP]}
    leaving = {"ec2_server_state": "absent", "ec2_server_name": "Another"}
    plays = [
        {"hosts": hosts, "gather_facts": False, "tasks": [{"ansible.builtin.include_role": role, "vars": variables}]}
        for hosts, variables in (("all", wanted), ("web1", leaving), ("all", leaving))
    ]
    changed = controller.play(fleet.inventory, controller.file("role.yml", plays)).assert_succeeded()
    detaching = [each.result for each in changed.results if each.action.endswith("cwagent_application_roles")]
    assert [len(each["steps"]) for each in detaching if "steps" in each] == [0, 2]
    assert writes_on(changed, SHOP) == ["TagRole", "AttachRolePolicy", "DetachRolePolicy", "UntagRole"]


def test_each_account_has_its_own_roles(controller: Controller) -> None:
    """With the accounts as hosts and servers that filters find."""
    aws, accounts, hosts = controller.aws, Accounts(controller), dict[str, Any]()
    for name in ("shop", "blog"):
        account, iam = accounts.create(name), accounts.client(name, "iam")
        iam.create_role(RoleName="Controller", AssumeRolePolicyDocument=json.dumps(TRUSTS_ALL))
        iam.attach_role_policy(RoleName="Controller", PolicyArn=POLICY_ARN + "AdministratorAccess")
        create_role(aws, SHOP, account=account)
        accounts.client(name, "ec2").associate_iam_instance_profile(
            InstanceId=accounts.launch(name, agent="yes"), IamInstanceProfile={"Name": SHOP}
        )
        hosts[name] = {"cwagent_account_assume_role_arn": f"arn:aws:iam::{account}:role/Controller"}
    variables: dict[str, Any] = {
        "cwagent_account_server_filters": {"tag:agent": "yes"},
        "cwagent_store_config_from": "controller",
        "cwagent_region": aws.region,
        "cwagent_attach_to_roles": SHOP,
    }
    inventory = controller.inventory({"accounts": hosts}, "accounts.yml")
    run = controller.play(inventory, "site", **ATTACH, **variables).assert_succeeded()
    assert run.writes.count("TagRole") >= len(hosts)
    assert " ".join(run.report).count(f"attach {SERVER_POLICY} to role 'Shop'") == len(hosts)
