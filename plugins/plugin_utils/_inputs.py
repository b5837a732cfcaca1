# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Interprets the variables, groups and hosts of a playbook's run together. Pure."""

from __future__ import annotations

import difflib
import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils import _names
from ansible_collections.cwagent.iam.plugins.module_utils._access_keys.options import check_days
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.plan import check_minutes
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.plan import check_parameter_name
from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._instance_profile.plan import ATTACH
from ansible_collections.cwagent.iam.plugins.module_utils._principal.plan import REMOVE_BOUNDARY
from ansible_collections.cwagent.iam.plugins.plugin_utils._accounts import (
    ACCOUNT,
    ACCOUNT_VARIABLES,
    account_inputs,
    check_accounts,
    complete_for_account,
    has_filters,
    with_found,
)
from ansible_collections.cwagent.iam.plugins.plugin_utils._given import (
    ACCOUNTS,
    ADMIN_INSTANCE,
    AUDIT,
    CONFIGS,
    CONFIGS_ONLY,
    CONFIRMATION,
    EC2_ADMIN,
    EC2_SERVERS,
    EMPTY,
    GROUPS,
    KEY_STORE,
    ONE_ACCOUNT,
    ONPREM_ADMIN,
    ONPREM_SERVERS,
    REMOVAL,
    RESTORE,
    ROTATION,
    SERVERS,
    TEXT,
    check_host_name,
    check_text,
    checked_instance_id,
    checked_region,
)
from ansible_collections.cwagent.iam.plugins.plugin_utils._report_files import (
    FORMATS,
    VALIDATION_FORMATS,
    VERIFICATION_FORMATS,
    sort_by_format,
)
from ansible_collections.cwagent.iam.plugins.plugin_utils._saved_keys import check_key_store, check_kms_key
from ansible_collections.cwagent.iam.plugins.plugin_utils._typed import (
    Problems,
    Undefined,
    check_config_regions,
    check_environment,
    is_blank,
    quote,
    to_typed,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from ansible_collections.cwagent.iam.plugins.plugin_utils._given import Given

REPORT_FILES = "cwagent_report_files"
# The formats of the reports that a playbook writes, by its requirement.
REPORT_FORMATS = {AUDIT: FORMATS, CONFIGS_ONLY: VALIDATION_FORMATS, SERVERS: VERIFICATION_FORMATS}
CONFIG_NAMES = "cwagent_config_names"
BATCH_SIZE = "cwagent_batch_size"
# Its values can be secrets, so it is not part of the input. The playbooks pass it on from the host.
ENVIRONMENT = "cwagent_environment"
# The owner and the group of the file with the access key on a server.
KEY_FILE = ("cwagent_key_file_owner", "cwagent_key_file_group")
# Each host has its own value. All other variables have one value for the whole run.
HOST_VARIABLES = frozenset(
    {
        *("cwagent_region", "cwagent_user_name", "cwagent_admin_user_name", "cwagent_deliver_keys"),
        *(ACCOUNT, CONFIG_NAMES, ENVIRONMENT, *KEY_FILE, *ACCOUNT_VARIABLES),
    }
)
# Playbooks with one of these requirements need no host that stores a configuration.
WITHOUT_STORING = {CONFIGS_ONLY, AUDIT, SERVERS, REMOVAL}
# The values of cwagent_store_config_from with which an EC2 instance stores.
FROM_INSTANCE = ("instance", "run_command", "auto")
LOCALHOST = "localhost"
SERVER_USER, ADMIN_USER = "CloudWatchAgentServerUser", "CloudWatchAgentAdminUser"
ALL_PERCENT = 100
ALL, SOME = f"{ALL_PERCENT}%", "20%"
ROTATION_OPTIONS = ("key_max_age_days", "key_retire_after_days", "revoke_old", "rotate_now")
# The similarity that makes one group name a misspelling of another; 1 is equal.
MISSPELLED = 0.95
_BATCH = r"[1-9]\d*|[1-9]\d?%|100%"


def interpret(given: Given) -> tuple[dict[str, Any], list[str]]:
    """Return the input of a run, and all its problems.

    The input has a default instead of each invalid value, so that a run can do the parts that do not depend on it.

    :returns: the input as plain data, under the names in ``playbooks/vars/``, and the problems in sentences.
    """
    problems = Problems()
    given = with_found(given)
    _check_names(given, problems)
    for host in given.members(EC2_SERVERS, EC2_ADMIN):
        check_text(given, host, ACCOUNT, problems)
    run = {
        name.removeprefix("cwagent_"): _run_value(given, name, option, problems)
        for name, option in given.options.items()
        if name not in HOST_VARIABLES
    }
    _complete_batches(given, run, problems)
    account = account_inputs(given, problems)
    if given.accounts:
        complete_for_account(given, run, problems)
    regions = _Regions(given, account, problems)
    servers = _users(given, ONPREM_SERVERS, "cwagent_user_name", partial(_server_user, run), problems)
    admins = _users(given, ONPREM_ADMIN, "cwagent_admin_user_name", lambda _host: ADMIN_USER, problems)
    onprem_hosts = _onprem_hosts(given, servers, regions, problems)
    instances = _instances(given, problems)
    delivery_hosts = [host for host, each in onprem_hosts.items() if each["deliver"]]
    inputs = {
        **run,
        "account": account,
        "admin_users": _by_region(admins, regions),
        "configs": _configs(given, run, regions, problems),
        "key_store_directory": _to_absolute(given, run, "key_store_directory", problems),
        **_report_files(given, run, problems),
        "agent_schema": run["agent_schema"] and _to_absolute(given, run, "agent_schema", problems),
        **{
            name.removeprefix("cwagent_"): _texts(given, given.members(ONPREM_SERVERS), name, problems)
            for name in KEY_FILE
        },
        "delivery_hosts": delivery_hosts,
        "instances": _by_region(instances, regions),
        "onprem_hosts": onprem_hosts,
        "region": regions.default,
        "regions": regions.regions_of(given.members(*GROUPS))
        if given.members(*GROUPS)
        else account["regions"] or [regions.default],
        "server_users": _by_region(servers, regions),
        "servers": _servers(given, instances, servers, regions, problems),
        "undelivered_hosts": [host for host in delivery_hosts if given.limit is not None and host not in given.limit],
        "users": list(dict.fromkeys([*servers.values(), *admins.values()])),
    }
    # Including regions where no host has a user any more, and whatever the limit leaves.
    of_users = [*inputs["server_users"], *inputs["admin_users"]]
    key_regions = dict.fromkeys([*of_users, *inputs["regions"], regions.default, *account["regions"]])
    inputs["key_regions"] = [each for each in key_regions if each]
    if ROTATION in given.requires:
        rotated = {users[host] for users in (servers, admins) for host in _with_rotated_keys(given, users)}
        inputs.update(_rotation(inputs, servers, rotated))
        inputs.update(notices=[*inputs["notices"], *_revocation(inputs)])
    if REMOVAL in given.requires:
        inputs["removal"] = _leaving_servers(given, inputs, _Members(servers, admins, instances, regions), problems)
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
    inputs.update(_storing(given, inputs, regions))
    inputs.update(notes=_notes(given, inputs))
    check_accounts(given, problems)
    for host in _hosts_of_plays(given, inputs):
        problems.check(check_host_name, host)
    _check_groups(given, inputs, problems)
    _check_conflicts(inputs, problems)
    _check_requirements(given, inputs, problems)
    _check_removal(given, inputs, problems)
    _check_limit(given, inputs, problems)
    _check_values(given, inputs, problems)
    return inputs, problems.sentences


def _hosts_of_plays(given: Given, inputs: Mapping[str, Any]) -> list[str]:
    """Return the hosts that plays run on. The others count only with their instances and users."""
    hosts = [*inputs["delivery_hosts"], *inputs.get("removal", {}).get("key_hosts", [])]
    if SERVERS in given.requires:
        hosts += inputs["collect_hosts"]
    if _applies(given):
        hosts += [each["host"] for each in inputs["servers"]]
    return list(dict.fromkeys(hosts))


def _applies(given: Given) -> bool:
    """Return whether the playbook applies the configuration to servers."""
    return {SERVERS, ONE_ACCOUNT} <= {*given.requires}


def _check_names(given: Given, problems: Problems) -> None:
    """Report variables and groups that are not the collection's, but have similar names."""
    used = {name for variables in (given.controller, *given.hosts.values()) for name in variables}
    for name in sorted(name for name in used if name.startswith("cwagent_") and name not in given.options):
        known = [option.removeprefix("cwagent_") for option in given.options]
        near = difflib.get_close_matches(name.removeprefix("cwagent_"), known, n=1)
        hint = f"; did you mean cwagent_{near[0]}?" if near else "."
        problems.add(f"{name} is not a variable of this collection{hint}")
    for name, variable in given.role_variables.items():
        fix = f"Set {variable} instead." if variable else "Remove it from the inventory and the command line."
        problems.add(f"{name} is a variable of a role that the playbooks set. {fix}")
    # A group with a similar name can be inside the collection's groups. The hosts of other accounts are not known.
    listed = set(given.members(*GROUPS, ACCOUNTS))
    for group, hosts in sorted(given.groups.items() if not given.accounts else ()):
        found = difflib.get_close_matches(group, [*GROUPS, ACCOUNTS], n=1, cutoff=MISSPELLED)
        if found and found != [group] and not listed.issuperset(hosts):
            problems.add(f"Group {group} is not one of this collection; did you mean {found[0]}?")


# The variables of roles that plays set, besides the files in playbooks/vars/. Some of them delete.
SET_BY_PLAYS = {
    "ec2_server": ("state",),
    "ec2_admin": ("state",),
    "onprem_server": ("state", *ROTATION_OPTIONS),
    "onprem_admin": ("state", *ROTATION_OPTIONS),
    "onprem_credentials": ("state",),
    "verify": ("controller",),
}


def role_variables(settings: Mapping[str, Any], options: Collection[str]) -> dict[str, str]:
    """Return the variables of roles that the playbooks set, each with the variable of the playbooks to set instead.

    The text is empty if the value comes from several variables, or from something else.

    :param settings: the variables of roles in the files of ``playbooks/vars/``.
    :param options: the names of the playbooks' variables.
    """
    found = {
        f"{role}_{name}": f"cwagent_{name}" if f"cwagent_{name}" in options else ""
        for role, names in SET_BY_PLAYS.items()
        for name in names
    }
    for name, template in settings.items():
        if not name.startswith("__"):
            words = re.findall(r"\w[\w.]*", str(template))
            named = {found.get(word, word.replace("__cwagent.", "cwagent_")) for word in words}.intersection(options)
            found[name] = named.pop() if len(named) == 1 else ""
    return found


def _run_value(given: Given, name: str, option: Mapping[str, Any], problems: Problems) -> Any:
    """Return the value of a variable for the whole run, from anywhere in the inventory, or else its default."""
    found = {source: problems.check(to_typed, name, option, value) for source, value in _places(given, name).items()}
    values = {source: value for source, value in found.items() if value is not None}
    if not values:
        return option.get("default", EMPTY.get(option["type"]))
    first, value = next(iter(values.items()))
    for source, other in values.items():
        if other != value:
            problems.add(
                f"{name} is {quote(value)} for {first} and {quote(other)} for {source}; a run has one value for all."
            )
            break
    return value


def _places(given: Given, name: str) -> dict[str, Any]:
    """Return where a variable of the run is set, with its value there."""
    places = {"the controller": given.controller, **{f"host {host}": each for host, each in given.hosts.items()}}
    return {place: variables[name] for place, variables in places.items() if name in variables}


def _complete_batches(given: Given, run: dict[str, Any], problems: Problems) -> None:
    """Set the defaults for batches of servers or of accounts, and report values that Ansible would refuse."""
    unit, size, percentage = ("servers", SOME, 0) if _applies(given) else ("accounts", ALL, ALL_PERCENT)
    wrong = next((each for each in run["batch_size"] if not re.fullmatch(_BATCH, each)), None)
    if wrong is not None:
        problems.add(
            f"cwagent_batch_size is {quote(wrong)}; it must be a number of {unit}, a share such as 20%, or a list of "
            "numbers and shares."
        )
    if wrong is not None or not run["batch_size"]:
        run["batch_size"] = [size]
    if given.accounts and wrong is None:
        _check_batches_of_accounts(given, run, problems)
    failing = run["max_fail_percentage"]
    if failing is None or RESTORE in given.requires:  # every window is to be closed
        run["max_fail_percentage"] = percentage
    elif not 0 <= failing <= ALL_PERCENT:
        problems.add(f"cwagent_max_fail_percentage is {failing}; it must be between 0 and {ALL_PERCENT}.")
        run["max_fail_percentage"] = percentage


def _check_batches_of_accounts(given: Given, run: Mapping[str, Any], problems: Problems) -> None:
    """Report accounts with different batch sizes, because Ansible divides all accounts at once."""
    option = given.options[BATCH_SIZE]
    sizes = {
        account: problems.check(to_typed, BATCH_SIZE, option, variables.get(BATCH_SIZE)) or [ALL]
        for account, variables in given.accounts.items()
    }
    sizes[given.controller_host] = run["batch_size"]
    first, size = next(iter(sizes.items()))
    other = next((account for account in sizes if sizes[account] != size), None)
    if other is not None:
        problems.add(
            f"{BATCH_SIZE} must be the same for all accounts, but is {', '.join(size)} for {first} and "
            f"{', '.join(sizes[other])} for {other}."
        )


class _Regions:
    """The region of each host, and the default region for anything that belongs to no host."""

    def __init__(self, given: Given, account: Mapping[str, Any], problems: Problems) -> None:
        self._of = {host: _region_of(given, host, problems) for host in given.hosts}
        on_controller = problems.check(checked_region, "cwagent_region", given.controller.get("cwagent_region"))
        needs_region = CONFIGS_ONLY not in given.requires
        of_account = on_controller or next(iter(account["regions"]), "")
        default = of_account or (problems.check(_default_region, given, account["aws_profile"]) if needs_region else "")
        # IAM is the same in all regions, so any region of the hosts serves where the controller has none.
        self.default: str = default or next(filter(None, self._of.values()), "")
        if needs_region and not self.default and on_controller is not None and default is not None:
            problems.add(
                "There is no AWS region. Set cwagent_region for the hosts, or AWS_REGION, or a region in the profile "
                "of the AWS configuration."
            )

    def region_of(self, host: str) -> str:
        """Return the region of a host."""
        return self._of.get(host) or self.default

    def regions_of(self, hosts: Iterable[str]) -> list[str]:
        """Return the regions of hosts, each once, or the default region if there are no hosts."""
        return list(dict.fromkeys(map(self.region_of, hosts))) or [self.default]


def _region_of(given: Given, host: str, problems: Problems) -> str:
    """Return the region in a host's variables; empty if they contain none."""
    variables = given.of_host(host)
    value, where = variables.get("cwagent_region"), given.where(host, "cwagent_region")
    region = problems.check(checked_region, "cwagent_region", value, where=where)
    if region:
        return region
    # Inventories of other clouds have a placement of another kind.
    placement = variables.get("placement")
    in_placement = placement.get("region") if isinstance(placement, dict) else None
    found = placement if isinstance(placement, Undefined) else in_placement
    return problems.check(checked_region, "placement.region", found, where=f"Host {host}: ") or ""


def _default_region(given: Given, profile: str) -> str:
    return checked_region("The default region of the AWS tools", given.find_default_region(profile))


def _instances(given: Given, problems: Problems) -> dict[str, str]:
    """Return by EC2 host the ID of its instance, without the hosts that have no valid ID."""
    hosts = given.members(EC2_SERVERS, EC2_ADMIN)
    found = {
        host: problems.check(checked_instance_id, given.of_host(host).get("instance_id"), where=f"Host {host}: ")
        for host in hosts
    }
    return {host: instance_id for host, instance_id in found.items() if instance_id}


def _server_user(run: Mapping[str, Any], host: str) -> str:
    return SERVER_USER if run["onprem_users"] == "shared" else f"{SERVER_USER}-{host}"


def _users(
    given: Given, group: str, variable: str, default: Callable[[str], str], problems: Problems
) -> dict[str, str]:
    """Return by host of a group the name of its user, without the hosts that have no valid name."""
    found = {
        host: problems.check(
            _user, variable, given.of_host(host).get(variable), default(host), where=given.where(host, variable)
        )
        for host in given.members(group)
    }
    users = {host: user for host, user in found.items() if user}
    problems.check(_names.check_different, users.values(), where=f"{variable}: ")
    return users


def _user(variable: str, value: Any, default: str) -> str:
    user = to_typed(variable, TEXT, value) or default
    try:
        _names.check_name("user", user)
    except InvalidInput as error:
        raise InvalidInput(f"{error} Set {variable} for this host.") from error
    return str(user)


def _by_region(items: Mapping[str, str], regions: _Regions) -> dict[str, list[str]]:
    """Return the items of hosts by region. An item that several hosts share is in the region of the first host."""
    region_of: dict[str, str] = {}
    for host, item in items.items():
        region_of.setdefault(item, regions.region_of(host))
    found: dict[str, list[str]] = defaultdict(list)
    for item, region in region_of.items():
        found[region].append(item)
    return dict(found)


def _onprem_hosts(
    given: Given, users: Mapping[str, str], regions: _Regions, problems: Problems
) -> dict[str, dict[str, Any]]:
    """Return by server its user, the region where the user's key is saved, and whether the key is delivered."""
    name = "cwagent_deliver_keys"
    for_all = problems.check(to_typed, name, given.options[name], given.controller.get(name))
    saved_in: dict[str, str] = {}
    hosts = {}
    for host, user in users.items():
        value, where = given.of_host(host).get(name), given.where(host, name)
        own = problems.check(to_typed, name, given.options[name], value, where=where)
        deliver = for_all if own is None else own
        region = saved_in.setdefault(user, regions.region_of(host))
        hosts[host] = {"user": user, "region": region, "deliver": bool(deliver)}
    return hosts


def _texts(given: Given, hosts: Iterable[str], name: str, problems: Problems) -> dict[str, str]:
    """Return by host the text in a variable of the host."""
    return {
        host: problems.check(to_typed, name, TEXT, given.of_host(host).get(name), where=given.where(host, name)) or ""
        for host in hosts
    }


def _with_rotated_keys(given: Given, hosts: Iterable[str]) -> list[str]:
    """Return the hosts that ``--limit`` leaves, or all hosts if it contains only accounts."""
    is_limited = not given.accounts or _apply_limit(given, given.members(*GROUPS))
    return _apply_limit(given, hosts) if is_limited else list(hosts)


def _rotation(inputs: Mapping[str, Any], servers: Mapping[str, str], rotated: Collection[str]) -> dict[str, Any]:
    """Return the changes of the input for a rotation of keys, with only the rotated users and all their hosts.

    The key of a user that several hosts share is saved in the region of the first host, even if the limit excludes it.
    """
    hosts = [host for host, user in servers.items() if user in rotated]
    not_delivered = {*inputs["undelivered_hosts"], *(host for host in hosts if host not in inputs["delivery_hosts"])}
    return {
        "admin_users": _select_users(inputs["admin_users"], rotated),
        "rotated_hosts": {
            "delivered": [host for host in hosts if host not in not_delivered],
            "undelivered": [host for host in hosts if host in not_delivered],
        },
        "server_users": _select_users(inputs["server_users"], rotated),
        "undelivered_hosts": [host for host in inputs["undelivered_hosts"] if host in hosts],
    }


def _revocation(inputs: Mapping[str, Any]) -> list[str]:
    """Return a notice of the servers whose agents cannot send until they have their new access keys."""
    if not (inputs["revoke_old"] and inputs["server_users"]):
        return []
    delivered, undelivered = (", ".join(inputs["rotated_hosts"][each]) for each in ("delivered", "undelivered"))
    text = (
        "Each access key that this run replaces is deactivated as soon as the new one is saved. Until the server has "
        "the new one, its agent cannot send."
    )
    if delivered:
        text += f" This run delivers the new access key to: {delivered}."
    if undelivered:
        text += f" It does not deliver to these, so do that yourself: {undelivered}."
    return [text]


@dataclass(frozen=True)
class _Members:
    """The server users, admin users and instances of hosts, by host, and the regions of hosts."""

    servers: Mapping[str, str]
    admins: Mapping[str, str]
    instances: Mapping[str, str]
    regions: _Regions


def _leaving_servers(given: Given, inputs: Mapping[str, Any], members: _Members, problems: Problems) -> dict[str, Any]:
    """Return the users and instances of the servers that leave, by region, and the hosts with their keys.

    A name that no server in the inventory has is an instance ID, a user name, or the name of a host that has left. The
    result also contains the default user of such a host, and ``default_users`` maps the name to it. IAM knows which of
    the two users exists.
    """
    servers, instances = members.servers, members.instances
    entries = [entry.rpartition(":")[::2] for entry in dict.fromkeys(inputs["remove_servers"])]
    hosts = [name for _in, name in entries if name in servers or name in instances]
    for host in hosts:
        problems.check(_check_leaving_host, given, host)
    users_that_stay = {user: host for host, user in {**members.admins, **servers}.items() if host not in hosts}
    remaining = {**users_that_stay, **{instances[host]: host for host in instances if host not in hosts}}
    on_premises = [host for host in hosts if host in servers]
    kept = {host: servers[host] for host in on_premises if servers[host] in remaining}
    users = _select_users(inputs["server_users"], {servers[host] for host in on_premises} - remaining.keys())
    leaving = _by_region({host: instances[host] for host in hosts if host in instances}, members.regions)
    named = {*_flatten(users), *(name for _in, name in entries)}
    default_users: dict[str, str] = {}
    for region, name in entries:
        if name not in hosts and problems.check(_check_leaving_name, name, remaining):
            found = leaving if _is_instance_id(name) else users
            in_region = problems.check(_region_of_entry, region, name, inputs)
            default = _default_user(name, {*remaining, *named})
            if in_region and default:
                default_users[name] = default
            for each in [name, default] if default else [name]:
                # The key of one user can be saved in several regions.
                if in_region and each not in (found.get(in_region, ()) if region else _flatten(found)):
                    found.setdefault(in_region, []).append(each)
    delivered = [host for host in on_premises if host in inputs["delivery_hosts"]]
    undelivered = [host for host in on_premises if host not in delivered]
    return {
        "default_users": default_users,
        "instances": leaving,
        "remaining_instances": _by_region(
            {host: instances[host] for host in instances if host not in hosts}, members.regions
        ),
        "key_hosts": _apply_limit(given, delivered),
        "notes": [
            *(_kept_note(host, user, remaining[user]) for host, user in kept.items()),
            *([_undelivered_note(undelivered)] if undelivered else []),
            *(
                [f"Take {', '.join(hosts)} out of the inventory: cwagent.iam.site would manage it again."]
                if hosts
                else []
            ),
        ],
        "users": users,
    }


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
        _names.check_name("user", user)
    except InvalidInput:  # it is too long
        return ""
    return user


def _is_instance_id(name: str) -> bool:
    try:
        _names.check_instance_id(name)
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
        _names.check_name("user", name)
    except InvalidInput as error:
        raise InvalidInput(f"cwagent_remove_servers: {error}") from error
    return True


def _region_of_entry(region: str, name: str, inputs: Mapping[str, Any]) -> str:
    """Return the region of a user or an instance that no host has. Users and files with keys need none."""
    named = checked_region("cwagent_remove_servers", region)
    is_nowhere = not _is_instance_id(name) and inputs["key_store"] == "file"
    if named or len(inputs["regions"]) == 1 or is_nowhere:
        return named or str(inputs["regions"][0])
    raise InvalidInput(
        f"cwagent_remove_servers: the region of '{name}' is not known. Put it before the name, such as "
        f"{inputs['regions'][0]}:{name}."
    )


def _kept_note(host: str, user: str, other: str) -> str:
    return (
        f"User '{user}' of {host} was kept, because {other} has it too. {host} knows its access key: "
        "cwagent.iam.rotate_keys replaces it."
    )


def _undelivered_note(hosts: Iterable[str]) -> str:
    return f"The access key on {', '.join(hosts)} was not looked for: cwagent_deliver_keys is not set."


def _select_users(by_region: Mapping[str, Sequence[str]], chosen: Collection[str]) -> dict[str, list[str]]:
    found = {region: [user for user in users if user in chosen] for region, users in by_region.items()}
    return {region: users for region, users in found.items() if users}


def _servers(
    given: Given,
    instances: Mapping[str, str],
    users: Mapping[str, str],
    regions: _Regions,
    problems: Problems,
) -> list[dict[str, Any]]:
    """Return the servers that ``--limit`` leaves, each with its identity and the configurations that it uses."""
    identities = {
        **{host: {"user": user} for host, user in users.items()},
        **{host: {"instance_id": instance_id} for host, instance_id in instances.items()},
    }
    return [
        {
            "host": host,
            "region": regions.region_of(host),
            **identities[host],
            "configs": _config_names(given, host, problems),
        }
        for host in _apply_limit(given, identities)
    ]


def _config_names(given: Given, host: str, problems: Problems) -> list[str]:
    where = given.where(host, CONFIG_NAMES)
    names = problems.check(
        to_typed, CONFIG_NAMES, given.options[CONFIG_NAMES], given.of_host(host).get(CONFIG_NAMES), where=where
    )
    problems.check(_check_each, names or (), where=f"{where}{CONFIG_NAMES}: ")
    return list(names or ())


def _check_each(names: Iterable[str]) -> None:
    for name in names:
        check_parameter_name(name)


def _to_absolute(given: Given, run: Mapping[str, Any], name: str, problems: Problems) -> str:
    """Return the absolute path of a file or folder on the controller. Modules run in the folder of the playbook."""
    path: str = run[name]
    return problems.check(given.to_absolute, path, where=f"cwagent_{name}: ") or path


def _report_files(given: Given, run: Mapping[str, Any], problems: Problems) -> dict[str, Any]:
    """Return the files that this playbook writes, and notices of the files that it skips."""
    need = next((each for each in REPORT_FORMATS if each in given.requires and ONE_ACCOUNT not in given.requires), "")
    has_own_files = given.accounts and need != AUDIT  # an audit writes one report on all accounts
    files, notices = sort_by_format(
        REPORT_FILES,
        run["report_files"],
        REPORT_FORMATS.get(need, ()),
        "this playbook",
        problems,
        to_absolute=given.to_absolute,
        suffix=f"-{given.controller_host}" if has_own_files else "",
    )
    return {"report_files": _flatten(files), "report_files_by_format": files, "notices": notices}


def _apply_limit(given: Given, hosts: Iterable[str]) -> list[str]:
    """Return the hosts that ``--limit`` leaves."""
    return [host for host in hosts if given.limit is None or host in given.limit]


def _configs(given: Given, run: Mapping[str, Any], regions: _Regions, problems: Problems) -> list[dict[str, Any]]:
    """Return the configurations to store, with the absolute paths of their files, and the regions that entries list."""
    if run["configs"] and run["config_file"]:
        file_for, listed_for = (
            next(f" ({place})" for place, value in _places(given, name).items() if not is_blank(value))
            for name in ("cwagent_config_file", "cwagent_configs")
        )
        if file_for == listed_for:
            file_for = listed_for = ""
        problems.add(
            f"cwagent_config_file{file_for} and cwagent_configs{listed_for} are both set, so it is not clear what to "
            "store. Set only one of the two. An extra variable (-e) counts beside the inventory's."
        )
    elif run["configs"] and run["parameter_name"] != given.options["cwagent_parameter_name"]["default"]:
        problems.add(
            f"cwagent_parameter_name is '{run['parameter_name']}', but each entry of cwagent_configs has its own name. "
            "Unset cwagent_parameter_name."
        )
    if run["configs"]:
        variable, entries = "cwagent_configs", run["configs"]
    else:
        variable, file = "cwagent_config_file", run["config_file"]
        entries = [{"name": run["parameter_name"], "file": file}] if file else []
    problems.check(check_config_regions, variable, entries)
    everywhere = regions.regions_of(given.members(*GROUPS))
    stored = Counter((entry["name"], each) for entry in entries for each in {*entry.get("regions", everywhere)})
    for name in sorted({name for (name, _region_name), count in stored.items() if count > 1}):
        problems.add(f"cwagent_configs has a duplicate parameter name: {name}.")
    return [
        {**entry, "file": problems.check(given.find_file, entry["file"], where=f"{variable}: ") or ""}
        for entry in entries
    ]


def _storing(given: Given, inputs: Mapping[str, Any], regions: _Regions) -> dict[str, Any]:
    """Return whether a host stores or opens the window for a person, which host it is, and from which source."""
    opens, source = ADMIN_INSTANCE in given.requires, inputs["store_config_from"]
    if opens:
        source = "run_command" if given.accounts else "instance"  # regardless of the variable
    group = {**dict.fromkeys(FROM_INSTANCE, EC2_ADMIN), "onprem": ONPREM_ADMIN}.get(source)
    host = next(iter(given.members(group)), "") if group else LOCALHOST
    return {
        "store_config_from": source,
        "stores": bool(host and (inputs["configs"] or opens)),
        # Nothing connects to the hosts of other accounts.
        "storing_host": LOCALHOST if given.accounts or not host else host,
        "storing_region": regions.region_of(host),
    }


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
        *([f"The limit leaves out {', '.join(limited)}, so the access key there was not changed."] if limited else []),
        *inputs.get("removal", {}).get("notes", ()),
    ]


