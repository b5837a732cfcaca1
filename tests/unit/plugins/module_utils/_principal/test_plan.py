"""What is on roles and users; tests of both go through these functions too."""

from __future__ import annotations

import pytest
from aws_model import POLICIES, Iam
from declarations import ADMIN, FOREIGN, MINE, SERVER, declare

from ansible_collections.cwagent.iam.plugins.module_utils._names import WINDOW_POLICY
from ansible_collections.cwagent.iam.plugins.module_utils._principal.plan import (
    NOT_FOUND_CODES,
    PrincipalState,
    tag_steps,
    unmanaged,
    update_steps,
)
from ansible_collections.cwagent.iam.plugins.module_utils._user.plan import User


@pytest.mark.parametrize(
    ("current", "tags", "purge", "planned"),
    [
        ({"a": "1", "aws:x": "y"}, None, False, {"a": "1", "aws:x": "y"}),
        ({"a": "1", "aws:x": "y"}, None, True, {"a": "1", "aws:x": "y"}),
        ({"a": "1", "aws:x": "y"}, {}, True, {"aws:x": "y"}),
        ({"a": "1", "aws:x": "y"}, {"b": "2"}, True, {"aws:x": "y", "b": "2"}),
        ({"a": "1"}, {"b": "2"}, False, {"a": "1", "b": "2"}),
        ({"a": "1"}, {"a": "2"}, False, {"a": "2"}),
    ],
)
def test_tags(current, tags, purge, planned):
    assert declare(tags=tags, purge_tags=purge).planned_tags(current) == planned


@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("inline", [frozenset(), frozenset({"app"}), frozenset({WINDOW_POLICY, "app"})])
def test_the_admin_window_is_never_removed_with_foreign_policies(inline, exclusive):
    planned = declare(exclusive=exclusive).planned_inline(inline)
    assert planned == (inline & {WINDOW_POLICY} if exclusive else inline)


def test_foreign():
    current = PrincipalState(
        policies=frozenset({SERVER, ADMIN, MINE, FOREIGN}), inline=frozenset({WINDOW_POLICY, "b", "a"})
    )
    assert unmanaged(current, declare(further=frozenset({MINE}))) == [
        f"policy {FOREIGN}",
        "inline policy 'a'",
        "inline policy 'b'",
    ]


def test_the_successor_is_there_before_anything_is_taken():
    current, planned = (
        PrincipalState(policies=frozenset({ADMIN, FOREIGN})),
        PrincipalState(policies=frozenset({SERVER})),
    )
    actions = [step.action for step in update_steps("role", "R", current, planned)]
    assert actions == ["iam:AttachRolePolicy", "iam:DetachRolePolicy", "iam:DetachRolePolicy"]


def test_a_boundary_that_is_gone_is_as_good_as_removed():
    [step] = update_steps("user", "U", PrincipalState(boundary=MINE), PrincipalState())
    assert step.done_when == NOT_FOUND_CODES


def test_a_full_principal_can_change_its_access():
    principal = PrincipalState(policies=frozenset({ADMIN, *(f"{MINE}{number}" for number in range(POLICIES - 1))}))
    iam = Iam()
    iam.put_user(User("U", principal))
    iam.take_all(update_steps("user", "U", principal, declare().planned_principal(principal)))
    assert SERVER in iam.users["U"].policies


def test_a_tag_can_change_its_case():
    [untag, tag] = tag_steps("role", "R", {"Team": "a"}, {"team": "a"})
    assert (untag.action, tag.action) == ("iam:UntagRole", "iam:TagRole")
