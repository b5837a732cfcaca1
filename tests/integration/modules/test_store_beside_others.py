"""A run that stores beside another run or a person: one of them writes at a time, and the other one is named."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from emulator import Kind
from emulator.testing import wait_until
from harness import ADMIN_ROLE, PARAMETER, REPLACE_ASSOCIATION, SERVER_ROLE
from in_process import on_instance
from states import States
from storing import APP, CLOSED_POLICY, Result, Storing, config_of, ready_to_store, refusal, succeeded


@pytest.fixture
def account(states: States) -> Storing:
    """An account with two instances that can store."""
    account = states.begin(ready_to_store)
    account.add_instance("admin2", SERVER_ROLE)
    return account


def assert_stored_alone(account: Storing, **results: Result) -> list[str]:
    """Assert that no two windows overlapped, and that each run stored or was refused and named the other one.

    :returns: the hosts that stored, the earliest first.
    """
    account.assert_clean()
    hosts = {instance: host for host, instance in account.instances.items()}
    accepted = [call for call in account.calls_of("PutParameter") if call.status == 200]
    stored = [hosts[call.principal.rpartition("/")[2]] for call in accepted]
    assert sorted(stored) == sorted(host for host, result in results.items() if not result["failed"])
    assert account.stored == ({PARAMETER: config_of(stored[-1])} if stored else {})
    assert set(account.profiles.values()) == {SERVER_ROLE}
    for host in results.keys() - {*stored}:
        [other] = results.keys() - {host}
        message = refusal(results[host])
        is_named = f"at a time, and instance {account.instances[other]} " in message
        assert is_named or f"window of role '{ADMIN_ROLE}' is open until" in message
    return stored


def test_the_windows_of_two_concurrent_runs_never_overlap(account: Storing) -> None:
    """Both check for other admin instances before either has written its restore tag.

    Then both are refused, or one of them; or one has ended before the other goes on, and both store.
    """
    with ThreadPoolExecutor(2) as background, account.blocked_at("CreateTags", Kind.THROTTLE):
        running = {host: background.submit(account.store, host) for host in account.instances}
        wait_until(lambda: len({call.params["ResourceId.1"] for call in account.calls_of("CreateTags")}) == 2)
    assert_stored_alone(account, **{host: run.result() for host, run in running.items()})


WAITS_TO_SWAP: dict[str, Any] = {"at": REPLACE_ASSOCIATION, "kind": Kind.ERROR, "code": "InvalidParameterValue"}
"""EC2 does not know the profile yet. The first replacement only proves that the earlier one can be restored."""
STORES: dict[str, Any] = {"at": "PutParameter", "kind": Kind.DENY}


@pytest.mark.parametrize("blocked", [{**WAITS_TO_SWAP, "times": 2}, STORES], ids=["waits to swap", "stores"])
def test_a_run_is_refused_while_another_is_at_work(account: Storing, blocked: dict[str, Any]) -> None:
    with account.storing(**blocked) as running:
        since = account.aws.mark()
        late = account.store("admin2")
        assert not running.done()
        assert {*account.writes(since)} <= {blocked["at"]}, "only the other run writes"
    assert assert_stored_alone(account, admin1=running.result(), admin2=late) == ["admin1"]


def test_a_run_backs_off_when_another_instance_gets_the_admin_profile(account: Storing) -> None:
    """A person associates the profile after the first run has swapped, and read the window for the second time."""
    account.aws.metadata_lag(60)
    with account.storing("GetRolePolicy", times=2) as running:
        other = account.set_profile(ADMIN_ROLE, "admin2")
        account.aws.metadata_lag(0)
    assert f"instance {other} has instance profile '{ADMIN_ROLE}'" in refusal(running.result())
    assert account.calls_of("PutParameter") == []
    assert account.profiles == {account.instances["admin1"]: SERVER_ROLE, other: ADMIN_ROLE}
    assert account.window == CLOSED_POLICY


def test_a_run_that_another_run_ends_reports_that_the_window_is_closed(account: Storing) -> None:
    """It never advises to remove the Deny of the window."""
    account.set_profile(APP)
    with account.storing(**STORES, permission_timeout=5) as running:
        succeeded(account.restore())
    message = refusal(running.result())
    assert "its admin window is closed or has expired" in message
    assert "another run or a person closed or opened it" in message
    assert "Remove that Deny" not in message
    account.assert_restored(APP)


@pytest.mark.parametrize("blocked", [WAITS_TO_SWAP, STORES], ids=["waits to swap", "stores"])
def test_an_instance_that_is_terminated_leaves_nothing(account: Storing, blocked: dict[str, Any]) -> None:
    """It is terminated at the swap, or as it stores. Then it has stored, and cannot be reached for a last look."""
    instance = account.instances["admin1"]
    send = on_instance(account.aws, instance, lambda: instance in account.profiles)
    with account.storing(**blocked, send=send) as running:
        account.aws.client("ec2").terminate_instances(InstanceIds=[instance])
    ended = running.result()
    assert "wait_timeout" not in str(ended.get("msg"))
    if blocked == WAITS_TO_SWAP:
        assert f"Instance {instance} is terminated. Remove it" in refusal(ended)
    else:
        [warning] = succeeded(ended)["warnings"]
        assert f"admin1 ({instance}) did not report" in warning
        assert "According to EC2 it has no instance profile" in warning
        assert account.stored == {PARAMETER: config_of("admin1")}
    account.assert_clean()
