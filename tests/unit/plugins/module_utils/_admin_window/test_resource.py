from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aws_model import Gateway, IamWindow

from ansible_collections.cwagent.iam.plugins.module_utils._access_keys.model import AccessKey
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window import plan as window_plan
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.plan import (
    ABSENT,
    CLOSED,
    OPEN,
    UNKNOWN,
    DesiredWindow,
    Window,
)
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.policy import (
    Opening,
    closed_policy,
    open_policy,
    size_of,
)
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.resource import WindowResource
from ansible_collections.cwagent.iam.plugins.module_utils._errors import AwsApiError, ContentionError, InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._names import WINDOW_POLICY
from ansible_collections.cwagent.iam.plugins.module_utils._plan import apply

NOW = datetime(2026, 11, 24, 16, 0, 30, tzinfo=UTC)
CLOSED_POLICY = closed_policy()
INSTANCE, OTHER_INSTANCE = "i-0123456789abcdef0", "i-0123456789abcdef1"
DEADLINE = NOW + timedelta(minutes=15)
OPEN_WINDOW = Window(NOW, open_policy(Opening(DEADLINE, INSTANCE)))
CLOSED_WINDOW = Window(NOW, CLOSED_POLICY)
MISSING = Window(NOW, exists=False)
UNREADABLE = Window(NOW, is_known=False, error=AwsApiError("Could not read the window.", "AccessDenied"))


class Iam(Gateway):
    """A model of IAM that answers reads from its window, and records them."""

    def __init__(self, model: IamWindow, is_found: bool = True) -> None:
        super().__init__(model)
        self.model: Any
        self.now, self.is_found = NOW, is_found
        self.reads: list[str] = []
        self.tags: dict[str, str] = {}
        self.policies: list[str] = []
        self.others: dict[str, dict[str, Any]] = {}
        self.denied = ""

    def find(self, action: str, *_: Any, **__: Any) -> dict[str, Any] | None:
        self.reads.append(action)
        if not self.is_found:
            return None
        if not action.endswith("Policy"):
            tags = [{"Key": key, "Value": value} for key, value in self.tags.items()]
            return {action.removeprefix("iam:Get"): {"Tags": tags}}
        policy = self.model.window.policy
        return None if policy is None else {"PolicyDocument": policy}

    def call(self, action: str, *_: Any, **arguments: Any) -> dict[str, Any]:
        self.reads.append(action)
        return {"PolicyDocument": self.others[arguments["PolicyName"]]}

    def pages(self, action: str, *_: Any, **__: Any) -> list[dict[str, Any]]:
        self.reads.append(action)
        if action == "iam:ListAccessKeys":
            keys = self.model.window.keys
            listed = [
                {"AccessKeyId": key.id, "Status": "Active" if key.active else "Inactive", "CreateDate": key.created}
                for key in keys
            ]
            return [{"AccessKeyMetadata": listed}]
        if action in ("iam:ListRolePolicies", "iam:ListUserPolicies"):
            if self.denied:
                raise AwsApiError("No.", self.denied)
            return [{"PolicyNames": [WINDOW_POLICY]}, {"PolicyNames": [*self.others]}]
        return [{"AttachedPolicies": [{"PolicyArn": f"arn:aws:iam::aws:policy/{name}"} for name in self.policies]}]


def desired_window(state: str, kind: str = "role", force: bool = False) -> DesiredWindow:
    return DesiredWindow(kind, "P", state, force=force, instance_id=INSTANCE)


def resource_of(desired: DesiredWindow, current: Window = CLOSED_WINDOW, **more: Any) -> WindowResource:
    gateway: Any = Iam(IamWindow(desired.kind, "P", current))
    return WindowResource(gateway, desired, **more)


def resource_with_iam(current: Window, desired: DesiredWindow, is_found: bool = True) -> tuple[WindowResource, Iam]:
    iam: Any = Iam(IamWindow(desired.kind, "P", current), is_found)
    return WindowResource(iam, desired), iam


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
    resource = resource_of(desired_window(state))
    plan = resource.plan(current)
    assert (plan.planned, resource.check_mode_warnings(plan), resource.warnings(plan)) == (planned, warnings, [])
    no_opening: dict[str, Any] = {"deadline": None, "instance_id": None, "parameters": []}
    assert resource.to_diff(current) == {**no_opening, "state": ABSENT, "access_keys": [], "policy": None}


