# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The servers that leave. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...module_utils._ground.errors import InvalidInput
from ...module_utils._ground.names import check_instance_id, check_name, is_node_id
from ...module_utils._keys.stores import KEY_STORES
from .given import EC2_ADMIN, ONPREM_ADMIN, REMOVAL, checked_region
from .hosts import HYBRID, SERVER_USER, apply_limit, flatten, group_by_region, select_users
from .run import Removal
from .values import Problems

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from .given import Given
    from .hosts import Members, Regions
    from .run import OnpremHost, Run


def find_leaving_servers(given: Given, run: Run, members: Members, problems: Problems) -> Removal:
    """Return the users, instances and nodes of the servers that leave.

    A name that no server in the inventory has is an instance ID, a user name, or the name of a host that has left. The
    result also contains the default user of such a host.
    """
    servers, instances = members.servers, members.instances
    entries = [entry.rpartition(":")[::2] for entry in dict.fromkeys(run.settings["remove_servers"])]
    hosts = [name for _in, name in entries if name in servers or name in instances]
    for host in hosts:
        problems.check(_check_leaving_host, given, host)
    users_that_stay = {user: host for host, user in {**members.admins, **servers}.items() if host not in hosts}
    remaining = {**users_that_stay, **{instances[host]: host for host in instances if host not in hosts}}
    on_premises = [host for host in hosts if host in servers]
    kept = {host: servers[host] for host in on_premises if servers[host] in remaining}
    leaving_users = {servers[host] for host in on_premises} - remaining.keys()
    retired = select_users(run.retired_users, leaving_users)
    users = select_users(run.server_users, leaving_users)
    for region, names in retired.items():
        users.setdefault(region, []).extend(names)
    leaving = group_by_region({host: instances[host] for host in hosts if host in instances}, members.regions)
    taken = {*remaining, *flatten(users), *(name for _in, name in entries)}
    default_users: dict[str, str] = {}
    for region, name in entries:
        is_principal = name not in hosts and not is_node_id(name)
        if is_principal and problems.check(_check_leaving_name, name, remaining):
            found = leaving if _is_instance_id(name) else users
            in_region = problems.check(_region_of_entry, region, name, run)
            default = _default_user(name, taken)
            if in_region:
                default_users.update({name: default} if default else {})
                _add_principals(found, [name, *([default] if default else [])], region, in_region)
    delivered = [host for host in on_premises if host in run.delivery_hosts]
    undelivered = [host for host in on_premises if host not in delivered]
    return Removal(
        default_users=default_users,
        instances=leaving,
        # A server with a key can have had a registration before.
        nodes=_nodes(
            [(region, name) for region, name in entries if name not in instances or name in servers],
            on_premises,
            members.regions,
            run.regions,
            problems,
        ),
        optional_users=flatten(retired),
        remaining_instances=group_by_region(
            {host: instances[host] for host in instances if host not in hosts}, members.regions
        ),
        key_hosts=apply_limit(given, delivered),
        notes=[
            *(_kept_note(host, user, remaining[user]) for host, user in kept.items()),
            *([_undelivered_note(undelivered)] if undelivered else []),
            *([_leaving_note(hosts)] if hosts else []),
        ],
        users=users,
    )


def _add_principals(found: dict[str, list[str]], names: Iterable[str], region: str, in_region: str) -> None:
    """Add users or instances that are not found yet. The key of one user can be saved in several regions.

    :param region: the region that the user has named. It can be empty.
    """
    for name in names:
        if name not in (found.get(in_region, ()) if region else flatten(found)):
            found.setdefault(in_region, []).append(name)


def _nodes(
    entries: Iterable[tuple[str, str]],
    hosts: Collection[str],
    regions: Regions,
    all_regions: Iterable[str],
    problems: Problems,
) -> dict[str, list[str]]:
    """Return by region the nodes of the servers that leave. The node of a server has the name of its host.

    :param entries: the names that the user listed, each with its region, which can be empty.
    :param hosts: the on-premises servers among them.
    :param all_regions: where to look for the node of a name without a region.
    """
    found: dict[str, list[str]] = {}
    for region, name in entries:
        if name in hosts:
            found.setdefault(regions.region_of(name), []).append(name)
        elif not _is_instance_id(name):
            named = problems.check(checked_region, "cwagent_remove_servers", region)
            for each in [named] if named else all_regions:
                found.setdefault(each, []).append(name)
    return found


