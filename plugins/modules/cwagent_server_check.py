#!/usr/bin/python
# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cwagent_server_check
version_added: 1.0.0
short_description: (internal) Collect facts from servers and assess whether the CloudWatch agent has what it needs
description:
  - Adds facts from inside the servers to the result of P(cwagent.iam.cwagent_server_info#module). These are the current
    identity of the server, whether it can read the stored configurations and reach the endpoints of AWS, and whether
    the agent runs with the stored configuration.
  - A shell script collects these facts. If Ansible runs the script, this module reads its output. On other EC2
    instances and hybrid servers with Linux, this module runs the script with Run Command of Systems Manager, on up to
    50 at once.
  - The script changes nothing and prints no secret. It needs C(curl), and the AWS CLI to read the configurations.
  - The role P(cwagent.iam.verify#role) does all of this.
author: cwagent.iam contributors (@cwagent)
options:
  servers:
    description: The servers, as P(cwagent.iam.cwagent_server_info#module) returns them.
    type: list
    elements: dict
    required: true
  results:
    description: By host, the result of the Ansible task that ran the script.
    type: dict
    default: {}
  from:
    description:
      - How to collect facts. V(ansible) only uses O(results), and V(run_command) only uses Run Command. V(auto) uses
        Run Command for servers that O(results) does not contain. V(none) collects none.
      - Except with V(none), a running server fails if nothing could be read on it. A server that EC2 or Systems Manager
        reports as a Windows server is not checked from the inside, and gets a note instead.
    type: str
    choices: [auto, ansible, run_command, none]
    default: auto
  wait_timeout:
    description: How long to wait for answers from Run Command, in seconds.
    type: int
    default: 180
extends_documentation_fragment:
  - cwagent.iam.attributes.reading
  - cwagent.iam.attributes
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - cwagent.iam.boto3
seealso:
  - module: cwagent.iam.cwagent_server_info
"""

EXAMPLES = r"""
- name: Check all web servers through EC2 and IAM
  cwagent.iam.cwagent_server_info:
    servers:
      - host: web1
        region: eu-central-1
        instance_id: i-0123456789abcdef0
  register: checked

- name: Collect facts with Run Command
  cwagent.iam.cwagent_server_check:
    servers: "{{ checked.servers }}"
    from: run_command
  register: assessed

- name: Show a table, and the fixes
  ansible.builtin.debug:
    msg: "{{ assessed.lines }}"
"""

RETURN = r"""
servers:
  description: The servers as in RV(cwagent.iam.cwagent_server_info#module:servers), with the facts from inside them.
  returned: success
  type: list
  elements: dict
  contains:
    failures:
      description: The failures of the server, with C(check), C(what) and C(fix).
      type: list
      elements: dict
    seen_by:
      description: V(ansible) or V(run_command). Empty if nothing was read inside.
      type: str
    agent:
      description: The status of the agent, such as V(running), V(stopped) or V(not installed).
      type: str
    status:
      description:
        - For each check, V(ok), V(FAIL), V(?) if the result is not known, or V(none) for an agent that is not
          installed.
      type: dict
    apply_failure:
      description: Why the stored configuration cannot be applied. Empty if it can be, or if nothing needs to be done.
      type: str
failed_hosts:
  description: The hosts with failures.
  returned: success
  type: list
  elements: str
failure:
  description: How many servers fail, with the first failure and the number of the others. Empty if none fails.
  returned: success
  type: str
  sample: "Servers that fail: 1 of 6. web1: It has no instance profile."
apply_notes:
  description:
    - A sentence about the servers that the playbook C(apply.yml) skips, and how to fix that. Empty if it skips none.
  returned: success
  type: list
  elements: str
lines:
  description: A table of the servers, and each failure with its fix, in lines for a terminal of 80 columns.
  returned: success
  type: list
  elements: str
"""

from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils import _module
from ansible_collections.cwagent.iam.plugins.module_utils._verify.collect import WAYS, collect
from ansible_collections.cwagent.iam.plugins.module_utils._verify.model import Server
from ansible_collections.cwagent.iam.plugins.module_utils._verify.result import (
    describe_failure,
    describe_skipped,
    to_lines,
)

if TYPE_CHECKING:
    from ansible_collections.cwagent.iam.plugins.module_utils._call import Call

SPEC: dict[str, Any] = {
    "servers": {"type": "list", "elements": "dict", "required": True},
    "results": {"type": "dict", "default": {}},
    "from": {"type": "str", "choices": list(WAYS), "default": "auto"},
    "wait_timeout": {"type": "int", "default": 180},
}
RULES: dict[str, Any] = {}


def work(call: Call) -> dict[str, Any]:
    """Return the servers with the facts from inside them, and a table of them."""
    params = call.params
    servers = [Server.from_dict(each) for each in params["servers"]]
    found = collect(call.client, servers, params["results"], params["from"], params["wait_timeout"])
    return {
        "changed": False,
        "servers": [each.to_dict() for each in found],
        "failed_hosts": [each.host for each in found if each.failures],
        "failure": describe_failure(found),
        "apply_notes": describe_skipped(found),
        "lines": to_lines(found),
    }


def main() -> None:
    _module.run_module(SPEC, RULES, work)


if __name__ == "__main__":
    main()
