"""A write whose answer is lost is repeated by botocore; the module finds that it took effect and goes on.

Only CreateAccessKey needs the next run, since a repeated one would create a second key: see test_access_keys.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from emulator import Emulator, Kind
from emulator.snapshot import associated_profiles, configurations, snapshot
from harness import ADMIN_ROLE, PARAMETER, SERVER_ROLE, TIME, associate, create_role
from in_process import run_module
from states import States
from storing import assert_clean, config_of, leave_open, ready_to_store, restore, store, succeeded

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "role": ("cwagent_iam_role", {"name": "R", "access": "admin", "admin_window": True, "tags": {"team": "ops"}}),
    "user": ("cwagent_iam_user", {"name": ["U"], "access": "admin", "admin_window": True}),
    "associate": ("cwagent_instance_profile", {"name": SERVER_ROLE}),
    "replace": ("cwagent_instance_profile", {"name": ADMIN_ROLE, "on_other_profile": "replace"}),
    "store": ("cwagent_config_parameter", {"name": "AmazonCloudWatch-x", "config": {"agent": {}}}),
}
"""By name, a module and its arguments."""


@pytest.mark.parametrize("case", CASES)
def test_a_lost_answer_is_repaired_within_the_run(enforcing: Emulator, subtests: pytest.Subtests, case: str) -> None:
    module, given = CASES[case]

    def run(*faults: dict[str, Any]) -> tuple[dict[str, Any], Any, list[str]]:
        enforcing.reset()
        instance = prepare(enforcing, case)
        arguments = {**given, "instance_ids": [instance]} if instance else given
        since = enforcing.mark()
        result = run_module(enforcing, module, *faults, **arguments)
        calls = [call.action for call in enforcing.calls(since) if call.write]
        return result, normalized(enforcing, instance), calls

    undisturbed, expected, writes = run()
    assert not undisturbed["failed"], undisturbed
    assert writes
    for position, action in enumerate(writes, 1):
        with subtests.test(position=position, action=action):
            nth = writes[:position].count(action)
            result, found, _ = run({"kind": Kind.LOSE_ANSWER, "action": action, "nth": nth})
            assert not result["failed"], result.get("msg")
            assert found == expected


def prepare(aws: Emulator, case: str) -> str:
    """Create the things that a case needs. Return the id of its instance, if it has one."""
    prepared: dict[str, Callable[[str], None]] = {
        "associate": lambda _: create_role(aws, SERVER_ROLE),
        "replace": lambda instance: prepare_roles(aws, instance),
    }
    if case not in prepared:
        return ""
    [instance] = aws.instances(1)
    prepared[case](instance)
    return instance


def prepare_roles(aws: Emulator, instance: str) -> None:
    for role in (SERVER_ROLE, ADMIN_ROLE):
        create_role(aws, role)
    aws.client("iam").tag_role(RoleName=ADMIN_ROLE, Tags=[{"Key": "cwagent:managed", "Value": "created"}])
    associate(aws, instance, SERVER_ROLE)


@pytest.mark.parametrize("does", [store, restore], ids=["store", "restore"])
def test_a_lost_answer_is_repaired_while_the_permission_is_held(
    states: States, subtests: pytest.Subtests, does: Callable[..., dict[str, Any]]
) -> None:
    """The permission is released, and the configuration is stored once."""

    def run(*faults: dict[str, Any]) -> list[str]:
        fleet = states.begin(ready_to_store)
        if does is restore:
            leave_open(fleet)
        since = fleet.aws.mark()
        succeeded(store(fleet, "admin1", *faults) if does is store else restore(fleet, *faults))
        assert associated_profiles(fleet.aws) == {fleet.instances["admin1"]: SERVER_ROLE}
        assert configurations(fleet.aws) == ({PARAMETER: config_of("admin1")} if does is store else {})
        assert_clean(fleet.aws)
        return [call.action for call in fleet.aws.writes(since)]

    writes = run()
    assert writes
    for position, action in enumerate(writes, 1):
        with subtests.test(position=position, action=action):
            run({"kind": Kind.LOSE_ANSWER, "action": action, "nth": writes[:position].count(action)})


def normalized(aws: Emulator, instance: str) -> Any:
    """The account without the parts that differ from run to run."""
    text = re.sub(TIME, "TIME", json.dumps(snapshot(aws), sort_keys=True, default=str))
    return json.loads(text.replace(instance, "INSTANCE") if instance else text)
