from __future__ import annotations

import re
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aws_account import Account
from aws_model import check_call
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import ContentionError, InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._ground.plan import NOT_FOUND_CODES, Plan
from ansible_collections.cwagent.iam.plugins.module_utils._keys.key_rotation import AccessKey
from ansible_collections.cwagent.iam.plugins.module_utils._principals import window_plan
from ansible_collections.cwagent.iam.plugins.module_utils._principals.window_plan import (
    ABSENT,
    CLOSED,
    EXPIRED,
    MAX_MINUTES,
    MODIFIED,
    OPEN,
    TOLERANCE,
    UNKNOWN,
    DesiredWindow,
    Window,
)
from ansible_collections.cwagent.iam.plugins.module_utils._principals.window_policy import (
    Opening,
    WindowParameter,
    closed_policy,
    deadline_of,
    open_policy,
    opening_of,
    size_of,
)

NOW = datetime(2026, 11, 24, 16, 0, 30, 999999, tzinfo=UTC)
CLOSED_POLICY = closed_policy()
INSTANCE, OTHER_INSTANCE = "i-0123456789abcdef0", "i-0123456789abcdef1"
LINUX, WINDOWS = (WindowParameter(f"AmazonCloudWatch-{name}", "eu-central-1") for name in ("linux", "windows"))


def policy_open_for(minutes: float, instance_id: str | None = INSTANCE, *parameters: WindowParameter) -> dict[str, Any]:
    return open_policy(Opening(NOW + timedelta(minutes=minutes), instance_id, parameters))


def window(policy: Any = None, *keys: AccessKey, **more: Any) -> Window:
    return Window(NOW, policy, keys, **more)


AT_15 = "2026-11-24T16:15:30Z"


def allowing(policy: dict[str, Any]) -> dict[str, Any]:
    first, *others = policy["Statement"]
    return {**policy, "Statement": [{**first, "Effect": "Allow"}, *others]}


# Policies of the same name that this collection does not write. test_policy.py has all kinds of them.
MODIFIED_POLICIES = {"closed": allowing(CLOSED_POLICY), "open": allowing(policy_open_for(5)), "empty": {}}
NO_OPENING: dict[str, Any] = {"deadline": None, "instance_id": None, "parameters": []}
OPEN_UNTIL, CLOSE, REMOVE = (
    "open the admin window of role 'P' until {}",
    "close the admin window of role 'P'",
    "remove the admin window of role 'P'",
)
OPEN_15, OPEN_30 = OPEN_UNTIL.format(AT_15), OPEN_UNTIL.format("2026-11-24T16:30:30Z")


def desired_window(state: str, minutes: int = 15, kind: str = "role", **more: Any) -> DesiredWindow:
    return DesiredWindow(kind, "P", state, minutes, **{"instance_id": INSTANCE, **more})


NAMED_15 = desired_window(OPEN, parameters=(LINUX,))


