from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aws_model import Gateway, IamWindow
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils._access_keys.model import AccessKey
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window import plan as window_plan
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.plan import (
    ABSENT,
    CLOSED,
    MAX_MINUTES,
    OPEN,
    TOLERANCE,
    DesiredWindow,
    Window,
    open_policy,
)
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.policy import closed_policy
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.resource import WindowResource
from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._names import WINDOW_POLICY
from ansible_collections.cwagent.iam.plugins.module_utils._plan import NOT_FOUND_CODES, apply

NOW = datetime(2026, 11, 24, 16, 0, 30, 999999, tzinfo=UTC)
SHUT = closed_policy()


def until(minutes: float) -> dict[str, Any]:
    return open_policy(NOW + timedelta(minutes=minutes))


def changed(policy: dict[str, Any], **elements: Any) -> dict[str, Any]:
    [statement] = policy["Statement"]
    return {**policy, "Statement": [{**statement, **elements}]}


def without_condition_key(policy: dict[str, Any]) -> dict[str, Any]:
    return changed(policy, Condition={"DateGreaterThan": {}})


def test_the_policies_to_the_letter():
    deny = {"Sid": WINDOW_POLICY, "Effect": "Deny", "Action": "ssm:PutParameter", "Resource": "*"}
    assert closed_policy() == {"Version": "2012-10-17", "Statement": [deny]}
    condition = {"DateGreaterThan": {"aws:CurrentTime": "2026-11-24T16:15:30Z"}}
    assert until(15) == {"Version": "2012-10-17", "Statement": [{**deny, "Condition": condition}]}


# Policies of the name that are not ours to the letter. Most would let a write through that ours does not.
ALTERED = {
    "allowed": changed(SHUT, Effect="Allow"),
    "one name only": changed(SHUT, Resource="arn:aws:ssm:*:*:parameter/AmazonCloudWatch-linux"),
    "another action": changed(SHUT, Action="ssm:GetParameter"),
    "in lists": changed(SHUT, Action=["ssm:PutParameter"]),
    "no statement": {**SHUT, "Statement": []},
    "one statement without a list": {**SHUT, "Statement": SHUT["Statement"][0]},
    "a statement more": {**SHUT, "Statement": [*SHUT["Statement"], {"Effect": "Allow", "Action": "*"}]},
    "an older version": {**SHUT, "Version": "2008-10-17"},
    "open, and allowed": changed(until(5), Effect="Allow"),
    "open, the other way round": changed(SHUT, Condition={"DateLessThan": {"aws:CurrentTime": "2026-11-24T16:15:30Z"}}),
    "open, by another clock": changed(SHUT, Condition={"DateGreaterThan": {"aws:TokenIssueTime": "2099-01-01"}}),
    "open, on a further condition": changed(
        until(5), Condition={**until(5)["Statement"][0]["Condition"], "Bool": {"aws:SecureTransport": "false"}}
    ),
    "open, deadline in a list": changed(
        SHUT, Condition={"DateGreaterThan": {"aws:CurrentTime": ["2026-11-24T16:15:30Z"]}}
    ),
    "open, deadline in another format": changed(
        SHUT, Condition={"DateGreaterThan": {"aws:CurrentTime": "2026-11-24T16:15:30+00:00"}}
    ),
    "open, no padding": changed(SHUT, Condition={"DateGreaterThan": {"aws:CurrentTime": "2026-1-4T16:15:30Z"}}),
    "open, no date": changed(SHUT, Condition={"DateGreaterThan": {"aws:CurrentTime": "never"}}),
    "open, no deadline": without_condition_key(SHUT),
    "nothing": {},
}
ROLE, USER = "role 'P'", "user 'P'"
OPENED, CLOSE, REMOVE = (
    "open the admin window of role 'P' until {}",
    "close the admin window of role 'P'",
    "remove the admin window of role 'P'",
)
IN_15, IN_30 = OPENED.format("2026-11-24T16:15:30Z"), OPENED.format("2026-11-24T16:30:30Z")


