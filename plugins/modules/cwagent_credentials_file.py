#!/usr/bin/python
# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cwagent_credentials_file
version_added: 1.0.0
short_description: Deliver the saved access key of an IAM user to a host
description:
  - Reads the access key that P(cwagent.iam.cwagent_iam_user#module) saved for a user, on the controller, and writes it
    to a credentials file on the host.
  - Sets that file in the section C([credentials]) of the agent's C(common-config.toml). The rest of that file is kept
    as it is, including comments, order and line ends.
  - The access key and the content of both files never appear in output at any verbosity, in a diff or in the arguments
    of a process.
  - Without pipelining, Ansible would write the options of a module to a temporary file on the host, where they stay if
    the task is killed. So this module requires pipelining, and fails where that is off or impossible. The role
    P(cwagent.iam.onprem_credentials#role) turns it on. In other tasks, set the variable C(ansible_pipelining), or
    C(pipelining = true) in C(ansible.cfg).
  - Both files are written atomically. If a task is killed while it writes, it can leave an unfinished file beside the
    credentials file, with the same owner and mode 0600. The next task replaces that file.
author: cwagent.iam contributors (@cwagent)
requirements:
  - python >= 3.9
options:
  user_name:
    description:
      - The name of the user whose access key is delivered.
      - Required with O(state=present).
    type: str
  credentials_profile:
    description: The AWS profile, both in the saved file and in the file on the host.
    type: str
    default: AmazonCloudWatchAgent
  region:
    description:
      - The region of the parameter or secret. The default is the region of the controller's environment.
      - The file on the host contains the region that is saved with the access key.
    type: str
  aws_options:
    description:
      - The options of the call that reads the parameter or secret, such as C(profile), or C(access_key), C(secret_key)
        and C(session_token). The host does not get them. The default is the credentials of the controller's
        environment.
    type: dict
    default: {}
  path:
    description:
      - The absolute path of the credentials file on the host. Its mode is 0600. Other profiles in it are not changed,
        and a file that is not a credentials file is refused.
      - A symbolic link is refused. Missing folders are created.
    type: path
    required: true
  owner:
    description: The owner of the credentials file, by name or number. The default does not change it.
    type: str
  group:
    description: The group of the credentials file, by name or number. The default does not change it.
    type: str
  common_config:
    description:
      - The absolute path of the agent's C(common-config.toml) on the host. A missing file is created.
      - Without it, only the credentials file is managed, and the file of O(agent_ctl) is beside O(path).
      - Fails before the first change if a value in the file does not end on its line, such as a multi-line string. The
        message contains the number of the line.
      - Fails in the same way if a setting of C([credentials]) is not on its own line in that section, for example in an
        inline table.
    type: path
  content:
    description: Set by the controller, which reads the access key. A task must not set it.
    type: str
  state:
    description:
      - Whether the host has the access key.
      - V(absent) removes the profile, the agent's settings that refer to the file, and the file itself if it contains
        no other profile. Settings that refer to another file are not changed.
    type: str
    choices: [present, absent]
    default: present
extends_documentation_fragment:
  - cwagent.iam.saved_key
  - cwagent.iam.planned
  - cwagent.iam.agent_ctl
  - cwagent.iam.steps
  - cwagent.iam.attributes
attributes:
  check_mode:
    details: In check mode, a missing saved access key is not an error, because a real run would have created it before.
  diff_mode:
    details: The diff only contains the agent's two settings, and nothing else from the files.
seealso:
  - module: cwagent.iam.cwagent_iam_user
  - plugin: cwagent.iam.saved_credentials
    plugin_type: lookup
"""

EXAMPLES = r"""
- name: Deliver the access key of this host
  cwagent.iam.cwagent_credentials_file:
    user_name: "CloudWatchAgentServerUser-{{ inventory_hostname }}"
    key_store: parameter_store
    path: /etc/cwagent.credentials
    owner: root
    group: root
    common_config: /opt/aws/amazon-cloudwatch-agent/etc/common-config.toml
    agent_ctl: /opt/aws/amazon-cloudwatch-agent/bin/amazon-cloudwatch-agent-ctl
  become: true
  vars:
    ansible_pipelining: true
"""

RETURN = r"""#"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.cwagent.iam.plugins.module_utils._ground.converge import converge, end
from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import CwagentError
from ansible_collections.cwagent.iam.plugins.module_utils._ground.planned import PLANNED_SPEC
from ansible_collections.cwagent.iam.plugins.module_utils._keys.stores import SOURCE_SPEC
from ansible_collections.cwagent.iam.plugins.module_utils._servers.credentials_file import (
    CredentialsFileResource,
    desired_files,
)
from ansible_collections.cwagent.iam.plugins.module_utils._servers.restart import find_agent, restart_after_failure

SPEC: dict[str, dict[str, Any]] = {
    "user_name": {"type": "str"},
    **SOURCE_SPEC,
    **PLANNED_SPEC,
    "aws_options": {"type": "dict", "default": {}, "no_log": True},
    "path": {"type": "path", "required": True},
    "owner": {"type": "str"},
    "group": {"type": "str"},
    "common_config": {"type": "path"},
    "agent_ctl": {"type": "path"},
    "content": {"type": "str", "no_log": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}


def main() -> None:
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    agent = None
    try:
        desired = desired_files(module.params, module.check_mode)
        agent = find_agent(module.params["agent_ctl"], desired.config or desired.credentials, module.run_command)
        result = converge(CredentialsFileResource(desired, agent), module.check_mode, None)
    except CwagentError as error:
        restart_after_failure(agent, error, module.check_mode)
        result = error.to_result()
    end(module, result)


if __name__ == "__main__":
    main()
