# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A configuration to store, from the result of the comparison with Parameter Store. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils import _names
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter import plan as config_plan
from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._names import is_yaml_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.options import Handling
    from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.plan import DesiredConfig, State
    from ansible_collections.cwagent.iam.plugins.module_utils._plan import Plan

NOT_COMPARED = (
    "compared must be the result of a task with the state compared. Register that task, and use its result as it is."
)


@dataclass(frozen=True)
class Configuration:
    """A configuration that was compared with the stored parameters.

    :param desired: its parameters with their tags.
    :param text: the configuration in the form that is stored.
    :param previous: the values stored when it was compared, as a module on a host gets them.
    """

    desired: DesiredConfig
    known: State
    region: str
    text: str
    previous: Mapping[str, Any]

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

    def to_diff(self, plan: Plan[State]) -> dict[str, Any]:
        """Render the changes of a plan, for the diff."""
        sides = {"before": config_plan.to_diff(plan.current), "after": config_plan.to_diff(plan.planned)}
        return config_plan.render_change(plan.current, plan.planned) or sides

    def to_comparison(self) -> dict[str, Any]:
        """Render the configuration for the option ``compared``."""
        values = [each.value for each in self.desired.parameters if self.desired.parameters[1:]]
        given = {"name": self.name, "region": self.region, "config": self.text, "previous": self.previous}
        return {**given, "parts": values} if values else given

    def to_result(self) -> dict[str, Any]:
        """Render it for the result, with the parameters that servers fetch, in their order."""
        return {"name": self.name, "region": self.region, "parameters": [{"name": each} for each in self.desired.names]}


def compared(given: Mapping[str, Any], handling: Handling, tags: Mapping[str, str]) -> Configuration:
    """Return a configuration in the result of the state ``compared``. :raises InvalidInput: it is not such a result."""
    try:
        name, text, region = given["name"], given["config"], given["region"]
        config = text if is_yaml_name(name) else json.loads(text)
        known = config_plan.known_state(given["previous"], name)
        parts = [json.loads(each) for each in given.get("parts", ())]
        values = [found.value for found in known.values() if found]
        is_right = isinstance(config, str if is_yaml_name(name) else dict)
        is_right = is_right and all(isinstance(each, dict) for each in parts)
        if not is_right or not all(isinstance(each, str) for each in [name, region, *values]):
            raise TypeError
    except (AttributeError, InvalidInput, KeyError, TypeError, ValueError):
        raise InvalidInput(NOT_COMPARED) from None
    config_plan.check_parameter_name(name)
    _names.check_region(region)
    desired = config_plan.desired_config(
        name,
        config,
        handling.tier,
        can_be_split=handling.split,
        allow_recent=handling.split_recent,
        tags=tags,
        parts=parts,
    )
    return Configuration(desired, known, region, text, given["previous"])