CASES = {
    "open: no policy": (None, desired_window(OPEN), [OPEN_15]),
    "open: closed": (CLOSED_POLICY, desired_window(OPEN), [OPEN_15]),
    "open: expired": (policy_open_for(-0.1), desired_window(OPEN), [OPEN_15]),
    "open: expired long ago": (policy_open_for(-9999), desired_window(OPEN), [OPEN_15]),
    "open: same deadline": (policy_open_for(15), desired_window(OPEN), []),
    "open: again within the tolerance": (policy_open_for(14.1), desired_window(OPEN), []),
    "open: again after the tolerance": (policy_open_for(13.9), desired_window(OPEN), [OPEN_15]),
    "open: one minute, again within the tolerance": (policy_open_for(0.6), desired_window(OPEN, 1), []),
    "open: one minute, again after the tolerance": (
        policy_open_for(0.4),
        desired_window(OPEN, 1),
        [OPEN_UNTIL.format("2026-11-24T16:01:30Z")],
    ),
    "open: for fewer minutes": (policy_open_for(60), desired_window(OPEN), []),
    "open: already for the maximum": (policy_open_for(MAX_MINUTES), desired_window(OPEN), []),
    "open: for the maximum, by a clock that is slightly ahead": (
        policy_open_for(MAX_MINUTES + 1),
        desired_window(OPEN),
        [],
    ),
    "open: already for more than the maximum": (policy_open_for(MAX_MINUTES + 1.1), desired_window(OPEN), [OPEN_15]),
    "open: for more minutes": (policy_open_for(15), desired_window(OPEN, 30), [OPEN_30]),
    "open: for another instance": (policy_open_for(60, OTHER_INSTANCE), desired_window(OPEN), [OPEN_15]),
    "open: for any instance": (policy_open_for(60, None), desired_window(OPEN), [OPEN_15]),
    "open: for the parameters": (policy_open_for(15, INSTANCE, LINUX), NAMED_15, []),
    "open: for the parameters and more": (policy_open_for(60, INSTANCE, LINUX, WINDOWS), NAMED_15, [OPEN_15]),
    "open: for other parameters": (policy_open_for(60, INSTANCE, WINDOWS), NAMED_15, [OPEN_15]),
    "open: for all parameters": (policy_open_for(60), NAMED_15, [OPEN_15]),
    "closed: no policy": (None, desired_window(CLOSED), [CLOSE]),
    "closed: closed": (CLOSED_POLICY, desired_window(CLOSED), []),
    "closed: open": (policy_open_for(15), desired_window(CLOSED), [CLOSE]),
    "closed: expired": (policy_open_for(-5), desired_window(CLOSED), [CLOSE]),
    "absent: no policy": (None, desired_window(ABSENT), []),
    "absent: closed": (CLOSED_POLICY, desired_window(ABSENT), [REMOVE]),
    "absent: open": (policy_open_for(15), desired_window(ABSENT), [REMOVE]),
    **{
        f"{state}: modified: {name}": (policy, desired_window(state), [step])
        for name, policy in MODIFIED_POLICIES.items()
        for state, step in ((OPEN, OPEN_15), (CLOSED, CLOSE), (ABSENT, REMOVE))
    },
}


@pytest.mark.parametrize(("policy", "desired", "steps"), CASES.values(), ids=CASES)
def test_plan(policy, desired, steps):
    plan = window_plan.plan(window(policy), desired)
    assert plan.summaries == steps
    for step in plan.steps["P"]:
        check_call(step)
        assert step.done_when == (frozenset() if desired.state == OPEN else NOT_FOUND_CODES)


@pytest.mark.parametrize("policy", MODIFIED_POLICIES.values(), ids=MODIFIED_POLICIES)
def test_a_modified_policy_is_reported_and_has_no_deadline(policy):
    assert deadline_of(policy) is None
    expected = {**NO_OPENING, "state": MODIFIED if policy else ABSENT, "access_keys": []}
    assert window_plan.to_dict(window(policy)) == expected


KEY_A, KEY_B = AccessKey("A"), AccessKey("B")
INACTIVE_A, INACTIVE_B = replace(KEY_A, active=False), replace(KEY_B, active=False)
ACTIVATE, DEACTIVATE = "activate access key {} of user 'P'", "deactivate access key {} of user 'P'"


def saved_a(policy: Any, *keys: AccessKey, **more: Any) -> Window:
    """The window of a user whose saved key is A, by its tag."""
    return window(policy, *keys, saved_key_id="A", **more)


USER_OPEN, USER_CLOSE, USER_REMOVE = (each.replace("role", "user") for each in (OPEN_15, CLOSE, REMOVE))
OPEN_POLICY = policy_open_for(15)
KEY_CASES: dict[str, tuple[Window, str, list[str]]] = {
    "open: no policy": (saved_a(None, INACTIVE_A, INACTIVE_B), OPEN, [USER_OPEN, ACTIVATE.format("A")]),
    "open: open": (saved_a(OPEN_POLICY, INACTIVE_A, INACTIVE_B), OPEN, [ACTIVATE.format("A")]),
    "open: open, key active": (saved_a(OPEN_POLICY, KEY_A), OPEN, []),
    "open: no saved key": (window(CLOSED_POLICY, INACTIVE_A), OPEN, [USER_OPEN]),
    "closed: open": (saved_a(OPEN_POLICY, KEY_A, KEY_B), CLOSED, [USER_CLOSE, DEACTIVATE.format("A")]),
    "closed: closed": (saved_a(CLOSED_POLICY, KEY_A, KEY_B), CLOSED, [DEACTIVATE.format("A")]),
    "closed: closed, no saved key": (window(CLOSED_POLICY, KEY_A, KEY_B), CLOSED, []),
    "closed: closed, saved key inactive": (saved_a(CLOSED_POLICY, INACTIVE_A, KEY_B), CLOSED, []),
    "closed: closed, no keys": (window(CLOSED_POLICY), CLOSED, []),
    "absent: closed": (saved_a(CLOSED_POLICY, INACTIVE_A, INACTIVE_B), ABSENT, [ACTIVATE.format("A"), USER_REMOVE]),
    "absent: no policy": (saved_a(None, INACTIVE_A, KEY_B), ABSENT, []),
}


