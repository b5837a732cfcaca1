from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._keys.stores import PLACE_SPEC
from ansible_collections.cwagent.iam.plugins.module_utils._storing.lookups import Listed, fail_on_problems
from ansible_collections.cwagent.iam.plugins.module_utils._storing.restore import (
    OPTIONS_OF,
    RULES,
    SPEC,
    Leftovers,
    to_inputs,
    to_leftovers,
)

REGION = "eu-central-1"
INSTANCE, OTHER_INSTANCE = "i-0123456789abcdef0", "i-12345678"
DEFAULTS: dict[str, Any] = {name: option.get("default") for name, option in SPEC.items()}
CHECKS: dict[str, Any] = {**DEFAULTS, "state": "checked"}
"""The options of the state with this name as they are if no other is given."""
PARAMS: dict[str, Any] = {
    **DEFAULTS,
    "admin_role_name": "R",
    "server_profile": "S",
    "admin_users": ["u"],
    "instances": {"eu-central-1": ["i-0123456789abcdef0"]},
    "check_instances": True,
    "adopt_existing": False,
    "users": ["u", "v"],
    "key_store": "parameter_store",
    "key_store_prefix": "/keys/",
    "key_store_regions": ["us-east-1"],
}


def test_where_to_look_follows_the_options() -> None:
    assert to_leftovers(PARAMS) == Leftovers("R", "S", "closed", True, ["u"], True, False, False, PARAMS["instances"])


@pytest.mark.parametrize(("role", "profiles"), [("R", ["S", "R"]), (None, ["S"])])
def test_the_contents_of_the_inventory_follow_the_options(role: str | None, profiles: list[str]) -> None:
    found = to_leftovers({**PARAMS, "admin_role_name": role, "report_unlisted": True})
    instances = frozenset({"i-0123456789abcdef0"})
    assert found.admin_role_name == role
    assert found.unlisted == Listed(
        ["u", "v"], instances, profiles, {name: PARAMS[name] for name in PLACE_SPEC}, ["us-east-1"]
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"admin_role_name": "a b"}, "'a b' is not a valid role name"),
        ({"server_profile": "a b"}, "'a b' is not a valid instance profile name"),
        ({"server_profile": "R"}, "R"),
        ({"server_profile": None}, "server_profile is required"),
        ({"admin_users": ["a b"]}, "'a b' is not a valid user name"),
        ({"users": ["a b"]}, "'a b' is not a valid user name"),
        ({"users": ["a", "A"]}, "'a' and 'A' differ only by case"),
        ({"instances": {"": ["x"]}}, "'x' is not a valid EC2 instance ID"),
    ],
)
def test_an_invalid_option_is_an_error(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as caught:
        to_leftovers({**PARAMS, **options})
    assert str(caught.value).endswith(" Nothing was changed.")
    assert len(caught.value.details["problems"]) == 1


def test_all_invalid_options_are_reported_together() -> None:
    with pytest.raises(InvalidInput) as caught:
        to_leftovers({**PARAMS, "admin_role_name": "a b", "admin_users": ["c d"], "instances": {"": "x"}})
    assert len(caught.value.details["problems"]) == 3


def test_no_problems_are_not_an_error() -> None:
    fail_on_problems([])


OTHER_VALUES: dict[str, Any] = {
    "admin_role_name": "R",
    "server_profile": "S",
    "window_state": "keep",
    "close_role_window": False,
    "check_instances": True,
    "find_server_policy": True,
    "adopt_existing": False,
    **{name: ["x"] for name in ("admin_users", "profiles_to_delete", "expected_instance_ids")},
    **{name: ["x"] for name in ("optional_users", "saved_users")},
    **{name: {REGION: ["x"]} for name in ("users_to_delete", "configs_to_delete")},
    "default_users": {"x": "y"},
}
"""Valid values of the options that only one state has."""


@pytest.mark.parametrize(("state", "other"), [("restored", "checked"), ("checked", "restored")])
def test_an_option_of_one_state_is_a_problem_with_the_other_unless_it_has_its_default(state: str, other: str) -> None:
    read, given = (to_leftovers, PARAMS) if other == "restored" else (to_inputs, CHECKS)
    read({**given, **{name: DEFAULTS[name] for name in OPTIONS_OF[state]}})
    for name in OPTIONS_OF[state]:
        with pytest.raises(InvalidInput) as caught:
            read({**given, name: OTHER_VALUES[name]})
        assert caught.value.details["problems"] == [f"{name}: only for state={state}."]


def test_the_options_of_one_state_that_are_given_with_the_other_are_reported_together() -> None:
    with pytest.raises(InvalidInput, match=r"^admin_role_name, server_profile: only for state=restored\. Nothing"):
        to_inputs({**CHECKS, "admin_role_name": "R", "server_profile": "S"})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "state is restored but all of the following are missing: server_profile"),
        ({"server_profile": "S"}, None),
        ({"state": "checked"}, None),
    ],
)
def test_only_a_restoration_needs_the_server_profile(given: dict[str, Any], message: str | None) -> None:
    errors = ArgumentSpecValidator(SPEC, **RULES).validate(given).error_messages
    assert errors == ([message] if message else [])


