from __future__ import annotations

import threading
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from scripted_account import CLOSED_WINDOW, Account, Region, Role, api_error

from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws
from ansible_collections.cwagent.iam.plugins.module_utils._errors import AwsApiError, InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._names import ADOPTED, CREATED, MARK_TAG
from ansible_collections.cwagent.iam.plugins.module_utils._preflight import resource
from ansible_collections.cwagent.iam.plugins.module_utils._preflight.checks import Inputs
from ansible_collections.cwagent.iam.plugins.module_utils._preflight.resource import Preflight, ineligible_instances
from ansible_collections.cwagent.iam.plugins.module_utils._preflight.search import readable_associations
from ansible_collections.cwagent.iam.plugins.module_utils._preflight.unlisted import Listed
from ansible_collections.cwagent.iam.plugins.module_utils._principal.api import find_user

INSTANCE, SECOND, OTHER = "i-11111111", "i-22222222", "i-33333333"
HERE, THERE = "eu-central-1", "us-east-1"
NO_INPUTS = Inputs({}, [], [])
INSTANCES = replace(NO_INPUTS, instances={HERE: [INSTANCE], THERE: [SECOND]})
DELETION = replace(NO_INPUTS, profiles_to_delete=["Server", "Admin"], expected_instance_ids=[INSTANCE])
ASSOCIATIONS = "describe_iam_instance_profile_associations"
NOTHING_FOUND: dict[str, Any] = {"warnings": [], "unlisted": [], "users_to_delete": {}}
DENIED = "User: ops is not authorized to perform: ec2:DescribeIamInstanceProfileAssociations"


def account_as_desired() -> Account:
    return Account(
        roles={"Server": Role(), "Admin": Role(window=CLOSED_WINDOW)},
        regions={
            HERE: Region({INSTANCE: ("Server", "AIPA1")}, states={INSTANCE: "running", OTHER: "running"}),
            THERE: Region({SECOND: ("Server", "AIPA1")}, states={SECOND: "running"}),
        },
    )


def result_of(inputs: Inputs, account: Account) -> dict[str, Any]:
    return Preflight(inputs, account.client).result()


def problems_of(inputs: Inputs, account: Account) -> list[str]:
    with pytest.raises(InvalidInput) as failure:
        result_of(inputs, account)
    problems = failure.value.details["problems"]
    assert str(failure.value) == f"{' '.join(problems)} Nothing was changed."
    return problems


def test_aws_is_not_called_without_inputs() -> None:
    account = account_as_desired()
    assert result_of(NO_INPUTS, account) == NOTHING_FOUND
    assert account.calls == []


def test_instances_that_exist_are_not_a_problem() -> None:
    account = account_as_desired()
    assert result_of(INSTANCES, account) == NOTHING_FOUND
    assert account.operations == ["describe_instances"] * 2


def test_all_instances_that_cannot_have_a_profile_are_reported() -> None:
    account = account_as_desired()
    account.regions[HERE].states.clear()
    account.regions[THERE].states[SECOND] = "terminated"
    missing, ended = problems_of(INSTANCES, account)
    assert missing == f"Instance {INSTANCE} does not exist in {HERE} and this account."
    assert ended.startswith(f"Instance {SECOND} is terminated")


def reasons_against(account: Account) -> list[str]:
    """Why instances cannot have a profile, where the profiles of all instances are read."""

    def aws_in(region: str) -> Aws:
        return Aws(partial(account.client, region=region))

    return ineligible_instances(aws_in, INSTANCES.instances, readable_associations(aws_in, INSTANCES.instances))


def test_an_instance_with_a_profile_is_not_looked_up_where_profiles_are_read() -> None:
    account = account_as_desired()
    account.regions[HERE].states.clear()
    assert reasons_against(account) == []
    assert "describe_instances" not in account.operations


def test_an_instance_without_a_profile_is_looked_up() -> None:
    account = account_as_desired()
    account.regions[THERE] = Region()
    assert reasons_against(account) == [f"Instance {SECOND} does not exist in {THERE} and this account."]