@pytest.mark.parametrize(("current", "state", "steps"), KEY_CASES.values(), ids=KEY_CASES)
def test_only_the_saved_key_is_activated_and_deactivated_with_the_window(current, state, steps):
    """The policy of a user is written first, so keys are active only while a policy limits them."""
    assert window_plan.plan(current, desired_window(state, kind="user")).summaries == steps


@pytest.mark.parametrize("policy", [None, CLOSED_POLICY, policy_open_for(15)], ids=["no policy", "closed", "open"])
def test_a_window_is_not_opened_while_another_key_is_active(policy):
    current = saved_a(policy, INACTIVE_A, KEY_B)
    with pytest.raises(ContentionError, match=r"window of user 'P' was not opened: .* active access key \(B\)"):
        window_plan.check_other_keys(current, desired_window(OPEN, kind="user"))
    for state in (CLOSED, ABSENT):
        window_plan.check_other_keys(current, desired_window(state, kind="user"))
    for keys in ((), (KEY_A,), (INACTIVE_A, INACTIVE_B), (INACTIVE_B,)):
        window_plan.check_other_keys(saved_a(policy, *keys), desired_window(OPEN, kind="user"))


UNMARKED = {"is_marked": False}
FOREIGN_CASES = {
    "no mark, no window": (window(None, KEY_A, **UNMARKED), CLOSED, [], "has no admin window, so it was not changed"),
    "no mark, no window, opened": (window(None, **UNMARKED), OPEN, [], "has no admin window, so it was not changed"),
    "no mark, no window, removed": (window(None, **UNMARKED), ABSENT, [], "has no admin window, so it was not changed"),
    "no mark, but a window": (window(policy_open_for(5), **UNMARKED), CLOSED, [USER_CLOSE], ""),
    "mark, no window": (window(None), CLOSED, [USER_CLOSE], ""),
    "mark, no window, no admin policy": (window(None, has_admin_policy=False), CLOSED, [], ""),
    "mark, no window, no admin policy, opened": (window(None, has_admin_policy=False), OPEN, [USER_OPEN], ""),
    "missing": (window(exists=False, **UNMARKED), CLOSED, [], ""),
}


@pytest.mark.parametrize(("current", "state", "steps", "warning"), FOREIGN_CASES.values(), ids=FOREIGN_CASES)
def test_a_principal_of_others_is_left_where_only_managed_ones_are_changed(current, state, steps, warning):
    managed_only = replace(desired_window(state, kind="user"), managed_only=True)
    plan = window_plan.plan(current, managed_only)
    assert plan.summaries == steps
    assert (plan.planned == current) == (not steps)
    assert window_plan.is_unmanaged(current, managed_only) == bool(warning)
    if warning:
        assert warning in " ".join(window_plan.warnings(current, managed_only))
    else:
        assert window_plan.warnings(current, managed_only) == []


@pytest.mark.parametrize(
    ("current", "state", "managed_only", "is_refused"),
    [
        (window(**UNMARKED), OPEN, True, True),
        (window(**UNMARKED), OPEN, False, False),
        (window(**UNMARKED), CLOSED, True, False),
        (window(CLOSED_POLICY, **UNMARKED), OPEN, True, False),
        (window(exists=False, **UNMARKED), OPEN, True, False),
        (window(), OPEN, True, False),
    ],
    ids=["others", "others, named", "closed", "others, with a window", "missing", "marked"],
)
def test_no_window_is_opened_for_a_principal_of_others_where_only_managed_ones_are_changed(
    current, state, managed_only, is_refused
):
    refused = "role 'P' exists and was not created by this collection. An admin window would deny"
    with pytest.raises(InvalidInput, match=refused) if is_refused else nullcontext():
        window_plan.check_managed(current, DesiredWindow("role", "P", state, managed_only=managed_only))


