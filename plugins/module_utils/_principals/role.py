# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The roles of the module cwagent_iam_role: its options, the reads from IAM, and the execution of the steps."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .._ground import names
from .._ground.changes import without_empty
from .._ground.converge import Resource
from .._ground.errors import InvalidInput
from .._ground.planned import find_detached
from . import role_plan
from .principal import (
    PRINCIPAL_SPEC,
    attached_policies,
    boundary,
    check_boundary,
    declared_principal,
    find_account,
    inline_policies,
    read_quota,
    tags,
    with_policy_arns,
)
from .principal_plan import PrincipalState
from .role_plan import DesiredRole, Ec2Trust, HybridTrust, InstanceProfile, Role, State, check_settings, ec2_service

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._ground.aws import Aws
    from .._ground.plan import Plan


class RoleResource(Resource[State]):
    """A role and its instance profile in IAM.

    :param present: whether they should exist.
    """

    _aws: Aws

    def __init__(self, aws: Aws, desired: DesiredRole, present: bool) -> None:
        super().__init__(aws)
        self._desired = desired
        self._present = present

    def read(self) -> State:
        """Read the role and its instance profile, whether a new permissions boundary exists, and if needed the quota.

        :raises InvalidInput: the policy of the boundary does not exist.
        """
        state = self.read_again()
        if self._present:
            current = state.role.principal.boundary if state.role else None
            check_boundary(self._aws, self._desired.declared.boundary, [current])
        if self._present and state.role:
            number = self._desired.declared.policies_at_once(state.role.principal.policies)
            return replace(state, max_policies=read_quota(self._aws, "role", [number]))
        return state

    def read_again(self) -> State:
        """Read the role and the instance profile that it should have. Others are read only before a deletion."""
        role = self._read_role()
        if self._desired.profile is None:
            return State(role)
        profile = find_profile(self._aws, self._desired.profile)
        others = self._other_profiles() if role and not self._present else frozenset()
        return State(role, profile, others)

    def plan(self, current: State) -> Plan[State]:
        """Plan all steps under the name of the role.

        :raises InvalidInput: the desired role would lose something that exists.
        """
        if self._present:
            role_plan.check_is_possible(current, self._desired)
        return self._plan(current)

    def _plan(self, current: State) -> Plan[State]:
        return (role_plan.plan if self._present else role_plan.plan_absent)(current, self._desired)

    def remaining(self, plan: Plan[State], state: State) -> list[str]:
        """List the steps that a state lacks. No check is needed, because the input was valid and the plan applied."""
        del plan
        return self._plan(state).summaries

    def to_diff(self, state: State) -> dict[str, Any]:
        """Render the role and the instance profile."""
        return {key: each and without_empty(each) for key, each in role_plan.to_dict(state).items()}

    def to_result(self, plan: Plan[State], final: State) -> dict[str, Any]:
        """Render the role, the instance profile, and the reasons that prevented the deletion of the role."""
        return {
            **role_plan.to_dict(final),
            "blockers": self._blockers(plan),
            "detached": find_detached("role", _policies(plan.current), _policies(plan.planned)),
        }

    def warnings(self, plan: Plan[State]) -> list[str]:
        """List why something was not deleted, why servers cannot use the role, or which changes they see later."""
        if self._present:
            propagation = role_plan.propagation_warnings(plan.current, self._desired)
            checks = (role_plan.trust_warnings, role_plan.sharing_warnings)
            return [*propagation, *(found for check in checks for found in check(plan.planned, self._desired))]
        return role_plan.kept_warnings(plan.current, self._desired)

    def _blockers(self, plan: Plan[State]) -> list[str]:
        return [] if self._present else role_plan.blockers(plan.current, self._desired)

    def _read_role(self) -> Role | None:
        name = self._desired.name
        role = find_role(self._aws, name)
        if role is None:
            return None
        return Role(
            name=role["RoleName"],
            trust=role["AssumeRolePolicyDocument"],
            principal=PrincipalState(
                path=role["Path"],
                policies=attached_policies(self._aws, "role", name),
                inline=inline_policies(self._aws, "role", name),
                boundary=boundary(role),
                tags=tags(role),
            ),
            description=role.get("Description", ""),
            max_session_duration=role.get("MaxSessionDuration", role_plan.DEFAULT_SESSION_DURATION),
            arn=role["Arn"],
        )

    def _other_profiles(self) -> frozenset[str]:
        name = self._desired.name
        pages = self._aws.pages(
            "iam:ListInstanceProfilesForRole", f"list the instance profiles of role '{name}'", RoleName=name
        )
        profiles = {profile["InstanceProfileName"] for page in pages for profile in page["InstanceProfiles"]}
        return frozenset(profiles - {self._desired.profile})


