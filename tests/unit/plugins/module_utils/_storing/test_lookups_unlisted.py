from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aws_account import Account

from ansible_collections.cwagent.iam.plugins.module_utils._ground.names import ADOPTED, MARK_TAG
from ansible_collections.cwagent.iam.plugins.module_utils._keys.saved_key import (
    claim_description,
    saved_key_description,
)
from ansible_collections.cwagent.iam.plugins.module_utils._storing.lookups import (
    Listed,
    describe_configs,
    describe_unlisted,
    find_remaining_configs,
    find_unlisted,
    readable_associations,
    readable_principals,
)

REMEDY = "If their servers have left, cwagent.iam.remove_servers with these names removes them."
MANY = frozenset(f"u{number:02}" for number in range(12))
COUNTED = (
    "This inventory has no on-premises hosts, and the account has {} of this collection. "
    "cwagent.iam.audit lists them in a report."
)
UNUSED = "If no server uses them: aws ssm delete-parameters"
FIRST = ", ".join(sorted(MANY)[:10])


@pytest.mark.parametrize(
    ("found", "lines"),
    [
        ({}, []),
        (
            {"users": MANY},
            [f"Users of this collection that no host of this inventory has: {FIRST} and 2 more.", REMEDY],
        ),
        (
            {"saved_in": {"us": frozenset({"c"}), "eu": frozenset({"b"})}},
            ["Saved access keys of users that do not exist: eu:b, us:c.", REMEDY],
        ),
        (
            {"saved_in": {"af": frozenset()}, "unread": {"us": "x", "eu": "x", "cn": "y"}},
            [
                "It is not known whether access keys of users that no host has are saved in eu, us: x.",
                "It is not known whether access keys of users that no host has are saved in cn: y.",
            ],
        ),
        *(
            ({"users": frozenset(users), "names_users": False}, [COUNTED.format(counted)])
            for users, counted in (("a", "1 user"), (MANY, "12 users"))
        ),
        (
            {"users": frozenset({"a"}), "saved": frozenset({"b"}), "names_users": False},
            [COUNTED.format("1 user"), "Saved access keys of users that no host of this inventory has: b.", REMEDY],
        ),
        ({"names_users": False}, []),
        ({"instances": {"eu": {}}}, []),
        (
            {"instances": {"us": {"i-2": "S", "i-1": "S", "i-3": "A"}}},
            [
                "Instances in us that are not in this inventory and have instance profile 'A': i-3.",
                "Instances in us that are not in this inventory and have instance profile 'S': i-1, i-2.",
            ],
        ),
    ],
)
def test_resources_that_no_host_has_are_described(found, lines):
    nothing = {"users": (), "saved": (), "saved_in": {}, "unread": {}, "instances": {}, "names_users": True}
    assert describe_unlisted(**{**nothing, **found}) == lines


def test_configurations_that_remain_have_a_remedy():
    assert describe_configs({"us": ["b"], "eu": ["c", "a"], "af": []}, {"cn": "x"}) == [
        f"Configurations in eu that remain: a, c. {UNUSED} --region eu --names a c",
        f"Configurations in us that remain: b. {UNUSED} --region us --names b",
        "It is not known whether configurations remain in cn: x.",
    ]


INSTANCE = "i-11111111"
HERE, THERE = "eu-central-1", "us-east-1"
ASSOCIATIONS, BULK = "describe_iam_instance_profile_associations", "get_account_authorization_details"
LISTED = Listed(["db1"], frozenset({INSTANCE}), ["Server"])
USERS = "Users of this collection that no host of this inventory has: "
SAVED = "Saved access keys of users that do not exist: "
UNKNOWN = "It is not known whether access keys of users that no host has are saved in"
PREFIX, KEY = "/keys/", "AKIAIOSFODNN7EXAMPLE"
LISTING = {"parameter_store": "describe_parameters", "secrets_manager": "list_secrets"}


@pytest.fixture
def account() -> Account:
    found = Account()
    found.add_instance(INSTANCE, "Server")
    return found


def search(listed: Listed | None, account: Account) -> list[str]:
    def aws_in(region: str) -> Any:
        return account.aws(region or HERE)

    users = readable_principals(aws_in(""), "User") if listed else None
    return find_unlisted(aws_in, listed, readable_associations(aws_in, [HERE]), users or ())


