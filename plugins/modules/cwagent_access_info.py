#!/usr/bin/python
# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cwagent_access_info
version_added: 1.0.0
short_description: List the principals that can write agent configurations, and report risks
description:
  - Reads the roles and users of an account with their policies, the instances and hybrid servers behind them, the
    access keys and the configuration parameters, and decides from the policies who can write to Parameter Store at this
    moment.
  - Returns the principals that this collection manages, principals with one of the agent's policies, and all others
    that can write parameters whose names begin with C(AmazonCloudWatch-).
  - RV(unread) lists everything that the credentials may not read. Results that depend on it are unknown. The module
    fails only if it can read nothing.
  - Service control policies, resource control policies and session policies are not evaluated. They can deny
    permissions that are shown as allowed.
  - Never reads a secret. It finds out where an access key is saved from the description of the parameter or secret.
  - Most of IAM is read with C(iam:GetAccountAuthorizationDetails), up to a thousand entities per call. Each user of the
    agent takes one more call, and so does each of its access keys.
author: cwagent.iam contributors (@cwagent)
options:
  roles:
    description:
      - Names of roles. With O(roles) or O(users), only these principals are read instead of the whole account.
      - Names that do not exist are left out.
    type: list
    elements: str
  users:
    description: Names of users, with the same effect as O(roles).
    type: list
    elements: str
  regions:
    description:
      - The regions whose instances, parameters and saved access keys are read.
      - The default is the region of the module and the regions of O(instances).
    type: list
    elements: str
    default: []
  instances:
    description:
      - By region, the IDs of the instances in the inventory, which are to run the agent. The empty name stands for the
        region of the module.
      - The module finds other instances through their instance profile.
    type: dict
    default: {}
  account_id:
    description:
      - The ID of the account that the credentials must belong to. With credentials of another account, the module fails
        and reads nothing else.
    type: str
  label:
    description: The name of the account in the result.
    type: str
    default: controller
  key_stores:
    description:
      - Where access keys may be saved. A key that is in none of these places counts as not saved. With V(file), that is
        unknown, because files are not read.
      - A key in the tag C(cwagent:saved-key) of its user counts as saved too.
    type: list
    elements: str
    choices: [file, parameter_store, secrets_manager]
    default: [file, parameter_store, secrets_manager]
  key_store_prefix:
    description: The beginning of the names of the parameters and secrets with access keys.
    type: str
    default: /cwagent/credentials/
  key_max_age_days:
    description: Access keys of at least this age in days are too old. V(0) means no limit.
    type: int
    default: 90
  server_profile:
    description: The instance profile that RV(findings[].fix) suggests for an instance without one.
    type: str
    default: CloudWatchAgentServerRole
  hybrid_role_name:
    description:
      - The name of the role of on-premises servers that are registered with Systems Manager. The module finds other
        such roles through the nodes and activations of this collection.
    type: str
    default: CloudWatchAgentHybridRole
  inventory_users:
    description:
      - The users of the hosts in the inventory. With it, the module reports other users that this collection created.
    type: list
    elements: str
  attach_to_roles:
    description:
      - The application roles that are to have C(CloudWatchAgentServerPolicy) or a fitted policy. With it, the module
        reports other roles to which this collection has attached such a policy.
    type: list
    elements: str
  simulate:
    description:
      - Whether to ask IAM, with C(iam:SimulatePrincipalPolicy), about the principals that can write or may be able to.
        Principals that administer the account are left out.
      - This takes one call for each principal, and IAM throttles this call early.
    type: bool
    default: false
  parts:
    description:
      - The parts to read. With V(history) alone, only the versions of O(configs_by_region) are read, which takes one
        call for each 50 versions of a configuration, and one more for each configuration.
    type: list
    elements: str
    choices: [access, history]
    default: [access, history]
  configs_by_region:
    description:
      - By region, the names of the configurations whose versions are read. The empty name stands for the region of the
        module. Further parameters of a configuration that was split, such as C(NAME-2), are read too.
    type: dict
    default: {}
  admin_role_name:
    description:
      - The name of the role of the instance that stores configurations. The module reports versions that another
        principal has written than this role, O(admin_user_name) or, with O(controller_stores), the caller of the
        module.
    type: str
    default: CloudWatchAgentAdminRole
  admin_user_name:
    description: The name of the user of the host that stores configurations on premises.
    type: str
    default: CloudWatchAgentAdminUser
  controller_stores:
    description: Whether the controller stores configurations with its own credentials. The task must have the same.
    type: bool
    default: false
  ignored_parameters:
    description: The parameters that the fitted policies leave out, so that these may lack what the parameters need.
    type: list
    elements: str
    default: []
  emf_log_groups:
    description:
      - For fitted policies, the log groups to which applications send metrics in the embedded metric format (EMF). Use
        the same list as in M(cwagent.iam.cwagent_fitted_policy).
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - cwagent.iam.attributes.reading
  - cwagent.iam.attributes
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - cwagent.iam.boto3.module
seealso:
  - module: cwagent.iam.cwagent_admin_window
