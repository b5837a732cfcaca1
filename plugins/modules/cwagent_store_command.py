#!/usr/bin/python
# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cwagent_store_command
version_added: 1.0.0
short_description: (internal) Store CloudWatch agent configurations from an EC2 instance by Run Command
description:
  - Runs on the controller. By Run Command of Systems Manager, it sends an instance the script that stores
    configurations in Parameter Store. No connection to the instance, no S3 bucket and no Python there are needed.
  - The script waits until the instance has the credentials of the admin role, and stores with the AWS CLI. It stores a
    configuration only over the version that it was compared with.
  - After its instance profile was changed, the SSM agent may be silent for half an hour. So send the command first,
    then associate the admin profile with M(cwagent.iam.cwagent_admin_instance), and wait with the option
    O(cwagent.iam.cwagent_config_parameter#module:command) of M(cwagent.iam.cwagent_config_parameter).
  - The instance must run Linux. The module refuses any other instance before it sends a command.
author: cwagent.iam contributors (@cwagent)
options:
  instance_id:
    description: The ID of the instance.
    type: str
    required: true
  state:
    description:
      - V(online) fails if the instance does not run Linux. If its SSM agent is not online, RV(problem) says so, because
        a later task can bring it online.
      - V(checked) also checks that O(admin_role) lets the SSM agent work, and runs a command on the instance that
        checks that it has the AWS CLI and reaches Parameter Store. In check mode, no command runs.
      - V(sent) cancels the commands that interrupted runs have left, and sends the command, once for each O(run_id).
      - V(cancelled) cancels the command, if it has not ended.
    type: str
    choices: [online, checked, sent, cancelled]
    required: true
  run_id:
    description:
      - Text that identifies the command, in its comment. RV(run_id) of O(state=checked) is one. Required with
        O(state=sent) and O(state=cancelled).
    type: str
  admin_role:
    description: The role as which the instance stores. Required with O(state=checked) and O(state=sent).
    type: str
  regions:
    description: The regions whose Parameter Store the instance must reach, with O(state=checked).
    type: list
    elements: str
    default: []
  configs:
    description:
      - What to store, with O(state=sent). Results of M(cwagent.iam.cwagent_config_parameter), which has compared each
        configuration with Parameter Store in check mode.
    type: list
    elements: dict
    default: []
  split:
    description: As O(cwagent.iam.cwagent_config_parameter#module:split) of the tasks with these results.
    type: bool
    default: false
  split_recent:
    description: As O(cwagent.iam.cwagent_config_parameter#module:split_recent) of these tasks.
    type: bool
    default: false
  tier:
    description: As O(cwagent.iam.cwagent_config_parameter#module:tier) of these tasks.
    type: str
    choices: [Standard, Advanced]
  timeout:
    description:
      - How long the command may live, in seconds, from when it is sent, by the clock of AWS. At least 60, and at most
        as long as the admin window.
    type: int
    default: 660
  permission_timeout:
    description: How long to try when AWS denies storing a configuration, in seconds.
    type: int
    default: 180
  assume_created:
    description:
      - Whether an earlier task has created the admin role or associated an instance profile. With V(true), the module
        waits for O(wait_timeout) until the SSM agent is online. In check mode, what prevents storing is a warning then.
    type: bool
    default: false
  wait_timeout:
    description:
      - How long to wait, in seconds, for what takes time in AWS, such as the end of a command that was cancelled, and
        until a command that was sent is listed.
    type: int
    default: 180
extends_documentation_fragment:
  - cwagent.iam.attributes
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - cwagent.iam.boto3
"""

EXAMPLES = r"""
- name: Compare the configuration with Parameter Store
  cwagent.iam.cwagent_config_parameter:
    name: AmazonCloudWatch-linux
    src: [linux.json]
  check_mode: true
  register: comparison

- name: Send the command that stores it
  cwagent.iam.cwagent_store_command:
    instance_id: i-0123456789abcdef0
    admin_role: CloudWatchAgentAdminRole
    configs: ["{{ comparison }}"]
    run_id: change-4711
    state: sent
"""

RETURN = r"""
run_id:
  description: A new value for O(run_id).
  returned: success, with O(state=checked)
  type: str
  sample: 0b2f7c1e-6a53-4c5c-a07d-8f3e4f1f7f5b
agent_schema:
  description:
    - The JSON schema of the CloudWatch agent that is installed on the instance, as text. Empty where there is none, or
      where it is too large for the output of a command.
  returned: success, with O(state=checked)
  type: str
  sample: ""
command:
  description:
    - The command, for O(cwagent.iam.cwagent_config_parameter#module:command) of
      M(cwagent.iam.cwagent_config_parameter). Empty in check mode.
  returned: success, with O(state=sent)
  type: dict
  sample:
    deadline: 1795622400
    id: 3d1f3a0e-57c0-4a8f-9d0f-8a0d3a0d9c5e
    instance_id: i-0123456789abcdef0
    region: eu-central-1
steps:
  description:
    - The steps that were taken, or would be taken in check mode.
    - If the task failed, all planned steps, or none if it failed before the first one. RV(done) and RV(not_done) say
      which were taken.
  returned: with O(state=sent) and O(state=cancelled), and when the task failed
  type: list
  elements: str
  sample: ["send instance i-0123456789abcdef0 the command that stores AmazonCloudWatch-linux in eu-central-1"]
counts:
  description: How many of the RV(steps) create, update and delete something; after a failure, of those that were done.
  returned: when a plan was made
  type: dict
  sample: {create: 1, update: 0, delete: 0}
problem:
  description: Why no command reaches the instance now; empty if commands reach it.
  returned: success, with O(state=online)
  type: str
  sample: ""
done:
  description: The steps that were taken before the task failed.
  returned: when the task failed after a plan was made
  type: list
  elements: str
  sample: []
not_done:
  description: The steps that were not taken, the failed one first.
  returned: when a step failed
  type: list
  elements: str
  sample: []
"""

import uuid
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils import _module, _names
from ansible_collections.cwagent.iam.plugins.module_utils._call import aws_gateway
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.plan import LIMITS
from ansible_collections.cwagent.iam.plugins.module_utils._converge import converge
from ansible_collections.cwagent.iam.plugins.module_utils._errors import CwagentError, InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._store_command.options import desired_command
from ansible_collections.cwagent.iam.plugins.module_utils._store_command.plan import (
    CANCELLED,
    CHECKED,
    ONLINE,
    SENT,
)
from ansible_collections.cwagent.iam.plugins.module_utils._store_command.resource import (
    CommandResource,
    check_agent,
    check_instance,
    check_role,
)
from ansible_collections.cwagent.iam.plugins.module_utils._wait import Deadline

if TYPE_CHECKING:
    from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws
    from ansible_collections.cwagent.iam.plugins.module_utils._call import Call

SPEC = {
    "instance_id": {"type": "str", "required": True},
    "state": {"type": "str", "choices": [ONLINE, CHECKED, SENT, CANCELLED], "required": True},
    "run_id": {"type": "str"},
    "admin_role": {"type": "str"},
    "regions": {"type": "list", "elements": "str", "default": []},
    "configs": {"type": "list", "elements": "dict", "default": []},
    "split": {"type": "bool", "default": False},
    "split_recent": {"type": "bool", "default": False},
    "tier": {"type": "str", "choices": list(LIMITS)},
    "timeout": {"type": "int", "default": 660},
    "permission_timeout": {"type": "int", "default": 180},
    "assume_created": {"type": "bool", "default": False},
    "wait_timeout": {"type": "int", "default": 180},
}
RULES: dict[str, Any] = {
    "required_if": [
        ("state", CHECKED, ["admin_role"]),
        ("state", SENT, ["admin_role", "run_id", "configs"]),
        ("state", CANCELLED, ["run_id"]),
    ],
}


def check(call: Call, aws: Aws) -> dict[str, Any]:
    """Check whether the instance can store."""
    params = call.params
    waits = params["assume_created"] and not call.check_mode
    is_last = params["state"] == CHECKED
    found: dict[str, Any] = {"run_id": str(uuid.uuid4()), "agent_schema": ""} if is_last else {"problem": ""}
    try:
        check_agent(aws, params["instance_id"], Deadline(params["wait_timeout"] if waits else 0))
        if is_last:
            check_role(aws, call.client, params["admin_role"])
            if not call.check_mode:
                found.update(check_instance(aws, params["instance_id"], params["regions"]))
    except InvalidInput:
        raise  # no earlier task changes that
    except CwagentError as error:
        if is_last and not (call.check_mode and params["assume_created"]):
            raise
        found["warnings" if is_last else "problem"] = [str(error)] if is_last else str(error)
    return {"changed": False, **found}


def work(call: Call) -> dict[str, Any]:
    """Check the instance, or send or cancel the command that stores."""
    _names.check_instance_id(call.params["instance_id"])
    aws = aws_gateway(call)
    if call.params["state"] in (ONLINE, CHECKED):
        return check(call, aws)
    resource = CommandResource(aws, desired_command(call.params))
    if call.params["state"] == SENT and not call.check_mode:
        check_agent(aws, call.params["instance_id"], Deadline(0))
    return converge(resource, call.check_mode, call.params["wait_timeout"])


def main() -> None:
    _module.run_module(SPEC, RULES, work)


if __name__ == "__main__":
    main()
