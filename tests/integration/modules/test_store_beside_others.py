"""A run that stores beside another run or a person: one of them writes at a time, and the other one is named."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from emulator import Kind
from emulator.snapshot import associated_profiles, configurations
from emulator.testing import wait_until
from fleet import Fleet
from harness import (
    ADMIN_ROLE,
    PARAMETER,
    REPLACE_ASSOCIATION,
    SERVER_ROLE,
    assert_no_writes,
    leave_restore_tag,
)
from in_process import on_instance
from states import States
from storing import (
    APP,
    CLOSED_POLICY,
    assert_clean,
    assert_safe,
    blocked_at,
    calls_of,
    config_of,
    leave_open,
    ready_to_store,
    refusal,
    restore,
    set_profile,
    store,
    succeeded,
    wait_for_calls,
    window_of,
)


@pytest.fixture
def fleet(states: States) -> Fleet:
    """Two instances that can store."""
    fleet = states.begin(ready_to_store)
    fleet.add_instance("admin2", SERVER_ROLE)
    return fleet


@pytest.fixture
def background() -> Iterator[ThreadPoolExecutor]:
    """Stores in the background of a test."""
    with ThreadPoolExecutor(4) as pool:
        yield pool


def assert_stored_alone(fleet: Fleet, **results: Mapping[str, Any]) -> list[str]:
    """Assert that no two windows overlapped, and that each run stored or was refused and named the other one.

    :returns: the hosts that stored, the earliest first.
    """
    assert_clean(fleet.aws)
    hosts = {instance: host for host, instance in fleet.instances.items()}
    accepted = [call for call in calls_of(fleet.aws, "PutParameter") if call.status == 200]
    stored = [hosts[call.principal.rpartition("/")[2]] for call in accepted]
    assert sorted(stored) == sorted(host for host, result in results.items() if not result["failed"])
    assert configurations(fleet.aws) == ({PARAMETER: config_of(stored[-1])} if stored else {})
    assert set(associated_profiles(fleet.aws).values()) == {SERVER_ROLE}
    for host in results.keys() - {*stored}:
        [other] = results.keys() - {host}
        message = refusal(results[host])
        is_named = f"at a time, and instance {fleet.instances[other]} " in message
        assert is_named or f"window of role '{ADMIN_ROLE}' is open until" in message
    return stored


def test_the_windows_of_two_concurrent_runs_never_overlap(fleet: Fleet, background: ThreadPoolExecutor) -> None:
    """Both check for other admin instances before either has written its restore tag.

    Then both are refused, or one of them; or one has ended before the other goes on, and both store.
    """
    with blocked_at(fleet.aws, "CreateTags", Kind.THROTTLE):
        running = {host: background.submit(store, fleet, host) for host in fleet.instances}
        wait_until(lambda: len({call.params["ResourceId.1"] for call in calls_of(fleet.aws, "CreateTags")}) == 2)
    assert_stored_alone(fleet, **{host: run.result() for host, run in running.items()})


NOT_YET = (Kind.ERROR, "InvalidParameterValue")
"""EC2 does not know the profile yet."""
BLOCKS: dict[str, tuple[str, tuple[Any, ...], int]] = {
    "waits to swap": (REPLACE_ASSOCIATION, NOT_YET, 2),
    "stores": ("PutParameter", (Kind.DENY,), 1),
}
"""Where the other run waits. Its first replacement only proves that the profile can be restored."""


@pytest.mark.parametrize(("action", "fault", "times"), BLOCKS.values(), ids=BLOCKS)
def test_a_run_is_refused_while_another_is_at_work(
    fleet: Fleet, background: ThreadPoolExecutor, action: str, fault: tuple[Any, ...], times: int
) -> None:
    with blocked_at(fleet.aws, action, *fault):
        running = background.submit(store, fleet)
        wait_for_calls(fleet.aws, action, times)
        since = fleet.aws.mark()
        late = store(fleet, "admin2")
        assert not running.done()
        assert {call.action for call in fleet.aws.writes(since)} <= {action}, "only the other run writes"
    assert assert_stored_alone(fleet, admin1=running.result(), admin2=late) == ["admin1"]


@pytest.mark.parametrize("state", ["stored", "opened"])
def test_a_run_is_refused_where_another_instance_has_the_admin_profile(fleet: Fleet, state: str) -> None:
    """The window of the other instance is neither extended nor closed."""
    leave_open(fleet, "admin2")
    with assert_no_writes(fleet.aws):
        message = refusal(store(fleet, state=state))
    assert f"instance {fleet.instances['admin2']} has instance profile '{ADMIN_ROLE}'" in message


def test_a_second_run_on_an_instance_with_a_restore_tag_is_refused(fleet: Fleet) -> None:
    """It could remove the permission of the first run, or restore the profile too late."""
    instance = fleet.instances["admin1"]
    leave_restore_tag(fleet.aws, instance, SERVER_ROLE)
    with assert_no_writes(fleet.aws):
        message = refusal(store(fleet))
    assert f"Instance {instance} has a restore tag: a run or a person is using it, or a run was interrupted" in message


def test_a_run_backs_off_when_another_instance_gets_the_admin_profile(
    fleet: Fleet, background: ThreadPoolExecutor
) -> None:
    """A person associates the profile after the first run has swapped."""
    fleet.aws.metadata_lag(60)
    running = background.submit(store, fleet)
    wait_for_calls(fleet.aws, "GetRolePolicy", 2)  # the second is the last read of the acquisition
    other = set_profile(fleet, ADMIN_ROLE, "admin2")
    fleet.aws.metadata_lag(0)
    assert f"instance {other} has instance profile '{ADMIN_ROLE}'" in refusal(running.result())
    assert calls_of(fleet.aws, "PutParameter") == []
    assert associated_profiles(fleet.aws) == {fleet.instances["admin1"]: SERVER_ROLE, other: ADMIN_ROLE}
    assert window_of(fleet.aws) == CLOSED_POLICY


def test_a_run_backs_off_when_another_writes_a_restore_tag(fleet: Fleet, background: ThreadPoolExecutor) -> None:
    """As when both checked before either wrote, and the tag of the other run is visible late."""
    with blocked_at(fleet.aws, REPLACE_ASSOCIATION, *NOT_YET):
        running = background.submit(store, fleet)
        wait_for_calls(fleet.aws, REPLACE_ASSOCIATION, 2)  # the first only proves that the profile can be restored
        leave_restore_tag(fleet.aws, fleet.instances["admin2"], SERVER_ROLE)
    message = refusal(running.result())
    assert f"instance {fleet.instances['admin2']} has an unfinished swap of instance profile" in message
    assert calls_of(fleet.aws, "PutParameter") == []
    assert_safe(fleet.aws)
    succeeded(restore(fleet))
    assert_clean(fleet.aws)


def test_a_run_that_another_run_ends_reports_that_the_window_is_closed(
    fleet: Fleet, background: ThreadPoolExecutor
) -> None:
    """It never advises to remove the Deny of the window."""
    instance = set_profile(fleet, APP)
    with blocked_at(fleet.aws, "PutParameter", Kind.DENY):
        running = background.submit(store, fleet, permission_timeout=5)
        wait_for_calls(fleet.aws, "PutParameter")
        succeeded(restore(fleet))
    message = refusal(running.result())
    assert "its admin window is closed or has expired" in message
    assert "another run or a person closed or opened it" in message
    assert "Remove that Deny" not in message
    assert associated_profiles(fleet.aws)[instance] == APP
    assert configurations(fleet.aws) == {}
    assert_clean(fleet.aws)


def test_a_waiting_run_reports_that_another_run_restored_its_instance(
    fleet: Fleet, background: ThreadPoolExecutor
) -> None:
    """The message does not claim that EC2 takes long, or that a timeout should be increased."""
    instance = set_profile(fleet, APP)
    fleet.aws.metadata_lag(60)
    running = background.submit(store, fleet, identity_timeout=5)
    wait_for_calls(fleet.aws, "GetRolePolicy", 2)  # the second is the last read of the acquisition
    succeeded(restore(fleet))
    fleet.aws.metadata_lag(0)
    message = refusal(running.result())
    assert f"Instance {instance} was restored by another run or by a person" in message
    assert "wait_timeout" not in message
    assert calls_of(fleet.aws, "PutParameter") == []
    assert associated_profiles(fleet.aws)[instance] == APP
    assert_clean(fleet.aws)


@pytest.mark.parametrize("action", [REPLACE_ASSOCIATION, "PutParameter"])
def test_an_instance_that_is_terminated_leaves_nothing(
    fleet: Fleet, background: ThreadPoolExecutor, action: str
) -> None:
    """It is terminated at the swap, or as it stores. Then it has stored, and cannot be reached for a last look."""
    instance = fleet.instances["admin1"]
    send = on_instance(fleet.aws, instance, lambda: instance in associated_profiles(fleet.aws))
    with blocked_at(fleet.aws, action, *(NOT_YET if action == REPLACE_ASSOCIATION else (Kind.DENY,))):
        running = background.submit(store, fleet, send=send)
        wait_for_calls(fleet.aws, action)
        fleet.aws.client("ec2").terminate_instances(InstanceIds=[instance])
    ended = running.result()
    assert "wait_timeout" not in str(ended.get("msg"))
    if action == REPLACE_ASSOCIATION:
        assert f"Instance {instance} is terminated and cannot have" in refusal(ended)
    else:
        [warning] = succeeded(ended)["warnings"]
        assert f"admin1 ({instance}) did not report" in warning
        assert "According to EC2 it has no instance profile" in warning
        assert configurations(fleet.aws) == {PARAMETER: config_of("admin1")}
    assert_clean(fleet.aws)
