# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The agent's policy on application roles: the roles that get it, the obstacles, and the steps. Pure.

A role is tagged with the names of the policies before it gets them, and a name is removed after its policy is
detached. So the tag shows a run which policies an earlier run has attached, even an interrupted one. Somebody else
attached a policy that the tag does not name.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from .._accounts.assess import LOGS, METRICS
from .._accounts.evaluate import Decision, Policies, RequestKeys, decide, to_list
from .._ground.errors import DENIED_CODES, InvalidInput
from .._ground.names import ATTACHED_TAG, aws_policy_arn, fitted_access, name_of
from .._ground.plan import Plan
from .._ground.text import join_first
from .._principals.policies import ACCESS_POLICIES, is_server_policy, lacking_policies, tag_value
from .._principals.principal_plan import MAX_POLICIES, attach_steps, detach_steps, tag_steps
from .._principals.role_plan import EC2, ec2_service, trusted_principals

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from .._ground.plan import Step
    from .._principals.policies import AccountPrincipal


POLICY = ACCESS_POLICIES["server"]
# Only AWS services can change roles with these paths.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_create-service-linked-role.html
RESERVED_PATHS = ("/aws-service-role/", "/aws-reserved/")
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
MAX_TAGS = 50
MAX_LISTED = 5
# With these errors, the policy was certainly not attached.
# https://docs.aws.amazon.com/IAM/latest/APIReference/API_AttachRolePolicy.html
REFUSED_CODES = DENIED_CODES | {"InvalidInput", "LimitExceeded", "PolicyNotAttachable", "UnmodifiableEntity"}


@dataclass(frozen=True)
class State:
    """The roles as IAM shows them, and their instances as EC2 shows them.

    :param roles: by name, all roles of the account.
    :param documents: by ARN, the policies of the permissions boundaries that matter; ``None`` for an unreadable one.
    :param max_policies: how many managed policies a role can have.
    :param others: by role that is to get or lose the policy, the instances that have the role and are not in the list.
    :param detachable: names of the roles that no longer need the policy.
    :param unused: names of the tagged roles that no instance has, if the role of a leaving instance is not known.
    :param unknown: IDs of the remaining instances that EC2 does not know in the region that the user gave.
    """

    roles: Mapping[str, AccountPrincipal]
    documents: Mapping[str, Mapping[str, Any] | None] = field(default_factory=dict)
    max_policies: int = MAX_POLICIES
    others: Mapping[str, Sequence[str]] = field(default_factory=dict)
    detachable: frozenset[str] = frozenset()
    unused: frozenset[str] = frozenset()
    unknown: frozenset[str] = frozenset()

    def role_in(self, profile: str) -> AccountPrincipal | None:
        """Return the role in an instance profile; ``None`` if it has none."""
        return next((role for role in self.roles.values() if profile in role.profiles), None)


@dataclass(frozen=True)
class Attachments:
    """The user's choices for application roles.

    :param allowed: names of the roles that may get the policy.
    :param used: by instance profile that the user's instances keep, these instances.
    :param server_profile: the instance profile for other instances. Its role has the policies that the agent needs.
    :param fail_on_refused: whether a role that must not get the policy is an error, instead of only a warning.
    :param access_policies: ARNs of the policies instead of AWS's.
    """

    allowed: frozenset[str]
    used: Mapping[str, Sequence[str]]
    server_profile: str = ""
    fail_on_refused: bool = True
    access_policies: frozenset[str] = frozenset()

    def policies(self, role: AccountPrincipal) -> frozenset[str]:
        """Return the ARNs of the policies that a role is to get."""
        return self.access_policies or frozenset({aws_policy_arn(POLICY, role.partition)})

    def planned_role(self, role: AccountPrincipal) -> AccountPrincipal:
        """Return a role with the policies. Those that somebody else attached are neither tagged nor detached.

        A fitted policy stays if one is desired. Another run has just created it if the desired policies lack it.
        """
        needed = self.policies(role)
        kept = {arn for arn in role.own if fitted_access(arn) in {*map(fitted_access, needed)} - {None}}
        policies = (role.policies - role.own) | needed | kept
        return _with_tag(replace(role, policies=policies), (needed | kept) - (role.policies - role.own))

    def roles(self, state: State) -> dict[str, list[str]]:
        """Return by role of these profiles the instances that have it."""
        found: dict[str, list[str]] = {}
        for profile, instances in sorted(self.used.items()):
            role = state.role_in(profile)
            if role:
                found.setdefault(role.name, []).extend(instances)
        return found