def _check_groups(given: Given, inputs: Mapping[str, Any], problems: Problems) -> None:
    """Report groups without hosts, and groups of admin hosts with too many or too few hosts."""
    if WITHOUT_STORING & {*given.requires}:
        return
    source = inputs["store_config_from"]
    ec2_admins, onprem_admins = given.members(EC2_ADMIN), given.members(ONPREM_ADMIN)
    if not given.groups.get("all"):
        problems.add("The inventory has no hosts. Pass an inventory with hosts.")
        return
    if given.found is None and has_filters(inputs["account"]):
        return  # it is checked again with the instances that were found
    if not given.members(*GROUPS) and not (source == "controller" and inputs["configs"]) and given.found is None:
        problems.add(_no_hosts(given))
        return
    needs_instance = ADMIN_INSTANCE in given.requires or (source in FROM_INSTANCE and inputs["configs"])
    lacks_instance = needs_instance and not ec2_admins and (given.members(*GROUPS) or given.found is None)
    if len(ec2_admins) > 1 and not needs_instance:
        problems.add(f"The group {EC2_ADMIN} must have at most one host, but has {', '.join(ec2_admins)}.")
    elif len(ec2_admins) > 1 or lacks_instance:
        problems.add(
            f"The group {EC2_ADMIN} must have exactly one host, the instance that stores the configuration, but has "
            f"{', '.join(ec2_admins) or 'none'}. {_admin_advice(given)}"
        )
    if len(onprem_admins) > 1 or (source == "onprem" and not onprem_admins):
        problems.add(
            f"The group {ONPREM_ADMIN} must have at most one host, and exactly one when cwagent_store_config_from is "
            f"onprem, but has {', '.join(onprem_admins) or 'none'}."
        )


