"""The agent's policy on roles of applications: only listed roles get it, and it goes with their last server."""

from __future__ import annotations

import json
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
from emulator import Emulator, Kind
from emulator.snapshot import snapshot
from harness import POLICY_ARN, SERVER_POLICY, SERVER_ROLE, allow, assert_no_writes, associate, create_role, trust
from in_process import run_module

TAG = "cwagent:attached-policy"
SHOP, BATCH = "Shop", "Batch"
WITH_POLICY = ([SERVER_POLICY], {TAG: SERVER_POLICY})
TAGGED_ONLY: tuple[list[str], dict[str, str]] = ([], {TAG: SERVER_POLICY})
UNTOUCHED: tuple[list[str], dict[str, str]] = ([], {})
ELSEWHERE = "us-east-1"


@dataclass(frozen=True)
class Servers:
    """Instances with the profiles of applications. :param ids: by host, its instance."""

    aws: Emulator
    ids: dict[str, str]

    def listed(self, *hosts: str) -> dict[str, list[str]]:
        return {"": [self.ids[host] for host in hosts or self.ids]}

    def attach(self, *faults: dict[str, Any], roles: list[str], **more: Any) -> dict[str, Any]:
        options = {"instances": self.listed(), "on_other_profile": "attach", "attach_to_roles": roles, **more}
        return run_module(self.aws, "cwagent_instance_profile", *faults, name=SERVER_ROLE, **options)

    def detach(self, *faults: dict[str, Any], **more: Any) -> dict[str, Any]:
        return run_module(self.aws, "cwagent_application_roles", *faults, **more)

    def role(self, name: str = SHOP) -> tuple[list[str], dict[str, str]]:
        """The attached policies and the tags of a role."""
        found = snapshot(self.aws)["roles"][name]
        return found["policies"], found["tags"]


def launch(aws: Emulator, **hosts: str) -> Servers:
    """Launch an instance for each host, with the role and profile of its application."""
    for role in {*hosts.values()}:
        create_role(aws, role)
    ids = dict(zip(hosts, aws.instances(len(hosts)), strict=True))
    for host, role in hosts.items():
        associate(aws, ids[host], role)
    return Servers(aws, ids)


def attached(aws: Emulator, **hosts: str) -> Servers:
    """The same after their roles got the policy."""
    servers = launch(aws, **hosts)
    assert servers.attach(roles=[*{*hosts.values()}])["changed"]
    return servers


def test_a_listed_role_gets_the_policy_once_and_loses_it_without_a_trace(enforcing: Emulator) -> None:
    servers = launch(enforcing, web1=SHOP, web2=SHOP, batch1=BATCH)
    iam = enforcing.client("iam")
    iam.attach_role_policy(RoleName=SHOP, PolicyArn=f"{POLICY_ARN}AmazonS3ReadOnlyAccess")
    iam.put_role_policy(RoleName=SHOP, PolicyName="orders", PolicyDocument=json.dumps(allow("dynamodb:*")))
    iam.tag_role(RoleName=SHOP, Tags=[{"Key": "team", "Value": "shop"}])
    before = snapshot(enforcing)
    predicted = servers.attach(roles=[SHOP], check=True)
    since, done = enforcing.mark(), servers.attach(roles=[SHOP])
    assert done["steps"] == predicted["steps"]
    assert done["diff"] == predicted["diff"]
    assert done["roles_without_access"] == {BATCH: [servers.ids["batch1"]]}
    assert [call.action for call in enforcing.writes(since)] == ["TagRole", "AttachRolePolicy"]
    assert servers.role() == (["AmazonS3ReadOnlyAccess", SERVER_POLICY], {"team": "shop", TAG: SERVER_POLICY})
    assert servers.role(BATCH) == UNTOUCHED
    with assert_no_writes(enforcing):
        assert servers.attach(roles=[SHOP])["steps"] == []
        predicted = servers.detach(check=True)
    since, done = enforcing.mark(), servers.detach()
    assert done["steps"] == predicted["steps"]
    assert [call.action for call in enforcing.writes(since)] == ["DetachRolePolicy", "UntagRole"]
    assert snapshot(enforcing) == before
    with assert_no_writes(enforcing):
        assert servers.detach()["steps"] == []


def restrict(aws: Emulator, action: str) -> None:
    """Set a permissions boundary that allows this action only."""
    iam = aws.client("iam")
    limit = iam.create_policy(PolicyName="Limit", PolicyDocument=json.dumps(allow(action)))["Policy"]["Arn"]
    iam.put_role_permissions_boundary(RoleName=SHOP, PermissionsBoundary=limit)