@dataclass(frozen=True)
class Departure:
    """The instances whose roles no longer need the policy, and the user's choices for these roles.

    :param leaving: their IDs.
    :param remaining: IDs of the instances whose roles need it. All others are not the user's.
    :param named: names of the roles that lose it although instances have them that are not the user's.
    :param unused: whether roles that no instance has lose it, too.
    """

    leaving: frozenset[str]
    remaining: frozenset[str] = frozenset()
    named: frozenset[str] = frozenset()
    unused: bool = False


def _with_tag(role: AccountPrincipal, arns: frozenset[str]) -> AccountPrincipal:
    """Return a role whose tag names policies. A tag with another value is not removed."""
    kept = {key: text for key, text in role.tags.items() if key != ATTACHED_TAG or not role.has_tag}
    return replace(role, tags={**kept, **({ATTACHED_TAG: tag_value(arns)} if arns else {})})


def select_roles(state: State, desired: Attachments) -> list[AccountPrincipal]:
    """Return the roles that are allowed to get the policies and whose policies or tag change."""
    roles = (state.roles[name] for name in desired.roles(state) if name in desired.allowed)
    return [role for role in roles if desired.planned_role(role) != role]


def refused_roles(state: State, desired: Attachments) -> dict[str, str]:
    """Return, by role that the user allows to get the policies, the message why it must not get them."""
    found = [(role, find_obstacle(state, role, desired)) for role in select_roles(state, desired)]
    return {
        role.name: f"{_names(desired.policies(role))} was not attached to role '{role.name}': {reason}"
        for role, reason in found
        if reason
    }


def _names(arns: Iterable[str]) -> str:
    return ", ".join(sorted(map(name_of, arns)))


def plan_attachments(state: State, desired: Attachments) -> Plan[State]:
    """Plan the steps of every role. A role that must not get the policies does not stop the others."""
    refused = refused_roles(state, desired)
    changed = {role.name: role for role in select_roles(state, desired) if role.name not in refused}
    planned = {name: desired.planned_role(role) for name, role in changed.items()}
    steps = {name: _steps(role, desired, state.max_policies) for name, role in changed.items()}
    errors = {name: InvalidInput(message) for name, message in refused.items() if desired.fail_on_refused}
    return Plan(state, replace(state, roles={**state.roles, **planned}), steps, errors)


def _steps(role: AccountPrincipal, desired: Attachments, max_policies: int) -> list[Step]:
    """Return the steps of a role. It gets the new policies before it loses others, unless it cannot have all at once.

    Until then, the tag names both. The context of a step that attaches a policy is the step that sets the tag as it was
    without it.
    """
    planned = desired.planned_role(role)
    gained, lost = planned.policies - role.policies, role.policies - planned.policies
    both = _with_tag(role, role.own | planned.own) if gained else role
    detach = detach_steps("role", role.name, lost)
    exceeds_quota = len(role.policies | planned.policies) > max_policies
    attach, without = [], both.own - lost if exceeds_quota else both.own
    for step in attach_steps("role", role.name, gained):
        [restore] = tag_steps("role", role.name, both.tags, _with_tag(both, without).tags)
        attach.append(replace(step, context=restore))
        without |= {step.arguments["policy_arn"]}
    return [
        *tag_steps("role", role.name, role.tags, both.tags),
        *(detach + attach if exceeds_quota else attach + detach),
        *tag_steps("role", role.name, both.tags, planned.tags),
    ]


def unseen_attachments(plan: Plan[State], state: State, desired: Attachments) -> list[str]:
    """Return the steps of a plan that a state does not show. :param state: only its roles matter."""
    shown = {name: state.roles.get(name, plan.current.roles[name]) for name in plan.steps}
    return [step.summary for role in shown.values() for step in _steps(role, desired, plan.current.max_policies)]


