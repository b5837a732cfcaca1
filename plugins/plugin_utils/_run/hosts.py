# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hosts with their regions, instances and users. Pure."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...module_utils._configuration.parameter_plan import check_parameter_name
from ...module_utils._ground.errors import InvalidInput
from ...module_utils._ground.names import check_different, check_name, check_tag
from ...module_utils._servers.node import HOST_TAG
from .given import CONFIGS_ONLY, EC2_ADMIN, EC2_SERVERS, TEXT, checked_instance_id, checked_region
from .run import OnpremHost
from .values import Problems, Undefined, is_blank, to_typed

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from .given import Given
    from .run import AccountVariables


CONFIG_NAMES = "cwagent_config_names"
IDENTITY, KEY, HYBRID = "cwagent_onprem_identity", "key", "hybrid"
DELIVER_KEYS = "cwagent_deliver_keys"
SERVER_USER, ADMIN_USER = "CloudWatchAgentServerUser", "CloudWatchAgentAdminUser"


class Regions:
    """The region of each host, and the default region for anything that belongs to no host."""

    def __init__(self, given: Given, account: AccountVariables, problems: Problems) -> None:
        self._of = {host: _region_of(given, host, problems) for host in given.hosts}
        on_controller = problems.check(checked_region, "cwagent_region", given.controller.get("cwagent_region"))
        needs_region = CONFIGS_ONLY not in given.requires
        of_account = on_controller or next(iter(account.regions), "")
        default = of_account or (problems.check(_default_region, given, account.aws_profile) if needs_region else "")
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


@dataclass(frozen=True)
class Members:
    """The hosts of the groups: by host, its server user, admin user, instance or credentials, and the regions.

    A server on premises has a server user and credentials.
    """

    servers: Mapping[str, str]
    admins: Mapping[str, str]
    instances: Mapping[str, str]
    onprem_hosts: Mapping[str, OnpremHost]
    regions: Regions

    @property
    def with_keys(self) -> dict[str, str]:
        """By server, the users of servers with access keys."""
        return {host: each.user for host, each in self.onprem_hosts.items() if each.identity == KEY}

    @property
    def retired(self) -> dict[str, str]:
        """By server, the users that only hybrid servers had before."""
        kept = self.with_keys.values()
        return {
            host: each.user
            for host, each in self.onprem_hosts.items()
            if each.identity == HYBRID and each.user not in kept
        }


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


def read_instance_ids(given: Given, problems: Problems) -> dict[str, str]:
    """Return by EC2 host the ID of its instance, without the hosts that have no valid ID."""
    hosts = given.members(EC2_SERVERS, EC2_ADMIN)
    found = {
        host: problems.check(checked_instance_id, given.of_host(host).get("instance_id"), where=f"Host {host}: ")
        for host in hosts
    }
    return {host: instance_id for host, instance_id in found.items() if instance_id}


def default_server_user(run: Mapping[str, Any], host: str) -> str:
    return SERVER_USER if run["onprem_users"] == "shared" else f"{SERVER_USER}-{host}"


def read_user_names(
    given: Given, group: str, variable: str, default: Callable[[str], str], problems: Problems
) -> dict[str, str]:
    """Return by host of a group the name of its user, without the hosts that have no valid name."""
    found = {
        host: problems.check(
            _read_user_name,
            variable,
            given.of_host(host).get(variable),
            default(host),
            where=given.where(host, variable),
        )
        for host in given.members(group)
    }
    users = {host: user for host, user in found.items() if user}
    problems.check(check_different, users.values(), where=f"{variable}: ")
    return users


def _read_user_name(variable: str, value: Any, default: str) -> str:
    user = to_typed(variable, TEXT, value) or default
    try:
        check_name("user", user)
    except InvalidInput as error:
        raise InvalidInput(f"{error} Set {variable} for this host.") from error
    return str(user)


def group_by_region(items: Mapping[str, str], regions: Regions) -> dict[str, list[str]]:
    """Return the items of hosts by region. An item that several hosts share is in the region of the first host."""
    region_of: dict[str, str] = {}
    for host, item in items.items():
        region_of.setdefault(item, regions.region_of(host))
    found: dict[str, list[str]] = defaultdict(list)
    for item, region in region_of.items():
        found[region].append(item)
    return dict(found)


