"""Which key is lost, which is replaced, and what happens next."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from aws_model import NOW, Iam
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils._access_keys.rotation import (
    AccessKey,
    Keyring,
    KeyRules,
    Pending,
    Phase,
    SavedCredentials,
    report,
)
from ansible_collections.cwagent.iam.plugins.module_utils._errors import CwagentError
from ansible_collections.cwagent.iam.plugins.module_utils._principal.plan import PrincipalState
from ansible_collections.cwagent.iam.plugins.module_utils._user.plan import User

DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
RULES = KeyRules(max_age=90 * DAY, retire_after=7 * DAY)


def key(name: str, age: timedelta = timedelta(), used: timedelta | None = None, active: bool = True) -> AccessKey:
    """A key so old, and last used so long ago."""
    return AccessKey(name, active, NOW - age, None if used is None else NOW - used)


def ring(*keys: AccessKey, saved: str | None = "N", rules: KeyRules = RULES, **more: Any) -> Keyring:
    return Keyring("U", keys, SavedCredentials("F", saved, **more), rules, NOW)


def summaries(keyring: Keyring) -> list[str]:
    return [step.summary for step in keyring.steps(new_user=False)]


MAKE = "create an access key for user 'U' and save it to F"
YOUNG, OLD = key("N", 89 * DAY), key("N", 90 * DAY)
PHASES = {
    "young": (ring(YOUNG), Phase.CURRENT, []),
    "too old": (ring(OLD), Phase.DUE, [MAKE]),
    "too old, but none is replaced": (ring(OLD, rules=KeyRules()), None, []),
    "the new one was not used": (ring(key("O", 90 * DAY, HOUR), key("N", HOUR)), Phase.WAITING_FOR_USE, []),
    "the new one was used, the old one never": (
        ring(key("O", 90 * DAY), key("N", HOUR, MINUTE)),
        Phase.DEACTIVATING,
        ["deactivate access key O of user 'U'"],
    ),
    "the new one was used, the old one an hour before": (
        ring(key("O", 90 * DAY, HOUR + MINUTE), key("N", DAY, MINUTE)),
        Phase.DEACTIVATING,
        ["deactivate access key O of user 'U'"],
    ),
    "one server has switched, another has not": (
        ring(key("O", 90 * DAY, 2 * MINUTE), key("N", DAY, MINUTE)),
        Phase.WAITING_FOR_USE,
        [],
    ),
    "a server has switched back": (ring(key("O", 90 * DAY, MINUTE), key("N", DAY, HOUR)), Phase.WAITING_FOR_USE, []),
    "the old one is not quiet for long": (
        ring(key("O", 90 * DAY, 6 * DAY, active=False), key("N", 8 * DAY, HOUR)),
        Phase.GRACE_PERIOD,
        [],
    ),
    "the old one is quiet": (
        ring(key("O", 90 * DAY, 7 * DAY, active=False), key("N", 8 * DAY, HOUR)),
        Phase.DELETING,
        ["delete access key O of user 'U', which another has replaced"],
    ),
    "the old one was deactivated by hand, the new one not used": (
        ring(key("O", 90 * DAY, 7 * DAY, active=False), key("N", 8 * DAY)),
        Phase.GRACE_PERIOD,
        [],
    ),
    "the new one is too old before the old one is gone": (
        ring(key("O", 200 * DAY, HOUR), key("N", 100 * DAY)),
        Phase.WAITING_FOR_USE,
        [],
    ),
    "somebody made a key": (ring(key("N", 10 * DAY), key("X", DAY)), Phase.CURRENT, []),
    "a key came after an interrupted run": (
        ring(OLD, key("X"), pending=Pending(frozenset({"N"}), NOW)),
        Phase.DUE,
        ["delete access key X of user 'U', whose secret was lost", MAKE],
    ),
}


@pytest.mark.parametrize(("keyring", "phase", "steps"), PHASES.values(), ids=PHASES)
def test_phases(keyring, phase, steps):
    assert keyring.phase is phase
    assert summaries(keyring) == steps


def test_there_is_no_room_for_a_key_of_somebody():
    blocked = ring(OLD, key("X", DAY, 3 * HOUR))
    assert blocked.phase is Phase.BLOCKED
    with pytest.raises(CwagentError, match=r"at F: X \(active, 1 days old, last used 2026-03-01T09:30:00Z\)\. Delete"):
        blocked.steps(new_user=False)


@pytest.mark.parametrize(
    ("keyring", "spared"),
    [
        (ring(key("A", DAY), key("B", 2 * DAY), saved=None), "B"),
        (ring(key("A", DAY), key("B", 2 * DAY, HOUR), saved=None), "A"),
        (ring(key("A", DAY, 2 * HOUR), key("B", 2 * DAY, HOUR), saved=None), "A"),
        (ring(OLD, key("X", DAY, HOUR)), "X"),
    ],
)
def test_making_room(keyring, spared):
    with pytest.raises(CwagentError, match="set credentials"):
        keyring.steps(new_user=False)
    roomy = replace(keyring, rules=replace(RULES, evict_unmanaged_key=True))
    assert summaries(roomy) == [f"delete access key {spared} of user 'U' to make room for a new one", MAKE]
    assert spared not in {each.id for each in roomy.after()}


@pytest.mark.parametrize(
    ("made", "orphaned"),
    [(-6 * MINUTE, False), (-4 * MINUTE, True), (14 * MINUTE, True), (16 * MINUTE, False)],
    ids=["before the record", "by another clock", "right after it", "by somebody, later"],
)
def test_only_a_key_that_came_right_after_the_record_is_lost(made, orphaned):
    pending = Pending(frozenset(), NOW - DAY)
    found = ring(replace(key("X"), created=NOW - DAY + made), saved=None, pending=pending)
    assert [each.id for each in found.orphaned] == ["X"] * orphaned
    assert found.after()[0].id == ("" if orphaned else "X")


@pytest.mark.parametrize("pending", [Pending(frozenset({"X"}), NOW), None])
def test_a_key_that_was_there_before_is_not_lost(pending):
    assert ring(key("X"), saved=None, pending=pending).orphaned == ()


def test_a_key_that_was_switched_off_is_not_replaced_in_silence():
    off = ring(key("N", active=False))
    with pytest.raises(
        CwagentError, match=r"saved at F, was deactivated.*--access-key-id N --status Active.*delete it"
    ):
        off.steps(new_user=False)
    assert summaries(replace(off, rules=replace(RULES, inactive=True))) == []


def test_a_key_of_an_admin_is_replaced_switched_off():
    rules = replace(RULES, inactive=True)
    due = ring(key("N", 90 * DAY, active=False), rules=rules)
    assert summaries(due) == ["create an inactive access key for user 'U' and save it to F"]
    assert [each.active for each in due.after()] == [False, False]
    old = key("O", 90 * DAY, 9 * DAY, active=False)
    assert ring(old, key("N", 8 * DAY, HOUR, active=False), rules=rules).phase is Phase.DELETING


def test_what_cannot_be_read_is_left_alone():
    with pytest.raises(CwagentError, match="no"):
        ring(key("A"), problem="no").steps(new_user=False)


def test_more_keys_than_iam_allows_today():
    found = ring(key("A", 91 * DAY, active=False), key("B", 90 * DAY, active=False), key("N", DAY, HOUR))
    assert summaries(found) == ["delete access key A of user 'U', which another has replaced"]


def test_report():
    assert report([key("A", DAY + HOUR, HOUR), AccessKey("", active=False)], NOW) == [
        {
            "id": "A",
            "active": True,
            "age_days": 1,
            "created": "2026-02-28T11:30:00Z",
            "last_used": "2026-03-01T11:30:00Z",
        },
        {"id": None, "active": False, "age_days": 0, "created": None, "last_used": None},
    ]


class Server:
    """A user's keys in a model of IAM with a clock, and a server that gets each new key late."""

    def __init__(self, late: timedelta) -> None:
        self.iam, self.time, self.late = Iam(), NOW, late
        self.iam.put_user(User("U", PrincipalState()))
        self.saved: str | None = None
        self.saved_at = self.time
        self.principal: str | None = None

    def keyring(self) -> Keyring:
        user = self.iam.user("U")
        assert user
        return Keyring("U", user.keys, SavedCredentials("F", self.saved), RULES, self.time)

    def run(self) -> None:
        for step in self.keyring().steps(new_user=False):
            answer = self.iam.take(step)
            if answer:
                self.saved, self.saved_at = answer["AccessKey"]["AccessKeyId"], self.time
                self._server_time(self.saved, created=self.time)

    def work(self) -> None:
        if self.principal is None or self.time - self.saved_at >= self.late:
            self.principal = self.saved
        assert self.principal
        assert self.iam.users["U"].keys[self.principal].active, f"the server is cut off at {self.time}"
        self._server_time(self.principal, used=self.time)

    def _server_time(self, name: str, **dates: datetime) -> None:
        keys = self.iam.users["U"].keys
        keys[name] = replace(keys[name], **dates)


@given(
    late=st.integers(0, 60).map(lambda days: days * DAY),
    run_every=st.integers(1, 100),
    minute=st.integers(0, 59).map(lambda minutes: minutes * MINUTE),
)
def test_the_server_is_never_cut_off(late, run_every, minute):
    server = Server(late)
    server.run()
    seen = set()
    for hour in range(200 * 24):
        server.time = NOW + hour * HOUR
        server.work()
        if hour % run_every == 0:
            server.time += minute
            server.run()
        seen |= set(server.iam.users["U"].keys)
        assert len(server.iam.users["U"].keys) <= 2
    assert len(seen) in (2, 3)