def saved_in(store: str, *regions: str, prefix: str = PREFIX) -> Listed:
    return Listed(["db1"], place={"key_store": store, "key_store_prefix": prefix}, regions=regions)


def saved_to(folder: Path) -> Listed:
    return replace(LISTED, place={"key_store": "file", "key_store_directory": str(folder)})


def save_keys(account: Account, *users: str) -> None:
    account.saved[HERE] = {f"{PREFIX}{user}": saved_key_description(KEY, user) for user in users}


def test_our_things_outside_the_inventory_are_listed(account: Account, tmp_path: Path) -> None:
    account.add_users("db1", "db2")
    account.add_users("adopted", tags={MARK_TAG: ADOPTED})
    account.add_users("alice", tags={})
    for name in ("db1", "db2", "db3"):
        (tmp_path / f"{name}.credentials").touch()
    assert search(saved_to(tmp_path), account) == [
        f"{USERS}adopted, db2.",
        "Saved access keys of users that no host of this inventory has: db3.",
        REMEDY,
    ]


def test_an_inventory_of_instances_alone_counts_the_users(account: Account) -> None:
    account.add_users("db1", "db2")
    [line] = search(replace(LISTED, users=[]), account)
    assert "the account has 2 users of this collection" in line


def test_instances_with_our_profile_that_are_not_in_the_inventory_are_named(account: Account) -> None:
    account.add_instance("i-9", "Server")
    account.add_instance("i-8", "Other")
    assert search(LISTED, account) == [
        f"Instances in {HERE} that are not in this inventory and have instance profile 'Server': i-9."
    ]


def test_an_instance_counts_for_the_profile_that_replaces_another(account: Account) -> None:
    profiles = {"i-8": ("Other", "Server"), "i-9": ("Server", "Other")}
    found = [
        {
            "InstanceId": instance,
            "AssociationId": f"iip-assoc-{name}",
            "IamInstanceProfile": {"Arn": f"arn:aws:iam::123456789012:instance-profile/{name}"},
            "State": state,
        }
        for instance, names in profiles.items()
        for name, state in zip(names, ("associated", "associating"), strict=True)
    ]
    account.answer(ASSOCIATIONS, {"IamInstanceProfileAssociations": found})
    assert search(LISTED, account) == [
        f"Instances in {HERE} that are not in this inventory and have instance profile 'Server': i-8."
    ]


def test_the_users_of_all_pages_are_named(account: Account) -> None:
    account.add_users("db2")
    account.other_users = 2500
    assert search(LISTED, account)[0].endswith(": db2.")
    assert account.count(BULK) == 3


def test_things_behind_a_denied_read_are_not_listed(account: Account, tmp_path: Path) -> None:
    account.fail(BULK, "AccessDenied")
    account.fail(ASSOCIATIONS, "AccessDenied")
    assert search(saved_to(tmp_path / "missing"), account) == []


@pytest.mark.parametrize("store", LISTING)
def test_saved_keys_of_users_that_no_host_has_are_named(account: Account, store: str) -> None:
    save_keys(account, "db1", "db2")
    account.saved[HERE] |= {
        f"{PREFIX}db3.pending": claim_description("db3"),
        f"{PREFIX}db4": claim_description("db5"),
        f"{PREFIX}team/db6": saved_key_description(KEY, "db6"),
        f"{PREFIX}password": "of the database",
        "/other/db7": saved_key_description(KEY, "db7"),
    }
    assert search(saved_in(store, HERE, THERE), account) == [f"{SAVED}{HERE}:db2, {HERE}:db3.", REMEDY]
    assert account.count(LISTING[store]) == 2
    # An empty region means the module's, and an empty prefix all names.
    assert search(saved_in(store, ""), account)[0] == f"{SAVED}{HERE}:db2, {HERE}:db3."
    account.saved[HERE] = {"db2": saved_key_description(KEY, "db2"), "password": "of the database"}
    assert search(saved_in(store, HERE, prefix=""), account)[0] == f"{SAVED}{HERE}:db2."
    # A secret that is scheduled for deletion is not there any more.
    account.deleted = {"db2"}
    assert bool(search(saved_in(store, HERE, prefix=""), account)) == (store == "parameter_store")


@pytest.mark.parametrize(("store", "pages"), [("parameter_store", 5), ("secrets_manager", 3)])
def test_saved_keys_are_listed_in_pages(account: Account, store: str, pages: int) -> None:
    save_keys(account, *(f"u{number:03}" for number in range(220)))
    [line, _remedy] = search(saved_in(store, HERE), account)
    assert line.endswith("u009 and 210 more.")
    assert account.count(LISTING[store]) == pages


