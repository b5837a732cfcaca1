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
  - Makes no call but C(ec2:DescribeInstances), and that only for O(instance_ids).
author: cwagent.iam contributors
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

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ansible_collections.cwagent.iam.plugins.module_utils import _config, _module, _names
from ansible_collections.cwagent.iam.plugins.module_utils._association import unfit_instance
from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws
from ansible_collections.cwagent.iam.plugins.module_utils._credentials import FileStore
from ansible_collections.cwagent.iam.plugins.module_utils._ec2 import instance_states
from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

NAMES = {"type": "list", "elements": "str", "default": []}
SPEC = {
    "roles": NAMES,
    "users": NAMES,
    "instance_ids": NAMES,
    "parameters": NAMES,
    "credentials_directory": {"type": "path"},
    **{option: _module.PRINCIPAL_SPEC[option] for option in ("ssm_policy", "path", "permissions_boundary", "tags")},
}


def checks(module: AnsibleAWSModule) -> Iterator[Callable[[], None]]:
    """All that can be checked without asking AWS; each raises InvalidInput."""
    params = module.params
    yield from (partial(_names.check_name, "role", name) for name in params["roles"])
    yield from (partial(_names.check_name, "user", name) for name in params["users"])
    yield from (partial(_config.check_parameter_name, name) for name in params["parameters"])
    yield from (partial(_names.check_instance_id, instance_id) for instance_id in params["instance_ids"])
    yield partial(_module.check_principal, params, _names.partition_of(module.region))
    if params["credentials_directory"]:
        yield FileStore(Path(params["credentials_directory"]).absolute(), "", None).check


def problems(module: AnsibleAWSModule) -> list[str]:
    """What is wrong, in words; EC2 is only asked when nothing else is."""
    found = []
    for check in checks(module):
        try:
            check()
        except InvalidInput as error:
            found.append(str(error))
    instance_ids = module.params["instance_ids"]
    if found or not instance_ids:
        return found
    states = instance_states(Aws(module.client), instance_ids)
    unfit = (unfit_instance(instance_id, states.get(instance_id)) for instance_id in instance_ids)
    return [problem for problem in unfit if problem]


def main() -> None:
    module = _module.aws_module(SPEC)
    with _module.reporting(module):
        found = problems(module)
        if found:
            module.fail_json(msg=f"{' '.join(found)} Nothing was changed.", problems=found)
        module.exit_json(changed=False)


if __name__ == "__main__":
    main()
