# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Turns an inventory into what the modules take: one list for each region."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ansible.errors import AnsibleFilterError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def _region_of(host: Mapping[str, Any]) -> str:
    """The region of a host: what the user says, or the ``amazon.aws.aws_ec2`` inventory; empty where neither does."""
    placement = host.get("placement")
    told = placement.get("region") if isinstance(placement, Mapping) else None
    return _text(host, "cwagent_region") or str(told or "")


def _text(host: Mapping[str, Any], variable: str) -> str:
    """A variable of a host; blanks, as from a survey, are as good as nothing."""
    return str(host.get(variable) or "").strip()


def instances_by_region(
    hosts: Iterable[str], hostvars: Mapping[str, Mapping[str, Any]], default_region: str = ""
) -> dict[str, list[str]]:
    """By region, the ids of the EC2 instances among the hosts.

    :raises AnsibleFilterError: it names the hosts that have none.
    """
    ids = {host: _text(hostvars[host], "instance_id") for host in hosts}
    without = sorted(host for host, instance_id in ids.items() if not instance_id)
    if without:
        raise AnsibleFilterError(f"These hosts have no instance_id: {', '.join(without)}.")
    return _by_region(ids, hostvars, default_region)


def users_by_region(
    hosts: Iterable[str],
    hostvars: Mapping[str, Mapping[str, Any]],
    name: str,
    *,
    per_host: bool = True,
    default_region: str = "",
    name_variable: str = "cwagent_user_name",
) -> dict[str, list[str]]:
    """By region, the names of the IAM users for the hosts.

    :param name: the name of the user, or its beginning where every host has its own.
    :param name_variable: the variable by which a host names its user itself.
    """

    made = {host: f"{name}-{host}" if per_host else name for host in hosts}
    users = {host: _text(hostvars[host], name_variable) or user for host, user in made.items()}
    return _by_region(users, hostvars, default_region)


def _by_region(
    items: Mapping[str, str], hostvars: Mapping[str, Mapping[str, Any]], default_region: str
) -> dict[str, list[str]]:
    """By region, what belongs to the hosts; what several hosts share comes once, in the region of the first."""
    found: dict[str, list[str]] = defaultdict(list)
    seen: set[str] = set()
    for host, item in items.items():
        if item not in seen:
            found[_region_of(hostvars[host]) or default_region].append(item)
            seen.add(item)
    return dict(found)


class FilterModule:
    """The filters in this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """By name, the filters."""
        return {"instances_by_region": instances_by_region, "users_by_region": users_by_region}
