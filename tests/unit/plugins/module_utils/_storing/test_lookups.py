from __future__ import annotations

import threading
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
from aws_account import Account

from ansible_collections.cwagent.iam.plugins.module_utils._ground.aws import Aws
from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import AwsApiError, InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._ground.names import ADOPTED, CREATED, MARK_TAG
from ansible_collections.cwagent.iam.plugins.module_utils._storing.lookups import (
    Inputs,
    Listed,
    Lookups,
    ineligible_instances,
    readable_associations,
)

INSTANCE, SECOND, OTHER = "i-11111111", "i-22222222", "i-33333333"
HERE, THERE = "eu-central-1", "us-east-1"
NO_INPUTS = Inputs({}, [], [])
INSTANCES = replace(NO_INPUTS, instances={HERE: [INSTANCE], THERE: [SECOND]})
DELETION = replace(NO_INPUTS, profiles_to_delete=["Server", "Admin"], expected_instance_ids=[INSTANCE])
ASSOCIATIONS = "describe_iam_instance_profile_associations"
NOTHING_FOUND: dict[str, Any] = {"warnings": [], "unlisted": [], "users_to_delete": {}}
DENIED = "User: ops is not authorized to perform: ec2:DescribeIamInstanceProfileAssociations"
OURS = {MARK_TAG: CREATED}


@pytest.fixture
def account() -> Account:
    """The instances of the inventory in two regions, and in one of them an instance of an application."""
    found = Account()
    found.add_instance(INSTANCE, "Server")
    found.add_instance(SECOND, "Server", region=THERE)
    found.add_instance(OTHER, "App", region=THERE)
    return found


def result_of(inputs: Inputs, account: Account) -> dict[str, Any]:
    return Lookups(inputs, lambda region: account.aws(region or HERE), check_mode=False).result()


def problems_of(inputs: Inputs, account: Account) -> list[str]:
    with pytest.raises(InvalidInput) as failure:
        result_of(inputs, account)
    problems = failure.value.details["problems"]
    assert str(failure.value) == f"{' '.join(problems)} Nothing was changed."
    return problems


def test_aws_is_not_called_without_inputs(account: Account) -> None:
    assert result_of(NO_INPUTS, account) == NOTHING_FOUND
    assert account.calls == []


def test_all_instances_that_cannot_have_a_profile_are_reported(account: Account) -> None:
    assert result_of(INSTANCES, account) == NOTHING_FOUND
    assert account.operations == ["describe_instances"] * 2
    del account.regions[HERE][INSTANCE]
    account.add_instance(SECOND, state="terminated", region=THERE)
    missing, ended = problems_of(INSTANCES, account)
    assert missing.startswith(f"Instance {INSTANCE} does not exist in {HERE} and this account.")
    assert ended.startswith(f"Instance {SECOND} is terminated")


@pytest.mark.parametrize("denied", [False, True])
def test_an_instance_is_looked_up_unless_its_profile_was_read(account: Account, denied: bool) -> None:
    def reasons() -> list[str]:
        return ineligible_instances(
            account.aws, INSTANCES.instances, readable_associations(account.aws, INSTANCES.instances)
        )

    if denied:
        account.fail(ASSOCIATIONS, "UnauthorizedOperation", message=DENIED)
    assert reasons() == []
    assert account.count("describe_instances") == 2 * denied
    del account.regions[THERE][SECOND]
    [missing] = reasons()
    assert missing.startswith(f"Instance {SECOND} does not exist in {THERE} and this account.")


def test_no_call_is_made_twice(account: Account) -> None:
    result_of(replace(INSTANCES, unlisted=Listed(["db1"])), account)
    assert all(account.calls.count(call) == 1 for call in account.calls)


def test_clients_are_made_in_the_main_thread(account: Account) -> None:
    """AnsibleAWSModule ends the module where it cannot make a client, which works in the main thread only."""
    threads = set()

    def client(service: str, config: Any, region: str = HERE) -> Any:
        threads.add(threading.current_thread())
        return account.client(service, config, region)

    aws_in = cache(lambda region: Aws(partial(client, region=region or HERE)))
    Lookups(INSTANCES, aws_in, check_mode=False).result()
    assert threads == {threading.main_thread()}


@pytest.mark.parametrize(
    ("state", "expected", "problems"),
    [
        ("running", [INSTANCE], [f"{SECOND} in {THERE}"]),
        ("stopped", [INSTANCE], [f"{SECOND} in {THERE}"]),
        ("terminated", [INSTANCE], []),
        ("shutting-down", [INSTANCE], []),
        ("running", [INSTANCE, SECOND], []),
    ],
)
def test_other_instances_with_a_profile_to_delete_are_reported_unless_they_ended(
    account: Account, state: str, expected: list[str], problems: list[str]
) -> None:
    """EC2 may list the profile of an instance that has ended."""
    account.add_instance(SECOND, "Server", state=state, region=THERE)
    inputs = replace(DELETION, expected_instance_ids=expected)
    if problems:
        assert problems_of(inputs, account) == [
            f"Instance {each} is not in the inventory and has instance profile 'Server'." for each in problems
        ]
    else:
        assert result_of(inputs, account) == NOTHING_FOUND


