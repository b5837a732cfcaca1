# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A configuration with its state in Parameter Store, and the result of a comparison for later tasks. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from .._configuration import plan as config_plan
from .._ground.errors import InvalidInput
from .ways import AUTO, WAYS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from .._configuration.plan import DesiredConfig, State
    from .._ground.plan import Plan


NOT_COMPARED = (
    "compared must be the result of a task with the state compared and the same configurations. Register that task, "
    "and use its result as it is."
)
_ENTRY = {"name": str, "region": str, "digest": str, "exists": bool, "differs": bool}


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
        return config_plan.plan(self.known, self.desired)

    @property
    def plan_without_tags(self) -> Plan[State]:
        """The steps of a source that may not tag."""
        return config_plan.plan(self.known, self.untagged)

    @property
    def surplus(self) -> list[str]:
        """The parameters that an earlier, larger configuration has left."""
        return config_plan.surplus(self.known, self.desired)

    @property
    def warnings(self) -> list[str]:
        """Warnings of such parameters."""
        return config_plan.warnings(self.known, self.desired)

    def to_diff(self, plan: Plan[State]) -> dict[str, Any]:
        """Render the changes of a plan, for the diff."""
        sides = {"before": config_plan.to_diff(plan.current), "after": config_plan.to_diff(plan.planned)}
        return config_plan.render_change(plan.current, plan.planned) or sides

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


@dataclass(frozen=True)
class Compared:
    """The configurations that an earlier task has validated and compared, by name and digest.

    :param entries: as ``Configuration.to_comparison`` renders them.
    :param source: the way to store, which is never ``auto``.
    :param earlier: the profile and the role that the instance had.
    """

    entries: Sequence[Mapping[str, Any]]
    source: str
    earlier: Mapping[str, Any]

    @classmethod
    def of(cls, result: Mapping[str, Any] | None) -> Compared | None:
        """Return the object for the registered result of that task; ``None`` if it was skipped.

        :raises InvalidInput: it is not such a result.
        """
        if result is None or result.get("skipped"):
            return None
        try:
            found = cls(result["compared"], result["source"], result["earlier_identity"])
            forms = {tuple(type(each[key]) for key in _ENTRY) for each in found.entries}
        except (KeyError, TypeError):
            raise InvalidInput(NOT_COMPARED) from None
        if not forms <= {tuple(_ENTRY.values())} or found.source not in WAYS or found.source == AUTO:
            raise InvalidInput(NOT_COMPARED)
        return found

    def digests_of(self, name: str, regions: Collection[str]) -> set[str]:
        """Return the digests of the contents of a configuration that were valid.

        :param regions: the empty text stands for the region of the task.
        :raises InvalidInput: there are none.
        """
        found = {
            each["digest"]
            for each in self.entries
            if each["name"] == name and ("" in regions or each["region"] in regions)
        }
        if not found:
            raise InvalidInput(NOT_COMPARED)
        return found

    @property
    def differing(self) -> dict[tuple[str, str], bool]:
        """By name and region of each configuration for which there is something to do, whether it was stored before."""
        return {(each["name"], each["region"]): each["exists"] for each in self.entries if each["differs"]}