def _no_hosts(given: Given) -> str:
    groups = ", ".join(GROUPS)
    if not given.accounts:
        return f"No host of the inventory is in one of the groups {groups}."
    return (
        f"Account {given.controller_host} has no servers: no host of the inventory in one of the groups {groups} has "
        "it as cwagent_account, and cwagent_account_server_filters is not set."
    )


def _admin_advice(given: Given) -> str:
    if given.accounts:
        return (
            f"For account {given.controller_host}, set cwagent_account_admin_instance_id or "
            "cwagent_account_admin_filters, or cwagent_account for exactly one host of the group."
        )
    if given.in_awx:
        return "In AWX, each slice of a job sees only some of the hosts; set job_slice_count to 1."
    return "To store it from another host, set cwagent_store_config_from."


def _check_conflicts(inputs: Mapping[str, Any], problems: Problems) -> None:
    """Report names that are used for two things."""
    if inputs["server_role_name"].lower() == inputs["admin_role_name"].lower():
        problems.add(
            f"cwagent_admin_role_name and cwagent_server_role_name are both '{inputs['admin_role_name']}': every "
            "server could write to Parameter Store."
        )
    servers = {user.lower() for user in _flatten(inputs["server_users"])}
    for user in _flatten(inputs["admin_users"]):
        if user.lower() in servers:
            problems.add(
                f"'{user}' would be both a server user and the admin user. Set another cwagent_user_name or "
                "cwagent_admin_user_name for the host."
            )


