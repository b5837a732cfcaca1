# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Groups the instances and users of an inventory by region, as the modules take them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ansible.errors import AnsibleFilterError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def _region_of(host: Mapping[str, Any]) -> str:
    """Return the region of a host, from the user or from the ``amazon.aws.aws_ec2`` inventory; empty if unknown."""
    placement = host.get("placement")
    from_inventory = placement.get("region") if isinstance(placement, Mapping) else None
    return _text(host, "cwagent_region") or str(from_inventory or "")


def _text(host: Mapping[str, Any], variable: str) -> str:
    """Return a variable of a host without surrounding blanks, which a survey can leave."""
    return str(host.get(variable) or "").strip()


def instances_by_region(
    hosts: Iterable[str], hostvars: Mapping[str, Mapping[str, Any]], default_region: str = ""
) -> dict[str, list[str]]:
    """Return the IDs of the hosts' EC2 instances by region.

    :raises AnsibleFilterError: it names the hosts without one.
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
    """Return the names of the hosts' IAM users by region.

    :param name: the name of the user, or its prefix where every host has its own.
    :param name_variable: the host variable that overrides the name.
    """
    default_names = {host: f"{name}-{host}" if per_host else name for host in hosts}
    users = {host: _text(hostvars[host], name_variable) or default for host, default in default_names.items()}
    return _by_region(users, hostvars, default_region)


def _by_region(
    items: Mapping[str, str], hostvars: Mapping[str, Mapping[str, Any]], default_region: str
) -> dict[str, list[str]]:
    """Group items by the region of their hosts; an item of several hosts is listed once, in the region of the first."""
    grouped: dict[str, list[str]] = defaultdict(list)
    seen: set[str] = set()
    for host, item in items.items():
        if item not in seen:
            grouped[_region_of(hostvars[host]) or default_region].append(item)
            seen.add(item)
    return dict(grouped)


class FilterModule:
    """The filters in this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"instances_by_region": instances_by_region, "users_by_region": users_by_region}
