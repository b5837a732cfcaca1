#!/usr/bin/python
# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: cwagent_iam_user
version_added: 1.0.0
short_description: Manage IAM users and their access keys for the Amazon CloudWatch agent
description:
  - Makes IAM users for servers outside EC2, with the policies the CloudWatch agent needs, and saves one access key for
    each, as an AWS shared-credentials file or in AWS; repairs what has drifted.
  - One task serves a fleet. The state of the users is read in bulk, and they are worked on side by side.
  - A saved key that IAM still knows is left alone. The secret is in the place where it is saved, and in nothing that
    the module returns.
author: cwagent.iam contributors (@cwagent)
options:
  name:
    description: The names of the users, 1 to 64 characters each.
    type: list
    elements: str
    required: true
    aliases: [names]
  credentials:
    description:
      - Where to save one access key for each user. Without it, access keys are not managed.
    type: dict
    suboptions:
      store:
        description:
          - V(file) is a shared-credentials file on the host that runs the module, which for this collection is the
            controller. It is what the AWS CLI, the SDKs and the agent read as it stands.
          - V(ssm) is a SecureString parameter of Systems Manager, V(secretsmanager) a secret of Secrets Manager, in
            the region in use. Their text is JSON with C(aws_access_key_id), C(aws_secret_access_key) and C(region).
          - An execution environment, as AWX and ansible-navigator use it, is a container that is thrown away with its
            files, so V(file) is refused there.
        type: str
        choices: [file, ssm, secretsmanager]
        default: file
      directory:
        description:
          - The folder for the files, made with mode 0700; needed for O(credentials.store=file).
          - The key of a user is saved in C(<user name>.credentials) with mode 0600.
          - A file there that cannot be read as one, or that holds a key which is not the user's, is not overwritten but
            renamed to C(<user name>.credentials.earlier). IAM does not tell a deleted key from one of another account.
        type: path
      profile:
        description: The profile in the file. The CloudWatch agent looks for the default.
        type: str
        default: AmazonCloudWatchAgent
      prefix:
        description:
          - What the name of the parameter or the secret begins with; the name of the user follows.
          - It cannot begin with C(AmazonCloudWatch-), since every server may read those parameters.
        type: str
        default: /cwagent/credentials/
      kms_key_id:
        description:
          - The id, ARN or alias of the KMS key that parameters and secrets are encrypted with when they are written.
            What is written already stays as it is until the next key. Without it, a parameter is encrypted with the
            service's own key of the account, whatever it was encrypted with before, so give it to every run; a secret
            keeps the KMS key that it has.
          - C(AmazonSSMManagedInstanceCore) lets an instance read every parameter that the service's own key encrypts,
            so with O(credentials.store=ssm) give a key that instances may not use.
        type: str
      make_room:
        description:
          - What to do when a new key is needed and both keys that IAM allows are there, saved by nobody. By default the
            user is refused, and the keys are named with their ages and last use.
          - V(true) deletes the one of them that was not used for longest.
        type: bool
        default: false
      force:
        description:
          - Whether O(credentials.store=file) is right in an execution environment, since its folder outlives it.
        type: bool
        default: false
  max_key_age:
    description:
      - Replace saved access keys that are older than so many days. Without it, none is replaced.
      - "Replacing takes at least three runs, and which comes next is read from the keys: a new key is made and saved;
        once the new key was used, and the old one not for an hour before that, the old one is deactivated; once that
        was not used for O(retire_after), it is deleted. So the key on the server works throughout, however late the
        server gets the new one."
    type: int
  retire_after:
    description: How many days a replaced key is kept, deactivated, after its last use.
    type: int
    default: 7
extends_documentation_fragment:
  - cwagent.iam.principal
  - cwagent.iam.wait
  - cwagent.iam.attributes
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
notes:
  - The region in use is written into the file, since the AWS CLI and SDKs want one beside the key.
  - With O(state=absent) and O(credentials), the saved access key is deleted and what is saved removed. What else a user
    has keeps it from being deleted unless O(exclusive=true), also access keys that are saved elsewhere, a login
    profile, MFA devices, SSH keys, service-specific credentials and signing certificates.
  - Before an access key is made, the ids of those that exist are written down where the key is to be saved. When the
    module is killed before it could save the secret, the next run deletes the key that was made.
  - Ages and last uses are by the clock of AWS.
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
    credentials:
      directory: ~/cloudwatch-credentials
    region: eu-central-1