def problems_of(**options: Any) -> list[str]:
    with pytest.raises(InvalidInput) as failure:
        to_inputs({**CHECKS, **options})
    problems = failure.value.details["problems"]
    assert str(failure.value) == f"{' '.join(problems)} Nothing was changed."
    return problems


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("saved_users", ["a b"], "'a b' is not a valid user name: IAM allows 1 to 64 characters"),
        ("saved_users", ["x" * 65], "is not a valid user name"),
        ("users", ["a/b"], "'a/b' is not a valid user name: IAM allows 1 to 64 characters"),
        ("users", ["web", "Web"], "'web' and 'Web' differ only by case"),
        ("instances", {"": ["i-1"]}, "'i-1' is not a valid EC2 instance ID"),
        ("instances", {REGION: [INSTANCE], "us-east-1": ["web-1"]}, "'web-1' is not a valid EC2 instance ID"),
        ("instances", {"us-east-1": {"a": 1}}, "instances: the value of 'us-east-1' is not a list of names"),
        *(
            (option, {"us-east-1": {"a": 1}}, f"{option}: the value of 'us-east-1' is not a list of names")
            for option in ("users_to_delete", "configs_to_delete")
        ),
    ],
)
def test_each_input_is_checked(option: str, value: Any, message: str) -> None:
    [problem] = problems_of(**{option: value})
    assert message in problem


def test_valid_options_have_no_problem_and_none_needs_to_be_given() -> None:
    valid: dict[str, Any] = {
        "users": ["web", "db"],
        "instances": {"": [INSTANCE], "us-east-1": [OTHER_INSTANCE]},
        "profiles_to_delete": ["Server"],
        "expected_instance_ids": [INSTANCE],
        "users_to_delete": {REGION: ["U"]},
        "report_unlisted": True,
        "saved_users": ["db"],
    }
    for given in ({}, valid):
        found = to_inputs({**CHECKS, **given})
        assert found.instances == given.get("instances", {})
        assert found.profiles_to_delete == given.get("profiles_to_delete", [])
        assert found.expected_instance_ids == given.get("expected_instance_ids", [])


def test_all_problems_of_inputs_are_reported_together() -> None:
    problems = problems_of(
        users=["a b", "A", "a"],
        saved_users=["c d"],
        instances={"": ["i-1"], "us-east-1": {"a": 1}},
    )
    expected = [
        "'a b'", "'A' and 'a'", "'c d'", "'us-east-1'", "'i-1'",
    ]  # fmt: skip
    assert len(problems) == len(expected)
    assert [text for text, problem in zip(expected, problems, strict=True) if text not in problem] == []


def test_a_problem_that_several_options_have_is_reported_once() -> None:
    assert len(problems_of(users=["a b", "a b"])) == 1


@pytest.mark.parametrize(
    ("given", "ids"),
    [
        ([INSTANCE, OTHER_INSTANCE], [INSTANCE, OTHER_INSTANCE]),
        (f"{INSTANCE},{OTHER_INSTANCE}", [INSTANCE, OTHER_INSTANCE]),
        ([], []),
        (None, []),
    ],
)
def test_instances_are_listed_by_region(given: Any, ids: list[str]) -> None:
    found = to_inputs({**CHECKS, "instances": {"": given, "us-east-1": [INSTANCE]}})
    assert found.instances == {"": ids, "us-east-1": [INSTANCE]}


@pytest.mark.parametrize(("given", "regions"), [([], [""]), (["us-east-1"], ["us-east-1"])])
def test_saved_keys_are_in_the_region_of_the_module_by_default(given: list[str], regions: list[str]) -> None:
    found = to_inputs({**CHECKS, "report_unlisted": True, "key_store_regions": given})
    assert found.unlisted
    assert found.unlisted.regions == regions
