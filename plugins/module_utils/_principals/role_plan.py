# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Roles with their trust policy and instance profile: their current and planned states, and the steps. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from .._ground.errors import InvalidInput
from .._ground.names import CREATED, MARK_TAG, NOT_CREATED, is_created, is_region
from .._ground.plan import EXISTS_CODES, NEW_ENTITY_RETRY_CODES, NOT_FOUND_CODES, Kind, Plan, Step
from .._ground.text import join_first
from .patterns import is_match, to_pattern
from .policies import check_fitted
from .principal_plan import (
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

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


EC2, EC2_IN_CHINA = "ec2.amazonaws.com", "ec2.amazonaws.com.cn"
# https://docs.aws.amazon.com/systems-manager/latest/userguide/hybrid-multicloud-service-role.html
SSM = "ssm.amazonaws.com"
ACTION, VERSION = "sts:AssumeRole", "2012-10-17"
SOURCE_ACCOUNT, SOURCE_ARN = "aws:SourceAccount", "aws:SourceArn"
# By condition key in lower case, the operators that compare it with patterns or with one value.
_OPERATORS = {
    SOURCE_ACCOUNT.lower(): {"StringEquals", "StringLike"},
    SOURCE_ARN.lower(): {"ArnEquals", "ArnLike", "StringLike"},
}
# The colons before the resource of an ARN.
_ARN_SEPARATORS = 5


@dataclass(frozen=True)
class Ec2Trust:
    """EC2 may assume the role, for the instances with its instance profile.

    :param service: the service principal of EC2 in this partition.
    """

    service: str = EC2

    def new_policy(self) -> dict[str, Any]:
        """Return the trust policy of a new role."""
        return _policy_of(_statement(self.service))

    def planned_policy(self, current: Mapping[str, Any], *, exclusive: bool) -> Mapping[str, Any]:
        """Return the trust policy after all steps.

        A policy that already trusts EC2 by name stays as it is. Otherwise, the statement that trusts EC2 is added to
        it, even if wildcards include EC2. With ``exclusive``, the policy trusts EC2 and nothing else.
        """
        statements = statements_of(current)
        is_trusted = any(self._allows(each) and _names_one_of(each, self.services) for each in statements)
        if exclusive:
            is_alone = len(statements) == 1 and self.is_own(statements[0])
            return current if is_trusted and is_alone else self.new_policy()
        return current if is_trusted else {**current, "Statement": [*statements, _statement(self.service)]}

    def is_in(self, policy: Mapping[str, Any]) -> bool:
        """Whether a trust policy lets EC2 assume the role, without conditions."""
        return any(self._allows(each) and _is_about(each, self.services) for each in statements_of(policy))

    @property
    def services(self) -> set[str]:
        """The service principals that are to assume the role. In China, either one of EC2 works.

        https://github.com/aws/aws-cli/pull/8709
        """
        return {EC2, EC2_IN_CHINA} if self.service == EC2_IN_CHINA else {self.service}

    def _allows(self, statement: Mapping[str, Any]) -> bool:
        return statement.get("Effect") == "Allow" and "Condition" not in statement

    def is_own(self, statement: Mapping[str, Any]) -> bool:
        """Whether a statement lets EC2 assume the role, and does nothing else."""
        principal = statement.get("Principal")
        services = (
            _as_list(principal["Service"]) if isinstance(principal, dict) and set(principal) == {"Service"} else []
        )
        return (
            statement.get("Effect") == "Allow"
            and bool(services)
            and self.services.issuperset(services)
            and _as_list(statement.get("Action")) == [ACTION]
            and set(statement) <= {"Sid", "Effect", "Principal", "Action"}
        )

    def problem(self, policy: Mapping[str, Any], *, is_marked: bool) -> str | None:
        """Return why instances cannot use the role, in words that follow its name. A managed role is usable."""
        del is_marked
        if self.is_in(policy):
            return None
        return (
            f"{NOT_CREATED}, so its trust policy was not changed; it does not let {self.service} assume the role, so "
            "instances cannot use it. Set adopt_existing to true to add that"
        )


@dataclass(frozen=True)
class HybridTrust:
    """Systems Manager may assume the role, for the servers that are registered with it in these regions.

    :param partition: the partition of the regions.
    :param account_id: the account of the role, in which the servers are registered.
    :param regions: none before a deletion, for which they make no difference.
    """

    partition: str
    account_id: str
    regions: frozenset[str] = frozenset()

    @property
    def services(self) -> set[str]:
        """The service principals that are to assume the role."""
        return {SSM}

    def new_policy(self) -> dict[str, Any]:
        """Return the trust policy of a new role."""
        condition = {
            "StringEquals": {SOURCE_ACCOUNT: self.account_id},
            "ArnEquals": {SOURCE_ARN: self._arns(self.regions)},
        }
        return _policy_of({**_statement(SSM), "Condition": condition})

    def planned_policy(self, current: Mapping[str, Any], *, exclusive: bool) -> Mapping[str, Any]:
        """Return the trust policy after all steps.

        Regions are added to a policy that this collection could have written for others. They are never removed from
        it, not even with ``exclusive``, because other runs can be for other regions. Any other policy stays as it is,
        unless it is replaced with ``exclusive``.
        """
        regions = self._regions_in(current)
        if regions is None:
            return self.new_policy() if exclusive else current
        return current if self.regions <= regions else replace(self, regions=regions | self.regions).new_policy()

    def is_own(self, statement: Mapping[str, Any]) -> bool:
        """Whether this collection could have written a statement, for any regions."""
        return self._regions_in(_policy_of(statement)) is not None

    def problem(self, policy: Mapping[str, Any], *, is_marked: bool) -> str | None:
        """Return in which regions servers cannot use the role and the missing statement, in words that follow its name.

        :param is_marked: whether this collection created or adopted the role.
        """
        missing = [region for region in sorted(self.regions) if not self.is_in(policy, region)]
        if not missing:
            return None
        reason = f"{NOT_CREATED}, so its trust policy was not changed"
        if is_marked:
            reason = "has a trust policy that somebody else wrote or extended, which was not changed"
        found = (
            f"{reason}; it does not let {SSM} assume the role in {', '.join(missing)}, so hybrid servers there cannot "
            "use it."
        )
        if not is_marked and self._regions_in(policy) is not None:
            return f"{found} Set adopt_existing to true to add {', '.join(self._arns(missing))}"
        return (
            f"{found} Add a statement that allows {self.describe_statement(missing)}; or set exclusive to true to "
            "replace the trust policy"
        )

    def describe_statement(self, regions: Iterable[str]) -> str:
        """Return what a statement for servers in these regions allows, in words."""
        return (
            f"{ACTION} to the service {SSM} with the conditions StringEquals {SOURCE_ACCOUNT} {self.account_id} and "
            f"ArnEquals {SOURCE_ARN} {', '.join(self._arns(regions))}"
        )

    def _arns(self, regions: Iterable[str]) -> list[str]:
        """Return the ARNs of everything that Systems Manager has in these regions of the account."""
        return [f"arn:{self.partition}:ssm:{region}:{self.account_id}:*" for region in sorted(regions)]

    def _regions_in(self, policy: Mapping[str, Any]) -> frozenset[str] | None:
        """Return the regions for which this collection would write this policy; ``None`` if there are none such."""
        statements = statements_of(policy)
        regions = find_regions(statements)
        written = replace(self, regions=regions).new_policy()
        is_written = _canonical({**policy, "Statement": statements}) == _canonical(written)
        return regions if regions and is_written else None

    def is_in(self, policy: Mapping[str, Any], region: str) -> bool:
        """Whether a policy lets Systems Manager assume the role in a region, without conditions on anything else."""
        statements = statements_of(policy)
        effects = {statement.get("Effect") for statement in statements if self._applies(statement, region)}
        return effects == {"Allow"}

    def _applies(self, statement: Mapping[str, Any], region: str) -> bool:
        [arn] = self._arns([region])
        request = {SOURCE_ACCOUNT.lower(): self.account_id, SOURCE_ARN.lower(): arn}
        return _is_about(statement, {SSM}) and all(
            operator in _OPERATORS.get(key.lower(), ())
            and any(_is_met(operator, request[key.lower()], str(value)) for value in _as_list(values))
            for operator, keys in statement.get("Condition", {}).items()
            for key, values in keys.items()
        )


def statements_of(policy: Mapping[str, Any]) -> list[Any]:
    """Return the statements of a policy, which can have one without a list."""
    return _as_list(policy.get("Statement", []))


def trusted_principals(policy: Mapping[str, Any]) -> set[str]:
    """Return the principals that a trust policy lets assume the role, whatever the conditions.

    A statement with ``NotPrincipal`` trusts all others, which is ``*``.
    """
    statements = statements_of(policy)
    allowed, denied = (
        {name for each in statements if each.get("Effect") == effect for name in _principals_in(each)}
        for effect in ("Allow", "Deny")
    )
    return allowed - denied


def _principals_in(statement: Mapping[str, Any]) -> set[str]:
    if not any(map(_is_assuming, _as_list(statement.get("Action", ())))):
        return set()
    principal = statement.get("Principal", "*")
    values = principal.values() if isinstance(principal, dict) else [principal]
    return {str(name) for value in values for name in _as_list(value)}


def _is_assuming(action: str) -> bool:
    return action in ("*", "sts:*") or action.startswith("sts:AssumeRole")


def ec2_service(partition: str) -> str:
    """Return the service principal of EC2 for a new role. In China its name ends with the domain of the partition."""
    return EC2_IN_CHINA if partition == "aws-cn" else EC2


def _policy_of(statement: Mapping[str, Any]) -> dict[str, Any]:
    return {"Version": VERSION, "Statement": [statement]}


def _statement(service: str) -> dict[str, Any]:
    return {"Effect": "Allow", "Principal": {"Service": service}, "Action": ACTION}


def _is_about(statement: Mapping[str, Any], services: set[str]) -> bool:
    """Whether a statement is about the assumption of the role by one of these services, among others.

    IAM ignores the case of actions. A principal that is only a wildcard includes every service.
    """
    principal = statement.get("Principal")
    found = principal.get("Service", []) if isinstance(principal, dict) else principal
    return not {"*", *services}.isdisjoint(_as_list(found)) and any(
        is_match(to_pattern(str(action)), ACTION, ignore_case=True) for action in _as_list(statement.get("Action", []))
    )


def _names_one_of(statement: Mapping[str, Any], services: set[str]) -> bool:
    """Whether a statement contains the assumption of the role and one of these services without wildcards."""
    principal = statement.get("Principal")
    return (
        isinstance(principal, dict)
        and not services.isdisjoint(_as_list(principal.get("Service", [])))
        and ACTION in _as_list(statement.get("Action", []))
    )


def find_regions(statements: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """Return the regions in the ARNs of statements as this collection writes them."""
    arns = [
        str(arn)
        for statement in statements
        for arn in _as_list(statement.get("Condition", {}).get("ArnEquals", {}).get(SOURCE_ARN, []))
    ]
    # The fourth part. Whether the other parts are right, a comparison with the written policy shows.
    return frozenset(region for arn in arns for region in arn.split(":")[3:4] if is_region(region))


def _is_met(operator: str, value: str, expected: str) -> bool:
    """Whether a condition of this operator is met. The parts of an ARN are compared one by one."""
    if operator == "StringEquals":
        return value == expected
    separators = _ARN_SEPARATORS if operator.startswith("Arn") else 0
    values, patterns = value.split(":", separators), expected.split(":", separators)
    return len(values) == len(patterns) and all(map(is_match, map(to_pattern, patterns), values))


def _canonical(value: Any) -> Any:
    """Return a part of a policy in a form that is equal for policies that mean the same.

    Policies may have one value or a list of values, in any order.
    """
    if isinstance(value, dict):
        return {key: _canonical(each) for key, each in value.items()}
    values = _as_list(value)
    has_parts = any(isinstance(each, dict) for each in values)
    return [_canonical(each) for each in values] if has_parts else sorted({str(each) for each in values})


def _as_list(value: Any) -> list[Any]:
    """Return an element of a policy as a list: policies may have one value or a list of values."""
    return list(value) if isinstance(value, (list, tuple)) else [value]


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