- name: Keep the key in Secrets Manager
  cwagent.iam.cwagent_iam_user:
    name: CloudWatchAgentServerUser-db1
    access: server
    credentials:
      store: secretsmanager
      kms_key_id: alias/cwagent
    region: eu-central-1

- name: Replace keys that are older than 90 days, step by step with every run
  cwagent.iam.cwagent_iam_user:
    name: CloudWatchAgentServerUser-db1
    access: server
    credentials:
      directory: ~/cloudwatch-credentials
    max_key_age: 90
    retire_after: 14
    region: eu-central-1

- name: Take a user down, with its key and file
  cwagent.iam.cwagent_iam_user:
    name: CloudWatchAgentServerUser-db1
    credentials:
      directory: ~/cloudwatch-credentials
    state: absent
"""

RETURN = r"""
users:
  description:
    - The users that exist, in the order asked for.
    - An ARN and the id of an access key are null in check mode when they are yet to be made.
    - When a key was last used is asked of AWS only where it decides something, as with O(max_key_age).
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
      tags: {}
rotation:
  description:
    - With O(max_key_age), by user, how far the replacement of the key had come when the run began.
    - V(current), the key is young enough. V(due), a new one is made. V(waiting_for_use), the new one was not used yet,
      or the old one still is. V(replaced), the old one is deactivated. V(waiting_for_quiet), it is kept until
      O(retire_after) is over. V(retired), it is deleted. V(blocked), a key that nobody saved takes the place of the
      new one.
  returned: success
  type: dict
  sample: {CloudWatchAgentServerUser-db1: waiting_for_use}
steps:
  description:
    - What was done, or in check mode would be done.
    - When the task has failed, what was to be done; empty where nothing was begun. C(done) and C(not_done) tell then
      what of it was.
  returned: always
  type: list
  elements: str
  sample: ["create user 'CloudWatchAgentServerUser-db1'"]
stays:
  description: With O(state=absent), by user, what is on it that is not the agent's and kept it from being deleted.
  returned: success
  type: dict
  sample: {CloudWatchAgentServerUser-db1: ["group 'operators'"]}
done:
  description: What was done before the task failed.
  returned: when it failed, and had begun
  type: list
  elements: str
  sample: ["create user 'CloudWatchAgentServerUser-db1'"]
not_done:
  description: What is still to be done, for each user the step that failed first.
  returned: when it failed, and had begun
  type: list
  elements: str
  sample: ["create user 'CloudWatchAgentServerUser-db2'"]
failures:
  description: By user, why it could not be brought to what was asked for; the other users were.
  returned: when a user failed
  type: dict
  sample:
    CloudWatchAgentServerUser-db2: >-
      Could not create user 'CloudWatchAgentServerUser-db2' (iam:CreateUser): access denied. A policy explicitly denies
      iam:CreateUser to arn:aws:iam::123456789012:user/ops; lift that Deny and allow iam:CreateUser, then run again.