def _default_user(name: str, others: Iterable[str]) -> str:
    """Return the default user of a host that has left; empty if no host can have the name, or if the user is taken.

    :param others: the users and instances of hosts that stay, and the names that the user listed.
    """
    user = f"{SERVER_USER}-{name}"
    # IAM does not distinguish names by case.
    is_taken = user.lower() in {each.lower() for each in others}
    if is_taken or _is_instance_id(name) or name.lower().startswith(SERVER_USER.lower()):
        return ""
    try:
        check_name("user", user)
    except InvalidInput:  # it is too long
        return ""
    return user


def _is_instance_id(name: str) -> bool:
    try:
        check_instance_id(name)
    except InvalidInput:
        return False
    return True


def _check_leaving_host(given: Given, host: str) -> None:
    for group in (EC2_ADMIN, ONPREM_ADMIN):
        if host in given.members(group):
            raise InvalidInput(
                f"cwagent_remove_servers: host {host} is in the group {group}. Put another host into it first, or take "
                "this one out of it."
            )


def _check_leaving_name(name: str, remaining: Mapping[str, str]) -> bool:
    """Check the name of a user or an instance that no host has. :returns: true."""
    # IAM does not distinguish names by case.
    host = {each.lower(): host for each, host in remaining.items()}.get(name.lower())
    if host:
        raise InvalidInput(f"cwagent_remove_servers: '{name}' belongs to host {host}. Name the host instead.")
    try:
        check_name("user", name)
    except InvalidInput as error:
        raise InvalidInput(f"cwagent_remove_servers: {error}") from error
    return True


def _region_of_entry(region: str, name: str, run: Run) -> str:
    """Return the region of a user or an instance that no host has. Users and files with keys need none."""
    named = checked_region("cwagent_remove_servers", region)
    is_nowhere = not _is_instance_id(name) and not KEY_STORES[run.settings["key_store"]].IN_ACCOUNT
    if named or len(run.regions) == 1 or is_nowhere:
        return named or str(run.regions[0])
    raise InvalidInput(
        f"cwagent_remove_servers: the region of '{name}' is not known. Put it before the name, such as "
        f"{run.regions[0]}:{name}."
    )


def _kept_note(host: str, user: str, other: str) -> str:
    return (
        f"User '{user}' of {host} was kept, because {other} has it too. {host} knows its access key: "
        "cwagent.iam.rotate_keys replaces it."
    )


def _undelivered_note(hosts: Iterable[str]) -> str:
    return f"The access key on {', '.join(hosts)} was not looked for: cwagent_deliver_keys is not set."


def _leaving_note(hosts: Iterable[str]) -> str:
    return f"Take {', '.join(hosts)} out of the inventory: cwagent.iam.site would manage it again."


def _name_nodes(names: Iterable[str], hosts: Mapping[str, OnpremHost]) -> Iterator[str]:
    """The servers that are deregistered, in words. A server with an access key is not one, unless it changed."""
    for name in names:
        if is_node_id(name) or (name in hosts and hosts[name].identity == HYBRID):
            yield name
        elif name not in hosts:
            yield f"{name} (if it is registered)"


def check_removal(given: Given, run: Run, problems: Problems) -> None:
    """Report the inputs that the removal of servers requires and that are missing."""
    if REMOVAL not in given.requires:
        return
    if not run.settings["remove_servers"]:
        problems.add(
            "No server is named. Set cwagent_remove_servers to the hosts, users or instance IDs of the servers that "
            "leave."
        )
    elif run.removal and run.settings["confirm"] != "remove_servers":
        removal, defaults = run.removal, run.removal.default_users
        named = [user for user in dict.fromkeys(flatten(removal.users)) if user not in defaults.values()]
        users = [f"{user} ({defaults[user]} if there is no such user)" if user in defaults else user for user in named]
        listed = {
            "Users": [f"{user} (if it exists)" if user in removal.optional_users else user for user in users],
            "Hybrid servers": [*_name_nodes(flatten(removal.nodes), run.onprem_hosts)],
            "Instances": flatten(removal.instances),
        }
        objects = " ".join(f"{kind}: {', '.join(dict.fromkeys(names)) or 'none'}." for kind, names in listed.items())
        problems.add(
            "This deletes users with their access keys and saved keys, deregisters hybrid servers, and disassociates "
            f"instance profiles from instances. {objects} To confirm, set cwagent_confirm to remove_servers."
        )
