# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The agent's policy on roles that belong to applications: who gets it, why not, and the steps. Pure.

A role is tagged before it gets the policy, and the tag is removed after the policy is detached. So the tag tells a run
what an earlier one, even an interrupted one, has attached; a policy without the tag was attached by somebody else.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._access.assess import GET, LOGS, METRICS
from ansible_collections.cwagent.iam.plugins.module_utils._access.conditions import to_list
from ansible_collections.cwagent.iam.plugins.module_utils._access.decision import Decision
from ansible_collections.cwagent.iam.plugins.module_utils._access.evaluate import Policies, Request, decide
from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._names import (
    ATTACHED_TAG,
    PARAMETER_PREFIX,
    WINDOW_POLICY,
    aws_policy_arn,
    name_of,
)
from ansible_collections.cwagent.iam.plugins.module_utils._plan import Plan
from ansible_collections.cwagent.iam.plugins.module_utils._principal.plan import (
    MAX_POLICIES,
    attach_steps,
    detach_steps,
    tag_steps,
)
from ansible_collections.cwagent.iam.plugins.module_utils._principal.policies import ACCESS_POLICIES
from ansible_collections.cwagent.iam.plugins.module_utils._role.plan import EC2, ec2_service
from ansible_collections.cwagent.iam.plugins.module_utils._text import join_first

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ansible_collections.cwagent.iam.plugins.module_utils._plan import Step

POLICY = ACCESS_POLICIES["server"]
# AWS lets nobody but a service change the roles with these paths.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_create-service-linked-role.html
RESERVED_PATHS = ("/aws-service-role/", "/aws-reserved/")
MAX_LISTED = 5


@dataclass(frozen=True)
class Role:
    """A role of the account, as IAM shows it.

    :param policies: ARNs of the attached managed policies.
    :param inline: names of the inline policies.
    :param boundary: ARN of the permissions boundary.
    :param profiles: names of the instance profiles that contain the role.
    """

    name: str
    arn: str
    trust: Mapping[str, Any]
    policies: frozenset[str] = frozenset()
    inline: frozenset[str] = frozenset()
    boundary: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    profiles: frozenset[str] = frozenset()

    @property
    def partition(self) -> str:
        """The partition of the account."""
        return self.arn.split(":")[1]

    @property
    def policy(self) -> str:
        """The ARN of the agent's policy."""
        return aws_policy_arn(POLICY, self.partition)

    @property
    def has_policy(self) -> bool:
        """Whether the agent's policy is attached, whoever did that."""
        return self.policy in self.policies

    @property
    def has_tag(self) -> bool:
        """Whether this collection has attached the policy, or was about to."""
        return self.tags.get(ATTACHED_TAG) == POLICY

    @property
    def path(self) -> str:
        """The IAM path."""
        return self.arn.partition(":role")[2][: -len(self.name)]

    @property
    def is_admin(self) -> bool:
        """Whether it is an admin role of this collection."""
        return WINDOW_POLICY in self.inline or aws_policy_arn(ACCESS_POLICIES["admin"], self.partition) in self.policies


@dataclass(frozen=True)
class State:
    """What IAM and EC2 show.

    :param roles: by name, all roles of the account.
    :param documents: by ARN, the policies of the permissions boundaries that matter; ``None`` for an unreadable one.
    :param max_policies: how many managed policies a role can have.
    :param others: by role that is to get the policy, the instances that have it and are not in the list.
    """

    roles: Mapping[str, Role]
    documents: Mapping[str, Mapping[str, Any] | None] = field(default_factory=dict)
    max_policies: int = MAX_POLICIES
    others: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def role_in(self, profile: str) -> Role | None:
        """Return the role in an instance profile; ``None`` where it has none."""
        return next((role for role in self.roles.values() if profile in role.profiles), None)


