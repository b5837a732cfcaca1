#!/usr/bin/python
# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cwagent_ssm_agent
version_added: 1.0.0
short_description: (internal) Read, register or clear the SSM agent of a host
description:
  - Does the part of M(cwagent.iam.cwagent_hybrid_node) that runs on the host. It calls no AWS API itself.
  - A file C(cwagent-unfinished.json) beside the registration exists from before the registration until all of its steps
    are done. With it, the next run continues after a run that was interrupted. The file never contains the activation
    code.
author: cwagent.iam contributors (@cwagent)
requirements:
  - python >= 3.9
options:
  state:
    description:
      - V(read) only reads.
      - V(registered) registers the host with an activation, and restarts the SSM agent.
      - V(restarted) restarts the SSM agent.
      - V(finished) deletes the record of an unfinished run.
      - V(deregistering) writes such a record, for the node O(instance_id).
      - V(deregistered) clears the registration, stops the SSM agent, and deletes the record.
      - Check mode only reads.
    type: str
    choices: [read, registered, restarted, finished, deregistering, deregistered]
    default: read
  region:
    description: The region of the activation. Required with O(state=registered).
    type: str
    default: ""
  activation_id:
    description: The ID of the activation. Required with O(state=registered).
    type: str
    default: ""
  activation_code:
    description:
      - The code of the activation. Required with O(state=registered).
      - It is in the arguments of C(amazon-ssm-agent) while that registers the host, because the program takes it in no
        other way.
    type: str
  run_id:
    description: The ID of the run that created the activation. Required with O(state=registered).
    type: str
    default: ""
  known_run_id:
    description:
      - The ID of the run whose record the controller has read. Empty if there was none.
      - With O(state=registered), the module fails if the record of another run, or a registration, has appeared since.
    type: str
    default: ""
  instance_id:
    description: The ID of the node. Required with O(state=deregistering).
    type: str
    default: ""
extends_documentation_fragment: [cwagent.iam.ssm_agent, cwagent.iam.attributes]
attributes:
  check_mode:
    details: In check mode, the module only reads, and returns that nothing changed.
    support: partial
  diff_mode:
    details: M(cwagent.iam.cwagent_hybrid_node) returns the diff.
    support: none
  idempotent:
    details: M(cwagent.iam.cwagent_hybrid_node) decides whether anything is to be done.
    support: none
"""

EXAMPLES = r"""
- name: Read the registration of this host
  cwagent.iam.cwagent_ssm_agent:
  become: true
"""

RETURN = r"""
ssm_agent:
  description: The path of the program C(amazon-ssm-agent). Empty if it is not installed.
  returned: success
  type: str
installation:
  description: How to install the SSM agent on this host. Empty if it is installed.
  returned: success
  type: str
problem:
  description: Why the configuration of the SSM agent rules out a registration. Empty if it does not.
  returned: success
  type: str
registration:
  description: The registration of the host. Null if there is none.
  returned: success
  type: dict
marked:
  description: Whether this collection made the registration of the host.
  returned: success
  type: bool
unfinished:
  description: The record of a run that has not finished. Null if there is none.
  returned: success
  type: dict
done:
  description: The actions that were done.
  returned: always
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import CwagentError
from ansible_collections.cwagent.iam.plugins.module_utils._servers.node import READ
from ansible_collections.cwagent.iam.plugins.module_utils._servers.registration import HOST_RULES, HOST_SPEC, SsmAgent

SPEC: dict[str, dict[str, Any]] = HOST_SPEC


def main() -> None:
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True, **HOST_RULES)
    state = READ if module.check_mode else module.params["state"]
    try:
        result = SsmAgent({**module.params, "state": state}).run()
    except CwagentError as error:
        module.fail_json(msg=str(error), **{"changed": bool(error.details.get("done")), "done": [], **error.details})
    module.exit_json(**result)


if __name__ == "__main__":
    main()
