"""Stores configurations in this process, in an account with both roles and a closed admin window."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from botocore.exceptions import ClientError
from emulator import Call, Emulator, Fault, Kind
from emulator.snapshot import associated_profiles
from emulator.testing import wait_until
from faults.evaluation import most_admins_at_once, overlapping_windows
from fleet import Fleet
from harness import (
    ADMIN_POLICY,
    ADMIN_ROLE,
    CLOSED_WINDOW,
    PARAMETER,
    PATIENCE,
    SERVER_POLICY,
    SERVER_ROLE,
    TIME,
    WINDOW_POLICY,
    associate,
    create_role,
    restore_records,
)
from in_process import Send, on_instance, run_module, transact
from states import States

APP = "shop-app"
CLOSED_POLICY = {"Version": "2012-10-17", "Statement": [CLOSED_WINDOW]}
UNTIL_DISARMED = 1000
"""More times than any run makes the call."""
WAITS = {f"{name}_timeout": PATIENCE for name in ("identity", "wait", "permission")}


def ready_to_store(states: States) -> Fleet:
    """A server on EC2 that can store, and the roles of an application and of this collection."""
    fleet = Fleet(states.controller)
    for role, policy in ((SERVER_ROLE, SERVER_POLICY), (ADMIN_ROLE, ADMIN_POLICY), (APP, SERVER_POLICY)):
        create_role(fleet.aws, role, policy)
    closed = json.dumps(CLOSED_POLICY)
    fleet.iam.put_role_policy(RoleName=ADMIN_ROLE, PolicyName=WINDOW_POLICY, PolicyDocument=closed)
    fleet.add_instance("admin1", SERVER_ROLE, group="ec2_admin")
    return fleet


def config_of(host: str) -> dict[str, Any]:
    """The configuration that a host stores, unlike that of any other host."""
    return {"agent": {"metrics_collection_interval": 10 * int(host[-1])}}


def store(
    fleet: Fleet,
    host: str = "admin1",
    /,
    *faults: Mapping[str, Any],
    send: Send | None = None,
    config: Mapping[str, Any] | str | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Store a configuration from an instance, by default its own. :returns: the result of the transaction."""
    instance = fleet.instances[host]
    file = fleet.controller.file(f"{host}.json", config_of(host) if config is None else config)
    given = {
        "from": "instance",
        "configs": [{"name": PARAMETER, "file": str(file)}],
        "instance_id": instance,
        "environment": {"AWS_EC2_METADATA_SERVICE_ENDPOINT": fleet.aws.metadata_endpoint(instance)},
        **WAITS,
        **options,
    }
    there = send or on_instance(fleet.aws, instance)
    return transact(fleet.aws, "cwagent_store_config", there, *faults, host=host, **given)


def leave_open(fleet: Fleet, host: str = "admin1") -> None:
    """Leave what an interrupted run leaves: record, restore tag, open window and admin profile."""
    succeeded(store(fleet, host, state="opened", **{"from": "run_command"}))


def restore(fleet: Fleet, *faults: Mapping[str, Any], **options: Any) -> dict[str, Any]:
    """Clean up as restore.yml does, with all instances listed by default."""
    listed = {"instances": {fleet.aws.region: [*fleet.instances.values()]}, "wait_timeout": PATIENCE}
    names = {"admin_role": ADMIN_ROLE, "server_profile": SERVER_ROLE}
    return run_module(fleet.aws, "cwagent_restore", *faults, **{**names, **listed, **options})


def succeeded(result: dict[str, Any]) -> dict[str, Any]:
    assert not result["failed"], result
    return result


def refusal(result: Mapping[str, Any]) -> str:
    """The message of a result that failed."""
    assert result["failed"], result
    return str(result["msg"])


def without_times(value: Any) -> Any:
    return json.loads(re.sub(TIME, "TIME", json.dumps(value)))


def set_profile(fleet: Fleet, profile: str, host: str = "admin1") -> str:
    """Associate an instance profile with the instance of a host. :returns: the ID of the instance."""
    associate(fleet.aws, fleet.instances[host], profile)
    return fleet.instances[host]


@contextmanager
def blocked_at(aws: Emulator, action: str, kind: Kind, code: str = "", **more: Any) -> Iterator[None]:
    """Block runs at a call, which they retry because the error is temporary on AWS."""
    aws.arm(Fault(kind, action=action, times=UNTIL_DISARMED, code=code, message="not yet", **more))
    try:
        yield
    finally:
        aws.disarm()


def calls_of(aws: Emulator, action: str) -> list[Call]:
    return [call for call in aws.calls() if call.action == action]


def wait_for_calls(aws: Emulator, action: str, times: int = 1) -> None:
    """Wait until a call was made this many times."""
    wait_until(lambda: len(calls_of(aws, action)) >= times)


def window_of(aws: Emulator) -> Any:
    """The policy of the admin role's window."""
    return aws.client("iam").get_role_policy(RoleName=ADMIN_ROLE, PolicyName=WINDOW_POLICY)["PolicyDocument"]


def assert_safe(aws: Emulator) -> None:
    """Assert that nothing is open, and that no two instances had the admin profile or a window at once."""
    assert ADMIN_ROLE not in associated_profiles(aws).values()
    assert window_of(aws) == CLOSED_POLICY
    assert most_admins_at_once(aws.calls()) <= 1
    assert overlapping_windows(aws.calls()) == []


def assert_clean(aws: Emulator) -> None:
    """Assert that the account is safe, and that no run has left a restore tag or a record."""
    assert_safe(aws)
    assert aws.client("ec2").describe_tags()["Tags"] == []
    assert restore_records(aws) == {}


def can_write(aws: Emulator, credentials: Mapping[str, str], name: str = PARAMETER) -> bool:
    """Whether these credentials may store a configuration."""
    ssm = aws.client("ssm", credentials=credentials)
    try:
        ssm.put_parameter(Name=name, Value="{}", Type="String", Overwrite=True)
    except ClientError as error:
        if error.response["Error"]["Code"] != "AccessDeniedException":
            raise
        return False
    return True