@dataclass(frozen=True)
class Attachments:
    """What the user wants.

    :param allowed: names of the roles that may get the policy.
    :param used: by instance profile that the user's instances keep, these instances.
    :param regions: those of the instances.
    :param fails: whether a role that must not get the policy is an error, and not only reported.
    """

    allowed: frozenset[str]
    used: Mapping[str, Sequence[str]]
    regions: Sequence[str] = ()
    fails: bool = True

    def roles(self, state: State) -> dict[str, list[str]]:
        """Return by role in these profiles its instances."""
        found: dict[str, list[str]] = {}
        for profile, instances in sorted(self.used.items()):
            role = state.role_in(profile)
            if role:
                found.setdefault(role.name, []).extend(instances)
        return found


def to_attach(state: State, desired: Attachments) -> list[Role]:
    """Return the roles that are allowed to get the policy and do not have it."""
    roles = (state.roles[name] for name in desired.roles(state) if name in desired.allowed)
    return [role for role in roles if not role.has_policy]


def refused_roles(state: State, desired: Attachments) -> dict[str, str]:
    """Return by role that is allowed to get the policy and must not, why."""
    reasons = {role.name: find_obstacle(state, role, desired.regions) for role in to_attach(state, desired)}
    return {name: reason for name, reason in reasons.items() if reason}


def explain_refusal(name: str, reason: str) -> str:
    """Return the message of a role that must not get the policy."""
    return f"Role '{name}' does not get {POLICY}: {reason}"


def plan_attachments(state: State, desired: Attachments) -> Plan[State]:
    """Plan the steps of every role; one that must not get the policy does not stop the others."""
    refused = refused_roles(state, desired)
    changed = {role.name: role for role in to_attach(state, desired) if role.name not in refused}
    planned = {
        name: replace(role, tags={**role.tags, ATTACHED_TAG: POLICY}, policies=role.policies | {role.policy})
        for name, role in changed.items()
    }
    steps = {name: _attach(role, planned[name]) for name, role in changed.items()}
    errors = {name: InvalidInput(explain_refusal(name, refused[name])) for name in refused if desired.fails}
    return Plan(state, replace(state, roles={**state.roles, **planned}), steps, errors)


def _attach(current: Role, planned: Role) -> list[Step]:
    return [
        *tag_steps("role", current.name, current.tags, planned.tags),
        *attach_steps("role", current.name, planned.policies - current.policies),
    ]


def unseen_attachments(plan: Plan[State], state: State) -> list[str]:
    """Return the steps of a plan that a state does not show. :param state: without what only the plan needed."""
    shown = {name: state.roles.get(name, plan.current.roles[name]) for name in plan.steps}
    return [step.summary for name in plan.steps for step in _attach(shown[name], plan.planned.roles[name])]


def find_obstacle(state: State, role: Role, regions: Iterable[str]) -> str:
    """Return why a role must not get the policy, and what to do; empty if it may."""
    if role.path.startswith(RESERVED_PATHS):
        return f"only AWS can change a role with the path {role.path}. Associate another profile with its instances."
    if role.is_admin:
        return "it is an admin role, which may write the configuration. Remove it from the list."
    if not _trusted(role) & {EC2, ec2_service(role.partition)}:
        return "EC2 is not allowed to assume it, so its instances have no credentials. Correct its trust policy."
    if len(role.policies) >= state.max_policies:
        return (
            f"it has {len(role.policies)} managed policies, and the quota of the account is {state.max_policies}. "
            "Detach one, or raise the quota 'Managed policies per role'."
        )
    blocked = _blocked(state, role, regions)
    if blocked and role.boundary:
        actions = ", ".join(blocked)
        return (
            f"its permissions boundary {name_of(role.boundary)} blocks {actions}. Allow {actions} in {role.boundary}."
        )
    return ""