@pytest.mark.parametrize("state", [OPEN, CLOSED])
def test_a_principal_of_others_that_was_named_is_changed(state):
    current = window(None, has_admin_policy=False, **UNMARKED)
    assert window_plan.plan(current, desired_window(state)).has_changes
    assert not window_plan.is_unmanaged(current, desired_window(state))


NONE_ACTIVATED = r"tagged as the saved one \(cwagent:saved-key\), so none was activated"


@pytest.mark.parametrize(
    ("current", "state", "warning"),
    [
        (saved_a(CLOSED_POLICY, KEY_A, KEY_B), CLOSED, r"has another active access key \(B\); .* not deactivated"),
        (window(CLOSED_POLICY, INACTIVE_A), OPEN, NONE_ACTIVATED),
        (saved_a(CLOSED_POLICY, KEY_A, INACTIVE_B), CLOSED, ""),
        (saved_a(CLOSED_POLICY, INACTIVE_A), OPEN, ""),
        (window(CLOSED_POLICY), OPEN, ""),
        (window(CLOSED_POLICY, INACTIVE_A, KEY_B), ABSENT, ""),
    ],
)
def test_omitted_work_of_a_window_is_a_warning(current, state, warning):
    found = window_plan.warnings(current, desired_window(state, kind="user"))
    assert len(found) == bool(warning)
    assert all(re.search(warning, each) for each in found)


@pytest.mark.parametrize("kind", ["role", "user"])
def test_only_opening_is_planned_for_a_principal_that_does_not_exist(kind):
    missing = window(exists=False)
    for state in (CLOSED, ABSENT):
        assert window_plan.plan(missing, desired_window(state, kind=kind)) == Plan(missing, missing, {"P": []})
    plan = window_plan.plan(missing, desired_window(OPEN, kind=kind))
    [step] = plan.steps["P"]
    assert step.action == f"iam:Put{kind.title()}Policy"
    assert not step.done_when
    assert not step.retry_when
    assert plan.planned == window(policy_open_for(15))


def test_an_unknown_window_is_closed_and_reported_as_unknown():
    unknown = window(is_known=False)
    plan = window_plan.plan(unknown, desired_window(CLOSED))
    assert plan.summaries == [CLOSE]
    assert plan.planned == window(CLOSED_POLICY)
    assert window_plan.to_dict(unknown) == {**NO_OPENING, "state": UNKNOWN, "access_keys": []}


@pytest.mark.parametrize("minutes", [0, -5, MAX_MINUTES + 1])
def test_minutes_outside_the_limits_are_an_error(minutes):
    with pytest.raises(InvalidInput, match=f"must be between 1 and 720 minutes, not {minutes}\\."):
        window_plan.check_minutes(minutes)
    for accepted in (1, 15, MAX_MINUTES):
        window_plan.check_minutes(accepted)


def test_the_result_has_the_deadline_and_the_keys():
    assert window_plan.to_dict(window(policy_open_for(15, INSTANCE, LINUX), INACTIVE_A, KEY_B)) == {
        "state": OPEN,
        "deadline": "2026-11-24T16:15:30Z",
        "instance_id": INSTANCE,
        "parameters": [{"name": "AmazonCloudWatch-linux", "region": "eu-central-1"}],
        "access_keys": [{"id": "A", "active": False}, {"id": "B", "active": True}],
    }
    assert window_plan.to_dict(window(CLOSED_POLICY))["state"] == CLOSED


@pytest.mark.parametrize(("minutes", "state"), [(-60, EXPIRED), (-0.1, EXPIRED), (0, EXPIRED), (0.1, OPEN)])
def test_a_window_is_expired_from_its_deadline_on(minutes, state):
    """To the microsecond."""
    result = window_plan.to_dict(replace(window(policy_open_for(minutes)), read_at=NOW.replace(microsecond=0)))
    assert (result["state"], result["deadline"] is None) == (state, False)


