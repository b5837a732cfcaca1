#!/usr/bin/python
# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cwagent_preflight
version_added: 1.0.0
short_description: (internal) Validate the inputs of a playbook before anything is changed
description:
  - Checks names and instances for a playbook that uses several modules of this collection one after the other. It finds
    a mistake in the input of the last module before the first module changes anything.
  - Reports all problems together.
  - Calls AWS only for O(instances), O(profiles_to_delete), O(users_to_delete), O(saved_users),
    O(configs_to_delete) and O(report_unlisted). For O(instances) alone, the only call is C(ec2:DescribeInstances).
author: cwagent.iam contributors (@cwagent)
options:
  instances:
    description:
      - By region, the IDs of instances. An instance that does not exist or is terminated is a problem.
      - The empty name stands for the region of the module.
    type: dict
    default: {}
  profiles_to_delete:
    description:
      - Names of instance profiles that are to be deleted. An instance of any enabled region that has one of them is a
        problem, unless it is in O(expected_instance_ids).
      - This takes C(ec2:DescribeRegions) and, in each region, C(ec2:DescribeIamInstanceProfileAssociations). A region
        where a policy explicitly denies the latter is skipped with a warning, because an organization can have disabled
        it.
    type: list
    elements: str
    default: []
  expected_instance_ids:
    description: IDs of the instances that O(profiles_to_delete) will be disassociated from.
    type: list
    elements: str
    default: []
  users_to_delete:
    description:
      - The names of the users to delete, by the region in which their keys are saved. A user that this collection
        neither created nor adopted is a problem. A user that does not exist is a warning.
    type: dict
    default: {}
  default_users:
    description:
      - Pairs of names in O(users_to_delete). The key can be the name of a user or of a host, and the value is the name
        of that host's user. If a user has the first name, RV(users_to_delete) does not contain the second one.
      - If the credentials may read only one of the two users, the other one counts as missing.
    type: dict
    default: {}
  optional_users:
    description: Names in O(users_to_delete) of users that need not exist. The module prints no warning for them.
    type: list
    elements: str
    default: []
  saved_users:
    description:
      - Names of users whose saved keys in O(key_store_directory) are to be deleted. If there are such files and none of
        the users exists, that is a problem, because the users may belong to another account.
    type: list
    elements: str
    default: []
  configs_to_delete:
    description:
      - By region, the names of the parameters of configurations that the run deletes. RV(unlisted) mentions the other
        parameters of these regions whose names begin with C(AmazonCloudWatch-).
      - For each region, this takes one call of C(ssm:DescribeParameters) for every 50 parameters. If a call is not
        possible, RV(unlisted) mentions that.
    type: dict
    default: {}
extends_documentation_fragment:
  - cwagent.iam.unlisted
  - cwagent.iam.attributes.reading
  - cwagent.iam.attributes
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - cwagent.iam.boto3
"""

EXAMPLES = r"""
- name: Validate the inputs
  cwagent.iam.cwagent_preflight:
    instances:
      eu-central-1: [i-0123456789abcdef0]
"""

RETURN = r"""
unlisted:
  description:
    - With O(report_unlisted) or O(configs_to_delete), sentences about everything that is not in the inventory.
  returned: success
  type: list
  elements: str
  sample: ["Users of this collection that no host of this inventory has: CloudWatchAgentServerUser-db9."]
users_to_delete:
  description: The users of O(users_to_delete) that are to be deleted, even if they do not exist.
  returned: success
  type: dict
  sample: {eu-central-1: [CloudWatchAgentServerUser-db9]}
problems:
  description: All problems that were found.
  returned: when an input has a problem
  type: list
  elements: str
  sample: ["Instance i-0123456789abcdef0 does not exist in eu-central-1 and this account."]
"""

from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils import _module
from ansible_collections.cwagent.iam.plugins.module_utils._preflight.checks import check_inputs
from ansible_collections.cwagent.iam.plugins.module_utils._preflight.resource import Preflight
from ansible_collections.cwagent.iam.plugins.module_utils._preflight.unlisted import UNLISTED_SPEC

if TYPE_CHECKING:
    from ansible_collections.cwagent.iam.plugins.module_utils._call import Call

NAMES = {"type": "list", "elements": "str", "default": []}
SPEC = {
    "instances": {"type": "dict", "default": {}},
    "profiles_to_delete": NAMES,
    "expected_instance_ids": NAMES,
    "users_to_delete": {"type": "dict", "default": {}},
    "default_users": {"type": "dict", "default": {}},
    "optional_users": NAMES,
    "saved_users": NAMES,
    "configs_to_delete": {"type": "dict", "default": {}},
    **UNLISTED_SPEC,
}

RULES: dict[str, Any] = {}


def work(call: Call) -> dict[str, Any]:
    """Check the instances, principals and keys of a run before its first write."""
    inputs = check_inputs(call.params)
    return {"changed": False, **Preflight(inputs, call.client, check_mode=call.check_mode).result()}


def main() -> None:
    _module.run_module(SPEC, RULES, work)


if __name__ == "__main__":
    main()