def desired(state: str, minutes: int = 15, kind: str = "role") -> DesiredWindow:
    return DesiredWindow(kind, "P", state, minutes)


CASES = {
    "open: none": (None, desired(OPEN), [IN_15]),
    "open: closed": (SHUT, desired(OPEN), [IN_15]),
    "open: expired": (until(-0.1), desired(OPEN), [IN_15]),
    "open: expired long ago": (until(-9999), desired(OPEN), [IN_15]),
    "open: the same": (until(15), desired(OPEN), []),
    "open: asked again within the tolerance": (until(14.1), desired(OPEN), []),
    "open: asked again after it": (until(13.9), desired(OPEN), [IN_15]),
    "open: a minute, asked again within the tolerance": (until(0.6), desired(OPEN, 1), []),
    "open: a minute, asked again after it": (until(0.4), desired(OPEN, 1), [OPENED.format("2026-11-24T16:01:30Z")]),
    "open: for less": (until(60), desired(OPEN), []),
    "open: for as long as can be": (until(MAX_MINUTES), desired(OPEN), []),
    "open: by a clock that is ahead a little": (until(MAX_MINUTES + 1), desired(OPEN), []),
    "open: for longer than can be": (until(MAX_MINUTES + 1.1), desired(OPEN), [IN_15]),
    "open: for longer": (until(15), desired(OPEN, 30), [IN_30]),
    "closed: none": (None, desired(CLOSED), [CLOSE]),
    "closed: closed": (SHUT, desired(CLOSED), []),
    "closed: open": (until(15), desired(CLOSED), [CLOSE]),
    "closed: expired": (until(-5), desired(CLOSED), [CLOSE]),
    "absent: none": (None, desired(ABSENT), []),
    "absent: closed": (SHUT, desired(ABSENT), [REMOVE]),
    "absent: open": (until(15), desired(ABSENT), [REMOVE]),
    **{f"open: altered: {name}": (policy, desired(OPEN), [IN_15]) for name, policy in ALTERED.items()},
    **{f"closed: altered: {name}": (policy, desired(CLOSED), [CLOSE]) for name, policy in ALTERED.items()},
    **{f"absent: altered: {name}": (policy, desired(ABSENT), [REMOVE]) for name, policy in ALTERED.items()},
}


@pytest.mark.parametrize(("policy", "desired", "steps"), CASES.values(), ids=CASES)
def test_plan(policy, desired, steps):
    plan = window_plan.plan(Window(policy), desired, NOW)
    assert plan.summaries == steps
    for step in plan.steps["P"]:
        assert step.done_when == (frozenset() if desired.state == OPEN else NOT_FOUND_CODES)


@pytest.mark.parametrize("policy", ALTERED.values(), ids=ALTERED)
def test_an_altered_policy_is_told_and_has_no_deadline(policy):
    assert window_plan.deadline_of(policy) is None
    told = {"state": "altered" if policy else ABSENT, "deadline": None, "access_keys": []}
    assert window_plan.report(Window(policy), NOW) == told


A, B = AccessKey("A"), AccessKey("B")
ON, OFF = "activate access key {} of user 'P'", "deactivate access key {} of user 'P'"
OFF_A = replace(A, active=False)
KEYS = {
    "open": (None, (OFF_A, B), desired(OPEN, kind="user"), [IN_15.replace(ROLE, USER), ON.format("A")]),
    "open already": (until(15), (OFF_A, B), desired(OPEN, kind="user"), [ON.format("A")]),
    "closed": (
        until(15),
        (OFF_A, B),
        desired(CLOSED, kind="user"),
        [CLOSE.replace(ROLE, USER), OFF.format("B")],
    ),
    "closed already": (SHUT, (A, B), desired(CLOSED, kind="user"), [OFF.format("A"), OFF.format("B")]),
    "closed, keys and all": (SHUT, (OFF_A,), desired(CLOSED, kind="user"), []),
    "absent": (SHUT, (OFF_A, B), desired(ABSENT, kind="user"), [ON.format("A"), REMOVE.replace(ROLE, USER)]),
    "absent already": (None, (OFF_A, B), desired(ABSENT, kind="user"), []),
    "no keys": (SHUT, (), desired(CLOSED, kind="user"), []),
}


