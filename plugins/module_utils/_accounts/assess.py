# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decides which principals may write configurations or let others write, and which ones matter for the agent. Pure.

A principal lets others write if it can change policies. Anyone who opens the admin window makes such a change.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Union

from .._ground.names import aws_policy_arn
from .._principals import window_plan
from .._principals.policies import ACCESS_POLICIES, DEPRECATED_SSM_POLICY, SSM_POLICIES
from .._principals.window_plan import CLOSED, EXPIRED, MODIFIED, Window
from .._principals.window_policy import PUT, TIME_FORMAT
from .evaluate import UNREAD, Caller, Decision, Policies, RequestKeys, WriteAccess, can_write, decide, decide_each
from .model import ROLE, USER, Policy

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from .model import Account, Principal

    Context = tuple[tuple[str, Union[str, tuple[str, ...]]], ...]


YES, NO, UNKNOWN, WINDOW = "yes", "no", "unknown", "window"
ANSWERS = {Decision.YES: YES, Decision.NO: NO, Decision.UNKNOWN: UNKNOWN}
METRICS, LOGS, GET = "cloudwatch:PutMetricData", "logs:PutLogEvents", "ssm:GetParameter"
# A principal that may call the first action, or all of the others, administers the account. Its permission to write
# configurations has nothing to do with the agent.
_GRANTS = "iam:PutRolePolicy"
_UNRELATED = ("ec2:RunInstances", "lambda:CreateFunction", "s3:DeleteBucket")


@dataclass(frozen=True)
class Assessment:
    """Whether a principal may write a configuration now, and why.

    :param writes: ``YES``, ``NO``, ``UNKNOWN``, or ``WINDOW`` if it may only through its open window.
    :param why: the reason in a sentence.
    :param parameter: the ARN of a parameter that it may write, or perhaps may.
    :param session: the only session of a role that may write.
    :param granting: its policies that allow or perhaps allow it.
    :param is_administrator: whether it administers the account.
    :param window: the admin window of an admin principal, as results show it.
    """

    principal: Principal
    writes: str
    why: str
    parameter: str | None = None
    session: str | None = None
    granting: tuple[Policy, ...] = ()
    is_administrator: bool = False
    window: Mapping[str, Any] | None = None

    @property
    def needs_simulation(self) -> bool:
        """Whether the answer is worth a simulation by IAM."""
        return self.writes != NO and self.parameter is not None and not self.is_administrator


def assess(account: Account) -> tuple[Assessment, ...]:
    """Assess the principals of an account, and return those that matter for the agent.

    These are our own principals, principals with the deprecated policy for Systems Manager, and all principals that may
    write or for which that is unknown.
    """
    deprecated = SSM_POLICIES[DEPRECATED_SSM_POLICY]
    return tuple(
        each
        for each in (_assess(principal, account) for principal in account.principals)
        if each.writes != NO or each.principal.is_ours or each.principal.has_policy(deprecated)
    )


def apply_simulations(assessments: Iterable[Assessment], allows: Mapping[str, bool]) -> tuple[Assessment, ...]:
    """Return the assessments, corrected with answers of IAM. :param allows: by ARN, whether it may write."""
    return tuple(_apply_simulation(each, allows.get(each.principal.arn)) for each in assessments)


def may(
    principal: Principal,
    now: datetime,
    action: str,
    resource: str | None = "*",
    *,
    bounded: bool = True,
    context: Iterable[tuple[str, str | tuple[str, ...]]] = (),
) -> Decision:
    """Return whether a principal may make a call.

    :param resource: ``None`` where it is not known. In an ARN, ``*`` stands for any text.
    :param bounded: whether its permissions boundary counts.
    :param context: further condition keys that are known. The call lacks a key with an empty tuple.
    """
    policies = _policies(principal)
    if not bounded:
        policies = replace(policies, boundary=None)
    known = RequestKeys({**_caller(principal).context(now), **dict(context)}, frozenset({"*"}))
    return (decide_each if is_pattern(resource) else decide)(policies, action, resource, known)