def policy_of_size(size: int) -> dict[str, Any]:
    return {"Sid": "x" * (size - size_of({"Sid": ""}))}


@pytest.mark.parametrize(("kind", "limit", "noun"), [("role", 10240, "Role"), ("user", 2048, "User")])
def test_other_inline_policies_count_towards_the_limit(kind, limit, noun):
    desired = replace(desired_window(OPEN, kind), instance_id=INSTANCE)
    resource, iam = resource_with_iam(CLOSED_WINDOW, desired)
    room = limit - size_of(open_policy(Opening(DEADLINE, INSTANCE)))
    iam.others = {"a": policy_of_size(100), "b": policy_of_size(room - 100)}
    current = resource.read()
    resource.check_preconditions(current)
    assert current.others_size == room
    iam.others["c"] = policy_of_size(12)
    with pytest.raises(InvalidInput, match=f"and the others of the {kind} have {room + 12}. IAM allows"):
        resource.check_preconditions(resource.read())
    assert f"iam:Get{noun}Policy" in iam.reads
    assert resource.read_again().others_size == 0


@pytest.mark.parametrize("code", ["AccessDenied", "NoSuchEntity", "ServiceFailure"])
def test_inline_policies_that_may_not_be_read_prevent_nothing(code):
    resource, iam = resource_with_iam(CLOSED_WINDOW, desired_window(OPEN))
    iam.denied = code
    with pytest.raises(AwsApiError) if code == "ServiceFailure" else nullcontext():
        assert resource.read().others_size == 0


@pytest.mark.parametrize(
    "desired", [desired_window(CLOSED), desired_window(ABSENT), replace(desired_window(OPEN), read_others=False)]
)
def test_inline_policies_are_read_only_where_a_window_opens(desired):
    resource, iam = resource_with_iam(CLOSED_WINDOW, desired)
    resource.read()
    assert "iam:ListRolePolicies" not in iam.reads


def test_an_open_window_is_accepted_by_default():
    resource = resource_of(desired_window(OPEN))
    resource.check_preconditions(OPEN_WINDOW)
    assert not resource.plan(OPEN_WINDOW).has_changes


def test_an_open_window_is_contended_if_the_user_wants_that():
    resource = resource_of(desired_window(OPEN), fail_if_open=True)
    with pytest.raises(ContentionError, match="is open until"):
        resource.check_preconditions(OPEN_WINDOW)
    resource.check_preconditions(CLOSED_WINDOW)
    assert resource.plan(CLOSED_WINDOW).has_changes
    assert not resource.plan(OPEN_WINDOW).has_changes, "the window that this run has opened"


def test_the_window_of_another_instance_is_refused_where_this_one_may_have_its_own():
    resource = resource_of(desired_window(OPEN), fail_if_open=True)
    resource.check_own(OPEN_WINDOW)
    with pytest.raises(ContentionError, match=f"is open until .* for instance {OTHER_INSTANCE}"):
        resource.check_own(Window(NOW, open_policy(Opening(DEADLINE, OTHER_INSTANCE))))


def test_a_forced_close_of_a_role_reads_the_window_only_afterwards():
    """IAM can still show the window as it was before it was opened."""
    resource, iam = resource_with_iam(OPEN_WINDOW, desired_window(CLOSED, force=True))
    current = resource.read()
    assert resource.to_diff(current)["state"] == UNKNOWN
    plan = resource.plan(current)
    assert resource.to_diff(plan.planned)["policy"] == CLOSED_WINDOW.policy
    apply(plan, resource.execute, check_mode=False)
    assert iam.model.window == plan.planned == CLOSED_WINDOW
    assert iam.reads == []
    final = resource.read_again()
    assert resource.remaining(plan, final) == []
    assert iam.reads == ["iam:GetRolePolicy"]
    assert resource.to_result(plan, final)["window"]["state"] == CLOSED


