# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """The options that roles and users have in common."""

    DOCUMENTATION = r"""
options:
  access:
    description:
      - The purpose of the principal. V(server) attaches C(CloudWatchAgentServerPolicy), enough to run the agent;
        V(admin) attaches C(CloudWatchAgentAdminPolicy), which also lets it store the configuration.
      - The other of these two policies is detached.
      - Required with O(state=present).
    type: str
    choices: [server, admin]
  access_policies:
    description:
      - The ARNs of the policies to attach instead of AWS's managed policy for O(access), as
        M(cwagent.iam.cwagent_fitted_policy) returns them. AWS's policy is then detached.
      - The name of a fitted policy stands for its ARN in the account.
      - When empty, O(server_policy) decides.
    type: list
    elements: str
    default: []
  server_policy:
    description:
      - The policies for O(access). With V(aws), AWS's policy is attached, and fitted policies are detached. With
        V(fitted), it is the other way round, with the fitted policies of the account. V(fitted) requires a permissions
        boundary, from O(permissions_boundary) or already on the principal.
      - When omitted, the account decides. It is V(fitted) if a principal has a fitted policy, and otherwise V(aws).
        C(iam:ListPolicies) shows that, and then C(iam:GetAccountAuthorizationDetails) whether the account is mixed,
        which is a warning.
    type: str
    choices: [aws, fitted]
  ssm_policy:
    description:
      - The policy that allows Systems Manager to install and configure the agent. V(none) detaches it. When omitted, it
        is not changed, unless O(exclusive=true).
      - AWS has deprecated V(AmazonEC2RoleforSSM), because it allows reading and writing all of S3. The task prints a
        warning for it.
    type: str
    choices: [none, AmazonSSMManagedInstanceCore, AmazonEC2RoleforSSM]
  managed_policies:
    description: ARNs of additional managed policies to attach.
    type: list
    elements: str
    default: []
  exclusive:
    description:
      - With V(false), the principal can be shared with other uses. Only the agent's policies and O(managed_policies)
        are attached and detached. Other policies, the groups of a user, and other statements in the trust policy of a
        role are not changed. O(state=absent) does not delete a principal that has any of these.
      - With V(true), these are removed, except for the admin window. If the instance profile of a role contains another
        role, that role is replaced. If this collection created the principal, O(state=absent) deletes it with
        everything on it.
    type: bool
    default: false
  iam_path:
    description:
      - The IAM path of a new principal, such as V(/monitoring/). The default is V(/).
      - The task fails if the principal exists with another path.
    type: str
  permissions_boundary:
    description:
      - The ARN of the policy to use as permissions boundary. V(none) removes the boundary. Not changed when omitted.
      - If C(iam:GetPolicy) is allowed, the task fails before any change if the policy does not exist.
    type: str
  tags:
    description:
      - Tags to set, up to 45. Not changed when omitted. Keys must not begin with C(cwagent:).
    type: dict
  purge_tags:
    description:
      - Whether to remove tags that are not in O(tags). The default is the value of O(exclusive).
      - Tags of this collection, which begin with C(cwagent:), are never removed.
    type: bool
  admin_window:
    description:
      - Whether the principal has an admin window, which M(cwagent.iam.cwagent_admin_window) opens and closes.
      - A principal without a window gets a closed one before any policy is attached. An existing window is not changed.
      - The window denies writing to everyone who uses the principal. So it is an error for a principal that this
        collection did not create, unless it has a window already or O(adopt_existing=true).
    type: bool
    default: false
  adopt_existing:
    description:
      - Whether to manage a principal that exists and that this collection did not create. Without it, such a principal
        only gets the settings that the options declare, such as policies and tags, and O(admin_window=true) is an
        error.
      - The principal gets the tag C(cwagent:managed) with the value C(adopted). O(state=absent) does not delete it.
    type: bool
    default: false
  state:
    description:
      - Whether the principal should exist.
      - V(absent) only deletes a principal, and an instance profile, that this collection created according to the tag
        C(cwagent:managed). Any other principal is kept, and only loses the agent's policies, O(managed_policies), the
        admin window and the tags of this collection.
    type: str
    choices: [present, absent]
    default: present
"""
