# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Attaches the agent's policy to roles of applications, and detaches it again, as the options of two modules say."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .._ground.call import gateways
from .._ground.converge import Resource
from .._ground.errors import DENIED_CODES, AwsApiError
from .._ground.names import ATTACHED_TAG, check_instance_id
from .._ground.plan import NOT_FOUND_CODES, announce, run_in_parallel
from .._ground.planned import find_detached
from .._ground.wait import WAIT_SPEC
from .._principals.principal import read_principals, read_quota, with_policy_arns
from .._servers.instance_profile import instance_states, live_instances, read_associations
from . import application_roles_plan as roles_plan
from .application_roles_plan import Attachments, Departure, State

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

    from .._ground.aws import Aws
    from .._ground.call import Call
    from .._ground.plan import Plan, Step
    from .._principals.policies import AccountPrincipal


class _Roles(Resource[State]):
    """The roles of the account. :param aws_in: by region, its gateway."""

    _aws: Aws

    def __init__(self, aws_in: Mapping[str, Aws]) -> None:
        super().__init__(next(iter(aws_in.values())))
        self._aws_in = aws_in

    def read_again(self) -> State:
        """Read all roles, in pages of up to a thousand."""
        return State({role.name: role for role in read_principals(self._aws, "read the roles of the account", "Role")})


class AttachmentResource(_Roles):
    """The agent's policy on the roles of instances that keep their own profile.

    :param aws_in: by region, its gateway.
    :param listed: by region, the instances of the user.
    """

    def __init__(
        self, aws_in: Mapping[str, Aws], desired: Attachments, listed: Mapping[str, Sequence[str]], *, check_mode: bool
    ) -> None:
        super().__init__(aws_in)
        self._desired = desired
        self._listed = listed
        self._check_mode = check_mode

    def read(self) -> State:
        """Read all roles and, for roles that are to get the policy, also boundaries, the quota and other instances."""
        state = self.read_again()
        roles = roles_plan.select_roles(state, self._desired)
        if not roles:
            return state
        arns = sorted({role.boundary for role in roles if role.boundary})
        # The quota is read only if a role would exceed the default.
        counts = (len(role.policies | self._desired.policies(role)) for role in roles)
        return replace(
            state,
            documents=dict(zip(arns, run_in_parallel(self._read_document, arns))),
            max_policies=read_quota(self._aws, "role", counts),
            others=self._read_others(roles),
        )

    def plan(self, current: State) -> Plan[State]:
        """Plan the steps of every role."""
        return roles_plan.plan_attachments(current, self._desired)

    def remaining(self, plan: Plan[State], state: State) -> list[str]:
        """List the changes to the roles of the plan that IAM does not show yet."""
        return roles_plan.unseen_attachments(plan, state, self._desired)

    def execute(self, step: Step) -> None:
        """Take one step of the plan. A role gets its earlier tag again if IAM refuses to attach the policy.

        Otherwise, a policy that a person attaches instead would count as one that this collection attached.
        """
        try:
            super().execute(step)
        except AwsApiError as error:
            if step.context is None or error.code not in roles_plan.REFUSED_CODES:
                raise
            try:
                super().execute(step.context)
                has_value = step.context.arguments.get("tags")
                outcome = f"The tag {ATTACHED_TAG} {'has its earlier value' if has_value else 'was removed'} again."
            except AwsApiError as second:
                outcome = f"{second} Remove the tag before anybody attaches the policy."
            raise AwsApiError(f"{error} {outcome}", error.code, error.action, error.explicit_deny) from error

    def check_preconditions(self, current: State) -> None:
        """Announce the others that get the permissions, before the first write."""
        if not self._check_mode:
            for sentence in roles_plan.describe_gains(current, self._desired):
                announce(sentence)

    def warnings(self, plan: Plan[State]) -> list[str]:
        """Warn of others that get the permissions, and of roles that do not get them."""
        return [
            *roles_plan.describe_gains(plan.current, self._desired),
            *roles_plan.warnings(plan.current, self._desired),
        ]

    def to_diff(self, state: State) -> dict[str, Any]:
        """Render the roles that may get the policy."""
        return roles_plan.to_dict(state, self._desired.roles(state).keys() & self._desired.allowed)

    def to_result(self, plan: Plan[State], final: State) -> dict[str, Any]:
        """Render the roles that do not get the policy, because the user does not allow it or because they must not."""
        return {
            "roles_without_access": roles_plan.find_roles_without_access(final, self._desired),
            "refused_roles": roles_plan.refused_roles(plan.current, self._desired),
            "detached": _find_detached(plan),
        }

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

    def _read_others(self, roles: Sequence[AccountPrincipal]) -> dict[str, list[str]]:
        """Return by role the instances of the regions that have the role and are not listed."""
        role_of = {profile: role.name for role in roles for profile in role.profiles}
        found: dict[str, list[str]] = {}
        for region, aws in self._aws_in.items():
            holders = [
                (name, role_of[each.profile])
                for name, associations in read_associations(aws).items()
                for each in associations
                if each.profile in role_of and name not in self._listed[region]
            ]
            live = live_instances(aws, sorted({name for name, _role in holders}))
            for name, role in holders:
                if name in live:
                    found.setdefault(role, []).append(f"{name} in {region or aws.region}")
        return found