def _check_requirements(given: Given, inputs: Mapping[str, Any], problems: Problems) -> None:
    """Report the inputs that this playbook requires and that are missing."""
    if given.stores and inputs["on_other_profile"] == ATTACH and not inputs["attach_to_roles"]:
        problems.add(
            "cwagent_on_other_profile is attach, so set cwagent_attach_to_roles to the roles that may get the agent's "
            "policy."
        )
    if {CONFIGS, CONFIGS_ONLY} & {*given.requires} and not inputs["configs"]:
        problems.add("There is no configuration. Set cwagent_config_file or cwagent_configs.")
    if CONFIRMATION in given.requires and inputs["confirm"] != "teardown":
        problems.add(
            "This deletes the roles, instance profiles, users, access keys, credentials files and stored "
            "configurations of this inventory. To confirm, set cwagent_confirm to teardown."
        )
    if SERVERS in given.requires and not inputs["servers"] and not has_filters(inputs["account"]):
        if given.members(EC2_SERVERS, EC2_ADMIN, ONPREM_SERVERS):
            problems.add(
                "The limit leaves out all hosts of the groups cwagent_ec2_servers, cwagent_ec2_admin and "
                "cwagent_onprem_servers. Name the servers to check in it."
            )
        else:
            problems.add(
                "There are no servers: no host of the inventory is in one of the groups cwagent_ec2_servers, "
                "cwagent_ec2_admin and cwagent_onprem_servers."
            )


