# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Accounts that are hosts of the inventory: their credentials, and the servers that are found in them. Pure."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...module_utils._ground.errors import InvalidInput
from ...module_utils._keys.stores import KEY_STORES
from ...module_utils._storing.options import RUN_COMMAND, WAYS
from .given import (
    ACCOUNTS,
    AUDIT,
    CONFIGS_ONLY,
    EC2_ADMIN,
    EC2_SERVERS,
    EMPTY,
    GROUPS,
    ONE_ACCOUNT,
    STORE_FROM,
    TEXT,
    check_host_name,
    checked_instance_id,
    checked_region,
)
from .run import AccountVariables
from .values import Undefined, is_blank, quote, to_typed

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from .given import Given
    from .values import Problems


# The beginning of the names of the variables of a host that stands for an account.
PREFIX = "cwagent_account_"
# The variable of a server with the name of the host that stands for its account.
ACCOUNT = "cwagent_account"
SESSION_NAME, SESSION_DURATION = "cwagent_account_session_name", "cwagent_account_session_duration"
ACCOUNT_REGIONS = "cwagent_account_regions"
# The variables that make a playbook search an account for servers or the admin instance.
FILTERS = ("cwagent_account_server_filters", "cwagent_account_admin_filters", "cwagent_account_admin_instance_id")
# The variables that identify the account of a host. One of them is enough.
IDENTITY = ("cwagent_account_id", "cwagent_account_aws_profile", "cwagent_account_assume_role_arn")
ACCOUNT_VARIABLES = (
    *(*IDENTITY, "cwagent_account_external_id"),
    *(SESSION_NAME, SESSION_DURATION, ACCOUNT_REGIONS, *FILTERS),
)
# The values that need no connection to a host, so that the host that stands for an account can do the whole job.
WITHOUT_CONNECTION = tuple(name for name, need in WAYS.items() if not need.connects)
# https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
_ROLE_ARN = r"arn:aws[a-z-]*:iam::(\d{12}):role/.+"
_ACCOUNT_ID = r"\d{12}"
_SESSION_NAME = r"[\w+=,.@-]{2,64}"
SESSION_SECONDS = range(900, 43200 + 1)


def read_account(given: Given, problems: Problems) -> AccountVariables:
    """Return the variables of the account, with defaults for the controller's account."""
    host = given.controller_host if given.accounts else ""
    found: dict[str, Any] = {}
    before = len(problems.sentences)
    for name in ACCOUNT_VARIABLES:
        option = given.options[name]
        value = problems.check(to_typed, name, option, given.of_host(host).get(name), where=f"Host {host}: ")
        default = option.get("default", EMPTY.get(option["type"]))
        found[name.removeprefix(PREFIX)] = default if value is None else value
    account = AccountVariables(host, **found, admin_required=given.needs_admin_instance)
    for check in (
        _check_account_id,
        _check_role,
        _check_session,
        _check_filters,
        _check_regions,
        _check_admin_instance,
    ):
        problems.check(check, account, where=f"Host {host}: ")
    if given.accounts and all(is_blank(given.of_host(host).get(name)) for name in IDENTITY):
        # The controller's own credentials would be used for it.
        problems.add(
            f"Host {host}: set cwagent_account_assume_role_arn or cwagent_account_aws_profile. For the account of the "
            "controller's own credentials, set cwagent_account_id."
        )
    if AUDIT in given.requires:  # it compares the account with the inventory alone, and must not fail in a search
        account = replace(account, server_filters={}, admin_filters={}, admin_instance_id="")
    # A playbook that cleans up in spite of problems must never do so with the credentials of another account.
    return replace(account, is_valid=len(problems.sentences) == before)


def _check_account_id(account: AccountVariables) -> None:
    account_id = account.id
    if account_id and not re.fullmatch(_ACCOUNT_ID, account_id, re.ASCII):
        raise InvalidInput(f"cwagent_account_id must be the ID of an account, which has 12 digits, not '{account_id}'.")


