#!/usr/bin/python
# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cwagent_iam_user
version_added: 1.0.0
short_description: Manage IAM users and their access keys for the Amazon CloudWatch agent
description:
  - Creates IAM users for servers outside EC2, with the policies that the CloudWatch agent needs, and saves one access
    key for each, in an AWS shared-credentials file, in Parameter Store or in Secrets Manager. Repairs drift.
  - One task manages a whole fleet. The users are read in bulk and changed in parallel.
  - A saved key that still exists in IAM is kept. The secret exists only in the place where it is saved, and never
    appears in the module's result.
  - On a user with an admin window, the tag C(cwagent:saved-key) contains the ID of the saved key. The window only
    activates and deactivates that key.
author: cwagent.iam contributors (@cwagent)
options:
  name:
    description: The names of the users, 1 to 64 characters each. Either O(name) or O(users_by_region) is required.
    type: list
    elements: str
  users_by_region:
    description:
      - The names of the users by the region in which their keys are saved. The empty name stands for the region of the
        module. If one region fails, the others are still changed.
    type: dict
  saved_key:
    description:
      - Where to save one access key for each user. Without it, access keys are not managed.
    type: dict
    suboptions:
      key_store:
        description:
          - Where the access key is saved. V(file) is a file C(<user name>.credentials) on the controller,
            V(parameter_store) a SecureString parameter of Systems Manager, V(secrets_manager) a secret of Secrets
            Manager.
          - The AWS CLI, the SDKs and the agent can read a file without conversion. In AWS, the text is JSON with
            C(aws_access_key_id), C(aws_secret_access_key) and C(region), in the region in use.
          - An execution environment, as AWX and ansible-navigator use it, is a container that is deleted with its
            files after the job, so V(file) is an error there unless O(saved_key.key_store_allow_ephemeral=true).
        type: str
        choices: [file, parameter_store, secrets_manager]
        default: file
      key_store_directory:
        description:
          - The folder for the files, created with mode 0700. Required with O(saved_key.key_store=file). A folder that
            exists keeps its mode, and is refused if other users can read or change it.
          - The key of a user is saved in C(<user name>.credentials) with mode 0600. Only the section
            O(saved_key.credentials_profile) of the file is written. A symbolic link or a device is refused.
          - If an existing file is not a credentials file, or its key is not one of the user's, its content is kept in
            C(<user name>.credentials.earlier). IAM does not distinguish a deleted key from a key of
            another account, so the module cannot tell whether the key is still used elsewhere.
        type: path
      credentials_profile:
        description: The AWS profile in the file. The default is the one that the CloudWatch agent reads.
        type: str
        default: AmazonCloudWatchAgent
      key_store_prefix:
        description:
          - The beginning of the parameter's or secret's name; the name of the user follows.
          - It cannot begin with C(AmazonCloudWatch-), because every server can read those parameters.
        type: str
        default: /cwagent/credentials/
      key_store_kms_key_id:
        description:
          - The ID, ARN or alias of the KMS key that encrypts parameters and secrets when they are written. Existing
            parameters and secrets are encrypted with it when the next access key is saved.
          - With O(saved_key.key_store=parameter_store), set it in every run. Without it, each write encrypts the
            parameter with the account's default key of Systems Manager, whatever encrypted it before. An instance with
            C(AmazonSSMManagedInstanceCore) can read every parameter that the default key encrypts, so use a key that
            instances have no permission to use.
          - With O(saved_key.key_store=secrets_manager), a secret keeps its KMS key when this is omitted. A new secret
            is then encrypted with the account's default key of Secrets Manager.
        type: str
      evict_unmanaged_key:
        description:
          - Whether to delete an unmanaged key when a user needs a new key and already has two keys, which is the most
            that IAM allows. A key is unmanaged if it is not saved in the store. The least recently used one is deleted.
          - With V(false), this is an error that lists the keys with their age and last use.
        type: bool
        default: false
      key_store_allow_ephemeral:
        description:
          - Whether to allow O(saved_key.key_store=file) in an execution environment. Set it only if the folder is a
            volume that outlives the container.
        type: bool
        default: false
  key_max_age_days:
    description:
      - Replace saved access keys that are at least this many days old. The minimum is 1. It has no effect with
        O(rotate_now=true).
      - A replacement takes at least three runs. Each run determines the next step from the keys. First, a new key is
        created and saved. The old key is deactivated once the new key was used at least five hours after the last use
        of the old one, because IAM shows the last use of a key late. The old key is deleted once it was unused for
        O(key_delete_after_days) days. So the key on the server works at any time, however late the server gets the new
        one.
      - Servers that share a user also share the last use of its keys. If one server is off for five hours while the
        others already use the new key, it needs the new key before it can make calls again.
      - The place where the new key is saved also contains the ID of the old key. Any other key of the user is not
        changed, and the module prints a warning with its ID.
      - The key of a user with an admin window is not replaced while the window is open.
    type: int
  rotate_now:
    description:
      - Replace all saved access keys now, for example after a key leaked. Keys are only replaced with O(rotate_now) or
        O(key_max_age_days).
      - A key that replaced another one less than a day ago is not replaced, so a run that was interrupted can be
        repeated. If that key leaked, deactivate it first.
      - If an earlier replacement is not finished, its old key must be deleted to make room. The module does that if the
        old key is no longer in use, or with O(revoke_old=true).
      - While the admin window of a user is open, its key cannot be replaced, and the task fails.
      - Requires O(saved_key).
    type: bool
    default: false
  key_delete_after_days:
    description:
      - A replaced key is deactivated first. It is deleted after it was unused for this many days.
      - With O(state=retired), the same applies to all keys of the user.
    type: int
    default: 7
  revoke_old:
    description:
      - Deactivate a replaced key immediately, instead of waiting until the new key is in use. The server cannot make
        calls until it has the new key. Requires O(key_max_age_days) or O(rotate_now).
    type: bool
    default: false
  hold:
    description:
      - With O(state=retired), the users that are not retired yet, each with the reason. Nothing is done for them.
      - A user belongs here as long as one of its servers needs the access key, or while that is unknown, for example
        because the server is unreachable.
      - The playbooks of this collection leave the option out. The task then finds these users itself.
    type: dict
    default: {}
  state:
    description:
      - Whether the user should exist.
      - V(absent) only deletes a user that this collection created according to the tag C(cwagent:managed). Any other
        user is kept, and only loses the agent's policies, O(managed_policies), the admin window and the tags of this
        collection.
      - V(retired) deletes the user as V(absent) does, but only when nothing has used its access keys for long enough.
        It is for servers that have other credentials now, for example as hybrid servers. Each run determines the next
        step from the keys. First, the keys are deactivated once all of them were unused for five hours, because IAM
        shows the last use of a key late. The user is deleted once they were unused for O(key_delete_after_days) days. A
        key that was never used counts as unused since its creation.
      - With V(retired), a user that this collection neither created nor adopted is not changed. Neither is a user with
        a key that is neither saved nor replaced by the saved one, even with O(exclusive=true). The module prints a
        warning for both.
      - V(retired) requires O(saved_key), and ignores O(key_max_age_days) and O(rotate_now).
    type: str
    choices: [present, absent, retired]
    default: present
