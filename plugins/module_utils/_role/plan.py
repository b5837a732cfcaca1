# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""IAM roles with their instance profile: current and planned state, and the steps between them. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._names import CREATED, MARK_TAG, NOT_CREATED, is_created
from ansible_collections.cwagent.iam.plugins.module_utils._plan import (
    EXISTS_CODES,
    NEW_ENTITY_RETRY_CODES,
    NOT_FOUND_CODES,
    Kind,
    Plan,
    Step,
)
from ansible_collections.cwagent.iam.plugins.module_utils._principal.plan import (
    Declared,
    PrincipalState,
    check_adoption,
    delete_entity,
    delete_inline_steps,
    detach_steps,
    grant_steps,
    kept_warning,
    new_principal,
    principal_to_dict,
    tag_steps,
    unmanaged_policies,
    update_steps,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

EC2, EC2_IN_CHINA = "ec2.amazonaws.com", "ec2.amazonaws.com.cn"
DEFAULT_SESSION_DURATION = 3600
# A profile has one role at most, so IAM reports that the quota is reached.
PROFILE_HAS_ROLE_CODES = frozenset({"LimitExceeded"})
# https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateRole.html
SESSION_DURATIONS = range(3600, 43201)
MAX_DESCRIPTION = 1000
_DESCRIPTION = r"[\t\n\r\x20-\x7e\xa1-\xff]*"


@dataclass(frozen=True)
class InstanceProfile:
    """An instance profile in IAM.

    :param role: the name of the role in it; IAM allows one.
    :param id: the unique id that IAM gave it.
    """

    name: str
    path: str = "/"
    role: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    arn: str | None = None
    id: str | None = None


@dataclass(frozen=True)
class Role:
    """A role in IAM.

    :param trust: the trust policy.
    :param max_session_duration: seconds.
    """

    name: str
    trust: Mapping[str, Any]
    principal: PrincipalState = field(default_factory=PrincipalState)
    description: str = ""
    max_session_duration: int = DEFAULT_SESSION_DURATION
    arn: str | None = None


@dataclass(frozen=True)
class State:
    """A role and its instance profile; either can exist without the other.

    :param other_profiles: names of other instance profiles that contain the role. They are read before deletions only.
    """

    role: Role | None = None
    profile: InstanceProfile | None = None
    other_profiles: frozenset[str] = frozenset()


@dataclass(frozen=True)
class DesiredRole:
    """The role that the user declares. ``None`` leaves a property unchanged.

    :param profile: the name of the instance profile.
    :param service: the service principal of EC2 in this partition.
    :param max_session_duration: seconds.
    :param new_description: the description that a new role gets where none is declared.
    """

    name: str
    declared: Declared
    profile: str
    service: str = EC2
    description: str | None = None
    max_session_duration: int | None = None
    new_description: str = ""


def check_settings(description: str | None, max_session_duration: int | None) -> None:
    """Check that IAM accepts these settings. :raises InvalidInput: it does not. The message has the limits."""
    if description and not re.fullmatch(_DESCRIPTION, description):
        raise InvalidInput(
            "description: IAM allows only characters of Latin-1, which has no dashes and no curly quotes."
        )
    if description and len(description) > MAX_DESCRIPTION:
        raise InvalidInput(f"description: must be at most {MAX_DESCRIPTION} characters, not {len(description)}.")
    if max_session_duration is not None and max_session_duration not in SESSION_DURATIONS:
        raise InvalidInput(f"max_session_duration: must be between 3600 and 43200 seconds, not {max_session_duration}.")


def ec2_service(partition: str) -> str:
    """Return the service principal of EC2 for a new role. In China its name ends with the domain of the partition."""
    return EC2_IN_CHINA if partition == "aws-cn" else EC2


def _accepted_services(service: str) -> set[str]:
    """Return the service principals of EC2 that a trust policy can contain. In China, either one works.

    https://github.com/aws/aws-cli/pull/8709
    """
    return {EC2, EC2_IN_CHINA} if service == EC2_IN_CHINA else {service}


def trust_policy(service: str) -> dict[str, Any]:
    """Return the trust policy that allows EC2, and nothing else, to assume the role."""
    return {"Version": "2012-10-17", "Statement": [_trust_statement(service)]}


def _trust_statement(service: str) -> dict[str, Any]:
    return {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}


def _as_list(value: Any) -> list[Any]:
    """Return an element of a policy as a list: policies may have one value or a list of values."""
    return list(value) if isinstance(value, (list, tuple)) else [value]


def planned_trust(current: Mapping[str, Any], desired: DesiredRole) -> Mapping[str, Any]:
    """Return the trust policy of a managed role after all steps.

    A policy that already trusts EC2 stays as it is. Otherwise, the statement that trusts EC2 is added to it. With
    ``exclusive``, the policy trusts EC2 and nothing else.
    """
    statements = _as_list(current.get("Statement", []))
    is_trusted = trusts(current, desired.service)
    if desired.declared.exclusive:
        return (
            current if is_trusted and _has_trust_only_in(statements, desired.service) else trust_policy(desired.service)
        )
    return current if is_trusted else {**current, "Statement": [*statements, _trust_statement(desired.service)]}


def trusts(policy: Mapping[str, Any], service: str) -> bool:
    """Whether a trust policy lets a service assume the role, without conditions."""
    return any(_has_trust_in(statement, service) for statement in _as_list(policy.get("Statement", [])))


def _has_trust_in(statement: Mapping[str, Any], service: str) -> bool:
    """Whether a statement lets a service assume the role, without conditions."""
    principal = statement.get("Principal")
    return (
        statement.get("Effect") == "Allow"
        and "Condition" not in statement
        and isinstance(principal, dict)
        and not _accepted_services(service).isdisjoint(_as_list(principal.get("Service", [])))
        and "sts:AssumeRole" in _as_list(statement.get("Action", []))
    )


def _has_trust_only_in(statements: list[Any], service: str) -> bool:
    """Whether the only statement lets a service assume the role, and does nothing else."""
    if len(statements) != 1:
        return False
    statement = statements[0]
    principal = statement.get("Principal")
    services = _as_list(principal["Service"]) if isinstance(principal, dict) and set(principal) == {"Service"} else []
    return (
        statement.get("Effect") == "Allow"
        and bool(services)
        and _accepted_services(service).issuperset(services)
        and _as_list(statement.get("Action")) == ["sts:AssumeRole"]
        and set(statement) <= {"Sid", "Effect", "Principal", "Action"}
    )


def check_is_possible(current: State, desired: DesiredRole) -> None:
    """Check that nothing that exists would be lost.

    :raises InvalidInput: something would be lost, IAM does not allow the change, or the role needs an adoption.
    """
    if current.role:
        check_adoption("role", desired.name, current.role.principal, desired.declared)
    path = current.role.principal.path if current.role else None
    if path is not None and desired.declared.path not in (None, path):
        raise InvalidInput(
            f"role '{desired.name}' exists with path {path}, and IAM cannot move it to {desired.declared.path}; leave "
            "the path out, or delete the role first."
        )
    other_role = current.profile.role if current.profile else None
    if other_role not in (None, desired.name) and not desired.declared.exclusive:
        raise InvalidInput(
            f"instance profile '{desired.profile}' contains role '{other_role}', and IAM allows only one role in it; "
            f"choose another instance_profile, or set exclusive to replace that role with '{desired.name}'."
        )


def plan(current: State, desired: DesiredRole) -> Plan[State]:
    """Plan the way from the current role to the desired one. ``check_is_possible`` has to come first."""
    planned = planned_state(current, desired)
    steps: list[Step] = []
    if current.role and planned.role:
        steps += _setting_steps(current.role, planned.role)
        steps += update_steps("role", desired.name, current.role.principal, planned.role.principal)
    elif planned.role:
        grant = grant_steps("role", desired.name, planned.role.principal, PrincipalState())
        steps += [_create_role(planned.role), *(replace(step, retry_when=NEW_ENTITY_RETRY_CODES) for step in grant)]
    if planned.profile:
        steps += _profile_steps(current.profile, planned.profile)
    return Plan(current, planned, {desired.name: steps})


def planned_state(current: State, desired: DesiredRole) -> State:
    """Return the state after all steps.

    The trust policy of a role that somebody else created changes only with its adoption or with ``exclusive``.
    """
    role = current.role or Role(
        desired.name,
        trust_policy(desired.service),
        new_principal(desired.declared.path),
        description=desired.new_description,
    )
    profile = current.profile or InstanceProfile(desired.profile, path=role.principal.path, tags={MARK_TAG: CREATED})
    principal = desired.declared.planned_state(role.principal)
    has_managed_trust = principal.is_marked or desired.declared.exclusive
    role = replace(
        role,
        trust=planned_trust(role.trust, desired) if has_managed_trust else role.trust,
        principal=principal,
        description=role.description if desired.description is None else desired.description,
        max_session_duration=desired.max_session_duration or role.max_session_duration,
    )
    profile = replace(profile, role=desired.name, tags=desired.declared.planned_tags(profile.tags))
    return replace(current, role=role, profile=profile)


def _create_role(role: Role) -> Step:
    arguments: dict[str, Any] = {
        "role_name": role.name,
        "path": role.principal.path,
        "assume_role_policy_document": role.trust,
        "max_session_duration": role.max_session_duration,
    }
    optional = {
        "description": role.description,
        "permissions_boundary": role.principal.boundary,
        "tags": role.principal.tags,
    }
    arguments.update({key: value for key, value in optional.items() if value})
    return Step(Kind.CREATE, "iam:CreateRole", arguments, f"create role '{role.name}'", stale_when=EXISTS_CODES)


def _setting_steps(current: Role, planned: Role) -> list[Step]:
    steps = []
    if planned.trust != current.trust:
        arguments = {"role_name": current.name, "policy_document": planned.trust}
        summary = f"set the trust policy of role '{current.name}'"
        steps.append(Step(Kind.UPDATE, "iam:UpdateAssumeRolePolicy", arguments, summary))
    if (planned.description, planned.max_session_duration) != (current.description, current.max_session_duration):
        # UpdateRole resets an omitted setting to its default, so both are always sent.
        settings: dict[str, Any] = {
            "role_name": current.name,
            "description": planned.description,
            "max_session_duration": planned.max_session_duration,
        }
        summary = f"set the description and the session duration of role '{current.name}'"
        steps.append(Step(Kind.UPDATE, "iam:UpdateRole", settings, summary))
    return steps


def _profile_steps(current: InstanceProfile | None, planned: InstanceProfile) -> list[Step]:
    steps = (
        tag_steps("instance profile", planned.name, current.tags, planned.tags)
        if current
        else [_create_profile(planned)]
    )
    current_role = current.role if current else None
    if current_role == planned.role:
        return steps
    if current_role:
        steps.append(_remove_from_profile(planned.name, current_role))
    arguments = {"instance_profile_name": planned.name, "role_name": planned.role}
    summary = f"add role '{planned.role}' to instance profile '{planned.name}'"
    add = Step(
        Kind.UPDATE,
        "iam:AddRoleToInstanceProfile",
        arguments,
        summary,
        retry_when=NEW_ENTITY_RETRY_CODES,
        stale_when=PROFILE_HAS_ROLE_CODES,
    )
    return [*steps, add]


def _create_profile(profile: InstanceProfile) -> Step:
    arguments = {"instance_profile_name": profile.name, "path": profile.path, "tags": profile.tags}
    summary = f"create instance profile '{profile.name}'"
    return Step(Kind.CREATE, "iam:CreateInstanceProfile", arguments, summary, stale_when=EXISTS_CODES)


def _remove_from_profile(profile: str, role: str) -> Step:
    arguments = {"instance_profile_name": profile, "role_name": role}
    summary = f"remove role '{role}' from instance profile '{profile}'"
    return Step(Kind.UPDATE, "iam:RemoveRoleFromInstanceProfile", arguments, summary, done_when=NOT_FOUND_CODES)


def propagation_warnings(current: State, desired: DesiredRole) -> list[str]:
    """List the changes that take effect on instances later than in IAM, in words.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_switch-role-ec2_instance-profiles.html
    """
    current_role = current.profile.role if current.profile else None
    if current_role is None or current_role == desired.name:
        return []
    warning = (
        f"instances with instance profile '{desired.profile}' can use the permissions of role '{current_role}' for up "
        "to one more hour; to end that now, disassociate the instance profile from them and associate it again"
    )
    return [warning]


def trust_warnings(planned: State, desired: DesiredRole) -> list[str]:
    """Warn if instances cannot use a role, because somebody else wrote its trust policy."""
    if planned.role is None or trusts(planned.role.trust, desired.service):
        return []
    warning = (
        f"role '{desired.name}' {NOT_CREATED}, so its trust policy was not changed; it does not let "
        f"{desired.service} assume the role, so instances cannot use it. Set adopt_existing to true to add that"
    )
    return [warning]


def plan_absent(current: State, desired: DesiredRole) -> Plan[State]:
    """Plan the deletion of the role and its instance profile, in an order that IAM accepts.

    A role that this collection did not create, or that has unmanaged parts, is kept with its instance profile. Then
    only its managed parts are removed. An instance profile that this collection did not create is kept too.
    """
    planned = planned_absence(current, desired)
    if current.role and planned.role:
        steps = update_steps("role", desired.name, current.role.principal, planned.role.principal)
        return Plan(current, planned, {desired.name: steps})
    steps = []
    if current.role:
        steps += detach_steps("role", desired.name, current.role.principal.policies)
        steps += delete_inline_steps("role", desired.name, current.role.principal.inline)
        steps += [_remove_from_profile(name, desired.name) for name in sorted(current.other_profiles)]
    if current.profile and current.profile.role == desired.name:
        steps.append(_remove_from_profile(desired.profile, desired.name))
    if current.profile and not planned.profile:
        steps.append(delete_entity("instance profile", desired.profile))
    if current.role:
        steps.append(delete_entity("role", desired.name))
    return Plan(current, planned, {desired.name: steps})


def planned_absence(current: State, desired: DesiredRole) -> State:
    """Return the state after the deletion. A role that is kept loses its managed parts."""
    if current.role and blockers(current, desired):
        principal = desired.declared.remove_managed(current.role.principal)
        return replace(current, role=replace(current.role, principal=principal))
    profile = current.profile
    if profile is None or (profile.role in (None, desired.name) and is_created(profile.tags)):
        return State()
    return State(profile=replace(profile, role=None if profile.role == desired.name else profile.role))


def blockers(current: State, desired: DesiredRole) -> list[str]:
    """List the reasons that prevent the deletion of the role."""
    if current.role is None:
        return []
    found = [] if current.role.principal.is_created else [NOT_CREATED]
    if desired.declared.exclusive:
        return found
    statements = _as_list(current.role.trust.get("Statement", []))
    others = sum(not _has_trust_only_in([statement], desired.service) for statement in statements)
    return [
        *found,
        *unmanaged_policies(current.role.principal, desired.declared),
        *([f"{others} other trust statement{'s' if others > 1 else ''}"] if others else []),
        *(f"instance profile '{name}'" for name in sorted(_profiles_of_others(current, desired))),
    ]


def _profiles_of_others(current: State, desired: DesiredRole) -> frozenset[str]:
    """Return the names of the instance profiles that somebody else created, or that somebody else put this role in."""
    profile, role = current.profile, current.role
    is_own = profile is None or profile.role != desired.name or is_created(profile.tags)
    # If somebody else created the profile for their own role, the profile is no further reason to keep the role.
    is_further = not is_own and role is not None and role.principal.is_created
    return current.other_profiles | {desired.profile} if is_further else current.other_profiles


def kept_warnings(current: State, desired: DesiredRole) -> list[str]:
    """List why the role or its instance profile is not deleted, in words."""
    found = blockers(current, desired)
    if found:
        return [kept_warning("role", desired.name, found)]
    profile = planned_absence(current, desired).profile
    if profile is None or profile.role is not None:
        return []
    return [kept_warning("instance profile", profile.name, [NOT_CREATED])]


def to_dict(state: State) -> dict[str, Any]:
    """Render the role and its instance profile for the result and the diff."""
    return {
        "role": _role_to_dict(state.role) if state.role else None,
        "instance_profile": _profile_to_dict(state.profile) if state.profile else None,
    }


def _role_to_dict(role: Role) -> dict[str, Any]:
    return {
        "name": role.name,
        "arn": role.arn,
        "description": role.description,
        "max_session_duration": role.max_session_duration,
        "trust_policy": dict(role.trust),
        **principal_to_dict(role.principal),
    }


def _profile_to_dict(profile: InstanceProfile) -> dict[str, Any]:
    return {
        "name": profile.name,
        "id": profile.id,
        "arn": profile.arn,
        "path": profile.path,
        "role": profile.role,
        "tags": dict(profile.tags),
    }
