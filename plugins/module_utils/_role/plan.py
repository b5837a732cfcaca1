# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""IAM roles with their instance profile: what is there, what is wanted, and the steps between. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._plan import (
    DELETE_RETRY_CODES,
    NEW_ENTITY_RETRY_CODES,
    NOT_FOUND_CODES,
    Step,
)
from ansible_collections.cwagent.iam.plugins.module_utils._principal.plan import (
    Declared,
    PrincipalState,
    delete_inline_steps,
    detach,
    grant_steps,
    principal_to_dict,
    tag_steps,
    unmanaged,
    update_steps,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_SESSION_DURATION = 3600


@dataclass(frozen=True)
class InstanceProfile:
    """An instance profile. :param role: the name of the role in it; IAM allows one. :param id: IAM's unique id."""

    name: str
    path: str = "/"
    role: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    arn: str | None = None
    id: str | None = None


@dataclass(frozen=True)
class Role:
    """A role as it is.

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
    """A role and its instance profile as they are; either can be there without the other.

    :param other_profiles: names of further instance profiles that hold the role; read only before a deletion.
    """

    role: Role | None = None
    profile: InstanceProfile | None = None
    other_profiles: frozenset[str] = frozenset()


@dataclass(frozen=True)
class DesiredRole:
    """A role as the user declares it. ``None`` leaves a thing as it is.

    :param service: the service principal of EC2 in this partition.
    :param profile: the name of the instance profile.
    """

    name: str
    declared: Declared
    profile: str
    service: str = "ec2.amazonaws.com"
    description: str | None = None
    max_session_duration: int | None = None


# https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateRole.html
MAX_DESCRIPTION = 1000
_DESCRIPTION = r"[\t\n\r\x20-\x7e\xa1-\xff]*"
SESSION_DURATIONS = range(3600, 43201)


def check_settings(description: str | None, max_session_duration: int | None) -> None:
    """Refuse settings that IAM would refuse. :raises InvalidInput: it says what IAM allows."""
    if description and not re.fullmatch(_DESCRIPTION, description):
        raise InvalidInput(
            "description: IAM takes only characters of Latin-1, which leaves out dashes and curly quotes."
        )
    if description and len(description) > MAX_DESCRIPTION:
        raise InvalidInput(f"description: IAM allows {MAX_DESCRIPTION} characters, these are {len(description)}.")
    if max_session_duration is not None and max_session_duration not in SESSION_DURATIONS:
        raise InvalidInput(f"max_session_duration: IAM allows 3600 to 43200 seconds, not {max_session_duration}.")


def ec2_service(partition: str) -> str:
    """EC2's service principal. In China it is written with the partition's own domain."""
    return "ec2.amazonaws.com.cn" if partition == "aws-cn" else "ec2.amazonaws.com"


def trust_policy(service: str) -> dict[str, Any]:
    """The trust policy that lets EC2, and nothing else, hand out the role's credentials."""
    return {"Version": "2012-10-17", "Statement": [_trust_statement(service)]}


def _trust_statement(service: str) -> dict[str, Any]:
    return {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}


def _listed(value: Any) -> list[Any]:
    """Policy elements may be written as a value or as a list of values."""
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _trusts(statement: Mapping[str, Any], service: str) -> bool:
    principal = statement.get("Principal")
    return (
        statement.get("Effect") == "Allow"
        and "Condition" not in statement
        and isinstance(principal, dict)
        and service in _listed(principal.get("Service", []))
        and "sts:AssumeRole" in _listed(statement.get("Action", []))
    )


def trust_after(current: Mapping[str, Any], desired: DesiredRole) -> Mapping[str, Any]:
    """The trust policy to end with: the one that is there where it does, else ours added to it or in its place."""
    statements = _listed(current.get("Statement", []))
    trusted = any(_trusts(statement, desired.service) for statement in statements)
    if desired.declared.exclusive:
        return current if trusted and _is_only(statements, desired.service) else trust_policy(desired.service)
    return current if trusted else {**current, "Statement": [*statements, _trust_statement(desired.service)]}


def _is_only(statements: list[Any], service: str) -> bool:
    if len(statements) != 1:
        return False
    statement = statements[0]
    return (
        statement.get("Effect") == "Allow"
        and statement.get("Principal") in ({"Service": service}, {"Service": [service]})
        and _listed(statement.get("Action")) == ["sts:AssumeRole"]
        and set(statement) <= {"Sid", "Effect", "Principal", "Action"}
    )


def planned_state(current: State, desired: DesiredRole) -> State:
    """The state that the plan leads to; the diff and the result are rendered from it."""
    role = current.role or Role(
        desired.name, trust_policy(desired.service), PrincipalState(path=desired.declared.path or "/")
    )
    profile = current.profile or InstanceProfile(desired.profile, path=role.principal.path)
    role = replace(
        role,
        trust=trust_after(role.trust, desired),
        principal=desired.declared.planned_principal(role.principal),
        description=role.description if desired.description is None else desired.description,
        max_session_duration=desired.max_session_duration or role.max_session_duration,
    )
    profile = replace(profile, role=desired.name, tags=desired.declared.planned_tags(profile.tags))
    return replace(current, role=role, profile=profile)


def plan(current: State, desired: DesiredRole) -> list[Step]:
    """The steps from the role as it is to the role as it is wanted.

    :raises InvalidInput: what is wanted cannot be had without losing something that is there.
    """
    _refuse_losses(current, desired)
    planned = planned_state(current, desired)
    steps: list[Step] = []
    if current.role and planned.role:
        steps += [
            *_update(current.role, planned.role),
            *update_steps("role", desired.name, current.role.principal, planned.role.principal),
        ]
    elif planned.role:
        given = grant_steps("role", desired.name, planned.role.principal, PrincipalState())
        steps += [_create(planned.role), *(replace(step, retry_when=NEW_ENTITY_RETRY_CODES) for step in given)]
    return steps + (_profile_steps(current.profile, planned.profile) if planned.profile else [])


def _refuse_losses(current: State, desired: DesiredRole) -> None:
    if current.role and desired.declared.path not in (None, current.role.principal.path):
        raise InvalidInput(
            f"role '{desired.name}' exists with path {current.role.principal.path}, and IAM cannot move it to "
            f"{desired.declared.path}; leave the path out, or remove the role first."
        )
    if current.profile and current.profile.role not in (None, desired.name) and not desired.declared.exclusive:
        raise InvalidInput(
            f"instance profile '{desired.profile}' holds role '{current.profile.role}' and can hold only one; choose another "
            f"instance_profile, or set exclusive to put role '{desired.name}' in its place."
        )


def _create(planned: Role) -> Step:
    arguments: dict[str, Any] = {
        "role_name": planned.name,
        "path": planned.principal.path,
        "assume_role_policy_document": planned.trust,
        "max_session_duration": planned.max_session_duration,
    }
    optional = {
        "description": planned.description,
        "permissions_boundary": planned.principal.boundary,
        "tags": planned.principal.tags,
    }
    arguments.update({key: value for key, value in optional.items() if value})
    return Step("iam:CreateRole", arguments, f"create role '{planned.name}'")


def _update(current: Role, planned: Role) -> list[Step]:
    steps = []
    if planned.trust != current.trust:
        arguments = {"role_name": current.name, "policy_document": planned.trust}
        steps.append(Step("iam:UpdateAssumeRolePolicy", arguments, f"set the trust policy of role '{current.name}'"))
    if (planned.description, planned.max_session_duration) != (current.description, current.max_session_duration):
        # UpdateRole sets both to their defaults when they are left out.
        settings: dict[str, Any] = {
            "role_name": current.name,
            "description": planned.description,
            "max_session_duration": planned.max_session_duration,
        }
        words = f"set the description and the session duration of role '{current.name}'"
        steps.append(Step("iam:UpdateRole", settings, words))
    return steps


def _profile_steps(current: InstanceProfile | None, planned: InstanceProfile) -> list[Step]:
    steps: list[Step] = []
    if current is None:
        arguments: dict[str, Any] = {"instance_profile_name": planned.name, "path": planned.path}
        if planned.tags:
            arguments["tags"] = planned.tags
        steps.append(Step("iam:CreateInstanceProfile", arguments, f"create instance profile '{planned.name}'"))
    else:
        steps += tag_steps("instance profile", planned.name, current.tags, planned.tags)
    principal = current.role if current else None
    if principal and principal != planned.role:
        steps.append(_out_of_profile(planned.name, principal))
    if principal != planned.role:
        arguments = {"instance_profile_name": planned.name, "role_name": planned.role}
        words = f"put role '{planned.role}' into instance profile '{planned.name}'"
        steps.append(Step("iam:AddRoleToInstanceProfile", arguments, words, retry_when=NEW_ENTITY_RETRY_CODES))
    return steps


def _out_of_profile(profile: str, role: str) -> Step:
    arguments = {"instance_profile_name": profile, "role_name": role}
    words = f"take role '{role}' out of instance profile '{profile}'"
    return Step("iam:RemoveRoleFromInstanceProfile", arguments, words, done_when=NOT_FOUND_CODES)


def propagation_warnings(current: State, desired: DesiredRole) -> list[str]:
    """What takes its time on instances although IAM shows it at once, in words.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_switch-role-ec2_instance-profiles.html
    """
    principal = current.profile.role if current.profile else None
    if principal is None or principal == desired.name:
        return []
    carrying = f"instances that carry instance profile '{desired.profile}'"
    return [
        f"{carrying} can use role '{principal}' for up to an hour still; taking it off them and putting it on ends that"
    ]


def blockers(current: State, desired: DesiredRole) -> list[str]:
    """What is on the role that is not ours and so keeps it from being deleted, in words."""
    if current.role is None or desired.declared.exclusive:
        return []
    statements = _listed(current.role.trust.get("Statement", []))
    others = sum(not _is_only([statement], desired.service) for statement in statements)
    return [
        *unmanaged(current.role.principal, desired.declared),
        *([f"{others} further trust statement{'s' if others > 1 else ''}"] if others else []),
        *(f"instance profile '{name}'" for name in sorted(current.other_profiles)),
    ]


def planned_absence(current: State, desired: DesiredRole) -> State:
    """What is left when ours is taken down: of a role with foreign things on it, all but ours."""
    if current.role and blockers(current, desired):
        return replace(
            current, role=replace(current.role, principal=desired.declared.without_managed(current.role.principal))
        )
    keep_profile = current.profile and current.profile.role not in (None, desired.name)
    return State(profile=current.profile if keep_profile else None)


def plan_absent(current: State, desired: DesiredRole) -> list[Step]:
    """The steps that take the role down, in an order IAM accepts."""
    left = planned_absence(current, desired)
    if current.role and left.role:
        return update_steps("role", desired.name, current.role.principal, left.role.principal)
    steps: list[Step] = []
    if current.role:
        steps += detach("role", desired.name, current.role.principal.policies)
        steps += delete_inline_steps("role", desired.name, current.role.principal.inline)
        steps += [_out_of_profile(name, desired.name) for name in sorted(current.other_profiles)]
    if current.profile and not left.profile:
        steps += [_out_of_profile(desired.profile, desired.name)] if current.profile.role else []
        arguments = {"instance_profile_name": desired.profile}
        words = f"delete instance profile '{desired.profile}'"
        steps.append(
            Step(
                "iam:DeleteInstanceProfile", arguments, words, done_when=NOT_FOUND_CODES, retry_when=DELETE_RETRY_CODES
            )
        )
    if current.role:
        words = f"delete role '{desired.name}'"
        steps.append(
            Step(
                "iam:DeleteRole",
                {"role_name": desired.name},
                words,
                done_when=NOT_FOUND_CODES,
                retry_when=DELETE_RETRY_CODES,
            )
        )
    return steps


def render(state: State) -> dict[str, Any]:
    """The role and its instance profile as the result and the diff show them."""
    role, profile = state.role, state.profile
    shown: dict[str, Any] = {"role": None, "instance_profile": None}
    if role:
        shown["role"] = {
            "name": role.name,
            "arn": role.arn,
            "description": role.description,
            "max_session_duration": role.max_session_duration,
            "trust_policy": dict(role.trust),
            **principal_to_dict(role.principal),
        }
    if profile:
        shown["instance_profile"] = {
            "name": profile.name,
            "arn": profile.arn,
            "path": profile.path,
            "role": profile.role,
            "tags": dict(profile.tags),
        }
    return shown
