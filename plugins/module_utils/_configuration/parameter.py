# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parameters of a configuration: reads them from Parameter Store, and stores, tags and deletes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import count, takewhile
from typing import TYPE_CHECKING, Any

from .._ground.converge import Resource
from .._ground.errors import PERMISSION_RETRY_CODES, AwsApiError
from .._ground.gateway import unreadable
from .._ground.plan import Plan, run_in_parallel
from . import parameter_plan
from .parameter_plan import ENCRYPTED_TYPE, Parameter, State
from .parts import part_name

if TYPE_CHECKING:
    from .._ground.gateway import Gateway
    from .._ground.plan import Step
    from .parameter_plan import DesiredConfig


# The code that the API documents for a parameter that does not exist, and the code that it returns elsewhere.
NO_PARAMETER_CODES = frozenset({"InvalidResourceId", "ParameterNotFound"})
# How long to wait at least until Parameter Store shows what was written.
READ_BACK_SECONDS = 15


class ParameterResource(Resource[State]):
    """The parameters that have an agent configuration.

    :param region: the region of the parameters, for the result.
    :param known: the state to use instead of reading it first.
    """

    def __init__(self, aws: Gateway, desired: DesiredConfig, region: str | None, known: State | None = None) -> None:
        super().__init__(aws)
        self._desired = desired
        self._region = region
        self._known = known

    def read(self) -> State:
        """Read the parameters. If there can be more of them, read the next ones until one does not exist."""
        if self._known is not None:
            return self._known
        state = self.read_again()
        if not self._desired.can_be_split or state[self._desired.name] is None:
            return state
        found = dict(state)
        names = (part_name(self._desired.name, number) for number in count(len(state) + 1))
        read = ((name, self._read_parameter(name)) for name in names)
        found.update(takewhile(lambda each: each[1] is not None, read))
        return found

    def read_again(self) -> State:
        """Read the parameters that hold the configuration."""
        names = self._desired.names or [self._desired.name]
        return dict(zip(names, run_in_parallel(self._read_parameter, names)))

    def _read_parameter(self, name: str) -> Parameter | None:
        action, description = "ssm:GetParameter", f"read parameter '{name}'"
        answer = self._aws.retry(
            lambda: self._aws.find(action, description, absent="ParameterNotFound", Name=name),
            PERMISSION_RETRY_CODES,
        )
        if answer is None:
            return None
        try:
            found = answer["Parameter"]
            kind, version = str(found["Type"]), int(found["Version"])
            value = "" if kind == ENCRYPTED_TYPE else str(found["Value"])
        except (KeyError, TypeError, ValueError):  # on a host, nothing has checked the answer
            raise unreadable(description, action) from None
        return Parameter(value, kind, version, read_tags(self._aws, name) if self._desired.has_tags else None)

    def plan(self, current: State) -> Plan[State]:
        """Plan the steps that store or delete the parameters."""
        return parameter_plan.plan(current, self._desired)

    def remaining(self, plan: Plan[State], state: State) -> list[str]:
        """List the changes that Parameter Store does not show yet.

        :raises CwagentError: something else has overwritten a parameter.
        """
        parameter_plan.check_stored(plan, state)
        return super().remaining(plan, state)

    def warnings(self, plan: Plan[State]) -> list[str]:
        """Warn of the parameters that an earlier, larger configuration has left."""
        return parameter_plan.warnings(plan.current, self._desired)

    def to_diff(self, state: State) -> dict[str, Any]:
        """Render the parameters for the diff."""
        return parameter_plan.to_diff(state)

    def render_change(self, before: State, after: State) -> dict[str, Any]:
        """Render a change of the configuration by JSON path."""
        return parameter_plan.render_change(before, after) or super().render_change(before, after)

    def to_result(self, plan: Plan[State], final: State) -> dict[str, Any]:
        """Render the parameters and their region."""
        desired = self._desired
        written = [step.arguments["name"] for step in plan.all_steps if "name" in step.arguments]
        return {
            "parameters": [
                each for name in desired.names if (each := parameter_plan.to_result(name, final.get(name))) is not None
            ],
            "surplus": parameter_plan.surplus(plan.current, desired),
            "region": self._region,
            "window_parameters": [{"name": name, "region": self._region} for name in written],
        }

    def execute(self, step: Step) -> None:
        """Execute a step. If the parameter turns out to be in the Advanced tier, write it there.

        A value that fits into the Standard tier can be in the Advanced tier, and no call that the admin policy allows
        shows the tier. AWS does not move such a parameter back, and reports that when it is written.
        https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-advanced-parameters.html
        """
        try:
            self._aws.execute(step)
        except AwsApiError as error:
            can_choose = "tier" in step.arguments and not any(each.tier for each in self._desired.parameters)
            text = str(error).replace(str(step.arguments["name"]), "")
            if not (can_choose and error.code == "ValidationException" and "advanced" in text):
                raise
            self._aws.execute(replace(step, arguments={**step.arguments, "tier": "Advanced"}))


class TagsResource(Resource[Mapping[str, str]]):
    """The tags of a parameter, and nothing else of it, no matter who has stored it.

    :param region: the region of the parameter, for the result.
    """

    def __init__(self, aws: Gateway, name: str, tags: Mapping[str, str], region: str | None) -> None:
        super().__init__(aws)
        self._name = name
        self._tags = tags
        self._region = region

    def read(self) -> Mapping[str, str]:
        """Read the tags; none if the parameter does not exist, as in check mode."""
        try:
            return read_tags(self._aws, self._name)
        except AwsApiError as error:
            if error.code not in NO_PARAMETER_CODES:
                raise
            return {}

    def plan(self, current: Mapping[str, str]) -> Plan[Mapping[str, str]]:
        """Plan the step that sets the tags."""
        steps = parameter_plan.tag_steps(self._name, current, self._tags)
        return Plan(current, {**current, **self._tags}, {self._name: steps})

    def to_diff(self, state: Mapping[str, str]) -> dict[str, Any]:
        """Render the tags for the diff."""
        return {self._name: {"tags": dict(state)}}

    def render_change(self, before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, Any]:
        """Render the change of each tag."""
        lines = parameter_plan.tag_lines(self._name, before, after)
        return {"prepared": "".join(f"{line}\n" for line in lines)} if lines else {}

    def to_result(self, plan: Plan[Mapping[str, str]], final: Mapping[str, str]) -> dict[str, Any]:
        """Render the parameter with its tags."""
        del plan
        return {"parameters": [{"name": self._name, "tags": dict(final)}], "region": self._region}


def read_tags(aws: Gateway, name: str) -> dict[str, str]:
    """Read the tags of a parameter. :raises AwsApiError: it does not exist, or the caller may not."""
    answer = aws.call(
        "ssm:ListTagsForResource", f"read the tags of parameter '{name}'", ResourceType="Parameter", ResourceId=name
    )
    return {tag["Key"]: tag["Value"] for tag in answer["TagList"]}