def find_obstacle(state: State, role: AccountPrincipal, desired: Attachments) -> str:
    """Return why a role must not get the policies, and how to change that; empty if it may."""
    if role.path.startswith(RESERVED_PATHS):
        return f"only AWS can change a role with the path {role.path}. Associate another profile with its instances."
    if role.is_admin:
        return "it is an admin role, which may write the configuration. Remove it from the list."
    if not trusted_principals(role.trust) & {EC2, ec2_service(role.partition)}:
        return "EC2 is not allowed to assume it, so its instances have no credentials. Correct its trust policy."
    if len(role.tags) >= MAX_TAGS and ATTACHED_TAG not in role.tags:
        return f"it has {MAX_TAGS} tags, so it cannot get {ATTACHED_TAG}. Remove a tag."
    surplus = len(desired.planned_role(role).policies) - state.max_policies
    if surplus > 0:
        return (
            f"it has {len(role.policies)} managed policies, and the quota of the account is {state.max_policies}. "
            f"Detach {'one' if surplus == 1 else surplus}, or raise the quota 'Managed policies per role'."
        )
    blocked = _find_blocked_actions(state, role)
    if blocked and role.boundary:
        actions = ", ".join(blocked)
        return (
            f"its permissions boundary {name_of(role.boundary)} blocks {actions}. Allow {actions} in {role.boundary}."
        )
    return ""


def _find_blocked_actions(state: State, role: AccountPrincipal) -> list[str]:
    """Return the actions that every agent needs and that the permissions boundary of the role does not allow."""
    document = state.documents.get(role.boundary or "")
    if not document:
        return []
    statements = to_list(document["Statement"])
    allowed = [each for each in statements if each["Effect"] == "Allow"]
    # The agent writes to some log groups, and a boundary may allow only some. So any resource that it allows counts.
    anywhere = [{**each, "Resource": "*"} for each in allowed]
    policies = Policies([{**document, "Statement": [*anywhere, *(each for each in statements if each not in allowed)]}])
    unknown = RequestKeys({}, frozenset({"*"}))
    return [each for each in (METRICS, LOGS) if decide(policies, each, "*", unknown) is Decision.NO]


def describe_gains(state: State, desired: Attachments) -> list[str]:
    """Describe the other instances and principals that get the permissions, for each role that gets them now."""
    roles = (state.roles[name] for name in plan_attachments(state, desired).steps)
    gained = ((role, lacking_policies(desired.policies(role), role.policies)) for role in roles)
    return [sentence for role, arns in gained if arns for sentence in _describe_gains_of(state, role, _names(arns))]


def _describe_gains_of(state: State, role: AccountPrincipal, names: str) -> Iterator[str]:
    grants = f"attaching {names} to role '{role.name}' also grants it to"
    others = sorted(state.others.get(role.name, ()))
    if others:
        yield f"{grants} instances that are not in the list: {join_first(others, MAX_LISTED)}"
    principals = sorted(trusted_principals(role.trust) - {EC2, ec2_service(role.partition)})
    if principals:
        yield f"{grants} other principals that can assume the role: {join_first(principals, MAX_LISTED)}"


def warnings(state: State, desired: Attachments) -> list[str]:
    """Warn of instances whose role lacks something, and of boundaries that are missing or could not be read."""
    found = list(_describe_lacks(state, desired))
    if not desired.fail_on_refused:
        found += refused_roles(state, desired).values()
    for role in select_roles(state, desired):
        if role.boundary and state.documents.get(role.boundary, {}) is None:
            found.append(
                f"permissions boundary {role.boundary} of role '{role.name}' could not be read. It may block the agent"
            )
        if not role.boundary and any(map(fitted_access, desired.policies(role))):
            found.append(
                f"role '{role.name}' has no permissions boundary, so anyone who can write the fitted policies can give "
                "it any permission"
            )
    return found


def _describe_lacks(state: State, desired: Attachments) -> Iterator[str]:
    """Describe the server role's policies that the roles lack, except the policy that they get now."""
    server = state.role_in(desired.server_profile)
    for profile, instances in sorted(desired.used.items()):
        role = state.role_in(profile)
        if role is None:
            yield f"instances {join_first(instances, MAX_LISTED)} keep instance profile '{profile}', which has no role"
            continue
        needed = desired.policies(role)
        further = {arn for arn in (server.policies if server else ()) if not is_server_policy(arn)}
        lacking = lacking_policies(needed | further, role.policies)
        lacking -= needed if role.name in desired.allowed else frozenset()
        if lacking:
            advice = (
                f". To attach {_names(needed)}, add '{role.name}' to attach_to_roles "
                "(cwagent_attach_to_roles in the playbooks)"
            )
            held = f"instances {join_first(instances, MAX_LISTED)} keep role '{role.name}'"
            yield f"{held}, which lacks {_names(lacking)}{'' if role.name in desired.allowed else advice}"