def _check_removal(given: Given, inputs: Mapping[str, Any], problems: Problems) -> None:
    """Report the inputs that the removal of servers requires and that are missing."""
    if REMOVAL not in given.requires:
        return
    if not inputs["remove_servers"]:
        problems.add(
            "No server is named. Set cwagent_remove_servers to the hosts, users or instance IDs of the servers that "
            "leave."
        )
    elif inputs["confirm"] != "remove_servers":
        removal = inputs["removal"]
        defaults = removal["default_users"]
        named = [user for user in dict.fromkeys(_flatten(removal["users"])) if user not in defaults.values()]
        users = [f"{user} ({defaults[user]} if there is no such user)" if user in defaults else user for user in named]
        instances = dict.fromkeys(_flatten(removal["instances"]))
        problems.add(
            "This deletes users with their access keys and saved keys, and takes the instance profiles from instances. "
            f"Users: {', '.join(users) or 'none'}. Instances: {', '.join(instances) or 'none'}. "
            "To confirm, set cwagent_confirm to remove_servers."
        )


def _check_limit(given: Given, inputs: Mapping[str, Any], problems: Problems) -> None:
    """Report hosts that this playbook needs and that the limit leaves out."""
    if given.accounts:
        return  # the hosts of accounts do all the work without a connection
    host, stores = inputs["storing_host"], inputs["stores"] and not {*WITHOUT_STORING, ROTATION} & {*given.requires}
    if stores and given.limit is not None and host not in given.limit:
        problems.add(f"The limit leaves out host {host}, which stores the configuration. Run without it.")
    with_keys = given.members(ONPREM_SERVERS, ONPREM_ADMIN)
    if ROTATION in given.requires and with_keys and not _apply_limit(given, with_keys):
        problems.add(
            f"The limit leaves out all hosts of the groups {ONPREM_SERVERS} and {ONPREM_ADMIN}. Name the hosts whose "
            "access keys to replace in it."
        )


