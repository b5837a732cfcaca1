#!/usr/bin/python
# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: cwagent_instance_profile
version_added: 1.0.0
short_description: Put an instance profile on EC2 instances
description:
  - Puts an instance profile on a list of instances of one region, running or stopped, or takes it off.
  - Waits until EC2 shows it as the only one, and until EC2 knows a profile that was just made.
  - An instance that carries an earlier incarnation of the profile, deleted and made anew since, gets the present one.
author: cwagent.iam contributors (@cwagent)
options:
  name:
    description: The name of the instance profile.
    type: str
    required: true
  instance_ids:
    description:
      - The ids of the instances. To put the profile on, all of them must exist and not be terminated, or nothing is
        done for any.
    type: list
    elements: str
    required: true
    aliases: [instance_id]
  replace:
    description: Whether to put the profile in the place of another one. Otherwise another one is an error.
    type: bool
    default: false
  keep_other:
    description:
      - Whether to leave an instance that carries another profile as it is, with a warning that names the policies the
        role in it lacks, instead of an error. Without effect when O(replace=true).
    type: bool
    default: false
  exclusive:
    description: Whether to refuse, and change nothing, when an instance that is not in the list carries the profile.
    type: bool
    default: false
  state:
    description: Whether the profile is to be on the instances. V(absent) leaves other profiles alone.
    type: str
    choices: [present, absent]
    default: present
extends_documentation_fragment:
  - cwagent.iam.wait
  - cwagent.iam.attributes
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
"""

EXAMPLES = r"""
- name: Let two instances run the CloudWatch agent
  cwagent.iam.cwagent_instance_profile:
    name: CloudWatchAgentServerRole
    instance_ids: [i-0123456789abcdef0, i-0123456789abcdef1]
    region: eu-central-1

- name: Put the admin profile on one instance, and on no other
  cwagent.iam.cwagent_instance_profile:
    name: CloudWatchAgentAdminRole
    instance_ids: [i-0123456789abcdef0]
    replace: true
    exclusive: true
    region: eu-central-1
"""

RETURN = r"""
instances:
  description: The instances, in the order asked for, with the name of the instance profile before and now.
  returned: success
  type: list
  elements: dict
  sample:
    - instance_id: i-0123456789abcdef0
      profile: CloudWatchAgentAdminRole
      profile_before: CloudWatchAgentServerRole
steps:
  description:
    - What was done, or in check mode would be done.
    - When the task has failed, what was to be done; empty where nothing was begun. C(done) and C(not_done) tell then
      what of it was.
  returned: always
  type: list
  elements: str
  sample: ["put instance profile 'CloudWatchAgentServerRole' on instance i-0123456789abcdef0"]
done:
  description: What was done before the task failed.
  returned: when it failed, and had begun
  type: list
  elements: str
  sample: ["put instance profile 'P' on instance i-0123456789abcdef0"]
not_done:
  description: What is still to be done, for each instance the step that failed first.
  returned: when it failed, and had begun
  type: list
  elements: str
  sample: ["put instance profile 'P' on instance i-0123456789abcdef1"]
failures:
  description: By instance, why it could not be brought to what was asked for; the other instances were.
  returned: when an instance failed
  type: dict
  sample:
    i-0123456789abcdef1: >-
      Could not put instance profile 'P' on instance i-0123456789abcdef1 (ec2:AssociateIamInstanceProfile): access
      denied. ops lacks ec2:AssociateIamInstanceProfile; grant ec2:AssociateIamInstanceProfile to it and run again.
"""

from ansible_collections.cwagent.iam.plugins.module_utils import _module, _names
from ansible_collections.cwagent.iam.plugins.module_utils._instance_profile import plan as profile_plan
from ansible_collections.cwagent.iam.plugins.module_utils._instance_profile.resource import AssociationResource

SPEC = {
    "name": {"type": "str", "required": True},
    "instance_ids": {"type": "list", "elements": "str", "required": True, "aliases": ["instance_id"]},
    "replace": {"type": "bool", "default": False},
    "keep_other": {"type": "bool", "default": False},
    "exclusive": {"type": "bool", "default": False},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    **_module.WAIT_SPEC,
}


def main() -> None:
    module = _module.aws_module(SPEC)
    params = module.params
    with _module.fail_on_error(module):
        _names.check_name("instance profile", params["name"])
        for instance_id in params["instance_ids"]:
            _names.check_instance_id(instance_id)
        desired = profile_plan.DesiredProfile(
            name=params["name"],
            present=params["state"] == "present",
            replace=params["replace"],
            keep_other=params["keep_other"],
            exclusive=params["exclusive"],
        )
        resource = AssociationResource(_module.aws(module), params["instance_ids"], desired)
        _module.run(module, resource)


if __name__ == "__main__":
    main()
