# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The nodes of servers that leave, which are deregistered without a connection to the servers. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._hybrid.plan import delete_spent, deregister
from ansible_collections.cwagent.iam.plugins.module_utils._names import NOT_CREATED
from ansible_collections.cwagent.iam.plugins.module_utils._plan import Plan
from ansible_collections.cwagent.iam.plugins.module_utils._run_command.model import ONLINE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from ansible_collections.cwagent.iam.plugins.module_utils._hybrid.model import Activation, Node
    from ansible_collections.cwagent.iam.plugins.module_utils._plan import Step


@dataclass(frozen=True)
class State:
    """The nodes with the names that the user gave, and the activations of this collection.

    :param nodes: the nodes that activations of this collection registered.
    :param others: the other nodes, which stay.
    :param activations: empty if the user keeps them.
    :param users: all other nodes of the region, of any name, that have the role.
    """

    nodes: tuple[Node, ...] = ()
    others: tuple[Node, ...] = ()
    activations: tuple[Activation, ...] = ()
    users: tuple[Node, ...] = ()


def select(nodes: Iterable[Node], names: Collection[str]) -> list[Node]:
    """Return the nodes that have one of these names or IDs, in order."""
    found = (each for each in nodes if each.name in names or each.id in names)
    return sorted(found, key=lambda each: (each.name, each.id))


def check_certain(current: State, names: Collection[str]) -> None:
    """Check that no other server can use one of the nodes. An ID is certain, and a name can be used again.

    :raises InvalidInput: several nodes have a name, or a node is online.
    """
    named = [each for each in current.nodes if each.id not in names]
    doubtful = [each for each in named if each.ping == ONLINE or sum(other.name == each.name for other in named) > 1]
    if doubtful:
        listed = ", ".join(f"{each.id} ({each.name}, {each.ping or 'unknown'})" for each in doubtful)
        raise InvalidInput(
            f"It is not certain that these nodes belong to servers that leave, because they are online or share a "
            f"name: {listed}. To deregister one of them, give its ID instead of the name, or run aws ssm "
            "deregister-managed-instance --instance-id ID, and then run again."
        )


def plan(current: State) -> Plan[State]:
    """Plan the steps of every node and activation."""
    steps = {each.id: [_deregister(each)] for each in current.nodes}
    steps.update((each.id, [delete_spent(each)]) for each in current.activations if each.is_spent)
    left = tuple(each for each in current.activations if not each.is_spent)
    return Plan(current, replace(current, nodes=(), activations=left), steps)


def _deregister(node: Node) -> Step:
    return replace(deregister(node), summary=f"deregister {_describe(node)}")


def _describe(node: Node) -> str:
    return f"node {node.id} of {node.name}" if node.name else f"node {node.id}"


def unseen_steps(plan: Plan[State], state: State) -> list[str]:
    """Return the steps of a plan that a state does not show. Activations that expired since then are left out."""
    shown = {*(each.id for each in state.nodes), *(each.id for each in state.activations)}
    return [step.summary for item, steps in plan.steps.items() if item in shown for step in steps]


def warnings(state: State, region: str) -> list[str]:
    """Warn of the nodes that stay."""
    return [
        f"{_describe(each)} stays registered, because it {NOT_CREATED}. If nothing needs it, deregister it: aws ssm "
        f"deregister-managed-instance --instance-id {each.id} --region {region}"
        for each in state.others
    ]


def to_diff(state: State) -> dict[str, Any]:
    """Render the nodes of this collection and its activations for the diff."""
    return {
        "nodes": {each.id: each.name for each in state.nodes},
        "activations": sorted(each.id for each in state.activations),
    }


def to_result(state: State, region: str) -> dict[str, Any]:
    """Render the nodes that are deregistered, and those that still use the role, for the result of the module."""
    return {
        "nodes": [{"id": each.id, "name": each.name, "region": region} for each in state.nodes],
        "in_use": [each.id for each in state.users],
    }