def test_instances_are_looked_up_if_their_profiles_cannot_be_read() -> None:
    account = account_as_desired()
    account.errors[ASSOCIATIONS] = api_error("UnauthorizedOperation", DENIED)
    account.regions[HERE].states.clear()
    assert reasons_against(account) == [f"Instance {INSTANCE} does not exist in {HERE} and this account."]


def test_no_call_is_made_twice() -> None:
    account = account_as_desired()
    result_of(replace(INSTANCES, unlisted=Listed(["db1"])), account)
    assert all(account.calls.count(call) == 1 for call in account.calls)


def test_clients_are_made_in_the_main_thread() -> None:
    """AnsibleAWSModule ends the module where it cannot make a client, which works in the main thread only."""
    account, threads = account_as_desired(), set()

    def client(service: str, config: Any, region: str = "") -> Any:
        threads.add(threading.current_thread())
        return account.client(service, config, region)

    Preflight(INSTANCES, client).result()
    assert threads == {threading.main_thread()}


def account_with_holders(other_state: str = "running") -> Account:
    return Account(
        regions={
            "us-east-1": Region({OTHER: ("Admin", "AIPA1"), SECOND: ("App", "AIPA3")}, states={OTHER: other_state}),
            "eu-central-1": Region(
                {SECOND: ("Server", "AIPA1"), INSTANCE: ("Server", "AIPA1")},
                states={SECOND: "stopped"},
            ),
        }
    )


@pytest.mark.parametrize(("state", "blocks"), [("stopped", True), ("terminated", False), ("shutting-down", False)])
def test_an_instance_that_ended_does_not_prevent_the_deletion_even_if_ec2_lists_its_profile(
    state: str, blocks: bool
) -> None:
    account, inputs = account_with_holders(state), replace(DELETION, expected_instance_ids=[INSTANCE, SECOND])
    if blocks:
        assert len(problems_of(inputs, account)) == 1
    else:
        assert result_of(inputs, account) == NOTHING_FOUND


def test_other_instances_with_a_profile_to_delete_are_reported_from_all_regions() -> None:
    assert problems_of(DELETION, account_with_holders()) == [
        f"Instance {SECOND} in eu-central-1 is not in the inventory and has instance profile 'Server'.",
        f"Instance {OTHER} in us-east-1 is not in the inventory and has instance profile 'Admin'.",
    ]


def test_expected_instances_and_other_profiles_are_not_a_problem() -> None:
    inputs = replace(DELETION, expected_instance_ids=[INSTANCE, SECOND, OTHER])
    assert result_of(inputs, account_with_holders()) == NOTHING_FOUND


def test_ineligible_instances_and_other_holders_are_reported_together() -> None:
    inputs = replace(DELETION, instances={"us-east-1": [INSTANCE]})
    missing, *holders = problems_of(inputs, account_with_holders())
    assert missing == f"Instance {INSTANCE} does not exist in us-east-1 and this account."
    assert len(holders) == 2


def test_a_region_that_a_policy_closes_is_skipped_with_a_warning() -> None:
    account = account_with_holders()
    denied = f"{DENIED} with an explicit deny in a service control policy"
    account.errors["us-east-1", ASSOCIATIONS] = api_error("UnauthorizedOperation", denied)
    inputs = replace(DELETION, expected_instance_ids=[INSTANCE, SECOND])
    [warning] = result_of(inputs, account)["warnings"]
    assert warning.startswith("It is not known whether instances in us-east-1 have an instance profile to delete.")
    assert "explicitly denies ec2:DescribeIamInstanceProfileAssociations" in warning


def test_a_region_that_no_policy_allows_is_an_error() -> None:
    account = account_with_holders()
    account.errors["us-east-1", ASSOCIATIONS] = api_error("UnauthorizedOperation", DENIED)
    with pytest.raises(AwsApiError, match="lacks ec2:DescribeIamInstanceProfileAssociations"):
        result_of(DELETION, account)


