#!/usr/bin/python
# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cwagent_preflight
version_added: 1.0.0
short_description: Validate the inputs of a playbook before anything is changed
description:
  - Checks names, options and instances for a playbook that uses several modules of this collection one after the other.
    A mistake in the input of the last module is found before the first module changes anything.
  - Reports all problems together.
  - With O(ec2_access), it also finds how the access of EC2 instances differs from the desired one. One module that
    reads everything takes a fraction of the time of several modules that find nothing to do.
  - Calls AWS only for O(instances), O(profiles_to_delete) and O(ec2_access). For O(instances) alone, the only call is
    C(ec2:DescribeInstances).
author: cwagent.iam contributors (@cwagent)
options:
  roles:
    description: Names of roles and of their instance profiles.
    type: list
    elements: str
    default: []
  users:
    description: Names of users.
    type: list
    elements: str
    default: []
  instances:
    description:
      - By region, the IDs of instances. An instance that does not exist or is terminated is a problem. With
        O(ec2_access), an instance that has an instance profile is not looked up, since it must exist.
      - The empty name stands for the region of the module.
    type: dict
    default: {}
  parameters:
    description: Names of parameters for agent configurations.
    type: list
    elements: str
    default: []
  profiles_to_delete:
    description:
      - Names of instance profiles that are to be deleted. An instance of any enabled region that has one of them is a
        problem, unless it is in O(expected_instance_ids).
      - This takes C(ec2:DescribeRegions) and, in each region, C(ec2:DescribeIamInstanceProfileAssociations). A region
        where a policy explicitly denies the latter is skipped with a warning, since an organization can have disabled
        it.
    type: list
    elements: str
    default: []
  expected_instance_ids:
    description: IDs of the instances that O(profiles_to_delete) will be disassociated from.
    type: list
    elements: str
    default: []
  ec2_access:
    description:
      - The access that O(instances) are to have, to find whether they have it.
      - The calls are those with which the modules M(cwagent.iam.cwagent_iam_role),
        M(cwagent.iam.cwagent_instance_profile), M(cwagent.iam.cwagent_admin_window) and
        M(cwagent.iam.cwagent_admin_instance) read, each made once. Where an interrupted run left something to restore,
        the roles are not read. Where a call fails, or something cannot be as desired, RV(drift) has all parts, and the
        module that needs it reports the error.
    type: dict
    suboptions:
      server:
        description: The options of M(cwagent.iam.cwagent_iam_role) for the server role.
        type: dict
        required: true
      admin:
        description: The options of M(cwagent.iam.cwagent_iam_role) for the admin role.
        type: dict
        required: true
      on_existing:
        description: As in M(cwagent.iam.cwagent_instance_profile).
        type: str
        choices: [keep, replace]
        default: keep
  ssm_policy:
    description: As in M(cwagent.iam.cwagent_iam_role).
    type: str
    choices: [none, AmazonSSMManagedInstanceCore, AmazonEC2RoleforSSM]
  path:
    description: As in M(cwagent.iam.cwagent_iam_role).
    type: str
  permissions_boundary:
    description: As in M(cwagent.iam.cwagent_iam_role).
    type: str
  tags:
    description: As in M(cwagent.iam.cwagent_iam_role).
    type: dict
    aliases: [resource_tags]
  window_minutes:
    description: How long an admin window is to be open, in minutes.
    type: int
  credentials_directory:
    description: A folder for credentials files. It must be writable, or possible to create.
    type: path
attributes:
  diff_mode:
    support: none
    details: The module changes nothing.
extends_documentation_fragment:
  - cwagent.iam.attributes
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - cwagent.iam.boto3
"""

EXAMPLES = r"""
- name: Validate the inputs
  cwagent.iam.cwagent_preflight:
    roles: [CloudWatchAgentServerRole, CloudWatchAgentAdminRole]
    instances:
      eu-central-1: [i-0123456789abcdef0]

- name: Find whether an instance has the server profile and no interrupted run left anything to restore
  cwagent.iam.cwagent_preflight:
    instances:
      eu-central-1: [i-0123456789abcdef0]
    ec2_access:
      server:
        name: CloudWatchAgentServerRole
        access: server
      admin:
        name: CloudWatchAgentAdminRole
        access: admin
        admin_window: true
"""

RETURN = r"""
drift:
  description:
    - With O(ec2_access), the parts that need a change or a warning.
    - V(profiles), an instance has the admin profile, a restore tag or a restore record. V(window), the
      admin window of the role is not as it should be between runs. V(access), the roles, their instance profiles or
      the instance profile of an instance are not as desired.
  returned: success, with O(ec2_access) and O(instances)
  type: list
  elements: str
  sample: [access]
problems:
  description: All problems that were found.
  returned: when an input has a problem
  type: list
  elements: str
  sample: ["Instance i-0123456789abcdef0 does not exist in this region and account."]
"""

from ansible_collections.cwagent.iam.plugins.module_utils import _module
from ansible_collections.cwagent.iam.plugins.module_utils._instance_profile.plan import KEEP, REPLACE
from ansible_collections.cwagent.iam.plugins.module_utils._preflight.checks import check_inputs
from ansible_collections.cwagent.iam.plugins.module_utils._preflight.resource import Preflight
from ansible_collections.cwagent.iam.plugins.module_utils._principal.options import PRINCIPAL_SPEC

NAMES = {"type": "list", "elements": "str", "default": []}
EC2_ACCESS = {
    "server": {"type": "dict", "required": True},
    "admin": {"type": "dict", "required": True},
    "on_existing": {"type": "str", "choices": [KEEP, REPLACE], "default": KEEP},
}
SPEC = {
    "roles": NAMES,
    "users": NAMES,
    "instances": {"type": "dict", "default": {}},
    "parameters": NAMES,
    "profiles_to_delete": NAMES,
    "expected_instance_ids": NAMES,
    "window_minutes": {"type": "int"},
    "credentials_directory": {"type": "path"},
    "ec2_access": {"type": "dict", "options": EC2_ACCESS},
    **{option: PRINCIPAL_SPEC[option] for option in ("ssm_policy", "path", "permissions_boundary", "tags")},
}


def main() -> None:
    module = _module.aws_module(SPEC)
    with _module.fail_on_error(module):
        inputs = check_inputs(module.params, module.region)
        _module.exit_module(module, changed=False, **Preflight(inputs, module.client).result())


if __name__ == "__main__":
    main()
