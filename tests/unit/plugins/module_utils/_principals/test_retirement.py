"""When the user of servers that no longer need its access keys is deleted, and what is done before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from aws_account import ALWAYS, Account
from aws_model import NOW, check_steps
from declarations import ADOPTED_TAGS, CREATED_TAGS, SERVER, UNMANAGED, declare
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils._ground.names import NOT_CREATED
from ansible_collections.cwagent.iam.plugins.module_utils._ground.plan import Plan, apply
from ansible_collections.cwagent.iam.plugins.module_utils._keys.key_rotation import (
    AccessKey,
    CreationRecord,
    KeyRules,
    SavedCredentials,
)
from ansible_collections.cwagent.iam.plugins.module_utils._principals.principal_plan import PrincipalState
from ansible_collections.cwagent.iam.plugins.module_utils._principals.user import UserResource
from ansible_collections.cwagent.iam.plugins.module_utils._principals.user_plan import State, User

DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
RULES = KeyRules(key_delete_after_days=7 * DAY, retires=True)
NEW, OLD, OTHER = "AKIANEWXXXXXXXXXXXXX", "AKIAOLDXXXXXXXXXXXXX", "AKIAOTHERXXXXXXXXXXX"
DEACTIVATE, DEACTIVATE_OLD = (f"deactivate access key {each} of user 'U'" for each in (NEW, OLD))
DETACH, DELETE_USER = "detach CloudWatchAgentServerPolicy from user 'U'", "delete user 'U'"
DELETE_KEY, DELETE_OLD = (f"delete access key {each} of user 'U'" for each in (NEW, OLD))
SAVED = SavedCredentials("F", NEW, replaced_key_id=OLD)
AT_PREVIOUS_PLACE = SavedCredentials("F")


def key(name: str, age: timedelta, used: timedelta | None = None, active: bool = True) -> AccessKey:
    """A key of this age, which was last used this long ago."""
    return AccessKey(name, active, NOW - age, None if used is None else NOW - used)


def user(
    *keys: AccessKey, saved: SavedCredentials = SAVED, tags: Mapping[str, str] = CREATED_TAGS, **more: Any
) -> State:
    """A user with the policy of servers, of which the key NEW is saved, with the record that it replaced OLD."""
    policies = frozenset({SERVER, *more.pop("policies", ())})
    return State("U", NOW, User("U", PrincipalState(policies=policies, tags=tags), keys=keys, **more), saved)


def resource(store: Any = None, account: Account | None = None, **more: Any) -> UserResource:
    """The resource that retires the user."""
    aws, desired = (account or Account()).aws(), declare(exclusive=more.pop("exclusive", False))
    place: Any = store or object()
    return UserResource(aws, ["U"], desired, store=place, present=False, rules=more.pop("rules", RULES), **more)


def planned(state: State, **more: Any) -> tuple[Plan[Any], dict[str, Any], list[str]]:
    """The plan, the result and the warnings."""
    retiring = resource(**more)
    plan = retiring.plan({"U": state})
    return plan, retiring.to_result(plan, plan.planned), retiring.warnings(plan)


CASES: dict[str, tuple[State, str | None, list[str]]] = {
    "no user": (State("U", NOW, saved=SAVED), None, []),
    "in use": (user(key(NEW, 90 * DAY, 4 * HOUR)), "in_use", []),
    "never used, created a moment ago": (user(key(NEW, 4 * HOUR)), "in_use", []),
    "used by another server": (user(key(OLD, 99 * DAY, MINUTE), key(NEW, 9 * DAY, DAY)), "in_use", []),
    "unused": (user(key(NEW, 90 * DAY, 5 * HOUR)), "deactivating", [DEACTIVATE]),
    "two unused keys": (
        user(key(OLD, 99 * DAY, 9 * DAY), key(NEW, 9 * DAY, DAY)),
        "deactivating",
        [DEACTIVATE_OLD, DEACTIVATE],
    ),
    "inactive": (user(key(NEW, 90 * DAY, 7 * DAY - MINUTE, active=False)), "grace_period", []),
    "inactive, one was used later": (
        user(key(OLD, 99 * DAY, 9 * DAY, active=False), key(NEW, 20 * DAY, 6 * DAY, active=False)),
        "grace_period",
        [],
    ),
    "unused for long enough": (
        user(key(OLD, 99 * DAY, 9 * DAY, active=False), key(NEW, 9 * DAY, 7 * DAY, active=False)),
        "deleting",
        [DELETE_OLD, DELETE_KEY, "delete F", DETACH, DELETE_USER],
    ),
    "the key is deleted, its copy is not": (user(), "deleting", ["delete F", DETACH, DELETE_USER]),
    "no key at all": (user(saved=AT_PREVIOUS_PLACE), "deleting", [DETACH, DELETE_USER]),
    "the secret is being deleted": (
        user(saved=SavedCredentials("F", problem="It was marked for deletion.", is_being_deleted=True)),
        "deleting",
        [DETACH, DELETE_USER],
    ),
    "an interrupted run left a key": (
        user(key(OTHER, DAY), saved=SavedCredentials("F", record=CreationRecord(frozenset(), NOW - DAY))),
        "deactivating",
        [f"deactivate access key {OTHER} of user 'U'"],
    ),
    "adopted": (
        user(key(NEW, 8 * DAY, active=False), tags=ADOPTED_TAGS),
        "deleting",
        [DELETE_KEY, "delete F", DETACH, "remove the tags cwagent:managed from user 'U'"],
    ),
    "adopted earlier, and retired": (user(saved=AT_PREVIOUS_PLACE, tags={}), None, []),
    "of others": (user(key(NEW, 8 * DAY, active=False), tags={}), "blocked", []),
    "of others, unreadable": (user(key(NEW, DAY), saved=SavedCredentials("F", problem="No."), tags={}), "blocked", []),
    "another key": (user(key(NEW, 8 * DAY, active=False), key(OTHER, 9 * DAY, active=False)), "blocked", []),
    "saved elsewhere": (user(key(NEW, 9 * DAY), saved=AT_PREVIOUS_PLACE), "blocked", []),
}


@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize(("state", "phase", "steps"), CASES.values(), ids=CASES)
def test_the_phase_and_its_steps(state, phase, steps, exclusive):
    plan, result, _ = planned(state, exclusive=exclusive)
    assert plan.summaries == steps
    assert result["retirement"] == ({"U": phase} if phase else {})
    assert result["rotation"] == {}


@pytest.mark.parametrize("case", CASES)
def test_nothing_is_done_for_a_user_on_hold(case):
    state, _, _ = CASES[case]
    plan, result, warnings = planned(state, hold={"U": "db2 is unreachable", "V": "x"})
    assert (plan.summaries, plan.planned["U"], warnings) == ([], state, [])
    has_phase = state.user is not None and case != "adopted earlier, and retired"
    assert result["retirement"] == ({"U": "waiting"} if has_phase else {})
    assert result["blockers"] == ({"U": ["db2 is unreachable"]} if has_phase else {})


def test_a_hold_without_a_reason_holds():
    plan, result, _ = planned(user(key(NEW, DAY)), hold={"U": None})
    assert (plan.summaries, result["retirement"]) == ([], {"U": "waiting"})


def test_an_unmanaged_key_is_a_warning_with_its_last_use():
    _, result, warnings = planned(user(key(NEW, 8 * DAY), key(OTHER, 9 * DAY, HOUR)))
    other = "user 'U' has another access key, which is neither saved nor replaced by the saved one"
    found = f"{OTHER} (active, 9 days old, last used 2026-03-01T11:30:00Z)"
    assert warnings == [f"{other}: {found}. Nothing was changed. Delete that key if nobody uses it"]
    assert result["blockers"] == {"U": [f"access key {OTHER}"]}


def test_a_user_of_others_is_a_warning():
    _, result, warnings = planned(user(key(NEW, 8 * DAY), key(OTHER, 9 * DAY), tags={}))
    assert warnings == ["user 'U' was not deleted; it was not created by this collection"]
    assert result["blockers"] == {"U": [NOT_CREATED]}


def test_a_user_with_unmanaged_things_is_kept_without_its_keys():
    state = user(key(NEW, 8 * DAY, active=False), policies={UNMANAGED})
    plan, result, warnings = planned(state)
    assert plan.summaries == [DELETE_KEY, "delete F", DETACH]
    assert warnings == [f"user 'U' was not deleted; still attached: policy {UNMANAGED}"]
    assert result["blockers"] == {"U": [f"policy {UNMANAGED}"]}
    kept = plan.planned["U"]
    plan, result, _ = planned(replace(kept, saved=AT_PREVIOUS_PLACE))
    assert (plan.summaries, result["retirement"]) == ([], {"U": "deleting"})


@pytest.mark.parametrize("case", ["in use", "unused", "inactive", "no user"])
def test_a_phase_without_an_obstacle_has_no_warning(case):
    _, result, warnings = planned(CASES[case][0])
    assert (result["blockers"], warnings) == ({}, [])


def test_an_unreadable_saved_key_is_an_error():
    saved = SavedCredentials("F", problem="Could not read F.")
    plan, _, warnings = planned(user(key(NEW, DAY), saved=saved))
    assert {name: str(error) for name, error in plan.errors.items()} == {"U": "Could not read F."}
    assert (plan.summaries, warnings) == ([], [])
    assert planned(State("U", NOW, saved=saved))[0].errors == {}


def test_a_saved_value_that_is_no_access_key_is_kept_with_a_warning():
    plan, _, warnings = planned(user(saved=SavedCredentials("F", is_unusable=True)))
    assert plan.summaries == [DETACH, DELETE_USER]
    assert warnings == ["F was not deleted, because it is not an access key. If nobody needs it, delete it by hand."]


def test_keys_that_are_retired_are_not_replaced():
    rules = replace(RULES, max_age=DAY, rotate_now=True)
    plan, result, _ = planned(user(key(NEW, 90 * DAY, HOUR)), rules=rules)
    assert (plan.summaries, result["rotation"], result["retirement"]) == ([], {}, {"U": "in_use"})


def test_the_last_use_of_every_key_is_read():
    account = Account()
    account.put_user(User("U", keys=(key(OLD, DAY, MINUTE), key(NEW, DAY))))
    state = resource(account=account)._add_last_use(user(key(OLD, DAY), key(NEW, DAY)))
    assert state.user
    assert [each.used for each in state.user.keys] == [NOW - MINUTE, None]


def test_the_next_phase_is_left_to_a_later_run():
    active = user(key(NEW, 90 * DAY, 9 * DAY))
    plan, _, _ = planned(active)
    assert resource().remaining(plan, {"U": active}) == [DEACTIVATE]
    inactive = user(key(NEW, 90 * DAY, 9 * DAY, active=False))
    assert planned(inactive)[1]["retirement"] == {"U": "deleting"}
    assert resource().remaining(plan, {"U": inactive}) == []


def test_a_user_that_iam_still_shows_is_waited_for():
    plan, _, _ = planned(user(key(NEW, 9 * DAY, active=False)))
    assert resource().remaining(plan, {"U": user(saved=AT_PREVIOUS_PLACE)}) == [DETACH, DELETE_USER]
    assert resource().remaining(plan, {"U": State("U", NOW, saved=AT_PREVIOUS_PLACE)}) == []


# Below: with a model of IAM, a store and a clock


class Killed(Exception):
    """The controller stops, or the answer is lost."""


class Retiring:
    """A user in a model of IAM with its saved key. Its writes are the calls and the deletion of the saved key."""

    def __init__(self, state: State, rules: KeyRules = RULES, **more: Any) -> None:
        self.account, self.saved, self.writes = Account(), state.saved, 0
        assert state.user
        self.account.put_user(state.user)
        self.resource = resource(self, self.account, rules=rules, **more)
        self.account.before("", self._count, times=ALWAYS)

    def _count(self) -> None:
        self.writes += 1

    def delete(self, name: str) -> None:
        """Delete the saved key."""
        assert name == "U"
        self.account.happen("delete", False)
        self.saved = AT_PREVIOUS_PLACE
        self.account.happen("delete", True)

    def state(self) -> dict[str, State]:
        return {"U": State("U", self.account.now, self.account.user("U"), self.saved)}

    def run(self) -> tuple[str | None, int]:
        """The phase, and the number of writes."""
        self.writes = 0
        plan = self.resource.plan(self.state())
        result = self.resource.to_result(plan, plan.planned)
        check_steps(plan.all_steps)
        apply(plan, self.resource.execute, check_mode=False)
        final = self.state()["U"]
        assert final.user == plan.planned["U"].user
        return result["retirement"].get("U"), self.writes


SPANS = st.sampled_from([timedelta(), MINUTE, 5 * HOUR - MINUTE, 5 * HOUR, DAY, 7 * DAY - MINUTE, 7 * DAY, 90 * DAY])
KEYS = st.lists(
    st.builds(
        lambda name, age, used, active: key(name, age, None if used is None else min(used, age), active),
        st.sampled_from([NEW, OLD, OTHER]),
        SPANS,
        st.none() | SPANS,
        st.booleans(),
    ),
    max_size=2,
    unique_by=lambda each: each.id,
)
RECORD = st.none() | st.builds(
    CreationRecord, st.frozensets(st.sampled_from([NEW, OLD, OTHER])), SPANS.map(lambda span: NOW - span)
)
STORED = st.builds(
    SavedCredentials,
    st.just("F"),
    st.sampled_from([None, NEW, "AKIAGONEXXXXXXXXXXXX"]),
    record=RECORD,
    replaced_key_id=st.sampled_from([None, OLD]),
)
USERS = st.builds(
    lambda keys, saved, tags, policies: user(*keys, saved=saved, tags=tags, policies=policies),
    KEYS,
    STORED,
    st.sampled_from([CREATED_TAGS, ADOPTED_TAGS, {}]),
    st.sampled_from([(), (UNMANAGED,)]),
)


def was_used_within(each: AccessKey, span: timedelta) -> bool:
    assert each.created
    return NOW - (each.used or each.created) < span


@given(state=USERS, exclusive=st.booleans())
def test_only_unused_keys_are_deactivated_and_only_inactive_ones_are_deleted(state, exclusive):
    retiring = Retiring(state, exclusive=exclusive)
    before = {each.id: each for each in state.user.keys}
    unmanaged = {each.id for each in resource()._keyring(state).unmanaged}
    phase, writes = retiring.run()
    found = retiring.account.user("U")
    after = {each.id: each for each in found.keys} if found else {}
    for name, each in before.items():
        if (was_used_within(each, 5 * HOUR) and each.active) or name in unmanaged:
            assert after[name] == each
        if name not in after:
            assert not any(other.active or was_used_within(other, 7 * DAY) for other in before.values())
    assert all(each == replace(before[name], active=each.active) for name, each in after.items())
    assert not any(each.active and not before[name].active for name, each in after.items())
    if unmanaged or not state.user.principal.is_marked:
        assert (writes, phase in (None, "blocked")) == (0, True)
    assert found or state.user.principal.is_created
    # Once the keys are inactive, the next run can delete the user. Then nothing is left to do.
    retiring.run()
    assert retiring.run()[1] == 0


@given(
    state=USERS,
    last_use=st.integers(-9, 48),
    shown_late=st.integers(0, 4),
    every=st.integers(1, 30),
    days=st.integers(0, 9),
)
def test_a_user_is_deleted_after_the_last_use_of_its_keys(state, last_use, shown_late, every, days):
    """A server signs every hour until it has other credentials, and IAM shows each use hours later."""
    retiring = Retiring(state, rules=replace(RULES, key_delete_after_days=days * DAY))
    if planned(state)[1]["retirement"] == {"U": "blocked"} or not state.user.principal.is_created:
        return
    is_used = any(each.id == NEW and each.active for each in state.user.keys)
    if is_used and state.saved.key_id is None:
        return  # only somebody else can use a key that a run has not saved yet, so its user is blocked
    phases: list[str] = []
    for hour in range(0, 24 * 13, every):
        retiring.account.now = NOW + hour * HOUR
        found = retiring.account.users.get("U")
        if found and is_used and NEW in found.keys:
            shown = NOW + min(last_use, hour - shown_late) * HOUR
            found.keys[NEW] = replace(found.keys[NEW], used=shown)
        phase, _ = retiring.run()
        phases += [phase] if phase and phase not in phases[-1:] else []
        if is_used and phase in ("deactivating", "deleting"):
            assert hour > last_use
        if is_used and phase == "deleting":
            assert hour - last_use >= days * 24
    order = ["in_use", "deactivating", "grace_period", "deleting"]
    assert phases == sorted(phases, key=order.index)
    assert phases[-1] == "deleting"
    left = retiring.account.user("U")
    assert left is None or (UNMANAGED in left.principal.policies and left.keys == ())
    assert (retiring.saved.key_id, retiring.saved.record) == (None, None)


@given(state=USERS, fail_at=st.integers(1, 6), has_effect=st.booleans())
def test_the_next_run_completes_an_interrupted_one(state, fail_at, has_effect):
    undisturbed, retiring = Retiring(state), Retiring(state)
    for _ in range(2):
        undisturbed.run()
    retiring.account.before("", Killed(), fail_at, after=has_effect)
    try:
        retiring.run()
    except Killed:
        retiring.run()
    retiring.account.disturbances.clear()
    retiring.run()
    assert retiring.state() == undisturbed.state()
    assert not retiring.resource.plan(retiring.state()).has_changes