def test_a_refused_role_is_named_and_the_others_get_the_policy(enforcing: Emulator) -> None:
    servers = launch(enforcing, web1=SHOP, batch1=BATCH)
    restrict(enforcing, "logs:*")
    reason = (
        f"{SERVER_POLICY} was not attached to role 'Shop': its permissions boundary Limit blocks "
        "cloudwatch:PutMetricData"
    )
    for check in (True, False):
        warned = servers.attach(roles=[SHOP, BATCH], fail_on_refused=False, check=check)
        assert reason in warned["refused_roles"][SHOP]
        assert reason in " ".join(warned["warnings"])
        assert warned["steps"] == [f"tag role 'Batch' with {TAG}", f"attach {SERVER_POLICY} to role 'Batch'"]
        assert servers.role(BATCH) == (UNTOUCHED if check else WITH_POLICY)
    servers.detach()
    refused = servers.attach(roles=[SHOP, BATCH])
    assert reason in refused["msg"]
    assert (servers.role(), servers.role(BATCH)) == (UNTOUCHED, WITH_POLICY)


def test_an_unreadable_boundary_is_a_warning(enforcing: Emulator) -> None:
    servers = launch(enforcing, web1=SHOP)
    restrict(enforcing, "*")
    done = servers.attach({"kind": Kind.DENY, "action": "GetPolicyVersion"}, roles=[SHOP])
    assert "of role 'Shop' could not be read. It may block the agent" in " ".join(done["warnings"])
    assert servers.role() == WITH_POLICY


def test_a_policy_that_others_attached_is_never_tagged_or_detached(enforcing: Emulator) -> None:
    servers = launch(enforcing, web1=SHOP)
    enforcing.client("iam").attach_role_policy(RoleName=SHOP, PolicyArn=POLICY_ARN + SERVER_POLICY)
    with assert_no_writes(enforcing):
        servers.attach(roles=[SHOP])
        servers.detach(instances=servers.listed(), remaining_instances={})
        servers.detach()


LEAVING: dict[str, tuple[list[str], list[str], bool]] = {
    "the last of its role": (["web1", "web2"], ["batch1"], True),
    "one of two, where the other one is not in the inventory": (["web1"], ["batch1"], False),
}


@pytest.mark.parametrize(("leaving", "remaining", "is_detached"), LEAVING.values(), ids=LEAVING)
def test_a_role_loses_the_policy_with_its_last_server(
    enforcing: Emulator, leaving: list[str], remaining: list[str], is_detached: bool
) -> None:
    servers = attached(enforcing, web1=SHOP, web2=SHOP, batch1=BATCH)
    given: dict[str, Any] = {
        "instances": servers.listed(*leaving),
        "remaining_instances": servers.listed(*remaining),
    }
    with assert_no_writes(enforcing):
        predicted = servers.detach(check=True, **given)
    done = servers.detach(**given)
    assert (done["steps"], done["diff"]) == (predicted["steps"], predicted["diff"])
    assert servers.role() == (UNTOUCHED if is_detached else WITH_POLICY)
    assert servers.role(BATCH) == WITH_POLICY
    kept = rf"'Shop' keeps .* not in the inventory have the role: {servers.ids['web2']}\. .*add 'Shop' to detach_from"
    for each in (predicted, done):
        assert [bool(re.search(kept, warning)) for warning in each["warnings"]] == [True] * (not is_detached)


def test_a_teardown_also_detaches_it_from_roles_that_no_instance_has(enforcing: Emulator) -> None:
    servers = attached(enforcing, web1=SHOP, web2="Other", batch1=BATCH)
    enforcing.client("ec2").terminate_instances(InstanceIds=servers.listed("batch1")[""])
    done = servers.detach(instances=servers.listed("web1", "batch1"), unused_roles=True)
    assert (servers.role(), servers.role(BATCH), servers.role("Other")) == (UNTOUCHED, UNTOUCHED, WITH_POLICY)
    assert done["warnings"] == []


def test_a_remaining_server_of_another_region_keeps_the_policy_on_the_role(enforcing: Emulator) -> None:
    servers = attached(enforcing, web1=SHOP)
    [far] = enforcing.instances(1, region=ELSEWHERE)
    ec2 = enforcing.client("ec2", region=ELSEWHERE)
    ec2.associate_iam_instance_profile(InstanceId=far, IamInstanceProfile={"Name": SHOP})
    assert servers.detach(instances=servers.listed(), remaining_instances={ELSEWHERE: [far]})["steps"] == []
    assert servers.role() == WITH_POLICY


def test_a_role_keeps_the_policy_while_that_of_a_remaining_server_is_unknown(enforcing: Emulator) -> None:
    """A host can name another region than its instance has."""
    servers = attached(enforcing, web1=SHOP, web2=SHOP)
    leaving, missing = servers.listed("web1"), "i-0123456789abcdef0"
    assert servers.detach(instances=leaving, remaining_instances={ELSEWHERE: servers.listed("web2")[""]})["steps"] == []
    unknown = servers.detach(instances=servers.listed(), remaining_instances={ELSEWHERE: [missing]})
    assert f"it is not known which role these instances have: {missing}" in " ".join(unknown["warnings"])
    assert servers.role() == WITH_POLICY


DENIED = {
    "TagRole": UNTOUCHED,
    "AttachRolePolicy": UNTOUCHED,
    "DetachRolePolicy": WITH_POLICY,
    "UntagRole": TAGGED_ONLY,
}