"""

EXAMPLES = r"""
- name: Read who can write configurations
  cwagent.iam.cwagent_access_info:
    regions: [eu-central-1, us-east-1]
    key_stores: [parameter_store]
  register: access

- name: Fail if something severe was found
  ansible.builtin.assert:
    that: access.counts.error == 0
    fail_msg: "{{ access.findings | selectattr('severity', 'eq', 'error') | map(attribute='why') | join(' ') }}"

- name: Read one role and its instances
  cwagent.iam.cwagent_access_info:
    roles: [CloudWatchAgentAdminRole]
"""

RETURN = r"""
account:
  description: The account that was read.
  returned: success
  type: dict
  contains:
    id:
      description: The account's ID.
      type: str
    alias:
      description: The account's alias, if it has one and it could be read.
      type: str
    partition:
      description: The partition, such as V(aws).
      type: str
    label:
      description: The option O(label).
      type: str
    read_at:
      description: When it was read, in UTC, according to the AWS clock.
      type: str
    regions:
      description: The regions that were read.
      type: list
      elements: str
principals:
  description: The roles and users that matter for the agent.
  returned: success
  type: list
  elements: dict
  contains:
    kind:
      description: V(role) or V(user).
      type: str
    name:
      description: The name.
      type: str
    arn:
      description: The ARN.
      type: str
    access:
      description: V(admin) with the agent's admin policy or an admin window, V(server) with its server policy.
      type: str
    managed:
      description: V(created) or V(adopted), if this collection created or adopted it.
      type: str
    created:
      description: When it was created, in UTC.
      type: str
    writes:
      description:
        - Whether it can write configurations now. V(window) means that it can only through its open admin window.
          V(unknown) means that the answer depends on something that could not be read, or on a condition key whose
          value is not known.
      type: str
    writes_why:
      description: The reason.
      type: str
    is_administrator:
      description: Whether it administers the account, and so can write.
      type: bool
    policies:
      description: The names of the managed policies, including the policies of its groups.
      type: list
      elements: str
    inline:
      description: The names of the inline policies, including the policies of its groups.
      type: list
      elements: str
    boundary:
      description: The name of the permissions boundary.
      type: str
    window:
      description: The admin window, of a principal with V(admin) access.
      type: dict
      contains:
        state:
          description: V(open), V(closed), V(expired), V(absent), V(modified) or V(unknown).
          type: str
        deadline:
          description: The time at which it closes or closed, in UTC.
          type: str
        instance_id:
          description: The only instance that can use it.
          type: str
        parameters:
          description: The only parameters that can be written. Empty if all can.
          type: list
          elements: dict
    access_keys:
      description: The access keys of a user of the agent.
      type: list
      elements: dict
      contains:
        id:
          description: The ID.
          type: str
        active:
          description: Whether it is active.
          type: bool
        created:
          description: When it was created, in UTC.
          type: str
        last_used:
          description: When it was last used, in UTC.
          type: str
        last_used_known:
          description: Whether the last use could be read.
          type: bool
        age_days:
          description: The age in days.
          type: int
        saved:
          description: Whether it is saved. Null if that is unknown.
          type: bool
        saved_at:
          description: Where it is saved.
          type: str
    instance_profiles:
      description: The names of the instance profiles that contain the role.
      type: list
      elements: str
grantors:
  description:
    - The roles and users that cannot write now, but can change policies so that a principal of the agent can, for
      example by opening an admin window. They come from the principals that were read.
    - This counts writing an inline policy of such a principal, deleting its admin window, attaching
      C(CloudWatchAgentAdminPolicy) to it, and creating a new version of one of its policies.
    - It takes no further calls. The root user of the account can do all of this, and is not listed.
  returned: success
  type: list
  elements: dict
  contains:
    kind:
      description: V(role) or V(user).
      type: str
    name:
      description: The name.
      type: str
    arn:
      description: The ARN.
      type: str
    can_grant:
      description:
        - V(yes), or V(unknown) if the answer depends on something that could not be read, or on a condition key whose
          value is not known. A principal for which RV(principals[].writes) is V(unknown) is listed only with V(yes).
      type: str
    why:
      description: The reason.
      type: str
      sample: "It may call iam:PutRolePolicy on arn:aws:iam::123456789012:role/CloudWatchAgentAdminRole."
