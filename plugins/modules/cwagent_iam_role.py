#!/usr/bin/python
# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: cwagent_iam_role
version_added: 1.0.0
short_description: Manage an IAM role for the Amazon CloudWatch agent
description:
  - Makes an IAM role that EC2 instances can use, with the policies the CloudWatch agent needs, and the instance profile
    that puts it on them; repairs what has drifted.
  - Waits until IAM shows what was made.
author: cwagent.iam contributors (@cwagent)
options:
  name:
    description: The name of the role, 1 to 64 characters.
    type: str
    required: true
  instance_profile:
    description: The name of the instance profile that holds the role. The default is the name of the role.
    type: str
  description:
    description: The description of the role, up to 1000 characters. Left as it is when omitted.
    type: str
  max_session_duration:
    description: How long a session of the role may last, in seconds, from 3600 to 43200. Left as it is when omitted.
    type: int
extends_documentation_fragment:
  - cwagent.iam.principal
  - cwagent.iam.wait
  - cwagent.iam.attributes
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
seealso:
  - module: amazon.aws.iam_role
"""

EXAMPLES = r"""
- name: Let EC2 instances run the CloudWatch agent
  cwagent.iam.cwagent_iam_role:
    name: CloudWatchAgentServerRole
    access: server
    ssm_policy: AmazonSSMManagedInstanceCore
    tags:
      team: observability

- name: Give an application's own role the agent's rights, and touch nothing else on it
  cwagent.iam.cwagent_iam_role:
    name: shop-backend
    instance_profile: shop-backend-profile
    access: server

- name: Take the role down
  cwagent.iam.cwagent_iam_role:
    name: CloudWatchAgentServerRole
    state: absent
"""

RETURN = r"""
role:
  description: The role; null when there is none. Its ARN is null in check mode when the role is yet to be made.
  returned: success
  type: dict
  sample:
    arn: arn:aws:iam::123456789012:role/CloudWatchAgentServerRole
    description: Lets EC2 instances run the CloudWatch agent
    inline_policies: []
    managed_policies: ["arn:aws:iam::aws:policy/CloudWatchAgentServerPolicy"]
    max_session_duration: 3600
    name: CloudWatchAgentServerRole
    path: /
    permissions_boundary: null
    tags: {team: observability}
    trust_policy:
      Statement: [{Action: "sts:AssumeRole", Effect: Allow, Principal: {Service: ec2.amazonaws.com}}]
      Version: "2012-10-17"
instance_profile:
  description: The instance profile; null when there is none.
  returned: success
  type: dict
  sample:
    arn: arn:aws:iam::123456789012:instance-profile/CloudWatchAgentServerRole
    name: CloudWatchAgentServerRole
    path: /
    role: CloudWatchAgentServerRole
    tags: {team: observability}
steps:
  description:
    - What was done, or in check mode would be done, in order.
    - When the task has failed, what was to be done; empty where nothing was begun. C(done) and C(not_done) tell then
      what of it was.
  returned: always
  type: list
  elements: str
  sample: ["create role 'CloudWatchAgentServerRole'"]
stays:
  description: With O(state=absent), what is on the role that is not the agent's and kept it from being deleted.
  returned: success
  type: list
  elements: str
  sample: ["policy arn:aws:iam::aws:policy/ReadOnlyAccess"]
"""

from ansible_collections.cwagent.iam.plugins.module_utils import _module
from ansible_collections.cwagent.iam.plugins.module_utils._role.options import REQUIRED_IF, SPEC, wanted
from ansible_collections.cwagent.iam.plugins.module_utils._role.resource import RoleResource


def main() -> None:
    module = _module.aws_module(SPEC, required_if=REQUIRED_IF)
    with _module.fail_on_error(module):
        present = module.params["state"] == "present"
        resource = RoleResource(_module.aws(module), wanted(module.params, module.region), present)
        _module.run(module, resource)


if __name__ == "__main__":
    main()
