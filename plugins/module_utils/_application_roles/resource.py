# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Attaches the agent's policy to roles of applications, and detaches it again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._application_roles import plan as roles_plan
from ansible_collections.cwagent.iam.plugins.module_utils._application_roles.plan import Attachments, Role, State
from ansible_collections.cwagent.iam.plugins.module_utils._converge import Resource
from ansible_collections.cwagent.iam.plugins.module_utils._errors import DENIED_CODES, AwsApiError
from ansible_collections.cwagent.iam.plugins.module_utils._instance_profile.resource import (
    FILTER_VALUES,
    live_instances,
    read_associations,
)
from ansible_collections.cwagent.iam.plugins.module_utils._plan import NOT_FOUND_CODES, run_in_parallel
from ansible_collections.cwagent.iam.plugins.module_utils._principal.api import (
    BULK_ACTION,
    PAGE_SIZE,
    boundary,
    tags,
)
from ansible_collections.cwagent.iam.plugins.module_utils._principal.plan import MAX_POLICIES
from ansible_collections.cwagent.iam.plugins.module_utils._progress import announce

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws
    from ansible_collections.cwagent.iam.plugins.module_utils._plan import Plan


class AttachmentResource(Resource[State]):
    """The agent's policy on the roles of instances that keep their own profile.

    :param aws_in: by region, its gateway.
    :param listed: by region, the instances of the user.
    """

    def __init__(
        self, aws_in: Mapping[str, Aws], desired: Attachments, listed: Mapping[str, Sequence[str]], *, check_mode: bool
    ) -> None:
        super().__init__(next(iter(aws_in.values())))
        self._aws_in = aws_in
        self._desired = desired
        self._listed = listed
        self._check_mode = check_mode

    def read(self) -> State:
        """Read all roles; what only matters where one is to get the policy is read for those roles."""
        state = self.read_again()
        roles = roles_plan.to_attach(state, self._desired)
        if not roles:
            return state
        return replace(
            state,
            documents=self._read_boundaries(roles),
            max_policies=self._read_quota(roles),
            others=self._read_others(roles),
        )

    def read_again(self) -> State:
        """Read all roles."""
        return State(read_roles(self._aws))

    def plan(self, current: State) -> Plan[State]:
        """Plan the steps of every role."""
        return roles_plan.plan_attachments(current, self._desired)

    def remaining(self, plan: Plan[State], state: State) -> list[str]:
        """List what IAM does not show yet, of the roles of the plan."""
        return roles_plan.unseen_attachments(plan, state)

    def check_preconditions(self, current: State) -> None:
        """Say who else gets the permissions, before the first write."""
        if not self._check_mode:
            for sentence in roles_plan.gains(current, self._desired):
                announce(f"{sentence}.")

    def warnings(self, plan: Plan[State]) -> list[str]:
        """Warn of who else gets the permissions, and of roles that do not get them."""
        return [
            *roles_plan.gains(plan.current, self._desired),
            *roles_plan.warnings(plan.current, self._desired),
        ]

    def to_diff(self, state: State) -> dict[str, Any]:
        """Render the roles that may get the policy."""
        return roles_plan.to_dict(state, self._desired.roles(state).keys() & self._desired.allowed)

    def to_result(self, plan: Plan[State], final: State) -> dict[str, Any]:
        """Render the roles that do not get the policy: those that are not allowed to, and those that must not."""
        return {
            "roles_without_access": roles_plan.without_access(final, self._desired),
            "refused_roles": {
                name: roles_plan.explain_refusal(name, reason)
                for name, reason in roles_plan.refused_roles(plan.current, self._desired).items()
            },
        }

    def _read_boundaries(self, roles: Sequence[Role]) -> dict[str, Mapping[str, Any] | None]:
        arns = sorted({role.boundary for role in roles if role.boundary})
        return dict(zip(arns, run_in_parallel(self._read_document, arns)))

    def _read_document(self, arn: str) -> Mapping[str, Any] | None:
        description = f"read permissions boundary {arn}"
        try:
            version = self._aws.call("iam:GetPolicy", description, PolicyArn=arn)["Policy"]["DefaultVersionId"]
            answer = self._aws.call("iam:GetPolicyVersion", description, PolicyArn=arn, VersionId=version)
        except AwsApiError as error:
            if error.code not in DENIED_CODES | NOT_FOUND_CODES:
                raise
            return None
        document: Mapping[str, Any] = answer["PolicyVersion"]["Document"]
        return document

    def _read_quota(self, roles: Sequence[Role]) -> int:
        """Return how many managed policies a role can have; only a role with as many as the default asks for it."""
        if all(len(role.policies) < MAX_POLICIES for role in roles):
            return MAX_POLICIES
        try:
            answer = self._aws.call("iam:GetAccountSummary", "read the quotas of the account")
        except AwsApiError as error:
            if error.code not in DENIED_CODES:
                raise
            return MAX_POLICIES
        return int(answer["SummaryMap"].get("AttachedPoliciesPerRoleQuota", MAX_POLICIES))

    def _read_others(self, roles: Sequence[Role]) -> dict[str, list[str]]:
        """Return by role the instances of the regions that have it and are not listed."""
        role_of = {profile: role.name for role in roles for profile in role.profiles}
        found: dict[str, list[str]] = {}
        for region, aws in self._aws_in.items():
            holders = {
                name: role_of[each.profile]
                for name, associations in read_associations(aws).items()
                for each in associations
                if each.profile in role_of and name not in self._listed[region]
            }
            for name in live_instances(aws, sorted(holders)):
                found.setdefault(holders[name], []).append(f"{name} in {region or aws.region}")
        return found


