from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aws_account import MANAGED, Account
from declarations import FITTED_ADMIN

from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import (
    AwsApiError,
    ContentionError,
    CwagentError,
    InvalidInput,
)
from ansible_collections.cwagent.iam.plugins.module_utils._ground.plan import apply
from ansible_collections.cwagent.iam.plugins.module_utils._keys.key_rotation import AccessKey
from ansible_collections.cwagent.iam.plugins.module_utils._principals import window_plan
from ansible_collections.cwagent.iam.plugins.module_utils._principals.policies import is_admin_policy
from ansible_collections.cwagent.iam.plugins.module_utils._principals.window import WindowResource
from ansible_collections.cwagent.iam.plugins.module_utils._principals.window_plan import (
    ABSENT,
    CLOSED,
    OPEN,
    UNKNOWN,
    DesiredWindow,
    Window,
)
from ansible_collections.cwagent.iam.plugins.module_utils._principals.window_policy import (
    Opening,
    closed_policy,
    open_policy,
    size_of,
)

NOW = datetime(2026, 11, 24, 16, 0, 30, tzinfo=UTC)
INSTANCE, OTHER_INSTANCE = "i-0123456789abcdef0", "i-0123456789abcdef1"
DEADLINE = NOW + timedelta(minutes=15)
OPEN_WINDOW = Window(NOW, open_policy(Opening(DEADLINE, INSTANCE)))
OPEN_ELSEWHERE = Window(NOW, open_policy(Opening(DEADLINE, OTHER_INSTANCE)))
CLOSED_WINDOW = Window(NOW, closed_policy())
MISSING = Window(NOW, exists=False)
UNREADABLE = Window(NOW, is_known=False, error=AwsApiError("Could not read the window.", "AccessDenied"))
OF_OTHERS = Window(NOW, is_marked=False)
CLOSE = "close the admin window of role 'P'"
A, B = (f"AKIA{letter * 12}" for letter in "AB")


def desired_window(state: str, kind: str = "role", **more: Any) -> DesiredWindow:
    return DesiredWindow(kind, "P", state, instance_id=INSTANCE, **more)


def resource_of(desired: DesiredWindow, current: Window = CLOSED_WINDOW, **more: Any) -> tuple[WindowResource, Account]:
    """The resource of a window in a model of IAM that has this one."""
    account = Account(NOW)
    account.put_window(desired.kind, "P", current)
    return WindowResource(account.aws(), desired, **more), account


@pytest.mark.parametrize(
    ("state", "current", "planned", "warnings"),
    [
        (OPEN, MISSING, OPEN_WINDOW, ["role 'P' does not exist yet"]),
        (CLOSED, MISSING, MISSING, []),
        (ABSENT, MISSING, MISSING, []),
        (OPEN, Window(NOW), OPEN_WINDOW, []),
    ],
    ids=["opened", "closed", "removed", "opened, exists"],
)
def test_check_mode_warns_that_the_principal_to_open_a_window_for_does_not_exist(state, current, planned, warnings):
    resource, _ = resource_of(desired_window(state), current)
    plan = resource.plan(resource.read())
    assert plan.current == current
    assert (plan.planned, resource.check_mode_warnings(plan), resource.warnings(plan)) == (planned, warnings, [])
    no_opening: dict[str, Any] = {"deadline": None, "instance_id": None, "parameters": []}
    assert resource.to_diff(current) == {**no_opening, "state": ABSENT, "access_keys": []}


def policy_of_size(size: int) -> dict[str, Any]:
    return {"Sid": "x" * (size - size_of({"Sid": ""}))}


@pytest.mark.parametrize(("kind", "limit"), [("role", 10240), ("user", 2048)])
def test_other_inline_policies_count_towards_the_limit(kind, limit):
    resource, account = resource_of(desired_window(OPEN, kind))
    inline = (account.roles if kind == "role" else account.users)["P"].inline
    room = limit - size_of(open_policy(Opening(DEADLINE, INSTANCE)))
    inline |= {"a": policy_of_size(100), "b": policy_of_size(room - 100)}
    current = resource.read()
    resource.check_preconditions(current)
    assert current.others_size == room
    inline["c"] = policy_of_size(12)
    with pytest.raises(InvalidInput, match=f"and the others of the {kind} have {room + 12}. IAM allows"):
        resource.check_preconditions(resource.read())
    assert resource.read_again().others_size == 0


