#!/usr/bin/python
# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cwagent_restore
version_added: 1.0.0
short_description: (internal) Clean up after interrupted runs
description:
  - Closes the admin windows of a role and of users, and restores the instance profiles of instances that have the admin
    profile, a restore tag or a restore record. Changes nothing else.
  - If one part fails, the other parts are still done. The task then fails at its end, with all messages.
  - The windows of principals that this collection neither created nor adopted are left as they are, with a warning.
author: cwagent.iam contributors (@cwagent)
options:
  admin_role:
    description:
      - The admin role. The admin profile has its name, and its tags are the restore records. Instances of a region that
        is not in O(instances) are restored too if it has a record of them. It is read with C(iam:GetRole).
      - Without O(admin_role), only the windows of O(admin_users) are closed.
    type: str
  server_profile:
    description: The profile of an instance that has the admin profile and no restore record.
    type: str
    required: true
  window_state:
    description:
      - The desired state of the admin windows. V(absent) removes them, for principals that are to have none. V(keep)
        does not change them.
    type: str
    choices: [closed, absent, keep]
    default: closed
  close_role_window:
    description: Whether O(window_state) applies to the window of O(admin_role) too.
    type: bool
    default: true
  admin_users:
    description: The users whose windows O(window_state) applies to.
    type: list
    elements: str
    default: []
  instances:
    description:
      - By region, the IDs of the instances of the inventory. In these regions, the module restores all instances with a
        restore record that an interrupted run left behind. Without a record, it only restores the listed instances.
      - With O(report_unlisted), it also reports instances in these regions that have O(admin_role) or O(server_profile)
        and are not listed.
    type: dict
    default: {}
  check_instances:
    description:
      - Whether an instance in O(instances) that does not exist or is terminated is a problem. The task then fails with
        all such problems before it changes anything.
    type: bool
    default: false
  adopt_existing:
    description:
      - With V(false) and O(window_state=closed), it is a problem if this collection neither created nor adopted one of
        O(admin_users), or O(admin_role) with O(close_role_window=true), and this principal has no admin window. The
        window would deny changing parameters to everyone who uses the principal.
      - The task then fails after everything else is cleaned up. If the admin role is the problem, no instance is
        restored.
    type: bool
    default: true
extends_documentation_fragment:
  - cwagent.iam.steps
  - cwagent.iam.unlisted
  - cwagent.iam.wait
  - cwagent.iam.attributes
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - cwagent.iam.boto3
"""

EXAMPLES = r"""
- name: Clean up after interrupted runs
  cwagent.iam.cwagent_restore:
    admin_role: CloudWatchAgentAdminRole
    server_profile: CloudWatchAgentServerRole
    instances:
      eu-central-1: [i-0123456789abcdef0]
"""

RETURN = r"""
closed:
  description: The principals whose windows were closed, or removed.
  returned: when a plan was made
  type: list
  elements: str
  sample: [CloudWatchAgentAdminRole]
instances:
  description: >-
    The examined instances, with the names of their instance profile before and after, and of the profile that a
    release restores. Null means no profile.
  returned: when a plan was made
  type: list
  elements: dict
  sample:
    - earlier_profile: CloudWatchAgentServerRole
      instance_id: i-0123456789abcdef0
      profile: CloudWatchAgentServerRole
      profile_before: CloudWatchAgentAdminRole
unlisted:
  description: With O(report_unlisted), sentences about everything that is not in the inventory.
  returned: when no instance had a problem
  type: list
  elements: str
  sample: ["Users of this collection that no host of this inventory has: CloudWatchAgentServerUser-db9."]
problems:
  description: All problems of options and, with O(check_instances), of instances. Nothing was changed.
  returned: when there are such problems
  type: list
  elements: str
  sample: ["Instance i-0123456789abcdef0 does not exist in eu-central-1 and this account."]
"""

from functools import cache, partial
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils import _module
from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws
from ansible_collections.cwagent.iam.plugins.module_utils._restore.options import RULES, SPEC, to_leftovers
from ansible_collections.cwagent.iam.plugins.module_utils._restore.resource import Restoration

if TYPE_CHECKING:
    from ansible_collections.cwagent.iam.plugins.module_utils._call import Call


def work(call: Call) -> dict[str, Any]:
    """Close the windows and restore the instances that interrupted runs left behind."""
    params = call.params

    @cache
    def aws_in(region: str) -> Aws:
        client = partial(call.client, region=region) if region else call.client
        return Aws(client, retry_timeout=params["wait_timeout"])

    wait = params["wait_timeout"] if params["wait"] else None
    return Restoration(to_leftovers(params), aws_in, check_mode=call.check_mode, wait=wait).run()


def main() -> None:
    _module.run_module(SPEC, RULES, work)


if __name__ == "__main__":
    main()
