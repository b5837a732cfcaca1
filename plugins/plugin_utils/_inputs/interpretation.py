# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The input of a run, interpreted from the variables, groups and hosts of a playbook. Pure."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._instance_profile.plan import ATTACH
from ansible_collections.cwagent.iam.plugins.module_utils._names import FITTED_POLICIES
from ansible_collections.cwagent.iam.plugins.module_utils._principal.policies import AWS, FITTED
from ansible_collections.cwagent.iam.plugins.plugin_utils._inputs.accounts import (
    ACCOUNT,
    account_inputs,
    check_accounts,
    complete_for_account,
    has_filters,
    with_found,
)
from ansible_collections.cwagent.iam.plugins.plugin_utils._inputs.checks import (
    check_conflicts,
    check_groups,
    check_limit,
    check_requirements,
    check_values,
)
from ansible_collections.cwagent.iam.plugins.plugin_utils._inputs.configurations import (
    choose_storing_host,
    config_names,
    read_configs,
)
from ansible_collections.cwagent.iam.plugins.plugin_utils._inputs.given import (
    APPLY,
    CONFIGS,
    CONFIRMATION,
    EC2_ADMIN,
    EC2_SERVERS,
    GROUPS,
    KEY_STORE,
    ONPREM_ADMIN,
    ONPREM_SERVERS,
    REMOVAL,
    ROTATION,
    SERVERS,
    check_host_name,
    check_text,
)
from ansible_collections.cwagent.iam.plugins.plugin_utils._inputs.hosts import (
    ADMIN_USER,
    HYBRID,
    Regions,
    default_server_user,
    find_key_names,
    group_by_region,
    group_users,
    read_instance_ids,
    read_onprem_hosts,
    read_servers_to_check,
    read_user_names,
    users_by_identity,
)
from ansible_collections.cwagent.iam.plugins.plugin_utils._inputs.removal import (
    Members,
    check_removal,
    find_leaving_servers,
)
from ansible_collections.cwagent.iam.plugins.plugin_utils._inputs.rotation import (
    hosts_to_rotate,
    narrow_to_rotation,
    revocation_notices,
)
from ansible_collections.cwagent.iam.plugins.plugin_utils._inputs.variables import (
    HOST_VARIABLES,
    KEY_FILE,
    NODE_ID,
    applies_configurations,
    check_variable_names,
    complete_batches,
    read_path,
    read_report_files,
    read_texts,
    read_value,
)
from ansible_collections.cwagent.iam.plugins.plugin_utils._variable_types import Problems

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ansible_collections.cwagent.iam.plugins.plugin_utils._inputs.given import Given


def interpret(given: Given) -> tuple[dict[str, Any], list[str]]:
    """Return the input of a run, and all its problems.

    The input has a default instead of each invalid value, so that a run can do the parts that do not depend on it.

    :returns: the input as plain data, under the names in ``playbooks/vars/``, and the problems in sentences.
    """
    problems = Problems()
    given = with_found(given)
    check_variable_names(given, problems)
    for host in given.members(EC2_SERVERS, EC2_ADMIN):
        check_text(given, host, ACCOUNT, problems)
    run = _values_of_run(given, problems)
    account = account_inputs(given, problems)
    if given.accounts:
        complete_for_account(given, run, problems)
    regions = Regions(given, account, problems)
    servers = read_user_names(given, ONPREM_SERVERS, "cwagent_user_name", partial(default_server_user, run), problems)
    admins = read_user_names(given, ONPREM_ADMIN, "cwagent_admin_user_name", lambda _host: ADMIN_USER, problems)
    onprem_hosts = read_onprem_hosts(given, servers, regions, problems)
    members = Members(servers, admins, read_instance_ids(given, problems), regions)
    hosts = given.members(*GROUPS)
    inputs = {
        **run,
        "account": account,
        "configs": read_configs(given, run, regions, problems),
        **_paths_and_texts(given, run, problems),
        "onprem_hosts": onprem_hosts,
        "region": regions.default,
        "regions": regions.regions_of(hosts) if hosts else account["regions"] or [regions.default],
        "servers": read_servers_to_check(given, members.instances, onprem_hosts, regions, problems),
        **_by_region(given, members, onprem_hosts),
    }
    inputs["key_regions"] = _key_regions(inputs)
    if ROTATION in given.requires:
        _narrow_to_rotation(given, inputs, members)
    if REMOVAL in given.requires:
        inputs["removal"] = find_leaving_servers(given, inputs, members, problems)
    inputs.update(_inventory(given, inputs))
    inputs.update(_work(given, inputs, members))
    _check(given, inputs, problems)
    return inputs, problems.sentences


