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
  - Makes no call but C(ec2:DescribeInstances), and that only for O(instance_ids), and those for O(retired_profiles).
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
  instance_ids:
    description: Ids of instances of this region. They exist and are not terminated.
    type: list
    elements: str
    default: []
  parameters:
    description: Names of parameters for agent configurations.
    type: list
    elements: str
    default: []
  retired_profiles:
    description:
      - Names of instance profiles that are to be deleted. No instance of any enabled region may carry them, except
        those in O(retired_from). This takes C(ec2:DescribeRegions) and, in each,
        C(ec2:DescribeIamInstanceProfileAssociations).
    type: list
    elements: str
    default: []
  retired_from:
    description: Ids of the instances that O(retired_profiles) will be taken off.
    type: list
    elements: str
    default: []
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
  credentials_directory:
    description: A folder that can be written, or made.
    type: path
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
    instance_ids: [i-0123456789abcdef0]
    region: eu-central-1
"""

RETURN = r"""
problems:
  description: All that was found.
  returned: failure
  type: list
  elements: str
  sample: ["Instance i-0123456789abcdef0 does not exist in this region and account."]
"""

from ansible_collections.cwagent.iam.plugins.module_utils import _module
from ansible_collections.cwagent.iam.plugins.module_utils._preflight import problems

NAMES = {"type": "list", "elements": "str", "default": []}
SPEC = {
    "roles": NAMES,
    "users": NAMES,
    "instance_ids": NAMES,
    "parameters": NAMES,
    "retired_profiles": NAMES,
    "retired_from": NAMES,
    "credentials_directory": {"type": "path"},
    **{option: _module.PRINCIPAL_SPEC[option] for option in ("ssm_policy", "path", "permissions_boundary", "tags")},
}


def main() -> None:
    module = _module.aws_module(SPEC)
    with _module.reporting(module):
        found = problems(module.params, module.region, module.client)
        if found:
            module.fail_json(msg=f"{' '.join(found)} Nothing was changed.", problems=found)
        module.exit_json(changed=False)


if __name__ == "__main__":
    main()