extends_documentation_fragment:
  - cwagent.iam.steps
  - cwagent.iam.principal
  - cwagent.iam.wait
  - cwagent.iam.attributes
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - cwagent.iam.boto3.module
notes:
  - The region in use is written next to the key, because the AWS CLI and SDKs need one.
  - With O(state=absent) and O(saved_key), the saved access key and the key that it replaced are deleted, in IAM and in
    the store. Anything else on the user prevents its deletion unless O(exclusive=true). That includes access keys that
    are saved elsewhere, a login profile, MFA devices, SSH keys, service-specific credentials and signing certificates.
  - Before the module creates an access key, it claims the place in the store, and records the IDs of the existing keys
    there. Other runs wait for the claim. With O(saved_key.key_store=parameter_store) and
    O(saved_key.key_store=secrets_manager), the claim is a second parameter or secret whose name ends with C(.pending).
    It exists until the key is saved. If the module is interrupted before it could save the secret, the next run deletes
    the new key.
  - Ages and last uses are measured with the AWS clock.
seealso:
  - module: amazon.aws.iam_user
  - module: amazon.aws.iam_access_key
"""

EXAMPLES = r"""
- name: Let two on-premises servers run the CloudWatch agent
  cwagent.iam.cwagent_iam_user:
    name:
      - CloudWatchAgentServerUser-db1
      - CloudWatchAgentServerUser-db2
    access: server
    saved_key:
      key_store_directory: ~/cloudwatch-credentials
    region: eu-central-1

- name: Save the key in Secrets Manager
  cwagent.iam.cwagent_iam_user:
    name: CloudWatchAgentServerUser-db1
    access: server
    saved_key:
      key_store: secrets_manager
      key_store_kms_key_id: alias/cwagent
    region: eu-central-1

- name: Replace keys that are older than 90 days, one phase in each run
  cwagent.iam.cwagent_iam_user:
    name: CloudWatchAgentServerUser-db1
    access: server
    saved_key:
      key_store_directory: ~/cloudwatch-credentials
    key_max_age_days: 90
    key_delete_after_days: 14
    region: eu-central-1

- name: Replace a key that leaked, and deactivate it immediately
  cwagent.iam.cwagent_iam_user:
    name: CloudWatchAgentServerUser-db1
    access: server
    saved_key:
      key_store_directory: ~/cloudwatch-credentials
    rotate_now: true
    revoke_old: true
    region: eu-central-1