def _check_role(account: AccountVariables) -> None:
    account_id, arn = account.id, account.assume_role_arn
    parts = re.fullmatch(_ROLE_ARN, arn, re.ASCII)
    if arn and not parts:
        raise InvalidInput(
            f"cwagent_account_assume_role_arn is {quote(arn)}, which is not the ARN of a role, such as "
            "arn:aws:iam::123456789012:role/CloudWatchAgentControllerRole."
        )
    if parts and re.fullmatch(_ACCOUNT_ID, account_id, re.ASCII) and parts[1] != account_id:
        raise InvalidInput(
            f"cwagent_account_assume_role_arn is a role of account {parts[1]}, but cwagent_account_id is {account_id}."
        )


def _check_session(account: AccountVariables) -> None:
    name, seconds = account.session_name, account.session_duration
    if not re.fullmatch(_SESSION_NAME, name, re.ASCII):
        raise InvalidInput(
            f"{SESSION_NAME} is {quote(name)}; it must have 2 to 64 letters, digits or characters of +=,.@_-."
        )
    if seconds not in SESSION_SECONDS:
        raise InvalidInput(
            f"{SESSION_DURATION} is {seconds}; it must be between {SESSION_SECONDS[0]} and {SESSION_SECONDS[-1]} "
            "seconds."
        )


def _check_filters(account: AccountVariables) -> None:
    for name, filters in {"server_filters": account.server_filters, "admin_filters": account.admin_filters}.items():
        for key, value in filters.items():
            for each in value if isinstance(value, list) else [value]:
                if isinstance(each, (bool, dict, list)) or each is None:
                    raise InvalidInput(
                        f"{PREFIX}{name}: the value of {key} must be text, or a list of it. Put it in quotes."
                    )


def _check_regions(account: AccountVariables) -> None:
    for region in account.regions:
        checked_region(ACCOUNT_REGIONS, region)


def _check_admin_instance(account: AccountVariables) -> None:
    if account.admin_instance_id:
        checked_instance_id(account.admin_instance_id, "cwagent_account_admin_instance_id")
        if account.admin_filters:
            raise InvalidInput(
                "cwagent_account_admin_instance_id and cwagent_account_admin_filters are both set. Set one of them."
            )


def account_of(value: Any, accounts: Collection[str]) -> str:
    """Return the host of the account in a variable; empty if the value is not one of the accounts."""
    name = value.strip() if isinstance(value, str) else ""
    return name if name in accounts else ""


def check_accounts(given: Given, problems: Problems) -> None:
    """Report settings that do not work with accounts as hosts, or that need them."""
    if given.accounts:
        _check_with_accounts(given, problems)
        _check_unassigned(given, problems)
    else:
        _check_without_accounts(given, problems)


def _check_without_accounts(given: Given, problems: Problems) -> None:
    """Report settings for accounts that are hosts, because the controller's account would be used instead."""
    for name in FILTERS:
        if not is_blank(given.controller.get(name)):
            problems.add(f"{name} needs the group {ACCOUNTS}, in which each host stands for an account.")
    # AWX gives a slice of a job some of the hosts, and an inventory source can have failed.
    for host in () if CONFIGS_ONLY in given.requires else given.members(*GROUPS):
        value = given.of_host(host).get(ACCOUNT)
        if isinstance(value, str) and not is_blank(value):
            problems.add(
                f"Host {host} has cwagent_account, but the group {ACCOUNTS} has no hosts. Pass an inventory with the "
                "host that stands for its account."
            )


