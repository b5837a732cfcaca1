#!/usr/bin/python
# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: cwagent_admin_instance
version_added: 1.0.0
short_description: Associate the admin profile with one EC2 instance for a while, and restore its earlier profile
description:
  - Associates the admin instance profile with one instance, the admin instance, and restores its earlier profile
    afterwards. With O(admin_role), it opens and closes the admin window too.
  - The name of the earlier profile is written to the instance before anything else changes, as the restore tag
    C(cwagent:earlier-profile). So if a run is interrupted, the next one can restore the instance from any controller.
  - Fails if another instance of the region has the admin profile or a restore tag. This is checked before the tag is
    written, and again after that.
author: cwagent.iam contributors (@cwagent)
options:
  admin_profile:
    description: The admin instance profile.
    type: str
    required: true
  server_profile:
    description:
      - The instance profile to restore on an instance that has the admin profile and no restore tag.
    type: str
    required: true
  instance_ids:
    description:
      - The ids of the instances. Required unless O(state=released), which without it changes all of the region.
    type: list
    elements: str
    aliases: [instance_id]
  state:
    description:
      - V(acquired) writes the restore tag, unless it is there, opens the window, and associates the admin profile.
      - V(exclusive) changes nothing. It fails if another instance of the region has the admin profile, whether or not
        these instances have it.
      - V(released) restores the earlier profile, closes the window, and removes the restore tag. It does one of the two
        even if the other one fails. An instance that was terminated since then, or that someone has associated with
        another profile, keeps its state.
    type: str
    choices: [acquired, exclusive, released]
    required: true
  admin_role:
    description: The role whose admin window is opened and closed. Without it, no window is changed.
    type: str
  window_minutes:
    description:
      - For how many minutes to open the window, from 1 to 720, by the clock of AWS.
      - A window that is open already is only ever extended. If the instance has no restore tag, an open window is an
        error, since another run or a person has opened it.
    type: int
    default: 15
  fail_if_tagged:
    description:
      - Whether O(state=acquired) fails if an instance has a restore tag already, since another run or a person is using
        it, or a run was interrupted.
    type: bool
    default: false
  assume_running:
    description:
      - Whether the instances are known to run, since a task has just run on them. Then they are not looked up with
        O(state=acquired).
    type: bool
    default: false
  skip_window_read:
    description:
      - Whether O(state=released) closes the window without reading it, which counts as a change. IAM can show a window
        that was opened seconds before as it was before that.
    type: bool
    default: false
  keep_tag:
    description: Whether the restore tag is kept with O(state=released).
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
- name: Associate the admin profile with one instance
  cwagent.iam.cwagent_admin_instance:
    admin_profile: CloudWatchAgentAdminRole
    server_profile: CloudWatchAgentServerRole
    instance_ids: [i-0123456789abcdef0]
    admin_role: CloudWatchAgentAdminRole
    window_minutes: 30
    state: acquired
    region: eu-central-1

- name: Restore what an interrupted run has changed in this region
  cwagent.iam.cwagent_admin_instance:
    admin_profile: CloudWatchAgentAdminRole
    server_profile: CloudWatchAgentServerRole
    admin_role: CloudWatchAgentAdminRole
    state: released
    region: eu-central-1
"""

RETURN = r"""
instances:
  description:
    - The instances, with the name of their instance profile before and after, and of the earlier one, which they get or
      got when they are released. Null means no profile.
  returned: success
  type: list
  elements: dict
  sample:
    - earlier_profile: CloudWatchAgentServerRole
      instance_id: i-0123456789abcdef0
      profile: CloudWatchAgentAdminRole
      profile_before: CloudWatchAgentServerRole
window:
  description:
    - The admin window, as M(cwagent.iam.cwagent_admin_window) returns it.
    - With O(state=released), a window that cannot be read is closed all the same, with a warning; its state is
      V(unknown).
  returned: success, with O(admin_role), unless O(state=exclusive)
  type: dict
  sample: {access_keys: [], deadline: "2026-11-24T16:15:00Z", state: open}