"""

import os
import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from ansible_collections.cwagent.iam.plugins.module_utils import _module, _names
from ansible_collections.cwagent.iam.plugins.module_utils._access_keys.rotation import KeyRules
from ansible_collections.cwagent.iam.plugins.module_utils._credentials.aws import ParameterStore, SecretStore
from ansible_collections.cwagent.iam.plugins.module_utils._credentials.file import FileStore
from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._user.resource import UserResource

if TYPE_CHECKING:
    from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

    from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws
    from ansible_collections.cwagent.iam.plugins.module_utils._credentials.file import Store

SPEC = {
    "name": {"type": "list", "elements": "str", "required": True, "aliases": ["names"]},
    "credentials": {
        "type": "dict",
        "options": {
            "store": {"type": "str", "choices": ["file", "ssm", "secretsmanager"], "default": "file"},
            "directory": {"type": "path"},
            "profile": {"type": "str", "default": "AmazonCloudWatchAgent"},
            "prefix": {"type": "str", "default": "/cwagent/credentials/"},
            "kms_key_id": {"type": "str"},
            "make_room": {"type": "bool", "default": False},
            "force": {"type": "bool", "default": False},
        },
        "required_if": [("store", "file", ["directory"])],
    },
    "max_key_age": {"type": "int", "no_log": False},
    "retire_after": {"type": "int", "default": 7},
    **_module.PRINCIPAL_SPEC,
}
MOST_DAYS = 36500
# Set by ansible-runner in a container, and by AWX in all jobs.
CONTAINER_MARKS = ("LAUNCHED_BY_RUNNER", "AWX_PRIVATE_DATA_DIR")


def key_store(module: AnsibleAWSModule, aws: Aws) -> Store | None:
    """Where keys are saved. :raises InvalidInput: they could not be."""
    credentials = module.params["credentials"]
    if credentials is None:
        return None
    store: Store
    if credentials["store"] == "file":
        store = file_store(module)
    else:
        kind = ParameterStore if credentials["store"] == "ssm" else SecretStore
        store = kind(aws, credentials["prefix"], module.region, credentials["kms_key_id"])
    store.check(module.params["name"])
    return store


def file_store(module: AnsibleAWSModule) -> FileStore:
    """The folder to save keys in. :raises InvalidInput: it is none, or is about to vanish."""
    credentials = module.params["credentials"]
    # AWS tools do not read a section DEFAULT, which gives Python's parser the defaults of all others.
    if not re.fullmatch(r"(?!DEFAULT$)[\w.@-]+", credentials["profile"], re.ASCII):
        raise InvalidInput(f"credentials.profile: '{credentials['profile']}' is no name of a profile.")
    # An option that is null counts as given.
    if not credentials["directory"] or "\0" in credentials["directory"]:
        raise InvalidInput("credentials.directory: a folder is needed to save keys to files.")
    vanishing = any(os.environ.get(mark) for mark in CONTAINER_MARKS)
    if vanishing and module.params["state"] == "present" and not credentials["force"]:
        raise InvalidInput(
            "credentials.store: this is an execution environment, a container that is thrown away after the job, and "
            f"the secrets with its files. Save them to 'ssm' or 'secretsmanager'; or, if {credentials['directory']} is "
            "mounted from outside and stays, set credentials.force to true."
        )
    return FileStore(Path(credentials["directory"]).absolute(), credentials["profile"], module.region)


def key_rules(module: AnsibleAWSModule) -> KeyRules:
    """What is wanted of the keys. :raises InvalidInput: it makes no sense."""
    params = module.params
    max_age, retire_after = params["max_key_age"], params["retire_after"]
    if max_age is not None and not 1 <= max_age <= MOST_DAYS:
        raise InvalidInput(f"max_key_age: it is a number of days from 1 to {MOST_DAYS}, not {max_age}.")
    if not 0 <= retire_after <= MOST_DAYS:
        raise InvalidInput(f"retire_after: it is a number of days from 0 to {MOST_DAYS}, not {retire_after}.")
    return KeyRules(
        max_age=None if max_age is None else timedelta(days=max_age),
        retire_after=timedelta(days=retire_after),
        evict_unmanaged_key=bool(params["credentials"] and params["credentials"]["make_room"]),
    )


def main() -> None:
    module = _module.aws_module(
        SPEC, required_if=[("state", "present", ["access"])], required_by={"max_key_age": ["credentials"]}
    )
    with _module.fail_on_error(module):
        names = module.params["name"]
        for name in names:
            _names.check_name("user", name)
        _names.check_different(names)
        desired, rules, aws = _module.declared(module.params, module.region), key_rules(module), _module.aws(module)
        store, present = key_store(module, aws), module.params["state"] == "present"
        _module.run(module, UserResource(aws, names, desired, store=store, present=present, rules=rules))


if __name__ == "__main__":
    main()
