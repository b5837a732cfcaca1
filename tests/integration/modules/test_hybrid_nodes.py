"""The nodes of servers that are off or gone are deregistered from the account's side."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from emulator import Emulator, Kind
from emulator.testing import wait_until
from harness import (
    HYBRID_ROLE,
    SSM_POLICY,
    assert_no_writes,
    create_hybrid_role,
    execute_module,
    hybrid_trust,
)
from hybrid import activate, register_another
from in_process import run_module

from ansible_collections.cwagent.iam.plugins.module_utils._servers.node import HOST_TAG

MODULE = "cwagent_hybrid_nodes"
OTHER_REGION = "us-west-2"
IN_BOTH: dict[str, Any] = {"nodes_by_region": {"": ["db1"], OTHER_REGION: ["db1"]}}
WRITES = ["DeregisterManagedInstance", "DeleteActivation"]


@dataclass(frozen=True)
class Account:
    """An account with a hybrid role, which servers in two regions can use."""

    aws: Emulator
    home: Path

    @classmethod
    def with_role(cls, aws: Emulator, home: Path) -> Account:
        create_hybrid_role(aws, SSM_POLICY)
        document = json.loads(hybrid_trust(aws))
        arns = document["Statement"][0]["Condition"]["ArnEquals"]["aws:SourceArn"]
        arns.append(arns[0].replace(aws.region, OTHER_REGION))
        aws.client("iam").update_assume_role_policy(RoleName=HYBRID_ROLE, PolicyDocument=json.dumps(document))
        return cls(aws, home)

    def activate(self, name: str = "", **more: Any) -> str:
        return str(activate(self.aws, name, **more)["ActivationId"])

    def register(self, name: str = "", **more: Any) -> str:
        return register_another(self.aws, self.home / f"host{len([*self.home.iterdir()])}", name, **more)

    def nodes(self, region: str | None = None) -> set[str]:
        found = self.aws.client("ssm", region).describe_instance_information(MaxResults=50)["InstanceInformationList"]
        return {each["InstanceId"] for each in found}

    def activations(self) -> dict[str, dict[str, Any]]:
        """The activations by ID."""
        found = self.aws.client("ssm").describe_activations()["ActivationList"]
        return {each["ActivationId"]: each for each in found}

    def remove(self, *faults: dict[str, Any], **options: Any) -> dict[str, Any]:
        """Deregister nodes, by default the one of db1."""
        return run_module(self.aws, MODULE, *faults, **{"nodes_by_region": {"": ["db1"]}, **options})

    def name(self, node: str, host: str) -> None:
        """Give a node to a host."""
        tags = [{"Key": HOST_TAG, "Value": host}]
        self.aws.client("ssm").add_tags_to_resource(ResourceType="ManagedInstance", ResourceId=node, Tags=tags)

    def assert_empty(self) -> None:
        assert (self.nodes(), self.activations()) == (set(), {})


@pytest.fixture
def account(enforcing: Emulator, tmp_path: Path) -> Account:
    return Account.with_role(enforcing, tmp_path)


def test_nodes_and_activations_of_this_collection_are_removed(account: Account) -> None:
    aws = account.aws
    expired = account.activate("old", ExpirationDate=datetime.now(UTC) + timedelta(seconds=2))
    of_others, usable = account.activate(ours=False), account.activate("new")
    leaving = [account.register("db1"), account.register("db1", keep=True), account.register("gone")]
    staying = [account.register("web"), account.register("db1", ours=False), account.register()]
    elsewhere, stays = (account.register(name, region=OTHER_REGION) for name in ("db1", "db2"))
    [used] = account.activations().keys() - {expired, of_others, usable}
    wait_until(lambda: any(each["Expired"] for each in account.activations().values()))
    # Two nodes of this collection have the name, so it takes their IDs.
    assert all(each in account.remove()["msg"] for each in leaving[:2])
    names: dict[str, Any] = {"nodes_by_region": {"": ["db1", *leaving, "unknown"], OTHER_REGION: ["db1"]}}

    with assert_no_writes(aws):
        predicted = account.remove(check=True, **names)
    done = account.remove(**names)
    assert predicted == done
    assert set(done["steps"]) == {
        *(f"deregister node {each} of db1" for each in (*leaving[:2], elsewhere)),
        f"deregister node {leaving[2]} of gone",
        f"delete activation {used}, which was used",
        f"delete activation {expired}, which has expired",
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
    assert account.activations().keys() == {of_others, usable}

    with assert_no_writes(aws):
        again = account.remove(**names)
    assert (again["changed"], again["steps"], again["nodes"]) == (False, [], [])
    unknown = [f"There is no node {each} that this collection registered." for each in sorted(leaving)]
    assert again["warnings"] == [warning, *unknown]


def test_a_server_that_is_off_loses_its_credentials(account: Account) -> None:
    """While its SSM agent is online, its name is not enough: it may be another server."""
    node = account.register("db1")
    host = account.aws.host(account.home / "host0")
    host.restart()
    sts = account.aws.client("sts", credentials=host.session())
    sts.get_caller_identity()
    with assert_no_writes(account.aws):
        assert f"{node} (db1, Online)" in account.remove()["msg"]
    account.aws.agents(node, running=False)
    assert account.remove()["nodes"] == [{"id": node, "name": "db1", "region": account.aws.region}]
    with pytest.raises(ClientError):
        sts.get_caller_identity()


def test_activations_stay_if_the_user_keeps_them(account: Account) -> None:
    account.register("web", keep=True)
    with assert_no_writes(account.aws):
        kept = account.remove(activations=False)
    assert (kept["changed"], kept["nodes"]) == (False, [])
    assert account.remove()["counts"]["delete"] == 1
    assert account.remove(nodes_by_region={})["nodes"] == []
    assert len(account.nodes()) == 1


def test_a_node_with_the_name_of_a_server_that_was_reached_is_an_error_unless_it_is_kept(account: Account) -> None:
    """The server was to deregister itself. So it has hidden its node, or the node is of another inventory."""
    node = account.register("db1")
    for options in ({"reached_hosts": ["db1"]}, {"deregister": False}):
        with assert_no_writes(account.aws):
            left = account.remove(wait_timeout=1, **options)
            kept = account.remove(keep_nodes=[node], **options)
        assert re.search(rf"{node} \(db1, ConnectionLost\).*add its ID to keep_nodes", left["msg"])
        assert not kept["failed"]
    assert account.remove(keep_nodes=[node], role=HYBRID_ROLE)["in_use"] == [node]
    assert account.remove(nodes_by_region={"": [node]}, reached_hosts=["db1"])["nodes"][0]["id"] == node


def test_other_servers_that_use_the_role_are_listed_from_its_regions(account: Account) -> None:
    stays, elsewhere = account.register("web"), account.register("db1", region=OTHER_REGION)
    account.register("db1")
    found = account.remove(role=HYBRID_ROLE)
    assert (account.nodes(), found["in_use"]) == ({stays}, [stays, elsewhere])
    assert account.remove(role="Other")["in_use"] == []


@pytest.mark.parametrize("action", WRITES)
def test_a_lost_answer_is_repaired_within_the_run(account: Account, action: str) -> None:
    account.register("db1", keep=True)
    done = account.remove({"kind": Kind.LOSE_ANSWER, "action": action})
    assert (done["failed"], done["counts"]["delete"]) == (False, 2)
    account.assert_empty()


def test_the_run_after_one_that_was_killed_finishes(account: Account) -> None:
    account.register("db1", keep=True)
    names, kill = {"nodes_by_region": {"": ["db1"]}}, {"kind": Kind.KILL_AFTER, "action": WRITES[0]}
    assert execute_module(account.aws, MODULE, names, faults=[kill])["code"] < 0
    account.remove()
    account.assert_empty()


def test_a_node_that_aws_calls_invalid_but_still_shows_is_not_reported_as_done(account: Account) -> None:
    """AWS has one error code for a node that is gone, and for one that the caller must not use."""
    node = account.register("db1")
    fault = {"kind": Kind.ERROR, "action": WRITES[0], "code": "InvalidInstanceId", "times": 100}
    late = account.remove(fault, wait_timeout=1)
    assert late["failed"]
    assert f"Not visible yet: deregister node {node} of db1" in late["msg"]
    assert account.nodes() == {node}


@pytest.mark.parametrize("action", ["DescribeInstanceInformation", "DescribeActivations", *WRITES])
def test_a_denied_call_ends_nothing_but_the_work_that_needs_it(account: Account, action: str) -> None:
    """The other region, and every other step in the same one, is done."""
    for region in (account.aws.region, OTHER_REGION):
        account.register("db1", region=region, keep=True)
    denied = account.remove({"kind": Kind.DENY, "action": action}, **IN_BOTH)
    assert denied["failed"]
    assert f"(ssm:{action})" in denied["msg"]
    done, not_done = (3, 1) if action in WRITES else (2, 0)
    assert (len(denied["steps"]), len(denied.get("not_done", []))) == (done + not_done, not_done)
    assert account.remove(**IN_BOTH)["counts"]["delete"] == 4 - done
    account.assert_empty()