instance_profiles:
  description: The instance profiles of the principals and of the instances.
  returned: success
  type: list
  elements: dict
  sample: [{"name": "CloudWatchAgentServerRole", "role": "CloudWatchAgentServerRole",
            "arn": "arn:aws:iam::123456789012:instance-profile/CloudWatchAgentServerRole"}]
instances:
  description: The instances of the principals, the instances in O(instances), and instances with a restore tag.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: The ID.
      type: str
    region:
      description: The region.
      type: str
    name:
      description: The tag C(Name).
      type: str
    state:
      description: The state, such as V(running); null if it could not be read.
      type: str
    profile:
      description: The name of its instance profile.
      type: str
    in_inventory:
      description: Whether it is in O(instances).
      type: bool
    restore_tag:
      description: The value of its restore tag.
      type: str
    is_windows:
      description: Whether EC2 reports that it runs Windows; false if its state could not be read.
      type: bool
nodes:
  description: The nodes of Systems Manager with a role of RV(principals), or that this collection registered.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: The ID.
      type: str
    region:
      description: The region.
      type: str
    name:
      description: The name.
      type: str
    role:
      description: The name of its role.
      type: str
    ping:
      description: Whether its SSM agent answers, V(Online), V(ConnectionLost) or V(Inactive).
      type: str
    is_windows:
      description: Whether Systems Manager reports that it runs Windows.
      type: bool
    is_ours:
      description: Whether this collection registered it.
      type: bool
activations:
  description: The activations that register servers with such a role, or that this collection created.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: The ID.
      type: str
    region:
      description: The region.
      type: str
    name:
      description: The name of the servers that it registers.
      type: str
    role:
      description: The name of their role.
      type: str
    expires:
      description: When it expires, in UTC.
      type: str
    remaining:
      description: How many more servers it can register.
      type: int
    is_ours:
      description: Whether this collection created it.
      type: bool
parameters:
  description: The parameters with agent configurations.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The name.
      type: str
    region:
      description: The region.
      type: str
    tier:
      description: The tier.
      type: str
    version:
      description: The version.
      type: int
    size:
      description: The size in bytes; null if it could not be read.
      type: int
    limit:
      description: The limit of the tier in bytes.
      type: int
    modified:
      description: When it was last written, in UTC.
      type: str
    readable_by_server:
      description: Whether all server principals can read it, V(yes), V(no) or V(unknown).
      type: str
    valid:
      description: Whether it contains a valid configuration, V(yes), V(no) or V(unknown).
      type: str
    problem:
      description: Why it is not valid.
      type: str
history:
  description: The versions of O(configs_by_region) that Parameter Store keeps.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The name of the parameter.
      type: str
    region:
      description: The region.
      type: str
    versions:
      description: The versions, with the newest first. Empty if there is no such parameter.
      type: list
      elements: dict
      contains:
        version:
          description: The number.
          type: int
        modified:
          description: When it was written, in UTC.
          type: str
        writer:
          description: The ARN of the user or of the session of a role that wrote it, as Parameter Store shows it.
          type: str
        written_by:
          description: The same in words.
          type: str
        is_own:
          description: Whether the inventory stores with that principal.
          type: bool
        size:
          description: The size in bytes; null if the content was not read.
          type: int
        tier:
          description: The tier.
          type: str
        labels:
          description: The labels.
          type: list
          elements: str
        stored_with:
          description:
            - Of a configuration that was split, the versions of the other parts that belong to this version, with their
              C(name) and C(version). Empty if the collection has not stored it, or if a part is no longer kept.
          type: list
          elements: dict
        changes:
          description:
            - The differences from the version before, by JSON path. Empty for the first version, and null if the
              content was not read, because it is encrypted.
          type: list
          elements: str
          sample: ["~ $.agent.metrics_collection_interval: 60 -> 30"]
unread:
  description: Everything that could not be read.
  returned: success
  type: list
  elements: dict
  contains:
    what:
      description: The part that is unknown.
      type: str
    action:
      description: The action that is not allowed.
      type: str
    region:
      description: The region; null for IAM.
      type: str
    why:
      description: The error.
      type: str
