#!/usr/bin/python
# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cwagent_hybrid_node
version_added: 1.0.0
short_description: Register an on-premises server with Systems Manager
description:
  - Registers the host of the task as a node of Systems Manager, with an activation that exists only during that time.
    The SSM agent of the host then has credentials of O(role), which it renews every half hour.
  - The activation registers one server, and expires after an hour. The module deletes it immediately after the
    registration. It also deletes it after a failure, and within seconds if Ctrl-C, SIGTERM, the end of the terminal or
    the time limit of a task interrupts the run. If the process is killed, the next run that registers a server deletes
    the activation after it has expired.
  - The activation code goes to the host over the standard input of the connection, and from there only to the arguments
    of C(amazon-ssm-agent -register) while that runs. It never appears in output at any verbosity. So the module
    requires pipelining, which it turns on itself where the connection allows that.
  - A host that is registered already stays as it is. The module refuses a host that is registered elsewhere, and
    reports the node and the region.
  - The module does not believe the host about its node. A new node is the one that Systems Manager shows for the
    activation. It gets the name of the host in the inventory as the tag C(cwagent:host). Later, only that tag shows
    whose node it is. If the host names another node, the module fails and reports both, and changes neither.
  - Ansible itself calls AWS, with boto3 in the Python that runs it. M(cwagent.iam.cwagent_ssm_agent) does the work on
    the host, over the connection of the task. It needs the permissions of root. The SSM agent must be installed.
author: cwagent.iam contributors (@cwagent)
options:
  state:
    description:
      - V(registered) registers the host, restarts its SSM agent, and waits until the node is online.
      - V(deregistered) deregisters the node if an activation of this collection registered it for this host, clears the
        registration of the host, and stops the SSM agent. The module leaves any other node as it is, and reports it.
    type: str
    choices: [registered, deregistered]
    default: registered
  role:
    description:
      - The name of the role of the node, with its path in IAM if it has one, such as
        V(monitoring/CloudWatchAgentHybridRole). It must trust Systems Manager, as the role of
        P(cwagent.iam.hybrid_server#role) does.
      - If a task in O(planned) created or changed it, the module retries until Systems Manager accepts it.
      - The module never changes the role of a node that is registered already. It returns a warning if that is another
        one.
    type: str
    default: CloudWatchAgentHybridRole
  instance_name:
    description: The name of the node. The default is the name of the host in the inventory.
    type: str
    default: ""
  tags:
    description: The tags of a new node, besides the collection's tags. Later runs do not change them.
    type: dict
    default: {}
  node_id:
    description:
      - The ID of the node that the host is, such as V(mi-0123456789abcdef0), for a host that was renamed or that others
        have registered. The module then sets the tag C(cwagent:host) of the node to the name of the host.
      - If the host names another node, or is not registered, the module fails.
    type: str
    default: ""
  wait_timeout:
    description:
      - How long to wait until the node is online, in seconds. The same limit applies to repeating a call while Systems
        Manager does not accept a role that was just created.
    type: int
    default: 180
extends_documentation_fragment:
  - cwagent.iam.ssm_agent
  - cwagent.iam.planned
  - cwagent.iam.steps
  - cwagent.iam.attributes
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - cwagent.iam.boto3.module
seealso:
  - module: cwagent.iam.cwagent_ssm_agent
"""

EXAMPLES = r"""
- name: Register this server
  cwagent.iam.cwagent_hybrid_node:
    role: CloudWatchAgentHybridRole
    region: eu-central-1
  become: true

- name: Deregister this server
  cwagent.iam.cwagent_hybrid_node:
    state: deregistered
    region: eu-central-1
  become: true
"""

RETURN = r"""
node:
  description:
    - The node of the host. Null if there is none. With O(state=deregistered), the node that the host had.
    - In check mode, the ID of a new node is null.
  returned: success
  type: dict
  sample: {id: mi-0123456789abcdef0, region: eu-central-1, role: CloudWatchAgentHybridRole, name: web-1}
"""

from ansible_collections.cwagent.iam.plugins.module_utils._ground.call import run_module
from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._servers.hybrid import RULES, SPEC


def work(_call: object) -> dict[str, object]:
    """Refuse to run on a host: the action of this name does the work."""
    raise InvalidInput("cwagent_hybrid_node runs inside Ansible only.")


def main() -> None:
    run_module(SPEC, RULES, work)


if __name__ == "__main__":
    main()