def _check_values(given: Given, inputs: Mapping[str, Any], problems: Problems) -> None:
    """Report values that AWS would refuse, and places where access keys cannot be saved."""

    def check(variable: str, do_check: Callable[..., Any], *arguments: Any) -> None:
        problems.check(do_check, *arguments, where=f"{variable}: ")

    check("cwagent_server_role_name", _names.check_name, "role", inputs["server_role_name"])
    check("cwagent_admin_role_name", _names.check_name, "role", inputs["admin_role_name"])
    for name in inputs["attach_to_roles"]:
        check("cwagent_attach_to_roles", _names.check_name, "role", name)
    check("cwagent_parameter_name", check_parameter_name, inputs["parameter_name"])
    for config in inputs["configs"]:
        if config["name"] != inputs["parameter_name"]:
            check("cwagent_configs", check_parameter_name, config["name"])
    check("cwagent_audit_regions", lambda regions: [*map(_names.check_region, regions)], inputs["audit_regions"])
    _check_keys(given, inputs, problems)
    _check_revocation(given, inputs, problems)
    boundary, partition = inputs["permissions_boundary"], _names.partition_of(inputs["region"])
    if boundary and boundary != REMOVE_BOUNDARY:
        problems.check(_names.check_policy_arn, boundary, partition, "cwagent_permissions_boundary")
    check("cwagent_iam_path", _names.check_path, inputs["iam_path"] or None)
    check("cwagent_tags", _names.check_tags, {str(key): str(value) for key, value in inputs["tags"].items()})
    check("cwagent_parameter_tags", _names.check_tags, _names.tags_as_text(inputs["parameter_tags"]))
    check("cwagent_admin_window_minutes", check_minutes, inputs["admin_window_minutes"])
    of_hosts = {given.where(host, ENVIRONMENT): variables for host, variables in given.hosts.items()}
    for where, variables in {"": given.controller, **of_hosts}.items():
        if not is_blank(variables.get(ENVIRONMENT)):
            problems.check(check_environment, ENVIRONMENT, variables[ENVIRONMENT], where=where)