def read_onprem_hosts(
    given: Given, users: Mapping[str, str], regions: Regions, problems: Problems
) -> dict[str, OnpremHost]:
    """Return the servers on premises by host."""
    saved_in: dict[str, str] = {}
    identities = _read_own_or_for_all(given, users, IDENTITY, problems)
    delivers = _read_own_or_for_all(given, users, DELIVER_KEYS, problems)
    hosts = {}
    for host, user in users.items():
        identity, own = identities[host] or KEY, regions.region_of(host)
        if identity == HYBRID:
            problems.check(check_tag, HOST_TAG, host, where=f"Host {host}: ")
        is_delivered = identity == HYBRID or bool(delivers[host])
        hosts[host] = OnpremHost(user, own, saved_in.setdefault(user, own), identity, is_delivered)
    return hosts


def find_key_names(given: Given, onprem_hosts: Mapping[str, OnpremHost], regions: Regions) -> dict[str, list[str]]:
    """Return by region the servers that get an access key in this run, and can have been hybrid servers before.

    Without a hybrid server, only those count whose ``cwagent_onprem_identity`` is set.
    """
    is_mixed = any(each.identity == HYBRID for each in onprem_hosts.values())
    found = [
        host
        for host, each in onprem_hosts.items()
        if each.identity == KEY
        and each.deliver
        and (is_mixed or not all(is_blank(each.get(IDENTITY)) for each in (given.of_host(host), given.controller)))
    ]
    return group_by_region({host: host for host in apply_limit(given, found)}, regions)


def group_users(users: Mapping[str, str], all_users: Mapping[str, str], regions: Regions) -> dict[str, list[str]]:
    """Return users of hosts by the region where their keys are saved.

    :param all_users: by host, the users of all on-premises servers. The first host with a user decides, whatever
        credentials it has now, because a saved key stays where it is.
    """
    found: dict[str, list[str]] = {}
    for region, names in group_by_region(all_users, regions).items():
        chosen = [name for name in names if name in users.values()]
        if chosen:
            found[region] = chosen
    return found


def _read_own_or_for_all(given: Given, hosts: Iterable[str], name: str, problems: Problems) -> dict[str, Any]:
    """Return by host the value of a variable that can be set for the host or for the run."""
    option = given.options[name]
    for_all = problems.check(to_typed, name, option, given.controller.get(name))
    own = {
        host: problems.check(to_typed, name, option, given.of_host(host).get(name), where=given.where(host, name))
        for host in hosts
    }
    return {host: for_all if value is None else value for host, value in own.items()}


def select_users(by_region: Mapping[str, Sequence[str]], chosen: Collection[str]) -> dict[str, list[str]]:
    found = {region: [user for user in users if user in chosen] for region, users in by_region.items()}
    return {region: users for region, users in found.items() if users}


def read_servers_to_check(
    given: Given,
    instances: Mapping[str, str],
    onprem_hosts: Mapping[str, OnpremHost],
    regions: Regions,
    problems: Problems,
) -> list[dict[str, Any]]:
    """Return the servers that ``--limit`` leaves, each with its identity and the configurations that it uses."""
    identities = {
        **{
            host: {"hybrid": True} if each.identity == HYBRID else {"user": each.user}
            for host, each in onprem_hosts.items()
        },
        **{host: {"instance_id": instance_id} for host, instance_id in instances.items()},
    }
    return [
        {
            "host": host,
            "region": regions.region_of(host),
            **identities[host],
            "configs": _config_names(given, host, problems),
        }
        for host in apply_limit(given, identities)
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


def apply_limit(given: Given, hosts: Iterable[str]) -> list[str]:
    """Return the hosts that ``--limit`` leaves."""
    return [host for host in hosts if given.limit is None or host in given.limit]


def flatten(by_region: Mapping[str, Sequence[str]]) -> list[str]:
    return [each for items in by_region.values() for each in items]
