# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""IAM roles with their instance profile: what is there, what is wanted, and the steps between. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._plan import GONE, NEW, STILL_HELD, Step
from ansible_collections.cwagent.iam.plugins.module_utils._principal.plan import (
    Declared,
    Held,
    delete_inline,
    detach,
    foreign,
    give,
    render_held,
    settle,
    tag_steps,
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
    held: Held = field(default_factory=Held)
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
class WantedRole:
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


def trust_after(now: Mapping[str, Any], want: WantedRole) -> Mapping[str, Any]:
    """The trust policy to end with: the one that is there where it does, else ours added to it or in its place."""
    statements = _listed(now.get("Statement", []))
    trusted = any(_trusts(statement, want.service) for statement in statements)
    if want.declared.exclusive:
        return now if trusted and _is_only(statements, want.service) else trust_policy(want.service)
    return now if trusted else {**now, "Statement": [*statements, _trust_statement(want.service)]}


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


def state_after(now: State, want: WantedRole) -> State:
    """The state that the plan leads to; the diff and the result are rendered from it."""
    role = now.role or Role(want.name, trust_policy(want.service), Held(path=want.declared.path or "/"))
    profile = now.profile or InstanceProfile(want.profile, path=role.held.path)
    role = replace(
        role,
        trust=trust_after(role.trust, want),
        held=want.declared.held_after(role.held),
        description=role.description if want.description is None else want.description,
        max_session_duration=want.max_session_duration or role.max_session_duration,
    )
    profile = replace(profile, role=want.name, tags=want.declared.tags_after(profile.tags))
    return replace(now, role=role, profile=profile)


def plan(now: State, want: WantedRole) -> list[Step]:
    """The steps from the role as it is to the role as it is wanted.

    :raises InvalidInput: what is wanted cannot be had without losing something that is there.
    """
    _refuse_losses(now, want)
    then = state_after(now, want)
    steps: list[Step] = []
    if now.role and then.role:
        steps += [*_update(now.role, then.role), *settle("role", want.name, now.role.held, then.role.held)]
    elif then.role:
        given = give("role", want.name, then.role.held, Held())
        steps += [_create(then.role), *(replace(step, retry_when=NEW) for step in given)]
    return steps + (_profile_steps(now.profile, then.profile) if then.profile else [])


def _refuse_losses(now: State, want: WantedRole) -> None:
    if now.role and want.declared.path not in (None, now.role.held.path):
        raise InvalidInput(
            f"role '{want.name}' exists with path {now.role.held.path}, and IAM cannot move it to "
            f"{want.declared.path}; leave the path out, or remove the role first."
        )
    if now.profile and now.profile.role not in (None, want.name) and not want.declared.exclusive:
        raise InvalidInput(
            f"instance profile '{want.profile}' holds role '{now.profile.role}' and can hold only one; choose another "
            f"instance_profile, or set exclusive to put role '{want.name}' in its place."
        )


def _create(then: Role) -> Step:
    arguments: dict[str, Any] = {
        "role_name": then.name,
        "path": then.held.path,
        "assume_role_policy_document": then.trust,
        "max_session_duration": then.max_session_duration,
    }
    optional = {"description": then.description, "permissions_boundary": then.held.boundary, "tags": then.held.tags}
    arguments.update({key: value for key, value in optional.items() if value})
    return Step("iam:CreateRole", arguments, f"create role '{then.name}'")


def _update(now: Role, then: Role) -> list[Step]:
    steps = []
    if then.trust != now.trust:
        arguments = {"role_name": now.name, "policy_document": then.trust}
        steps.append(Step("iam:UpdateAssumeRolePolicy", arguments, f"set the trust policy of role '{now.name}'"))
    if (then.description, then.max_session_duration) != (now.description, now.max_session_duration):
        # UpdateRole sets both to their defaults when they are left out.
        settings: dict[str, Any] = {
            "role_name": now.name,
            "description": then.description,
            "max_session_duration": then.max_session_duration,
        }
        words = f"set the description and the session duration of role '{now.name}'"
        steps.append(Step("iam:UpdateRole", settings, words))
    return steps


def _profile_steps(now: InstanceProfile | None, then: InstanceProfile) -> list[Step]:
    steps: list[Step] = []
    if now is None:
        arguments: dict[str, Any] = {"instance_profile_name": then.name, "path": then.path}
        if then.tags:
            arguments["tags"] = then.tags
        steps.append(Step("iam:CreateInstanceProfile", arguments, f"create instance profile '{then.name}'"))
    else:
        steps += tag_steps("instance profile", then.name, now.tags, then.tags)
    held = now.role if now else None
    if held and held != then.role:
        steps.append(_out_of_profile(then.name, held))
    if held != then.role:
        arguments = {"instance_profile_name": then.name, "role_name": then.role}
        words = f"put role '{then.role}' into instance profile '{then.name}'"
        steps.append(Step("iam:AddRoleToInstanceProfile", arguments, words, retry_when=NEW))
    return steps


def _out_of_profile(profile: str, role: str) -> Step:
    arguments = {"instance_profile_name": profile, "role_name": role}
    words = f"take role '{role}' out of instance profile '{profile}'"
    return Step("iam:RemoveRoleFromInstanceProfile", arguments, words, done_when=GONE)


def delayed(now: State, want: WantedRole) -> list[str]:
    """What takes its time on instances although IAM shows it at once, in words.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_switch-role-ec2_instance-profiles.html
    """
    held = now.profile.role if now.profile else None
    if held is None or held == want.name:
        return []
    carrying = f"instances that carry instance profile '{want.profile}'"
    return [f"{carrying} can use role '{held}' for up to an hour still; taking it off them and putting it on ends that"]


def stays(now: State, want: WantedRole) -> list[str]:
    """What is on the role that is not ours and so keeps it from being deleted, in words."""
    if now.role is None or want.declared.exclusive:
        return []
    statements = _listed(now.role.trust.get("Statement", []))
    others = sum(not _is_only([statement], want.service) for statement in statements)
    return [
        *foreign(now.role.held, want.declared),
        *([f"{others} further trust statement{'s' if others > 1 else ''}"] if others else []),
        *(f"instance profile '{name}'" for name in sorted(now.other_profiles)),
    ]


def absent_after(now: State, want: WantedRole) -> State:
    """What is left when ours is taken down: of a role with foreign things on it, all but ours."""
    if now.role and stays(now, want):
        return replace(now, role=replace(now.role, held=want.declared.held_without_ours(now.role.held)))
    keep_profile = now.profile and now.profile.role not in (None, want.name)
    return State(profile=now.profile if keep_profile else None)


def plan_absent(now: State, want: WantedRole) -> list[Step]:
    """The steps that take the role down, in an order IAM accepts."""
    left = absent_after(now, want)
    if now.role and left.role:
        return settle("role", want.name, now.role.held, left.role.held)
    steps: list[Step] = []
    if now.role:
        steps += detach("role", want.name, now.role.held.policies)
        steps += delete_inline("role", want.name, now.role.held.inline)
        steps += [_out_of_profile(name, want.name) for name in sorted(now.other_profiles)]
    if now.profile and not left.profile:
        steps += [_out_of_profile(want.profile, want.name)] if now.profile.role else []
        arguments = {"instance_profile_name": want.profile}
        words = f"delete instance profile '{want.profile}'"
        steps.append(Step("iam:DeleteInstanceProfile", arguments, words, done_when=GONE, retry_when=STILL_HELD))
    if now.role:
        words = f"delete role '{want.name}'"
        steps.append(Step("iam:DeleteRole", {"role_name": want.name}, words, done_when=GONE, retry_when=STILL_HELD))
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
            **render_held(role.held),
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
