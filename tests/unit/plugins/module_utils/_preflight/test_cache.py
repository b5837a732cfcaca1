from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError
from compared_tasks import HERE, THERE, account_as_desired
from declarations import ADMIN
from scripted_account import CLOSED_WINDOW, Account, api_error

from ansible_collections.cwagent.iam.plugins.module_utils._errors import AwsApiError, CwagentError
from ansible_collections.cwagent.iam.plugins.module_utils._names import WINDOW_POLICY
from ansible_collections.cwagent.iam.plugins.module_utils._preflight.cache import Cache, CachingAws

NAMES = {("role", "Server"), ("role", "Admin"), ("role", "Missing"), ("user", "Op")}
USER: dict[str, Any] = {
    "UserName": "Op",
    "Path": "/",
    "UserPolicyList": [{"PolicyName": WINDOW_POLICY, "PolicyDocument": CLOSED_WINDOW}],
    "AttachedManagedPolicies": [{"PolicyArn": ADMIN}],
}


class AccountWithUser(Account):
    """The account also has a user."""

    def get_account_authorization_details(self, region: str, **arguments: Any) -> dict[str, Any]:
        return {**super().get_account_authorization_details(region, **arguments), "UserDetailList": [USER]}

    def list_groups_for_user(self, region: str, user_name: str) -> dict[str, Any]:
        return {"Groups": []}


def account_with_user() -> Account:
    account = account_as_desired()
    return AccountWithUser(account.roles, account.regions)


def gateway(account: Account, region: str = HERE, cache: Cache | None = None) -> CachingAws:
    return CachingAws(lambda service, config: account.client(service, config, region), region, cache or Cache())


@pytest.mark.parametrize(
    ("action", "arguments", "answer"),
    [
        ("iam:GetUser", {"UserName": "Op"}, {"User": USER}),
        (
            "iam:GetUserPolicy",
            {"UserName": "Op", "PolicyName": WINDOW_POLICY},
            USER["UserPolicyList"][0],
        ),
        ("iam:ListUserPolicies", {"UserName": "Op"}, {"PolicyNames": [WINDOW_POLICY]}),
        ("iam:ListAttachedUserPolicies", {"UserName": "Op"}, {"AttachedPolicies": [{"PolicyArn": ADMIN}]}),
        ("iam:ListRolePolicies", {"RoleName": "Server"}, {"PolicyNames": []}),
        ("iam:ListAttachedRolePolicies", {"RoleName": "Admin"}, {"AttachedPolicies": [{"PolicyArn": ADMIN}]}),
    ],
)
def test_a_bulk_read_has_the_answer(action: str, arguments: dict[str, Any], answer: dict[str, Any]) -> None:
    account = account_with_user()
    aws = gateway(account)
    assert aws.read_principals(NAMES, ()) == {("role", "Missing")}
    assert aws.call(action, "read", **arguments) == answer
    assert account.operations == ["get_account_authorization_details"]


@pytest.mark.parametrize(
    ("action", "arguments"),
    [
        ("iam:GetRole", {"RoleName": "Missing"}),
        ("iam:GetRolePolicy", {"RoleName": "Server", "PolicyName": WINDOW_POLICY}),
    ],
)
def test_a_bulk_read_shows_what_does_not_exist(action: str, arguments: dict[str, Any]) -> None:
    account = account_with_user()
    aws = gateway(account)
    aws.read_principals(NAMES, ())
    assert aws.find(action, "read", absent="NoSuchEntity", **arguments) is None
    assert account.operations == ["get_account_authorization_details"]


@pytest.mark.parametrize(
    ("action", "arguments"),
    [
        ("iam:GetRole", {"RoleName": "Server"}),
        ("iam:GetInstanceProfile", {"InstanceProfileName": "Server"}),
        ("iam:ListGroupsForUser", {"UserName": "Op"}),
    ],
)
def test_what_a_bulk_read_lacks_is_called(action: str, arguments: dict[str, Any]) -> None:
    account = account_with_user()
    aws = gateway(account)
    aws.read_principals(NAMES, {"Server"})
    aws.call(action, "read", **arguments)
    assert len(account.calls) == 2


def test_one_bulk_read_serves_the_resources_that_read_in_bulk() -> None:
    account = account_with_user()
    aws = gateway(account)
    aws.read_principals(NAMES, ())
    page = aws.call("iam:GetAccountAuthorizationDetails", "read", Filter=["User"], MaxItems=1000)
    assert page["UserDetailList"] == [USER]
    assert page["IsTruncated"] is False
    assert account.operations == ["get_account_authorization_details"]


def test_a_denied_bulk_read_is_not_repeated() -> None:
    account = account_with_user()
    account.errors["get_account_authorization_details"] = api_error("AccessDenied", "User: ops is not authorized")
    aws = gateway(account)
    assert aws.read_principals(NAMES, ()) == ()
    with pytest.raises(AwsApiError, match="access denied"):
        aws.call("iam:GetAccountAuthorizationDetails", "read", Filter=["User"], MaxItems=1000)
    assert account.operations == ["get_account_authorization_details"]


def test_the_same_call_is_made_once() -> None:
    account = account_as_desired()
    aws = gateway(account)
    answers = [
        aws.call("iam:GetRole", "read the role", RoleName=name)["Role"] for name in ("Server", "Admin", "Server")
    ]
    assert [each["RoleName"] for each in answers] == ["Server", "Admin", "Server"]
    assert account.operations == ["get_role", "get_role"]


def test_regions_share_the_answers_of_iam_only() -> None:
    account, cache = account_as_desired(), Cache()
    for region in (HERE, THERE):
        aws = gateway(account, region, cache)
        aws.call("iam:GetRole", "read the role", RoleName="Server")
        aws.call("ec2:DescribeTags", "read the tags")
    assert [(region, operation) for region, operation, _arguments in account.calls] == [
        (HERE, "get_role"),
        (HERE, "describe_tags"),
        (THERE, "describe_tags"),
    ]


def test_an_error_of_aws_is_remembered() -> None:
    account = account_as_desired()
    aws = gateway(account)
    for _ in range(2):
        with pytest.raises(AwsApiError) as failure:
            aws.call("iam:GetRole", "read the role", RoleName="Missing")
        assert failure.value.code == "NoSuchEntity"
    assert account.operations == ["get_role"]


def test_a_call_without_an_answer_is_made_again() -> None:
    account = account_as_desired()
    account.errors["get_role"] = EndpointConnectionError(endpoint_url="https://iam")
    aws = gateway(account)
    with pytest.raises(CwagentError, match="could not be reached"):
        aws.call("iam:GetRole", "read the role", RoleName="Server")
    account.errors.clear()
    assert aws.call("iam:GetRole", "read the role", RoleName="Server")["Role"]["RoleName"] == "Server"
