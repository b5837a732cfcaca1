"""The nodes of servers that are off or gone are deregistered from the account's side."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from emulator import Emulator, Kind
from emulator.host import Host
from emulator.testing import wait_until
from harness import (
    HYBRID_ROLE,
    POLICY_ARN,
    SSM_POLICY,
    Controller,
    allow,
    assert_no_writes,
    create_user,
    execute_module,
    trust,
)
from in_process import run_module

MODULE = "cwagent_hybrid_nodes"
OTHER_REGION = "us-west-2"
OURS = [{"Key": "cwagent:managed", "Value": "created"}]
WRITES = ["DeregisterManagedInstance", "DeleteActivation"]


@dataclass(frozen=True)
class Account:
    """An account with a hybrid role."""

    aws: Emulator
    home: Path

    @classmethod
    def with_role(cls, aws: Emulator, home: Path) -> Account:
        iam = aws.client("iam")
        iam.create_role(RoleName=HYBRID_ROLE, AssumeRolePolicyDocument=trust("ssm.amazonaws.com"))
        iam.attach_role_policy(RoleName=HYBRID_ROLE, PolicyArn=POLICY_ARN + SSM_POLICY)
        return cls(aws, home)

    def activate(self, name: str = "", *, ours: bool = True, region: str | None = None, **more: Any) -> dict[str, Any]:
        if name:
            more["DefaultInstanceName"] = name
        if ours:
            more["Tags"] = OURS
        activation: dict[str, Any] = self.aws.client("ssm", region).create_activation(IamRole=HYBRID_ROLE, **more)
        return activation

    def register(self, name: str = "", *, ours: bool = True, region: str | None = None, keep: bool = False) -> str:
        """Register a server. :param keep: whether its activation stays. :returns: the ID of its node."""
        activation = self.activate(name, ours=ours, region=region)
        node = self.new_host().register(activation, region or self.aws.region)
        if not keep:
            self.aws.client("ssm", region).delete_activation(ActivationId=activation["ActivationId"])
        return node

    def new_host(self) -> Host:
        return self.aws.host(self.home / f"host{len(list(self.home.glob('host*')))}")

    def nodes(self, region: str | None = None) -> set[str]:
        found = self.aws.client("ssm", region).describe_instance_information(MaxResults=50)["InstanceInformationList"]
        return {each["InstanceId"] for each in found}

    def activations(self) -> dict[str, dict[str, Any]]:
        """The activations by ID."""
        found = self.aws.client("ssm").describe_activations()["ActivationList"]
        return {each["ActivationId"]: each for each in found}


@pytest.fixture
def account(aws: Emulator, tmp_path: Path) -> Account:
    return Account.with_role(aws, tmp_path)


@pytest.fixture
def enforcing_account(enforcing: Emulator, tmp_path: Path) -> Account:
    return Account.with_role(enforcing, tmp_path)


def test_nodes_and_activations_of_this_collection_are_removed(account: Account) -> None:
    aws = account.aws
    expired = account.activate("old", ExpirationDate=datetime.now(UTC) + timedelta(seconds=2))
    of_others, usable = account.activate(ours=False), account.activate("new")
    leaving = [account.register("db1"), account.register("db1", keep=True), account.register("gone")]
    staying = [account.register("web"), account.register("db1", ours=False), account.register()]
    elsewhere, stays = (account.register(name, region=OTHER_REGION) for name in ("db1", "db2"))
    [used] = account.activations().keys() - {each["ActivationId"] for each in (expired, of_others, usable)}
    wait_until(lambda: any(each["Expired"] for each in account.activations().values()))
    # Two nodes of this collection have the name, so it takes their IDs.
    by_name = run_module(aws, MODULE, nodes_by_region={"": ["db1"]})
    assert all(each in by_name["msg"] for each in leaving[:2])
    names = {"": ["db1", *leaving, "unknown"], OTHER_REGION: ["db1"]}

    since = aws.mark()
    predicted = run_module(aws, MODULE, check=True, nodes_by_region=names)
    assert aws.writes(since) == []
    done = run_module(aws, MODULE, nodes_by_region=names)
    assert predicted == done
    assert set(done["steps"]) == {
        *(f"deregister node {each} of db1" for each in (*leaving[:2], elsewhere)),
        f"deregister node {leaving[2]} of gone",
        f"delete activation {used}, which was used",
        f"delete activation {expired['ActivationId']}, which has expired",
    }
    assert done["counts"] == {"create": 0, "update": 0, "delete": 6}
    assert {(each["id"], each["name"], each["region"]) for each in done["nodes"]} == {
        *((each, "db1", aws.region) for each in leaving[:2]),
        (leaving[2], "gone", aws.region),
        (elsewhere, "db1", OTHER_REGION),
    }
    [warning] = done["warnings"]
    assert f"node {staying[1]} of db1 stays registered, because it was not created by this collection" in warning
    assert (account.nodes(), account.nodes(OTHER_REGION)) == (set(staying), {stays})
    assert account.activations().keys() == {of_others["ActivationId"], usable["ActivationId"]}

    since = aws.mark()
    again = run_module(aws, MODULE, nodes_by_region=names)
    assert (again["changed"], again["steps"], again["nodes"]) == (False, [], [])
    unknown = [f"There is no node {each} that this collection registered." for each in sorted(leaving)]
    assert again["warnings"] == [warning, *unknown]
    assert aws.writes(since) == []


def test_a_region_takes_two_calls_however_many_servers_have_gone(account: Account) -> None:
    names = [f"db{number}" for number in range(500)]
    since = account.aws.mark()
    run_module(account.aws, MODULE, nodes_by_region={"": names})
    assert [call.action for call in account.aws.calls(since)] == ["DescribeInstanceInformation", "DescribeActivations"]


def test_activations_stay_if_the_user_keeps_them(account: Account) -> None:
    account.register("db1", keep=True)
    with assert_no_writes(account.aws):
        kept = run_module(account.aws, MODULE, nodes_by_region={"": []}, activations=False)
    assert (kept["changed"], kept["nodes"]) == (False, [])
    assert run_module(account.aws, MODULE, nodes_by_region={"": []})["counts"]["delete"] == 1
    assert run_module(account.aws, MODULE, nodes_by_region={})["nodes"] == []
    assert len(account.nodes()) == 1


@pytest.mark.parametrize("names", ["db1", [""]])
def test_an_empty_name_is_refused_before_any_call(account: Account, names: Any) -> None:
    account.register()
    since = account.aws.mark()
    refused = run_module(account.aws, MODULE, nodes_by_region={OTHER_REGION: ["db1"], "": names})
    assert refused["failed"]
    assert "nodes_by_region: each region needs a list of names" in refused["msg"]
    assert account.aws.calls(since) == []


@pytest.mark.parametrize("action", WRITES)
@pytest.mark.parametrize("kind", [Kind.LOSE_ANSWER, Kind.SERVER_ERROR, Kind.THROTTLE])
def test_a_call_that_fails_once_is_repaired_within_the_run(account: Account, action: str, kind: Kind) -> None:
    account.register("db1", keep=True)
    fault = {"kind": kind, "action": action}
    done = run_module(account.aws, MODULE, fault, nodes_by_region={"": ["db1"]})
    assert not done["failed"], done
    assert done["counts"]["delete"] == 2
    assert (account.nodes(), account.activations()) == (set(), {})


@pytest.mark.parametrize("action", WRITES)
@pytest.mark.parametrize("kind", [Kind.KILL_BEFORE, Kind.KILL_AFTER])
def test_the_run_after_one_that_was_killed_finishes(account: Account, action: str, kind: Kind) -> None:
    account.register("db1", keep=True)
    names = {"": ["db1"]}
    killed = execute_module(account.aws, MODULE, {"nodes_by_region": names}, faults=[{"kind": kind, "action": action}])
    assert killed["code"] < 0
    run_module(account.aws, MODULE, nodes_by_region=names)
    assert (account.nodes(), account.activations()) == (set(), {})


def test_a_node_that_aws_calls_invalid_but_still_shows_is_not_reported_as_done(account: Account) -> None:
    """AWS has one error code for a node that is gone, and for one that the caller must not use."""
    node = account.register("db1")
    fault = {"kind": Kind.ERROR, "action": WRITES[0], "code": "InvalidInstanceId", "times": 100}
    options: dict[str, Any] = {"nodes_by_region": {"": ["db1"]}, "wait_timeout": 1}
    late = run_module(account.aws, MODULE, fault, **options)
    assert late["failed"]
    assert f"Not visible yet: deregister node {node} of db1" in late["msg"]
    assert account.nodes() == {node}


ACTIONS = {
    "ssm:DescribeInstanceInformation": 0,
    "ssm:DescribeActivations": 0,
    "ssm:DeregisterManagedInstance": 1,
    "ssm:DeleteActivation": 1,
}
"""By action, how many steps of a region with a node and an activation are done without it."""


@pytest.mark.parametrize("action", ACTIONS)
def test_a_missing_action_is_named(enforcing_account: Account, action: str) -> None:
    aws = enforcing_account.aws
    enforcing_account.register("db1", keep=True)
    elsewhere = enforcing_account.register("db1", region=OTHER_REGION)
    names = {"": ["db1"], OTHER_REGION: ["db1"]}
    here = {"StringEquals": {"aws:RequestedRegion": aws.region}}
    document = allow(*ACTIONS)
    document["Statement"].append({"Effect": "Deny", "Action": action, "Resource": "*", "Condition": here})
    env = create_user(aws, "restricted", document)
    denied = run_module(aws, MODULE, credentials=env, nodes_by_region=names)
    assert denied["failed"]
    assert f"A policy explicitly denies {action}" in denied["msg"]
    assert f"({action})" in denied["msg"]
    # The other region, and every other step in this one, is done.
    done = denied["done" if ACTIONS[action] else "steps"]
    assert f"deregister node {elsewhere} of db1" in done
    assert len(done) == 1 + ACTIONS[action]
    assert len(denied.get("not_done", [])) == ACTIONS[action]
    aws.client("iam").put_user_policy(
        UserName="restricted", PolicyName="inline", PolicyDocument=json.dumps(allow(*ACTIONS))
    )
    assert run_module(aws, MODULE, credentials=env, nodes_by_region=names)["changed"]
    assert (enforcing_account.nodes(), enforcing_account.activations()) == (set(), {})


def test_a_server_that_is_off_loses_its_credentials(controller: Controller) -> None:
    """In a playbook, as the playbooks that remove servers use it."""
    account = Account.with_role(controller.aws, controller.home)
    host = account.new_host()
    node = host.register(account.activate("db1"), controller.aws.region)
    host.restart()
    session = host.session()
    controller.aws.client("sts", credentials=session).get_caller_identity()
    controller.aws.agents(node, running=False)
    task = {"name": "Deregister", f"cwagent.iam.{MODULE}": {"nodes_by_region": {"": ["db1"]}}}
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "module_defaults": {"group/cwagent.iam.aws": {"region": controller.aws.region}},
        "tasks": [task],
    }
    playbook = controller.file("nodes.yml", [play])
    predicted = controller.play(controller.inventory({}), playbook, "--check").assert_succeeded()
    assert (predicted.writes, account.nodes()) == ([], {node})
    done = controller.play(controller.inventory({}), playbook).assert_succeeded()
    assert predicted.changes == done.changes
    assert account.nodes() == set()
    with pytest.raises(ClientError):
        controller.aws.client("sts", credentials=session).get_caller_identity()
    assert controller.play(controller.inventory({}), playbook).assert_succeeded().changed_tasks == []
