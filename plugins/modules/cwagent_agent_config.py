#!/usr/bin/python
# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cwagent_agent_config
version_added: 1.0.0
short_description: (internal) Make CloudWatch agents run stored configurations, or collect facts about an agent
description:
  - Compares the configurations that the agent on this host runs with O(configs). If they differ, the agent's control
    program fetches them from Parameter Store and restarts the agent once.
  - With O(servers), Ansible itself does the same on many EC2 instances and hybrid servers, with boto3 in the Python
    that runs it. It sends the document C(AmazonCloudWatch-ManageAgent) with Run Command to up to 50 servers at once.
  - With O(server), runs a POSIX shell script on this host, whose output M(cwagent.iam.cwagent_server_info) reads. The
    script changes nothing and prints no secret.
  - With O(watch), the script watches the agent after its restart instead. It waits until the agent has run for
    the C(watch_seconds) of the server, or until the agent has ended, or its log has a denial or missing credentials.
  - An agent fetches a version by its number, and its file has the number in its name until the version is proved. With
    O(rename), the file gets its final name, without a restart.
  - Configurations that others have given the agent stay. If there are none, configurations that are no longer stored
    are removed.
  - Does not install the agent.
author: cwagent.iam contributors (@cwagent)
requirements:
  - python >= 3.9