@pytest.mark.parametrize("code", ["AccessDenied", "NoSuchEntity", "ServiceFailure"])
def test_inline_policies_that_may_not_be_read_prevent_nothing(code):
    resource, account = resource_of(desired_window(OPEN))
    account.fail("list_role_policies", code)
    with pytest.raises(AwsApiError) if code == "ServiceFailure" else nullcontext():
        assert resource.read().others_size == 0


def test_an_open_window_is_contended_only_if_the_user_wants_that():
    resource, _ = resource_of(desired_window(OPEN))
    resource.check_preconditions(OPEN_WINDOW)
    assert not resource.plan(OPEN_WINDOW).has_changes, "the window that this run has opened"
    resource, _ = resource_of(desired_window(OPEN), fail_if_open=True)
    with pytest.raises(ContentionError, match="is open until"):
        resource.check_preconditions(OPEN_WINDOW)
    resource.check_preconditions(CLOSED_WINDOW)
    resource.check_own(OPEN_WINDOW)
    with pytest.raises(ContentionError, match=f"is open until .* for instance {OTHER_INSTANCE}"):
        resource.check_own(OPEN_ELSEWHERE)


def test_a_forced_close_of_a_role_reads_the_window_only_afterwards():
    """IAM can still show the window as it was before it was opened."""
    resource, account = resource_of(desired_window(CLOSED, force=True), OPEN_WINDOW)
    current = resource.read()
    assert resource.to_diff(current)["state"] == UNKNOWN
    plan = resource.plan(current)
    assert resource.to_diff(plan.planned)["state"] == CLOSED
    assert account.operations == []
    apply(plan, resource.execute, check_mode=False)
    assert account.window("role", "P") == plan.planned == CLOSED_WINDOW
    final = resource.read_again()
    assert resource.remaining(plan, final) == []
    assert account.operations == ["put_role_policy", "get_role_policy"]
    assert resource.to_result(plan, final)["window"]["state"] == CLOSED


def test_a_forced_close_waits_until_iam_shows_the_closed_window():
    resource, account = resource_of(desired_window(CLOSED, force=True), OPEN_WINDOW)
    plan = resource.plan(resource.read())
    assert resource.remaining(plan, resource.read_again()) == [CLOSE]
    del account.roles["P"]
    final = resource.read_again()
    assert resource.remaining(plan, final) == []
    assert account.operations == ["get_role_policy", "get_role_policy", "get_role"]
    assert resource.to_result(plan, final)["window"]["state"] == ABSENT


@pytest.mark.parametrize(
    "wanted",
    [
        desired_window(CLOSED),
        desired_window(OPEN, force=True),
        desired_window(ABSENT, force=True),
        desired_window(CLOSED, kind="user", force=True),
    ],
    ids=["closed without force", "opened", "removed", "closed, of a user, who has keys"],
)
def test_the_window_is_read_if_that_matters(wanted):
    resource, account = resource_of(wanted, MISSING)
    assert resource.read() == MISSING
    assert account.operations == [f"get_{wanted.kind}_policy", f"get_{wanted.kind}"]


def test_force_closes_a_window_that_looks_closed():
    """It can have been opened a moment before."""
    current = replace(CLOSED_WINDOW, keys=(AccessKey(A, active=False), AccessKey(B)), saved_key_id=A)
    closing = desired_window(CLOSED, kind="user", force=True)
    deactivate_a = f"deactivate access key {A} of user 'P'"
    assert window_plan.plan(current, replace(closing, force=False)).summaries == []
    resource, _ = resource_of(closing)
    plan = resource.plan(current)
    assert plan.summaries == ["close the admin window of user 'P'", deactivate_a]
    assert resource.remaining(plan, replace(current, keys=(AccessKey(A), AccessKey(B)))) == [deactivate_a]
    assert resource.remaining(plan, current) == []


@pytest.mark.parametrize(
    ("managed_only", "is_marked", "error", "message"),
    [
        (False, True, ContentionError, B),
        (True, False, InvalidInput, "user 'P' exists and was not created by this collection"),
    ],
    ids=["another key is active", "a user of others, rather than their key"],
)
def test_opening_is_refused_before_the_plan(managed_only, is_marked, error, message):
    resource, _ = resource_of(desired_window(OPEN, kind="user", managed_only=managed_only))
    with pytest.raises(error, match=message):
        resource.check_preconditions(Window(NOW, None, (AccessKey(B),), saved_key_id=A, is_marked=is_marked))


