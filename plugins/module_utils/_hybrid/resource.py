# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deregisters the nodes of servers that leave, and deletes activations that cannot register a server any more."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._converge import Resource
from ansible_collections.cwagent.iam.plugins.module_utils._errors import DENIED_CODES, AwsApiError, CwagentError
from ansible_collections.cwagent.iam.plugins.module_utils._hybrid import nodes
from ansible_collections.cwagent.iam.plugins.module_utils._hybrid.api import SystemsManager, trusted_regions
from ansible_collections.cwagent.iam.plugins.module_utils._hybrid.nodes import Leaving, State
from ansible_collections.cwagent.iam.plugins.module_utils._names import name_of
from ansible_collections.cwagent.iam.plugins.module_utils._progress import tell
from ansible_collections.cwagent.iam.plugins.module_utils._wait import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws
    from ansible_collections.cwagent.iam.plugins.module_utils._plan import Plan


# How long AWS may show a node whose host has just deregistered itself.
LOOKUP_SECONDS = 60.0


class NodesResource(Resource[State]):
    """The nodes of servers that leave a region.

    :param planned: the IDs of nodes that hosts would deregister themselves. Check mode still shows them.
    :param role: the role whose other nodes are listed. It is empty for none.
    :param with_activations: whether to delete activations, too.
    :param lookup: for how many seconds to look for nodes that should be gone.
    """

    def __init__(
        self,
        aws: Aws,
        leaving: Leaving,
        planned: Collection[str] = (),
        *,
        role: str = "",
        with_activations: bool = True,
        lookup: float = 0,
    ) -> None:
        super().__init__(aws)
        self._service = SystemsManager(aws, nullcontext)
        self._leaving = leaving
        self._planned = planned
        self._role = role
        self._with_activations = with_activations
        self._lookup = lookup

    def read(self) -> State:
        """Read the nodes, again and again while AWS shows some that should be gone."""
        deadline = Deadline(self._lookup)
        while True:
            state = self._read_permitted()
            left = nodes.find_left(state, self._leaving)
            if not left:
                return state
            tell(f"wait until Systems Manager no longer shows node {left[0].id}")
            if not deadline.pause():
                return state

    def read_again(self) -> State:
        """Read the nodes once."""
        return self._read_permitted()

    def _read_permitted(self) -> State:
        """Read the nodes, if that is permitted or if they are to be deregistered."""
        try:
            return self._read_once()
        except AwsApiError as error:
            if self._leaving.deregisters or error.code not in DENIED_CODES:
                raise
            return State(unread=str(error))

    def _read_once(self) -> State:
        """Read the nodes in pages. Tags are read only if there is a node with one of the names."""
        names = self._leaving.names
        shown = self._service.hybrid_nodes() if names or self._role else []
        shown = [each for each in shown if each.id not in self._planned]
        found = nodes.select(self._service.with_hosts(shown, names), self._leaving)
        leaving = {each.id for each in found if each.is_ours}
        return State(
            tuple(each for each in found if each.is_ours),
            tuple(each for each in found if not each.is_ours),
            tuple(self._service.activations()) if self._with_activations else (),
            tuple(each for each in shown if self._role and name_of(each.role) == self._role and each.id not in leaving),
        )

    def check_preconditions(self, current: State) -> None:
        """Check that no other server can use one of the nodes. :raises InvalidInput: one may be used."""
        nodes.check_certain(current, self._leaving)

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


def find_users_elsewhere(role: str, known: Collection[str | None], aws_in: Callable[[str], Aws]) -> list[str]:
    """Return the nodes with a role in the other regions of its trust policy, or why they are not known.

    :param known: the regions whose nodes are known.
    :param aws_in: returns the gateway to a region. An empty name stands for the region of the module.
    """
    try:
        others = [aws_in(region) for region in trusted_regions(aws_in(""), role) if region not in known]
        shown = [each for aws in others for each in SystemsManager(aws, nullcontext).hybrid_nodes()]
    except CwagentError as error:
        return [f"servers that are not known ({str(error).rstrip('.')})"]
    return [each.id for each in shown if name_of(each.role) == role]