- name: Delete the users of servers that have become hybrid servers, one phase in each run
  cwagent.iam.cwagent_iam_user:
    name:
      - CloudWatchAgentServerUser-db1
      - CloudWatchAgentServerUser-db2
    saved_key:
      key_store_directory: ~/cloudwatch-credentials
    hold:
      CloudWatchAgentServerUser-db2: db2 is unreachable
    state: retired
    region: eu-central-1

- name: Delete a user with its key and file
  cwagent.iam.cwagent_iam_user:
    name: CloudWatchAgentServerUser-db1
    saved_key:
      key_store_directory: ~/cloudwatch-credentials
    state: absent
"""

RETURN = r"""
users:
  description:
    - The users that exist, in the order of O(name).
    - In check mode, the ARN of a user and the ID of an access key that do not exist yet are null.
    - The last use of a key is read only if the plan depends on it, for example with O(key_max_age_days) or
      O(rotate_now). Otherwise it is null.
  returned: success
  type: list
  elements: dict
  sample:
    - access_keys:
        - {active: true, age_days: 12, created: "2026-03-01T09:15:42Z", id: AKIAIOSFODNN7EXAMPLE, last_used: null}
      arn: arn:aws:iam::123456789012:user/CloudWatchAgentServerUser-db1
      groups: []
      inline_policies: []
      managed_policies: ["arn:aws:iam::aws:policy/CloudWatchAgentServerPolicy"]
      name: CloudWatchAgentServerUser-db1
      path: /
      permissions_boundary: null
      saved:
        access_key_id: AKIAIOSFODNN7EXAMPLE
        location: /home/ops/cloudwatch-credentials/CloudWatchAgentServerUser-db1.credentials
      tags: {"cwagent:managed": created}
rotation:
  description:
    - With O(key_max_age_days) or O(rotate_now), for each user, the phase of the key's replacement at the beginning of
      the run.
    - V(current) means that the saved key is young enough or, with O(rotate_now=true), that it replaced another one less
      than a day ago.
    - V(due) means that a new key is created and saved. With O(revoke_old=true), the old one is then deactivated.
    - V(waiting_for_use) means that the new key was not used yet, or that the old one is still in use.
    - V(deactivating) means that the old key is deactivated.
    - V(grace_period) means that the old key is inactive, and is kept until it was unused for O(key_delete_after_days)
      days.
    - V(deleting) means that the old key is deleted.
    - V(blocked) means that a new key is due, but an unmanaged key takes its slot.
  returned: success
  type: dict
  sample: {CloudWatchAgentServerUser-db1: waiting_for_use}
retirement:
  description:
    - With O(state=retired), for each user, the phase of its retirement at the beginning of the run. A user that does
      not exist has none.
    - V(waiting) means that O(hold) contains the user.
    - V(blocked) means that this collection neither created nor adopted the user, or that it has an unmanaged key.
    - V(in_use) means that a key is active, and may have been used in the last five hours.
    - V(deactivating) means that the keys are deactivated.
    - V(grace_period) means that the keys are inactive, and are kept until they were unused for
      O(key_delete_after_days) days.
    - V(deleting) means that the user is deleted with its keys. A user with RV(blockers) only loses the keys.
  returned: success
  type: dict
  sample: {CloudWatchAgentServerUser-db1: deactivating, CloudWatchAgentServerUser-db2: waiting}
blockers:
  description:
    - With O(state=absent), for each user that was not deleted, the reasons.
    - With O(state=retired), the reasons why a user is V(waiting), V(blocked) or kept.
  returned: success
  type: dict
  sample: {CloudWatchAgentServerUser-db1: ["group 'operators'"]}
detached:
  description: The managed policies that the users lost, or would lose in check mode.
  returned: success
  type: list
  elements: dict
  sample:
    - {kind: user, name: CloudWatchAgentServerUser-db1, policy: "arn:aws:iam::aws:policy/CloudWatchAgentServerPolicy"}
failures:
  description: For each user that failed, the error. The other users were changed as declared.
  returned: when C(msg) does not contain all of these errors
  type: dict
  sample:
    CloudWatchAgentServerUser-db2: >-
      Could not create user 'CloudWatchAgentServerUser-db2' (iam:CreateUser): access denied.
      arn:aws:iam::123456789012:user/ops lacks iam:CreateUser. Grant iam:CreateUser to it and run again.
"""

from functools import partial

from ansible_collections.cwagent.iam.plugins.module_utils._ground.call import manage_by_region, run_module
from ansible_collections.cwagent.iam.plugins.module_utils._principals.user import RULES, SPEC, resource

work = partial(
    manage_by_region,
    resource,
    names="name",
    by_region="users_by_region",
    keys=["users", "rotation", "retirement", "blockers", "detached"],
)


def main() -> None:
    run_module(SPEC, RULES, work)


if __name__ == "__main__":
    main()