NOT_OPEN = {
    "principal missing": window(exists=False),
    "no policy": window(None),
    "closed": window(CLOSED_POLICY),
    "deadline reached": window(policy_open_for(0)),
    "deadline reached to the microsecond": replace(window(policy_open_for(0)), read_at=NOW.replace(microsecond=0)),
    "expired": window(policy_open_for(-5)),
    "unknown": window(is_known=False),
    **{f"modified: {name}": window(policy) for name, policy in MODIFIED_POLICIES.items()},
}


@pytest.mark.parametrize("current", NOT_OPEN.values(), ids=NOT_OPEN)
def test_a_window_that_is_not_open_is_accepted(current):
    window_plan.check_not_open(current, desired_window(OPEN))


IN_REGION = "'AmazonCloudWatch-{}' in eu-central-1"
SCOPES = {
    "any": (policy_open_for(15, None), ""),
    "instance": (policy_open_for(15), f" for instance {INSTANCE}"),
    "parameter": (policy_open_for(15, None, LINUX), f" for parameter {IN_REGION.format('linux')}"),
    "both": (
        policy_open_for(15, INSTANCE, LINUX, WINDOWS),
        f" for instance {INSTANCE} and parameter {IN_REGION.format('linux')}, {IN_REGION.format('windows')}",
    ),
}


@pytest.mark.parametrize("kind", ["role", "user"])
@pytest.mark.parametrize(("policy", "scope"), SCOPES.values(), ids=SCOPES)
def test_the_error_about_an_open_window_has_its_scope(kind, policy, scope):
    with pytest.raises(ContentionError) as error:
        window_plan.check_not_open(window(policy), desired_window(OPEN, kind=kind))
    assert str(error.value).endswith(
        f"window of {kind} 'P' is open until {AT_15} (UTC){scope}, for another run or for a person. "
        "Wait until then, or run cwagent.iam.restore to close it now."
    )


def test_the_window_of_another_instance_is_contended_if_runs_have_separate_ones():
    with pytest.raises(ContentionError, match=f"for instance {OTHER_INSTANCE}"):
        window_plan.check_not_open_elsewhere(window(policy_open_for(15, OTHER_INSTANCE)), desired_window(OPEN))
    accepted = [
        *(policy_open_for(-5, OTHER_INSTANCE), policy_open_for(15), policy_open_for(15, INSTANCE, LINUX)),
        *(policy_open_for(15, None), CLOSED_POLICY, None),
    ]
    for policy in accepted:
        window_plan.check_not_open_elsewhere(window(policy), desired_window(OPEN))


def test_the_window_of_a_role_opens_only_for_an_instance():
    with pytest.raises(InvalidInput, match="window of role 'P' can be opened for one instance only"):
        window_plan.check_binding(desired_window(OPEN, instance_id=None))
    for accepted in (
        desired_window(OPEN),
        desired_window(OPEN, kind="user", instance_id=None),
        desired_window(CLOSED, instance_id=None),
        desired_window(ABSENT, instance_id=None),
    ):
        window_plan.check_binding(accepted)


@pytest.mark.parametrize(("kind", "limit", "shown"), [("role", 10240, "10,240"), ("user", 2048, "2,048")])
def test_a_policy_that_iam_would_refuse_is_an_error(kind, limit, shown):
    empty = desired_window(OPEN, kind=kind, parameters=(WindowParameter("", "eu-central-1"),))
    room = limit - size_of(empty.policy_until(NOW))
    fits = replace(empty, parameters=(WindowParameter("x" * room, "eu-central-1"),))
    assert size_of(fits.policy_until(NOW)) == limit
    window_plan.check_binding(fits)
    too_large = replace(empty, parameters=(WindowParameter("x" * (room + 1), "eu-central-1"),))
    message = (
        f"the admin window of {kind} 'P' was not opened: its policy would have {limit + 1} characters (parameters: 1). "
        f"IAM allows {shown} characters without white space in all inline policies of a {kind} together."
    )
    with pytest.raises(InvalidInput, match=re.escape(message)):
        window_plan.check_binding(too_large)
    window_plan.check_binding(replace(too_large, state=CLOSED))


# Properties