steps:
  description:
    - The steps that were taken, or would be taken in check mode.
    - If the task failed, all planned steps; empty if none was begun. RV(done) and RV(not_done) say which were taken.
  returned: always
  type: list
  elements: str
  sample: ["tag instance i-0123456789abcdef0 with its earlier profile 'CloudWatchAgentServerRole'"]
counts:
  description: How many of the RV(steps) create, update and delete something.
  returned: when a plan was made
  type: dict
  sample: {create: 0, update: 1, delete: 0}
done:
  description: The steps that were taken before the task failed.
  returned: when it failed after it had begun
  type: list
  elements: str
  sample: ["tag instance i-0123456789abcdef0 with its earlier profile 'CloudWatchAgentServerRole'"]
not_done:
  description: The steps that were not taken, for each instance the failed one first.
  returned: when it failed after it had begun
  type: list
  elements: str
  sample: ["open the admin window of role 'CloudWatchAgentAdminRole' until 2026-11-24T16:15:00Z"]
"""

from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils import _module, _names
from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance import plan as admin_plan
from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance.plan import ACQUIRED, EXCLUSIVE, RELEASED
from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance.resource import AdminInstanceResource
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window import plan as window_plan
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.plan import CLOSED, OPEN, DesiredWindow
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.resource import WindowResource
from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws

SPEC = {
    "admin_profile": {"type": "str", "required": True},
    "server_profile": {"type": "str", "required": True},
    "instance_ids": {"type": "list", "elements": "str", "aliases": ["instance_id"]},
    "state": {"type": "str", "choices": [ACQUIRED, EXCLUSIVE, RELEASED], "required": True},
    "admin_role": {"type": "str"},
    "window_minutes": {"type": "int", "default": 15},
    "fail_if_tagged": {"type": "bool", "default": False},
    "assume_running": {"type": "bool", "default": False},
    "skip_window_read": {"type": "bool", "default": False},
    "keep_tag": {"type": "bool", "default": False},
    **_module.WAIT_SPEC,
}


def desired_admin(params: Mapping[str, Any]) -> admin_plan.DesiredAdmin:
    """Return the desired state of the instances. :raises InvalidInput: an option is invalid."""
    for name in (params["admin_profile"], params["server_profile"]):
        _names.check_name("instance profile", name)
    admin_plan.check_profiles(params["admin_profile"], params["server_profile"])
    if params["instance_ids"] == [] and params["state"] != RELEASED:
        raise InvalidInput("instance_ids is empty: there is no instance for the admin profile.")
    for instance_id in params["instance_ids"] or ():
        _names.check_instance_id(instance_id)
    return admin_plan.DesiredAdmin(
        state=params["state"],
        admin=params["admin_profile"],
        fallback=params["server_profile"],
        instance_ids=None if params["instance_ids"] is None else tuple(params["instance_ids"]),
        keep_tag=params["keep_tag"],
        fail_if_tagged=params["fail_if_tagged"],
        assume_running=params["assume_running"],
    )


def window_resource(aws: Aws, params: Mapping[str, Any]) -> WindowResource | None:
    """Return the admin window to open or close, if there is one. :raises InvalidInput: an option is invalid."""
    role = params["admin_role"]
    if role is None or params["state"] == EXCLUSIVE:
        return None
    _names.check_name("role", role)
    if params["state"] == RELEASED:
        return WindowResource(aws, DesiredWindow("role", role, CLOSED, force=params["skip_window_read"]))
    window_plan.check_minutes(params["window_minutes"])
    return WindowResource(aws, DesiredWindow("role", role, OPEN, params["window_minutes"]), fail_if_open=True)


def main() -> None:
    required_if = [("state", state, ["instance_ids"]) for state in (ACQUIRED, EXCLUSIVE)]
    module = _module.aws_module(SPEC, required_if=required_if)
    with _module.fail_on_error(module):
        aws = _module.aws_gateway(module)
        resource = AdminInstanceResource(aws, desired_admin(module.params), window_resource(aws, module.params))
        _module.run(module, resource)


if __name__ == "__main__":
    main()
