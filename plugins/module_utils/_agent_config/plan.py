# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decides how an agent gets its desired configurations. Pure.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/start-CloudWatch-Agent-on-premise-SSM-onprem.html
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ansible_collections.cwagent.iam.plugins.module_utils._plan import Kind, Plan, Step

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# The actions of the agent's control program. The first one removes all other configurations.
FETCH, APPEND, REMOVE = "fetch-config", "append-config", "remove-config"
_VERBS = {FETCH: "fetch", APPEND: "append", REMOVE: "remove"}


@dataclass(frozen=True)
class AgentFiles:
    """The configurations that an agent runs.

    :param parameters: by name, the digests of the configurations from Parameter Store.
    :param others: the names of the other configurations.
    """

    parameters: Mapping[str, str] = field(default_factory=dict)
    others: tuple[str, ...] = ()


@dataclass(frozen=True)
class Command:
    """A call of the agent's control program. :param restart: whether it restarts the agent then."""

    action: str
    name: str
    restart: bool = False


def commands(current: AgentFiles, desired: Mapping[str, str]) -> list[Command]:
    """Return the calls that give an agent the desired configurations; none if it has them.

    Configurations that others have added stay.

    :param desired: by name, the digests of the configurations, in the order in which they are appended.
    """
    differing = [name for name, digest in desired.items() if current.parameters.get(name) != digest]
    surplus = surplus_parts(current.parameters, desired)
    if not differing and not surplus:
        return []
    first, *others = desired
    calls = [(FETCH, first), *((APPEND, name) for name in others)]
    if current.others or current.parameters.keys() - desired.keys() - set(surplus):
        calls = [*((REMOVE, name) for name in surplus), *((APPEND, name) for name in differing)]
    return [Command(action, name, restart=(action, name) == calls[-1]) for action, name in calls]


def surplus_parts(names: Iterable[str], desired: Iterable[str]) -> list[str]:
    """Return the parts that are left of a configuration that has fewer parts now."""
    wanted = set(desired)

    def is_part(name: str) -> bool:
        whole, _hyphen, number = name.rpartition("-")
        return name not in wanted and whole in wanted and number.isdigit()

    return sorted(filter(is_part, names))


def plan(current: AgentFiles, desired: Mapping[str, str]) -> Plan[AgentFiles]:
    """Plan the calls of the agent's control program."""
    found = commands(current, desired)
    surplus = surplus_parts(current.parameters, desired)
    kept = {} if any(each.action == FETCH for each in found) else current.parameters
    planned = {**{name: each for name, each in kept.items() if name not in surplus}, **desired}
    steps = [
        Step(
            Kind.DELETE if each.action == REMOVE else Kind.UPDATE,
            each.action,
            {"name": each.name, "restart": each.restart},
            f"{_VERBS[each.action]} configuration {each.name}" + (" and restart the agent" if each.restart else ""),
        )
        for each in found
    ]
    return Plan(current, AgentFiles(planned, current.others), {"agent": steps})