options:
  configs:
    description:
      - The configurations, in the order in which the agent fetches and appends them.
      - Exactly one of O(configs), O(server), O(servers) and O(part) is required.
    type: list
    elements: dict
    suboptions:
      name:
        description: The name of the parameter.
        type: str
        required: true
      digest:
        description: The SHA-256 digest of its value, as M(cwagent.iam.cwagent_server_info) returns it.
        type: str
        required: true
      number:
        description: The number of the version. With V(0), the agent fetches the current one, by the name alone.
        type: int
        default: 0
  config_label:
    description:
      - The label of proved versions. With O(servers) and without O(rename) and O(watch), moves it to the versions that
        the agents run, instead of changing the agents. It takes one call for each parameter whose version does not have
        the label.
    type: str
  fitted:
    description:
      - Whether the servers have fitted policies. The same calls then move the label C(cwagent-applied), too, which
        O(part=label) prevents if a server can run an earlier version. The fitted policies no longer cover the versions
        before this label.
    type: bool
    default: false
  other_names:
    description:
      - Names of other parameters in the region, such as C(similar) of a server. The agent's file of such a parameter
        looks like a version or a label of one of O(configs), and stays.
    type: list
    elements: str
    default: []
  retry:
    description: Whether the agent failed with a version that is not proved, so that O(configs) are fetched again.
    type: bool
    default: false
  rename:
    description:
      - Whether to give the files of proved versions their final names, on O(server) or O(servers), and change nothing
        else.
    type: bool
    default: false
  server:
    description: This host, from the result of M(cwagent.iam.cwagent_server_info). By default, collects facts about it.
    type: dict
  mode:
    description: V(ec2) on an EC2 instance, V(onPremise) elsewhere.
    type: str
    choices: [ec2, onPremise]
    default: ec2
  agent_ctl:
    description: The path of the agent's control program.
    type: path
    default: /opt/aws/amazon-cloudwatch-agent/bin/amazon-cloudwatch-agent-ctl
  servers:
    description:
      - The servers, as M(cwagent.iam.cwagent_server_info) returns them with
        O(cwagent.iam.cwagent_server_info#module:checked). It must have collected its facts just before. Only servers
        whose agents run other configurations are changed.
      - The task then takes the AWS options of C(group/cwagent.iam.aws). Other tasks ignore these.
    type: list
    elements: dict
  watch:
    description:
      - Whether to watch the agents of O(server) or O(servers) after their restart. The time is C(watch_seconds) of each
        server, from the start of its agent. Servers whose agents were not to be restarted, and servers with
        C(watch_seconds=0), are not watched.
    type: bool
    default: false
  part:
    description:
      - The part of the work of C(apply.yml) to do, on each host of a batch. With V(apply), the host gets the
        configuration; the first of the hosts that Run Command reaches sends the commands for all of them, so that
        their number depends on the number of batches. With V(watch), the agents are watched in the same way. With
        V(data), one host of the batch waits until CloudWatch has data of all agents whose data is known. With
        V(check), a host fails if its agent, which Run Command has watched, failed, or if its data has not arrived.
        With V(collect) and V(rename), the host does the work of O(server). With V(stop), one host of the batch counts
        those that failed.
      - With V(label), the task runs on the host that has checked the servers. It moves O(config_label) if each server
        has proved its version, unless the limit of the playbook leaves out servers. If the servers have fitted
        policies, and none can run an earlier version, it also moves the label C(cwagent-applied), and then narrows the
        policies. At last, it renames the files of proved versions with Run Command.
      - The hosts are those that the role P(cwagent.iam.verify#role) has checked on the host of their account, or on
        C(localhost) in a play that is not of this collection. The role gives the task its options. The task takes the
        AWS options like O(servers).
    type: str
    choices: [collect, apply, watch, data, check, rename, stop, label]
  apply_watch_seconds:
    description: How long to watch the agents, in seconds. By default, their configurations decide. Only for O(part).
    type: int
  wait_timeout:
    description: How long to wait for each command, in seconds. Only for O(servers).
    type: int
    default: 180
extends_documentation_fragment: [cwagent.iam.steps, cwagent.iam.attributes, cwagent.iam.environment]
attributes:
  diff_mode:
    details: The diff contains the digests of the configurations, or with O(servers) the calls of the control program.
  action_group:
    description: Use C(group/cwagent.iam.aws) in C(module_defaults) to set the AWS options of all modules at once.
    support: full
    membership: [cwagent.iam.aws]
"""

EXAMPLES = r"""
- name: Make the agent run the stored configuration
  cwagent.iam.cwagent_agent_config:
    configs: "{{ server.configs }}"
  become: true

- name: Collect facts about the agent
  cwagent.iam.cwagent_agent_config:
    server: "{{ server }}"

- name: Make the agents run the stored configurations, with Run Command
  cwagent.iam.cwagent_agent_config:
    servers: "{{ checked_inside.servers }}"

- name: Watch them after their restart
  cwagent.iam.cwagent_agent_config:
    servers: "{{ checked_inside.servers }}"
    watch: true
"""

RETURN = r"""
failed_hosts:
  description: For each server that failed, why the configuration was not applied. The other servers have it.
  returned: with O(servers), when a command failed
  type: dict
watches:
  description:
    - By host, the result of watching its agent. C(seconds) is how long the agent ran, C(failure) why it failed, with
      the line of its log, C(note) why its log was not watched, and C(others) the number of other warnings and errors.
  returned: with O(watch)
  type: dict
leader:
  description: The host that sends the commands for this one.
  returned: with O(part=apply), for a host that Run Command reaches
  type: str
applied_hosts:
  description:
    - The servers that got the configuration, that only have to prove it, or whose files were renamed, or would be in
      check mode.
  returned: with O(servers), but not with O(watch), and not for a label
  type: list
  elements: str
rename_hosts:
  description:
    - The servers whose files Ansible is to rename, because Run Command has not read them.
  returned: with O(rename), and with O(part=label)
  type: list
  elements: str
stops:
  description: Whether more servers of the batch failed than the run allows.
  returned: with O(part=stop)
  type: bool
notes:
  description: Why the label was not moved, and why the fitted policies may not be narrowed, in sentences.
  returned: with O(part=label)
  type: list
  elements: str
applied_versions:
  description:
    - The versions with the label C(cwagent-applied), including those that get it in check mode, for
      O(cwagent.iam.cwagent_fitted_policy#module:planned).
  returned: with O(servers), for labels
  type: list
  elements: dict
  sample: [{region: eu-central-1, name: AmazonCloudWatch-linux, version: 3}]
stdout:
  description: The facts, one in each line. The last line is C(end).
  returned: with O(server), but not with O(watch)
  type: str
read_at:
  description: When the facts were collected, in Unix seconds by the clock of the controller.
  returned: with C(stdout)
  type: int
stderr:
  description: The errors of the script.
  returned: with O(server)
  type: str
rc:
  description: The exit code of the script.
  returned: with O(server)
  type: int
"""

from typing import Any

from ansible_collections.cwagent.iam.plugins.module_utils._agents.configs import AgentConfigResource, NamesResource
from ansible_collections.cwagent.iam.plugins.module_utils._agents.configs_plan import Wanted
from ansible_collections.cwagent.iam.plugins.module_utils._agents.script import script
from ansible_collections.cwagent.iam.plugins.module_utils._agents.server import Server
from ansible_collections.cwagent.iam.plugins.module_utils._agents.watch import watch_script
from ansible_collections.cwagent.iam.plugins.module_utils._ground import environment
from ansible_collections.cwagent.iam.plugins.module_utils._ground.converge import converge, end
from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import CwagentError
from ansible_collections.cwagent.iam.plugins.module_utils._ground.options import spec_of

SPEC: dict[str, Any] = {
    "configs": {"type": "list", "elements": "dict", "options": spec_of(Wanted)},
    "config_label": {"type": "str"},
    "fitted": {"type": "bool", "default": False},
    "other_names": {"type": "list", "elements": "str", "default": []},
    "retry": {"type": "bool", "default": False},
    "rename": {"type": "bool", "default": False},
    "server": {"type": "dict"},
    "mode": {"type": "str", "choices": ["ec2", "onPremise"], "default": "ec2"},
    "agent_ctl": {"type": "path", "default": "/opt/aws/amazon-cloudwatch-agent/bin/amazon-cloudwatch-agent-ctl"},
    "servers": {"type": "list", "elements": "dict"},
    "watch": {"type": "bool", "default": False},
    "part": {"type": "str", "choices": ["collect", "apply", "watch", "data", "check", "rename", "stop", "label"]},
    "apply_watch_seconds": {"type": "int"},
    "wait_timeout": {"type": "int", "default": 180},
    **environment.ENVIRONMENT_SPEC,
}
RULES: dict[str, Any] = {
    "required_one_of": [["configs", "server", "servers", "part"]],
    "mutually_exclusive": [["configs", "server", "servers", "part"], ["servers", "environment"]],
}


def main() -> None:
    module = environment.EnvironmentModule(argument_spec=SPEC, supports_check_mode=True, **RULES)
    module.check_environment()
    try:
        server = module.params["server"]
        result = apply(module) if server is None else _on_server(module, Server.from_dict(server))
    except CwagentError as error:
        result = error.to_result()
    end(module, result)


def apply(module: environment.EnvironmentModule) -> dict[str, Any]:
    """Make the agent of this host run stored configurations."""
    params = module.params
    resource = AgentConfigResource(
        [Wanted(**each) for each in params["configs"]],
        params["other_names"],
        params["agent_ctl"],
        params["mode"],
        module.run_command,
        is_refused=params["retry"],
    )
    return converge(resource, module.check_mode, None)


def _on_server(module: environment.EnvironmentModule, server: Server) -> dict[str, Any]:
    if module.params["rename"]:
        return converge(NamesResource(server.renames, module.params["agent_ctl"]), module.check_mode, None)
    return collect(module, server)


def collect(module: environment.EnvironmentModule, server: Server) -> dict[str, Any]:
    """Run the script that collects facts on this host, or watches its agent."""
    text = watch_script(server.watch_seconds) if module.params["watch"] else script(server)
    command = ["/bin/sh", "-c", text]
    code, output, errors = module.run_command(command, expand_user_and_vars=False)
    return {"changed": False, "rc": code, "stdout": output, "stderr": errors}


if __name__ == "__main__":
    main()
