# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decides which principals can change policies so that a principal of the agent can write configurations. Pure.

Only changes of policies count. Anyone who opens the admin window makes such a change.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from .._ground.names import aws_policy_arn
from .._principals.policies import ACCESS_POLICIES
from .._principals.window_policy import PUT
from .assess import ANSWERS, UNKNOWN, WINDOW, YES, write_access
from .evaluate import Decision
from .model import Policy

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .assess import AccountView, Context
    from .model import Account, Principal


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
