#!/usr/bin/python
# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cwagent_restore
version_added: 1.0.0
short_description: Clean up after interrupted runs, or check the inputs of a run
description:
  - With O(state=restored), closes the admin windows of a role and of users, and restores the instance profiles of
    instances that have the admin profile, a restore tag or a restore record. Changes nothing else.
  - If one part fails, the other parts are still done. The task then fails at its end, with all messages.
  - The windows of principals that this collection neither created nor adopted are left as they are, with a warning.
  - With O(state=checked), changes nothing. Checks names and instances for a playbook that uses several modules of this
    collection one after the other. It finds a mistake in the input of the last module before the first module changes
    anything, and reports all problems together. Calls AWS only for O(instances), O(profiles_to_delete),
    O(users_to_delete), O(saved_users), O(configs_to_delete) and O(report_unlisted).
author: cwagent.iam contributors (@cwagent)
options:
  state:
    description:
      - V(restored) cleans up after interrupted runs. O(admin_role_name), O(server_profile), O(window_state),
        O(close_role_window), O(admin_users), O(check_instances), O(adopt_existing) and O(find_server_policy) are only
        for it.
      - V(checked) only reads, for the playbooks of this collection. O(profiles_to_delete), O(expected_instance_ids),
        O(users_to_delete), O(default_users), O(optional_users), O(saved_users) and O(configs_to_delete) are only for
        it.
    type: str
    choices: [restored, checked]
    default: restored
  admin_role_name:
    description:
      - The admin role. The admin profile has its name, and its tags are the restore records. Instances of a region that
        is not in O(instances) are restored too if it has a record of them. It is read with C(iam:GetRole), or with
        everything else that O(report_unlisted) and O(find_server_policy) read.
      - Without O(admin_role_name), only the windows of O(admin_users) are closed.
    type: str
  server_profile:
    description:
      - The profile of an instance that has the admin profile and no restore record.
      - O(state=restored) requires it.
    type: str
  window_state:
    description:
      - The desired state of the admin windows. V(absent) removes them, for principals that are to have none. V(keep)
        does not change them.
    type: str
    choices: [closed, absent, keep]
    default: closed
  close_role_window:
    description:
      - Whether O(window_state) applies to the window of O(admin_role_name) too.
    type: bool
    default: true
  admin_users:
    description:
      - The users whose windows O(window_state) applies to.
    type: list
    elements: str
    default: []
  instances:
    description:
      - By region, the IDs of the instances of the inventory. The empty name stands for the region of the module.
      - With O(state=restored), the module restores all instances in these regions with a restore record that an
        interrupted run left behind. Without a record, it only restores the listed instances. With O(report_unlisted),
        it also reports instances in these regions that have O(admin_role_name) or O(server_profile) and are not listed.
      - With O(state=checked), an instance that does not exist or is terminated is a problem. For O(instances) alone,
        the only call is C(ec2:DescribeInstances).
    type: dict
    default: {}
  check_instances:
    description:
      - Whether an instance in O(instances) that does not exist or is terminated is a problem. The task then fails with
        all such problems before it changes anything.
      - Only for O(state=restored). O(state=checked) always checks them.
    type: bool
    default: false
  adopt_existing:
    description:
      - With V(false) and O(window_state=closed), it is a problem if this collection neither created nor adopted one of
        O(admin_users), or O(admin_role_name) with O(close_role_window=true), and this principal has no admin window.
        The window would deny changing parameters to everyone who uses the principal.
      - The task then fails after everything else is cleaned up. If the admin role is the problem, no instance is
        restored.
    type: bool
    default: true
  find_server_policy:
    description:
      - Whether to return the policy that a run gives the servers where the user chooses none.
      - Roles, users and groups are read with C(iam:GetAccountAuthorizationDetails). If that is denied, the module calls
        C(iam:ListPolicies), and fails if a principal has a fitted policy.
      - The module prints a warning if principals of this collection have different policies.
    type: bool
    default: false
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
    description:
      - IDs of the instances that O(profiles_to_delete) will be disassociated from.
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
    description:
      - Names in O(users_to_delete) of users that need not exist. The module prints no warning for them.
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
  users:
    description: Names of users. With O(report_unlisted), they are all users of the inventory.
    type: list
    elements: str
    default: []
  report_unlisted:
    description:
      - Whether to report users and saved keys that this collection manages and that are not in O(users). They are not a
        problem, because another inventory can contain them.
      - The module reports users with the mark of this collection, and saved keys in O(key_store).
      - Users are read with C(iam:GetAccountAuthorizationDetails), in pages of up to a thousand. With
        O(admin_role_name), roles are read with them.
    type: bool
    default: false
  key_store_directory:
    description:
      - The folder of the credentials files of users. Without it, or with another O(key_store) than V(file), no files
        are read.
    type: path
  key_store:
    description:
      - Where the access keys of O(users) and O(saved_users) are saved.
      - With V(parameter_store) and V(secrets_manager), the module finds saved keys through the names and descriptions
        of parameters or secrets. It reads no value. For each region, this takes one call of C(ssm:DescribeParameters)
        for every 50 parameters, or one of C(secretsmanager:ListSecrets) for every 100 secrets. If a call is not
        possible, RV(unlisted) mentions that.
      - If the user of a saved key was not found in the account, the module confirms with C(iam:GetUser) that it does
        not exist. If that is not possible, the saved key is not reported.
      - A secret that is scheduled for deletion is not reported.
    type: str
    choices: [file, parameter_store, secrets_manager]
    default: file
  key_store_prefix:
    description:
      - The beginning of the names of these parameters and secrets. Parameters and secrets of others with such a name
        are not reported.
    type: str
    default: /cwagent/credentials/
  key_store_regions:
    description: The regions of these parameters and secrets. The default is the region of the module.
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - cwagent.iam.steps
  - cwagent.iam.wait
  - cwagent.iam.attributes
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - cwagent.iam.boto3.module
"""

EXAMPLES = r"""
- name: Check the instances before the first task that changes something
  cwagent.iam.cwagent_restore:
    state: checked
    instances:
      eu-central-1: [i-0123456789abcdef0]

