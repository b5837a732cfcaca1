"""Instances that keep the profile of their application get the agent's policy on its role, and only on roles named."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from emulator import Emulator, Fault, Kind
from emulator.snapshot import snapshot
from harness import (
    POLICY_ARN,
    SERVER_POLICY,
    Controller,
    Play,
    assert_complete_report,
    associate,
    create_role,
    trust,
)

TAG = {"Key": "cwagent:attached-policy", "Value": SERVER_POLICY}
ATTACH: dict[str, Any] = {"cwagent_on_other_profile": "attach"}
SHOP, BATCH = "Shop", "Batch"
OTHER_POLICY = "AmazonS3ReadOnlyAccess"
ORDERS = {"Statement": [{"Effect": "Allow", "Action": "dynamodb:*", "Resource": "*"}]}


def role_of(aws: Emulator, name: str) -> tuple[list[str], dict[str, str]]:
    """The attached policies and the tags of a role."""
    iam = aws.client("iam")
    attached = iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]
    tags = iam.list_role_tags(RoleName=name)["Tags"]
    return sorted(each["PolicyName"] for each in attached), {tag["Key"]: tag["Value"] for tag in tags}


WITH_POLICY = ([SERVER_POLICY], {TAG["Key"]: TAG["Value"]})
TRUSTS_ALL = {"Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}]}
UNTOUCHED: tuple[list[str], dict[str, str]] = ([], {})


@dataclass(frozen=True)
class Fleet:
    """Instances with roles of applications. The instances in ``hosts`` are in the inventory."""

    controller: Controller
    inventory: Path
    hosts: Mapping[str, str]

    @property
    def aws(self) -> Emulator:
        return self.controller.aws

    def play(self, playbook: str, *arguments: str, **variables: Any) -> Play:
        return self.controller.play(self.inventory, playbook, *arguments, **variables)


def launch(
    controller: Controller, hosts: Mapping[str, str], roles: Mapping[str, Mapping[str, Any]] | None = None
) -> Fleet:
    """Launch an instance for each host, with the profile of its application."""
    aws = controller.aws
    for name, more in (roles or {role: {} for role in dict.fromkeys(hosts.values())}).items():
        create_role(aws, name, **more)
    ids = dict(zip(hosts, aws.instances(len(hosts)), strict=True))
    for host, role in hosts.items():
        associate(aws, ids[host], role)
    inventory = controller.inventory(
        {"ec2_servers": {host: controller.instance_host(each) for host, each in ids.items()}}
    )
    return Fleet(controller, inventory, ids)


@pytest.fixture(scope="module")
def job(shared_controller: Controller) -> tuple[Fleet, dict[str, Play]]:
    """Two instances share a role, another has a role that is not named, and a fourth is not in the inventory."""
    aws = shared_controller.aws
    fleet = launch(shared_controller, {"web1": SHOP, "web2": SHOP, "batch1": BATCH})
    [outsider] = aws.instances(1)
    associate(aws, outsider, SHOP)
    iam = aws.client("iam")
    iam.attach_role_policy(RoleName=SHOP, PolicyArn=POLICY_ARN + OTHER_POLICY)
    iam.put_role_policy(RoleName=SHOP, PolicyName="orders", PolicyDocument=json.dumps(ORDERS))
    iam.tag_role(RoleName=SHOP, Tags=[{"Key": "team", "Value": "shop"}])
    principal = json.loads(trust("ec2.amazonaws.com"))
    principal["Statement"][0]["Principal"]["AWS"] = "arn:aws:iam::000000000000:root"
    iam.update_assume_role_policy(RoleName=SHOP, PolicyDocument=json.dumps(principal))
    before = snapshot(aws)
    plays = {"check": fleet.play("site", "--check", "--diff", **ATTACH, cwagent_attach_to_roles=SHOP)}
    assert snapshot(aws) == before
    plays["run"] = fleet.play("site", "--diff", **ATTACH, cwagent_attach_to_roles=SHOP)
    plays["again"] = fleet.play("site", "--diff", **ATTACH, cwagent_attach_to_roles=[SHOP])
    plays["keep"] = fleet.play("site", cwagent_on_other_profile="keep")
    for each in plays.values():
        each.assert_succeeded()
    return Fleet(shared_controller, fleet.inventory, {**fleet.hosts, "outsider": outsider}), plays


def test_only_the_named_role_gets_the_policy(job: tuple[Fleet, dict[str, Play]]) -> None:
    fleet, plays = job
    assert role_of(fleet.aws, SHOP) == ([OTHER_POLICY, SERVER_POLICY], {"team": "shop", TAG["Key"]: TAG["Value"]})
    assert fleet.aws.client("iam").list_role_policies(RoleName=SHOP)["PolicyNames"] == ["orders"]
    assert role_of(fleet.aws, BATCH) == UNTOUCHED
    assert_complete_report(plays["run"])


def test_the_role_is_tagged_before_it_gets_the_policy(job: tuple[Fleet, dict[str, Play]]) -> None:
    written = [call.action for call in job[1]["run"].calls if call.write and call.params.get("RoleName") == SHOP]
    assert written == ["TagRole", "AttachRolePolicy"]


def test_check_mode_predicts_the_run(job: tuple[Fleet, dict[str, Play]]) -> None:
    plays = job[1]
    assert plays["check"].writes == []
    assert plays["check"].changes == plays["run"].changes


@pytest.mark.parametrize("name", ["again", "keep"])
def test_then_there_is_nothing_to_do(job: tuple[Fleet, dict[str, Play]], name: str) -> None:
    assert job[1][name].writes == []
    assert "Nothing to do." in job[1][name].words


@pytest.mark.parametrize("name", ["check", "run"])
def test_other_principals_that_gain_the_permissions_are_listed(job: tuple[Fleet, dict[str, Play]], name: str) -> None:
    fleet, plays = job
    grants = f"attaching {SERVER_POLICY} to role 'Shop' also grants it to"
    words = plays[name].words
    assert f"{grants} instances that are not in the list: {fleet.hosts['outsider']} in {fleet.aws.region}" in words
    assert f"{grants} other principals that can assume the role: arn:aws:iam::000000000000:root" in words


def test_it_is_reported_before_the_first_write(job: tuple[Fleet, dict[str, Play]]) -> None:
    """A line while the task runs, and the warning of its result."""
    words = job[1]["run"].words
    assert words.count("other principals that can assume") == 2
    assert job[1]["check"].words.count("other principals that can assume") == 1


@pytest.mark.parametrize("name", ["check", "run", "again"])
def test_the_report_prints_the_roles_to_add(job: tuple[Fleet, dict[str, Play]], name: str) -> None:
    assert "add the roles to cwagent_attach_to_roles: Batch." in " ".join(job[1][name].report)


def test_nothing_to_do_costs_one_page_of_roles(job: tuple[Fleet, dict[str, Play]]) -> None:
    """With keep, the profile and the policies of each role are read, one by one."""
    again, keep = ([call.action for call in job[1][name].calls] for name in ("again", "keep"))
    assert again.count("GetAccountAuthorizationDetails") == keep.count("GetAccountAuthorizationDetails") + 1
    assert len(again) < len(keep)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no EC2 trust": ({"services": ["lambda.amazonaws.com"]}, "EC2 is not allowed to assume it"),
    "no room": ({"policies": 10}, "it has 10 managed policies"),
    "boundary": ({"boundary": "logs:*"}, "its permissions boundary Limit blocks cloudwatch:PutMetricData"),
}


def restrict(aws: Emulator, role: str, how: Mapping[str, Any]) -> None:
    iam = aws.client("iam")
    if "services" in how:
        iam.update_assume_role_policy(RoleName=role, PolicyDocument=trust(*how["services"]))
    for number in range(how.get("policies", 0)):
        document = json.dumps({"Statement": [{"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "*"}]})
        created = iam.create_policy(PolicyName=f"App{number}", PolicyDocument=document)
        iam.attach_role_policy(RoleName=role, PolicyArn=created["Policy"]["Arn"])
    if "boundary" in how:
        document = json.dumps({"Statement": [{"Effect": "Allow", "Action": how["boundary"], "Resource": "*"}]})
        created = iam.create_policy(PolicyName="Limit", PolicyDocument=document)
        iam.put_role_permissions_boundary(RoleName=role, PermissionsBoundary=created["Policy"]["Arn"])


@pytest.mark.parametrize(("how", "reason"), REFUSED.values(), ids=REFUSED)
def test_a_refused_role_fails_the_run_at_its_end(controller: Controller, how: dict[str, Any], reason: str) -> None:
    """Everything else is done: the other role gets the policy, and the configuration is stored."""
    fleet = launch(controller, {"web1": SHOP, "batch1": BATCH})
    restrict(controller.aws, SHOP, how)
    before = role_of(controller.aws, SHOP)
    config = controller.file("agent.json", {"agent": {}})
    wanted: dict[str, Any] = {**ATTACH, "cwagent_attach_to_roles": f"{SHOP},{BATCH}"}
    store = {"cwagent_config_file": str(config), "cwagent_store_config_from": "controller"}
    check = fleet.play("site", "--check", **wanted, **store)
    run = fleet.play("site", **wanted, **store)
    for each in (check, run):
        assert each.code != 0
        assert f"{SERVER_POLICY} was not attached to role 'Shop': {reason}" in each.message
    assert check.changes == run.changes
    assert role_of(controller.aws, SHOP) == before
    assert role_of(controller.aws, BATCH) == WITH_POLICY
    assert "PutParameter" in run.writes


def test_an_unreadable_boundary_is_a_warning(controller: Controller) -> None:
    fleet = launch(controller, {"web1": SHOP})
    restrict(controller.aws, SHOP, {"boundary": "*"})
    controller.aws.arm(Fault(Kind.DENY, action="GetPolicyVersion"))
    play = fleet.play("site", **ATTACH, cwagent_attach_to_roles=SHOP).assert_succeeded()
    assert "of role 'Shop' could not be read. It may block the agent" in play.words
    assert role_of(controller.aws, SHOP) == WITH_POLICY


def test_a_policy_that_others_attached_is_never_tagged_or_detached(controller: Controller) -> None:
    fleet = launch(controller, {"web1": SHOP}, {SHOP: {}})
    controller.aws.client("iam").attach_role_policy(RoleName=SHOP, PolicyArn=POLICY_ARN + SERVER_POLICY)
    before = role_of(controller.aws, SHOP)
    fleet.play("site", **ATTACH, cwagent_attach_to_roles=SHOP).assert_succeeded()
    removal: dict[str, Any] = {"cwagent_remove_servers": ["web1"], "cwagent_confirm": "remove_servers"}
    fleet.play("remove_servers", **removal).assert_succeeded()
    fleet.play("teardown", cwagent_confirm="teardown").assert_succeeded()
    assert role_of(controller.aws, SHOP) == before


def attached(controller: Controller, hosts: Mapping[str, str]) -> Fleet:
    fleet = launch(controller, hosts)
    fleet.play("site", **ATTACH, cwagent_attach_to_roles=",".join({*hosts.values()})).assert_succeeded()
    return fleet


def test_teardown_leaves_the_account_as_it_was(controller: Controller) -> None:
    """It finds the roles by their tags, whatever the variables are now and whichever servers are left."""
    aws = controller.aws
    fleet = launch(controller, {"web1": SHOP, "batch1": BATCH})
    before = snapshot(aws)
    fleet.play("site", **ATTACH, cwagent_attach_to_roles=[SHOP, BATCH]).assert_succeeded()
    inventory = controller.inventory({"ec2_servers": {"web1": controller.instance_host(fleet.hosts["web1"])}})
    check = controller.play(inventory, "teardown", "--check", cwagent_confirm="teardown").assert_succeeded()
    run = controller.play(inventory, "teardown", cwagent_confirm="teardown").assert_succeeded()
    assert (check.writes, check.changes) == ([], run.changes)
    assert snapshot(aws) == before
    written = [(call.action, call.params["RoleName"]) for call in run.calls if call.write and "RoleName" in call.params]
    of_shop = [action for action, role in written if role == SHOP]
    assert of_shop == ["DetachRolePolicy", "UntagRole"]


LEAVING: dict[str, tuple[list[str], dict[str, Any], bool]] = {
    "the last of its role": (["web1", "web2"], {}, True),
    "one of two": (["web1"], {}, False),
    "the other one is outside the limit": (["web1"], {"limit": "localhost,web1"}, False),
}


@pytest.mark.parametrize(("leaving", "how", "is_detached"), LEAVING.values(), ids=LEAVING)
def test_a_role_loses_the_policy_with_its_last_server(
    controller: Controller, leaving: list[str], how: dict[str, str], is_detached: bool
) -> None:
    fleet = attached(controller, {"web1": SHOP, "web2": SHOP, "batch1": BATCH})
    limit = ["--limit", how["limit"]] if how else []
    removal: dict[str, Any] = {"cwagent_remove_servers": leaving, "cwagent_confirm": "remove_servers"}
    check = fleet.play("remove_servers", "--check", *limit, **removal).assert_succeeded()
    run = fleet.play("remove_servers", *limit, **removal).assert_succeeded()
    assert (check.writes, check.changes) == ([], run.changes)
    assert role_of(controller.aws, SHOP) == (UNTOUCHED if is_detached else WITH_POLICY)
    assert role_of(controller.aws, BATCH) == WITH_POLICY


def test_a_server_of_another_region_keeps_the_policy_on_the_role(controller: Controller) -> None:
    aws = controller.aws
    fleet = attached(controller, {"web1": SHOP})
    [elsewhere] = aws.instances(1, region="us-east-1")
    ec2 = aws.client("ec2", region="us-east-1")
    ec2.associate_iam_instance_profile(InstanceId=elsewhere, IamInstanceProfile={"Name": SHOP})
    hosts = {
        "web1": controller.instance_host(fleet.hosts["web1"]),
        "far1": {"instance_id": elsewhere, "cwagent_region": "us-east-1"},
    }
    inventory = controller.inventory({"ec2_servers": hosts})
    removal: dict[str, Any] = {"cwagent_remove_servers": ["web1"], "cwagent_confirm": "remove_servers"}
    controller.play(inventory, "remove_servers", **removal).assert_succeeded()
    assert role_of(aws, SHOP) == WITH_POLICY


KILLS = {
    "after the tag": ("site", "TagRole", {**ATTACH, "cwagent_attach_to_roles": SHOP}, WITH_POLICY),
    "after the policy is detached": ("teardown", "DetachRolePolicy", {"cwagent_confirm": "teardown"}, UNTOUCHED),
}


@pytest.mark.parametrize(("playbook", "action", "variables", "expected"), KILLS.values(), ids=KILLS)
def test_one_more_run_finishes_a_killed_run(
    controller: Controller,
    playbook: str,
    action: str,
    variables: dict[str, Any],
    expected: tuple[list[str], dict[str, str]],
) -> None:
    fleet = (launch if playbook == "site" else attached)(controller, {"web1": SHOP})
    fault = Fault(Kind.KILL_AFTER, action=action, text='"Shop"')
    controller.kill(fault, fleet.inventory, playbook, **variables)
    assert role_of(controller.aws, SHOP) not in (WITH_POLICY, UNTOUCHED)
    fleet.play(playbook, **variables).assert_succeeded()
    assert role_of(controller.aws, SHOP) == expected


TAGGED_ONLY: tuple[list[str], dict[str, str]] = ([], {TAG["Key"]: TAG["Value"]})
TEARDOWN = {"cwagent_confirm": "teardown"}
REMOVAL: dict[str, Any] = {"cwagent_remove_servers": ["web1"], "cwagent_confirm": "remove_servers"}
TO_SHOP: dict[str, Any] = {**ATTACH, "cwagent_attach_to_roles": SHOP}
DENIED: dict[str, tuple[str, str, dict[str, Any], tuple[list[str], dict[str, str]]]] = {
    "tag": ("site", "TagRole", TO_SHOP, UNTOUCHED),
    "attach": ("site", "AttachRolePolicy", TO_SHOP, TAGGED_ONLY),
    "detach": ("teardown", "DetachRolePolicy", TEARDOWN, WITH_POLICY),
    "untag": ("remove_servers", "UntagRole", REMOVAL, TAGGED_ONLY),
}


@pytest.mark.parametrize(("playbook", "action", "variables", "expected"), DENIED.values(), ids=DENIED)
def test_a_denied_call_names_the_role_and_the_action(
    controller: Controller,
    playbook: str,
    action: str,
    variables: dict[str, Any],
    expected: tuple[list[str], dict[str, str]],
) -> None:
    if playbook == "site":
        fleet = launch(controller, {"web1": SHOP})
        fleet.play("site").assert_succeeded()  # so that nothing remains to be done for the roles of the agent
    else:
        fleet = attached(controller, {"web1": SHOP})
    controller.aws.arm(Fault(Kind.DENY, action=action, text='"Shop"'))
    play = fleet.play(playbook, **variables)
    assert "role 'Shop'" in play.message
    assert f"iam:{action}" in play.message
    assert role_of(controller.aws, SHOP) == expected
    fleet.play(playbook, **variables).assert_succeeded()
    assert role_of(controller.aws, SHOP) == (WITH_POLICY if playbook == "site" else UNTOUCHED)


def test_a_role_of_a_server_in_another_region_than_its_host_says_keeps_the_policy(controller: Controller) -> None:
    fleet = attached(controller, {"web1": SHOP, "web2": SHOP})
    hosts = {name: controller.instance_host(each) for name, each in fleet.hosts.items()}
    hosts["web2"]["cwagent_region"] = "us-east-1"
    hosts["web3"] = {"instance_id": "i-0123456789abcdef0", "cwagent_region": "us-east-1"}
    inventory = controller.inventory({"ec2_servers": {name: hosts[name] for name in ("web1", "web2")}})
    controller.play(inventory, "remove_servers", **REMOVAL).assert_succeeded()
    assert role_of(controller.aws, SHOP) == WITH_POLICY
    inventory = controller.inventory({"ec2_servers": {name: hosts[name] for name in ("web1", "web3")}})
    play = controller.play(inventory, "remove_servers", **REMOVAL).assert_succeeded()
    assert "it is not known which role these instances have: i-0123456789abcdef0" in play.words
    assert role_of(controller.aws, SHOP) == WITH_POLICY


def test_the_role_of_a_server_that_was_terminated_before_is_named(controller: Controller) -> None:
    fleet = attached(controller, {"web1": SHOP, "batch1": BATCH})
    controller.aws.client("ec2").terminate_instances(InstanceIds=[fleet.hosts["web1"]])
    play = fleet.play("remove_servers", **REMOVAL).assert_succeeded()
    assert "role 'Shop' keeps CloudWatchAgentServerPolicy, and no instance in these regions has the role." in play.words
    assert play.writes == []


def test_the_role_alone_keeps_the_policy_for_other_instances(controller: Controller) -> None:
    """It does not know the hosts of another play, whose instances may need the policy."""
    fleet = attached(controller, {"web1": SHOP, "web2": SHOP, "batch1": BATCH})
    task = {
        "ansible.builtin.include_role": {"name": "cwagent.iam.ec2_server"},
        "vars": {"ec2_server_state": "absent", "ec2_server_name": "Another"},
    }
    for hosts, expected in {"web1": WITH_POLICY, "cwagent_ec2_servers": UNTOUCHED}.items():
        plays = [{"hosts": hosts, "gather_facts": False, "tasks": [task]}]
        controller.play(fleet.inventory, controller.file("role.yml", plays)).assert_succeeded()
        assert role_of(controller.aws, SHOP) == expected


def test_a_failed_association_does_not_keep_the_roles_from_the_policy(controller: Controller) -> None:
    fleet = launch(controller, {"web1": SHOP})
    [bare] = controller.aws.instances(1)
    hosts = {"web1": fleet.hosts["web1"], "web2": bare}
    servers = {name: controller.instance_host(each) for name, each in hosts.items()}
    inventory = controller.inventory({"ec2_servers": servers})
    controller.aws.arm(Fault(Kind.DENY, action="AssociateIamInstanceProfile"))
    play = controller.play(inventory, "site", **TO_SHOP)
    assert "ec2:AssociateIamInstanceProfile" in play.message
    assert role_of(controller.aws, SHOP) == WITH_POLICY


def test_the_audit_finds_a_role_that_is_not_listed_any_more(controller: Controller) -> None:
    fleet = attached(controller, {"web1": SHOP})
    report = controller.home / "audit.json"
    listed = fleet.play("audit", **ATTACH, cwagent_attach_to_roles=SHOP, cwagent_report_files=str(report))
    assert "attached-policy" not in listed.assert_succeeded().words
    fleet.play("audit", cwagent_report_files=str(report)).assert_succeeded()
    findings = json.loads(report.read_text())["accounts"][0]["findings"]
    [found] = [each for each in findings if each["rule"] == "attached-policy"]
    assert (found["object"], found["severity"]) == (SHOP, "info")


def test_the_role_alone_attaches_and_detaches(controller: Controller) -> None:
    fleet = launch(controller, {"web1": SHOP, "batch1": BATCH})
    variables: dict[str, Any] = {"ec2_server_on_other_profile": "attach", "ec2_server_attach_to_roles": [SHOP]}

    def include(**more: str) -> Play:
        task = {"ansible.builtin.include_role": {"name": "cwagent.iam.ec2_server"}, "vars": {**variables, **more}}
        plays = [{"hosts": "cwagent_ec2_servers", "gather_facts": False, "tasks": [task]}]
        return controller.play(fleet.inventory, controller.file("role.yml", plays))

    include().assert_succeeded()
    assert role_of(controller.aws, SHOP) == WITH_POLICY
    include(ec2_server_state="absent").assert_succeeded()
    assert role_of(controller.aws, SHOP) == UNTOUCHED
    restrict(controller.aws, SHOP, REFUSED["no EC2 trust"][0])
    play = include()
    assert "EC2 is not allowed to assume it" in play.message


MISSING = {
    "no role": ({}, "so set cwagent_attach_to_roles to the roles that may get the agent's policy"),
    "not a name": ({"cwagent_attach_to_roles": "arn:aws:iam::1:role/Shop"}, "cwagent_attach_to_roles: 'arn:aws:"),
}


@pytest.mark.parametrize(("variables", "message"), MISSING.values(), ids=MISSING)
def test_roles_must_be_named(controller: Controller, variables: dict[str, Any], message: str) -> None:
    fleet = launch(controller, {"web1": SHOP})
    play = fleet.play("site", **ATTACH, **variables)
    assert message in play.message
    assert play.writes == []


def test_two_runs_at_once_attach_it_once(controller: Controller) -> None:
    fleet = launch(controller, {"web1": SHOP})
    runs = [controller.start(fleet.inventory, "site", **ATTACH, cwagent_attach_to_roles=SHOP) for _ in range(2)]
    assert [run.wait(300) for run in runs] == [0, 0]
    assert role_of(controller.aws, SHOP) == WITH_POLICY


def test_a_large_fleet_costs_calls_by_roles(controller: Controller) -> None:
    """200 instances with 40 roles, some with a path and with a profile of another name."""
    aws = controller.aws
    roles = [f"App{number:02}" for number in range(40)]
    for number, name in enumerate(roles):
        iam, path = aws.client("iam"), "/shop/" if number % 2 else "/"
        iam.create_role(RoleName=name, Path=path, AssumeRolePolicyDocument=trust("ec2.amazonaws.com"))
        iam.create_instance_profile(InstanceProfileName=f"{name}-profile", Path=path)
        iam.add_role_to_instance_profile(InstanceProfileName=f"{name}-profile", RoleName=name)
    ids = aws.instances(200)
    for number, each in enumerate(ids):
        associate(aws, each, f"{roles[number % len(roles)]}-profile")
    hosts = {f"web{number}": {"instance_id": each, "cwagent_region": aws.region} for number, each in enumerate(ids)}
    inventory = controller.inventory({"ec2_servers": hosts})
    keep = controller.play(inventory, "site").assert_succeeded()
    run = controller.play(inventory, "site", **ATTACH, cwagent_attach_to_roles=roles).assert_succeeded()
    again = controller.play(inventory, "site", **ATTACH, cwagent_attach_to_roles=roles).assert_succeeded()
    assert all(role_of(aws, name) == WITH_POLICY for name in roles)
    assert sorted(run.writes) == ["AttachRolePolicy"] * len(roles) + ["TagRole"] * len(roles)
    reads = [call.action for call in run.calls if not call.write]
    assert len(reads) < 30
    assert again.writes == []
    # Beyond the reads without application roles: one page of roles. With keep, each role is read.
    of_roles = ("GetInstanceProfile", "ListAttachedRolePolicies")
    beyond = Counter(call.action for call in again.calls) - Counter(
        call.action for call in keep.calls if call.action not in of_roles
    )
    pages = {name: count for name, count in beyond.items() if name not in of_roles}
    assert pages == {"GetAccountAuthorizationDetails": 1}
    assert sum(beyond[name] for name in of_roles) < 6


def test_verify_names_the_role_to_attach_to(controller: Controller) -> None:
    fleet = launch(controller, {"web1": SHOP})
    fleet.play("site").assert_succeeded()
    before = fleet.play("verify", cwagent_verify_from="none")
    assert "Add Shop to cwagent_attach_to_roles" in before.words
    fleet.play("site", **ATTACH, cwagent_attach_to_roles=SHOP).assert_succeeded()
    after = fleet.play("verify", cwagent_verify_from="none")
    assert "cwagent_attach_to_roles" not in after.words


def test_each_account_has_its_own_roles(controller: Controller) -> None:
    """With the accounts as hosts and servers that filters find."""
    aws = controller.aws
    accounts: dict[str, Any] = {}
    for name in ("shop", "blog"):
        created = aws.client("organizations").create_account(Email=f"{name}@example.com", AccountName=name)
        account = created["CreateAccountStatus"]["AccountId"]
        root = {"AccessKeyId": account, "SecretAccessKey": "test"}
        iam, ec2 = (aws.client(service, credentials=root) for service in ("iam", "ec2"))
        iam.create_role(RoleName="Controller", AssumeRolePolicyDocument=json.dumps(TRUSTS_ALL))
        iam.attach_role_policy(RoleName="Controller", PolicyArn=POLICY_ARN + "AdministratorAccess")
        iam.create_role(RoleName=SHOP, AssumeRolePolicyDocument=trust("ec2.amazonaws.com"))
        iam.create_instance_profile(InstanceProfileName=SHOP)
        iam.add_role_to_instance_profile(InstanceProfileName=SHOP, RoleName=SHOP)
        launched = ec2.run_instances(
            ImageId="ami-12345678",
            MinCount=1,
            MaxCount=1,
            IamInstanceProfile={"Name": SHOP},
            TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "agent", "Value": "yes"}]}],
        )
        assert launched["Instances"]
        accounts[name] = {"cwagent_account_assume_role_arn": f"arn:aws:iam::{account}:role/Controller"}
    variables = {
        "cwagent_account_server_filters": {"tag:agent": "yes"},
        "cwagent_store_config_from": "controller",
        "cwagent_region": aws.region,
    }
    children = {"cwagent_accounts": {"hosts": accounts, "vars": variables}}
    inventory = controller.file("accounts.yml", {"all": {"children": children}})
    run = controller.play(inventory, "site", **ATTACH, cwagent_attach_to_roles=SHOP).assert_succeeded()
    assert run.writes.count("TagRole") >= len(accounts)
    assert " ".join(run.report).count(f"attach {SERVER_POLICY} to role 'Shop'") == len(accounts)