@pytest.mark.parametrize(
    ("action", "code", "message"),
    [
        ("UntagRole", "AccessDenied", "iam:UntagRole.*Remove the tag before anybody attaches the policy"),
        ("AttachRolePolicy", "ServiceFailure", "iam:AttachRolePolicy"),
    ],
)
def test_a_tag_that_may_be_right_stays(enforcing: Emulator, action: str, code: str, message: str) -> None:
    """It cannot be removed, or the policy may have been attached although IAM answered with an error."""
    servers = launch(enforcing, web1=SHOP)
    faults: list[dict[str, Any]] = [{"kind": Kind.DENY, "action": "AttachRolePolicy"}] if action == "UntagRole" else []
    faults.append({"kind": Kind.ERROR, "action": action, "code": code, "message": "no", "times": 100})
    failed = servers.attach(*faults, roles=[SHOP])
    assert re.search(message, failed["msg"])
    assert servers.role() == TAGGED_ONLY


@pytest.mark.parametrize("action", DENIED)
def test_a_denied_call_names_the_role_and_the_next_run_finishes(enforcing: Emulator, action: str) -> None:
    is_attaching = action in ("TagRole", "AttachRolePolicy")
    servers = (launch if is_attaching else attached)(enforcing, web1=SHOP, batch1=BATCH)

    def run(*faults: dict[str, Any]) -> dict[str, Any]:
        return servers.attach(*faults, roles=[SHOP, BATCH]) if is_attaching else servers.detach(*faults)

    done = WITH_POLICY if is_attaching else UNTOUCHED
    failed = run({"kind": Kind.DENY, "action": action, "text": '"Shop"'})
    assert "role 'Shop'" in failed["msg"]
    assert f"iam:{action}" in failed["msg"]
    assert (f"The tag {TAG} was removed again." in failed["msg"]) == (action == "AttachRolePolicy")
    assert (servers.role(), servers.role(BATCH)) == (DENIED[action], done)
    assert not run()["failed"]
    assert servers.role() == done


def test_a_failed_association_does_not_keep_the_roles_from_the_policy(enforcing: Emulator) -> None:
    servers = launch(enforcing, web1=SHOP)
    create_role(enforcing, SERVER_ROLE, SERVER_POLICY)
    [bare] = enforcing.instances(1)
    instances = {"": [*servers.ids.values(), bare]}
    denied = {"kind": Kind.DENY, "action": "AssociateIamInstanceProfile"}
    assert "ec2:AssociateIamInstanceProfile" in servers.attach(denied, roles=[SHOP], instances=instances)["msg"]
    assert servers.role() == WITH_POLICY


def test_two_runs_at_once_attach_it(enforcing: Emulator) -> None:
    servers = launch(enforcing, web1=SHOP)
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda _number: servers.attach(roles=[SHOP]), range(2)))
    assert [result.get("msg", "") for result in results] == ["", ""]
    assert servers.role() == WITH_POLICY


def test_a_fleet_costs_reads_by_pages_of_roles(enforcing: Emulator) -> None:
    """Half of the roles have a path, and all have a profile of another name."""
    iam, roles = enforcing.client("iam"), [f"App{number:02}" for number in range(12)]
    for number, name in enumerate(roles):
        path = "/shop/" if number % 2 else "/"
        iam.create_role(RoleName=name, Path=path, AssumeRolePolicyDocument=trust("ec2.amazonaws.com"))
        iam.create_instance_profile(InstanceProfileName=f"{name}-profile", Path=path)
        iam.add_role_to_instance_profile(InstanceProfileName=f"{name}-profile", RoleName=name)
    ids = enforcing.instances(2 * len(roles))
    ec2 = enforcing.client("ec2")
    for number, each in enumerate(ids):
        profile = {"Name": f"{roles[number % len(roles)]}-profile"}
        ec2.associate_iam_instance_profile(InstanceId=each, IamInstanceProfile=profile)
    servers = Servers(enforcing, {each: each for each in ids})
    since = enforcing.mark()
    assert not servers.attach(roles=roles)["failed"]
    counts = Counter(call.action for call in enforcing.calls(since))
    assert counts.pop("TagRole") == counts.pop("AttachRolePolicy") == len(roles)
    assert sum(counts.values()) < 10
    assert all(servers.role(name) == WITH_POLICY for name in roles[::4])
    since = enforcing.mark()
    assert servers.attach(roles=roles)["steps"] == []
    counts = Counter(call.action for call in enforcing.calls(since))
    assert counts["GetAccountAuthorizationDetails"] == 1
    assert sum(counts.values()) < 8


def test_roles_are_named_by_valid_names(enforcing: Emulator) -> None:
    servers = launch(enforcing, web1=SHOP)
    with assert_no_writes(enforcing):
        assert "name at least one role, or set on_other_profile to keep" in servers.attach(roles=[])["msg"]
        assert "arn:aws:iam::1:role/Shop" in servers.attach(roles=["arn:aws:iam::1:role/Shop"])["msg"]
