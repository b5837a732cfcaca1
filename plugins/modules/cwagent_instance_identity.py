#!/usr/bin/python
# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cwagent_instance_identity
version_added: 1.0.0
short_description: (internal) Wait until an EC2 instance has the identity of an instance profile
description:
  - Runs on an EC2 instance and reads its instance profile and role from the instance metadata service.
  - It takes seconds to minutes until a new association reaches the service. Only then does the instance get the
    credentials of the role.
  - Fails if boto3 is missing on the instance, so it also checks whether other AWS modules can run there.
author: cwagent.iam contributors (@cwagent)
options:
  instance_profile:
    description:
      - The name of the instance profile to wait for, or V(none) for none. Without this option, the module returns the
        current identity without waiting.
      - Check mode does not wait.
    type: str
  role:
    description:
      - The name of the role in O(instance_profile). The module waits until the instance gets the credentials of this
        role instead of an earlier one. Without this option, it accepts the credentials of any role.
    type: str
  instance_id:
    description:
      - The ID that the instance must have. If the connection leads to another instance, the module fails.
    type: str
  parameter_store_regions:
    description:
      - The regions whose Parameter Store must answer this host. Each must accept a connection within five seconds, and
        any HTTP status is an answer. If a region does not answer, the module fails immediately, without the retries of
        a call, with the name of the region.
      - This needs no credentials and no permission.
    type: list
    elements: str
    default: []
  fail_on_refused_role:
    description:
      - Whether to wait at most 15 seconds while EC2 is not allowed to assume the role
        (C(AssumeRoleUnauthorizedAccess)), which happens with a role that was just created. EC2 only tries again at long
        intervals, but immediately after the profile is associated again, as M(cwagent.iam.cwagent_store_config) does.
    type: bool
    default: false
  wait_timeout:
    description: How long to wait, in seconds.
    type: int
    default: 300
extends_documentation_fragment:
  - cwagent.iam.attributes.reading
  - cwagent.iam.attributes
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - cwagent.iam.boto3.module
  - cwagent.iam.environment
"""

EXAMPLES = r"""
- name: Wait until the instance has the credentials of the admin role
  cwagent.iam.cwagent_instance_identity:
    instance_profile: CloudWatchAgentAdminRole
    role: CloudWatchAgentAdminRole
"""

RETURN = r"""
identity:
  description:
    - The identity of the instance. Both values are null when it has no instance profile. The metadata service can show
      the credentials of an earlier role for a while.
    - If the wait timed out, the identity that the instance still has.
  returned: success, and when the wait timed out
  type: dict
role_refused:
  description: Whether EC2 was not allowed to assume the role.
  returned: when the instance has the profile, but no credentials in time
  type: bool
"""

from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils import _environment, _module
from ansible_collections.cwagent.iam.plugins.module_utils._imds import (
    REFUSED_SECONDS,
    MetadataService,
    wait_for_identity,
)
from ansible_collections.cwagent.iam.plugins.module_utils._reachability import check_parameter_store
from ansible_collections.cwagent.iam.plugins.module_utils._wait import Deadline

if TYPE_CHECKING:
    from ansible_collections.cwagent.iam.plugins.module_utils._call import Call

SPEC = {
    "instance_profile": {"type": "str"},
    "role": {"type": "str"},
    "fail_on_refused_role": {"type": "bool", "default": False},
    "wait_timeout": {"type": "int", "default": 300},
    "instance_id": {"type": "str"},
    "parameter_store_regions": {"type": "list", "elements": "str", "default": []},
    **_environment.ENVIRONMENT_SPEC,
}

RULES: dict[str, Any] = {}


def work(call: Call) -> dict[str, Any]:
    """Return the identity that the instance has, or wait for the one that it should have."""
    profile = call.params["instance_profile"]
    check_parameter_store(call.client, call.params["parameter_store_regions"])
    service = MetadataService()
    if call.params["instance_id"]:
        service.check_instance(call.params["instance_id"])
    if profile is None or call.check_mode:
        identity = service.identity()
    else:
        expected = None if profile == "none" else profile
        deadline = Deadline(call.params["wait_timeout"])
        refused = Deadline(REFUSED_SECONDS) if call.params["fail_on_refused_role"] else None
        identity = wait_for_identity(service, expected, deadline, call.params["role"], refused)
    return {"changed": False, "identity": {"instance_profile": identity.profile, "role": identity.role}}


def main() -> None:
    _module.run_module(SPEC, RULES, work)


if __name__ == "__main__":
    main()
