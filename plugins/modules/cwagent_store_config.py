#!/usr/bin/python
# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cwagent_store_config
version_added: 1.0.0
short_description: Store configurations from a host that has the permission only during that time
description:
  - Acquires the permission to store configurations for a host, stores them, and releases the permission, whatever
    happens. The role P(cwagent.iam.store_config#role) uses this module.
  - An EC2 instance gets the admin profile, which only one instance of a region can have. The module first writes the
    name of the earlier profile to the admin role as the restore record, the tag
    C(cwagent:earlier-profile:REGION:INSTANCE), and to the instance as the restore tag C(cwagent:earlier-profile). Then
    it opens the admin window for this instance and these parameters. After storing, it restores the profile and closes
    the window before anything else.
  - The record decides which profile an instance goes back to, because fewer people can tag the admin role than
    instances. A restore tag without a record was written by somebody else. It is ignored and not removed, and the
    module prints a warning.
  - An on-premises host gets the admin window of a user, see
    M(cwagent.iam.cwagent_admin_window).
  - If Ctrl-C, SIGTERM, the end of the terminal or the time limit of a task interrupts the run, the permission is
    released within seconds. The restore tag and the record stay, so that the next run can clean up. On systems other
    than Linux, the permission is not released if Ansible's main process is killed.
  - Ansible itself calls AWS, with boto3 in the Python that runs it. M(cwagent.iam.cwagent_store_host) does the work on
    the host, over the connection of the task. The host needs no boto3. There, O(endpoint_url), O(aws_ca_bundle) and
    O(validate_certs) have the same meaning. O(aws_config) and O(debug_botocore_endpoint_logs) have none.
  - After a failure, C(steps) and C(done) are the steps that were taken, including those that released the permission.
author: cwagent.iam contributors (@cwagent)
options:
  state:
    description:
      - V(validated) validates the configurations, without calling AWS. RV(failure) contains the reason if they are
        refused.
      - V(fitted) validates them, and returns the fitted policy, which allows what agents with these
        configurations need. It fails if a part of one needs permissions that are not known or that nothing limits.
      - V(compared) validates them, compares them with the stored ones, and checks that the host could store the ones
        that differ. It changes nothing. Later tasks can create the resources that storing needs.
      - V(stored) does the same unless O(compared) is the result of such a task, acquires the permission, stores the
        configurations that differ, and releases the permission.
      - V(opened) only acquires the permission, so that a person can use it on the instance until the deadline of the
        admin window. O(from) then means V(instance), unless it is V(run_command). The permission is released if that
        fails or is interrupted. Otherwise, M(cwagent.iam.cwagent_restore) releases it later.
    type: str
    choices: [validated, fitted, compared, stored, opened]
    default: stored
  from:
    description:
      - The host that stores the configurations. V(instance) is the EC2 instance of the task, with its own credentials,
        over its connection.
      - V(onprem) is the host of the task, with the access key of the admin user, see O(credentials_file).
      - V(run_command) is the EC2 instance of the task, but through Run Command of Systems Manager. Ansible does not
        connect to it. The SSM agent must be online, and the admin role needs a policy for it, see
        O(cwagent.iam.ec2_admin#role:main:ec2_admin_ssm_policy). The instance needs Linux and the AWS CLI.
      - V(auto) is V(instance) if Ansible can reach the instance, and V(run_command) otherwise.
      - V(controller) is Ansible itself, with the credentials of the task. No admin window is opened.
    type: str
    choices: [instance, run_command, auto, onprem, controller]
    default: instance
  account_id:
    description: The ID of the account of the servers, with O(state=fitted). When empty, the policy has a wildcard.
    type: str
    default: ""
  agent_schema_path:
    description:
      - The path of the agent's schema on the host, where the agent installs it by default. Without O(agent_schema),
        configurations that differ are validated with it. When empty, they are not.
      - The source of the default is
        U(https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch-Agent-Configuration-File-Details.html).
    type: str
    default: /opt/aws/amazon-cloudwatch-agent/doc/amazon-cloudwatch-agent-schema.json
  parameter_tags:
    description: The tags of the parameters. Ansible itself sets them, because admin principals may not.
    type: dict
    default: {}
  remove_surplus_parameters:
    description: Whether to delete the parameters that an earlier, larger configuration has left.
    type: bool
    default: false
  instance_id:
    description: The ID of the instance. Required with O(from=instance) and O(from=run_command).
    type: str
    default: ""
  admin_profile:
    description: The admin instance profile.
    type: str
    default: CloudWatchAgentAdminRole
  admin_role_name:
    description:
      - The role in O(admin_profile), which has the restore record and the admin window. The default is the name of the
        profile.
    type: str
  server_profile:
    description:
      - The instance profile that the instance gets if it has the admin profile and no record, or if its earlier profile
        no longer exists.
    type: str
    default: CloudWatchAgentServerRole
  admin_user_name:
    description: The admin user, with O(from=onprem).
    type: str
    default: CloudWatchAgentAdminUser
  credentials_file:
    description:
      - A credentials file on the host, with O(from=onprem). Its access key is used instead of the saved one. A profile
        with another source of credentials is refused, such as C(role_arn) or C(credential_process).
      - When empty, the controller reads the saved access key with the AWS credentials of this task. It sends the key to
        the host for the module that stores, and no other credentials are used there.
      - The secret never appears on a disk of the host, in output at any verbosity, or in the arguments or the
        environment of a process. Without pipelining, Ansible would write the options of the module to a temporary file.
        So the task turns on pipelining, and fails where that is impossible.
    type: str
    default: ""
  credentials_profile:
    description: The AWS profile in the saved file, or in O(credentials_file).
    type: str
    default: AmazonCloudWatchAgent
  admin_window:
    description:
      - Whether there is an admin window to open and close.
      - If a task in O(planned) created or changed the admin principal, the module does not examine what else is on it.
    type: bool
    default: true
  admin_window_minutes:
    description: How long the admin window stays open unless it is closed earlier, in minutes, from 1 to 720.
    type: int
    default: 15
  identity_timeout:
    description: How long to wait until the instance has another identity, in seconds.
    type: int
    default: 300
  permission_timeout:
    description: How long to retry when AWS denies storing a configuration, in seconds.
    type: int
    default: 180
  wait_timeout:
    description: How long to wait until AWS shows what was written, in seconds.
    type: int
    default: 180
extends_documentation_fragment:
  - cwagent.iam.configs
  - cwagent.iam.configuration
  - cwagent.iam.saved_key
  - cwagent.iam.planned
  - cwagent.iam.steps
  - cwagent.iam.attributes
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - cwagent.iam.boto3.module
  - cwagent.iam.environment
"""

EXAMPLES = r"""
- name: Store the configuration from this instance
  cwagent.iam.cwagent_store_config:
    configs:
      - name: AmazonCloudWatch-linux
        file: linux.json
    instance_id: i-0123456789abcdef0
    region: eu-central-1
"""

RETURN = r"""
phases:
  description: The steps by phase, in the order in which they were taken.
  returned: when the options are valid
  type: list
  elements: dict
  sample:
    - name: acquired
      steps: ["open the admin window of role 'CloudWatchAgentAdminRole' until 2026-11-24T16:15:00Z"]
      counts: {create: 0, update: 1, delete: 0}
configurations:
  description: The configurations that were stored, with the parameters that servers fetch.
  returned: when the options are valid
  type: list
  elements: dict
  sample: [{name: AmazonCloudWatch-linux, region: eu-central-1, parameters: [{name: AmazonCloudWatch-linux}]}]
window:
  description: The admin window of an instance when it was acquired, as M(cwagent.iam.cwagent_admin_window) returns it.
  returned: when it was opened
  type: dict
  sample: {access_keys: [], deadline: "2026-11-24T16:15:00Z", instance_id: i-0123456789abcdef0, state: open}
compared:
  description:
    - The compared configurations, for the option O(compared). C(digest) is the digest of the file, C(exists) whether it
      was stored before, and C(differs) whether there is something to do. Their contents are not in the result, because
      Ansible prints results.
  returned: with O(state=compared)
  type: list
  elements: dict
  sample:
    - {name: AmazonCloudWatch-linux, region: eu-central-1, exists: true, differs: true,
       digest: ca3d163bab055381827226140568f3bef7eaac187cebd76878e0b63e9e442356}
source:
  description: The host that stores, which is O(from) or, with V(auto), the choice that works.
  returned: when the options are valid, except with O(state=validated) and O(state=fitted)
  type: str
  sample: instance
earlier_identity:
  description: The instance profile and the role that the instance has, for the option O(compared).
  returned: with O(state=compared)
  type: dict
  sample: {instance_profile: CloudWatchAgentServerRole, role: CloudWatchAgentServerRole}
failure:
  description: Why the configurations are refused, with the first problem of each. Empty if they are not refused.
  returned: with O(state=validated)
  type: str
  sample: ""
problem_lines:
  description: The problems of the configurations, as lines of text. The module prints them too.
  returned: with O(state=validated)
  type: list
  elements: str
  sample: ["linux.json: 1 problem", "  3:5 $.agent.reigon: unknown key; did you mean 'region'?"]
findings:
  description: The problems, as in RV(cwagent.iam.cwagent_config_parameter#module:findings).
  returned: with O(state=validated)
  type: list
  elements: dict
  sample: []
errors:
  description: Errors that concern no single configuration, such as a schema that cannot be read.
  returned: with O(state=validated)
  type: list
  elements: str
  sample: []
policies:
  description: The documents of the fitted policy. There are several if one would be longer than IAM allows.
  returned: with O(state=fitted)
  type: list
  elements: dict
  sample: []
json:
  description: The document of the fitted policy as text. If there are several, the text is a list.
  returned: with O(state=fitted)
  type: str
  sample: ""
terraform:
  description: The fitted policy as resources of Terraform, for the account and the partition of its provider.
  returned: with O(state=fitted)
  type: str
  sample: ""
cloudformation:
  description: The fitted policy as a template of CloudFormation, for the account and the partition of its stack.
  returned: with O(state=fitted)
  type: str
  sample: ""
released:
  description: Whether the permission was acquired and released.
  returned: when the options are valid
  type: bool
  sample: true
"""

from ansible_collections.cwagent.iam.plugins.module_utils._ground.call import run_module
from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._storing.options import RULES, SPEC


def work(_call: object) -> dict[str, object]:
    """Refuse to run on a host: the action of this name does the work."""
    raise InvalidInput("cwagent_store_config runs inside Ansible only.")


def main() -> None:
    run_module(SPEC, RULES, work)


if __name__ == "__main__":
    main()
