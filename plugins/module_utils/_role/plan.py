# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""IAM roles with their instance profile, if any: current and planned state, and the steps between them. Pure."""

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
    MAX_POLICIES,
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
from ansible_collections.cwagent.iam.plugins.module_utils._principal.policies import check_fitted
from ansible_collections.cwagent.iam.plugins.module_utils._role.policy import (
    Ec2Trust,
    HybridTrust,
    statements_of,
    trusted_principals,
)
from ansible_collections.cwagent.iam.plugins.module_utils._text import join_first

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_SESSION_DURATION = 3600
# A profile has one role at most, so IAM reports that the quota is reached.
PROFILE_HAS_ROLE_CODES = frozenset({"LimitExceeded"})
# https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateRole.html
SESSION_DURATIONS = range(3600, 43201)
MAX_DESCRIPTION = 1000
_DESCRIPTION = r"[\t\n\r\x20-\x7e\xa1-\xff]*"


# A warning names so many principals.
MAX_LISTED = 5


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
    :param max_policies: how many managed policies a role can have.
    """

    role: Role | None = None
    profile: InstanceProfile | None = None
    other_profiles: frozenset[str] = frozenset()
    max_policies: int = MAX_POLICIES


@dataclass(frozen=True)
class DesiredRole:
    """The role that the user declares. ``None`` leaves a property unchanged.

    :param profile: the name of the instance profile; ``None`` for a role without one.
    :param trust: the servers that may assume the role.
    :param max_session_duration: seconds.
    :param new_description: the description that a new role gets where none is declared.
    """

    name: str
    declared: Declared
    profile: str | None
    trust: Ec2Trust | HybridTrust = field(default_factory=Ec2Trust)
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


def check_is_possible(current: State, desired: DesiredRole) -> None:
    """Check that nothing that exists would be lost.

    :raises InvalidInput: something would be lost, IAM does not allow the change, or the role needs an adoption.
    """
    if current.role:
        check_adoption("role", desired.name, current.role.principal, desired.declared)
    if desired.declared.needs_boundary:
        current_boundary = current.role.principal.boundary if current.role else None
        check_fitted("role", desired.name, desired.declared.planned_boundary(current_boundary))
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
        principals = (current.role.principal, planned.role.principal)
        steps += update_steps("role", desired.name, *principals, current.max_policies)
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
        desired.trust.new_policy(),
        new_principal(desired.declared.path),
        description=desired.new_description,
    )
    profile = _planned_profile(current.profile, role.principal.path, desired)
    principal = desired.declared.planned_state(role.principal)
    exclusive = desired.declared.exclusive
    role = replace(
        role,
        trust=(
            desired.trust.planned_policy(role.trust, exclusive=exclusive)
            if principal.is_marked or exclusive
            else role.trust
        ),
        principal=principal,
        description=role.description if desired.description is None else desired.description,
        max_session_duration=desired.max_session_duration or role.max_session_duration,
    )
    return replace(current, role=role, profile=profile)


def _planned_profile(current: InstanceProfile | None, path: str, desired: DesiredRole) -> InstanceProfile | None:
    """Return the instance profile after all steps. :param path: of a new profile."""
    if desired.profile is None:
        return None
    profile = current or InstanceProfile(desired.profile, path=path, tags={MARK_TAG: CREATED})
    return replace(profile, role=desired.name, tags=desired.declared.planned_tags(profile.tags))


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
    """Warn if servers cannot use a role, because somebody else wrote its trust policy."""
    if planned.role is None:
        return []
    problem = desired.trust.problem(planned.role.trust, is_marked=planned.role.principal.is_marked)
    return [f"role '{desired.name}' {problem}"] if problem else []


def sharing_warnings(planned: State, desired: DesiredRole) -> list[str]:
    """Warn if others than the servers can use a managed role. A role of others can have any purpose."""
    role = planned.role
    others = trusted_principals(role.trust) - desired.trust.services if role and role.principal.is_marked else set()
    if not others:
        return []
    warning = (
        f"role '{desired.name}' can also be assumed by {join_first(sorted(others), MAX_LISTED)}. If that is not "
        "intended, remove them from its trust policy, or set exclusive (cwagent_exclusive in the playbooks)"
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
        steps.append(_remove_from_profile(current.profile.name, desired.name))
    if current.profile and not planned.profile:
        steps.append(delete_entity("instance profile", current.profile.name))
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
    others = sum(not desired.trust.is_own(statement) for statement in statements_of(current.role.trust))
    return [
        *found,
        *unmanaged_policies(current.role.principal, desired.declared),
        *([f"{others} other trust statement{'s' if others > 1 else ''}"] if others else []),
        *(f"instance profile '{name}'" for name in sorted(_profiles_of_others(current, desired))),
    ]


def _profiles_of_others(current: State, desired: DesiredRole) -> frozenset[str]:
    """Return the names of the instance profiles that somebody else created, or that somebody else put this role in."""
    profile, role = current.profile, current.role
    if profile is None or profile.role != desired.name or is_created(profile.tags):
        return current.other_profiles
    # If somebody else created the profile for their own role, the profile is no further reason to keep the role.
    is_further = role is not None and role.principal.is_created
    return current.other_profiles | {profile.name} if is_further else current.other_profiles


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
