from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError
from declarations import ADMIN, SERVER, declare
from scripted_account import CLOSED_WINDOW, Account, Region, Role, api_error

from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.policy import Opening, open_policy
from ansible_collections.cwagent.iam.plugins.module_utils._errors import AwsApiError, CwagentError, InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._preflight.drift import (
    CachingAws,
    DesiredAccess,
    find_drift,
)
from ansible_collections.cwagent.iam.plugins.module_utils._role.plan import DesiredRole

READ_ONLY = "arn:aws:iam::aws:policy/ReadOnlyAccess"
INSTANCE, SECOND, OTHER = "i-11111111", "i-22222222", "i-33333333"
HERE, THERE = "eu-central-1", "us-east-1"
DESIRED = DesiredAccess(
    server=DesiredRole("Server", declare("server"), "Server"),
    admin=DesiredRole("Admin", declare("admin", admin_window=True), "Admin"),
    on_existing="keep",
    instances={HERE: [INSTANCE], THERE: [SECOND]},
)
WITHOUT_WINDOW = replace(DESIRED, admin=DesiredRole("Admin", declare("admin"), "Admin"))
REPLACING = replace(DESIRED, on_existing="replace")
OPEN_WINDOW = open_policy(Opening(datetime.now(UTC) + timedelta(minutes=15)))


def account_as_desired() -> Account:
    return Account(
        roles={"Server": Role({SERVER}), "Admin": Role({ADMIN}, window=CLOSED_WINDOW)},
        regions={
            HERE: Region({INSTANCE: ("Server", "AIPA1")}, states={INSTANCE: "running", OTHER: "running"}),
            THERE: Region({SECOND: ("Server", "AIPA1")}, states={SECOND: "running"}),
        },
    )


def drift_of(account: Account, desired: DesiredAccess = DESIRED) -> list[str]:
    answers: dict[str, Any] = {}
    return find_drift(
        desired, {region: CachingAws(client_factory_in(account, region), region, answers) for region in (HERE, THERE)}
    )


def client_factory_in(account: Account, region: str) -> Callable[..., Any]:
    return lambda service, config: account.client(service, config, region)


def test_an_account_as_desired_has_no_drift() -> None:
    assert drift_of(account_as_desired()) == []


def remove_admin_role(account: Account) -> None:
    del account.roles["Admin"]


def remove_server_role(account: Account) -> None:
    del account.roles["Server"]


def detach_server_policy(account: Account) -> None:
    account.roles["Server"].policies.clear()


def detach_admin_policy(account: Account) -> None:
    account.roles["Admin"].policies.clear()


def empty_server_profile(account: Account) -> None:
    account.roles["Server"].is_in_profile = False


def recreate_server_profile(account: Account) -> None:
    account.roles["Server"].profile_id = "AIPA2"


def open_window(account: Account) -> None:
    account.roles["Admin"].window = OPEN_WINDOW


def remove_window(account: Account) -> None:
    account.roles["Admin"].window = None


def leave_restore_tag(account: Account) -> None:
    account.regions[HERE].restore_tags[INSTANCE] = "Server"


def leave_admin_profile(account: Account) -> None:
    account.regions[HERE].profiles[INSTANCE] = ("Admin", "AIPA1")


def leave_admin_profile_on_another_instance(account: Account) -> None:
    account.regions[HERE].profiles[OTHER] = ("Admin", "AIPA1")


def leave_restore_tag_in_the_second_region(account: Account) -> None:
    account.regions[THERE].restore_tags[SECOND] = "Server"


def open_window_and_leave_restore_tag(account: Account) -> None:
    open_window(account)
    leave_restore_tag(account)


def disassociate_profile(account: Account) -> None:
    del account.regions[HERE].profiles[INSTANCE]


def disassociate_profile_in_the_second_region(account: Account) -> None:
    del account.regions[THERE].profiles[SECOND]