def _check_keys(given: Given, inputs: Mapping[str, Any], problems: Problems) -> None:
    """Report an age of access keys without a meaning, and a place that does not keep them secret."""
    problems.check(check_days, "cwagent_key_max_age_days", inputs["key_max_age_days"], 0)
    if ROTATION in given.requires and inputs["key_max_age_days"] == 0 and not inputs["rotate_now"]:
        problems.add(
            "cwagent_key_max_age_days is 0, which means no limit and is only for cwagent.iam.audit. Set the age in "
            "days at which to replace an access key. To replace all keys now, set cwagent_rotate_now to true."
        )
    problems.check(check_days, "cwagent_key_retire_after_days", inputs["key_retire_after_days"], 0)
    users = _all_users(inputs)
    if not users:
        return
    saves, store = KEY_STORE in given.requires, inputs["key_store"]
    place = "cwagent_key_store_directory" if store == "file" else "cwagent_key_store_prefix"
    keys = (store, inputs["key_store_directory"], inputs["key_store_prefix"], users, inputs["region"])
    # The playbooks that save nothing run in any container.
    allowed = inputs["key_store_allow_ephemeral"] or not saves
    problems.check(partial(check_key_store, allow_ephemeral=allowed), *keys, where=f"{place}: ")
    if saves:
        problems.check(check_kms_key, "cwagent", store, inputs["ssm_policy"], inputs["key_store_kms_key_id"])


def _check_revocation(given: Given, inputs: Mapping[str, Any], problems: Problems) -> None:
    has_batches = inputs["batch_size"] != [ALL] and len(_apply_limit(given, given.accounts)) > 1
    if ROTATION in given.requires and inputs["revoke_old"] and has_batches:
        problems.add(
            "cwagent_revoke_old is set, and cwagent_batch_size is not 100%. New access keys are delivered after the "
            "last batch, and until then the agents of the first one could not send. Limit the run to one account, or "
            "set the size to 100%."
        )


def _all_users(inputs: Mapping[str, Any]) -> list[str]:
    return [*_flatten(inputs["server_users"]), *_flatten(inputs["admin_users"])]


def _flatten(by_region: Mapping[str, Sequence[str]]) -> list[str]:
    return [each for items in by_region.values() for each in items]
