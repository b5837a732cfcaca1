# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads an agent configuration from Parameter Store and executes the step of its plan."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter import plan as config_plan
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.plan import Parameter, State
from ansible_collections.cwagent.iam.plugins.module_utils._converge import Resource
from ansible_collections.cwagent.iam.plugins.module_utils._errors import PERMISSION_RETRY_CODES, AwsApiError

if TYPE_CHECKING:
    from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws
    from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.plan import DesiredParameter
    from ansible_collections.cwagent.iam.plugins.module_utils._plan import Plan, Step


@dataclass(frozen=True)
class KnownState:
    """A state that an earlier task has read, so that it need not be read again."""

    parameter: State


class ParameterResource(Resource[State]):
    """A parameter that has an agent configuration.

    :param desired: ``None`` where the parameter is to be absent.
    :param region: the region of the parameter, for the result.
    :param known: the state to use instead of reading it.
    """

    def __init__(
        self,
        aws: Aws,
        name: str,
        desired: DesiredParameter | None,
        region: str | None,
        known: KnownState | None = None,
    ) -> None:
        super().__init__(aws)
        self._name = name
        self._desired = desired
        self._region = region
        self._known = known

    def read(self) -> State:
        """Read the parameter; ``None`` where there is none."""
        if self._known:
            return self._known.parameter
        description = f"read parameter '{self._name}'"
        answer = self._aws.retry(
            lambda: self._aws.find("ssm:GetParameter", description, absent="ParameterNotFound", Name=self._name),
            PERMISSION_RETRY_CODES,
        )
        if answer is None:
            return None
        parameter = answer["Parameter"]
        return Parameter(parameter["Value"], parameter["Type"], parameter["Version"])

    def plan(self, current: State) -> Plan[State]:
        """Plan the step that stores or deletes the parameter."""
        if self._desired is None:
            return config_plan.plan_absent(current, self._name)
        return config_plan.plan(current, self._desired)

    def to_diff(self, state: State) -> dict[str, Any]:
        """Render the parameter for the diff."""
        return config_plan.to_diff(self._name, state)

    def render_change(self, before: State, after: State) -> dict[str, Any]:
        """Render a change of the configuration by JSON path."""
        return config_plan.render_change(self._name, before, after) or super().render_change(before, after)

    def to_result(self, plan: Plan[State], final: State) -> dict[str, Any]:
        """Render the parameter, its region and what was stored before."""
        return {
            "parameter": config_plan.to_result(self._name, final),
            "region": self._region,
            "window_parameter": {"name": self._name, "region": self._region},
            "previous": asdict(plan.current) if plan.current else {},
        }

    def execute(self, step: Step) -> None:
        """Execute the step; in the Advanced tier, where the parameter turns out to be in it.

        A value that fits into the Standard tier can be in the Advanced one, which no call that the admin policy allows
        shows. AWS does not move such a parameter back, and says so when it is written.
        https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-advanced-parameters.html
        """
        try:
            self._aws.execute(step)
        except AwsApiError as error:
            is_chosen_by_user = self._desired is None or self._desired.tier
            is_downgrade = error.code == "ValidationException" and "advanced" in str(error).replace(self._name, "")
            if is_chosen_by_user or not is_downgrade:
                raise
            self._aws.execute(replace(step, arguments={**step.arguments, "tier": "Advanced"}))
