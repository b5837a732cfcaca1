# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The input of the checks of servers: an account, and the principal and configurations of a server. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from .._accounts.assess import AccountView, is_pattern
from .._accounts.evaluate import Decision, decision_of
from .._accounts.model import ROLE, USER
from .._configuration.parts import merge, merge_order, parts_of
from .._configuration.policy import ANY
from .._ground.errors import InvalidInput
from .._servers.commands import ONLINE
from .endpoints import Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from .._accounts.assess import Assessment, Context
    from .._accounts.model import ConfigParameter, InstanceUse, NodeUse, Principal, Unread
    from .._configuration.permissions import Need
    from .._configuration.policy import Call
    from .server import Target


@dataclass(frozen=True)
class Needed:
    """The calls of a server for one purpose. If it may not make them, it has one finding.

    :param need: the first of their needs.
    :param calls: each call, with the field and the name of the configuration that needs it.
    """

    need: Need
    calls: tuple[tuple[Call, str, str], ...]


@dataclass(frozen=True)
class Case(AccountView):
    """The account as it was read, and further data for the checks.

    :param saved_keys: by user, the access key that is saved in a file.
    :param simulated: by principal, action, resource and further condition keys, whether IAM itself allows it.
    :param server_profile: the instance profile for instances that have none.
    :param hybrid_role: the role of servers that are registered with Systems Manager.
    :param label: the label of versions that were proved. Empty for none.
    :param address_of: the address of an endpoint, which is empty if AWS publishes none.
    """

    saved_keys: Mapping[str, str] = field(default_factory=dict)
    simulated: Mapping[tuple[Any, ...], bool] = field(default_factory=dict)
    server_profile: str = "CloudWatchAgentServerRole"
    hybrid_role: str = "CloudWatchAgentHybridRole"
    label: str = ""
    address_of: Callable[[Endpoint], str] = lambda _endpoint: ""

    @cached_property
    def writers(self) -> dict[str, Assessment]:
        """The assessments of the principals that matter, by ARN."""
        return {each.principal.arn: each for each in self.assessments}

    @cached_property
    def instances(self) -> dict[str, InstanceUse]:
        """The instances, by ID."""
        return {each.id: each for each in self.account.instances}

    @cached_property
    def nodes(self) -> dict[tuple[str, str], list[NodeUse]]:
        """The nodes of Systems Manager, by region and name."""
        found: dict[tuple[str, str], list[NodeUse]] = {}
        for each in self.account.nodes:
            found.setdefault((each.region, each.name), []).append(each)
        return found

    @cached_property
    def parameters(self) -> dict[str, dict[str, ConfigParameter]]:
        """The stored configurations, by region and name."""
        found: dict[str, dict[str, ConfigParameter]] = {region: {} for region in self.account.regions}
        for each in self.account.parameters:
            found[each.region][each.name] = each
        return found

    @cached_property
    def needs(self) -> dict[tuple[Any, ...], list[Needed]]:
        """The needs of the servers that are known: thousands of servers can have the same configurations."""
        return {}

    @cached_property
    def calls(self) -> dict[tuple[Any, ...], tuple[dict[str, str], dict[str, str], int]]:
        """The addresses that the configurations of servers need, and how long to watch their agents."""
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
        """Return whether a principal may make a call, according to IAM, or else according to its policies."""
        found = super().decide(principal, action, resource, bounded=bounded, context=context)
        allows = self.simulated.get((principal.arn, action, resource or ANY, *context)) if bounded else None
        # IAM takes a pattern for one resource, and its policies may allow only others.
        if allows is None or (found is not Decision.YES and (resource is None or is_pattern(resource))):
            return found
        return decision_of(allows)

    def decide_call(self, principal: Principal, call: Call, *, bounded: bool = True) -> Decision:
        """Return whether a principal may make a call of an agent; unknown if that depends on its resource."""
        found = {
            self.decide(principal, call.action, each, bounded=bounded, context=call.context) for each in call.resources
        }
        return found.pop() if len(found) == 1 else Decision.UNKNOWN

    def is_hybrid(self, principal: Principal) -> bool:
        """Whether a principal is the role of servers that are registered with Systems Manager."""
        return principal.kind == ROLE and principal.name == self.hybrid_role

    def role(self, arn: str) -> Principal | None:
        """Return the role of an ARN; ``None`` where it is not one of this account."""
        return next((each for each in self.principals.values() if each.kind == ROLE and each.arn == arn), None)

    def unread(self, what: str, region: str | None = None) -> Unread | None:
        """Return the denied read of a part of the account; ``None`` if it was read."""
        return next((each for each in self.account.unread if (each.what, each.region) == (what, region)), None)


def principal_of(case: Case, target: Target) -> Principal | None:
    """Return the role or user of a server; ``None`` if it has none, or if it was not read."""
    if target.is_hybrid:
        node = node_of(case, target)
        # Another role is not checked, because the server is to get the right one.
        is_right = node is not None and node.role == case.hybrid_role
        return case.principals.get((ROLE, case.hybrid_role)) if is_right else None
    if not target.instance_id:
        return case.principals.get((USER, target.user))
    instance = case.instances.get(target.instance_id)
    role = case.roles.get(instance.profile) if instance else None
    return case.principals.get((ROLE, role)) if role else None


def node_of(case: Case, target: Target) -> NodeUse | None:
    """Return the node of a hybrid server; ``None`` if it is not registered, or if it is not known which one it is."""
    ours = [each for each in case.nodes.get((target.region, target.host), ()) if each.is_ours]
    online = [each for each in ours if each.ping == ONLINE]
    candidates = ours if len(ours) == 1 else online
    return candidates[0] if len(candidates) == 1 else None


def configs_of(case: Case, target: Target) -> tuple[list[ConfigParameter], list[str]]:
    """Return the parameters that a server uses, in the order of the agent, and the names of missing parameters."""
    stored = case.parameters[target.region]
    if not target.configs:
        return [stored[name] for name in merge_order(stored)], []
    names = [name for config in target.configs for name in parts_of(config, stored)]
    return [stored[name] for name in names], [name for name in target.configs if name not in stored]


def runs_all(target: Target, parameters: Sequence[ConfigParameter]) -> bool:
    return bool(target.configs) or len(parameters) == 1


def merge_known(configs: Iterable[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return the configuration that the agent merges from several, or ``None`` if it cannot merge them."""
    try:
        return merge(configs)
    except InvalidInput:
        return None