class DetachmentResource(_Roles):
    """The agent's policies on the roles to which this collection has attached them.

    :param aws_in: by region, its gateway.
    :param departure: the instances whose roles no longer need it; ``None`` for all roles.
    :param remaining: by region, the instances whose roles need it.
    """

    def __init__(
        self,
        aws_in: Mapping[str, Aws],
        departure: Departure | None,
        remaining: Mapping[str, Sequence[str]],
    ) -> None:
        super().__init__(aws_in)
        self._departure = departure
        self._remaining = remaining

    def read(self) -> State:
        """Read all roles. To select roles by their instances, also read the instance profiles of the regions."""
        state = self.read_again()
        if self._departure is None or not any(role.has_tag for role in state.roles.values()):
            return roles_plan.select_all_detachable(state)
        profiles = self._read_profiles()
        found = roles_plan.select_detachable(state, self._departure, profiles)
        unknown = self._find_unknown(profiles) if found.detachable else frozenset()
        return replace(found, detachable=frozenset(), unknown=unknown) if unknown else found

    def _read_profiles(self) -> dict[str, set[str]]:
        """Return by instance its instance profiles."""
        return {
            name: {each.profile for each in associations}
            for aws in self._aws_in.values()
            for name, associations in read_associations(aws).items()
        }

    def _find_unknown(self, profiles: Container[str]) -> frozenset[str]:
        """Return the remaining instances that have no profile and are not in their region."""
        unsure = {region: [name for name in names if name not in profiles] for region, names in self._remaining.items()}
        return frozenset(
            name
            for region, names in unsure.items()
            for name in {*names} - {*instance_states(self._aws_in[region], names)}
        )

    def plan(self, current: State) -> Plan[State]:
        """Plan the steps of every role."""
        return roles_plan.plan_detachments(current, current.detachable)

    def warnings(self, plan: Plan[State]) -> list[str]:
        """Warn of the roles that keep the policy because it is not known which instances need it."""
        return roles_plan.kept_warnings(plan.current)

    def remaining(self, plan: Plan[State], state: State) -> list[str]:
        """List the changes to the roles of the plan that IAM does not show yet."""
        names = [name for name in plan.steps if name in state.roles]
        return roles_plan.plan_detachments(state, names).summaries

    def to_diff(self, state: State) -> dict[str, Any]:
        """Render the roles that have the tag."""
        return roles_plan.to_dict(state, [name for name, role in state.roles.items() if role.has_tag])

    def render_change(self, before: State, after: State) -> dict[str, Any]:
        """Render the roles that had the tag before, which they lose."""
        names = [name for name, role in before.roles.items() if role.has_tag]
        return {"before": roles_plan.to_dict(before, names), "after": roles_plan.to_dict(after, names)}

    def to_result(self, plan: Plan[State], final: State) -> dict[str, Any]:
        """Render the policies that roles lose."""
        del final
        return {"detached": _find_detached(plan)}


def _find_detached(plan: Plan[State]) -> list[dict[str, str]]:
    before, after = (
        {name: role.policies for name, role in state.roles.items()} for state in (plan.current, plan.planned)
    )
    return find_detached("role", before, after)


DETACH_SPEC: dict[str, Any] = {
    "instances": {"type": "dict"},
    "remaining_instances": {"type": "dict"},
    "unused_roles": {"type": "bool", "default": False},
    "detach_from_roles": {"type": "list", "elements": "str", "default": []},
    **WAIT_SPEC,
}
DETACH_RULES: dict[str, Any] = {}


def chosen_policies(call: Call) -> dict[str, Any]:
    """Return the options of the module cwagent_instance_profile with the policies that application roles get."""
    region, aws = next(iter(gateways(call, call.params["instances"] or [""]).items()))
    return with_policy_arns(call.params, aws, region or call.region)


def attachments(call: Call, associated: Sequence[Mapping[str, Any]]) -> AttachmentResource | None:
    """Return the resource for the roles of the instances that keep another profile; ``None`` if no instance does.

    :param call: of the module cwagent_instance_profile, with the options that ``chosen_policies`` returns.
    :param associated: by region, the results for the associations. A failed result does not have its instances.
    """
    params = call.params
    listed = params["instances"] or {"": params["instance_ids"]}
    aws_in = gateways(call, listed)
    used: dict[str, list[str]] = {}
    for region, found in zip(listed, associated):
        if "instances" in found:
            profiles = [(each["instance_id"], each["profile"]) for each in found["instances"]]
        else:
            associations = read_associations(aws_in[region], listed[region])
            profiles = [(name, each.profile) for name, of_one in associations.items() for each in of_one]
        for name, profile in profiles:
            if profile not in (None, params["name"]):
                used.setdefault(profile, []).append(name)
    if not used:
        return None
    desired = Attachments(
        frozenset(params["attach_to_roles"]),
        used,
        params["name"],
        params["fail_on_refused"],
        frozenset(params["access_policies"]),
    )
    return AttachmentResource(aws_in, desired, listed, check_mode=call.check_mode)


def detachments(call: Call) -> DetachmentResource:
    """Return the resource for the roles that no longer need the policy. :raises InvalidInput: an ID is not valid."""
    leaving, remaining = call.params["instances"], call.params["remaining_instances"]
    given = [found for found in (leaving, remaining) if found]
    for instance_id in (each for found in given for names in found.values() for each in names):
        check_instance_id(instance_id)
    aws_in = gateways(call, dict.fromkeys(region for found in given for region in found) or [""])
    departure = None
    if leaving is not None:
        of_leaving, of_remaining = (
            frozenset(name for names in (found or {}).values() for name in names) for found in (leaving, remaining)
        )
        named = frozenset(call.params["detach_from_roles"])
        departure = Departure(of_leaving, of_remaining, named, unused=call.params["unused_roles"])
    return DetachmentResource(aws_in, departure, remaining or {})
