#!/usr/bin/python
# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cwagent_instance_profile
version_added: 1.0.0
short_description: Associate an instance profile with EC2 instances
description:
  - Associates an instance profile with instances, running or stopped, or disassociates it.
  - Waits until EC2 shows it as the only profile of each instance, and until EC2 knows a profile that was just created.
  - If the profile was deleted and created again, instances with the deleted one are associated with the new one.
author: cwagent.iam contributors (@cwagent)
options:
  name:
    description:
      - The name of the instance profile. If M(cwagent.iam.cwagent_iam_role) returned it in O(planned), the profile and
        the policies of its role are not read from IAM before the first change.
    type: str
    required: true
  instance_ids:
    description:
      - The IDs of the instances. With O(state=present), all of them must exist and none may be terminated; otherwise
        none is changed. With O(state=absent), the module prints a warning for an instance that does not exist.
      - Either O(instance_ids) or O(instances) is required.
    type: list
    elements: str
  instances:
    description:
      - The IDs of the instances by region. The empty name stands for the region of the module. If one region fails, the
        others are still changed.
    type: dict
  on_other_profile:
    description:
      - How to treat an instance that has another instance profile.
      - V(fail) makes the task fail before any instance is changed.
      - V(keep) leaves the instance as it is, and prints a warning that lists the policies its role lacks.
      - V(attach) leaves the instance as it is, and attaches C(CloudWatchAgentServerPolicy) to its role if
        O(attach_to_roles) lists the role. For any other role, the module prints a warning.
      - V(replace) associates this profile instead of the other one.
    type: str
    choices: [fail, keep, attach, replace]
    default: fail
  attach_to_roles:
    description:
      - With O(on_other_profile=attach), the names of the roles to which the module may attach
        C(CloudWatchAgentServerPolicy).
      - The role is first tagged with C(cwagent:attached-policy). M(cwagent.iam.cwagent_application_roles) detaches the
        policy from roles with this tag. A role that has the policy already is not changed.
      - A role is refused if only AWS can change it, if it is an admin role, if EC2 is not allowed to assume it, if it
        has as many managed policies or tags as IAM allows, or if its permissions boundary blocks the agent. If a
        boundary cannot be read, the module prints a warning.
      - The module prints a warning that lists everyone else who gains the permissions. These are other instances of
        these regions with the role, and other principals in its trust policy. On the controller, it prints the warning
        before it changes the role.
      - All roles are read with C(iam:GetAccountAuthorizationDetails), in pages of up to a thousand. If a role is to get
        the policy, all associations of the regions of the instances are read.
    type: list
    elements: str
    default: []
  access_policies:
    description:
      - With O(on_other_profile=attach), the ARNs of the policies to attach instead of C(CloudWatchAgentServerPolicy),
        as M(cwagent.iam.cwagent_fitted_policy) returns them in C(server_policies).
      - The name of a fitted policy stands for its ARN in the account.
      - The tag C(cwagent:attached-policy) lists the attached policies. C(-2) in it stands for
        C(CloudWatchAgentFittedServerPolicy-2), because IAM allows only 256 characters.
      - A role with this tag gets the other policies before it loses the earlier ones.
      - When empty, O(server_policy) decides.
    type: list
    elements: str
    default: []
  server_policy:
    description:
      - With O(on_other_profile=attach), the policy to attach. V(aws) is C(CloudWatchAgentServerPolicy). V(fitted) is
        the fitted policies of the account for servers.
      - When omitted, the account decides. It is V(fitted) if a principal has a fitted policy, and otherwise V(aws).
        C(iam:ListPolicies) shows that, and then C(iam:GetAccountAuthorizationDetails) whether the account is mixed.
    type: str
    choices: [aws, fitted]
  fail_on_refused:
    description:
      - Whether a refused role makes the task fail, after all other changes. With V(false), the module prints a warning,
        and RV(refused_roles) contains the reasons.
    type: bool
    default: true
  fail_if_associated_elsewhere:
    description:
      - Whether to fail, and to change no instance, if an instance that is not in the list has the profile.
    type: bool
    default: false
  state:
    description: Whether the instances should have the profile. V(absent) keeps other profiles.
    type: str
    choices: [present, absent]
    default: present
