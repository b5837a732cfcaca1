# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads roles and instance profiles from IAM and takes the steps of their plans."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._converge import Resource
from ansible_collections.cwagent.iam.plugins.module_utils._plan import Plan
from ansible_collections.cwagent.iam.plugins.module_utils._principal.api import (
    attached_policies,
    boundary,
    inline_policies,
    tags,
)
from ansible_collections.cwagent.iam.plugins.module_utils._principal.plan import PrincipalState
from ansible_collections.cwagent.iam.plugins.module_utils._role import plan as role_plan
from ansible_collections.cwagent.iam.plugins.module_utils._role.plan import DesiredRole, InstanceProfile, Role, State

if TYPE_CHECKING:
    from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws


class RoleResource(Resource[State]):
    """A role and its instance profile in IAM.

    :param present: whether they are wanted at all.
    :param for_result: whether to read also what the plan does not look at, but the result shows.
    """

    def __init__(self, aws: Aws, desired: DesiredRole, present: bool, *, for_result: bool = True) -> None:
        super().__init__(aws)
        self._desired = desired
        self._present = present
        # The plan looks at inline policies in these cases alone.
        self._inline_matters = for_result or not present or desired.declared.exclusive or desired.declared.admin_window

    def read(self) -> State:
        """The role and the instance profile as IAM shows them; further instance profiles only before a deletion."""
        role = self._read_role()
        profile = find_profile(self._aws, self._desired.profile)
        others = self._other_profiles() if role and not self._present else frozenset()
        return State(role, profile, others)

    def plan(self, current: State) -> Plan:
        """The steps, all on one item."""
        steps = (
            role_plan.plan(current, self._desired) if self._present else role_plan.plan_absent(current, self._desired)
        )
        return Plan({self._desired.name: steps})

    def after(self, current: State) -> State:
        """The state that the plan leads to."""
        return (
            role_plan.planned_state(current, self._desired)
            if self._present
            else role_plan.planned_absence(current, self._desired)
        )

    def render(self, state: State) -> dict[str, Any]:
        """The role and the instance profile for the diff."""
        return role_plan.render(state)

    def report(self, current: State, planned: State) -> dict[str, Any]:
        """The role and the instance profile for the result, and what kept the role from being deleted."""
        return {**role_plan.render(planned), "stays": self._blockers(current)}

    def warnings(self, current: State) -> list[str]:
        """That the role was not deleted, and why; what takes its time on instances."""
        if self._present:
            return role_plan.propagation_warnings(current, self._desired)
        blockers = self._blockers(current)
        return (
            [f"role '{self._desired.name}' stays, without the agent's rights: it has {', '.join(blockers)}"]
            if blockers
            else []
        )

    def _blockers(self, current: State) -> list[str]:
        return [] if self._present else role_plan.blockers(current, self._desired)

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
                inline=inline_policies(self._aws, "role", name) if self._inline_matters else frozenset(),
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
        principal = {profile["InstanceProfileName"] for page in pages for profile in page["InstanceProfiles"]}
        return frozenset(principal - {self._desired.profile})


def find_role(aws: Aws, name: str) -> dict[str, Any] | None:
    """A role as IAM shows it, without its policies."""
    found = aws.find("iam:GetRole", f"read role '{name}'", absent="NoSuchEntity", RoleName=name)
    return found["Role"] if found else None


def find_profile(aws: Aws, name: str) -> InstanceProfile | None:
    """An instance profile as IAM shows it."""
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
