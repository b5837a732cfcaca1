#!/usr/bin/python
# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cwagent_hybrid_nodes
version_added: 1.0.0
short_description: Deregister the nodes of on-premises servers that leave
description:
  - Deregisters nodes of Systems Manager without a connection to their servers, which may be off or gone. The
    credentials of a server then end within an hour. On a server that Ansible reaches,
    M(cwagent.iam.cwagent_hybrid_node) also clears the registration on the host.
  - Only a node that an activation of this collection registered is deregistered, which the tag
    C(cwagent:managed=created) of the node shows. The module leaves any other node as it is, and prints a warning.
  - All nodes of a region are read in pages of fifty.
author: cwagent.iam contributors (@cwagent)
options:
  nodes_by_region:
    description:
      - By region, the names of the hosts in the inventory, which their nodes have as the tag C(cwagent:host). For a
        node without that tag, its own name counts. The ID of a node, which begins with C(mi-), is also accepted. The
        empty name of a region stands for the region of the module.
      - A name can be used again. So a node that is online, and nodes that share a name, are refused unless their IDs
        are given. A name that no node has needs no change. For an ID that no node has, the module prints a warning.
      - If one region fails, the nodes in the others are still deregistered.
    type: dict
    required: true
  activations:
    description:
      - Whether to delete the activations of this collection in these regions that have expired or were used. An
        interrupted run can have left them. They cannot register a server.
    type: bool
    default: true
  role:
    description:
      - The name of a role. RV(in_use) contains the other nodes with this role.
      - The module looks for them in the regions of O(nodes_by_region), and in the regions in the role's trust policy.
        If one of the latter cannot be read, RV(in_use) contains that reason.
    type: str
    default: ""
  reached_hosts:
    description:
      - The names of servers that Ansible has reached, and that have deregistered themselves. A node with one of these
        names is never deregistered. If Systems Manager still shows one after a minute, the module fails and reports its
        ID, because the server has hidden it, or another server has the name. In check mode, the module does not wait.
    type: list
    elements: str
    default: []
  keep_nodes:
    description:
      - The IDs of nodes that stay, whatever name they have, such as the nodes of another inventory.
    type: list
    elements: str
    default: []
  deregister:
    description:
      - Whether to deregister nodes and to delete activations. Otherwise, the module changes nothing, and fails if
        Systems Manager still shows a node with one of the names after a minute.
      - Without the permission to read nodes, a module that changes nothing only prints a warning.
    type: bool
    default: true
  planned:
    description:
      - The results of M(cwagent.iam.cwagent_hybrid_node) on hosts that have deregistered themselves. Check mode leaves
        out the nodes that they would deregister.
    type: list
    elements: dict
    default: []
extends_documentation_fragment:
  - cwagent.iam.steps
  - cwagent.iam.wait
  - cwagent.iam.attributes
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - cwagent.iam.boto3.module
seealso:
  - module: cwagent.iam.cwagent_hybrid_node
"""

EXAMPLES = r"""
- name: Deregister two servers that are gone
  cwagent.iam.cwagent_hybrid_nodes:
    nodes_by_region:
      eu-central-1: [db-1]
      us-east-1: [mi-0123456789abcdef0]

- name: Only delete activations that interrupted runs left
  cwagent.iam.cwagent_hybrid_nodes:
    nodes_by_region:
      eu-central-1: []
"""

RETURN = r"""
nodes:
  description: The nodes that were deregistered, or would be in check mode.
  returned: success
  type: list
  elements: dict
  sample:
    - {id: mi-0123456789abcdef0, name: db-1, region: eu-central-1}
in_use:
  description: The IDs of the other nodes that have O(role), and reasons why others are not known.
  returned: success
  type: list
  elements: str
  sample: [mi-0123456789abcdef1]
failures:
  description: For each node or activation that failed, the error. The others were removed.
  returned: when C(msg) does not contain all of these errors
  type: dict
  sample:
    mi-0123456789abcdef1: >-
      Could not deregister node mi-0123456789abcdef1 of db-2 (ssm:DeregisterManagedInstance): access denied. ops lacks
      ssm:DeregisterManagedInstance. Grant ssm:DeregisterManagedInstance to it and run again.
"""

from functools import partial
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._ground.call import gateways, manage_by_region, run_module
from ansible_collections.cwagent.iam.plugins.module_utils._ground.names import is_node_id
from ansible_collections.cwagent.iam.plugins.module_utils._ground.planned import Planned
from ansible_collections.cwagent.iam.plugins.module_utils._servers.hybrid import (
    NAMES,
    NODES_RULES,
    NODES_SPEC,
    find_users_elsewhere,
    nodes_resource,
)

if TYPE_CHECKING:
    from ansible_collections.cwagent.iam.plugins.module_utils._ground.call import Call

SPEC = NODES_SPEC
RULES = NODES_RULES


def work(call: Call) -> dict[str, Any]:
    """Deregister the nodes of each region, and then look for other servers that use the role."""
    given = call.params["nodes_by_region"]
    resource = partial(nodes_resource, check_mode=call.check_mode)
    found = manage_by_region(resource, call, names=NAMES, by_region="nodes_by_region", keys=["nodes", "in_use"])
    result = {"nodes": [], "in_use": [], **found}
    if call.params["role"] and not result.get("failed"):
        known = {region or call.region for region in given}
        elsewhere = find_users_elsewhere(call.params["role"], known, lambda region: gateways(call, [region])[region])
        result["in_use"] += elsewhere
    gone = Planned(call.params["planned"]).nodes.union(each["id"] for each in result["nodes"])
    # A name that no node has needs no change, but an ID can be mistyped.
    unknown = sorted({each for names in given.values() for each in names if is_node_id(each)} - gone)
    warnings = [f"There is no node {each} that this collection registered." for each in unknown]
    return {**result, "warnings": [*result.get("warnings", ()), *warnings]}


def main() -> None:
    run_module(SPEC, RULES, work)


if __name__ == "__main__":
    main()
