from __future__ import annotations

from typing import Any

import pytest
from declarations import ADMIN, BOUND, CORE, MINE, OLD, SERVER

from ansible_collections.cwagent.iam.plugins.module_utils import _module
from ansible_collections.cwagent.iam.plugins.module_utils._errors import CwagentError, InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._module import PRINCIPAL_SPEC, declared
from ansible_collections.cwagent.iam.plugins.module_utils._principal.plan import Declared


def declare(region: str | None = "eu-central-1", **params: Any) -> Declared:
    defaults = {option: settings.get("default") for option, settings in PRINCIPAL_SPEC.items()}
    return declared({**defaults, "access": "server", **params}, region)


class Module:
    """Ends with what it is told."""

    def fail_json(self, **result: Any) -> None:
        self.result = result


@pytest.mark.parametrize(
    ("details", "told"),
    [
        ({}, {"changed": False, "steps": []}),
        ({"changed": True, "steps": ["a"], "done": ["a"]}, {"changed": True, "steps": ["a"], "done": ["a"]}),
        ({"warnings": ["Look."]}, {"changed": False, "steps": []}),
    ],
)
def test_what_a_failure_tells(details, told, monkeypatch):
    warned: list[str] = []
    monkeypatch.setattr(_module, "warn", warned.append)
    module: Any = Module()
    with _module.fail_on_error(module):
        raise CwagentError("No.", **details)
    assert module.result == {"msg": "No.", **told}
    assert warned == details.get("warnings", [])


def test_declared():
    found = declare(managed_policies=[MINE], path="/m/", permissions_boundary=BOUND, exclusive=True)
    assert (found.attach, found.detach, found.managed) == ({SERVER, MINE}, {ADMIN}, {SERVER, ADMIN, CORE, OLD, MINE})
    assert (found.path, found.boundary, found.exclusive, found.tags) == ("/m/", BOUND, True, None)


def test_without_an_access_the_agent_policies_are_still_ours():
    assert declare(access=None, state="absent").managed == {SERVER, ADMIN, CORE, OLD}
    assert declare(access="admin").attach == {ADMIN}


@pytest.mark.parametrize(
    ("region", "partition"), [("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov"), (None, "aws")]
)
def test_the_policies_are_those_of_the_partition(region, partition):
    assert declare(region).attach == {SERVER.replace("arn:aws:", f"arn:{partition}:")}


@pytest.mark.parametrize(
    ("given", "exclusive", "purge"),
    [(None, False, False), (None, True, True), (True, False, True), (False, True, False)],
)
def test_tags_are_purged_by_default_when_exclusive(given, exclusive, purge):
    assert declare(purge_tags=given, exclusive=exclusive).purge_tags is purge


def test_tags_are_text():
    tags = {"a": True, "b": False, "c": None, "d": 1, 5: "e"}
    assert declare(tags=tags).tags == {"a": "true", "b": "false", "c": "", "d": "1", "5": "e"}


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"managed_policies": ["ReadOnlyAccess"]}, "managed_policies: 'ReadOnlyAccess' is not the ARN"),
        ({"managed_policies": [MINE.replace("aws:", "aws-cn:", 1)]}, "belongs to partition aws-cn"),
        ({"permissions_boundary": "bound"}, "permissions_boundary: 'bound' is not the ARN"),
        ({"path": "m"}, "'m' is no valid IAM path"),
        ({"tags": {"aws:x": "1"}}, "tag 'aws:x'"),
    ],
)
def test_refused(params, words):
    with pytest.raises(InvalidInput, match=words):
        declare(**params)


def test_no_boundary_is_a_boundary():
    assert declare(permissions_boundary="none").boundary_arn is None


@pytest.mark.parametrize(
    ("ssm_policy", "state", "warned"),
    [
        ("AmazonEC2RoleforSSM", "present", True),
        ("AmazonEC2RoleforSSM", "absent", False),
        ("AmazonSSMManagedInstanceCore", "present", False),
    ],
)
def test_the_deprecated_policy_is_used_with_a_warning(ssm_policy, state, warned, monkeypatch):
    said: list[str] = []
    monkeypatch.setattr(_module, "warn", said.append)
    declare(ssm_policy=ssm_policy, state=state)
    assert [text.split()[0] for text in said] == (["AmazonEC2RoleforSSM"] if warned else [])