MINUTES = st.integers(1, MAX_MINUTES)
INSTANCES = st.sampled_from([INSTANCE, OTHER_INSTANCE, None])
PARAMETERS = st.sampled_from([(), (LINUX,), (LINUX, WINDOWS)])
POLICIES = st.one_of(
    st.none(),
    st.just(CLOSED_POLICY),
    st.sampled_from([policy for policy in MODIFIED_POLICIES.values() if policy]),
    st.builds(
        lambda seconds, instance_id, parameters: policy_open_for(seconds / 60, instance_id, *parameters),
        st.integers(-2 * MAX_MINUTES * 60, MAX_MINUTES * 60),
        INSTANCES,
        PARAMETERS,
    ),
)
STATES = st.sampled_from([OPEN, CLOSED, ABSENT])
DESIRED = st.builds(
    DesiredWindow,
    st.sampled_from(["role", "user"]),
    st.just("P"),
    STATES,
    MINUTES,
    instance_id=INSTANCES,
    parameters=PARAMETERS,
)


@pytest.mark.parametrize("created_before", [False, True])
def test_the_window_of_a_principal_that_is_to_be_created_can_be_assumed_to_be_closed(created_before):
    wanted = replace(desired_window(OPEN), created_before=created_before)
    missing, existing = window(exists=False), window(policy_open_for(15))
    assert window_plan.assumed_window(missing, wanted) == (window(CLOSED_POLICY) if created_before else missing)
    assert window_plan.assumed_window(existing, wanted) == existing


@st.composite
def windows(draw: st.DrawFn, kind: str) -> Window:
    names = draw(st.sampled_from([(), ("AKIAONEXXXXXXXXX",), ("AKIAONEXXXXXXXXX", "AKIATWOXXXXXXXXX")]))
    keys = tuple(AccessKey(name, draw(st.booleans())) for name in names)
    saved = draw(st.sampled_from([None, "AKIAGONEXXXXXXXX", *names]))
    return window(draw(POLICIES), *(keys if kind == "user" else ()), saved_key_id=saved if kind == "user" else None)


def account_with(kind: str, current: Window) -> Account:
    account = Account(NOW)
    account.put_window(kind, "P", current)
    return account


@given(DESIRED, st.data())
def test_a_plan_leads_to_its_planned_state(desired, data):
    current = data.draw(windows(desired.kind))
    account = account_with(desired.kind, current)
    plan = window_plan.plan(current, desired)
    account.take_all(plan.all_steps)
    assert account.window(desired.kind, "P") == plan.planned
    assert not window_plan.plan(plan.planned, desired).has_changes
    assert plan.has_changes == (plan.planned != current)
    assert window_plan.to_dict(plan.planned)["state"] == desired.state
    opening = opening_of(plan.planned.policy)
    if desired.state == OPEN:
        assert opening
        assert (opening.instance_id, opening.parameters) == (desired.instance_id, desired.parameters)
    if desired.state == ABSENT and current.policy is None:
        assert plan.planned == current
    else:
        saved = plan.planned.saved_key
        assert saved is None or saved.active == (desired.state != CLOSED)
    assert [key for key in plan.planned.keys if key.id != current.saved_key_id] == [
        key for key in current.keys if key.id != current.saved_key_id
    ]


@given(MINUTES, st.data())
def test_a_window_is_open_for_the_desired_minutes_and_never_shortened_for_the_same(minutes, data):
    current = data.draw(windows("role"))
    before, is_same = deadline_of(current.policy), False
    if before:
        is_same = current.policy == desired_window(OPEN, minutes).policy_until(before)
    after = deadline_of(window_plan.planned_policy(current, desired_window(OPEN, minutes)))
    assert after
    length = after - NOW.replace(microsecond=0)
    assert length >= timedelta(minutes=minutes) - min(TOLERANCE, timedelta(minutes=minutes / 2))
    if is_same and before and before > NOW:
        assert after >= before
    if not is_same or before is None or after > before:
        assert length == timedelta(minutes=minutes)


@given(STATES, st.integers(0, 4), st.data())
def test_the_next_run_finishes_an_interrupted_one(state, calls, data):
    wanted = desired_window(state, kind="user")
    account = account_with("user", data.draw(windows("user")))
    account.take_all(window_plan.plan(account.window("user", "P"), wanted).steps["P"][:calls])
    later = NOW + timedelta(seconds=20)
    account.take_all(window_plan.plan(account.window("user", "P", later), wanted).all_steps)
    final = account.window("user", "P", later)
    assert not window_plan.plan(final, wanted).has_changes
    assert window_plan.to_dict(final)["state"] == state
