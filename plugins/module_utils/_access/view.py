# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One view of an account, for the rules of the audit and the checks of servers. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Union

from ansible_collections.cwagent.iam.plugins.module_utils._access.assess import may
from ansible_collections.cwagent.iam.plugins.module_utils._access.evaluate import Decision

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ansible_collections.cwagent.iam.plugins.module_utils._access.assess import Assessment
    from ansible_collections.cwagent.iam.plugins.module_utils._access.model import Account, Policy, Principal

    Context = tuple[tuple[str, Union[str, tuple[str, ...]]], ...]

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
