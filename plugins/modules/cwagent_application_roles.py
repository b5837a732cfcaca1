#!/usr/bin/python
# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cwagent_application_roles
version_added: 1.0.0
short_description: Detach the agent's policy from application roles
description:
  - Detaches C(CloudWatchAgentServerPolicy) or the fitted policies from roles with the tag C(cwagent:attached-policy),
    and then removes the tag. M(cwagent.iam.cwagent_instance_profile) sets the tag before it attaches a policy. The tag
    lists the names of the attached policies.
  - Nothing else of these roles is changed. A role without the tag keeps the policy.
  - All roles are read with C(iam:GetAccountAuthorizationDetails), in pages of up to a thousand.
author: cwagent.iam contributors (@cwagent)
options:
  instances:
    description:
      - By region, the IDs of the instances to remove. Only their roles are changed. The empty name stands for the
        region of the module.
      - AWS shows no role for a terminated instance. If a role has the tag, but no instance of the regions has the role,
        the module prints a warning with the name of the role.
      - By default, the policy is detached from all roles with the tag.
    type: dict
  remaining_instances:
    description:
      - By region, the IDs of the instances that remain. Their roles keep the policy. If one of them does not exist in
        its region, no role is changed, and the module prints a warning.
      - A role that other instances of these regions have keeps the policy, too, with a warning that lists them.
    type: dict
  detach_from_roles:
    description:
      - Names of roles that lose the policy although instances have them that are neither in O(instances) nor in
        O(remaining_instances).
    type: list
    elements: str
    default: []
  unused_roles:
    description: With O(instances), whether roles with the tag that no instance of the regions has lose the policy, too.
    type: bool
    default: false
extends_documentation_fragment:
  - cwagent.iam.steps
  - cwagent.iam.wait
  - cwagent.iam.attributes
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - cwagent.iam.boto3.module
"""

EXAMPLES = r"""
- name: Detach the agent's policy from all application roles
  cwagent.iam.cwagent_application_roles:

- name: Detach it from the roles of one instance, unless another instance needs it
  cwagent.iam.cwagent_application_roles:
    instances:
      eu-central-1: [i-0123456789abcdef0]
    remaining_instances:
      eu-central-1: [i-0123456789abcdef1]
      us-east-1: [i-0123456789abcdef2]
"""

RETURN = r"""
detached:
  description: The managed policies that the roles lost, or would lose in check mode.
  returned: success
  type: list
  elements: dict
  sample:
    - {kind: role, name: ShopBackend, policy: "arn:aws:iam::aws:policy/CloudWatchAgentServerPolicy"}
failures:
  description: For each role that failed, the error. The other roles were changed.
  returned: when C(msg) does not contain all of these errors
  type: dict
  sample:
    ShopBackend: >-
      Could not detach CloudWatchAgentServerPolicy from role 'ShopBackend' (iam:DetachRolePolicy): access denied. ops
      lacks iam:DetachRolePolicy. Grant iam:DetachRolePolicy to it and run again. If a policy already grants it, check
      its Resource. …
"""

from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._fitting.application_roles import (
    DETACH_RULES,
    DETACH_SPEC,
    detachments,
)
from ansible_collections.cwagent.iam.plugins.module_utils._ground.call import run_module
from ansible_collections.cwagent.iam.plugins.module_utils._ground.converge import converge

if TYPE_CHECKING:
    from ansible_collections.cwagent.iam.plugins.module_utils._ground.call import Call

SPEC = DETACH_SPEC
RULES = DETACH_RULES


def work(call: Call) -> dict[str, Any]:
    """Detach the agent's policy from the roles that no longer need it."""
    wait = call.params["wait_timeout"] if call.params["wait"] else None
    return converge(detachments(call), call.check_mode, wait)


def main() -> None:
    run_module(SPEC, RULES, work)


if __name__ == "__main__":
    main()
