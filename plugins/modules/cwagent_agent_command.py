#!/usr/bin/python
# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cwagent_agent_command
version_added: 1.0.0
short_description: (internal) Make the CloudWatch agents on instances run stored configurations, with Run Command
description:
  - Has the same effect as P(cwagent.iam.cwagent_agent_config#module), but runs on the controller for many EC2
    instances and hybrid servers. It uses the document C(AmazonCloudWatch-ManageAgent) of Systems Manager for up to 50
    servers at once.
  - Only changes servers whose agents run other configurations according to
    P(cwagent.iam.cwagent_server_check#module). That module must have collected its facts just before.
author: cwagent.iam contributors (@cwagent)
options:
  servers:
    description: The servers, as P(cwagent.iam.cwagent_server_check#module) returns them.
    type: list
    elements: dict
    required: true
  wait_timeout:
    description: How long to wait for each command, in seconds.
    type: int
    default: 180
attributes:
  diff_mode:
    description: Returns details on what has changed, or would change in check mode, when in diff mode.
    details: The diff contains the calls of the agent's control program.
    support: full
extends_documentation_fragment:
  - cwagent.iam.steps
  - cwagent.iam.attributes
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - cwagent.iam.boto3
seealso:
  - module: cwagent.iam.cwagent_agent_config
  - module: cwagent.iam.cwagent_server_check
"""

EXAMPLES = r"""
- name: Collect facts from the servers with Run Command
  cwagent.iam.cwagent_server_check:
    servers: "{{ checked.servers }}"
    from: run_command
  register: assessed

- name: Make the agents run the stored configurations
  cwagent.iam.cwagent_agent_command:
    servers: "{{ assessed.servers }}"
"""

RETURN = r"""
failed_hosts:
  description: For each server that failed, why the configuration was not applied. The other servers have it.
  returned: when a command failed
  type: dict
  sample: {web1: it could not be delivered to the agent}
"""

from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils import _module
from ansible_collections.cwagent.iam.plugins.module_utils._agent_config.fleet import FleetConfigResource, Member
from ansible_collections.cwagent.iam.plugins.module_utils._converge import converge
from ansible_collections.cwagent.iam.plugins.module_utils._verify.model import Server

if TYPE_CHECKING:
    from ansible_collections.cwagent.iam.plugins.module_utils._call import Call

SPEC: dict[str, Any] = {
    "servers": {"type": "list", "elements": "dict", "required": True},
    "wait_timeout": {"type": "int", "default": 180},
}
RULES: dict[str, Any] = {}


def work(call: Call) -> dict[str, Any]:
    """Make the agents of servers run stored configurations."""
    servers = [server for each in call.params["servers"] if (server := Server.from_dict(each)).managed_id]
    members = [Member(each.host, each.region, each.managed_id, each.mode, each.commands) for each in servers]
    return converge(FleetConfigResource(call.client, members, call.params["wait_timeout"]), call.check_mode, None)


def main() -> None:
    _module.run_module(SPEC, RULES, work)


if __name__ == "__main__":
    main()
