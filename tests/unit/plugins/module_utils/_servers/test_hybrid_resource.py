"""The calls that read the nodes of servers that leave."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._ground.aws import Aws
from ansible_collections.cwagent.iam.plugins.module_utils._ground.converge import converge
from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import AwsApiError, InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._ground.wait import Deadline
from ansible_collections.cwagent.iam.plugins.module_utils._principals.role_plan import HybridTrust
from ansible_collections.cwagent.iam.plugins.module_utils._servers.hybrid import NodesResource, find_users_elsewhere
from ansible_collections.cwagent.iam.plugins.module_utils._servers.leaving_nodes import Leaving

REGION = "eu-1"
NODES = {"mi-1": "db", "mi-2": "db", "mi-3": "web"}
"""The names of the nodes. The first and the last are of this collection."""
CREATED = ("mi-1", "mi-3", "i-1")


class Ssm(Aws):
    """Systems Manager in a region, which records the calls."""

    def __init__(self) -> None:
        super().__init__(lambda *_, **__: SimpleNamespace(meta=SimpleNamespace(region_name=REGION)))
        self.nodes = dict(NODES)
        self.hosts: dict[str, str] = {}
        self.calls: list[str] = []

    def call(self, action: str, description: str, max_attempts: int = 10, **arguments: Any) -> dict[str, Any]:
        self.calls.append(action.removeprefix("ssm:"))
        if self.calls[-1] == "DescribeActivations":
            return {"ActivationList": []}
        if self.calls[-1] == "ListTagsForResource":
            host = self.hosts.get(arguments["ResourceId"])
            return {"TagList": [{"Key": "cwagent:host", "Value": host}] if host else []}
        [condition] = arguments["Filters"]
        assert len(condition["Values"]) <= 100
        found = {
            "ResourceType": [*self.nodes],
            "tag:cwagent:managed": [each for each in CREATED if each in self.nodes],
            "tag:cwagent:host": [each for each, host in self.hosts.items() if host in condition["Values"]],
        }[condition["Key"]]
        return {"InstanceInformationList": [{"InstanceId": each, "Name": self.nodes.get(each, "")} for each in found]}


READ, LIST = "DescribeInstanceInformation", "ListTagsForResource"


def leaving(*names: str, **more: Any) -> Leaving:
    return Leaving(frozenset(names), **more)


@pytest.mark.parametrize(
    ("names", "activations", "calls"),
    [
        (set(), False, []),
        (set(), True, ["DescribeActivations"]),
        ({"other"}, False, [READ, READ]),
        ({"other"}, True, [READ, READ, "DescribeActivations"]),
        ({f"gone{number}" for number in range(500)}, True, [*[READ] * 6, "DescribeActivations"]),
        ({"mi-3"}, False, [READ, READ, READ]),
        ({"web"}, False, [READ, READ, READ, LIST]),
    ],
)
def test_nothing_is_read_that_is_not_needed(names: set[str], activations: bool, calls: list[str]) -> None:
    aws = Ssm()
    NodesResource(aws, leaving(*names), with_activations=activations).read()
    assert aws.calls == calls


@pytest.mark.parametrize(
    ("hosts", "name", "found"),
    [
        ({"mi-1": "db", "mi-3": "web"}, "db", ["mi-1"]),
        ({"mi-1": "renamed", "mi-3": "db"}, "db", ["mi-3"]),
        ({"mi-1": "renamed"}, "renamed", ["mi-1"]),
        ({"mi-1": "web", "mi-3": "db"}, "db", ["mi-3"]),
        ({"mi-1": "renamed"}, "mi-1", ["mi-1"]),
    ],
)
def test_the_tag_shows_whose_node_it_is(hosts: dict[str, str], name: str, found: list[str]) -> None:
    aws = Ssm()
    aws.hosts = hosts
    state = NodesResource(aws, leaving(name), with_activations=False).read()
    assert [each.id for each in state.nodes] == found


def test_no_tags_are_read_where_the_name_is_the_host() -> None:
    aws = Ssm()
    aws.hosts = {"mi-1": "db"}
    NodesResource(aws, leaving("db"), with_activations=False).read()
    assert LIST not in aws.calls


@pytest.mark.parametrize("reads", [3, None])
def test_a_node_that_should_be_gone_is_looked_for_again(monkeypatch: pytest.MonkeyPatch, reads: int | None) -> None:
    """AWS may still show a node whose server has just deregistered itself."""
    aws, pauses = Ssm(), []

    def pause(deadline: Deadline, _seconds: float = 0) -> bool:
        pauses.append(deadline.seconds)
        if len(pauses) == reads:
            del aws.nodes["mi-1"]
        return len(pauses) < 30

    monkeypatch.setattr(Deadline, "pause", pause)
    reached = leaving("db", reached=frozenset({"db"}))
    resource = NodesResource(aws, reached, with_activations=False, lookup=60)
    if reads:
        assert converge(resource, False, None)["steps"] == []
    else:
        with pytest.raises(InvalidInput, match=r"mi-1 \(db, unknown\)"):
            converge(resource, False, None)
    assert pauses == [60] * (reads or 30)
    assert "DeregisterManagedInstance" not in aws.calls


class Denied(Ssm):
    def call(self, action: str, description: str, max_attempts: int = 10, **arguments: Any) -> dict[str, Any]:
        raise AwsApiError(f"Could not {description}.", self.code)

    code = "AccessDeniedException"


def test_a_check_without_the_permission_is_a_warning() -> None:
    aws = Denied()
    checked = converge(NodesResource(aws, leaving("db", deregisters=False), with_activations=False), False, 0)
    assert (checked["steps"], len(checked["warnings"])) == ([], 1)
    with pytest.raises(AwsApiError):
        converge(NodesResource(aws, leaving("db"), with_activations=False), False, 0)
    aws.code = "ThrottlingException"
    with pytest.raises(AwsApiError):
        converge(NodesResource(aws, leaving("db", deregisters=False), with_activations=False), False, 0)


class Elsewhere(Aws):
    """A region with one node of each of two roles, or without the permission to read it."""

    def __init__(self, region: str, denied: str) -> None:
        super().__init__(lambda *_, **__: SimpleNamespace(meta=SimpleNamespace(region_name=region)))
        self.name = region
        self.denied = denied

    def call(self, action: str, description: str, max_attempts: int = 10, **arguments: Any) -> dict[str, Any]:
        if self.denied in (action, self.name):
            raise AwsApiError(f"Could not {description}: access denied.", "AccessDenied")
        if action == "iam:GetRole":
            policy = HybridTrust("aws", "123456789012", frozenset({"eu-west-1", "us-east-1"})).new_policy()
            return {"Role": {"AssumeRolePolicyDocument": policy}}
        nodes = [
            {"InstanceId": f"mi-{self.name}-{role}", "IamRole": f"service-role/{role}"} for role in ("hybrid", "b")
        ]
        return {"InstanceInformationList": nodes}


@pytest.mark.parametrize(
    ("known", "denied", "found"),
    [
        ({"eu-west-1"}, "nothing", ["mi-us-east-1-hybrid"]),
        ({"eu-west-1", "us-east-1"}, "nothing", []),
        ({"eu-west-1"}, "us-east-1", ["servers that are not known (Could not read"]),
        ({"eu-west-1"}, "iam:GetRole", ["servers that are not known (Could not read role 'hybrid': access denied)"]),
    ],
)
def test_a_role_can_be_in_use_in_the_other_regions_of_its_trust_policy(
    known: set[str | None], denied: str, found: list[str]
) -> None:
    users = find_users_elsewhere("hybrid", known, lambda region: Elsewhere(region, denied))
    assert [user[: len(start)] for user, start in zip(users, found, strict=True)] == found