def test_only_users_of_this_collection_are_to_be_deleted() -> None:
    account = account_as_desired()
    account.users = {"ours": {MARK_TAG: CREATED}, "adopted": {MARK_TAG: ADOPTED}, "alice": {"team": "a"}}
    ours = replace(NO_INPUTS, users_to_delete={HERE: ["ours", "gone"], THERE: ["adopted"]})
    expected = {**NOTHING_FOUND, "users_to_delete": ours.users_to_delete, "warnings": ["There is no user 'gone'."]}
    assert result_of(ours, account) == expected
    assert problems_of(replace(NO_INPUTS, users_to_delete={HERE: ["ours", "alice"]}), account) == [
        "User 'alice' was not created by this collection, so it is not removed."
    ]


@pytest.mark.parametrize(
    ("files", "users", "count"),
    [(["db", "web"], [], 1), (["db", "web"], ["web"], 0), (["db"], ["web"], 1), ([], [], 0)],
    ids=["of others", "one exists", "none of a file exists", "no files"],
)
def test_keys_that_may_belong_to_another_account_are_not_to_be_deleted(
    tmp_path: Path, files: list[str], users: list[str], count: int
) -> None:
    for name in files:
        (tmp_path / f"{name}.credentials").touch()
    account = account_as_desired()
    account.users = dict.fromkeys(users, OURS)
    inputs = replace(NO_INPUTS, saved_users=["db", "web"], directory=tmp_path)
    if count:
        assert problems_of(inputs, account)[0].startswith(
            f"{tmp_path} has the access key of user 'db', and this account"
        )
    else:
        assert result_of(inputs, account) == NOTHING_FOUND
    account.errors["get_user"] = api_error("AccessDenied", "User: ops is not authorized to perform: iam:GetUser")
    assert result_of(inputs, account) == NOTHING_FOUND


def test_no_warning_about_a_user_that_need_not_exist() -> None:
    inputs = replace(NO_INPUTS, users_to_delete={HERE: ["gone", "left"]}, optional_users=["left"])
    assert result_of(inputs, account_as_desired())["warnings"] == ["There is no user 'gone'."]


NO_USER = "There is no user '{}'."
OURS = {MARK_TAG: CREATED}


@pytest.mark.parametrize(
    ("users", "denied", "deleted", "warnings"),
    [
        ({"db": OURS, "user-db": {}}, "", ["db"], []),
        ({"user-db": OURS}, "", ["user-db"], []),
        ({}, "", ["db", "user-db"], [NO_USER.format("db"), NO_USER.format("user-db")]),
        ({"user-db": OURS}, "db", ["user-db"], []),
        ({"db": OURS}, "user-db", ["db"], []),
        ({}, "user-db", ["db"], [NO_USER.format("db")]),
        (
            {},
            "db",
            ["user-db"],
            [
                NO_USER.format("user-db"),
                "It is not known whether there is a user 'db': iam:GetUser is not allowed.",
            ],
        ),
    ],
)
def test_a_name_without_a_user_means_a_host(
    users: dict[str, Any], denied: str, deleted: list[str], warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    account = account_as_desired()
    account.users = users
    deny_users(monkeypatch, denied)
    inputs = replace(NO_INPUTS, users_to_delete={HERE: ["db", "user-db"]}, default_users={"db": "user-db"})
    assert result_of(inputs, account) == {**NOTHING_FOUND, "users_to_delete": {HERE: deleted}, "warnings": warnings}


def test_a_name_that_may_not_be_read_in_any_way_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    deny_users(monkeypatch, "db", "user-db")
    inputs = replace(NO_INPUTS, users_to_delete={HERE: ["db", "user-db"]}, default_users={"db": "user-db"})
    with pytest.raises(AwsApiError, match="read user 'db'"):
        result_of(inputs, account_as_desired())


def test_the_default_user_of_a_host_must_be_ours() -> None:
    account = account_as_desired()
    account.users = {"user-db": {}}
    inputs = replace(NO_INPUTS, users_to_delete={HERE: ["db", "user-db"]}, default_users={"db": "user-db"})
    assert problems_of(inputs, account) == ["User 'user-db' was not created by this collection, so it is not removed."]


def deny_users(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Deny to read some users."""

    def find(aws: Any, name: str) -> Any:
        if name in names:
            raise AwsApiError(f"Could not read user '{name}'.", "AccessDenied")
        return find_user(aws, name)

    monkeypatch.setattr(resource, "find_user", find)