def test_a_forced_close_waits_until_iam_shows_the_closed_window():
    resource, iam = resource_with_iam(OPEN_WINDOW, desired_window(CLOSED, force=True))
    plan = resource.plan(resource.read())
    assert resource.remaining(plan, resource.read_again()) == ["close the admin window of role 'P'"]
    iam.is_found = False  # the role was deleted since
    final = resource.read_again()
    assert resource.remaining(plan, final) == []
    assert iam.reads == ["iam:GetRolePolicy", "iam:GetRolePolicy", "iam:GetRole"]
    assert resource.to_result(plan, final)["window"]["state"] == ABSENT


READ_CASES = {
    "closed without force": desired_window(CLOSED),
    "opened": desired_window(OPEN, force=True),
    "removed": desired_window(ABSENT, force=True),
    "closed, of a user, who has keys": desired_window(CLOSED, kind="user", force=True),
}


@pytest.mark.parametrize("wanted", READ_CASES.values(), ids=READ_CASES)
def test_the_window_is_read_if_that_matters(wanted):
    resource, iam = resource_with_iam(Window(NOW), wanted, is_found=False)
    assert resource.read() == MISSING
    kind = wanted.kind.title()
    assert iam.reads == [f"iam:Get{kind}Policy", f"iam:Get{kind}"]


def test_force_closes_a_window_that_looks_closed():
    """It can have been opened a moment before."""
    key_a, key_b = AccessKey("A", active=False), AccessKey("B")
    current = replace(CLOSED_WINDOW, keys=(key_a, key_b), saved_key_id="A")
    closing = desired_window(CLOSED, kind="user", force=True)
    deactivate_a = "deactivate access key A of user 'P'"
    assert window_plan.plan(current, replace(closing, force=False)).summaries == []
    resource = resource_of(closing)
    plan = resource.plan(current)
    assert plan.summaries == ["close the admin window of user 'P'", deactivate_a]
    assert resource.remaining(plan, replace(current, keys=(AccessKey("A"), key_b))) == [deactivate_a]
    assert resource.remaining(plan, current) == []


def test_opening_is_refused_before_the_plan_while_another_key_is_active():
    resource = resource_of(desired_window(OPEN, kind="user"))
    with pytest.raises(ContentionError, match="B"):
        resource.check_preconditions(replace(CLOSED_WINDOW, keys=(AccessKey("B"),), saved_key_id="A"))


INACTIVE, ACTIVE = AccessKey("A", active=False), AccessKey("A")
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
    current = replace(CLOSED_WINDOW, keys=keys)
    resource, iam = resource_with_iam(current, desired_window(state, "user", force))
    iam.tags = {"cwagent:saved-key": "A"}
    assert resource.read() == replace(current, saved_key_id="A" if reads_tags else None, is_marked=not reads_tags)
    assert iam.reads == [
        *("iam:GetUserPolicy", "iam:ListAccessKeys"),
        *["iam:GetUser"] * reads_tags,
        *["iam:ListUserPolicies"] * (state == OPEN),
    ]


MANAGED = {"cwagent:managed": "created"}
MARK_CASES = {
    "no mark": ({}, [], True, {"is_marked": False}, []),
    "created": (MANAGED, [], True, {"has_admin_policy": False}, ["iam:ListAttachedRolePolicies"]),
    "created, with the admin policy": (
        MANAGED,
        ["CloudWatchAgentAdminPolicy"],
        True,
        {},
        ["iam:ListAttachedRolePolicies"],
    ),
    "adopted, named": ({"cwagent:managed": "adopted"}, [], False, {}, []),
    "another value, named": ({"cwagent:managed": "me"}, [], False, {"is_marked": False}, []),
}


