from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from scripted_account import CLOSED_WINDOW, Account, Region, Role, api_error

from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance.plan import RESTORE_TAG
from ansible_collections.cwagent.iam.plugins.module_utils._credentials.saved_key import (
    claim_description,
    saved_key_description,
)
from ansible_collections.cwagent.iam.plugins.module_utils._errors import AwsApiError, InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._names import ADOPTED, CREATED, MARK_TAG
from ansible_collections.cwagent.iam.plugins.module_utils._preflight import resource
from ansible_collections.cwagent.iam.plugins.module_utils._preflight.checks import Inputs, Listed
from ansible_collections.cwagent.iam.plugins.module_utils._preflight.resource import Preflight
from ansible_collections.cwagent.iam.plugins.module_utils._principal.api import find_user

INSTANCE, SECOND, OTHER = "i-11111111", "i-22222222", "i-33333333"
HERE, THERE = "eu-central-1", "us-east-1"
NO_INPUTS = Inputs({}, [], [])
INSTANCES = replace(NO_INPUTS, instances={HERE: [INSTANCE], THERE: [SECOND]})
DELETION = replace(NO_INPUTS, profiles_to_delete=["Server", "Admin"], expected_instance_ids=[INSTANCE])
ASSOCIATIONS = "describe_iam_instance_profile_associations"
NOTHING_FOUND: dict[str, Any] = {"warnings": [], "record_regions": [], "unlisted": [], "users_to_delete": {}}
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


def listed(directory: Path | None = None, **more: Any) -> Inputs:
    """An inventory with one user, and with the profile of the instances."""
    return replace(NO_INPUTS, unlisted=Listed(["db1"], ["Server"], directory), **more)


IN_INVENTORY = listed(instances=INSTANCES.instances)


def test_an_instance_with_a_profile_is_not_looked_up_where_profiles_are_read() -> None:
    account = account_as_desired()
    account.regions[HERE].states.clear()
    assert result_of(IN_INVENTORY, account) == NOTHING_FOUND
    assert "describe_instances" not in account.operations


def test_an_instance_without_a_profile_is_looked_up() -> None:
    account = account_as_desired()
    account.regions[THERE] = Region()
    assert problems_of(IN_INVENTORY, account) == [f"Instance {SECOND} does not exist in {THERE} and this account."]


def test_instances_are_looked_up_if_their_profiles_cannot_be_read() -> None:
    account = account_as_desired()
    account.errors[ASSOCIATIONS] = api_error("UnauthorizedOperation", DENIED)
    account.regions[HERE].states.clear()
    assert problems_of(IN_INVENTORY, account) == [f"Instance {INSTANCE} does not exist in {HERE} and this account."]


ROLE = replace(NO_INPUTS, admin_role="Admin")
OF_OURS = replace(ROLE, adopt_existing=False)


def account_with_a_role_of_others() -> Account:
    account = account_as_desired()
    account.roles["Admin"].tags, account.roles["Admin"].window = {}, None
    return account


def test_an_admin_role_of_others_is_a_problem() -> None:
    [problem] = problems_of(OF_OURS, account_with_a_role_of_others())
    assert problem.startswith("role 'Admin' exists and was not created by this collection.")


def test_an_admin_role_of_others_may_be_adopted() -> None:
    assert result_of(ROLE, account_with_a_role_of_others()) == NOTHING_FOUND


def test_an_admin_role_with_a_window_needs_no_adoption() -> None:
    account = account_with_a_role_of_others()
    account.roles["Admin"].window = CLOSED_WINDOW
    assert result_of(OF_OURS, account) == NOTHING_FOUND


def test_a_window_that_cannot_be_read_is_no_problem_of_the_preflight() -> None:
    account = account_with_a_role_of_others()
    account.errors["get_role_policy"] = api_error("AccessDenied", "not authorized to perform: iam:GetRolePolicy")
    assert result_of(OF_OURS, account) == NOTHING_FOUND


def test_the_records_of_the_admin_role_name_their_regions() -> None:
    account = account_as_desired()
    account.roles["Admin"].tags |= {f"{RESTORE_TAG}:{region}:{OTHER}": "App" for region in (THERE, "ap-east-1")}
    assert result_of(OF_OURS, account)["record_regions"] == ["ap-east-1", THERE]
    assert account.operations == ["get_role"]