def _blocked(state: State, role: Role, regions: Iterable[str]) -> list[str]:
    """Return what the agent does with the policy, and the permissions boundary of the role does not allow."""
    document = state.documents.get(role.boundary or "")
    if not document:
        return []
    account = role.arn.split(":")[4]
    configurations = [
        f"arn:{role.partition}:ssm:{region}:{account}:parameter/{PARAMETER_PREFIX}any" for region in regions
    ]
    needed = [(METRICS, "*"), (LOGS, "*"), *((GET, each) for each in configurations)]
    requests = [Request(action, resource, {}, frozenset({"*"})) for action, resource in needed]
    blocked = [each.action for each in requests if decide(Policies([document]), each) is Decision.NO]
    return list(dict.fromkeys(blocked))


def gains(state: State, desired: Attachments) -> list[str]:
    """Describe who else gets the permissions of the policy, for each role that gets it now."""
    planned = plan_attachments(state, desired).steps
    return [sentence for name in planned for sentence in _gains(state, state.roles[name])]


def _gains(state: State, role: Role) -> Iterator[str]:
    granted = f"Role '{role.name}' gets {POLICY}, which"
    others = sorted(state.others.get(role.name, ()))
    if others:
        listed = join_first(others, MAX_LISTED)
        yield f"{granted} also applies to instances that are not in the inventory: {listed}"
    principals = sorted(_trusted(role) - {EC2, ec2_service(role.partition)})
    if principals:
        yield f"{granted} also applies to whoever else can assume it: {join_first(principals, MAX_LISTED)}"


def _trusted(role: Role) -> set[str]:
    """Return the principals in the trust policy, whatever the conditions."""
    statements = [each for each in to_list(role.trust.get("Statement", ())) if each.get("Effect") == "Allow"]
    return {name for each in statements for name in _principals(each)}


def _principals(statement: Mapping[str, Any]) -> Iterable[str]:
    """Return the principals in a statement. One with ``NotPrincipal`` trusts all others."""
    principal = statement.get("Principal", "*")
    values = principal.values() if isinstance(principal, dict) else [principal]
    return [str(name) for value in values for name in to_list(value)]


def warnings(state: State, desired: Attachments) -> list[str]:
    """Warn of roles without the policy that are not allowed to get it, and of boundaries that could not be read."""
    found = [
        f"instances {join_first(instances, MAX_LISTED)} keep role '{name}', which lacks {POLICY}. To attach it, add "
        f"'{name}' to attach_to_roles (cwagent_attach_to_roles in the playbooks)"
        for name, instances in without_access(state, desired).items()
    ]
    if not desired.fails:
        found += [explain_refusal(name, reason) for name, reason in refused_roles(state, desired).items()]
    for role in to_attach(state, desired):
        if role.boundary and state.documents.get(role.boundary, {}) is None:
            found.append(
                f"permissions boundary {role.boundary} of role '{role.name}' could not be read, so it can block the "
                "agent"
            )
    return found


def without_access(state: State, desired: Attachments) -> dict[str, list[str]]:
    """Return by role without the policy that is not allowed to get it, its instances."""
    roles = desired.roles(state).items()
    return {name: found for name, found in roles if name not in desired.allowed and not state.roles[name].has_policy}


def plan_detachments(state: State, in_scope: Iterable[str]) -> Plan[State]:
    """Plan to take the policy off the roles that have the tag.

    Nothing but the exact policy is detached, so a forged tag costs a role no more than that.

    :param in_scope: names of the roles that no longer need it.
    """
    roles = {name: state.roles[name] for name in in_scope if state.roles[name].has_tag}
    tags = {name: {key: text for key, text in role.tags.items() if key != ATTACHED_TAG} for name, role in roles.items()}
    steps = {
        name: [
            *detach_steps("role", name, role.policies & {role.policy}),
            *tag_steps("role", name, role.tags, tags[name]),
        ]
        for name, role in roles.items()
    }
    planned = {
        name: replace(role, policies=role.policies - {role.policy}, tags=tags[name]) for name, role in roles.items()
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
