"""Which key is orphaned, which is replaced, and in which phase its replacement is."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from aws_account import Account
from aws_model import NOW
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import CwagentError, InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._keys.key_rotation import (
    MAX_DAYS,
    AccessKey,
    CreationRecord,
    KeyCreation,
    Keyring,
    KeyRules,
    Phase,
    SavedCredentials,
    key_rules,
    keys_to_dicts,
)
from ansible_collections.cwagent.iam.plugins.module_utils._principals.principal_plan import PrincipalState
from ansible_collections.cwagent.iam.plugins.module_utils._principals.user_plan import User

DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
RULES = KeyRules(max_age=90 * DAY, key_delete_after_days=7 * DAY)
NOW_RULES = replace(RULES, max_age=None, rotate_now=True)
"""All keys are replaced now."""
REVOKE_RULES = replace(NOW_RULES, revoke_old=True)
"""And their replaced keys are deactivated at once: a key leaked."""


def key(name: str, age: timedelta = timedelta(), used: timedelta | None = None, active: bool = True) -> AccessKey:
    """A key of this age, which was last used this long ago."""
    return AccessKey(name, active, NOW - age, None if used is None else NOW - used)


def ring(*keys: AccessKey, saved: str | None = "N", rules: KeyRules = RULES, **more: Any) -> Keyring:
    """Keys of which N is saved, with the record that it replaced O."""
    record = {"replaced_key_id": "O", **more}
    return Keyring("U", keys, SavedCredentials("F", saved, **record), rules, NOW)


def summaries(keyring: Keyring) -> list[str]:
    return [step.summary for step in keyring.steps(is_new_user=False)]


CREATE = "create an access key for user 'U' and save it to F"
REPLACE = "create an access key for user 'U' to replace N and save it to F"
DEACTIVATE, DEACTIVATE_OLD = (f"deactivate access key {name} of user 'U'" for name in ("N", "O"))
DELETE_OLD = "delete access key O of user 'U', which was replaced"
DELETE_ORPHAN = "delete access key X of user 'U', whose secret was never saved"
CURRENT, DUE, WAITING_FOR_USE, DEACTIVATING, GRACE_PERIOD, DELETING = (
    *(Phase.CURRENT, Phase.DUE, Phase.WAITING_FOR_USE),
    *(Phase.DEACTIVATING, Phase.GRACE_PERIOD, Phase.DELETING),
)


def old(used: timedelta | None = None, age: timedelta = 90 * DAY, **more: Any) -> AccessKey:
    """The key that was replaced, when it was old enough."""
    return key("O", age, used, **more)


def new(age: timedelta = timedelta(), used: timedelta | None = None, **more: Any) -> AccessKey:
    """The saved key."""
    return key("N", age, used, **more)


YOUNG, OLD = new(89 * DAY), new(90 * DAY)
PHASES = {
    "the key is young": (ring(YOUNG), CURRENT, []),
    "the key is too old": (ring(OLD), DUE, [REPLACE]),
    "the key is old, but keys are not replaced": (ring(OLD, rules=KeyRules()), None, []),
    "the new key was not used": (ring(old(HOUR), new(HOUR)), WAITING_FOR_USE, []),
    "the new key was used, the old one never": (ring(old(), new(6 * HOUR, MINUTE)), DEACTIVATING, [DEACTIVATE_OLD]),
    "the new key was used, a use of the old one can be unknown yet": (
        ring(old(), new(4 * HOUR, MINUTE)),
        WAITING_FOR_USE,
        [],
    ),
    "the new key was used, the old one five hours before": (
        ring(old(5 * HOUR + MINUTE), new(DAY, MINUTE)),
        DEACTIVATING,
        [DEACTIVATE_OLD],
    ),
    "the new key was used, the old one four hours before": (
        ring(old(4 * HOUR + MINUTE), new(DAY, MINUTE)),
        WAITING_FOR_USE,
        [],
    ),
    "the old key was used during the grace period": (
        ring(old(6 * DAY, active=False), new(8 * DAY, HOUR)),
        GRACE_PERIOD,
        [],
    ),
    "the old key was not used for the grace period": (
        ring(old(7 * DAY, active=False), new(8 * DAY, HOUR)),
        DELETING,
        [DELETE_OLD],
    ),
    "the old key was deactivated by hand, the new one not used": (
        ring(old(7 * DAY, active=False), new(8 * DAY)),
        GRACE_PERIOD,
        [],
    ),
    "the new key is too old before the old one is deleted": (
        ring(old(HOUR, 200 * DAY), new(100 * DAY)),
        WAITING_FOR_USE,
        [],
    ),
    "somebody created a younger key": (ring(new(10 * DAY), key("X", DAY)), CURRENT, []),
    "somebody created an older key": (ring(key("X", 90 * DAY), new(8 * DAY, HOUR)), CURRENT, []),
    "no key was replaced": (ring(old(), new(HOUR, MINUTE), replaced_key_id=None), CURRENT, []),
    "the record names the saved key": (ring(new(HOUR, MINUTE), replaced_key_id="N"), CURRENT, []),
    "an interrupted run created a key": (
        ring(OLD, key("X"), record=CreationRecord(frozenset({"N"}), NOW)),
        DUE,
        [DELETE_ORPHAN, REPLACE],
    ),
    "all now, and no key was replaced": (ring(new(), rules=NOW_RULES, replaced_key_id=None), DUE, [REPLACE]),
    "all now, and the key is younger than its limit": (
        ring(new(DAY), rules=replace(RULES, rotate_now=True)),
        DUE,
        [REPLACE],
    ),
    "all now, and a run has just done it": (ring(new(DAY - MINUTE), rules=NOW_RULES), CURRENT, []),
    "all now, while the old key is in use": (ring(old(HOUR), new(2 * DAY), rules=NOW_RULES), WAITING_FOR_USE, []),
    "all now, and only the new key is in use": (
        ring(old(6 * HOUR), new(2 * DAY, MINUTE), rules=NOW_RULES),
        DUE,
        [DELETE_OLD, REPLACE],
    ),
    "all now, in the grace period": (
        ring(old(DAY, active=False), new(2 * DAY, HOUR), rules=NOW_RULES),
        DUE,
        [DELETE_OLD, REPLACE],
    ),
    "all now, in the grace period of a replacement that has just been made": (
        ring(old(DAY, active=False), new(HOUR), rules=NOW_RULES),
        GRACE_PERIOD,
        [],
    ),
    "all now, and the saved key was deactivated": (ring(new(active=False), rules=NOW_RULES), DUE, [REPLACE]),
    "a leak": (ring(new(DAY), rules=REVOKE_RULES), DUE, [REPLACE, DEACTIVATE]),
    "a leak, and the key was deactivated by hand": (ring(new(active=False), rules=REVOKE_RULES), DUE, [REPLACE]),
    "a leak during a replacement": (
        ring(old(HOUR), new(2 * DAY, HOUR), rules=REVOKE_RULES),
        DUE,
        [DELETE_OLD, REPLACE, DEACTIVATE],
    ),
    "a leak, and the run was killed before it deactivated the old key": (
        ring(old(MINUTE), new(MINUTE), rules=REVOKE_RULES),
        DEACTIVATING,
        [DEACTIVATE_OLD],
    ),
    "a leak again, of a key that was deactivated by hand": (
        ring(old(active=False), new(HOUR, active=False), rules=REVOKE_RULES),
        DUE,
        [DELETE_OLD, REPLACE],
    ),
    "the key is too old, and the old one is revoked": (
        ring(OLD, rules=replace(RULES, revoke_old=True)),
        DUE,
        [REPLACE, DEACTIVATE],
    ),
    "the key is young, and the one that it replaced is revoked": (
        ring(old(MINUTE), YOUNG, rules=replace(RULES, revoke_old=True)),
        DEACTIVATING,
        [DEACTIVATE_OLD],
    ),
}


@pytest.mark.parametrize(("keyring", "phase", "steps"), PHASES.values(), ids=PHASES)
def test_the_phase_and_its_steps(keyring, phase, steps):
    assert keyring.phase is phase
    assert summaries(keyring) == steps


def test_an_unmanaged_key_blocks_the_replacement():
    blocked = ring(OLD, key("X", DAY, 3 * HOUR, active=False))
    assert blocked.phase is Phase.BLOCKED
    with pytest.raises(
        CwagentError, match=r"at F: X \(inactive, 1 days old, last used 2026-03-01T09:30:00Z\)\. Delete"
    ):
        blocked.steps(is_new_user=False)


@pytest.mark.parametrize(
    ("keyring", "evicted"),
    [
        (ring(key("A", DAY), key("B", 2 * DAY), saved=None), "B"),
        (ring(key("A", DAY), key("B", 2 * DAY, HOUR), saved=None), "A"),
        (ring(key("A", DAY, 2 * HOUR), key("B", 2 * DAY, HOUR), saved=None), "A"),
        (ring(OLD, key("X", DAY, HOUR)), "X"),
    ],
)
def test_the_least_recently_used_unmanaged_key_is_evicted(keyring, evicted):
    with pytest.raises(CwagentError, match=r"set saved_key\.evict_unmanaged_key to true"):
        keyring.steps(is_new_user=False)
    evicting = replace(keyring, rules=replace(RULES, evict_unmanaged_key=True))
    created = REPLACE if keyring.saved_key else CREATE
    assert summaries(evicting) == [f"delete access key {evicted} of user 'U' to free a slot for a new one", created]
    assert evicted not in {each.id for each in evicting.planned_keys()}


@pytest.mark.parametrize(
    ("created", "is_orphaned"),
    [(-6 * MINUTE, False), (-4 * MINUTE, True), (14 * MINUTE, True), (16 * MINUTE, False)],
    ids=["before the record", "within the clock skew", "right after the record", "later, by somebody else"],
)
def test_only_a_key_created_right_after_the_record_is_orphaned(created, is_orphaned):
    record = CreationRecord(frozenset(), NOW - DAY)
    found = ring(replace(key("X"), created=NOW - DAY + created), saved=None, record=record)
    assert [each.id for each in found.orphaned] == ["X"] * is_orphaned
    assert found.planned_keys()[0].id == ("" if is_orphaned else "X")


@pytest.mark.parametrize(
    ("used", "record"),
    [(None, CreationRecord(frozenset({"X"}), NOW)), (None, None), (timedelta(), CreationRecord(frozenset(), NOW))],
    ids=["in the record", "no record", "in use"],
)
def test_a_key_that_existed_before_or_was_used_is_not_orphaned(used, record):
    assert ring(key("X", used=used), saved=None, record=record).orphaned == ()


def test_a_deactivated_key_is_an_error_unless_keys_are_created_inactive():
    inactive = ring(key("N", active=False))
    with pytest.raises(
        CwagentError, match=r"saved at F, was deactivated.*--access-key-id N --status Active.*delete it"
    ):
        inactive.steps(is_new_user=False)
    assert summaries(replace(inactive, rules=replace(RULES, create_inactive=True))) == []


def test_an_admin_key_is_replaced_by_an_inactive_one():
    rules = replace(RULES, create_inactive=True)
    due = ring(key("N", 90 * DAY, active=False), rules=rules)
    assert summaries(due) == ["create an inactive access key for user 'U' to replace N and save it to F"]
    assert [each.active for each in due.planned_keys()] == [False, False]
    old = key("O", 90 * DAY, 9 * DAY, active=False)
    assert ring(old, key("N", 8 * DAY, HOUR, active=False), rules=rules).phase is Phase.DELETING


def test_an_unreadable_store_is_an_error():
    with pytest.raises(CwagentError, match="no"):
        ring(key("A"), problem="no").steps(is_new_user=False)


def test_the_key_of_an_admin_user_is_not_replaced_while_its_window_is_open():
    """The window would then never deactivate the old key."""
    rules = replace(RULES, create_inactive=True)
    assert ring(OLD, rules=rules).phase is Phase.CURRENT
    assert ring(replace(OLD, active=False), rules=rules).phase is Phase.DUE


def test_an_open_window_keeps_the_key_of_an_admin_user_from_being_replaced_now():
    rules = replace(REVOKE_RULES, create_inactive=True)
    is_open = ring(key("N", DAY), rules=rules)
    with pytest.raises(CwagentError, match=r"its admin window is open\. Run cwagent\.iam\.restore to close it"):
        is_open.steps(is_new_user=False)
    closed = ring(key("N", DAY, active=False), rules=rules)
    assert summaries(closed) == ["create an inactive access key for user 'U' to replace N and save it to F"]


def test_a_deactivated_key_is_an_error_while_the_old_one_is_in_use():
    found = ring(key("O", 90 * DAY, HOUR), key("N", DAY, active=False), rules=NOW_RULES)
    with pytest.raises(CwagentError, match="was deactivated"):
        found.steps(is_new_user=False)


SAVED_ID, OLD_ID = "AKIASAVED00000000000", "AKIAREPLACED00000000"
AGES = st.sampled_from([timedelta(), HOUR, 23 * HOUR, 25 * HOUR, 100 * DAY])


@given(
    saved=st.tuples(AGES, st.none() | AGES, st.booleans()),
    old=st.none() | st.tuples(AGES, st.booleans()),
    has_record=st.booleans(),
    revoke=st.booleans(),
    killed_after=st.integers(0, 3),
)
def test_a_run_that_replaces_keys_now_is_continued_by_the_next_one(saved, old, has_record, revoke, killed_after):
    """A second run with the same rules completes the rest of the first, and a third does nothing."""
    rules = replace(NOW_RULES, revoke_old=revoke)
    saved_age, used, saved_active = saved
    found = [key(SAVED_ID, *saved)] + ([key(OLD_ID, old[0], None, old[1])] if old else [])
    assume(saved_active or revoke or not (old and old[1]))  # a person has to decide
    before = {each.id for each in found}
    for first_run in (killed_after, None):
        each = Servers([DAY], (timedelta(), timedelta()))
        each.start(found, replaced=OLD_ID if has_record or old else None)
        each.run(rules, first_run)
        each.run(rules)
        keys = each.iam.users["U"].keys
        assert each.saved in keys
        assert len(keys) <= 2
        assert all(name in (each.saved, each.replaced) for name in keys)
        assert keys[each.saved].active
        assert not revoke or [name for name, key in keys.items() if key.active] == [each.saved]
        was_new = (has_record or old) and saved_active and saved_age < DAY
        has_switched = used is not None and saved_age - used >= 5 * HOUR
        was_in_use = bool(old and old[1] and not (revoke or has_switched))
        assert (each.saved in before) == bool(was_new or was_in_use)
        assert [step.action for step in each.keyring(rules).steps(is_new_user=False)] in ([], ["iam:DeleteAccessKey"])


def test_only_the_recorded_predecessor_is_deleted_where_iam_allows_more_keys():
    found = ring(key("A", 91 * DAY, active=False), key("O", 90 * DAY, active=False), key("N", DAY, HOUR))
    assert summaries(found) == ["delete access key O of user 'U', which was replaced"]
    assert [each.id for each in found.unmanaged] == ["A"]


def test_a_key_of_others_is_reported_when_keys_are_replaced():
    other = ring(key("X", 91 * DAY, HOUR), key("N", DAY))
    [warning] = other.warnings
    assert warning.startswith(
        "user 'U' has another access key, which is neither saved nor replaced by the saved one: X (active"
    )
    assert warning.endswith("It was not changed")
    assert replace(other, rules=KeyRules()).warnings == []
    assert ring(key("O", 91 * DAY), key("N", DAY)).warnings == []


def test_keys_are_rendered_with_age_and_last_use():
    assert keys_to_dicts([key("A", DAY + HOUR, HOUR), AccessKey("", active=False)], NOW) == [
        {
            "id": "A",
            "active": True,
            "age_days": 1,
            "created": "2026-02-28T11:30:00Z",
            "last_used": "2026-03-01T11:30:00Z",
        },
        {"id": None, "active": False, "age_days": 0, "created": None, "last_used": None},
    ]


@pytest.mark.parametrize("create_inactive", [False, True])
@pytest.mark.parametrize("belongs_to_other", [False, True])
def test_the_step_that_creates_a_key_shows_how_to_save_it(create_inactive, belongs_to_other):
    rules = replace(RULES, create_inactive=create_inactive)
    [step] = ring(key("X"), saved="A", rules=rules, belongs_to_other=belongs_to_other).steps(is_new_user=False)
    assert step.context == KeyCreation(("X",), "A", None, keep_previous=belongs_to_other, inactive=create_inactive)


class Servers:
    """Servers that share a user and get each new key late, with the user in a model of IAM and a clock.

    :param delays: how late each server gets a new key.
    :param shown_late: how late IAM shows the last use of a key, for every other key.
    """

    def __init__(self, delays: list[timedelta], shown_late: tuple[timedelta, timedelta]) -> None:
        self.iam, self.now, self.delays, self.shown_late = Account(), NOW, delays, shown_late
        self.iam.put_user(User("U", PrincipalState()))
        self.saved: str | None = None
        self.replaced: str | None = None
        self.saved_at = self.now
        self.in_use: dict[int, str | None] = {}
        self.created: list[str] = []
        self.uses: dict[str, list[datetime]] = {}

    def start(self, keys: list[AccessKey], replaced: str | None) -> None:
        """Give the user keys, of which the first is saved."""
        self.saved, self.replaced, self.created = keys[0].id, replaced, [each.id for each in keys]
        self.iam.users["U"].keys = {each.id: each for each in keys}
        self.uses = {each.id: [] for each in keys}

    def keyring(self, rules: KeyRules = RULES) -> Keyring:
        for name in self.iam.users["U"].keys:
            shown_until = self.now - self.shown_late[self.created.index(name) % 2]
            shown = [used for used in self.uses[name] if used <= shown_until]
            if shown:
                self._set_dates(name, used=shown[-1])
        user = self.iam.user("U")
        assert user
        return Keyring(
            "U", user.keys, SavedCredentials("F", self.saved, replaced_key_id=self.replaced), rules, self.now
        )

    def run(self, rules: KeyRules = RULES, killed_after: int | None = None) -> None:
        for step in self.keyring(rules).steps(is_new_user=False)[:killed_after]:
            answer = self.iam.take(step)
            if answer:
                self.replaced = self.saved
                self.saved, self.saved_at = answer["AccessKey"]["AccessKeyId"], self.now
                self.created.append(self.saved)
                self.uses[self.saved] = []
                self._set_dates(self.saved, created=self.now)

    def work(self) -> None:
        for server, delay in enumerate(self.delays):
            if self.in_use.get(server) is None or self.now - self.saved_at >= delay:
                self.in_use[server] = self.saved
            name = self.in_use[server]
            assert name
            assert self.iam.users["U"].keys[name].active, f"server {server} has no active key at {self.now}"
            self.uses[name] = [*self.uses[name][-12:], self.now]

    def _set_dates(self, name: str, **dates: Any) -> None:
        keys = self.iam.users["U"].keys
        keys[name] = replace(keys[name], **dates)


SHOWN_LATE = st.integers(0, 4 * 60).map(lambda minutes: minutes * MINUTE)


@settings(max_examples=30)
@given(
    delays=st.lists(st.integers(0, 60).map(lambda days: days * DAY), min_size=1, max_size=2),
    run_every=st.integers(1, 100),
    minute=st.integers(0, 59).map(lambda minutes: minutes * MINUTE),
    shown_late=st.tuples(SHOWN_LATE, SHOWN_LATE),
)
def test_a_server_has_an_active_key_at_any_time(delays, run_every, minute, shown_late):
    servers = Servers(delays, shown_late)
    servers.run()
    seen = set()
    for hour in range(200 * 24):
        servers.now = NOW + hour * HOUR
        servers.work()
        if hour % run_every == 0:
            servers.now += minute
            servers.run()
        seen |= set(servers.iam.users["U"].keys)
        assert len(servers.iam.users["U"].keys) <= 2
    assert len(seen) in (2, 3)


@pytest.mark.parametrize(
    ("name", "planned"),
    [
        ("the new key was used, the old one never", {"O": False, "N": True}),
        ("the old key was not used for the grace period", {"N": True}),
        ("the key is young", {"N": True}),
        ("the key is too old", {"N": True, "": True}),
        ("an interrupted run created a key", {"N": True, "": True}),
        ("a leak", {"N": False, "": True}),
        ("a leak during a replacement", {"N": False, "": True}),
        ("all now, in the grace period", {"N": True, "": True}),
        ("a leak, and the run was killed before it deactivated the old key", {"O": False, "N": True}),
    ],
)
def test_the_planned_keys(name, planned):
    keyring, *_ = PHASES[name]
    assert {key.id: key.active for key in keyring.planned_keys()} == planned


def test_the_key_of_a_new_user_is_retried_until_iam_knows_the_user():
    [new] = ring(saved=None).steps(is_new_user=True)
    [existing] = ring(saved=None).steps(is_new_user=False)
    assert "NoSuchEntity" in new.retry_when - existing.retry_when
    assert existing.retry_when
    assert existing.retry_when <= new.retry_when


def test_the_key_that_a_deleted_one_replaced_is_replaced_by_the_next_one():
    found = ring(key("O", DAY), saved="GONE", rules=KeyRules())
    [step] = found.steps(is_new_user=False)
    assert step.summary == "create an access key for user 'U' to replace O and save it to F"
    assert step.context.replaced_key_id == "O"
    assert (found.unmanaged, found.warnings) == ((), [])
    assert [(each.id, each.active) for each in found.planned_keys()] == [("O", True), ("", True)]
    assert summaries(replace(found, rules=REVOKE_RULES)) == [step.summary, DEACTIVATE_OLD]
    assert [each.id for each in ring(key("O", DAY), saved="GONE", replaced_key_id=None).unmanaged] == ["O"]
    with pytest.raises(CwagentError, match="Delete a key that is not in use"):
        ring(key("O", DAY), key("X", DAY), saved="GONE").steps(is_new_user=False)


@pytest.mark.parametrize(
    ("keyring", "needed"),
    [
        (ring(key("N")), True),
        (ring(key("N"), rules=KeyRules()), False),
        (ring(key("A"), rules=KeyRules()), False),
        (ring(key("A"), key("B"), rules=KeyRules()), True),
        (ring(rules=KeyRules()), False),
    ],
)
def test_the_last_use_is_needed_to_replace_and_to_evict_keys(keyring, needed):
    assert keyring.needs_last_use is needed


DEFAULTS = {
    "key_max_age_days": None,
    "rotate_now": False,
    "key_delete_after_days": 7,
    "revoke_old": False,
    "saved_key": None,
}


@pytest.mark.parametrize(
    ("params", "rules"),
    [
        ({}, KeyRules()),
        ({"key_max_age_days": 1, "key_delete_after_days": 0}, KeyRules(timedelta(days=1), timedelta())),
        ({"key_max_age_days": 1, "revoke_old": True}, KeyRules(timedelta(days=1), revoke_old=True)),
        ({"rotate_now": True, "revoke_old": True}, KeyRules(rotate_now=True, revoke_old=True)),
        ({"rotate_now": True, "key_max_age_days": 0}, KeyRules(timedelta(), rotate_now=True)),
        (
            {"key_max_age_days": MAX_DAYS, "key_delete_after_days": MAX_DAYS},
            KeyRules(timedelta(days=MAX_DAYS), timedelta(days=MAX_DAYS)),
        ),
        ({"saved_key": {"evict_unmanaged_key": False}}, KeyRules()),
        ({"saved_key": {"evict_unmanaged_key": True}}, KeyRules(evict_unmanaged_key=True)),
    ],
)
def test_the_rules_follow_the_options(params, rules):
    assert key_rules({**DEFAULTS, **params}) == rules


@pytest.mark.parametrize(
    ("option", "days", "message"),
    [
        ("key_max_age_days", -1, "key_max_age_days must be between 1 and 36500 days, not -1."),
        ("key_max_age_days", 0, "key_max_age_days must be between 1 and 36500 days, not 0."),
        ("key_max_age_days", 36501, "key_max_age_days must be between 1 and 36500 days, not 36501."),
        ("key_delete_after_days", -1, "key_delete_after_days must be between 0 and 36500 days, not -1."),
        ("key_delete_after_days", 36501, "key_delete_after_days must be between 0 and 36500 days, not 36501."),
    ],
)
def test_a_number_of_days_out_of_range_is_refused(option, days, message):
    with pytest.raises(InvalidInput) as failure:
        key_rules({**DEFAULTS, option: days})
    assert str(failure.value) == message


def test_old_keys_are_revoked_only_where_keys_are_replaced():
    with pytest.raises(InvalidInput) as failure:
        key_rules({**DEFAULTS, "revoke_old": True})
    assert str(failure.value) == "revoke_old requires key_max_age_days or rotate_now."
