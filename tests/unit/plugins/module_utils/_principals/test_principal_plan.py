"""The functions that plans of roles and users share. The property tests of both go through these functions too."""

from __future__ import annotations

import pytest
from aws_account import POLICIES, Account
from aws_model import check_call
from declarations import (
    ADMIN,
    BOUNDARY,
    CUSTOM,
    DECLARED,
    FITTED,
    FITTED_ADMIN,
    PRINCIPALS,
    SERVER,
    SSM_CORE,
    UNMANAGED,
    declare,
)
from hypothesis import given

from ansible_collections.cwagent.iam.plugins.module_utils._ground.names import (
    ADOPTED,
    MARK_TAG,
    WINDOW_POLICY,
    fitted_access,
    is_fitted_policy,
)
from ansible_collections.cwagent.iam.plugins.module_utils._principals.principal_plan import (
    MAX_POLICIES,
    NOT_CREATED,
    PrincipalState,
    attach_steps,
    grant_steps,
    kept_warning,
    principal_to_dict,
    tag_steps,
    unmanaged_policies,
    update_steps,
)
from ansible_collections.cwagent.iam.plugins.module_utils._principals.user_plan import User


@given(PRINCIPALS, DECLARED)
def test_a_principal_gets_what_is_declared_and_keeps_the_rest_unless_exclusive(current, declared):
    planned, window = declared.planned_state(current), {WINDOW_POLICY}
    assert planned.path == current.path
    fitted = frozenset(filter(is_fitted_policy, current.policies))
    kept = frozenset() if declared.exclusive else current.policies - declared.detach - fitted
    accesses = {*map(fitted_access, declared.attach)}
    assert planned.policies == kept | declared.attach | {arn for arn in fitted if fitted_access(arn) in accesses}
    has_window = bool(current.inline & window) or declared.admin_window
    assert planned.inline - window == (frozenset() if declared.exclusive else current.inline - window)
    assert planned.inline & window == (window if has_window else frozenset())
    assert planned.boundary == {None: current.boundary, "none": None}.get(declared.boundary, declared.boundary)
    mark = {MARK_TAG: ADOPTED} if declared.adopt and not current.is_marked else {}
    keeps_all = declared.tags is None or not declared.purge_tags
    tags = {key: value for key, value in current.tags.items() if keeps_all or key.startswith(("aws:", "cwagent:"))}
    assert planned.tags == {**tags, **(declared.tags or {}), **mark}


def test_unmanaged_lists_policies_and_then_inline_policies_in_order():
    current = PrincipalState(
        policies=frozenset({SERVER, ADMIN, CUSTOM, UNMANAGED}), inline=frozenset({WINDOW_POLICY, "b", "a"})
    )
    assert unmanaged_policies(current, declare(further=frozenset({CUSTOM}))) == [
        f"policy {UNMANAGED}",
        "inline policy 'a'",
        "inline policy 'b'",
    ]


def test_the_steps_of_an_update_are_in_this_order():
    """A policy is attached before others are detached."""
    current = PrincipalState(
        policies=frozenset({ADMIN, UNMANAGED}), inline=frozenset({"app"}), boundary=BOUNDARY, tags={"a": "1", "b": "2"}
    )
    planned = PrincipalState(policies=frozenset({SERVER}), inline=frozenset({WINDOW_POLICY}), tags={"a": "2"})
    steps = update_steps("user", "U", current, planned)
    assert [step.action for step in steps] == [
        "iam:DeleteUserPermissionsBoundary",
        "iam:PutUserPolicy",
        "iam:AttachUserPolicy",
        "iam:DetachUserPolicy",
        "iam:DetachUserPolicy",
        "iam:DeleteUserPolicy",
        "iam:UntagUser",
        "iam:TagUser",
    ]
    for step in steps:
        check_call(step)


def test_a_principal_at_the_policy_quota_can_change_its_access():
    policies = frozenset({ADMIN, *(f"{CUSTOM}{number}" for number in range(POLICIES - 1))})
    principal = PrincipalState(policies=policies)
    assert len(principal.policies) == MAX_POLICIES
    account = Account()
    account.put_user(User("U", principal))
    account.take_all(update_steps("user", "U", principal, declare().planned_state(principal)))
    assert SERVER in account.users["U"].policies


