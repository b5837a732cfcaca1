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
from emulator.snapshot import associated_profiles, snapshot
from harness import (
    ADMIN_ROLE,
    REPLACE_ASSOCIATION,
    SERVER_ROLE,
    TIME,
    associate,
    create_role,
    leave_restore_tag,
    restore_records,
)
from in_process import run_module

from ansible_collections.cwagent.iam.plugins.module_utils._instance_profile.plan import ASSOCIATION_STALE_CODES

APP = "shop-app"

PROFILES = {"admin_profile": ADMIN_ROLE, "server_profile": SERVER_ROLE, "admin_role": ADMIN_ROLE}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "role": ("cwagent_iam_role", {"name": "R", "access": "admin", "admin_window": True, "tags": {"team": "ops"}}),
    "user": ("cwagent_iam_user", {"name": ["U"], "access": "admin", "admin_window": True}),
    "associate": ("cwagent_instance_profile", {"name": SERVER_ROLE}),
    "replace": ("cwagent_instance_profile", {"name": ADMIN_ROLE, "on_other_profile": "replace"}),
    "acquire": ("cwagent_admin_instance", {"state": "acquired", **PROFILES}),
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
        "replace": lambda instance: prepare_roles(aws, instance, SERVER_ROLE),
        "acquire": lambda instance: prepare_roles(aws, instance, APP),
    }
    if case not in prepared:
        return ""
    [instance] = aws.instances(1)
    prepared[case](instance)
    return instance


def prepare_roles(aws: Emulator, instance: str, profile: str) -> None:
    for role in (SERVER_ROLE, ADMIN_ROLE, APP):
        create_role(aws, role)
    aws.client("iam").tag_role(RoleName=ADMIN_ROLE, Tags=[{"Key": "cwagent:managed", "Value": "created"}])
    associate(aws, instance, profile)


@pytest.mark.parametrize("code", sorted(ASSOCIATION_STALE_CODES))
@pytest.mark.parametrize("named", [True, False], ids=["named", "not named"])
def test_a_release_that_meets_another_association_knows_the_record_still(
    enforcing: Emulator, code: str, named: bool
) -> None:
    """As where the run that is being cleaned up associates the admin profile once more."""
    [instance] = enforcing.instances(1)
    prepare_roles(enforcing, instance, ADMIN_ROLE)
    leave_restore_tag(enforcing, instance, APP)
    arguments: dict[str, Any] = {**PROFILES, "state": "released", "fallback_instance_ids": [instance] if named else []}
    fault = {"kind": Kind.ERROR, "action": REPLACE_ASSOCIATION, "code": code}
    result = run_module(enforcing, "cwagent_admin_instance", fault, **arguments)
    assert not result["failed"], result.get("msg")
    assert associated_profiles(enforcing) == {instance: APP}
    assert enforcing.client("ec2").describe_tags()["Tags"] == []
    assert restore_records(enforcing) == {}


def normalized(aws: Emulator, instance: str) -> Any:
    """The account without the parts that differ from run to run."""
    text = re.sub(TIME, "TIME", json.dumps(snapshot(aws), sort_keys=True, default=str))
    return json.loads(text.replace(instance, "INSTANCE") if instance else text)
