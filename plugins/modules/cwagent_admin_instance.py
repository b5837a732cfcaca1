#!/usr/bin/python
# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cwagent_admin_instance
version_added: 1.0.0
short_description: Associate the admin profile with one EC2 instance for a while, and restore its earlier profile
description:
  - Associates the admin instance profile with one instance, the admin instance, and restores its earlier profile
    afterwards. With O(admin_role), it opens and closes the admin window too.
  - The name of the earlier profile is written before anything else changes. The module writes it to the admin role as
    the restore record, the tag C(cwagent:earlier-profile:REGION:INSTANCE), and to the instance as the restore tag
    C(cwagent:earlier-profile). So if a run is interrupted, the next one can restore the instance from any controller.
  - The record decides which profile an instance goes back to, because fewer people can tag the admin role than
    instances. A restore tag without a record was written by somebody else. It is ignored and not removed, and the
    module prints a warning.
  - Only one instance of a region can be the admin instance. The module checks this before it writes the tag, and again
    afterwards.
author: cwagent.iam contributors (@cwagent)
options:
  admin_profile:
    description: The admin instance profile.
    type: str
    required: true
  server_profile:
    description:
      - The instance profile to restore on an instance that has the admin profile and no restore record, if the instance
        is in O(instance_ids) or O(fallback_instance_ids).
    type: str
    required: true
  instance_ids:
    description:
      - The IDs of the instances. O(state=acquired) requires exactly one.
      - Without this option, O(state=released) releases every instance in the region that has a restore record, or that
        has the admin profile and is in O(fallback_instance_ids).
    type: list
    elements: str
  fallback_instance_ids:
    description:
      - The IDs of further instances that O(state=released) gives the O(server_profile) if they have the admin profile
        and no restore record.
      - Any other instance that has the admin profile without a record is not changed, and the module prints a warning.
    type: list
    elements: str
    default: []
  record_role:
    description:
      - The role whose tags are the restore records. The default is O(admin_role), or without that option the role with
        the same name as O(admin_profile).
    type: str
  state:
    description:
      - V(acquired) makes the instance the admin instance. It writes the restore record and the restore tag, opens the
        window, and associates the admin profile, in this order. It fails if the instance does not exist or is
        terminated, if an instance of the region has the admin profile or a restore tag with a record, or if someone
        else has opened the window.
      - V(released) makes the instance an ordinary one again. It restores the earlier profile, closes the window, and
        removes the restore tag and the record. If restoring the profile fails, the module still closes the window, and
        the other way round.
      - With V(released) and O(instance_ids), a window that is open for another instance stays open. If an instance of
        the list has the admin profile, a restore tag or a record, the module closes the window without reading it,
        because IAM may still show it as closed right after it was opened.
      - With V(released), an instance that was terminated, or that someone has associated with another profile, only
        loses its restore tag and record. If the earlier profile no longer exists or has no role, O(server_profile) is
        associated instead, with a warning.
    type: str
    choices: [acquired, released]
    required: true
  admin_role:
    description:
      - The role whose admin window is opened and closed. It is opened for sessions of the instance only.
      - Without it, no window is changed.
    type: str
  window_minutes:
    description:
      - For how many minutes to open the window, from 1 to 720, according to the AWS clock.
      - With O(state=acquired), a window that is already open is an error.
    type: int
    default: 15
  managed_only:
    description:
      - Whether O(state=acquired) fails if this collection neither created nor adopted O(admin_role), and the role has
        no admin window yet. M(cwagent.iam.cwagent_iam_role) adopts a role.
    type: bool
    default: false
  parameters:
    description:
      - The parameters that the instance may write while the window is open. When empty, it may write all parameters
        that the policies of O(admin_role) allow.
      - IAM allows 10240 characters without white space in all inline policies of a role together, which limits how many
        parameters fit.
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
extends_documentation_fragment:
  - cwagent.iam.wait
  - cwagent.iam.attributes
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - cwagent.iam.boto3
"""

EXAMPLES = r"""
- name: Associate the admin profile with one instance
  cwagent.iam.cwagent_admin_instance:
    admin_profile: CloudWatchAgentAdminRole
    server_profile: CloudWatchAgentServerRole
    instance_ids: [i-0123456789abcdef0]
    admin_role: CloudWatchAgentAdminRole
    window_minutes: 30
    parameters:
      - name: AmazonCloudWatch-linux
        region: eu-central-1
    state: acquired
    region: eu-central-1

- name: Restore what an interrupted run has changed in this region
  cwagent.iam.cwagent_admin_instance:
    admin_profile: CloudWatchAgentAdminRole
    server_profile: CloudWatchAgentServerRole
    fallback_instance_ids: [i-0123456789abcdef0]
    admin_role: CloudWatchAgentAdminRole
    state: released
    region: eu-central-1
"""

RETURN = r"""
instances:
  description:
    - The instances, with the names of their instance profile before and after, and of the profile that a release
      restores. Null means no profile.
    - If O(state=acquired) failed after it began, the instance has at least C(instance_id) and C(earlier_profile).
  returned: success, and after a failure of O(state=acquired)
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
    - With O(state=released), a window that cannot be read is closed anyway, with a warning; its state is
      V(unknown).
  returned: success, with O(admin_role)
  type: dict
  sample:
    access_keys: []
    deadline: "2026-11-24T16:15:00Z"
    instance_id: i-0123456789abcdef0
    parameters: [{name: AmazonCloudWatch-linux, region: eu-central-1}]
    state: open
steps:
  description:
    - The steps that were taken, or would be taken in check mode.
    - If the task failed, the list contains all planned steps, or none if it failed before the first one. RV(done) lists
      the steps that were taken, and RV(not_done) the others.
  returned: always
  type: list
  elements: str
  sample:
    - >-
      record in role 'CloudWatchAgentAdminRole' that instance i-0123456789abcdef0 had instance profile
      'CloudWatchAgentServerRole'
    - "tag instance i-0123456789abcdef0 with its earlier profile 'CloudWatchAgentServerRole'"
counts:
  description:
    - How many of the RV(steps) create, update and delete something. After a failure, only the steps that were taken
      count.
  returned: when a plan was made
  type: dict
  sample: {create: 0, update: 2, delete: 0}
done:
  description: The steps that were taken before the task failed.
  returned: when the task failed after a plan was made
  type: list
  elements: str
  sample: ["tag instance i-0123456789abcdef0 with its earlier profile 'CloudWatchAgentServerRole'"]
not_done:
  description: The steps that were not taken. For each item, the failed step comes first.
  returned: when a step failed
  type: list
  elements: str
  sample: ["open the admin window of role 'CloudWatchAgentAdminRole' until 2026-11-24T16:15:00Z"]
"""

from functools import partial

from ansible_collections.cwagent.iam.plugins.module_utils import _module
from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance.options import RULES, SPEC, resource
from ansible_collections.cwagent.iam.plugins.module_utils._call import manage

work = partial(manage, resource)


def main() -> None:
    _module.run_module(SPEC, RULES, work)


if __name__ == "__main__":
    main()
