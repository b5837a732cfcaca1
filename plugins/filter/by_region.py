# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Groups the instances of an inventory by region, in the format of the modules' options."""

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
    """Return the IDs of the hosts' EC2 instances by region. An ID of several hosts is in the region of the first one.

    :raises AnsibleFilterError: some hosts have no ID. The message lists them.
    """
    ids = {host: _text(hostvars[host], "instance_id") for host in hosts}
    without = sorted(host for host, instance_id in ids.items() if not instance_id)
    if without:
        raise AnsibleFilterError(f"These hosts have no instance_id: {', '.join(without)}.")
    region_of: dict[str, str] = {}
    for host, instance_id in ids.items():
        region_of.setdefault(instance_id, _region_of(hostvars[host]) or default_region)
    grouped: dict[str, list[str]] = defaultdict(list)
    for instance_id, region in region_of.items():
        grouped[region].append(instance_id)
    return dict(grouped)


class FilterModule:
    """The filters in this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"instances_by_region": instances_by_region}
