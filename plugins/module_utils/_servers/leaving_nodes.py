# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The nodes of servers that leave, which are deregistered without a connection to the servers. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from .._ground.errors import InvalidInput
from .._ground.names import NOT_CREATED
from .._ground.plan import Plan
from .commands import ONLINE
from .hybrid_plan import delete_spent, deregister, deregistration_command

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .._ground.plan import Step
    from .node import Activation, Node


@dataclass(frozen=True)
class Leaving:
    """The servers that leave a region.

    :param names: the names of their hosts, or the IDs of their nodes.
    :param reached: the hosts that Ansible has reached. They deregister themselves, so they have no node any more.
    :param kept: the IDs of nodes that stay, whatever name they have.
    :param deregisters: whether to deregister nodes, instead of only checking that there are none.
    """

    names: frozenset[str] = frozenset()
    reached: frozenset[str] = frozenset()
    kept: frozenset[str] = frozenset()
    deregisters: bool = True


@dataclass(frozen=True)
class State:
    """The nodes of the servers that leave, and the activations of this collection.

    :param nodes: the nodes that activations of this collection registered.
    :param others: the other nodes, which stay.
    :param activations: empty if the user keeps them.
    :param users: all other nodes of the region, of any name, that have the role.
    :param unread: why the nodes are not known. Empty if they are known.
    """

    nodes: tuple[Node, ...] = ()
    others: tuple[Node, ...] = ()
    activations: tuple[Activation, ...] = ()
    users: tuple[Node, ...] = ()
    unread: str = ""


def select(nodes: Iterable[Node], leaving: Leaving) -> list[Node]:
    """Return the nodes of the servers that leave, in order. The name of a node counts only if it has no host."""
    found = (each for each in nodes if each.id not in leaving.kept and {each.id, owner(each)} & leaving.names)
    return sorted(found, key=lambda each: (owner(each), each.id))


def owner(node: Node) -> str:
    """Return the name of the host whose node it is."""
    return node.host or node.name


def find_left(current: State, leaving: Leaving) -> list[Node]:
    """Return the nodes that should be gone already, because their hosts deregister themselves."""
    return [
        each
        for each in current.nodes
        if not leaving.deregisters or (owner(each) in leaving.reached and each.id not in leaving.names)
    ]


def check_certain(current: State, leaving: Leaving) -> None:
    """Check that no other server can use one of the nodes. An ID is certain, and a name can be used again.

    :raises InvalidInput: several nodes have a name, a node is online, or its host was to deregister itself.
    """
    named = [each for each in current.nodes if each.id not in leaving.names]
    count = Counter(owner(each) for each in named)
    left = find_left(current, leaving)
    doubtful = left + [each for each in named if each not in left and (each.ping == ONLINE or count[owner(each)] > 1)]
    if doubtful:
        listed = ", ".join(f"{each.id} ({owner(each)}, {each.ping or 'unknown'})" for each in doubtful)
        reason = (
            "Their servers were to deregister themselves. They have hidden them, or other servers have the same names"
            if left
            else "It is not certain that they belong to servers that leave, because they are online or share a name"
        )
        raise InvalidInput(
            f"These nodes are still registered: {listed}. {reason}. To deregister one, give its ID to "
            "cwagent.iam.remove_servers, or run aws ssm deregister-managed-instance --instance-id ID. To keep one, for "
            "example a node of another inventory, add its ID to keep_nodes (cwagent_keep_nodes in the playbooks). Then "
            "run again."
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
    return f"node {node.id} of {owner(node)}" if owner(node) else f"node {node.id}"


def unseen_steps(plan: Plan[State], state: State) -> list[str]:
    """Return the steps of a plan that a state does not show. Activations that expired since then are left out."""
    shown = {*(each.id for each in state.nodes), *(each.id for each in state.activations)}
    return [step.summary for item, steps in plan.steps.items() if item in shown for step in steps]


def warnings(state: State, region: str) -> list[str]:
    """Warn of the nodes that stay, or are not known."""
    unread = (
        f"It is not known whether a server with an access key is still registered with Systems Manager in {region}: "
        f"{state.unread} Allow it as provision-hybrid.json does. If no server was ever registered, ignore this."
    )
    return ([unread] if state.unread else []) + [
        f"{_describe(each)} stays registered, because it {NOT_CREATED}. If nothing needs it, deregister it: "
        f"{deregistration_command(each.id, region)}"
        for each in state.others
    ]


def to_diff(state: State) -> dict[str, Any]:
    """Render the nodes of this collection and its activations for the diff."""
    return {
        "nodes": {each.id: owner(each) for each in state.nodes},
        "activations": sorted(each.id for each in state.activations),
    }


def to_result(state: State, region: str) -> dict[str, Any]:
    """Render the nodes that are deregistered, and those that still use the role, for the result of the module."""
    return {
        "nodes": [{"id": each.id, "name": owner(each), "region": region} for each in state.nodes],
        "in_use": [each.id for each in state.users],
    }
