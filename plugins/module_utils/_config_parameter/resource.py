# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads a configuration from Parameter Store and takes the step of the plan."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter import plan as config_plan
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.plan import DesiredParameter, Parameter
from ansible_collections.cwagent.iam.plugins.module_utils._converge import Resource
from ansible_collections.cwagent.iam.plugins.module_utils._errors import PERMISSION_RETRY_CODES, AwsApiError

if TYPE_CHECKING:
    from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws
    from ansible_collections.cwagent.iam.plugins.module_utils._plan import Plan, Step

State = Optional[Parameter]


class ParameterResource(Resource[State]):
    """A parameter that holds an agent configuration.

    :param desired: ``None`` where it is not to be there.
    :param region: where it is, for the result.
    :param is_known: whether it is known what is stored, so that it is not read.
    :param stored: what is known to be stored.
    """

    def __init__(
        self,
        aws: Aws,
        name: str,
        desired: DesiredParameter | None,
        region: str | None,
        *,
        is_known: bool = False,
        stored: State = None,
    ) -> None:
        super().__init__(aws)
        self._is_known = is_known
        self._stored = stored
        self._name = name
        self._desired = desired
        self._region = region

    def read(self) -> State:
        """The parameter as it is stored."""
        if self._is_known:
            return self._stored
        description = f"read parameter '{self._name}'"
        answer = self._aws.retry(
            lambda: self._aws.find("ssm:GetParameter", description, absent="ParameterNotFound", Name=self._name),
            PERMISSION_RETRY_CODES,
        )
        if answer is None:
            return None
        parameter = answer["Parameter"]
        return Parameter(parameter["Value"], parameter["Type"], parameter["Version"])

    def plan(self, current: State) -> Plan:
        """The step that stores or deletes it."""
        return (
            config_plan.plan(current, self._desired) if self._desired else config_plan.plan_absent(current, self._name)
        )

    def after(self, current: State) -> State:
        """The parameter that the plan leads to."""
        if self._desired is None or config_plan.is_stored(current, self._desired):
            return current if self._desired else None
        return Parameter(self._desired.value, version=current.version + 1 if current and current.version else 1)

    def render(self, state: State) -> dict[str, Any]:
        """The parameter for the diff."""
        return config_plan.render(self._name, state)

    def report(self, current: State, planned: State) -> dict[str, Any]:
        """The parameter for the result, and what was stored before."""
        stored = asdict(current) if current else {}
        return {"parameter": config_plan.report(self._name, planned), "region": self._region, "stored": stored}

    def execute(self, step: Step) -> None:
        """Make the step's call."""
        try:
            self._aws.execute(step)
        except AwsApiError as error:
            # Only AWS knows that a small configuration is stored in the Advanced tier, and it takes no step back:
            # https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-advanced-parameters.html
            chosen_by_user = self._desired is None or self._desired.tier
            if chosen_by_user or error.code != "ValidationException" or "advanced" not in str(error):
                raise
            self._aws.execute(replace(step, arguments={**step.arguments, "tier": "Advanced"}))
