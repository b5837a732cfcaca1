from __future__ import annotations

from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import pytest
from scripted_account import Account, Region, api_error

from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws
from ansible_collections.cwagent.iam.plugins.module_utils._credentials.saved_key import (
    claim_description,
    saved_key_description,
)
from ansible_collections.cwagent.iam.plugins.module_utils._names import ADOPTED, CREATED, MARK_TAG
from ansible_collections.cwagent.iam.plugins.module_utils._preflight.search import find_unlisted, readable_associations
from ansible_collections.cwagent.iam.plugins.module_utils._preflight.unlisted import Listed

INSTANCE = "i-11111111"
HERE, THERE = "eu-central-1", "us-east-1"
ASSOCIATIONS = "describe_iam_instance_profile_associations"
LISTED = Listed(["db1"], frozenset({INSTANCE}), ["Server"])


def account_with_instances() -> Account:
    return Account(regions={HERE: Region({INSTANCE: ("Server", "AIPA1")})})


def search(listed: Listed | None, account: Account) -> list[str]:
    aws_in = cache(lambda region: Aws(partial(account.client, region=region)))
    return find_unlisted(aws_in, listed, readable_associations(aws_in, [HERE]))


def test_our_things_outside_the_inventory_are_listed(tmp_path: Path) -> None:
    account = account_with_instances()
    account.users = {name: {MARK_TAG: CREATED} for name in ("db1", "db2")}
    account.users |= {"adopted": {MARK_TAG: ADOPTED}, "alice": {}}
    for name in ("db1", "db2", "db3"):
        (tmp_path / f"{name}.credentials").touch()
    assert search(replace(LISTED, directory=tmp_path), account) == [
        "Users of this collection that no host of this inventory has: adopted, db2.",
        "Saved access keys of users that no host of this inventory has: db3.",
        REMEDY,
    ]


def test_instances_with_our_profile_that_are_not_in_the_inventory_are_named() -> None:
    account = account_with_instances()
    account.regions[HERE].profiles |= {"i-9": ("Server", "AIPA1"), "i-8": ("Other", "AIPA3")}
    assert search(LISTED, account) == [
        f"Instances in {HERE} that are not in this inventory and have instance profile 'Server': i-9."
    ]


def test_the_users_of_all_pages_are_named() -> None:
    account = account_with_instances()
    account.users, account.other_users = {"db2": {MARK_TAG: CREATED}}, 2500
    assert search(LISTED, account)[0].endswith(": db2.")
    assert account.operations.count("get_account_authorization_details") == 3


def test_things_behind_a_denied_read_are_not_listed(tmp_path: Path) -> None:
    account = account_with_instances()
    account.errors = {name: api_error("AccessDenied") for name in ("get_account_authorization_details", ASSOCIATIONS)}
    assert search(replace(LISTED, directory=tmp_path / "missing"), account) == []


REMEDY = "If their servers have left, cwagent.iam.remove_servers with these names removes them."
PREFIX, KEY = "/keys/", "AKIAIOSFODNN7EXAMPLE"
LISTING = {"parameter_store": "describe_parameters", "secrets_manager": "list_secrets"}


def saved_in(store: str, *regions: str, prefix: str = PREFIX) -> Listed:
    return Listed(["db1"], store=store, prefix=prefix, regions=regions)


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
    assert search(saved_in(store, HERE, THERE), account) == [
        f"Saved access keys of users that do not exist: {HERE}:db2, {HERE}:db3.",
        REMEDY,
    ]
    assert account.operations.count(LISTING[store]) == 2


@pytest.mark.parametrize(("store", "pages"), [("parameter_store", 5), ("secrets_manager", 3)])
def test_saved_keys_are_listed_in_pages(store: str, pages: int) -> None:
    account = account_with_saved_keys(*(f"u{number:03}" for number in range(220)))
    [line, _remedy] = search(saved_in(store, HERE), account)
    assert line.endswith("u009 and 210 more.")
    assert account.operations.count(LISTING[store]) == pages


@pytest.mark.parametrize("store", LISTING)
def test_saved_keys_can_have_an_empty_prefix(store: str) -> None:
    account = account_with_saved_keys("db1")
    account.regions[HERE].descriptions = {"db2": saved_key_description(KEY, "db2"), "password": "of the database"}
    assert search(saved_in(store, HERE, prefix=""), account)[0].endswith(f": {HERE}:db2.")


def test_a_secret_that_is_scheduled_for_deletion_is_not_named() -> None:
    account = account_with_saved_keys("db2")
    account.regions[HERE].deleted = {f"{PREFIX}db2"}
    assert search(saved_in("secrets_manager", HERE), account) == []


def test_only_users_that_do_not_exist_have_saved_keys_without_a_user() -> None:
    """The bulk read lacks the users of further pages, and the users of the last seconds."""
    account = account_with_saved_keys("ours", "seen", "theirs", "gone")
    account.users = {"ours": {MARK_TAG: CREATED}, "theirs": {}}
    account.regions[THERE] = account.regions[HERE]
    account.errors["get_account_authorization_details"] = api_error("AccessDenied")
    assert search(saved_in("parameter_store", HERE, THERE), account) == [
        f"Users of this collection that no host of this inventory has: {HERE}:ours, {THERE}:ours.",
        f"Saved access keys of users that do not exist: {HERE}:gone, {HERE}:seen, {THERE}:gone, {THERE}:seen.",
        REMEDY,
    ]
    assert account.operations.count("get_user") == 4


@pytest.mark.parametrize("code", ["AccessDenied", "InternalFailure"])
def test_a_saved_key_is_not_named_where_its_user_cannot_be_read(code: str) -> None:
    account = account_with_saved_keys("db2")
    account.errors["get_user"] = api_error(code)
    assert search(saved_in("parameter_store", HERE), account) == []


def test_a_user_that_the_bulk_read_shows_is_not_read_again() -> None:
    account = account_with_saved_keys("ours", "theirs")
    account.users = {"ours": {MARK_TAG: CREATED}, "theirs": {}}
    assert search(saved_in("parameter_store", HERE), account) == [
        f"Users of this collection that no host of this inventory has: {HERE}:ours.",
        REMEDY,
    ]
    assert "get_user" not in account.operations


def test_an_empty_region_of_saved_keys_means_the_modules_region() -> None:
    account = account_with_saved_keys("db2")
    account.regions[""] = account.regions[HERE]
    assert search(saved_in("parameter_store", ""), account)[0].endswith(f": {HERE}:db2.")


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
    assert search(saved_in(store, HERE, THERE), account) == [
        f"{unknown} {HERE}, {THERE}: {action} is not allowed. Allow it as {policy}.json does, or ignore this."
    ]


def test_another_error_of_the_listing_is_reported_too() -> None:
    account = account_with_saved_keys("db2")
    account.errors["describe_parameters"] = api_error("InternalServerError", "try later")
    [line] = search(saved_in("parameter_store", HERE), account)
    assert line.startswith(
        f"It is not known whether access keys of users that no host has are saved in {HERE}: Could not list "
    )
    assert line.endswith(".")
    assert not line.endswith("..")