def test_without_the_role_or_the_permission_no_region_is_known() -> None:
    assert result_of(OF_OURS, Account()) == NOTHING_FOUND
    account = account_as_desired()
    account.errors["get_role"] = api_error("AccessDenied", "User: ops is not authorized to perform: iam:GetRole")
    found = result_of(OF_OURS, account)
    assert found["record_regions"] == []
    assert found["warnings"][0].startswith("It is not known whether instances of other hosts are to be restored. Could")


def test_no_call_is_made_twice() -> None:
    account = account_as_desired()
    result_of(replace(IN_INVENTORY, admin_role="Admin", adopt_existing=False), account)
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


def test_our_things_outside_the_inventory_are_listed(tmp_path: Path) -> None:
    account = account_as_desired()
    account.users = {name: {MARK_TAG: CREATED} for name in ("db1", "db2")}
    account.users |= {"adopted": {MARK_TAG: ADOPTED}, "alice": {}}
    for name in ("db1", "db2", "db3"):
        (tmp_path / f"{name}.credentials").touch()
    assert result_of(listed(tmp_path), account)["unlisted"] == [
        "Users of this collection that no host of this inventory has: adopted, db2.",
        "Saved access keys of users that no host of this inventory has: db3.",
        REMEDY,
    ]


def test_instances_with_our_profile_that_are_not_in_the_inventory_are_named() -> None:
    account = account_as_desired()
    account.regions[HERE].profiles["i-00000000000000009"] = ("Server", "AIPA1")
    assert result_of(IN_INVENTORY, account)["unlisted"] == [
        f"Instances in {HERE} that are not in this inventory and have instance profile 'Server': i-00000000000000009."
    ]


def test_the_users_of_all_pages_are_named() -> None:
    account = account_as_desired()
    account.users, account.other_users = {"db2": {MARK_TAG: CREATED}}, 2500
    assert result_of(listed(), account)["unlisted"][0].endswith(": db2.")
    assert account.operations == ["get_account_authorization_details"] * 3


def test_things_behind_a_denied_read_are_not_listed(tmp_path: Path) -> None:
    account = account_as_desired()
    account.errors = {name: api_error("AccessDenied") for name in ("get_account_authorization_details", ASSOCIATIONS)}
    inputs = listed(tmp_path / "missing", instances={HERE: [INSTANCE]})
    assert result_of(inputs, account)["unlisted"] == []


REMEDY = "If their servers have left, cwagent.iam.remove_servers with these names removes them."
PREFIX, KEY = "/keys/", "AKIAIOSFODNN7EXAMPLE"
LISTING = {"parameter_store": "describe_parameters", "secrets_manager": "list_secrets"}


def saved_in(store: str, *regions: str) -> Inputs:
    return replace(NO_INPUTS, unlisted=Listed(["db1"], [], None, store, PREFIX, regions))


def account_with_saved_keys(*users: str) -> Account:
    descriptions = {f"{PREFIX}{user}": saved_key_description(KEY, user) for user in users}
    return Account(regions={HERE: Region(descriptions=descriptions), THERE: Region()})


@pytest.mark.parametrize("store", LISTING)
def test_saved_keys_of_users_that_no_host_has_are_named(store: str) -> None:
    account = account_with_saved_keys("db1", "db2")
    account.regions[HERE].descriptions |= {
        f"{PREFIX}db3.pending": claim_description("db3"),
        f"{PREFIX}db4": claim_description("db5"),
        f"{PREFIX}team/db6": saved_key_description(KEY, "db6"),
        f"{PREFIX}password": "of the database",
        "/other/db7": saved_key_description(KEY, "db7"),
    }
    assert result_of(saved_in(store, HERE, THERE), account)["unlisted"] == [
        f"Saved access keys of users that do not exist: {HERE}:db2, {HERE}:db3.",
        REMEDY,
    ]
    assert account.operations.count(LISTING[store]) == 2


@pytest.mark.parametrize(("store", "pages"), [("parameter_store", 5), ("secrets_manager", 3)])
def test_saved_keys_are_listed_in_pages(store: str, pages: int) -> None:
    account = account_with_saved_keys(*(f"u{number:03}" for number in range(220)))
    [line, _remedy] = result_of(saved_in(store, HERE), account)["unlisted"]
    assert line.endswith("u009 and 210 more.")
    assert account.operations.count(LISTING[store]) == pages