findings:
  description: Everything that violates a rule, with the most severe first.
  returned: success
  type: list
  elements: dict
  contains:
    rule:
      description:
        - Rules about the principal are V(admin-on-instances) (error, several instances have an admin policy that
          nothing limits), V(admin-without-window) (error, an admin policy is attached permanently), V(server-writes)
          (error, a principal for servers can write), V(unmanaged-writer) (warning, a principal that is not for the
          agent can write), V(window-expired) (notice, an admin window was not closed after its deadline),
          V(window-modified) (error or warning, the policy of the admin window was changed), V(deprecated-ssm-policy)
          (warning, the policy V(AmazonEC2RoleforSSM) is in use), V(admin-unmanaged-policies) (warning, an admin
          principal has other policies), V(admin-unmanaged-trust) (error, principals other than EC2 can assume an admin
          role), V(server-unmanaged-trust) (notice, principals other than EC2 can assume a server role of this
          collection), V(boundary-blocks-agent) (warning, a permissions boundary blocks metrics or logs),
          V(attached-policy) (unlisted notice, a role that is not in O(attach_to_roles) has the agent's policy from this
          collection), V(policy-without-tag) (unlisted notice, a role in O(attach_to_roles) has the policy, and not from
          this collection, so no playbook detaches it), V(hybrid-role-admin) (error, the role of hybrid servers has an
          admin policy), V(hybrid-role-trust) (warning, Systems Manager can assume the role of hybrid servers for other
          accounts), V(admin-key-active) (error or warning, a key of an admin user is active outside a window),
          V(key-old) (warning or notice, a key is too old), V(key-unused) (notice, a key was never used),
          V(key-not-saved) (warning or notice, a key is saved nowhere, which is a notice if a newer key of the user is
          saved), V(key-two-active) (warning or notice, a user has two active keys), V(unused-permissions) (unlisted
          notice, a server principal allows more than the stored configurations need), V(fitted-policy) (warning, a
          fitted policy lacks what a stored configuration needs, or somebody else created or changed it).
        - Rules about the server are V(admin-instance-without-window) (warning, an instance has the admin profile
          outside a window), V(administrator-on-instance) (error, an instance or server administers the account),
          V(profile-without-role) (warning, an instance profile has no role), V(instance-without-access) (warning, an
          instance in the inventory lacks something that the agent needs), V(restore-tag) (warning, an interrupted run
          left its tag), V(activation-unused) (warning or notice, an activation can still register hybrid servers, which
          is a notice if this collection created it), V(node-not-managed) (unlisted notice, servers that this collection
          did not register have the role of hybrid servers).
        - Rules about the account are V(administrators) (unlisted notice, principals can write because they administer
          the account), V(user-without-host) (unlisted notice, no host of the inventory has a user that this collection
          created), V(saved-key-without-user) (notice, the user of a saved key does not exist).
        - Rules about the configuration are V(parameter-unreadable) (warning, a server cannot read a configuration),
          V(parameter-invalid) (warning, a configuration is not valid), V(parameter-near-limit) (notice, a configuration
          almost fills its tier), V(version-by-others) (error or notice, a principal that the inventory does not store
          with wrote a version), V(history-starts-late) (unlisted notice, version 1 is much younger than the admin
          principal).
      type: str
      sample: admin-without-window
    severity:
      description: V(notice), V(warning) or V(error).
      type: str
    listed:
      description: Whether summaries list it. Any other finding never makes an audit fail.
      type: bool
    object: {description: The name or ID of the affected object., type: str}
    region: {description: The region; null for IAM., type: str}
    account: {description: The account's ID., type: str}
    why:
      description: The reason for the finding.
      type: str
    fix:
      description: The command or variable, or the decision that a person must take.
      type: str
counts:
  description: The number of findings of each severity.
  returned: success
  type: dict
  sample: {"notice": 1, "warning": 2, "error": 0}
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._accounts import audit_input
from ansible_collections.cwagent.iam.plugins.module_utils._accounts.assess import apply_simulations, assess
from ansible_collections.cwagent.iam.plugins.module_utils._accounts.audit_input import SPEC, Case
from ansible_collections.cwagent.iam.plugins.module_utils._accounts.audit_result import find, to_result
from ansible_collections.cwagent.iam.plugins.module_utils._accounts.inventory import Inventory
from ansible_collections.cwagent.iam.plugins.module_utils._ground.call import run_module

if TYPE_CHECKING:
    from ansible_collections.cwagent.iam.plugins.module_utils._ground.call import Call

RULES: dict[str, Any] = {}


def work(call: Call) -> dict[str, Any]:
    """Read an account and return who can write, with the findings."""
    choices = audit_input.choices(call.params)
    inventory = Inventory(call.client, audit_input.scope(call.params, call.region))
    account = inventory.with_enabled_regions(inventory.with_policy_tags(inventory.read()))
    assessments = assess(account)
    if call.params["simulate"]:
        assessments = apply_simulations(assessments, inventory.simulate_writes(account, assessments))
        account = replace(account, unread=inventory.unread)
    case = Case(account, assessments, choices)
    return {"changed": False, **to_result(case, find(case))}


def main() -> None:
    run_module(SPEC, RULES, work)


if __name__ == "__main__":
    main()