def write_access(principal: Principal, account: Account) -> WriteAccess:
    """Return whether the policies of a principal allow a write now."""
    return can_write(_policies(principal), _caller(principal), account.read_at, account.regions)


def is_pattern(resource: str | None) -> bool:
    """Whether a resource stands for several. ``*`` alone is the resource of actions that have none."""
    return resource not in (None, "*") and "*" in str(resource)


def request_context(principal: Principal, now: datetime, session: str | None = None) -> dict[str, list[str]]:
    """Return the condition keys of each call of a principal, for a simulation. :param session: of a role."""
    known = _caller(principal, session).context(now)
    return {key: [value] if isinstance(value, str) else list(value) for key, value in known.items()}


def _policies(principal: Principal) -> Policies:
    bound = principal.boundary
    return Policies([_document(each) for each in principal.policies], _document(bound) if bound else None)


def _document(policy: Policy) -> Mapping[str, Any]:
    return UNREAD if policy.document is None else policy.document


def _caller(principal: Principal, session: str | None = None) -> Caller:
    tags = principal.tags if principal.kind == USER else {}
    return Caller(principal.arn, principal.id, session, tags)


def _assess(principal: Principal, account: Account) -> Assessment:
    now = account.read_at
    found = write_access(principal, account)
    window = _window(principal, now)
    if window and window["state"] == MODIFIED:
        found = replace(found, opening=None)
    if found.decision is Decision.NO:
        return Assessment(principal, NO, _why_not(window), window=window)
    granting = tuple(
        each
        for each in principal.policies
        if write_access(replace(principal, policies=(each,), boundary=None), account).decision is not Decision.NO
    )
    return Assessment(
        principal,
        found.writes,
        _why(principal, found, granting),
        found.parameter,
        found.session,
        granting,
        _administers(principal, now),
        window,
    )


def _administers(principal: Principal, now: datetime) -> bool:
    role = f"arn:{principal.partition}:iam::{principal.account_id}:role/any"
    unrelated = [may(principal, now, action) for action in _UNRELATED]
    return may(principal, now, _GRANTS, role) is Decision.YES or set(unrelated) == {Decision.YES}


def _window(principal: Principal, now: datetime) -> dict[str, Any] | None:
    """Return the admin window of an admin principal as results show it; ``None`` for any other principal."""
    if principal.access != "admin":
        return None
    policy = principal.window_policy
    inline = [each for each in principal.policies if not each.arn]
    is_known = policy.document is not None if policy else all(each.document is not None for each in inline)
    window = window_plan.to_dict(Window(now, policy.document if policy else None, is_known=is_known))
    if principal.kind == ROLE and window["deadline"] and window["instance_id"] is None:
        # The window of a role opens for one instance only, so somebody has changed the policy.
        window |= {"state": MODIFIED, "deadline": None, "parameters": []}
    return {key: window[key] for key in ("state", "deadline", "instance_id", "parameters")}


def _why_not(window: Mapping[str, Any] | None) -> str:
    if window and window["state"] == CLOSED:
        return "Its admin window is closed."
    if window and window["state"] == EXPIRED:
        return f"Its admin window was open until {window['deadline']}."
    return f"No policy allows {PUT}, or one denies it."


def _why(principal: Principal, found: WriteAccess, granting: Iterable[Policy]) -> str:
    if found.opening:
        bound = f" for instance {found.opening.instance_id}" if found.opening.instance_id else ""
        return f"Its admin window is open until {found.opening.deadline.strftime(TIME_FORMAT)}{bound}."
    names = sorted({each.name for each in granting})
    allow = f"{' and '.join(names)} {'allow' if names[1:] else 'allows'} {PUT}"
    if found.decision is Decision.YES:
        session = f" in session {found.session}" if found.session else ""
        return f"{allow}{session}, and nothing denies it."
    bounds = [principal.boundary] if principal.boundary else []
    if any(each.document is None for each in (*principal.policies, *bounds)):
        return "It has policies that could not be read."
    return f"{allow} if the conditions hold, which is not known."