INACTIVE, ACTIVE = AccessKey(A, active=False), AccessKey(A)
TAG_READ_CASES = {
    "closed, no active key": (CLOSED, False, (INACTIVE,), False),
    "closed, no key": (CLOSED, False, (), False),
    "closed, an active key": (CLOSED, False, (ACTIVE,), True),
    "closed, forced": (CLOSED, True, (INACTIVE,), True),
    "opened": (OPEN, False, (INACTIVE,), True),
    "removed": (ABSENT, False, (INACTIVE,), True),
}


@pytest.mark.parametrize(("state", "force", "keys", "reads_tags"), TAG_READ_CASES.values(), ids=TAG_READ_CASES)
def test_the_tags_of_a_user_are_read_only_where_a_key_can_change(state, force, keys, reads_tags):
    current = replace(CLOSED_WINDOW, keys=keys, saved_key_id=A)
    resource, account = resource_of(desired_window(state, "user", force=force), current)
    assert resource.read() == replace(current, saved_key_id=A if reads_tags else None)
    assert account.operations == [
        *("get_user_policy", "list_access_keys"),
        *["get_user"] * reads_tags,
        *["list_user_policies"] * (state == OPEN),
    ]


ATTACHED = ["list_attached_role_policies"]
MARK_CASES: dict[str, tuple[dict[str, str], str, list[str], dict[str, Any], list[str]]] = {
    "no mark": ({}, CLOSED, [], {"is_marked": False}, []),
    "created": (MANAGED, CLOSED, [], {"has_admin_policy": False}, ATTACHED),
    "created, with the admin policy": (MANAGED, CLOSED, ["CloudWatchAgentAdminPolicy"], {}, ATTACHED),
    "created, with another policy": (MANAGED, CLOSED, ["ReadOnlyAccess"], {"has_admin_policy": False}, ATTACHED),
    "created, with the fitted admin policy": (MANAGED, CLOSED, [FITTED_ADMIN], {}, ATTACHED),
    "created, opened": (MANAGED, OPEN, [], {}, ["list_role_policies"]),
    "adopted, named": ({"cwagent:managed": "adopted"}, "", [], {}, []),
    "another value, named": ({"cwagent:managed": "me"}, "", [], {"is_marked": False}, []),
}


@pytest.mark.parametrize(("tags", "state", "policies", "more", "reads"), MARK_CASES.values(), ids=MARK_CASES)
def test_the_mark_is_read_where_there_is_no_window(tags, state, policies, more, reads):
    """:param state: of managed roles only; empty for a role that was named, and is closed."""
    desired = desired_window(state or CLOSED, managed_only=bool(state))
    resource, account = resource_of(desired, is_admin_policy=is_admin_policy)
    account.add_role("P", *policies, tags=tags)
    assert resource.read() == Window(NOW, **more)
    assert account.operations == ["get_role_policy", "get_role", *reads]


def test_inline_policies_are_read_only_where_a_window_opens():
    for desired in (desired_window(CLOSED), desired_window(ABSENT), desired_window(OPEN, read_others=False)):
        resource, account = resource_of(desired)
        resource.read()
        assert "list_role_policies" not in account.operations


def test_a_principal_of_others_is_in_the_result_and_in_a_warning():
    resource, _ = resource_of(desired_window(CLOSED, managed_only=True))
    plan = resource.plan(OF_OTHERS)
    assert not plan.has_changes
    assert resource.to_result(plan, plan.planned)["managed"] is False
    assert "was not created by this collection" in " ".join(resource.warnings(plan))
    managed = resource.plan(OPEN_WINDOW)
    assert resource.to_result(managed, managed.planned)["managed"] is True


def test_a_forced_close_reads_the_role_first_where_only_managed_ones_are_changed():
    resource, account = resource_of(desired_window(CLOSED, force=True, managed_only=True), OPEN_WINDOW)
    assert resource.read() == OPEN_WINDOW
    assert account.operations == ["get_role_policy"]


def test_waiting_does_not_make_the_deadline_look_too_early():
    resource, _ = resource_of(desired_window(OPEN))
    plan = resource.plan(CLOSED_WINDOW)
    later = replace(plan.planned, read_at=NOW + timedelta(minutes=10))
    assert resource.remaining(plan, later) == []
    assert resource.plan(later).has_changes
    assert resource.to_result(plan, replace(later, read_at=NOW + timedelta(minutes=20)))["window"]["state"] == OPEN


