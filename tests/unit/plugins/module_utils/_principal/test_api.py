from __future__ import annotations

from contextlib import nullcontext

import pytest
from aws_account import Account
from declarations import BOUNDARY, OTHER_BOUNDARY

from ansible_collections.cwagent.iam.plugins.module_utils._errors import AwsApiError, InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._principal.api import (
    CALLS_PER_USER,
    PAGE_SIZE,
    boundary,
    check_boundary,
    find_users,
    tags,
)


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ({}, {}),
        ({"Tags": []}, {}),
        ({"Tags": [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": ""}]}, {"a": "1", "b": ""}),
    ],
    ids=["no list", "empty", "tags"],
)
def test_tags(answer, found):
    assert tags(answer) == found


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ({}, None),
        ({"PermissionsBoundary": {"PermissionsBoundaryType": "Policy", "PermissionsBoundaryArn": BOUNDARY}}, BOUNDARY),
    ],
    ids=["none", "set"],
)
def test_boundary(answer, found):
    assert boundary(answer) == found


@pytest.mark.parametrize(
    ("desired", "current", "asked"),
    [
        (None, [None], 0),
        ("none", [BOUNDARY], 0),
        (BOUNDARY, [BOUNDARY, BOUNDARY], 0),
        (BOUNDARY, [], 0),
        (BOUNDARY, [None], 1),
        (BOUNDARY, [BOUNDARY, OTHER_BOUNDARY, None], 1),
    ],
)
def test_a_boundary_is_looked_up_once_where_a_principal_does_not_have_it(desired, current, asked):
    account = Account()
    account.managed_policies.add(BOUNDARY)
    check_boundary(account.aws(), desired, current)
    assert account.operations == ["get_policy"] * asked


@pytest.mark.parametrize(
    ("code", "error", "message"),
    [
        ("NoSuchEntity", InvalidInput, rf"^permissions_boundary: policy {BOUNDARY} does not exist\. Create it first"),
        ("AccessDenied", None, ""),
        ("Throttling", AwsApiError, "throttled"),
    ],
)
def test_only_a_boundary_that_does_not_exist_is_invalid_input(code, error, message):
    """If it may not be read, IAM decides."""
    account = Account()
    account.fail("get_policy", code)
    with pytest.raises(error, match=message) if error else nullcontext():
        check_boundary(account.aws(), BOUNDARY, [None])


@pytest.mark.parametrize(
    ("pages", "names", "calls"),
    [
        (1, ["db1"], 1),
        (CALLS_PER_USER, ["db1"], CALLS_PER_USER),
        (CALLS_PER_USER + 1, ["db1"], CALLS_PER_USER),
        (CALLS_PER_USER + 1, ["db1", "db2"], CALLS_PER_USER + 1),
        (3 * CALLS_PER_USER, ["db1", "db2"], 2 * CALLS_PER_USER),
    ],
)
def test_users_are_read_in_bulk_until_reading_each_would_have_taken_as_many_calls(pages, names, calls):
    account = Account()
    account.add_users(*names)
    account.other_users = pages * PAGE_SIZE - len(names)

    found, is_complete = find_users(account.aws(), names)

    assert account.count("get_account_authorization_details") == calls
    assert is_complete is (calls == pages)
    assert [*found] == (names if is_complete else [])


def test_a_user_that_was_found_allows_no_more_pages():
    account = Account()
    users = [*[[]] * CALLS_PER_USER, [{"UserName": "db1"}], [{"UserName": "db2"}]]
    for number, page in enumerate(users, start=1):
        answer = {"UserDetailList": page, "IsTruncated": True, "Marker": str(number)}
        account.answer("get_account_authorization_details", answer, times=1)

    assert find_users(account.aws(), ["db1", "db2"]) == ({"db1": {"UserName": "db1"}}, False)
