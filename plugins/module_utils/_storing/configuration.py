# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A configuration with its state in Parameter Store, and the result of a comparison. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from .._configuration import parameter_plan

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .._configuration.parameter_plan import DesiredConfig, State
    from .._ground.plan import Plan


@dataclass(frozen=True)
class Configuration:
    """A configuration that is compared with the stored parameters.

    :param desired: its parameters with their tags.
    :param known: the stored parameters.
    """

    desired: DesiredConfig
    known: State
    region: str

    @property
    def name(self) -> str:
        """The name of the first parameter, which servers read."""
        return self.desired.name

    @property
    def untagged(self) -> DesiredConfig:
        """Its parameters without tags."""
        parameters = tuple(replace(each, tags={}) for each in self.desired.parameters)
        return replace(self.desired, parameters=parameters)

    @property
    def plan(self) -> Plan[State]:
        """The steps that store it and its tags."""
        return parameter_plan.plan(self.known, self.desired)

    @property
    def plan_without_tags(self) -> Plan[State]:
        """The steps of a source that may not tag."""
        return parameter_plan.plan(self.known, self.untagged)

    @property
    def surplus(self) -> list[str]:
        """The parameters that an earlier, larger configuration has left."""
        return parameter_plan.surplus(self.known, self.desired)

    @property
    def warnings(self) -> list[str]:
        """Warnings of such parameters."""
        return parameter_plan.warnings(self.known, self.desired)

    def to_diff(self, plan: Plan[State]) -> dict[str, Any]:
        """Render the changes of a plan, for the diff."""
        sides = {"before": parameter_plan.to_diff(plan.current), "after": parameter_plan.to_diff(plan.planned)}
        return parameter_plan.render_change(plan.current, plan.planned) or sides

    def to_comparison(self) -> dict[str, Any]:
        """Render the outcome for the option ``compared``. Contents are not in it, because Ansible prints results."""
        return {
            "name": self.name,
            "region": self.region,
            "digest": self.desired.digest,
            "exists": any(self.known.values()),
            "differs": self.plan.has_changes or bool(self.surplus),
        }

    def to_result(self) -> dict[str, Any]:
        """Render it for the result, with the parameters that servers fetch, in their order."""
        return {"name": self.name, "region": self.region, "parameters": [{"name": each} for each in self.desired.names]}


@dataclass(frozen=True)
class Comparison:
    """Configurations, and the way in which the configurations that differ are stored.

    :param source: the name of the way, which is never ``auto`` after the checks.
    :param earlier: the profile and the role of the instance, according to its metadata service.
    """

    configurations: Sequence[Configuration]
    source: str
    earlier: Mapping[str, Any] = field(default_factory=dict)

    @property
    def to_store(self) -> list[Configuration]:
        """The configurations that a host has to store. Where only a tag differs, the controller sets it."""
        return [each for each in self.configurations if each.plan_without_tags.has_changes]

    def to_result(self) -> dict[str, Any]:
        """Render it for a task with the state ``stored``."""
        return {
            "compared": [each.to_comparison() for each in self.configurations],
            "source": self.source,
            "earlier_identity": self.earlier,
        }
