#!/usr/bin/python
# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cwagent_admin_window
version_added: 1.0.0
short_description: Open and close the admin window of a role or user
description:
  - The admin window is the time in which an admin principal may write to Parameter Store.
  - Manages one inline policy of a role or user, C(CloudWatchAgentAdminWindow), that denies changing parameters with
    C(ssm:PutParameter), C(ssm:DeleteParameter), C(ssm:DeleteParameters), C(ssm:LabelParameterVersion) and
    C(ssm:UnlabelParameterVersion).
  - While the window is closed, the Deny is unconditional. While it is open, C(ssm:PutParameter) is denied after a
    deadline, so the window closes by itself, whatever happens to the controller. It is also denied for every parameter
    except O(parameters) and, with a role, to every session that does not belong to O(instance_id). The other actions
    stay denied.
  - A window that is open for another instance or for other parameters is replaced, or is an error with
    O(fail_if_open=true). It is never extended.
  - A Deny applies to existing sessions too, so it also revokes the permission from credentials that were copied off an
    instance.
  - Reading parameters is not denied. The agent keeps running with an admin role.
  - The saved access key of a user is active while its window is open, and inactive while it is closed. The user's tag
    C(cwagent:saved-key), which M(cwagent.iam.cwagent_iam_user) sets, contains the ID of that key. No other key is
    activated or deactivated. If another key of the user is active, the module fails without opening the window, and the
    error contains the ID of the key.
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
      - V(absent) removes the policy, so that the principal may write at all times, and activates a user's saved key.
      - A principal that does not exist has no window. This is an error for V(open) only.
    type: str
    choices: [open, closed, absent]
    required: true
  window_minutes:
    description:
      - For how many minutes to open the window, from 1 to 720, according to the AWS clock.
      - A window that is open for the same instance and parameters is never shortened.
    type: int
    default: 15
  instance_id:
    description:
      - The instance whose sessions of the role may write while the window is open.
      - Required to open the window of a role. A user has no instance.
    type: str
  parameters:
    description:
      - The parameters that may be written while the window is open. When empty, these are all parameters that the
        principal may write.
      - IAM allows 10240 characters without white space in all inline policies of a role together, and 2048 of a user,
        which limits how many parameters fit.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The name of the parameter. It must begin with C(AmazonCloudWatch-).
        type: str
        required: true
      region:
        description: The region that it is stored in.
        type: str
        required: true
  fail_if_open:
    description: Whether a window that is already open is an error, because another run or a person has opened it.
    type: bool
    default: false
  managed_only:
    description:
      - Whether to change only what this collection manages. A principal that it did not create or adopt, and that has
        no admin window, is left as it is, with a warning and RV(managed) false. With O(state=open), such a principal is
        an error.
      - With O(state=closed), a principal that has neither a window nor C(CloudWatchAgentAdminPolicy) gets no window,
        because there is nothing to close.
    type: bool
    default: false
  force:
    description:
      - Whether to write the policy and the status of a user's saved key even if they already look as desired.
      - Use it to close a window right after opening, when IAM may still report it as closed. With O(state=closed), the
        window of a role is not read first. Closing it always counts as a change, and the diff shows its earlier state
        as V(unknown).
    type: bool
    default: false
extends_documentation_fragment:
  - cwagent.iam.steps
  - cwagent.iam.wait
  - cwagent.iam.attributes
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - cwagent.iam.boto3.module
notes:
  - It takes seconds, rarely minutes, until a changed policy is in effect in every AWS service.
"""

EXAMPLES = r"""
- name: Let one instance write one parameter with the admin role for 15 minutes
  cwagent.iam.cwagent_admin_window:
    role: CloudWatchAgentAdminRole
    instance_id: i-0123456789abcdef0
    parameters:
      - name: AmazonCloudWatch-linux
        region: eu-central-1
    state: open

- name: Close the window before its deadline
  cwagent.iam.cwagent_admin_window:
    role: CloudWatchAgentAdminRole
    state: closed
"""

RETURN = r"""
window:
  description:
    - The window. Its state is V(open), V(closed), V(absent), V(expired), V(modified) or V(unknown). V(expired) means
      that the deadline has passed, which closes the window too. V(modified) means that the policy is not one that this
      module writes, so the window may be open. V(unknown) means that the window could not be read.
    - The C(deadline) is in UTC. It and the C(instance_id) are null unless the window is or was open. C(parameters)
      lists the parameters that may be written, and is empty if all may be written.
  returned: success
  type: dict
  sample:
    access_keys: []
    deadline: "2026-11-24T16:15:00Z"
    instance_id: i-0123456789abcdef0
    parameters: [{name: AmazonCloudWatch-linux, region: eu-central-1}]
    state: open
managed:
  description: Whether the principal could be changed; false only with O(managed_only=true).
  returned: success
  type: bool
  sample: true
"""

from functools import partial

from ansible_collections.cwagent.iam.plugins.module_utils._ground.call import manage, run_module
from ansible_collections.cwagent.iam.plugins.module_utils._principals.policies import is_admin_policy
from ansible_collections.cwagent.iam.plugins.module_utils._principals.window import RULES, SPEC, resource

work = partial(manage, partial(resource, is_admin_policy=is_admin_policy))


def main() -> None:
    run_module(SPEC, RULES, work)


if __name__ == "__main__":
    main()