@pytest.mark.parametrize("store", LISTING)
def test_saved_keys_can_have_an_empty_prefix(store: str) -> None:
    account = account_with_saved_keys("db1")
    account.regions[HERE].descriptions = {"db2": saved_key_description(KEY, "db2"), "password": "of the database"}
    inputs = replace(NO_INPUTS, unlisted=Listed(["db1"], [], None, store, "", [HERE]))
    assert result_of(inputs, account)["unlisted"][0].endswith(f": {HERE}:db2.")


def test_a_secret_that_is_scheduled_for_deletion_is_not_named() -> None:
    account = account_with_saved_keys("db2")
    account.regions[HERE].deleted = {f"{PREFIX}db2"}
    assert result_of(saved_in("secrets_manager", HERE), account)["unlisted"] == []


def test_only_users_that_do_not_exist_have_saved_keys_without_a_user() -> None:
    """The bulk read lacks the users of further pages, and the users of the last seconds."""
    account = account_with_saved_keys("ours", "seen", "theirs", "gone")
    account.users = {"ours": {MARK_TAG: CREATED}, "theirs": {}}
    account.regions[THERE] = account.regions[HERE]
    account.errors["get_account_authorization_details"] = api_error("AccessDenied")
    assert result_of(saved_in("parameter_store", HERE, THERE), account)["unlisted"] == [
        f"Users of this collection that no host of this inventory has: {HERE}:ours, {THERE}:ours.",
        f"Saved access keys of users that do not exist: {HERE}:gone, {HERE}:seen, {THERE}:gone, {THERE}:seen.",
        REMEDY,
    ]
    assert account.operations.count("get_user") == 4


@pytest.mark.parametrize("code", ["AccessDenied", "InternalFailure"])
def test_a_saved_key_is_not_named_where_its_user_cannot_be_read(code: str) -> None:
    account = account_with_saved_keys("db2")
    account.errors["get_user"] = api_error(code)
    assert result_of(saved_in("parameter_store", HERE), account)["unlisted"] == []


def test_a_user_that_the_bulk_read_shows_is_not_read_again() -> None:
    account = account_with_saved_keys("ours", "theirs")
    account.users = {"ours": {MARK_TAG: CREATED}, "theirs": {}}
    assert result_of(saved_in("parameter_store", HERE), account)["unlisted"] == [
        f"Users of this collection that no host of this inventory has: {HERE}:ours.",
        REMEDY,
    ]
    assert "get_user" not in account.operations


def test_an_empty_region_of_saved_keys_means_the_modules_region() -> None:
    account = account_with_saved_keys("db2")
    account.regions[""] = account.regions[HERE]
    assert result_of(saved_in("parameter_store", ""), account)["unlisted"][0].endswith(f": {HERE}:db2.")


@pytest.mark.parametrize(
    ("store", "action", "policy"),
    [
        ("parameter_store", "ssm:DescribeParameters", "keys-in-parameter-store"),
        ("secrets_manager", "secretsmanager:ListSecrets", "keys-in-secrets-manager"),
    ],
)
def test_a_denied_listing_is_reported_and_nothing_fails(store: str, action: str, policy: str) -> None:
    account = account_with_saved_keys("db2")
    account.errors[LISTING[store]] = api_error(
        "AccessDeniedException", f"User: ops is not authorized to perform: {action}"
    )
    unknown = "It is not known whether access keys of users that no host has are saved in"
    assert result_of(saved_in(store, HERE, THERE), account)["unlisted"] == [
        f"{unknown} {HERE}, {THERE}: {action} is not allowed. Allow it as {policy}.json does, or ignore this."
    ]


def test_another_error_of_the_listing_is_reported_too() -> None:
    account = account_with_saved_keys("db2")
    account.errors["describe_parameters"] = api_error("InternalServerError", "try later")
    [line] = result_of(saved_in("parameter_store", HERE), account)["unlisted"]
    assert line.startswith(
        f"It is not known whether access keys of users that no host has are saved in {HERE}: Could not list "
    )
    assert line.endswith(".")
    assert not line.endswith("..")