def associate_profile_without_the_policy(account: Account) -> None:
    account.roles["App"] = Role({READ_ONLY})
    account.regions[HERE].profiles[INSTANCE] = ("App", "AIPA1")


def associate_profile_with_the_policy(account: Account) -> None:
    account.roles["App"] = Role({SERVER, READ_ONLY})
    account.regions[HERE].profiles[INSTANCE] = ("App", "AIPA1")


def do_nothing(account: Account) -> None:
    pass


@pytest.mark.parametrize(
    ("change", "desired", "drift"),
    [
        (remove_admin_role, DESIRED, ["access"]),
        (remove_server_role, DESIRED, ["access"]),
        (detach_server_policy, DESIRED, ["access"]),
        (detach_admin_policy, DESIRED, ["access"]),
        (empty_server_profile, DESIRED, ["access"]),
        (recreate_server_profile, DESIRED, ["access"]),
        (open_window, DESIRED, ["window", "access"]),
        (remove_window, DESIRED, ["window", "access"]),
        (do_nothing, WITHOUT_WINDOW, ["window", "access"]),
        (remove_window, WITHOUT_WINDOW, []),
        (leave_restore_tag, DESIRED, ["profiles", "access"]),
        (leave_admin_profile, DESIRED, ["profiles", "access"]),
        (leave_admin_profile_on_another_instance, DESIRED, ["profiles", "access"]),
        (leave_restore_tag_in_the_second_region, DESIRED, ["profiles", "access"]),
        (open_window_and_leave_restore_tag, DESIRED, ["window", "profiles", "access"]),
        (disassociate_profile, DESIRED, ["access"]),
        (disassociate_profile_in_the_second_region, DESIRED, ["access"]),
        (associate_profile_without_the_policy, DESIRED, ["access"]),
        (associate_profile_with_the_policy, DESIRED, []),
        (associate_profile_with_the_policy, REPLACING, ["access"]),
    ],
)
def test_a_difference_is_found(change: Callable[[Account], None], desired: DesiredAccess, drift: list[str]) -> None:
    account = account_as_desired()
    change(account)
    assert drift_of(account, desired) == drift


def test_another_instance_needs_no_profile() -> None:
    account = account_as_desired()
    account.regions[HERE].profiles[OTHER] = ("App", "AIPA9")
    assert drift_of(account) == []


def test_a_profile_to_restore_that_does_not_exist_is_a_difference() -> None:
    account = account_as_desired()
    leave_admin_profile(account)
    account.regions[HERE].restore_tags[INSTANCE] = "Deleted"
    assert drift_of(account) == ["profiles", "access"]


@pytest.mark.parametrize("change", [do_nothing, open_window, leave_restore_tag, disassociate_profile])
def test_everything_is_read_at_most_once(change: Callable[[Account], None]) -> None:
    account = account_as_desired()
    change(account)
    drift_of(account)
    # In EC2, each region is another; IAM is the same in all of them.
    calls = [
        (region if operation.startswith("describe_") else None, operation, arguments)
        for region, operation, arguments in account.calls
    ]
    assert {operation for _region, operation, _arguments in calls} >= {"get_role", "describe_tags"}
    assert all(calls.count(call) == 1 for call in calls)


def test_the_profiles_of_a_region_are_read_with_one_call() -> None:
    account = account_as_desired()
    drift_of(account)
    regions = [region for region, operation, _arguments in account.calls if operation.endswith("_associations")]
    assert sorted(regions) == [HERE, THERE]


@pytest.mark.parametrize("change", [open_window, leave_restore_tag, remove_admin_role])
def test_roles_are_not_compared_when_another_part_must_change_first(change: Callable[[Account], None]) -> None:
    account = account_as_desired()
    change(account)
    drift_of(account)
    assert "list_attached_role_policies" not in account.operations


