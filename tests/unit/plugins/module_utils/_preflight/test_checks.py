from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._preflight.checks import check_inputs, fail_on_problems

REGION = "eu-central-1"
INSTANCE, OTHER_INSTANCE = "i-0123456789abcdef0", "i-12345678"
WITHOUT_INPUTS: dict[str, Any] = {
    "users": [],
    "instances": {},
    "profiles_to_delete": [],
    "expected_instance_ids": [],
    "users_to_delete": {},
    "default_users": {},
    "optional_users": [],
    "configs_to_delete": {},
    "report_unlisted": False,
    "saved_users": [],
    "key_store_directory": None,
    "key_store": "file",
    "key_store_prefix": "/cwagent/credentials/",
    "key_store_regions": [],
}
"""The options of the module as they are if none is given."""


def problems_of(**options: Any) -> list[str]:
    with pytest.raises(InvalidInput) as failure:
        check_inputs({**WITHOUT_INPUTS, **options})
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
        ("instances", {"us-east-1": {"a": 1}}, "instances: the value of 'us-east-1' is not a list: "),
        *(
            (option, {"us-east-1": {"a": 1}}, f"{option}: the value of 'us-east-1' is not a list: ")
            for option in ("users_to_delete", "configs_to_delete")
        ),
    ],
)
def test_each_option_is_checked(option: str, value: Any, message: str) -> None:
    [problem] = problems_of(**{option: value})
    assert message in problem


VALID: dict[str, Any] = {
    "users": ["web", "db"],
    "instances": {"": [INSTANCE], "us-east-1": [OTHER_INSTANCE]},
    "profiles_to_delete": ["Server"],
    "expected_instance_ids": [INSTANCE],
    "users_to_delete": {REGION: ["U"]},
    "report_unlisted": True,
    "saved_users": ["db"],
}


@pytest.mark.parametrize("option", VALID)
def test_a_valid_option_has_no_problem(option: str) -> None:
    check_inputs({**WITHOUT_INPUTS, option: VALID[option]})


def test_no_option_needs_to_be_given() -> None:
    found = check_inputs(WITHOUT_INPUTS)
    assert (found.instances, found.profiles_to_delete, found.expected_instance_ids) == ({}, [], [])


def test_all_problems_are_reported_together() -> None:
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
    found = check_inputs({**WITHOUT_INPUTS, "instances": {"": given, "us-east-1": [INSTANCE]}})
    assert found.instances == {"": ids, "us-east-1": [INSTANCE]}


def test_the_profiles_to_delete_are_returned_with_the_instances_that_may_have_them() -> None:
    options = {**WITHOUT_INPUTS, "profiles_to_delete": ["P"], "expected_instance_ids": [INSTANCE]}
    found = check_inputs(options)
    assert (found.profiles_to_delete, found.expected_instance_ids) == (["P"], [INSTANCE])


def test_no_problems_are_not_an_error() -> None:
    fail_on_problems([])


@pytest.mark.parametrize(("given", "regions"), [([], [""]), (["us-east-1"], ["us-east-1"])])
def test_saved_keys_are_in_the_region_of_the_module_by_default(given: list[str], regions: list[str]) -> None:
    found = check_inputs({**WITHOUT_INPUTS, "report_unlisted": True, "key_store_regions": given})
    assert found.unlisted
    assert found.unlisted.regions == regions