def _policies(state: State) -> dict[str, frozenset[str]]:
    return {state.role.name: state.role.principal.policies} if state.role else {}


def find_role(aws: Aws, name: str) -> dict[str, Any] | None:
    """Read a role as IAM answers, without its policies; ``None`` if there is none."""
    found = aws.find("iam:GetRole", f"read role '{name}'", absent="NoSuchEntity", RoleName=name)
    return found["Role"] if found else None


def find_profile(aws: Aws, name: str) -> InstanceProfile | None:
    """Read an instance profile; ``None`` if there is none."""
    description = f"read instance profile '{name}'"
    found = aws.find("iam:GetInstanceProfile", description, absent="NoSuchEntity", InstanceProfileName=name)
    if found is None:
        return None
    answer = found["InstanceProfile"]
    return InstanceProfile(
        name=answer["InstanceProfileName"],
        path=answer["Path"],
        role=next((role["RoleName"] for role in answer["Roles"]), None),
        tags=tags(answer),
        arn=answer["Arn"],
        id=answer["InstanceProfileId"],
    )


EC2, HYBRID = "ec2", "hybrid"
SPEC: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "trust": {"type": "str", "choices": [EC2, HYBRID], "default": EC2},
    "trust_regions": {"type": "list", "elements": "str", "default": []},
    "instance_profile": {"type": "str"},
    "description": {"type": "str"},
    "max_session_duration": {"type": "int"},
    **PRINCIPAL_SPEC,
}
# By trust and access, the description of a new role.
DESCRIPTIONS = {
    (EC2, "server"): "Lets EC2 instances run the CloudWatch agent",
    (EC2, "admin"): "Lets one EC2 instance store the CloudWatch agent's configuration",
    (HYBRID, "server"): "Lets hybrid servers run the CloudWatch agent",
    (HYBRID, "admin"): "Lets hybrid servers store the CloudWatch agent's configuration",
}
RULES: dict[str, Any] = {"required_if": [("state", "present", ["access"])]}


def desired_role(params: Mapping[str, Any], region: str | None) -> DesiredRole:
    """Return the role that the options describe, with trust in EC2.

    :raises InvalidInput: an option is invalid, or AWS would refuse it.
    """
    partition = names.partition_of(region)
    profile = None if params["trust"] == HYBRID else params["instance_profile"] or params["name"]
    names.check_name("role", params["name"])
    if profile is not None:
        names.check_name("instance profile", profile)
    check_settings(params["description"], params["max_session_duration"])
    check_trust(params, partition)
    return DesiredRole(
        name=params["name"],
        declared=declared_principal(params, region),
        profile=profile,
        trust=Ec2Trust(ec2_service(partition)),
        description=params["description"],
        max_session_duration=params["max_session_duration"],
        new_description=DESCRIPTIONS[params["trust"], params["access"] or "server"],
    )


def check_trust(params: Mapping[str, Any], partition: str) -> None:
    """Check the options that only one kind of trust has. :raises InvalidInput: one is missing, invalid or surplus."""
    regions = params["trust_regions"]
    if params["trust"] == EC2:
        if regions:
            raise InvalidInput("trust_regions: only a role with trust hybrid has regions; remove the option.")
        return
    if params["instance_profile"]:
        raise InvalidInput("instance_profile: a role with trust hybrid has no instance profile; remove the option.")
    if not regions and params["state"] == "present":
        raise InvalidInput("trust_regions: a role with trust hybrid needs the regions of its servers.")
    for each in regions:
        names.check_region(each)
        other = names.partition_of(each)
        if other != partition:
            raise InvalidInput(
                f"trust_regions: '{each}' belongs to partition {other}, but the region in use is in {partition}."
            )


def resource(params: Mapping[str, Any], aws: Aws, region: str | None) -> RoleResource:
    """Return the role of the module.

    :raises InvalidInput: an option is invalid.
    :raises CwagentError: AWS did not answer which account this is.
    """
    check_trust(params, names.partition_of(region))  # before the account is read
    params = with_policy_arns(params, aws, region)
    desired = desired_role(params, region)
    if params["trust"] == HYBRID:
        regions = frozenset(params["trust_regions"])
        desired = replace(desired, trust=HybridTrust(names.partition_of(region), find_account(aws), regions))
    return RoleResource(aws, desired, present=params["state"] == "present")