def _apply_simulation(assessment: Assessment, allows: bool | None) -> Assessment:
    if allows is None:
        return assessment
    if not allows:
        return replace(assessment, writes=NO, why=f"SimulatePrincipalPolicy of IAM denies {PUT}.")
    writes = WINDOW if assessment.writes == WINDOW else YES
    return replace(assessment, writes=writes, why=f"{assessment.why} SimulatePrincipalPolicy of IAM allows it.")


SITE = "Run the playbook cwagent.iam.site"


@dataclass(frozen=True)
class AccountView:
    """An account as it was read, with the assessments of its principals."""

    account: Account
    assessments: Sequence[Assessment]

    @cached_property
    def principals(self) -> dict[tuple[str, str], Principal]:
        """The principals, by kind and name."""
        return {(each.kind, each.name): each for each in self.account.principals}

    @cached_property
    def roles(self) -> dict[str | None, str | None]:
        """By instance profile, the name of its role."""
        return {each.name: each.role for each in self.account.profiles}

    @cached_property
    def _rights(self) -> dict[str, str]:
        return {}

    @cached_property
    def _decisions(self) -> dict[tuple[Any, ...], Decision]:
        return {}

    def decide(
        self,
        principal: Principal,
        action: str,
        resource: str | None = "*",
        *,
        bounded: bool = True,
        context: Context = (),
    ) -> Decision:
        """Return whether a principal may make a call. A fleet of principals with the same policies is decided once.

        :param resource: ``None`` if it is not known. In an ARN, ``*`` stands for any text.
        :param bounded: whether its permissions boundary counts.
        :param context: further condition keys that are known. The call lacks a key with an empty tuple.
        """
        if principal.arn not in self._rights:
            self._rights[principal.arn] = _rights_of(principal)
        key = (self._rights[principal.arn], action, resource, bounded, context)
        if key not in self._decisions:
            self._decisions[key] = may(
                principal, self.account.read_at, action, resource, bounded=bounded, context=context
            )
        return self._decisions[key]

    def is_blocked(self, principal: Principal, action: str, resource: str | None = "*") -> bool:
        """Whether only the permissions boundary of a principal denies a call."""
        # A policy can allow it with a condition, or for some resources.
        unbounded = self.decide(principal, action, resource, bounded=False)
        return unbounded is not Decision.NO and self.decide(principal, action, resource) is Decision.NO

    def parameter_arn(self, region: str, name: str) -> str:
        """Return the ARN of a parameter in this account."""
        return f"arn:{self.account.partition}:ssm:{region}:{self.account.id}:parameter/{name}"


def describe_blocked(principal: Principal, boundary: Policy, actions: Iterable[str], end: str = ".") -> tuple[str, str]:
    """Return which actions the boundary of a principal blocks, and what to do. :param end: of the sentence."""
    blocked = ", ".join(dict.fromkeys(actions))
    why = f"Permissions boundary {boundary.name} of {principal.label} blocks {blocked}{end}"
    return why, f"Allow {blocked} in policy {boundary.arn}."


def describe_grant(principal: Principal) -> str:
    """Return how to give the agent's policy to the role of instances, or to a principal of this collection."""
    if principal.has_fitted_policy:
        return (
            f"{SITE} with cwagent_server_policy=fitted. It adds what the stored configurations need, except those in "
            "cwagent_ignored_parameters. If the policy has it, find what denies it."
        )
    add = SITE
    if not principal.managed:
        add = f"Add {principal.name} to cwagent_attach_to_roles, and run the playbook cwagent.iam.site"
        add += " with cwagent_on_other_profile=attach"
    return f"{add}. If the policy is attached, find what denies it."


def _rights_of(principal: Principal) -> str:
    """Return a key that principals share if their policies are equal and do not depend on the principal.

    They do with variables, and with conditions on global keys.
    """
    bounds = [principal.boundary] if principal.boundary else []
    text = json.dumps([[each.document for each in principal.policies], [each.document for each in bounds]])
    return principal.arn if '"aws:' in text.lower() or "${" in text else text


