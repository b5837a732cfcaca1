from __future__ import annotations

from contextlib import nullcontext

import pytest
from aws_account import ARN, Account, Principal
from declarations import BOUNDARY, FITTED, FITTED_ADMIN, OTHER_BOUNDARY, SERVER

from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import AwsApiError, InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._principals import principal
from ansible_collections.cwagent.iam.plugins.module_utils._principals.policies import AccountPrincipal
from ansible_collections.cwagent.iam.plugins.module_utils._principals.principal import (
    CALLS_PER_USER,
    PAGE_SIZE,
    boundary,
    check_boundary,
    find_server_policy,
    find_users,
    read_quota,
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
    db1, db2 = ({"UserName": name, "Arn": f"{ARN}:user/{name}", "Path": "/"} for name in ("db1", "db2"))
    users = [*[[]] * CALLS_PER_USER, [db1], [db2]]
    for number, page in enumerate(users, start=1):
        answer = {"UserDetailList": page, "IsTruncated": True, "Marker": str(number)}
        account.answer("get_account_authorization_details", answer, times=1)

    found = AccountPrincipal("user", "db1", f"{ARN}:user/db1")
    assert find_users(account.aws(), ["db1", "db2"]) == ({"db1": found}, False)


SERVERS, ADMINS = FITTED[0], FITTED_ADMIN
LIST, BULK = "list_policies", "get_account_authorization_details"


def account_with(**policies: list[str]) -> Account:
    """An account with a role and further users."""
    account = Account()
    for name, arns in policies.items():
        principals = account.users if account.roles else account.roles
        principals[name] = Principal(policies={*arns}, tags={"cwagent:managed": "created"})
    return account


@pytest.mark.parametrize(
    ("given", "policies", "found", "reads"),
    [
        ("aws", {"A": [SERVERS]}, ("aws", []), []),
        ("fitted", {"A": [SERVERS]}, ("fitted", [SERVERS]), [LIST]),
        ("fitted", {}, ("fitted", []), [LIST]),
        (None, {}, ("aws", []), [LIST]),
        ("", {"A": [SERVER]}, ("aws", []), [LIST]),
        (None, {"A": [SERVERS, ADMINS]}, ("fitted", [ADMINS, SERVERS]), [LIST, BULK]),
        (None, {"A": [SERVERS], "B": [SERVER]}, ("fitted", [SERVERS]), [LIST, BULK]),
    ],
)
def test_the_account_is_read_only_as_far_as_it_decides(given, policies, found, reads):
    account = account_with(**policies)
    chosen, arns = find_server_policy(account.aws(), given)
    assert (chosen.name, arns) == found
    assert account.operations == reads
    is_mixed = any(each == [SERVER] for each in policies.values()) and BULK in reads
    assert chosen.notice.startswith("The account is mixed: user 'B' still") == is_mixed


@pytest.mark.parametrize("denied", [LIST, BULK])
def test_a_denied_read_names_the_action_and_the_option(denied):
    account = account_with(A=[SERVERS])
    account.fail(denied, "AccessDenied")
    action = {LIST: "iam:ListPolicies", BULK: "iam:GetAccountAuthorizationDetails"}[denied]
    with pytest.raises(AwsApiError, match=f"{action}.* Or set server_policy [(]in the playbooks cwagent_server_polic"):
        find_server_policy(account.aws(), None)
    with pytest.raises(AwsApiError) if denied == LIST else nullcontext():
        find_server_policy(account.aws(), "fitted")


QUOTA = "get_account_summary"


@pytest.mark.parametrize("kind", ["role", "user"])
@pytest.mark.parametrize(
    ("numbers", "summary", "found"),
    [
        ([], {}, 10),
        ([0, 10], {}, 10),
        ([3, 11], {"AttachedPoliciesPerRoleQuota": 15, "AttachedPoliciesPerUserQuota": 20}, {"role": 15, "user": 20}),
        ([11], {}, {"role": 10, "user": 10}),
    ],
)
def test_the_quota_of_policies_is_read_where_the_default_is_too_small(kind, numbers, summary, found):
    account = Account()
    account.answer(QUOTA, {"SummaryMap": summary})
    is_read = isinstance(found, dict)
    assert read_quota(account.aws(), kind, numbers) == (found[kind] if is_read else found)
    assert account.operations == [QUOTA] * is_read


@pytest.mark.parametrize(("code", "warns"), [("AccessDenied", True), ("ServiceFailure", False)])
def test_where_the_quota_is_denied_the_default_counts_and_a_warning_says_so(code, warns, monkeypatch):
    warnings: list[str] = []
    monkeypatch.setattr(principal, "warn", warnings.append)
    account = Account()
    account.fail(QUOTA, code)
    with nullcontext() if warns else pytest.raises(AwsApiError):
        assert read_quota(account.aws(retry_timeout=0), "user", [11]) == 10
    assert ["iam:GetAccountSummary" in each and "default of 10 counts" in each for each in warnings] == [True] * warns