@pytest.mark.parametrize(("policy", "keys", "desired", "steps"), KEYS.values(), ids=KEYS)
def test_the_keys_of_a_user_are_switched_with_the_window(policy, keys, desired, steps):
    assert window_plan.plan(Window(policy, keys), desired, NOW).summaries == steps


@pytest.mark.parametrize("kind", ["role", "user"])
def test_a_principal_that_is_not_there(kind):
    assert not window_plan.plan(None, desired(CLOSED, kind=kind), NOW).changes
    assert not window_plan.plan(None, desired(ABSENT, kind=kind), NOW).changes
    [step] = window_plan.plan(None, desired(OPEN, kind=kind), NOW).steps["P"]
    assert step.action == f"iam:Put{kind.title()}Policy"
    assert not step.done_when
    assert not step.retry_when


@pytest.mark.parametrize(
    ("state", "planned", "warnings"),
    [
        (OPEN, Window(until(15)), ["role 'P' does not exist yet"]),
        (CLOSED, None, []),
        (ABSENT, None, []),
    ],
)
def test_what_is_told_of_a_principal_that_is_not_there(state, planned, warnings):
    resource = resource_of(IamWindow("role", "P", Window()), desired(state), NOW)
    assert (resource.after(None), resource.warnings(None)) == (planned, warnings)
    assert resource.warnings(Window()) == []
    assert resource.render(None) == {"state": ABSENT, "deadline": None, "access_keys": []}


@pytest.mark.parametrize(
    ("minutes", "fine"), [(1, True), (15, True), (MAX_MINUTES, True), (0, False), (-5, False), (MAX_MINUTES + 1, False)]
)
def test_minutes(minutes, fine):
    if fine:
        window_plan.check_minutes(minutes)
        return
    with pytest.raises(InvalidInput, match=f"open for 1 to 720 minutes, not {minutes}"):
        window_plan.check_minutes(minutes)


def test_report():
    assert window_plan.report(Window(until(15), (OFF_A, B)), NOW) == {
        "state": OPEN,
        "deadline": "2026-11-24T16:15:30Z",
        "access_keys": [{"id": "A", "active": False}, {"id": "B", "active": True}],
    }
    assert window_plan.report(Window(SHUT), NOW)["state"] == CLOSED


@pytest.mark.parametrize(("minutes", "state"), [(-60, "expired"), (-0.1, "expired"), (0, "expired"), (0.1, OPEN)])
def test_a_deadline_that_has_passed_is_told(minutes, state):
    told = window_plan.report(Window(until(minutes)), NOW)
    assert (told["state"], told["deadline"] is None) == (state, False)


@pytest.mark.parametrize("kind", ["role", "user"])
def test_a_window_that_is_open_is_refused(kind):
    window_plan.check_not_open(None, desired(OPEN, kind=kind), NOW)
    for policy in (None, SHUT, until(0), until(-5), *ALTERED.values()):
        window_plan.check_not_open(Window(policy), desired(OPEN, kind=kind), NOW)
    words = rf"window of {kind} 'P' is open until 2026-11-24T16:15:30Z \(UTC\).*cwagent\.iam\.restore closes it"
    with pytest.raises(InvalidInput, match=words):
        window_plan.check_not_open(Window(until(15)), desired(OPEN, kind=kind), NOW)


@pytest.mark.parametrize("check_not_open", [False, True])
def test_only_a_window_that_was_open_before_the_run_is_refused(check_not_open):
    opened = Window(until(15))
    resource = resource_of(IamWindow("role", "P", opened), desired(OPEN), NOW, check_not_open=check_not_open)
    if check_not_open:
        with pytest.raises(InvalidInput, match="is open until"):
            resource.refuse(opened)
    else:
        resource.refuse(opened)
    resource.refuse(Window(SHUT))
    assert resource.plan(Window(SHUT)).changes
    assert not resource.plan(opened).changes