def find_roles_without_access(state: State, desired: Attachments) -> dict[str, list[str]]:
    """Return, by role, the instances of roles that could get the policy but that the user does not allow."""
    found = {}
    for name, instances in desired.roles(state).items():
        role = state.roles[name]
        lacks = lacking_policies(desired.policies(role), role.policies)
        if name not in desired.allowed and lacks and not find_obstacle(state, role, desired):
            found[name] = instances
    return found


def select_all_detachable(state: State) -> State:
    """Return the state in which every tagged role may lose the policy."""
    return replace(state, detachable=frozenset(role.name for role in state.roles.values() if role.has_tag))


def select_detachable(state: State, departure: Departure, profiles: Mapping[str, Collection[str]]) -> State:
    """Return the state with the tagged roles that may lose the policy, and those that keep it for a reason.

    :param profiles: by instance of the regions, its instance profiles.
    """
    leaving, remaining = departure.leaving, departure.remaining
    of_leaving, of_remaining, of_others, of_all = (
        {profile for name in names for profile in profiles.get(name, ())}
        for names in (leaving, remaining, profiles.keys() - leaving - remaining, profiles)
    )
    tagged = [role for role in state.roles.values() if role.has_tag]
    left = [role for role in tagged if role.profiles & of_leaving and not role.profiles & of_remaining]
    kept = [role for role in left if role.profiles & of_others and role.name not in departure.named]
    unused = frozenset(role.name for role in tagged if not role.profiles & of_all)
    is_lost = not leaving <= profiles.keys()
    return replace(
        state,
        others={
            role.name: sorted(name for name in profiles.keys() - leaving if role.profiles & {*profiles[name]})
            for role in kept
        },
        detachable=frozenset(role.name for role in left if role not in kept)
        | (unused if departure.unused else frozenset()),
        unused=unused if is_lost and not departure.unused else frozenset(),
    )


def kept_warnings(state: State) -> list[str]:
    """Warn of roles that keep the policy. Their last instance can have ended, or others have them or may have them."""
    if state.unknown:
        names = ", ".join(sorted(state.unknown))
        return [f"no application role was changed, because it is not known which role these instances have: {names}"]
    kept = {role.name: f"role '{role.name}' keeps {_names(role.tagged)}" for role in state.roles.values()}
    unused = [
        f"{kept[name]}, and no instance in these regions has the role. If its servers have left, run: "
        f"{detach_command(state.roles[name])}"
        for name in sorted(state.unused)
    ]
    return unused + [
        f"{kept[name]}, because instances that are not in the inventory have the role: "
        f"{join_first(instances, MAX_LISTED)}. If they do not need it, add '{name}' to detach_from_roles "
        "(cwagent_detach_from_roles in the playbooks)"
        for name, instances in sorted(state.others.items())
    ]


def detach_command(role: AccountPrincipal) -> str:
    """Return the command with which a person detaches the policies from a role."""
    detach = (f"aws iam detach-role-policy --role-name {role.name} --policy-arn {arn}; " for arn in sorted(role.tagged))
    return f"{''.join(detach)}aws iam untag-role --role-name {role.name} --tag-keys {ATTACHED_TAG}"


def plan_detachments(state: State, in_scope: Iterable[str]) -> Plan[State]:
    """Plan to detach the policies that the tag names from the roles that have the tag.

    Only the agent's policies are detached, so a forged tag costs a role no more than these.

    :param in_scope: names of the roles that no longer need them.
    """
    roles = {name: state.roles[name] for name in in_scope if state.roles[name].has_tag}
    planned = {
        name: replace(_with_tag(role, frozenset()), policies=role.policies - role.own) for name, role in roles.items()
    }
    steps = {
        name: [*detach_steps("role", name, role.own), *tag_steps("role", name, role.tags, planned[name].tags)]
        for name, role in roles.items()
    }
    return Plan(state, replace(state, roles={**state.roles, **planned}), steps)


def to_dict(state: State, names: Iterable[str]) -> dict[str, Any]:
    """Render roles for results and diffs."""
    return {
        "roles": {
            name: {
                "managed_policies": sorted(state.roles[name].policies),
                "tags": dict(state.roles[name].tags),
            }
            for name in sorted(names)
            if name in state.roles
        }
    }