def test_a_window_that_cannot_be_read_is_closed_with_a_warning():
    resource, _ = resource_of(desired_window(CLOSED), OPEN_WINDOW)
    plan = resource.plan(UNREADABLE)
    assert plan.summaries == [CLOSE]
    assert resource.warnings(plan) == [
        "Could not read the window. The window is closed anyway; its earlier state is unknown."
    ]
    assert resource.remaining(plan, UNREADABLE) == []
    assert resource.to_result(plan, UNREADABLE)["window"]["state"] == UNKNOWN
    assert resource.remaining(plan, OPEN_WINDOW) == [CLOSE]


def test_a_window_that_could_be_read_before_is_read_again_until_it_can_be():
    resource, _ = resource_of(desired_window(CLOSED))
    plan = resource.plan(OPEN_WINDOW)
    assert resource.remaining(plan, UNREADABLE) == ["Could not read the window."]
    assert resource.remaining(plan, CLOSED_WINDOW) == []


OPENED = replace(OPEN_WINDOW, keys=(AccessKey(A),), saved_key_id=A)
MARKED = replace(OPENED, policy=None)
USER_CLOSE, DEACTIVATE = CLOSE.replace("role", "user"), f"deactivate access key {A} of user 'P'"


@pytest.mark.parametrize(
    ("unread", "current", "closed", "is_error"),
    [
        ("get_user_policy", OPENED, [USER_CLOSE, DEACTIVATE], True),
        ("list_access_keys", OPENED, [USER_CLOSE], True),
        ("get_user", OPENED, [USER_CLOSE], True),
        ("get_role_policy", OPENED, [CLOSE], True),
        ("list_attached_role_policies", MARKED, [CLOSE], True),
        ("get_role", OPENED, [CLOSE], False),
        ("list_access_keys", MARKED, [USER_CLOSE], True),
    ],
)
@pytest.mark.parametrize("code", ["AccessDenied", "ServiceFailure", "ExpiredToken"])
def test_whatever_can_be_read_of_a_window_is_closed(unread, current, closed, is_error, code):
    """The error comes afterwards."""
    kind = "role" if "role" in unread else "user"
    admin = {"is_admin_policy": is_admin_policy}
    resource, account = resource_of(desired_window(CLOSED, kind, managed_only=True), current, **admin)
    (account.users if kind == "user" else account.roles)["P"].tags.update(MANAGED)
    account.fail(unread, code)
    plan, done = resource.plan(resource.read()), []
    with pytest.raises(CwagentError) if is_error else nullcontext():
        apply(plan, resource.execute, False, done)
    assert [step.summary for step in done] == closed


@pytest.mark.parametrize("marked", [{}, MANAGED])
def test_a_window_of_which_nothing_shows_whose_it_is_stays(marked):
    resource, account = resource_of(desired_window(CLOSED, "user", managed_only=True), OPENED)
    account.users["P"].tags = dict(marked)
    account.fail("get_user_policy", "AccessDenied")
    if marked:
        account.fail("get_user", "AccessDenied")
    with pytest.raises(AwsApiError, match="iam:GetUserPolicy"):
        resource.read()


@pytest.mark.parametrize(
    ("policy", "is_shown"), [(None, False), (OPEN_WINDOW.policy, False), ({"Statement": []}, True)]
)
def test_the_diff_has_the_document_only_of_a_window_that_others_wrote(policy, is_shown):
    shown = resource_of(desired_window(CLOSED), Window(NOW))[0].to_diff(Window(NOW, policy=policy))
    assert ("policy" in shown) == is_shown


@pytest.mark.parametrize("kind", ["role", "user"])
@pytest.mark.parametrize("is_open", [True, False])
@pytest.mark.parametrize("is_active", [True, False])
@pytest.mark.parametrize("known", ["closed", "open", "none"])
def test_a_window_that_the_caller_knows_as_closed_is_read_only_to_change_something(kind, is_open, is_active, known):
    """The caller can have read it before somebody opened it."""
    current = OPEN_WINDOW if is_open else CLOSED_WINDOW
    keys = (AccessKey(A, active=is_active, created=NOW),) if kind == "user" else ()
    policies = {"closed": closed_policy(), "open": OPEN_WINDOW.policy, "none": None}
    resource, account = resource_of(
        desired_window(CLOSED, kind), replace(current, keys=keys, saved_key_id=A), known_policy=policies[known]
    )
    plan = resource.plan(resource.read())
    is_known = known == "closed" and not (keys and is_active)
    assert account.count(f"get_{kind}_policy") == (not is_known)
    assert plan.has_changes == ((is_open and not is_known) or (bool(keys) and is_active))
    assert account.count(f"get_{kind}") == (bool(keys) and is_active)
