#!/usr/bin/python
# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: cwagent_preflight
version_added: 1.0.0
short_description: Refuse what AWS would refuse, before anything is changed
description:
  - Checks names, options and instances for a playbook that uses several modules of this collection one after the other,
    so that a mistake in what the last one gets is found before the first one has changed anything.
  - With O(ec2_access), it also tells whether there is anything to do for EC2 instances. One module that reads all of it
    takes a fraction of the time of several that find nothing to do.
  - Makes no call but C(ec2:DescribeInstances), and that only for O(instances), and those for O(retired_profiles) and
    O(ec2_access).
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
      - By region, the ids of instances. They exist and are not terminated. With O(ec2_access), those that carry an
        instance profile are not looked up, since they are there.
      - The empty name stands for the region of the module.
    type: dict
    default: {}
  parameters:
    description: Names of parameters for agent configurations.
    type: list
    elements: str
    default: []
  retired_profiles:
    description:
      - Names of instance profiles that are to be deleted. No instance of any enabled region may carry them, except
        those in O(retired_from). This takes C(ec2:DescribeRegions) and, in each,
        C(ec2:DescribeIamInstanceProfileAssociations). A region where a policy explicitly denies that is passed over
        with a warning, since an organization can have closed it.
    type: list
    elements: str
    default: []
  retired_from:
    description: Ids of the instances that O(retired_profiles) will be taken off.
    type: list
    elements: str
    default: []
  ec2_access:
    description:
      - What O(instances) are to have, to learn whether they have it.
      - The calls are those that the modules M(cwagent.iam.cwagent_iam_role), M(cwagent.iam.cwagent_instance_profile),
        M(cwagent.iam.cwagent_admin_window) and M(cwagent.iam.cwagent_admin_instance) read with, each made once. Where
        there is something to put back, the roles are not read. Where a call fails, or something cannot be had as it is
        wanted, all parts are due, and the module that needs it says why.
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
      replace:
        description: As in M(cwagent.iam.cwagent_instance_profile). Without it, other profiles are kept.
        type: bool
        default: false
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
    description: For how long an admin window is to be open, in minutes.
    type: int
  credentials_directory:
    description: A folder that can be written, or made.
    type: path
attributes:
  diff_mode:
    support: none
    details: It changes nothing.
extends_documentation_fragment:
  - cwagent.iam.attributes
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
"""

EXAMPLES = r"""
- name: Refuse what AWS would refuse
  cwagent.iam.cwagent_preflight:
    roles: [CloudWatchAgentServerRole, CloudWatchAgentAdminRole]
    instances:
      eu-central-1: [i-0123456789abcdef0]

- name: See whether an instance has the server profile, and nothing was left behind
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
due:
  description:
    - With O(ec2_access), the parts for which there is something to do, or to warn of.
    - V(profiles), an interrupted run left an instance with the admin profile, or with a note of its earlier one.
      V(window), the admin window of the role is not as it should be between runs. V(access), something is missing on
      the roles, on their instance profiles or on an instance.
  returned: success, with O(ec2_access) and O(instances)
  type: list
  elements: str
  sample: [access]
problems:
  description: All that was found.
  returned: failure
  type: list
  elements: str
  sample: ["Instance i-0123456789abcdef0 does not exist in this region and account."]
"""

from ansible_collections.cwagent.iam.plugins.module_utils import _module
from ansible_collections.cwagent.iam.plugins.module_utils._preflight.checks import Preflight

NAMES = {"type": "list", "elements": "str", "default": []}
EC2_ACCESS = {
    "server": {"type": "dict", "required": True},
    "admin": {"type": "dict", "required": True},
    "replace": {"type": "bool", "default": False},
}
SPEC = {
    "roles": NAMES,
    "users": NAMES,
    "instances": {"type": "dict", "default": {}},
    "parameters": NAMES,
    "retired_profiles": NAMES,
    "retired_from": NAMES,
    "window_minutes": {"type": "int"},
    "credentials_directory": {"type": "path"},
    "ec2_access": {"type": "dict", "options": EC2_ACCESS},
    **{option: _module.PRINCIPAL_SPEC[option] for option in ("ssm_policy", "path", "permissions_boundary", "tags")},
}


def main() -> None:
    module = _module.aws_module(SPEC)
    with _module.fail_on_error(module):
        _module.exit_module(module, changed=False, **Preflight(module.params, module.region, module.client).result())


if __name__ == "__main__":
    main()