class DetachmentResource(Resource[State]):
    """The agent's policy on the roles to which this collection has attached it.

    :param aws_in: by region, its gateway.
    :param leaving: by region, the instances whose roles no longer need it; ``None`` for all roles.
    :param remaining: by region, the instances whose roles need it.
    """

    def __init__(
        self,
        aws_in: Mapping[str, Aws],
        leaving: Mapping[str, Sequence[str]] | None,
        remaining: Mapping[str, Sequence[str]],
    ) -> None:
        super().__init__(next(iter(aws_in.values())))
        self._aws_in = aws_in
        self._leaving = leaving
        self._remaining = remaining

    def read(self) -> State:
        """Read all roles."""
        return State(read_roles(self._aws))

    def plan(self, current: State) -> Plan[State]:
        """Plan the steps of every role with the tag that no remaining instance has."""
        tagged = [role for role in current.roles.values() if role.has_tag]
        return roles_plan.plan_detachments(current, self._in_scope(tagged))

    def remaining(self, plan: Plan[State], state: State) -> list[str]:
        """List what IAM does not show yet, of the roles of the plan."""
        names = [name for name in plan.steps if name in state.roles]
        return roles_plan.plan_detachments(state, names).summaries

    def to_diff(self, state: State) -> dict[str, Any]:
        """Render the roles that have the tag."""
        return roles_plan.to_dict(state, [name for name, role in state.roles.items() if role.has_tag])

    def to_result(self, plan: Plan[State], final: State) -> dict[str, Any]:
        """Render nothing but the steps."""
        del plan, final
        return {}

    def _in_scope(self, tagged: Sequence[Role]) -> list[str]:
        if self._leaving is None or not tagged:
            return [role.name for role in tagged]
        leaving, remaining = self._profiles(self._leaving), self._profiles(self._remaining)
        return [role.name for role in tagged if role.profiles & leaving and not role.profiles & remaining]

    def _profiles(self, instances: Mapping[str, Sequence[str]]) -> set[str]:
        """Return the names of the instance profiles of instances."""
        found: set[str] = set()
        for region, names in instances.items():
            ids = None if len(names) > FILTER_VALUES else names
            associations = read_associations(self._aws_in[region], ids) if names else {}
            found |= {each.profile for name in names for each in associations.get(name, ())}
        return found


def read_roles(aws: Aws) -> dict[str, Role]:
    """Read all roles of the account by name, in pages of up to a thousand."""
    pages = aws.pages(BULK_ACTION, "read the roles of the account", Filter=["Role"], MaxItems=PAGE_SIZE)
    return {role["RoleName"]: _to_role(role) for page in pages for role in page["RoleDetailList"]}


def _to_role(details: dict[str, Any]) -> Role:
    return Role(
        details["RoleName"],
        details["Arn"],
        details["AssumeRolePolicyDocument"],
        frozenset(policy["PolicyArn"] for policy in details.get("AttachedManagedPolicies", ())),
        frozenset(policy["PolicyName"] for policy in details.get("RolePolicyList", ())),
        boundary(details),
        tags(details),
        frozenset(profile["InstanceProfileName"] for profile in details.get("InstanceProfileList", ())),
    )
