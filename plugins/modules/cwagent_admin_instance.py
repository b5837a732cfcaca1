#!/usr/bin/python
# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: cwagent_admin_instance
version_added: 1.0.0
short_description: Lend the admin profile to one EC2 instance, and take it back
description:
  - Puts the admin instance profile on one instance for a while, and puts back what the instance carried before. A note
    of that is written on the instance, as the tag C(cwagent:earlier-profile). With O(admin_role), it opens and closes
    the admin window as well.
  - Refuses while another instance of the region carries the admin profile or has a note; it looks for that before it
    writes the note, and again before anything else.
  - The note is written before anything else, so that a run that died at any moment can be repaired by the next one,
    from any controller.
author: cwagent.iam contributors (@cwagent)
options:
  admin_profile:
    description: The instance profile of the administrator.
    type: str
    required: true
  server_profile:
    description:
      - The instance profile that an instance goes back to when it carries the admin profile and has no note.
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
      - V(admin) writes the note, unless it is there, opens the window, and puts the admin profile on.
      - V(sole) changes nothing, and refuses while another instance of the region carries the admin profile, whether or
        not these do.
      - V(returned) puts back what the note says, closes the window, although one of the two fails, and removes the
        note. An instance that was terminated meanwhile is left alone, and so is one that someone gave another profile.
    type: str
    choices: [admin, sole, returned]
    required: true
  admin_role:
    description: The role whose admin window is opened and closed with it. Without it, no window is touched.
    type: str
  window_minutes:
    description:
      - How long the window is opened for, in minutes, from 1 to 720, by the clock of AWS.
      - A window that is open already is only ever opened for longer; without a note on the instance it is refused,
        since it is another one's.
    type: int
    default: 15
  refuse_unfinished:
    description:
      - Whether O(state=admin) refuses an instance that has a note already, since another run or a person is at work
        then, or was interrupted.
    type: bool
    default: false
  running:
    description:
      - Whether the instances are known to run, since a task has just been run on them, so that with O(state=admin) they
        are not looked up.
    type: bool
    default: false
  close_unseen:
    description:
      - Whether O(state=returned) closes the window without looking at it, which counts as a change. One that was opened
        seconds before can still be shown by IAM as it was before that.
    type: bool
    default: false
  keep_note:
    description: Whether the note stays with O(state=returned).
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
    admin_role: CloudWatchAgentAdminRole
    window_minutes: 30
    state: admin
    region: eu-central-1

- name: Put back whatever an interrupted run left behind in this region
  cwagent.iam.cwagent_admin_instance:
    admin_profile: CloudWatchAgentAdminRole
    server_profile: CloudWatchAgentServerRole
    admin_role: CloudWatchAgentAdminRole
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
window:
  description: The admin window, as M(cwagent.iam.cwagent_admin_window) returns it.
  returned: success, with O(admin_role), unless O(state=sole)
  type: dict
  sample: {access_keys: [], deadline: "2026-11-24T16:15:00Z", state: open}
steps:
  description:
    - What was done, or in check mode would be done.
    - When the task has failed, what was to be done; empty where nothing was begun. C(done) and C(not_done) tell then
      what of it was.
  returned: always
  type: list
  elements: str
  sample: ["note on instance i-0123456789abcdef0 that it had instance profile 'CloudWatchAgentServerRole'"]
"""

from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils import _module, _names
from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance import plan as admin_plan
from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance.plan import ADMIN, EXCLUSIVE, RELEASED
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
    "state": {"type": "str", "choices": [ADMIN, EXCLUSIVE, RELEASED], "required": True},
    "admin_role": {"type": "str"},
    "window_minutes": {"type": "int", "default": 15},
    "refuse_unfinished": {"type": "bool", "default": False},
    "running": {"type": "bool", "default": False},
    "close_unseen": {"type": "bool", "default": False},
    "keep_note": {"type": "bool", "default": False},
    **_module.WAIT_SPEC,
}


def wanted(params: Mapping[str, Any]) -> admin_plan.DesiredAdmin:
    """What the options ask of the instances. :raises InvalidInput: AWS would refuse it."""
    for name in (params["admin_profile"], params["server_profile"]):
        _names.check_name("instance profile", name)
    admin_plan.check_profiles(params["admin_profile"], params["server_profile"])
    if params["instance_ids"] == [] and params["state"] != RELEASED:
        raise InvalidInput("instance_ids is empty: there is no instance to be the administrator.")
    for instance_id in params["instance_ids"] or ():
        _names.check_instance_id(instance_id)
    return admin_plan.DesiredAdmin(
        state=params["state"],
        admin=params["admin_profile"],
        fallback=params["server_profile"],
        instance_ids=None if params["instance_ids"] is None else tuple(params["instance_ids"]),
        keep_tag=params["keep_note"],
        fail_if_tagged=params["refuse_unfinished"],
        running=params["running"],
    )


def window(aws: Aws, params: Mapping[str, Any]) -> WindowResource | None:
    """The admin window that comes with it, if one does. :raises InvalidInput: AWS would refuse it."""
    role, lends = params["admin_role"], params["state"] == ADMIN
    if role is None or params["state"] == EXCLUSIVE:
        return None
    _names.check_name("role", role)
    if not lends:
        return WindowResource(aws, DesiredWindow("role", role, CLOSED, force=params["close_unseen"]))
    window_plan.check_minutes(params["window_minutes"])
    desired = DesiredWindow("role", role, OPEN, params["window_minutes"])
    return WindowResource(aws, desired, check_not_open=True)


def main() -> None:
    needs_instances = [("state", state, ["instance_ids"]) for state in (ADMIN, EXCLUSIVE)]
    module = _module.aws_module(SPEC, required_if=needs_instances)
    with _module.fail_on_error(module):
        aws = _module.aws(module)
        resource = AdminInstanceResource(aws, wanted(module.params), window(aws, module.params))
        _module.run(module, resource)


if __name__ == "__main__":
    main()
