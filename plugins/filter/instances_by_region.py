# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: instances_by_region
author: cwagent.iam contributors (@cwagent)
version_added: 1.0.0
short_description: (internal) Group the EC2 instances of an inventory by region
description:
  - Returns a mapping from region to a list of instance IDs, as the role P(cwagent.iam.ec2_server#role) takes it.
  - The ID of a host is in C(instance_id). Its region is in C(cwagent_region) or, from the C(amazon.aws.aws_ec2)
    inventory, in C(placement.region). Otherwise it is O(default_region).
positional: hostvars
options:
  _input:
    description: The names of the hosts.
    type: list
    elements: str
    required: true
  hostvars:
    description: The variables of all hosts, C(hostvars).
    type: dict
    required: true
  default_region:
    description: The region of hosts without one. When empty, the key of these hosts is the empty string.
    type: str
    default: ""
"""

EXAMPLES = r"""
ec2_server_instances: "{{ groups['webservers'] | cwagent.iam.instances_by_region(hostvars) }}"
# => {"eu-central-1": ["i-0123456789abcdef0", "i-0123456789abcdef1"]}
"""

RETURN = r"""
_value:
  description: The IDs of the instances by region, in the order of the hosts.
  type: dict
"""

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