def test_ineligible_instances_and_other_holders_are_reported_together(account: Account) -> None:
    missing, *holders = problems_of(replace(DELETION, instances={THERE: [INSTANCE]}), account)
    assert missing.startswith(f"Instance {INSTANCE} does not exist in {THERE} and this account.")
    assert len(holders) == 1


def test_a_region_that_a_policy_closes_is_skipped_with_a_warning(account: Account) -> None:
    denied = f"{DENIED} with an explicit deny in a service control policy"
    account.fail(ASSOCIATIONS, "UnauthorizedOperation", message=denied, region=THERE)
    [warning] = result_of(DELETION, account)["warnings"]
    assert warning.startswith(f"It is not known whether instances in {THERE} have an instance profile to delete.")
    assert "explicitly denies ec2:DescribeIamInstanceProfileAssociations" in warning


def test_a_region_that_no_policy_allows_is_an_error(account: Account) -> None:
    account.fail(ASSOCIATIONS, "UnauthorizedOperation", message=DENIED, region=THERE)
    with pytest.raises(AwsApiError, match="lacks ec2:DescribeIamInstanceProfileAssociations"):
        result_of(DELETION, account)


@pytest.mark.parametrize("optional", [[], ["gone"]])
def test_only_users_of_this_collection_are_to_be_deleted(account: Account, optional: list[str]) -> None:
    account.add_users("ours")
    account.add_users("adopted", tags={MARK_TAG: ADOPTED})
    account.add_users("alice", tags={"team": "a"})
    ours = replace(NO_INPUTS, users_to_delete={HERE: ["ours", "gone"], THERE: ["adopted"]}, optional_users=optional)
    warnings = [] if optional else ["There is no user 'gone'."]
    assert result_of(ours, account) == {**NOTHING_FOUND, "users_to_delete": ours.users_to_delete, "warnings": warnings}
    assert problems_of(replace(NO_INPUTS, users_to_delete={HERE: ["ours", "alice"]}), account) == [
        "User 'alice' was not created by this collection, so it is not removed."
    ]


@pytest.mark.parametrize(
    ("files", "users", "is_problem"),
    [(["db", "web"], [], True), (["db", "web"], ["web"], False), (["db"], ["web"], True), ([], [], False)],
    ids=["of others", "one exists", "none of a file exists", "no files"],
)
def test_keys_that_may_belong_to_another_account_are_not_to_be_deleted(
    account: Account, tmp_path: Path, files: list[str], users: list[str], is_problem: bool
) -> None:
    for name in files:
        (tmp_path / f"{name}.credentials").touch()
    account.add_users(*users)
    options = {"key_store": "file", "key_store_directory": str(tmp_path)}
    inputs = replace(NO_INPUTS, saved_users=["db", "web"], place=options)
    if is_problem:
        [problem] = problems_of(inputs, account)
        place = f"profile AmazonCloudWatchAgent of {tmp_path}/db.credentials"
        assert problem.startswith(f"{place} has the access key of user 'db', and this account")
    else:
        assert result_of(inputs, account) == NOTHING_FOUND
    account.fail("get_user", "AccessDenied")
    assert result_of(inputs, account) == NOTHING_FOUND


NO_USER = "There is no user '{}'."
UNKNOWN = "It is not known whether there is a user 'db': iam:GetUser is not allowed."
HOST = replace(NO_INPUTS, users_to_delete={HERE: ["db", "user-db"]}, default_users={"db": "user-db"})


@pytest.mark.parametrize(
    ("users", "denied", "deleted", "warnings"),
    [
        ({"db": OURS, "user-db": {}}, "", ["db"], []),
        ({"user-db": OURS}, "", ["user-db"], []),
        ({}, "", ["db", "user-db"], [NO_USER.format("db"), NO_USER.format("user-db")]),
        ({"user-db": OURS}, "db", ["user-db"], []),
        ({"db": OURS}, "user-db", ["db"], []),
        ({}, "user-db", ["db"], [NO_USER.format("db")]),
        ({}, "db", ["user-db"], [NO_USER.format("user-db"), UNKNOWN]),
    ],
)
def test_a_name_without_a_user_means_a_host(
    account: Account, users: Any, denied: str, deleted: Any, warnings: Any
) -> None:
    for name, tags in users.items():
        account.add_users(name, tags=tags)
    account.fail("get_user", "AccessDenied", value=denied)
    assert result_of(HOST, account) == {**NOTHING_FOUND, "users_to_delete": {HERE: deleted}, "warnings": warnings}


def test_a_name_that_may_not_be_read_in_any_way_is_an_error(account: Account) -> None:
    account.fail("get_user", "AccessDenied")
    with pytest.raises(AwsApiError, match="read user 'db'"):
        result_of(HOST, account)


def test_the_default_user_of_a_host_must_be_ours(account: Account) -> None:
    account.add_users("user-db", tags={})
    assert problems_of(HOST, account) == ["User 'user-db' was not created by this collection, so it is not removed."]
