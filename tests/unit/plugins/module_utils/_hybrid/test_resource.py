"""The calls that read the nodes of servers that leave."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws
from ansible_collections.cwagent.iam.plugins.module_utils._converge import converge
from ansible_collections.cwagent.iam.plugins.module_utils._errors import AwsApiError
from ansible_collections.cwagent.iam.plugins.module_utils._hybrid.resource import NodesResource, find_users_elsewhere
from ansible_collections.cwagent.iam.plugins.module_utils._role.policy import HybridTrust

REGION = "eu-1"
NODES = {"mi-1": "db", "mi-2": "db", "mi-3": "web"}
"""The names of the nodes. The first and the last are of this collection."""
CREATED = ("mi-1", "mi-3", "i-1")


class Ssm(Aws):
    """Systems Manager in a region, which records the calls."""

    def __init__(self) -> None:
        super().__init__(lambda *_, **__: SimpleNamespace(meta=SimpleNamespace(region_name=REGION)))
        self.nodes = dict(NODES)
        self.calls: list[str] = []

    def call(self, action: str, description: str, max_attempts: int = 10, **arguments: Any) -> dict[str, Any]:
        self.calls.append(action.removeprefix("ssm:"))
        if self.calls[-1] == "DescribeActivations":
            return {"ActivationList": []}
        if self.calls[-1] == "DeregisterManagedInstance":
            del self.nodes[arguments["InstanceId"]]
            return {}
        [condition] = arguments["Filters"]
        found = self.nodes if condition["Key"] == "ResourceType" else [each for each in CREATED if each in self.nodes]
        return {"InstanceInformationList": [{"InstanceId": each, "Name": self.nodes[each]} for each in found]}


READ = "DescribeInstanceInformation"


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("wait", [5, None])
def test_a_node_is_deregistered_and_one_of_others_stays(check: bool, wait: float | None) -> None:
    aws = Ssm()
    result = converge(NodesResource(aws, frozenset({"db"}), (), role="", with_activations=False), check, wait)
    assert result == {
        "changed": True,
        "steps": ["deregister node mi-1 of db"],
        "counts": {"create": 0, "update": 0, "delete": 1},
        "diff": {
            "before": {"nodes": {"mi-1": "db"}, "activations": []},
            "after": {"nodes": {}, "activations": []},
        },
        "warnings": [result["warnings"][0]],
        "nodes": [{"id": "mi-1", "name": "db", "region": REGION}],
        "in_use": [],
    }
    assert "node mi-2 of db stays registered" in result["warnings"][0]
    assert aws.nodes.keys() == NODES.keys() - (set() if check else {"mi-1"})
    # The tags are read again because the node of others still has the name.
    written = [] if check else ["DeregisterManagedInstance", *([READ, READ] if wait else [])]
    assert aws.calls == [READ, READ, *written]


@pytest.mark.parametrize(
    ("names", "activations", "calls"),
    [
        (set(), False, []),
        (set(), True, ["DescribeActivations"]),
        ({"other"}, False, [READ]),
        ({"other"}, True, [READ, "DescribeActivations"]),
        ({f"gone{number}" for number in range(500)}, True, [READ, "DescribeActivations"]),
        ({"web"}, False, [READ, READ]),
    ],
)
def test_nothing_is_read_that_is_not_needed(names: set[str], activations: bool, calls: list[str]) -> None:
    aws = Ssm()
    NodesResource(aws, frozenset(names), (), role="", with_activations=activations).read()
    assert aws.calls == calls


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