def test_the_window_of_a_role_is_closed_without_a_look_and_looked_at_afterwards():
    """IAM can show it as it was before it was opened."""
    model = IamWindow("role", "P", Window(until(15)))
    resource, reads = counted(model, replace(desired(CLOSED), force=True))
    current = resource.read()
    assert resource.render(current)["state"] == "not looked at"
    apply(resource.plan(current), resource.execute, check_mode=False)
    assert model.window == resource.after(current) == Window(SHUT)
    assert reads == []
    assert resource.read() is None
    assert reads == ["iam:GetRolePolicy", "iam:GetRole"]


LOOKED_AT = {
    "closed, unless it is": desired(CLOSED),
    "opened": replace(desired(OPEN), force=True),
    "removed": replace(desired(ABSENT), force=True),
    "of a user, who has keys": replace(desired(CLOSED, kind="user"), force=True),
}


@pytest.mark.parametrize("wanted", LOOKED_AT.values(), ids=LOOKED_AT)
def test_it_is_looked_at_where_that_matters(wanted):
    resource, reads = counted(IamWindow(wanted.kind, "P", Window()), wanted)
    assert resource.read() is None
    kind = wanted.kind.title()
    assert reads == [f"iam:Get{kind}Policy", f"iam:Get{kind}"]


def counted(model: IamWindow, wanted: DesiredWindow) -> tuple[WindowResource, list[str]]:
    """Where IAM shows nothing, and what it was asked."""
    reads: list[str] = []
    gateway: Any = Gateway(model)
    gateway.time = NOW
    gateway.find = lambda action, *_, **__: reads.append(action)
    return WindowResource(gateway, wanted), reads


def test_one_that_was_just_opened_is_closed_although_it_looks_closed():
    shut = Window(SHUT, (OFF_A, B))
    closing = replace(desired(CLOSED, kind="user"), force=True)
    assert window_plan.plan(shut, replace(closing, force=False), NOW).summaries == [
        "deactivate access key B of user 'P'"
    ]
    resource = resource_of(IamWindow("user", "P", shut), closing, NOW)
    assert resource.plan(shut).summaries == [
        "close the admin window of user 'P'",
        "deactivate access key A of user 'P'",
        "deactivate access key B of user 'P'",
    ]
    assert resource.left(shut) == ["deactivate access key B of user 'P'"]
    assert resource.left(Window(SHUT, (OFF_A,))) == []


