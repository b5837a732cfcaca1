from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._ground.planned import Planned, find_detached

ROLE = {
    "changed": True,
    "role": {"name": "R", "managed_policies": ["arn:P"]},
    "instance_profile": {"name": "I", "id": "A"},
}
DISASSOCIATED = {"changed": True, "instances": [{"instance_id": "i-1", "profile": None}]}
ASSOCIATED = {"changed": True, "results": [{"changed": True, "instances": [{"instance_id": "i-1", "profile": "I"}]}]}
LABELLED = {"changed": True, "applied_versions": [{"region": "eu-1", "name": "C", "version": 3}]}
USERS = {"results": [{"changed": False, "users": [{"name": "u"}], "rotation": {"u": "due", "v": "current"}}]}


def test_plans_of_earlier_tasks() -> None:
    planned = Planned([DISASSOCIATED, ROLE, ASSOCIATED, USERS, LABELLED])
    assert planned.applied_versions == {("eu-1", "C"): 3}
    assert planned.profiles == {"i-1": "I"}
    assert planned.policies_of("I") == ["arn:P"]
    assert (planned.profile_id("I"), planned.profile_id("R")) == ("A", None)
    assert (planned.has_changed_role("R"), planned.has_changed_role("I")) == (True, False)
    assert (planned.has_user("u"), planned.has_user("v")) == (True, False)
    assert (planned.has_new_key("u"), planned.has_new_key("v")) == (True, False)


UNCHANGED_ROLE = {**ROLE, "changed": False}
UNCHANGED_ASSOCIATION = {"changed": False, "instances": [{"instance_id": "i-1", "profile": "I"}]}


@pytest.mark.parametrize(
    ("results", "is_given"),
    [
        ([ROLE, ASSOCIATED], True),
        ([ROLE, UNCHANGED_ASSOCIATION], True),
        ([UNCHANGED_ROLE, ASSOCIATED], True),
        ([UNCHANGED_ROLE, UNCHANGED_ASSOCIATION], False),
        ([ROLE], False),
        ([ASSOCIATED], False),
        ([ROLE, DISASSOCIATED], False),
        ([{**ROLE, "role": {"name": "R", "managed_policies": ["arn:Q"]}}, ASSOCIATED], False),
        ([UNCHANGED_ROLE, UNCHANGED_ASSOCIATION, {"changed": True, "role": {"name": "S"}}], False),
    ],
)
def test_an_instance_gets_a_policy_with_its_profile_or_with_the_role_in_it(results: Any, is_given: bool) -> None:
    assert Planned(results).gives_policy("i-1", {"arn:P"}) == is_given
    assert not Planned(results).gives_policy("i-2", {"arn:P"})


def test_a_role_without_changes_is_not_changed() -> None:
    planned = Planned([{**ROLE, "changed": False}])
    assert not planned.has_changed_role("R")
    assert planned.policies_of("I") == ["arn:P"]


States = dict[str, list[str]]
DETACHED: dict[str, tuple[States, States, list[tuple[str, str]]]] = {
    "one of two": ({"P": ["a", "b"]}, {"P": ["b"]}, [("P", "a")]),
    "all": ({"P": ["b", "a"]}, {"P": []}, [("P", "a"), ("P", "b")]),
    "replaced": ({"P": ["a"]}, {"P": ["b"]}, [("P", "a")]),
    "deleted principal": ({"P": ["a"]}, {}, [("P", "a")]),
    "one of two principals": ({"Q": ["a"], "P": ["a"]}, {"Q": [], "P": ["a"]}, [("Q", "a")]),
    "attached": ({"P": []}, {"P": ["a"]}, []),
    "created principal": ({}, {"P": ["a"]}, []),
}


@pytest.mark.parametrize(("before", "after", "lost"), DETACHED.values(), ids=DETACHED)
@pytest.mark.parametrize("kind", ["role", "user"])
def test_policies_that_principals_lose_are_detached(
    kind: str, before: States, after: States, lost: list[tuple[str, str]]
) -> None:
    detached = find_detached(kind, before, after)
    assert detached == [{"kind": kind, "name": name, "policy": arn} for name, arn in lost]
    result = {"changed": True, "detached": detached}
    assert Planned([{"results": [result]}]).detached == {(kind, *each) for each in lost}
    assert Planned([{**result, "failed": True}]).detached == set()


@pytest.mark.parametrize(
    "results",
    [
        [],
        [{}],
        [{"skipped": True, **ROLE}, {"failed": True, **DISASSOCIATED}, {"results": [{"failed": True, **ROLE}]}],
        [{"changed": True, "role": None, "instance_profile": {"name": "I"}, "instances": None, "users": None}],
        [{"changed": True, "role": None, "instance_profile": None, "rotation": None}],
    ],
)
def test_results_without_a_plan_have_no_effect(results: list[dict[str, Any]]) -> None:
    planned = Planned(results)
    assert (planned.profiles, planned.policies_of("I")) == ({}, None)
    assert (planned.profile_id("I"), planned.applied_versions, planned.detached) == (None, {}, set())
    assert not any([planned.has_changed_role("R"), planned.has_user("u"), planned.has_new_key("u")])


GARBAGE: list[Any] = [
    "x",
    1,
    True,
    None,
    [],
    {},
    ["x"],
    [1],
    [None],
    [[]],
    [{}],
    {"x": "y"},
    {"name": "R"},
    [{"name": 1}],
]
KEYS = [
    "results",
    "instances",
    "applied_versions",
    "role",
    "instance_profile",
    "detached",
    "users",
    "node",
    "rotation",
]
NESTED: list[dict[str, Any]] = [
    *({"detached": [{"kind": "role", "name": "R", "policy": each}]} for each in GARBAGE if not isinstance(each, str)),
    {"detached": [{"kind": "role", "name": "R"}]},
    {"applied_versions": [{"region": 1}, {"region": "r", "name": "n"}, {"region": "r", "name": "n", "version": "1"}]},
    {"instances": [{"instance_id": 1, "profile": "I"}, {"instance_id": "i-1"}, {"instance_id": ["i-1"], "profile": 1}]},
    {"changed": True, "node": {"id": ["mi-1"]}},
    {"changed": True, "role": {"managed_policies": "x"}, "instance_profile": {"name": "other"}},
]


@pytest.mark.parametrize("result", [*({"changed": True, key: each} for key in KEYS for each in GARBAGE), *NESTED])
def test_results_of_another_form_have_no_effect(result: dict[str, Any]) -> None:
    """The user chooses which results a task gets, and any module can have returned them."""
    planned = Planned([result, {"results": [result]}])
    assert (planned.profiles, planned.applied_versions, planned.nodes) == ({}, {}, set())
    assert {arn for _kind, _name, arn in planned.detached} <= {"x"}
    assert (planned.policies_of("I"), planned.profile_id("I")) == (None, None)
    assert not any([planned.has_changed_role("S"), planned.has_user("u"), planned.has_new_key("u")])