extends_documentation_fragment:
  - cwagent.iam.planned
  - cwagent.iam.steps
  - cwagent.iam.wait
  - cwagent.iam.attributes
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - cwagent.iam.boto3.module
"""

EXAMPLES = r"""
- name: Let two instances run the CloudWatch agent
  cwagent.iam.cwagent_instance_profile:
    name: CloudWatchAgentServerRole
    instance_ids: [i-0123456789abcdef0, i-0123456789abcdef1]
    region: eu-central-1

- name: Associate the admin profile with one instance, and with no other
  cwagent.iam.cwagent_instance_profile:
    name: CloudWatchAgentAdminRole
    instance_ids: [i-0123456789abcdef0]
    on_other_profile: replace
    fail_if_associated_elsewhere: true
    region: eu-central-1

- name: Let two instances run the agent, with the role of their application if they have one
  cwagent.iam.cwagent_instance_profile:
    name: CloudWatchAgentServerRole
    instance_ids: [i-0123456789abcdef0, i-0123456789abcdef1]
    on_other_profile: attach
    attach_to_roles: [ShopBackend]
    region: eu-central-1

- name: Let instances of two regions run the CloudWatch agent
  cwagent.iam.cwagent_instance_profile:
    name: CloudWatchAgentServerRole
    instances:
      eu-central-1: [i-0123456789abcdef0]
      us-east-1: [i-0123456789abcdef2]
"""

RETURN = r"""
instances:
  description: The instances in the order of the list, with the name of their instance profile before and after.
  returned: success
  type: list
  elements: dict
  sample:
    - instance_id: i-0123456789abcdef0
      profile: CloudWatchAgentAdminRole
      profile_before: CloudWatchAgentServerRole
roles_without_access:
  description:
    - For each role that lacks the policy and is not in O(attach_to_roles), the listed instances that have the role. A
      role that would be refused is left out.
  returned: with O(on_other_profile=attach), when an instance keeps another profile
  type: dict
  sample:
    ShopBackend: [i-0123456789abcdef0]
refused_roles:
  description: For each refused role, the reason.
  returned: with O(on_other_profile=attach), when an instance keeps another profile
  type: dict
  sample:
    ShopBatch: >-
      CloudWatchAgentServerPolicy was not attached to role 'ShopBatch': EC2 is not allowed to assume it, so its
      instances have no credentials. Correct its trust policy.
detached:
  description: The managed policies that roles of other instance profiles lost, or would lose in check mode.
  returned: with O(on_other_profile=attach)
  type: list
  elements: dict
  sample:
    - {kind: role, name: ShopBackend, policy: "arn:aws:iam::aws:policy/CloudWatchAgentServerPolicy"}
failures:
  description: For each instance that failed, the error. The other instances were changed.
  returned: when C(msg) does not contain all of these errors
  type: dict
  sample:
    i-0123456789abcdef1: >-
      Could not associate instance profile 'P' with instance i-0123456789abcdef1 (ec2:AssociateIamInstanceProfile):
      access denied. ops lacks ec2:AssociateIamInstanceProfile. Grant ec2:AssociateIamInstanceProfile to it and run
      again. If a policy already grants it, check its condition ec2:NewInstanceProfile. …
"""

from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._fitting.application_roles import attachments, chosen_policies
from ansible_collections.cwagent.iam.plugins.module_utils._ground.call import (
    converge_regions,
    manage_by_region,
    new_fleet,
    run_module,
)
from ansible_collections.cwagent.iam.plugins.module_utils._servers.instance_profile import RULES, SPEC, resource
from ansible_collections.cwagent.iam.plugins.module_utils._servers.instance_profile_plan import ATTACH

if TYPE_CHECKING:
    from ansible_collections.cwagent.iam.plugins.module_utils._ground.call import Call


def work(call: Call) -> dict[str, Any]:
    """Manage the associations, and then the roles of the instances that keep another profile."""
    if call.params["on_other_profile"] != ATTACH or call.params["state"] == "absent":
        return manage_by_region(resource, call, names="instance_ids", by_region="instances", keys=["instances"])
    call.params.update(chosen_policies(call))  # once for all regions
    fleet = new_fleet(call)
    roles = attachments(call, converge_regions(fleet, resource, call, names="instance_ids", by_region="instances"))
    if roles:
        fleet.converge(roles)
    return fleet.result(["instances", "roles_without_access", "refused_roles", "detached"])


def main() -> None:
    run_module(SPEC, RULES, work)


if __name__ == "__main__":
    main()