TIMES = st.datetimes(datetime(2025, 1, 1), datetime(2099, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  hypothesis takes bounds without a zone
MINUTES = st.integers(1, MAX_MINUTES)
POLICIES = st.one_of(
    st.none(),
    st.just(SHUT),
    st.sampled_from([policy for policy in ALTERED.values() if policy]),
    st.integers(-2 * MAX_MINUTES * 60, MAX_MINUTES * 60).map(lambda seconds: until(seconds / 60)),
)
STATES = st.sampled_from([OPEN, CLOSED, ABSENT])
WANTS = st.builds(DesiredWindow, st.sampled_from(["role", "user"]), st.just("P"), STATES)


@st.composite
def windows(draw: st.DrawFn, kind: str) -> Window:
    names = draw(st.sampled_from([(), ("AKIAONEXXXXXXXXX",), ("AKIAONEXXXXXXXXX", "AKIATWOXXXXXXXXX")]))
    keys = tuple(AccessKey(name, draw(st.booleans())) for name in names)
    return Window(draw(POLICIES), keys if kind == "user" else ())


def resource_of(model: IamWindow, desired: DesiredWindow, time: datetime, **more: bool) -> WindowResource:
    gateway: Any = Gateway(model)
    gateway.time = time
    return WindowResource(gateway, desired, **more)


@given(TIMES)
def test_a_deadline_is_read_as_it_was_written(time):
    assert window_plan.deadline_of(open_policy(time)) == time.replace(microsecond=0)


@given(WANTS, MINUTES, st.data())
def test_a_plan_leads_where_it_says(wanted, minutes, data):
    wanted = replace(wanted, minutes=minutes)
    current = data.draw(windows(wanted.kind))
    model = IamWindow(wanted.kind, "P", current)
    resource = resource_of(model, wanted, NOW)
    plan, planned = resource.plan(current), resource.after(current)
    apply(plan, resource.execute, check_mode=False)
    assert model.window == planned
    assert not resource.plan(planned).changes
    assert plan.changes == (planned != current)
    assert window_plan.report(planned, NOW)["state"] == wanted.state
    if wanted.state == ABSENT and current.policy is None:
        assert planned == current
    else:
        assert all(key.active == (wanted.state != CLOSED) for key in planned.keys)


@given(MINUTES, st.data())
def test_how_long_a_window_is_open(minutes, data):
    current = data.draw(windows("role"))
    before = window_plan.deadline_of(current.policy)
    after = window_plan.deadline_of(window_plan.planned_policy(current, desired(OPEN, minutes), NOW))
    left = after - NOW.replace(microsecond=0)
    assert left >= timedelta(minutes=minutes) - min(TOLERANCE, timedelta(minutes=minutes / 2))
    if before and before > NOW:
        assert after >= before  # it is never shortened
    if before is None or after > before:
        assert left == timedelta(minutes=minutes)


@given(st.integers(2, MAX_MINUTES), st.integers(0, 59))
def test_asked_for_the_same_again_within_a_minute_nothing_changes(minutes, later):
    opened = Window(window_plan.planned_policy(Window(SHUT), desired(OPEN, minutes), NOW))
    assert not window_plan.plan(opened, desired(OPEN, minutes), NOW + timedelta(seconds=later)).changes


@given(st.lists(st.tuples(st.sampled_from([OPEN, CLOSED]), MINUTES, st.integers(0, 3600)), max_size=6))
def test_however_it_is_used_it_is_closed_when_the_longest_time_asked_for_is_up(uses):
    model, time, latest = IamWindow("role", "P", Window(SHUT)), NOW, NOW
    for state, minutes, pause in uses:
        wanted = desired(state, minutes)
        resource = resource_of(model, wanted, time)
        apply(resource.plan(model.window), resource.execute, check_mode=False)
        latest = max(latest, time + timedelta(minutes=minutes)) if state == OPEN else time
        deadline = window_plan.deadline_of(model.window.policy)
        assert (deadline is None) == (state == CLOSED)
        assert deadline is None or deadline <= latest
        time += timedelta(seconds=pause)


@given(STATES, st.integers(0, 4), st.data())
def test_a_run_that_was_cut_short_is_finished_by_the_next(state, calls, data):
    wanted = desired(state, kind="user")
    model = IamWindow("user", "P", data.draw(windows("user")))
    model.take_all(window_plan.plan(model.window, wanted, NOW).steps["P"][:calls])
    resource = resource_of(model, wanted, NOW + timedelta(seconds=20))
    apply(resource.plan(model.window), resource.execute, check_mode=False)
    assert not resource.plan(model.window).changes
    assert window_plan.report(model.window, NOW + timedelta(seconds=20))["state"] == state


def test_a_user_loses_the_right_before_its_keys_and_gets_it_before_them():
    """Either way, keys are active only beside a policy that holds."""
    opened, closed = Window(until(15), (A,)), Window(SHUT, (OFF_A,))
    for current, state in ((opened, CLOSED), (closed, OPEN), (Window(None, (OFF_A,)), OPEN)):
        actions = [step.action for step in window_plan.plan(current, desired(state, kind="user"), NOW).steps["P"]]
        assert actions == ["iam:PutUserPolicy", "iam:UpdateAccessKey"]
