# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The input of a run, interpreted from the variables, groups and hosts of a playbook. Pure."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ...module_utils._ground.names import FITTED_POLICIES
from ...module_utils._principals.policies import AWS, FITTED
from ...module_utils._servers.instance_profile_plan import ATTACH
from ...module_utils._storing.options import CONTROLLER
from .accounts import ACCOUNT, check_accounts, complete_for_account, read_account, with_found
from .checks import check_conflicts, check_groups, check_limit, check_requirements, check_values
from .configurations import LOCALHOST, config_names, read_configs, storing_host, storing_source
from .given import (
    ADMIN_INSTANCE,
    APPLY,
    CONFIGS,
    CONFIRMATION,
    EC2_ADMIN,
    EC2_SERVERS,
    GROUPS,
    HISTORY,
    KEY_STORE,
    ONPREM_ADMIN,
    ONPREM_SERVERS,
    REMOVAL,
    ROTATION,
    SERVERS,
    check_host_name,
    check_text,
)
from .hosts import (
    ADMIN_USER,
    HYBRID,
    Members,
    Regions,
    default_server_user,
    find_key_names,
    flatten,
    group_by_region,
    group_users,
    read_instance_ids,
    read_onprem_hosts,
    read_servers_to_check,
    read_user_names,
)
from .removal import check_removal, find_leaving_servers
from .rotation import hosts_to_rotate, narrow_to_rotation
from .run import Run
from .values import Problems
from .variables import (
    HOST_VARIABLES,
    KEY_FILE_GROUP,
    KEY_FILE_OWNER,
    NODE_ID,
    applies_configurations,
    check_variable_names,
    complete_batches,
    read_path,
    read_report_files,
    read_texts,
    read_value,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .given import Given
    from .run import AccountVariables


def interpret(given: Given) -> Run:
    """Return the interpreted input of a run, with all its problems.

    It has a default instead of each invalid value, so that a run can do the parts that do not depend on it.
    """
    problems = Problems()
    given = with_found(given)
    check_variable_names(given, problems)
    for host in given.members(EC2_SERVERS, EC2_ADMIN):
        check_text(given, host, ACCOUNT, problems)
    settings = _read_settings(given, problems)
    account = read_account(given, problems)
    if given.accounts:
        complete_for_account(given, settings, problems)
    regions = Regions(given, account, problems)
    members = _read_members(given, settings, regions, problems)
    run = _plan_run(given, settings, account, members, problems)
    if ROTATION in given.requires:
        having_keys = (members.with_keys, members.admins)
        rotated = {users[host] for users in having_keys for host in hosts_to_rotate(given, users)}
        run = narrow_to_rotation(run, members.with_keys, rotated)
    if REMOVAL in given.requires:
        removal = find_leaving_servers(given, run, members, problems)
        run = replace(run, removal=removal, leaving_nodes=removal.nodes, delivery_hosts=removal.key_hosts)
    _check(given, run, problems)
    return replace(run, notes=_notes(given, run), problems=problems.sentences)


def _read_settings(given: Given, problems: Problems) -> dict[str, Any]:
    """Return the variables that have one value in a run, without their prefix."""
    settings = {
        name.removeprefix("cwagent_"): read_value(given, name, option, problems)
        for name, option in given.options.items()
        if name not in HOST_VARIABLES
    }
    complete_batches(given, settings, problems)
    return settings


def _read_members(given: Given, settings: Mapping[str, Any], regions: Regions, problems: Problems) -> Members:
    servers = read_user_names(
        given, ONPREM_SERVERS, "cwagent_user_name", partial(default_server_user, settings), problems
    )
    admins = read_user_names(given, ONPREM_ADMIN, "cwagent_admin_user_name", lambda _host: ADMIN_USER, problems)
    onprem_hosts = read_onprem_hosts(given, servers, regions, problems)
    return Members(servers, admins, read_instance_ids(given, problems), onprem_hosts, regions)


def _plan_run(
    given: Given, settings: Mapping[str, Any], account: AccountVariables, members: Members, problems: Problems
) -> Run:
    """Return the run before it is narrowed to the servers that get other keys or leave."""
    requires, regions, onprem_hosts = {*given.requires}, members.regions, members.onprem_hosts
    hosts = given.members(*GROUPS)
    configs = read_configs(given, settings, regions, problems)
    all_regions = regions.regions_of(hosts) if hosts else [*account.regions] or [regions.default]
    paths = {"key_store_directory": read_path(given, settings, "key_store_directory", problems)}
    files, notices = read_report_files(given, settings, problems)
    if settings["agent_schema"]:
        paths["agent_schema"] = read_path(given, settings, "agent_schema", problems)
    for each in given.members(ONPREM_SERVERS):
        check_text(given, each, KEY_FILE_OWNER, problems)
        check_text(given, each, KEY_FILE_GROUP, problems)
    node_id = read_texts(given, given.members(ONPREM_SERVERS), NODE_ID, problems)
    servers = read_servers_to_check(given, members.instances, onprem_hosts, regions, problems)
    source = storing_source(given, settings)
    host = storing_host(given, source)
    policy = settings["server_policy"] or AWS
    # A teardown also deletes the users that are not retired yet.
    with_users = {**members.with_keys, **members.retired} if CONFIRMATION in requires else members.with_keys
    server_users = group_users(with_users, members.servers, regions)
    admin_users = group_by_region(members.admins, regions)
    retired_users = group_users(members.retired, members.servers, regions)
    delivery_hosts = [name for name, each in onprem_hosts.items() if each.deliver]
    all_users = list(dict.fromkeys([*members.servers.values(), *members.admins.values()]))
    # The regions in which a key can be saved, including regions without a host. The limit leaves out none.
    of_keys = [*server_users, *retired_users, *admin_users, *all_regions, regions.default, *account.regions]
    is_collecting = settings["verify_from"] in ("auto", "ansible") and not given.accounts
    attached = settings["attach_to_roles"] if settings["on_other_profile"] == ATTACH else []
    # A playbook that sets up nothing must not take away a protection.
    without_window = "absent" if KEY_STORE in requires else "keep"
    # The entries with the paths of their files replace the setting.
    others = {name: value for name, value in settings.items() if name != "configs"}
    return Run(
        settings={
            **others,
            **paths,
            "report_files": flatten(files),
            "server_policy": policy,
            "store_config_from": source,
        },
        requires=list(given.requires),
        account=account,
        region=regions.default,
        regions=all_regions,
        configs=configs,
        config_names=config_names(configs, all_regions),
        account_decides_policy=not settings["server_policy"] and bool({CONFIGS, KEY_STORE, APPLY} & requires),
        fitted_policies={
            "server_policies": [FITTED_POLICIES["server"]] if policy == FITTED else [],
            "admin_policies": [FITTED_POLICIES["admin"]] if policy == FITTED else [],
        },
        servers=servers,
        onprem_hosts=onprem_hosts,
        node_id=node_id,
        instances=group_by_region(members.instances, regions),
        instance_id=next(
            (members.instances[each] for each in given.members(EC2_ADMIN) if each in members.instances), ""
        ),
        finds_instances=account.has_filters,
        has_instances=bool(members.instances) or account.has_filters,
        server_users=server_users,
        admin_users=admin_users,
        retired_users=retired_users,
        users=all_users,
        key_names=find_key_names(given, onprem_hosts, regions),
        key_store_regions=[each for each in dict.fromkeys(of_keys) if each],
        leaving_nodes=group_by_region({name: name for name in onprem_hosts}, regions),
        hybrid_server_regions=list(
            dict.fromkeys(each.region for each in onprem_hosts.values() if each.identity == HYBRID)
        ),
        delivery_hosts=delivery_hosts,
        undelivered_hosts=[each for each in delivery_hosts if given.limit is not None and each not in given.limit],
        collect_hosts=[each["host"] for each in servers] if is_collecting else [],
        controller_stores=settings["store_config_from"] == CONTROLLER,
        stores=bool(host and (configs or ADMIN_INSTANCE in requires)),
        # Nothing connects to the hosts of other accounts.
        storing_host=LOCALHOST if given.accounts or not host else host,
        storing_region=regions.region_of(host),
        window_state="closed" if settings["admin_window"] else without_window,
        # With a limit, other servers have not proved a version.
        moves_label=given.limit is None
        or all(each in given.limit for each in given.members(EC2_SERVERS, EC2_ADMIN, ONPREM_SERVERS)),
        audit={
            "label": account.host or "controller",
            "regions": settings["audit_regions"] or account.regions or all_regions,
            # history.yml reads only the versions of the configurations.
            "parts": ["history"] if HISTORY in requires else ["access", "history"],
            "admin_user_name": next(iter(members.admins.values()), ADMIN_USER),
            "inventory": {
                # Without a host of the account in the inventory, there are no users to compare with.
                **({"users": all_users} if all_users or not account.host else {}),
                "attach_to_roles": attached,
            },
        },
        report_files_by_format=files,
        notices=[*notices, *_ignored_roles(given, settings)],
    )


def _ignored_roles(given: Given, settings: Mapping[str, Any]) -> list[str]:
    """Return a notice of roles that are listed although nothing is attached to them."""
    if not (given.stores and settings["attach_to_roles"]) or settings["on_other_profile"] == ATTACH:
        return []
    other = settings["on_other_profile"]
    return [f"cwagent_attach_to_roles has no effect, because cwagent_on_other_profile is {other}."]


def _check(given: Given, run: Run, problems: Problems) -> None:
    """Report what is missing or does not fit together."""
    check_accounts(given, problems)
    for host in _hosts_of_plays(given, run):
        problems.check(check_host_name, host)
    check_groups(given, run, problems)
    check_conflicts(run, problems)
    check_requirements(given, run, problems)
    check_removal(given, run, problems)
    check_limit(given, run, problems)
    check_values(given, run, problems)


def _hosts_of_plays(given: Given, run: Run) -> list[str]:
    """Return the hosts that plays run on. The others count only with their instances and users."""
    hosts = [*run.delivery_hosts]
    if SERVERS in given.requires:
        hosts += run.collect_hosts
    if applies_configurations(given):
        hosts += [each["host"] for each in run.servers]
    return list(dict.fromkeys(hosts))


def _notes(given: Given, run: Run) -> list[str]:
    """Return the omissions of a run, in sentences for its report."""
    requires = {*given.requires}
    limited = run.undelivered_hosts if {KEY_STORE, CONFIRMATION} & requires else []
    return [
        *(
            ["No configuration was given (cwagent_config_file or cwagent_configs), so nothing was stored."]
            if KEY_STORE in requires and ROTATION not in requires and not run.configs
            else []
        ),
        *([f"The limit leaves out {', '.join(limited)}. Nothing was changed there."] if limited else []),
        *(run.removal.notes if run.removal else ()),
    ]