# A policy after a change by somebody who wants the principal to write.
_ALLOWS = Policy("(changed)", {"Statement": [{"Effect": "Allow", "Action": PUT, "Resource": "*"}]})


@dataclass(frozen=True)
class Grantor:
    """A principal that cannot write now, but can change policies so that a principal of the agent can.

    :param can_grant: ``YES``, or ``UNKNOWN`` if that depends on something unknown.
    :param why: the reason in a sentence.
    """

    kind: str
    name: str
    arn: str
    can_grant: str
    why: str


@dataclass(frozen=True)
class _Change:
    """A call that changes the policies of a principal of the agent.

    :param resource: its ARN.
    :param after: the principal with the policies that the call can give it.
    """

    action: str
    resource: str
    context: Context
    after: Principal
    account: Account

    @cached_property
    def grants(self) -> Decision:
        """Whether the principal can write after the call. A boundary, or a Deny in another policy, can prevent it."""
        return write_access(self.after, self.account).decision


def find_grantors(view: AccountView) -> tuple[Grantor, ...]:
    """Return the principals that can let a principal of the agent write, apart from the principals that can write now.

    If it is unknown both whether a principal can write and whether it can change policies, it is left out too.
    """
    account = view.account
    writes = {each.principal.arn: each.writes for each in view.assessments}
    changes = [change for each in account.principals if each.is_ours for change in _changes(each, account)]
    found = (_grantor(view, each, changes) for each in account.principals if writes.get(each.arn) not in (YES, WINDOW))
    return tuple(each for each in found if each and (each.can_grant == YES or writes.get(each.arn) != UNKNOWN))


def _changes(target: Principal, account: Account) -> Iterator[_Change]:
    """Return the calls that can let a principal write: the calls in the table of security.rst."""
    noun, window = target.kind.title(), target.window_policy
    others = tuple(each for each in target.policies if each != window)
    # https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsidentityandaccessmanagementiam.html
    known: Context = (
        ("iam:PermissionsBoundary", (target.boundary.arn or ()) if target.boundary else ()),
        *((f"{service}:ResourceTag/{key}", value) for service in ("aws", "iam") for key, value in target.tags.items()),
    )
    granted = replace(target, policies=(*others, _ALLOWS))
    yield _Change(f"iam:Put{noun}Policy", target.arn, known, granted, account)
    if window:
        yield _Change(f"iam:Delete{noun}Policy", target.arn, known, replace(target, policies=others), account)
    admin = aws_policy_arn(ACCESS_POLICIES["admin"], target.partition)
    attached = replace(target, policies=(*target.policies, _ALLOWS))
    yield _Change(f"iam:Attach{noun}Policy", target.arn, (*known, ("iam:PolicyARN", admin)), attached, account)
    for policy in target.policies:
        if policy.arn and policy.arn.split(":")[4] == target.account_id:
            changed = tuple(_ALLOWS if each == policy else each for each in target.policies)
            yield _Change("iam:CreatePolicyVersion", policy.arn, (), replace(target, policies=changed), account)


def _grantor(view: AccountView, principal: Principal, changes: Sequence[_Change]) -> Grantor | None:
    best, by = Decision.NO, ""
    for each in changes:
        decision = _can_make(view, principal, each)
        if decision > best:
            best, by = decision, f"{each.action} on {each.resource}"
        if best is Decision.YES:
            break
    if best is Decision.NO:
        return None
    conditions = "" if best is Decision.YES else " if the conditions hold, which is not known"
    why = f"It may call {by}{conditions}."
    return Grantor(principal.kind, principal.name, principal.arn, ANSWERS[best], why)


def _can_make(view: AccountView, principal: Principal, change: _Change) -> Decision:
    # Most principals have no statement about the action. That is decided once for all resources.
    if view.decide(principal, change.action, None) is Decision.NO:
        return Decision.NO
    decision = view.decide(principal, change.action, change.resource, context=change.context)
    return decision if decision is Decision.NO else min(decision, change.grants)
