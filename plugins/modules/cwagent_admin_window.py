#!/usr/bin/python
# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: cwagent_admin_window
version_added: 1.0.0
short_description: Open and close the time in which an admin principal may write to Parameter Store
description:
  - Keeps one inline policy on a role or a user, C(CloudWatchAgentAdminWindow), that denies C(ssm:PutParameter).
  - While the window is closed, the Deny is unconditional. While it is open, the Deny begins at a deadline, so that the
    window closes by itself, whatever happens to the controller.
  - A Deny holds for sessions that exist already, so credentials that were copied off an instance lose the right too.
  - Nothing but C(ssm:PutParameter) is denied; the agent keeps running under an admin role.
  - The access keys of a user are active while its window is open and inactive while it is closed. That goes for all of
    them, so keep no key on an admin user that must stay inactive.
author: cwagent.iam contributors (@cwagent)
options:
  role:
    description: The name of the role.
    type: str
  user:
    description: The name of the user.
    type: str
  state:
    description:
      - V(absent) removes the policy, so that the principal may write at all times, and activates a user's keys.
      - A principal that does not exist has no window; that is an error for V(open) only.
    type: str
    choices: [open, closed, absent]
    required: true
  minutes:
    description:
      - How long to open the window for, in minutes, from 1 to 720, by the clock of AWS.
      - A window that is open already is only ever opened for longer.
    type: int
    default: 15
  refuse_open:
    description: Whether a window that is open already is an error, since another run or a person has opened it.
    type: bool
    default: false
  force:
    description:
      - Whether to write the policy and the state of a user's keys even where they look as wanted.
      - For closing a window that was opened seconds before, which IAM can still show as it was before that. So a role's
        is not even looked at with O(state=closed), closing it always counts as a change, and the diff does not tell how
        it was.
    type: bool
    default: false
extends_documentation_fragment:
  - cwagent.iam.wait
  - cwagent.iam.attributes
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
notes:
  - IAM takes seconds, rarely minutes, to bring a changed policy to every service.
"""

EXAMPLES = r"""
- name: Let the admin role write for a quarter of an hour
  cwagent.iam.cwagent_admin_window:
    role: CloudWatchAgentAdminRole
    state: open

- name: Close the window before its time is up
  cwagent.iam.cwagent_admin_window:
    role: CloudWatchAgentAdminRole
    state: closed
"""

RETURN = r"""
window:
  description:
    - The window. Its state is V(expired) where the deadline has passed, which closes it too, and V(altered) where the
      policy is not as this module writes it.
    - The deadline is in UTC, and null unless the window is or was open.
  returned: success
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
  sample: ["open the admin window of role 'CloudWatchAgentAdminRole' until 2026-11-24T16:15:00Z"]
"""

from ansible_collections.cwagent.iam.plugins.module_utils import _module, _names
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window import plan as window_plan
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.resource import WindowResource
from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput

SPEC = {
    "role": {"type": "str"},
    "user": {"type": "str"},
    "state": {"type": "str", "choices": [window_plan.OPEN, window_plan.CLOSED, window_plan.ABSENT], "required": True},
    "minutes": {"type": "int", "default": 15},
    "refuse_open": {"type": "bool", "default": False},
    "force": {"type": "bool", "default": False},
    **_module.WAIT_SPEC,
}


def main() -> None:
    module = _module.aws_module(SPEC, required_one_of=[("role", "user")], mutually_exclusive=[("role", "user")])
    params = module.params
    with _module.fail_on_error(module):
        kind = "role" if params["role"] else "user"
        if not params[kind]:
            raise InvalidInput("One of role and user is needed.")
        _names.check_name(kind, params[kind])
        if params["state"] == window_plan.OPEN:
            window_plan.check_minutes(params["minutes"])
        desired = window_plan.DesiredWindow(kind, params[kind], params["state"], params["minutes"], params["force"])
        _module.run(module, WindowResource(_module.aws(module), desired, check_not_open=params["refuse_open"]))


if __name__ == "__main__":
    main()