def test_the_window_is_not_read_without_an_admin_role() -> None:
    account = account_as_desired()
    remove_admin_role(account)
    drift_of(account)
    assert "get_role_policy" not in account.operations


def test_the_inline_policies_of_the_server_role_are_not_read() -> None:
    account = account_as_desired()
    drift_of(account)
    names = [
        arguments["role_name"] for _region, operation, arguments in account.calls if operation == "list_role_policies"
    ]
    assert names == ["Admin"]


def test_an_impossible_access_is_an_error() -> None:
    account = account_as_desired()
    desired = replace(DESIRED, server=DesiredRole("Server", declare("server", path="/monitoring/"), "Server"))
    with pytest.raises(InvalidInput, match="path"):
        drift_of(account, desired)


@pytest.mark.parametrize(
    "operation",
    [
        "get_role",
        "get_role_policy",
        "get_instance_profile",
        "list_attached_role_policies",
        "describe_tags",
        "describe_iam_instance_profile_associations",
    ],
)
def test_a_denied_call_is_an_error(operation: str) -> None:
    account = account_as_desired()
    account.errors[operation] = api_error("AccessDenied", "User: ops is not authorized")
    with pytest.raises(AwsApiError, match="access denied"):
        drift_of(account)


class TestCachingAws:
    def test_the_same_call_is_made_once(self) -> None:
        account = account_as_desired()
        aws = CachingAws(client_factory_in(account, HERE), HERE, {})
        answers = [aws.call("iam:GetRole", "read the role", RoleName="Server") for _ in range(2)]
        assert answers[0]["Role"]["RoleName"] == "Server"
        assert answers[0] is answers[1]
        assert account.operations == ["get_role"]

    def test_calls_with_other_arguments_are_made(self) -> None:
        account = account_as_desired()
        aws = CachingAws(client_factory_in(account, HERE), HERE, {})
        names = [aws.call("iam:GetRole", "read", RoleName=name)["Role"]["RoleName"] for name in ("Server", "Admin")]
        assert names == ["Server", "Admin"]

    def test_other_operations_with_the_same_arguments_are_called(self) -> None:
        account = account_as_desired()
        aws = CachingAws(client_factory_in(account, HERE), HERE, {})
        aws.call("iam:GetRole", "read the role", RoleName="Server")
        aws.call("iam:ListAttachedRolePolicies", "list its policies", RoleName="Server")
        assert account.operations == ["get_role", "list_attached_role_policies"]

    def test_regions_share_the_answers_of_iam_only(self) -> None:
        account, answers = account_as_desired(), {}
        for region in (HERE, THERE):
            aws = CachingAws(client_factory_in(account, region), region, answers)
            aws.call("iam:GetRole", "read the role", RoleName="Server")
            aws.call("ec2:DescribeTags", "read the tags")
        assert [(region, operation) for region, operation, _arguments in account.calls] == [
            (HERE, "get_role"),
            (HERE, "describe_tags"),
            (THERE, "describe_tags"),
        ]

    def test_an_error_of_aws_is_remembered(self) -> None:
        account = account_as_desired()
        aws = CachingAws(client_factory_in(account, HERE), HERE, {})
        for _ in range(2):
            with pytest.raises(AwsApiError) as failure:
                aws.call("iam:GetRole", "read the role", RoleName="Missing")
            assert failure.value.code == "NoSuchEntity"
        assert account.operations == ["get_role"]

    def test_a_call_without_an_answer_is_made_again(self) -> None:
        account = account_as_desired()
        account.errors["get_role"] = EndpointConnectionError(endpoint_url="https://iam")
        aws = CachingAws(client_factory_in(account, HERE), HERE, {})
        with pytest.raises(CwagentError, match="could not be reached"):
            aws.call("iam:GetRole", "read the role", RoleName="Server")
        account.errors.clear()
        assert aws.call("iam:GetRole", "read the role", RoleName="Server")["Role"]["RoleName"] == "Server"
