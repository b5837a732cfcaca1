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
    each as an AWS shared-credentials file; repairs what has drifted.
  - One task serves a fleet. The state of the users is read in bulk, and they are worked on side by side.
  - A saved key that IAM still knows is left alone. The secret is in the file and in nothing that the module returns.
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
      - The directory is on the host that runs the module, which for this collection is the controller.
    type: dict
    suboptions:
      directory:
        description:
          - The folder for the files, made with mode 0700.
          - The key of a user is saved in C(<user name>.credentials) with mode 0600.
        type: path
        required: true
      profile:
        description: The profile in the file. The CloudWatch agent looks for the default.
        type: str
        default: AmazonCloudWatchAgent
extends_documentation_fragment:
  - cwagent.iam.principal
  - cwagent.iam.wait
  - cwagent.iam.attributes
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
notes:
  - The region in use is written into the file, since the AWS CLI and SDKs want one beside the key.
  - With O(state=absent) and O(credentials), the saved access key is deleted and the file removed. Access keys that are
    saved elsewhere keep their user from being deleted unless O(exclusive=true).
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
  returned: success
  type: list
  elements: dict
  sample:
    - access_keys: [{active: true, id: AKIAIOSFODNN7EXAMPLE}]
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
steps:
  description: What was done, or in check mode would be done.
  returned: always
  type: list
  elements: str
  sample: ["create user 'CloudWatchAgentServerUser-db1'"]
stays:
  description: With O(state=absent), by user, what is on it that is not the agent's and kept it from being deleted.
  returned: success
  type: dict
  sample: {CloudWatchAgentServerUser-db1: ["group 'operators'"]}
failures:
  description: By user, why it could not be brought to what was asked for; the other users were.
  returned: when a user failed
  type: dict
  sample:
    CloudWatchAgentServerUser-db2: >-
      Could not create user 'CloudWatchAgentServerUser-db2' (iam:CreateUser): access denied. A policy explicitly denies
      iam:CreateUser to arn:aws:iam::123456789012:user/ops; lift that Deny and allow iam:CreateUser, then run again.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from ansible_collections.cwagent.iam.plugins.module_utils import _module, _names
from ansible_collections.cwagent.iam.plugins.module_utils._credentials import FileStore
from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._iam_user import UserResource

if TYPE_CHECKING:
    from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

SPEC = {
    "name": {"type": "list", "elements": "str", "required": True, "aliases": ["names"]},
    "credentials": {
        "type": "dict",
        "options": {
            "directory": {"type": "path", "required": True},
            "profile": {"type": "str", "default": "AmazonCloudWatchAgent"},
        },
    },
    **_module.PRINCIPAL_SPEC,
}


def store(module: AnsibleAWSModule) -> FileStore | None:
    """Where keys are saved. :raises InvalidInput: they could not be."""
    credentials = module.params["credentials"]
    if credentials is None:
        return None
    # AWS tools do not read a section DEFAULT, which gives Python's parser the defaults of all others.
    if not re.fullmatch(r"(?!DEFAULT$)[\w.@-]+", credentials["profile"], re.ASCII):
        raise InvalidInput(f"credentials.profile: '{credentials['profile']}' is no name of a profile.")
    files = FileStore(Path(credentials["directory"]).absolute(), credentials["profile"], module.region)
    files.check()
    return files


def main() -> None:
    module = _module.aws_module(SPEC, required_if=[("state", "present", ["access"])])
    with _module.reporting(module):
        for name in module.params["name"]:
            _names.check_name("user", name)
        _names.check_different(module.params["name"])
        present = module.params["state"] == "present"
        want = _module.declared(module)
        resource = UserResource(_module.aws(module), module.params["name"], want, store(module), present)
        _module.finish(module, resource)


if __name__ == "__main__":
    main()