def test_only_users_that_do_not_exist_have_saved_keys_without_a_user(account: Account) -> None:
    """The bulk read lacks the users of further pages, and the users of the last seconds."""
    save_keys(account, "ours", "seen", "theirs", "gone")
    account.add_users("ours")
    account.add_users("theirs", tags={})
    account.saved[THERE] = account.saved[HERE]
    account.fail(BULK, "AccessDenied", times=1)
    assert search(saved_in("parameter_store", HERE, THERE), account) == [
        f"{USERS}{HERE}:ours, {THERE}:ours.",
        f"{SAVED}{HERE}:gone, {HERE}:seen, {THERE}:gone, {THERE}:seen.",
        REMEDY,
    ]
    assert account.count("get_user") == 4
    # Users that the bulk read shows are not read again.
    search(saved_in("parameter_store", HERE), account)
    assert account.count("get_user") == 4 + 2


@pytest.mark.parametrize("code", ["AccessDenied", "InternalFailure"])
def test_a_saved_key_is_not_named_where_its_user_cannot_be_read(account: Account, code: str) -> None:
    save_keys(account, "db2")
    account.fail("get_user", code)
    assert search(saved_in("parameter_store", HERE), account) == []


@pytest.mark.parametrize(
    ("store", "action", "policy"),
    [
        ("parameter_store", "ssm:DescribeParameters", "keys-in-parameter-store"),
        ("secrets_manager", "secretsmanager:ListSecrets", "keys-in-secrets-manager"),
    ],
)
def test_a_denied_listing_is_reported_and_nothing_fails(account: Account, store: str, action: str, policy: str) -> None:
    denied = f"User: ops is not authorized to perform: {action}"
    account.fail(LISTING[store], "AccessDeniedException", message=denied)
    assert search(saved_in(store, HERE, THERE), account) == [
        f"{UNKNOWN} {HERE}, {THERE}: {action} is not allowed. Allow it as {policy}.json does, or ignore this."
    ]


def test_another_error_of_the_listing_is_reported_too(account: Account) -> None:
    account.fail("describe_parameters", "InternalServerError", message="try later")
    [line] = search(saved_in("parameter_store", HERE), account)
    assert line.startswith(f"{UNKNOWN} {HERE}: Could not list ")
    assert line.endswith(").")


# Configurations

WEB, LINUX = "AmazonCloudWatch-web", "AmazonCloudWatch-linux"


def kept(*names: str) -> list[str]:
    """The line about the parameters that remain, with the command that deletes them."""
    command = f"aws ssm delete-parameters --region {HERE} --names {' '.join(names)}"
    return [f"Configurations in {HERE} that remain: {', '.join(names)}. If no server uses them: {command}"]


@pytest.mark.parametrize(
    ("deleted", "check_mode", "lines"),
    [
        ({}, False, []),
        ({HERE: []}, False, kept(LINUX, f"{LINUX}-2", WEB)),
        ({HERE: [WEB]}, False, kept(LINUX, f"{LINUX}-2")),
        ({HERE: [LINUX]}, False, kept(f"{LINUX}-2", WEB)),
        ({HERE: [LINUX]}, True, kept(WEB)),
        ({HERE: [LINUX, WEB]}, True, []),
        ({THERE: []}, False, []),
    ],
)
def test_the_configurations_that_a_teardown_does_not_name_are_listed(
    account: Account, deleted: dict[str, list[str]], check_mode: bool, lines: list[str]
) -> None:
    account.saved[HERE] = dict.fromkeys([WEB, LINUX, f"{LINUX}-2", "/cwagent/credentials/db1", "other"], "")
    assert find_remaining_configs(account.aws, deleted, check_mode=check_mode) == lines


def test_a_denied_listing_of_configurations_is_reported(account: Account) -> None:
    denied = "User: ops is not authorized to perform: ssm:DescribeParameters"
    account.fail("describe_parameters", "AccessDeniedException", message=denied)
    [line] = find_remaining_configs(account.aws, {HERE: []}, check_mode=False)
    unknown = f"It is not known whether configurations remain in {HERE}: ssm:DescribeParameters is not allowed."
    assert line == f"{unknown} Allow it as teardown.json does, or ignore this."