def _check_with_accounts(given: Given, problems: Problems) -> None:
    """Report a playbook for one account, a name that cannot be used, and two hosts for one account."""
    if ONE_ACCOUNT in given.requires:
        problems.add(
            f"This playbook works in one account, and the inventory has the group {ACCOUNTS}. Run it without that "
            "group and with the credentials of the account."
        )
    for host in given.accounts:
        problems.check(check_host_name, host)
    # The files of an account are in a folder with its name.
    if re.search(r"/|^[.]+$", given.controller_host):
        problems.add(f"Host {given.controller_host}: a folder cannot have this name. Give the account another name.")
    own = _account_number(given.controller)
    for host, variables in given.accounts.items():
        # Reading an account twice does no harm.
        if own and AUDIT not in given.requires and host != given.controller_host and _account_number(variables) == own:
            pair = " and ".join(sorted((host, given.controller_host)))
            problems.add(f"The hosts {pair} of the group {ACCOUNTS} are the same account {own}. Remove one of them.")


def _check_unassigned(given: Given, problems: Problems) -> None:
    """Report servers without an account."""
    advice = (
        "In AWX, each slice of a job sees only some of the hosts; find the servers with cwagent_account_server_filters "
        "instead."
        if given.in_awx
        else f"Name the host of the group {ACCOUNTS} that stands for its account."
    )
    for host, value in given.unassigned.items():
        if isinstance(value, Undefined):
            problems.check(to_typed, ACCOUNT, TEXT, value, where=f"Host {host}: ")
        elif is_blank(value):
            problems.add(f"Host {host}: cwagent_account is not set. {advice}")
        else:
            problems.add(f"Host {host}: cwagent_account is {quote(value)}, which is not a host of that group. {advice}")


def _account_number(variables: Mapping[str, Any]) -> str:
    """Return the ID of an account; empty if its variables do not contain it."""
    parts = re.fullmatch(_ROLE_ARN, str(variables.get("cwagent_account_assume_role_arn") or "").strip(), re.ASCII)
    return parts[1] if parts else str(variables.get("cwagent_account_id") or "").strip()


def complete_for_account(given: Given, run: dict[str, Any], problems: Problems) -> None:
    """Set the defaults that differ if accounts are hosts, and report settings that do not work with them."""
    if all(is_blank(each.get(STORE_FROM)) for each in (given.controller, *given.hosts.values())):
        run[STORE_FROM.removeprefix("cwagent_")] = RUN_COMMAND
    source = run[STORE_FROM.removeprefix("cwagent_")]
    if source not in WITHOUT_CONNECTION:
        problems.add(
            f"{STORE_FROM} is {source}. With the group {ACCOUNTS} it must be one of {', '.join(WITHOUT_CONNECTION)}, "
            "which need no connection to a host."
        )
    # Users of different accounts can have the same name, and so can their keys in a place that accounts share.
    kind = KEY_STORES[run["key_store"]]
    shared = {each.OPTION for each in KEY_STORES.values() if not each.IN_ACCOUNT}
    for option in shared - ({kind.OPTION} if kind.IN_ACCOUNT else set()):
        run[option] = f"{run[option].rstrip('/')}/{given.controller_host}"


def found_line(found: Mapping[str, Any]) -> str:
    """Return which servers of an account were found, and which instance stores the configuration."""
    regions = ", ".join(f"{len(ids)} in {region}" for region, ids in found["instances"].items())
    admin = found["admin_instance"]
    stores = f"; {admin['instance_id']} in {admin['region']} stores the configuration" if admin else ""
    return f"servers: {regions or 'none'}{stores}"


def with_found(given: Given) -> Given:
    """Return the input with the instances that were found, each as a host with its ID as the name."""
    if given.found is None:
        return given
    admin = given.found["admin_instance"]
    servers = {
        instance_id: region for region, instance_ids in given.found["instances"].items() for instance_id in instance_ids
    }
    admins = {admin["instance_id"]: admin["region"]} if admin else {}
    hosts = {name: {"instance_id": name, "cwagent_region": region} for name, region in {**servers, **admins}.items()}
    groups = {
        **given.groups,
        EC2_SERVERS: [*given.groups.get(EC2_SERVERS, ()), *servers],
        EC2_ADMIN: [*given.groups.get(EC2_ADMIN, ()), *admins],
    }
    limit = None if given.limit is None else {*given.limit, *hosts}
    return replace(given, hosts={**given.hosts, **hosts}, groups=groups, limit=limit)
