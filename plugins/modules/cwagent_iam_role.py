#!/usr/bin/python
# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cwagent_iam_role
version_added: 1.0.0
short_description: Manage an IAM role for the Amazon CloudWatch agent
description:
  - Creates an IAM role that EC2 instances can use, with the policies that the CloudWatch agent needs, and an instance
    profile with this role. With O(trust=hybrid), the role is for servers that are registered with Systems Manager.
  - Repairs drift, and waits until IAM shows the changes.
  - The trust policy of a role that this collection did not create is changed only with O(adopt_existing=true) or
    O(exclusive=true). The module prints a warning if instances or hybrid servers cannot use the role, and if others can
    assume a role that it manages.
author: cwagent.iam contributors (@cwagent)
options:
  name:
    description: The name of the role, 1 to 64 characters.
    type: str
    required: true
  trust:
    description:
      - The servers that can use the role. With V(ec2), these are EC2 instances with an instance profile of the role.
      - With V(hybrid), these are servers outside EC2 that are registered with Systems Manager in this account, in the
        regions of O(trust_regions). Such a role has no instance profile.
    type: str
    choices: [ec2, hybrid]
    default: ec2
  trust_regions:
    description:
      - With O(trust=hybrid), the regions in which the servers are registered. Required with O(state=present).
      - A region is added to the trust policy only if the policy is still the one that this module writes, for any
        regions. No region is removed from it, not even with O(exclusive=true), because other servers can be registered
        there.
      - A trust policy that somebody else wrote or extended is changed only with O(exclusive=true), which replaces it.
        Otherwise, the module prints a warning that contains the regions that cannot use the role, and the statement to
        add.
    type: list
    elements: str
    default: []
  instance_profile:
    description:
      - The name of the instance profile of the role. The default is the name of the role.
      - Not allowed with O(trust=hybrid).
    type: str
  description:
    description:
      - The description of the role, up to 1000 characters.
      - When omitted, an existing role keeps its description, and a new one gets a description of its purpose.
    type: str
  max_session_duration:
    description: How long a session of the role can last, in seconds, from 3600 to 43200. Not changed when omitted.
    type: int
extends_documentation_fragment:
  - cwagent.iam.principal
  - cwagent.iam.wait
  - cwagent.iam.attributes
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - cwagent.iam.boto3.module
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

- name: Add the agent's permissions to the role of an application, and change nothing else on it
  cwagent.iam.cwagent_iam_role:
    name: shop-backend
    instance_profile: shop-backend-profile
    access: server

- name: Let servers outside EC2 that are registered with Systems Manager run the CloudWatch agent
  cwagent.iam.cwagent_iam_role:
    name: CloudWatchAgentHybridRole
    trust: hybrid
    trust_regions: [eu-central-1, eu-west-1]
    access: server
    ssm_policy: AmazonSSMManagedInstanceCore

- name: Delete the role
  cwagent.iam.cwagent_iam_role:
    name: CloudWatchAgentServerRole
    state: absent
"""

RETURN = r"""
role:
  description: The role. Null if it does not exist. In check mode, the ARN of a role that does not exist yet is null.
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
    tags: {"cwagent:managed": created, team: observability}
    trust_policy:
      Statement: [{Action: "sts:AssumeRole", Effect: Allow, Principal: {Service: ec2.amazonaws.com}}]
      Version: "2012-10-17"
instance_profile:
  description: The instance profile. Null if it does not exist, and with O(trust=hybrid).
  returned: success
  type: dict
  sample:
    arn: arn:aws:iam::123456789012:instance-profile/CloudWatchAgentServerRole
    id: AIPAIOSFODNN7EXAMPLE
    name: CloudWatchAgentServerRole
    path: /
    role: CloudWatchAgentServerRole
    tags: {"cwagent:managed": created, team: observability}
detached:
  description: The managed policies that the role lost, or would lose in check mode.
  returned: success
  type: list
  elements: dict
  sample:
    - {kind: role, name: CloudWatchAgentServerRole, policy: "arn:aws:iam::aws:policy/CloudWatchAgentServerPolicy"}
steps:
  description:
    - The steps that were taken, or would be taken in check mode.
    - If the task failed, the list contains all planned steps, or none if it failed before the first one. RV(done) lists
      the steps that were taken, and RV(not_done) the others.
  returned: always
  type: list
  elements: str
  sample: ["create role 'CloudWatchAgentServerRole'"]
counts:
  description:
    - How many of the RV(steps) create, update and delete something. After a failure, only the steps that were taken
      count.
  returned: when a plan was made
  type: dict
  sample: {create: 2, update: 2, delete: 0}
done:
  description: The steps that were taken before the task failed.
  returned: when the task failed after a plan was made
  type: list
  elements: str
  sample: ["create role 'CloudWatchAgentServerRole'"]
not_done:
  description: The steps that were not taken. For each item, the failed step comes first.
  returned: when a step failed
  type: list
  elements: str
  sample: ["attach CloudWatchAgentServerPolicy to role 'CloudWatchAgentServerRole'"]
blockers:
  description:
    - With O(state=absent), the reasons why the role was not deleted, for example that this collection did not create
      it. Without O(exclusive=true), they include everything on the role that this module does not manage.
  returned: success
  type: list
  elements: str
  sample: ["policy arn:aws:iam::aws:policy/ReadOnlyAccess"]
"""

from functools import partial

from ansible_collections.cwagent.iam.plugins.module_utils._ground.call import manage, run_module
from ansible_collections.cwagent.iam.plugins.module_utils._principals.role import RULES, SPEC, resource

work = partial(manage, resource)


def main() -> None:
    run_module(SPEC, RULES, work)


if __name__ == "__main__":
    main()
