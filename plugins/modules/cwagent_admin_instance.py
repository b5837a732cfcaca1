#!/usr/bin/python
# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: cwagent_admin_instance
version_added: 1.0.0
short_description: Lend the admin profile to one EC2 instance, and take it back
description:
  - Puts the admin instance profile on one instance for a while, writes down on the instance what it carried before, as
    the tag C(cwagent:earlier-profile), and puts that back.
  - Refuses while another instance of the region carries the admin profile or has such a tag.
  - The tag is written before anything else, so that a run that died at any moment can be repaired by the next one, from
    any controller.
author: cwagent.iam contributors (@cwagent)
options:
  admin_profile:
    description: The instance profile of the administrator.
    type: str
    required: true
  server_profile:
    description:
      - The instance profile that an instance goes back to when it carries the admin profile and has no tag.
    type: str
    required: true
  instance_ids:
    description:
      - The ids of the instances. Required unless O(state=returned), which without it works on all of the region.
    type: list
    elements: str
    aliases: [instance_id]
  state:
    description:
      - V(noted) writes the tag, and refuses an instance that has one, since another run is at work on it then.
      - V(admin) writes the tag, unless it is there, and puts the admin profile on.
      - V(returned) puts back what the tag says and removes the tag. An instance that was terminated meanwhile is left
        alone, and so is one that someone gave another profile.
    type: str
    choices: [noted, admin, returned]
    required: true
  keep_note:
    description: Whether the tag stays with O(state=returned).
    type: bool
    default: false
extends_documentation_fragment:
  - cwagent.iam.wait
  - cwagent.iam.attributes
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
"""

EXAMPLES = r"""
- name: Put the admin profile on one instance
  cwagent.iam.cwagent_admin_instance:
    admin_profile: CloudWatchAgentAdminRole
    server_profile: CloudWatchAgentServerRole
    instance_ids: [i-0123456789abcdef0]
    state: admin
    region: eu-central-1

- name: Put back whatever an interrupted run left behind in this region
  cwagent.iam.cwagent_admin_instance:
    admin_profile: CloudWatchAgentAdminRole
    server_profile: CloudWatchAgentServerRole
    state: returned
    region: eu-central-1
"""

RETURN = r"""
instances:
  description:
    - The instances that were worked on, with the name of the instance profile before and now, and of the earlier one
      that the instance goes back to or went back to. Null stands for no profile.
  returned: success
  type: list
  elements: dict
  sample:
    - earlier: CloudWatchAgentServerRole
      instance_id: i-0123456789abcdef0
      profile: CloudWatchAgentAdminRole
      profile_before: CloudWatchAgentServerRole
steps:
  description: What was done, or in check mode would be done.
  returned: always
  type: list
  elements: str
  sample: ["note on instance i-0123456789abcdef0 that it had instance profile 'CloudWatchAgentServerRole'"]
"""

from ansible_collections.cwagent.iam.plugins.module_utils import _admin_instance, _module, _names
from ansible_collections.cwagent.iam.plugins.module_utils._ec2 import AdminInstanceResource

SPEC = {
    "admin_profile": {"type": "str", "required": True},
    "server_profile": {"type": "str", "required": True},
    "instance_ids": {"type": "list", "elements": "str", "aliases": ["instance_id"]},
    "state": {
        "type": "str",
        "choices": [_admin_instance.NOTED, _admin_instance.ADMIN, _admin_instance.RETURNED],
        "required": True,
    },
    "keep_note": {"type": "bool", "default": False},
    **_module.WAIT_SPEC,
}


def main() -> None:
    needs_instances = [("state", state, ["instance_ids"]) for state in (_admin_instance.NOTED, _admin_instance.ADMIN)]
    module = _module.aws_module(SPEC, required_if=needs_instances)
    params = module.params
    with _module.reporting(module):
        for name in (params["admin_profile"], params["server_profile"]):
            _names.check_name("instance profile", name)
        _admin_instance.check_profiles(params["admin_profile"], params["server_profile"])
        for instance_id in params["instance_ids"] or ():
            _names.check_instance_id(instance_id)
        want = _admin_instance.WantedAdmin(
            state=params["state"],
            admin=params["admin_profile"],
            fallback=params["server_profile"],
            instance_ids=None if params["instance_ids"] is None else tuple(params["instance_ids"]),
            keep_note=params["keep_note"],
        )
        resource = AdminInstanceResource(_module.aws(module), want)
        _module.finish(module, resource)


if __name__ == "__main__":
    main()