def _values_of_run(given: Given, problems: Problems) -> dict[str, Any]:
    """Return the variables that have one value in a run."""
    run = {
        name.removeprefix("cwagent_"): read_value(given, name, option, problems)
        for name, option in given.options.items()
        if name not in HOST_VARIABLES
    }
    complete_batches(given, run, problems)
    is_open = not run["server_policy"] and bool({CONFIGS, KEY_STORE, APPLY} & {*given.requires})
    return {**run, "server_policy": run["server_policy"] or AWS, "account_decides_policy": is_open}


def _paths_and_texts(given: Given, run: Mapping[str, Any], problems: Problems) -> dict[str, Any]:
    """Return the paths on the controller, and the variables that can differ between on-premises servers."""
    return {
        "key_store_directory": read_path(given, run, "key_store_directory", problems),
        **read_report_files(given, run, problems),
        "agent_schema": run["agent_schema"] and read_path(given, run, "agent_schema", problems),
        **{
            name.removeprefix("cwagent_"): read_texts(given, given.members(ONPREM_SERVERS), name, problems)
            for name in (*KEY_FILE, NODE_ID)
        },
    }


def _by_region(given: Given, members: Members, onprem_hosts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the users, instances and on-premises servers of each region."""
    regions = members.regions
    with_keys, retired = users_by_identity(onprem_hosts)
    # A teardown also deletes the users that are not retired yet.
    server_users = {**with_keys, **retired} if CONFIRMATION in given.requires else with_keys
    delivery_hosts = [host for host, each in onprem_hosts.items() if each["deliver"]]
    hybrid_regions = dict.fromkeys(each["region"] for each in onprem_hosts.values() if each["identity"] == HYBRID)
    return {
        "admin_users": group_by_region(members.admins, regions),
        "delivery_hosts": delivery_hosts,
        "hybrid_server_regions": list(hybrid_regions),
        "instances": group_by_region(members.instances, regions),
        "key_names": find_key_names(given, onprem_hosts, regions),
        "onprem_names": group_by_region({host: host for host in onprem_hosts}, regions),
        "retired_users": group_users(retired, members.servers, regions),
        "server_users": group_users(server_users, members.servers, regions),
        "undelivered_hosts": [host for host in delivery_hosts if given.limit is not None and host not in given.limit],
        "users": list(dict.fromkeys([*members.servers.values(), *members.admins.values()])),
    }


def _key_regions(inputs: Mapping[str, Any]) -> list[str]:
    """Return the regions in which a key can be saved, including regions without a host. The limit leaves out none."""
    of_users = [*inputs["server_users"], *inputs["retired_users"], *inputs["admin_users"]]
    found = dict.fromkeys([*of_users, *inputs["regions"], inputs["region"], *inputs["account"]["regions"]])
    return [each for each in found if each]


def _narrow_to_rotation(given: Given, inputs: dict[str, Any], members: Members) -> None:
    """Leave only the users whose keys are replaced."""
    with_keys, _retired = users_by_identity(inputs["onprem_hosts"])
    rotated = {users[host] for users in (with_keys, members.admins) for host in hosts_to_rotate(given, users)}
    inputs.update(narrow_to_rotation(inputs, with_keys, rotated))
    inputs.update(notices=[*inputs["notices"], *revocation_notices(inputs)])


def _inventory(given: Given, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the principals of the inventory, which are compared with the principals of the account."""
    roles = inputs["attach_to_roles"] if inputs["on_other_profile"] == ATTACH else []
    # Without a host of the account in the inventory, there are no users to compare with.
    users = {"users": inputs["users"]} if inputs["users"] or not inputs["account"]["host"] else {}
    ignored = (
        f"cwagent_attach_to_roles has no effect, because cwagent_on_other_profile is {inputs['on_other_profile']}."
    )
    is_ignored = given.stores and inputs["attach_to_roles"] and not roles
    return {
        "inventory": {**users, "attach_to_roles": roles},
        "notices": [*inputs["notices"], *([ignored] if is_ignored else [])],
    }


def _work(given: Given, inputs: Mapping[str, Any], members: Members) -> dict[str, Any]:
    """Return on which instances and hosts a run does something, and what it leaves out."""
    is_collecting = inputs["verify_from"] in ("auto", "ansible") and not given.accounts
    instances = members.instances
    # A playbook that sets up nothing must not take away a protection.
    without = "absent" if KEY_STORE in given.requires else "keep"
    work = {
        "finds_instances": has_filters(inputs["account"]),
        "fitted_policies": {
            f"{access}_policies": [name] if inputs["server_policy"] == FITTED else []
            for access, name in FITTED_POLICIES.items()
        },
        "admin_instance": next((instances[host] for host in given.members(EC2_ADMIN) if host in instances), ""),
        "collect_hosts": [each["host"] for each in inputs["servers"]] if is_collecting else [],
        # With a limit, other servers have not proved a version.
        "moves_label": given.limit is None
        or all(host in given.limit for host in given.members(EC2_SERVERS, EC2_ADMIN, ONPREM_SERVERS)),
        "requires": list(given.requires),
        "window_state": "closed" if inputs["admin_window"] else without,
    }
    found = {**inputs, **work}
    return {
        **work,
        **choose_storing_host(given, found, members.regions),
        "config_names": config_names(inputs["configs"], inputs["regions"]),
        "notes": _notes(given, found),
    }


def _check(given: Given, inputs: Mapping[str, Any], problems: Problems) -> None:
    """Report what is missing or does not fit together."""
    check_accounts(given, problems)
    for host in _hosts_of_plays(given, inputs):
        problems.check(check_host_name, host)
    check_groups(given, inputs, problems)
    check_conflicts(inputs, problems)
    check_requirements(given, inputs, problems)
    check_removal(given, inputs, problems)
    check_limit(given, inputs, problems)
    check_values(given, inputs, problems)


def _hosts_of_plays(given: Given, inputs: Mapping[str, Any]) -> list[str]:
    """Return the hosts that plays run on. The others count only with their instances and users."""
    hosts = [*inputs["delivery_hosts"], *inputs.get("removal", {}).get("key_hosts", [])]
    if SERVERS in given.requires:
        hosts += inputs["collect_hosts"]
    if applies_configurations(given):
        hosts += [each["host"] for each in inputs["servers"]]
    return list(dict.fromkeys(hosts))


def _notes(given: Given, inputs: Mapping[str, Any]) -> list[str]:
    """Return the omissions of a run, in sentences for its report."""
    requires = {*given.requires}
    limited = inputs["undelivered_hosts"] if {KEY_STORE, CONFIRMATION} & requires else []
    return [
        *(
            ["No configuration was given (cwagent_config_file or cwagent_configs), so nothing was stored."]
            if KEY_STORE in requires and ROTATION not in requires and not inputs["configs"]
            else []
        ),
        *([f"The limit leaves out {', '.join(limited)}. Nothing was changed there."] if limited else []),
        *inputs.get("removal", {}).get("notes", ()),
    ]