@pytest.mark.parametrize(("tags", "policies", "managed_only", "more", "reads"), MARK_CASES.values(), ids=MARK_CASES)
def test_the_mark_is_read_where_there_is_no_window(tags, policies, managed_only, more, reads):
    desired = replace(desired_window(CLOSED), managed_only=managed_only)
    iam: Any = Iam(IamWindow("role", "P", Window(NOW)))
    iam.tags, iam.policies = tags, policies
    resource = WindowResource(iam, desired, admin_policy="CloudWatchAgentAdminPolicy")
    assert resource.read() == Window(NOW, **more)
    assert iam.reads == ["iam:GetRolePolicy", "iam:GetRole", *reads]


def test_the_policies_do_not_matter_to_a_window_that_is_opened():
    iam: Any = Iam(IamWindow("role", "P", Window(NOW)))
    iam.tags = MANAGED
    resource = WindowResource(iam, replace(desired_window(OPEN), managed_only=True), admin_policy="P")
    assert resource.read() == Window(NOW)
    assert iam.reads == ["iam:GetRolePolicy", "iam:GetRole", "iam:ListRolePolicies"]


def test_a_window_of_others_is_not_opened_rather_than_their_key_named():
    resource = resource_of(replace(desired_window(OPEN, kind="user"), managed_only=True))
    with pytest.raises(InvalidInput, match="user 'P' exists and was not created by this collection"):
        resource.check_preconditions(Window(NOW, None, (AccessKey("A"),), is_marked=False))


def test_a_principal_of_others_is_in_the_result_and_in_a_warning():
    resource = resource_of(replace(desired_window(CLOSED), managed_only=True))
    plan = resource.plan(Window(NOW, is_marked=False))
    assert not plan.has_changes
    assert resource.to_result(plan, plan.planned)["managed"] is False
    assert "was not created by this collection" in " ".join(resource.warnings(plan))
    managed = resource.plan(OPEN_WINDOW)
    assert resource.to_result(managed, managed.planned)["managed"] is True


def test_a_forced_close_reads_the_role_first_where_only_managed_ones_are_changed():
    resource, iam = resource_with_iam(OPEN_WINDOW, replace(desired_window(CLOSED, force=True), managed_only=True))
    assert resource.read() == OPEN_WINDOW
    assert iam.reads == ["iam:GetRolePolicy"]


def test_waiting_does_not_make_the_deadline_look_too_early():
    resource = resource_of(desired_window(OPEN))
    plan = resource.plan(CLOSED_WINDOW)
    later = replace(plan.planned, read_at=NOW + timedelta(minutes=10))
    assert resource.remaining(plan, later) == []
    assert resource.plan(later).has_changes
    assert resource.to_result(plan, replace(later, read_at=NOW + timedelta(minutes=20)))["window"]["state"] == OPEN


def test_a_window_that_cannot_be_read_is_closed_with_a_warning():
    resource = resource_of(desired_window(CLOSED), OPEN_WINDOW)
    plan = resource.plan(UNREADABLE)
    assert plan.summaries == ["close the admin window of role 'P'"]
    assert resource.warnings(plan) == [
        "Could not read the window. The window is closed anyway; its earlier state is unknown."
    ]
    assert resource.remaining(plan, UNREADABLE) == []
    assert resource.to_result(plan, UNREADABLE)["window"]["state"] == UNKNOWN
    assert resource.remaining(plan, OPEN_WINDOW) == ["close the admin window of role 'P'"]


def test_a_window_that_could_be_read_before_is_read_again_until_it_can_be():
    resource = resource_of(desired_window(CLOSED))
    plan = resource.plan(OPEN_WINDOW)
    assert resource.remaining(plan, UNREADABLE) == ["Could not read the window."]
    assert resource.remaining(plan, CLOSED_WINDOW) == []


@pytest.mark.parametrize("force", [False, True], ids=["read", "not read"])
def test_a_resource_keeps_no_state(force):
    resource, _ = resource_with_iam(OPEN_WINDOW, desired_window(CLOSED, force=force))
    before = dict(vars(resource))
    current = resource.read()
    resource.check_preconditions(current)
    plan = resource.plan(current)
    apply(plan, resource.execute, check_mode=False)
    resource.remaining(plan, resource.read())
    assert vars(resource) == before
