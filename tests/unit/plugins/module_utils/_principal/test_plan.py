"""What is on roles and users; tests of both go through these functions too."""

from __future__ import annotations

import pytest
from aws_model import POLICIES, Iam
from declarations import ADMIN, FOREIGN, MINE, SERVER, declare

from ansible_collections.cwagent.iam.plugins.module_utils._names import WINDOW_POLICY
from ansible_collections.cwagent.iam.plugins.module_utils._principal.plan import GONE, Held, foreign, settle, tag_steps
from ansible_collections.cwagent.iam.plugins.module_utils._user.plan import User


@pytest.mark.parametrize(
    ("now", "tags", "purge", "then"),
    [
        ({"a": "1", "aws:x": "y"}, None, False, {"a": "1", "aws:x": "y"}),
        ({"a": "1", "aws:x": "y"}, None, True, {"a": "1", "aws:x": "y"}),
        ({"a": "1", "aws:x": "y"}, {}, True, {"aws:x": "y"}),
        ({"a": "1", "aws:x": "y"}, {"b": "2"}, True, {"aws:x": "y", "b": "2"}),
        ({"a": "1"}, {"b": "2"}, False, {"a": "1", "b": "2"}),
        ({"a": "1"}, {"a": "2"}, False, {"a": "2"}),
    ],
)
def test_tags(now, tags, purge, then):
    assert declare(tags=tags, purge_tags=purge).tags_after(now) == then


@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("inline", [frozenset(), frozenset({"app"}), frozenset({WINDOW_POLICY, "app"})])
def test_the_admin_window_is_never_removed_with_foreign_policies(inline, exclusive):
    then = declare(exclusive=exclusive).inline_after(inline)
    assert then == (inline & {WINDOW_POLICY} if exclusive else inline)


def test_foreign():
    now = Held(policies=frozenset({SERVER, ADMIN, MINE, FOREIGN}), inline=frozenset({WINDOW_POLICY, "b", "a"}))
    assert foreign(now, declare(further=frozenset({MINE}))) == [
        f"policy {FOREIGN}",
        "inline policy 'a'",
        "inline policy 'b'",
    ]


def test_the_successor_is_there_before_anything_is_taken():
    now, then = Held(policies=frozenset({ADMIN, FOREIGN})), Held(policies=frozenset({SERVER}))
    actions = [step.action for step in settle("role", "R", now, then)]
    assert actions == ["iam:AttachRolePolicy", "iam:DetachRolePolicy", "iam:DetachRolePolicy"]


def test_a_boundary_that_is_gone_is_as_good_as_removed():
    [step] = settle("user", "U", Held(boundary=MINE), Held())
    assert step.done_when == GONE


def test_a_full_principal_can_change_its_access():
    held = Held(policies=frozenset({ADMIN, *(f"{MINE}{number}" for number in range(POLICIES - 1))}))
    iam = Iam()
    iam.put_user(User("U", held))
    iam.take_all(settle("user", "U", held, declare().held_after(held)))
    assert SERVER in iam.users["U"].policies


def test_a_tag_can_change_its_case():
    [untag, tag] = tag_steps("role", "R", {"Team": "a"}, {"team": "a"})
    assert (untag.action, tag.action) == ("iam:UntagRole", "iam:TagRole")
