#!/usr/bin/python
# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cwagent_shared_credentials
version_added: 1.0.0
short_description: Let the CloudWatch agent use the credentials of a server that is registered with Systems Manager
description:
  - The SSM agent of a server outside EC2 that is registered with Systems Manager keeps temporary credentials of the
    server's role in a credentials file, and renews them every half hour. This module waits for them and lets the
    CloudWatch agent on the same host use them.
  - Sets that file and its profile in the section C([credentials]) of the agent's C(common-config.toml). The agent reads
    the file again every ten minutes, without a restart.
  - Sets the region in that profile, because nothing else tells the region to an agent outside EC2 before it has read
    its configuration. A comment marks the line. A region that others have set is not changed.
  - The rest of both files is kept as it is, including comments, order and line ends, and the owner and mode of the
    files. Both files are written atomically. The module reads each file again immediately before it writes, so it never
    overwrites credentials that were renewed in the meantime.
  - The content of both files never appears in output, except the region and the two settings.
  - Fails before the first change if the CloudWatch agent could not read the credentials. This is the case if the SSM
    agent does not share them (C(Profile.ShareCreds)), or if the agent's C(run_as_user) cannot read the file.
  - Fails before the first change if the profile has the access key of a user, which the SSM agent would replace.
  - If the C(common-config.toml) contains other credentials, it is changed only when STS accepts the credentials of the
    SSM agent, so the CloudWatch agent always has credentials that work. Check mode does not ask for that.
  - Afterwards, it asks STS with these credentials for their identity. RV(caller) shows that the credentials work. In
    check mode, it asks only if there is nothing to change.
  - The controller hands over the address of STS. The module prefers the host's variables C(AWS_ENDPOINT_URL_STS) and
    C(AWS_ENDPOINT_URL), and uses C(AWS_CA_BUNDLE) and the proxy there. Without these, it uses the certificates and the
    proxy in the agent's C(common-config.toml).
author: cwagent.iam contributors (@cwagent)
requirements:
  - python >= 3.9
options:
  region:
    description: The region in which the server is registered, and whose Parameter Store has its configuration.
    type: str
    required: true
  common_config:
    description:
      - The absolute path of the agent's C(common-config.toml) on the host. A missing file is created.
      - Fails before the first change if a value in the file does not end on its line, such as a multi-line string, or
        if a setting of C([credentials]) is not on its own line in that section.
      - The agent's other configuration, which is read for C(run_as_user), is in the same folder.
    type: path
    default: /opt/aws/amazon-cloudwatch-agent/etc/common-config.toml
  ssm_agent_config:
    description:
      - The absolute path of the SSM agent's configuration on the host, which does not have to exist.
      - It determines the profile, which is C(Profile.ShareProfile), or C(default).
    type: path
    default: /etc/amazon/ssm/amazon-ssm-agent.json
  credentials_file:
    description:
      - The absolute path of the file that the SSM agent keeps.
      - By default, the module asks systemd for the environment of the SSM agent. The path is
        C(AWS_SHARED_CREDENTIALS_FILE) there, or C(.aws/credentials) in its home directory, which is C(/root).
    type: path
  role:
    description:
      - The name of the server's role, with or without its path. An agent that has other credentials keeps them while
        the SSM agent has credentials of another role.
      - By default, they can belong to any role.
    type: str
  state:
    description:
      - Whether the agent uses the credentials.
      - V(absent) removes the agent's settings if they refer to the file, and the region if this module has set it. It
        never removes the credentials.
      - With V(absent), a file that is not valid is left as it is. Without a valid O(ssm_agent_config), the profile is
        C(default).
    type: str
    choices: [present, absent]
    default: present
  wait_timeout:
    description:
      - How long to wait until the SSM agent has written credentials, in seconds, and until STS accepts them if the
        agent has others. Otherwise, nothing is changed.
      - Check mode does not wait.
    type: int
    default: 180
  endpoint:
    description: Set by the controller. A task must not set it.
    type: dict
extends_documentation_fragment:
  - cwagent.iam.agent_ctl
  - cwagent.iam.steps
  - cwagent.iam.attributes
  - cwagent.iam.environment
attributes:
  check_mode:
    details: In check mode, a missing credentials file is not an error, because the SSM agent would have created it.
  diff_mode:
    details: The diff only contains the region and the agent's two settings, and nothing else from the files.
seealso:
  - module: cwagent.iam.cwagent_credentials_file
"""

EXAMPLES = r"""
- name: Let the agent use the credentials of this registered server
  cwagent.iam.cwagent_shared_credentials:
    region: eu-central-1
  become: true
"""

RETURN = r"""
path:
  description: The path of the file that the SSM agent keeps.
  returned: success
  type: str
  sample: /root/.aws/credentials
profile:
  description: The profile with the credentials in that file.
  returned: success
  type: str
  sample: default
caller:
  description:
    - The ARN that STS returns for the credentials. It ends with the ID of the server in Systems Manager.
    - Null if STS did not return it. RV(caller_error) then has the reason.
    - In check mode, it is returned only if C(steps) is empty.
  returned: success with O(state=present)
  type: str
  sample: arn:aws:sts::123456789012:assumed-role/CloudWatchAgentHybridRole/mi-0123456789abcdef0
caller_error:
  description:
    - Why RV(caller) is null. STS did not answer within ten seconds, twice, or it refused the credentials. The task does
      not fail then, because the files are as desired.
    - Null if STS returned the ARN.
    - In check mode, it is returned only if C(steps) is empty.
  returned: success with O(state=present)
  type: str
  sample: STS refused the credentials (ExpiredToken).
"""

from ansible_collections.cwagent.iam.plugins.module_utils._ground.converge import converge, end
from ansible_collections.cwagent.iam.plugins.module_utils._ground.environment import EnvironmentModule
from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import CwagentError
from ansible_collections.cwagent.iam.plugins.module_utils._ground.wait import Deadline
from ansible_collections.cwagent.iam.plugins.module_utils._servers import shared_credentials
from ansible_collections.cwagent.iam.plugins.module_utils._servers.restart import find_agent, restart_after_failure
from ansible_collections.cwagent.iam.plugins.module_utils._servers.shared_credentials import (
    SharedCredentialsResource,
    find_shared_file,
)

SPEC = shared_credentials.SPEC


def main() -> None:
    module = EnvironmentModule(argument_spec=SPEC, supports_check_mode=True)
    module.check_environment()
    agent = None
    try:
        desired = shared_credentials.desired_files(
            module.params, lambda: find_shared_file(module.get_bin_path("systemctl"), module.run_command)
        )
        agent = find_agent(module.params["agent_ctl"], desired.config, module.run_command)
        resource = SharedCredentialsResource(desired, agent, module.params["endpoint"])
        if desired.is_present and not module.check_mode:
            resource.wait_for_credentials(Deadline(module.params["wait_timeout"]))
        result = converge(resource, module.check_mode, None)
        # The request only reads. Before the steps, it would be for credentials, or with a proxy, that change.
        if desired.is_present and not (module.check_mode and result["steps"]):
            result.update(resource.find_caller())
    except CwagentError as error:
        restart_after_failure(agent, error, module.check_mode)
        result = error.to_result()
    end(module, result)


if __name__ == "__main__":
    main()