- name: Clean up after interrupted runs
  cwagent.iam.cwagent_restore:
    admin_role_name: CloudWatchAgentAdminRole
    server_profile: CloudWatchAgentServerRole
    instances:
      eu-central-1: [i-0123456789abcdef0]
"""

RETURN = r"""
needs_restore:
  description:
    - A run would close a window or restore an instance. Later tasks of a check do not see this clean-up, so the
      playbooks end the check. To remove windows is no clean-up.
  returned: in check mode, if there is something to clean up
  type: bool
  sample: true
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
  description:
    - With O(report_unlisted) or O(configs_to_delete), sentences about everything that is not in the inventory.
  returned: when no input had a problem
  type: list
  elements: str
  sample: ["Users of this collection that no host of this inventory has: CloudWatchAgentServerUser-db9."]
server_policy:
  description: V(fitted) if a principal has a fitted policy, and otherwise V(aws).
  returned: with O(find_server_policy=true)
  type: str
users_to_delete:
  description: The users of O(users_to_delete) that are to be deleted, even if they do not exist.
  returned: with O(state=checked), when no input had a problem
  type: dict
  sample: {eu-central-1: [CloudWatchAgentServerUser-db9]}
"""

from functools import cache, partial
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._ground.aws import Aws
from ansible_collections.cwagent.iam.plugins.module_utils._ground.call import run_module
from ansible_collections.cwagent.iam.plugins.module_utils._storing.lookups import Lookups
from ansible_collections.cwagent.iam.plugins.module_utils._storing.restore import (
    CHECKED,
    RULES,
    SPEC,
    Restoration,
    to_inputs,
    to_leftovers,
)

if TYPE_CHECKING:
    from ansible_collections.cwagent.iam.plugins.module_utils._ground.call import Call


def work(call: Call) -> dict[str, Any]:
    """Close the windows and restore the instances that interrupted runs left behind, or only check the inputs."""
    params = call.params

    @cache
    def aws_in(region: str) -> Aws:
        client = partial(call.client, region=region) if region else call.client
        return Aws(client, retry_timeout=params["wait_timeout"])

    if params["state"] == CHECKED:
        return {"changed": False, **Lookups(to_inputs(params), aws_in, check_mode=call.check_mode).result()}
    wait = params["wait_timeout"] if params["wait"] else None
    return Restoration(to_leftovers(params), aws_in, check_mode=call.check_mode, wait=wait).run()


def main() -> None:
    run_module(SPEC, RULES, work)


if __name__ == "__main__":
    main()
