# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deregisters the nodes of servers that leave, and deletes activations that cannot register a server any more."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._converge import Resource
from ansible_collections.cwagent.iam.plugins.module_utils._hybrid import nodes
from ansible_collections.cwagent.iam.plugins.module_utils._hybrid.api import SystemsManager
from ansible_collections.cwagent.iam.plugins.module_utils._hybrid.nodes import State

if TYPE_CHECKING:
    from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws
    from ansible_collections.cwagent.iam.plugins.module_utils._plan import Plan


class NodesResource(Resource[State]):
    """The nodes of servers that leave a region.

    :param names: the names or IDs of the nodes.
    :param with_activations: whether to delete activations, too.
    """

    def __init__(self, aws: Aws, names: frozenset[str], *, with_activations: bool) -> None:
        super().__init__(aws)
        self._service = SystemsManager(aws, nullcontext)
        self._names = names
        self._with_activations = with_activations

    def read(self) -> State:
        """Read the nodes in pages. Tags are read only if there is a node with one of the names."""
        found = nodes.select(self._service.hybrid_nodes(), self._names) if self._names else []
        created = self._service.created_nodes() if found else frozenset()
        return State(
            tuple(each for each in found if each.id in created),
            tuple(each for each in found if each.id not in created),
            tuple(self._service.activations()) if self._with_activations else (),
        )

    def plan(self, current: State) -> Plan[State]:
        """Plan the steps of every node and activation."""
        return nodes.plan(current)

    def remaining(self, plan: Plan[State], state: State) -> list[str]:
        """List the nodes and activations of the plan that AWS still shows."""
        return nodes.unseen_steps(plan, state)

    def warnings(self, plan: Plan[State]) -> list[str]:
        """Warn of the nodes that stay."""
        return nodes.warnings(plan.current, self._service.region)

    def to_diff(self, state: State) -> dict[str, Any]:
        """Render the nodes and activations."""
        return nodes.to_diff(state)

    def to_result(self, plan: Plan[State], final: State) -> dict[str, Any]:
        """Render the nodes that are deregistered."""
        del final
        return nodes.to_result(plan.current, self._service.region)