@pytest.mark.parametrize(
    ("access", "given", "current", "planned"),
    [
        ("server", FITTED[:1], {SERVER, CUSTOM}, {FITTED[0], CUSTOM}),
        ("server", FITTED, {SERVER, SSM_CORE}, {*FITTED, SSM_CORE}),
        ("server", [], {*FITTED, CUSTOM}, {SERVER, CUSTOM}),
        ("server", FITTED[:1], {*FITTED}, {*FITTED}),
        ("server", FITTED[:1], {FITTED[0], FITTED_ADMIN}, {FITTED[0]}),
        ("admin", [FITTED[0], FITTED_ADMIN], {ADMIN}, {FITTED[0], FITTED_ADMIN}),
        ("admin", [], {FITTED[0], FITTED_ADMIN}, {ADMIN}),
        ("admin", [FITTED[0], FITTED_ADMIN], {*FITTED, ADMIN}, {*FITTED, FITTED_ADMIN}),
    ],
)
@pytest.mark.parametrize("exclusive", [False, True])
def test_fitted_policies_replace_those_of_aws_and_back(access, given, current, planned, exclusive):
    """The new ones are attached first. A policy that another run has just created stays."""
    declared = declare(access, access_policies=given, exclusive=exclusive)
    expected = {arn for arn in planned if not exclusive or arn in declared.attach or is_fitted_policy(arn)}
    principal = PrincipalState(policies=frozenset(current))
    assert declared.planned_policies(principal.policies) == expected
    actions = [step.action for step in update_steps("role", "R", principal, declared.planned_state(principal))]
    assert actions == sorted(actions)
    assert declared.planned_policies(frozenset(expected)) == expected


def test_fitted_policies_are_managed_wherever_they_are_found():
    of_others = FITTED[0].replace("/cwagent/", "/")
    current = PrincipalState(policies=frozenset({*FITTED, FITTED_ADMIN, SERVER, of_others}))
    assert unmanaged_policies(current, declare()) == [f"policy {of_others}"]
    assert declare().remove_managed(current).policies == {of_others}


@pytest.mark.parametrize(("others", "first"), [(7, "Attach"), (8, "Detach"), (9, "Attach")])
def test_nothing_is_detached_where_the_new_policies_have_no_room_anyway(others, first):
    """If the quota was raised, IAM accepts them. Otherwise, the earlier policies stay."""
    principal = PrincipalState(policies=frozenset({SERVER, *(f"{CUSTOM}{number}" for number in range(others))}))
    steps = update_steps("role", "R", principal, declare(access_policies=FITTED).planned_state(principal))
    assert steps[0].action == f"iam:{first}RolePolicy"


@pytest.mark.parametrize(("arn", "is_new"), [(SERVER, False), (CUSTOM, False), (FITTED[0], True)])
def test_attaching_waits_for_a_policy_that_was_just_created(arn, is_new):
    [step] = attach_steps("user", "U", frozenset({arn}))
    assert step.retry_when == ({"NoSuchEntity"} if is_new else frozenset())


@pytest.mark.parametrize(
    ("current", "planned", "summaries", "arguments"),
    [
        (
            {},
            {"b": "2", "a": "1"},
            ["tag instance profile 'P' with a, b"],
            [{"instance_profile_name": "P", "tags": {"a": "1", "b": "2"}}],
        ),
        (
            {"b": "2", "a": "1"},
            {},
            ["remove the tags a, b from instance profile 'P'"],
            [{"instance_profile_name": "P", "tag_keys": ["a", "b"]}],
        ),
        (
            {"Team": "a"},
            {"team": "a"},
            ["remove the tags Team from instance profile 'P'", "tag instance profile 'P' with team"],
            [
                {"instance_profile_name": "P", "tag_keys": ["Team"]},
                {"instance_profile_name": "P", "tags": {"team": "a"}},
            ],
        ),
    ],
    ids=["added", "removed", "another case of a key"],
)
def test_tag_steps(current, planned, summaries, arguments):
    steps = tag_steps("instance profile", "P", current, planned)
    assert [step.summary for step in steps] == summaries
    assert [step.arguments for step in steps] == arguments


def test_a_principal_is_rendered_with_sorted_policies():
    principal = PrincipalState("/m/", frozenset({SERVER, ADMIN}), frozenset({"b", "a"}), BOUNDARY, {"a": "1"})
    assert principal_to_dict(principal) == {
        "path": "/m/",
        "managed_policies": [ADMIN, SERVER],
        "inline_policies": ["a", "b"],
        "permissions_boundary": BOUNDARY,
        "tags": {"a": "1"},
    }


def test_a_window_that_exists_is_not_closed_again():
    window = PrincipalState(inline=frozenset({WINDOW_POLICY}))
    assert grant_steps("user", "U", window, window) == []
    assert [step.action for step in grant_steps("user", "U", window, PrincipalState())] == ["iam:PutUserPolicy"]


def test_managed_parts_are_removed_and_the_rest_is_kept():
    current = PrincipalState(policies=frozenset({SERVER, UNMANAGED}), inline=frozenset({WINDOW_POLICY, "app"}))
    kept = PrincipalState(policies=frozenset({UNMANAGED}), inline=frozenset({"app"}))
    assert declare().remove_managed(current) == kept


@pytest.mark.parametrize(
    ("found", "reasons"),
    [
        ([NOT_CREATED], "it was not created by this collection"),
        (["policy P", "access key A"], "still attached: policy P, access key A"),
        ([NOT_CREATED, "policy P"], "it was not created by this collection; still attached: policy P"),
    ],
)
def test_the_warning_about_a_kept_principal_has_all_reasons(found, reasons):
    assert kept_warning("role", "R", found) == f"role 'R' was not deleted; {reasons}"
