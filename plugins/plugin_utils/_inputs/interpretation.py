# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The input of a run, interpreted from the variables, groups and hosts of a playbook. Pure."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._instance_profile.plan import ATTACH
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
    run = {
        name.removeprefix("cwagent_"): read_value(given, name, option, problems)
        for name, option in given.options.items()
        if name not in HOST_VARIABLES
    }
    complete_batches(given, run, problems)
    account = account_inputs(given, problems)
    if given.accounts:
        complete_for_account(given, run, problems)
    regions = Regions(given, account, problems)
    servers = read_user_names(given, ONPREM_SERVERS, "cwagent_user_name", partial(default_server_user, run), problems)
    admins = read_user_names(given, ONPREM_ADMIN, "cwagent_admin_user_name", lambda _host: ADMIN_USER, problems)
    onprem_hosts = read_onprem_hosts(given, servers, regions, problems)
    with_keys, retired = users_by_identity(onprem_hosts)
    instances = read_instance_ids(given, problems)
    delivery_hosts = [host for host, each in onprem_hosts.items() if each["deliver"]]
    inputs = {
        **run,
        "account": account,
        "admin_users": group_by_region(admins, regions),
        "configs": read_configs(given, run, regions, problems),
        "key_store_directory": read_path(given, run, "key_store_directory", problems),
        **read_report_files(given, run, problems),
        "agent_schema": run["agent_schema"] and read_path(given, run, "agent_schema", problems),
        **{
            name.removeprefix("cwagent_"): read_texts(given, given.members(ONPREM_SERVERS), name, problems)
            for name in (*KEY_FILE, NODE_ID)
        },
        "delivery_hosts": delivery_hosts,
        "hybrid_server_regions": [
            *dict.fromkeys(each["region"] for each in onprem_hosts.values() if each["identity"] == HYBRID)
        ],
        "instances": group_by_region(instances, regions),
        "key_names": find_key_names(given, onprem_hosts, regions),
        "onprem_hosts": onprem_hosts,
        "onprem_names": group_by_region({host: host for host in onprem_hosts}, regions),
        "region": regions.default,
        "regions": regions.regions_of(given.members(*GROUPS))
        if given.members(*GROUPS)
        else account["regions"] or [regions.default],
        "retired_users": group_users(retired, servers, regions),
        # A teardown also deletes the users that are not retired yet.
        "server_users": group_users(
            {**with_keys, **retired} if CONFIRMATION in given.requires else with_keys, servers, regions
        ),
        "servers": read_servers_to_check(given, instances, onprem_hosts, regions, problems),
        "undelivered_hosts": [host for host in delivery_hosts if given.limit is not None and host not in given.limit],
        "users": list(dict.fromkeys([*servers.values(), *admins.values()])),
    }
    # Including regions where no host has a user any more, and whatever the limit leaves.
    of_users = [*inputs["server_users"], *inputs["retired_users"], *inputs["admin_users"]]
    key_regions = dict.fromkeys([*of_users, *inputs["regions"], regions.default, *account["regions"]])
    inputs["key_regions"] = [each for each in key_regions if each]
    if ROTATION in given.requires:
        rotated = {users[host] for users in (with_keys, admins) for host in hosts_to_rotate(given, users)}
        inputs.update(narrow_to_rotation(inputs, with_keys, rotated))
        inputs.update(notices=[*inputs["notices"], *revocation_notices(inputs)])
    if REMOVAL in given.requires:
        inputs["removal"] = find_leaving_servers(given, inputs, Members(servers, admins, instances, regions), problems)
    roles = run["attach_to_roles"] if run["on_other_profile"] == ATTACH else []
    # Without a host of the account in the inventory, there are no users to compare with.
    users = {"users": inputs["users"]} if inputs["users"] or not account["host"] else {}
    inputs["inventory"] = {**users, "attach_to_roles": roles}
    if given.stores and run["attach_to_roles"] and not roles:
        ignored = (
            f"cwagent_attach_to_roles has no effect, because cwagent_on_other_profile is {run['on_other_profile']}."
        )
        inputs.update(notices=[*inputs["notices"], ignored])
    inputs["finds_instances"] = has_filters(account)
    inputs["admin_instance"] = next((instances[host] for host in given.members(EC2_ADMIN) if host in instances), "")
    is_collecting = run["verify_from"] in ("auto", "ansible") and not given.accounts
    inputs["collect_hosts"] = [each["host"] for each in inputs["servers"]] if is_collecting else []
    inputs["requires"] = list(given.requires)
    # A playbook that sets up nothing must not take away a protection.
    without = "absent" if KEY_STORE in given.requires else "keep"
    inputs["window_state"] = "closed" if run["admin_window"] else without
    inputs.update(
        choose_storing_host(given, inputs, regions), config_names=config_names(inputs["configs"], inputs["regions"])
    )
    inputs.update(notes=_notes(given, inputs))
    check_accounts(given, problems)
    for host in _hosts_of_plays(given, inputs):
        problems.check(check_host_name, host)
    check_groups(given, inputs, problems)
    check_conflicts(inputs, problems)
    check_requirements(given, inputs, problems)
    check_removal(given, inputs, problems)
    check_limit(given, inputs, problems)
    check_values(given, inputs, problems)
    return inputs, problems.sentences


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
