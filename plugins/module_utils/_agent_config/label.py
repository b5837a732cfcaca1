# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The label of the versions of configurations that were proved.

https://docs.aws.amazon.com/systems-manager/latest/userguide/sysman-paramstore-labels.html
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws
from ansible_collections.cwagent.iam.plugins.module_utils._converge import Resource
from ansible_collections.cwagent.iam.plugins.module_utils._errors import CwagentError
from ansible_collections.cwagent.iam.plugins.module_utils._names import check_label
from ansible_collections.cwagent.iam.plugins.module_utils._plan import Kind, Plan, Step

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# The parameters of one call.
# https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameters.html
MAX_NAMES = 10


class LabelResource(Resource["Mapping[tuple[str, str], int]"]):
    """The versions of parameters with a label.

    :param client_factory: makes a boto3 client for a service: ``AnsibleAWSModule.client``.
    :param versions: by region and name, the number of the version that was proved.
    :param label: the label.
    :param timeout: how long to repeat a call after another change of the same parameter, in seconds.
    :raises InvalidInput: the label is not valid.
    """

    def __init__(
        self, client_factory: Callable[..., Any], versions: Mapping[tuple[str, str], int], label: str, timeout: float
    ) -> None:
        check_label(label)
        self._client_factory = client_factory
        self._desired = versions
        self._label = label
        self._timeout = timeout

    def _gateway(self, region: str) -> Aws:
        return Aws(partial(self._client_factory, region=region), self._timeout)

    def read(self) -> Mapping[tuple[str, str], int]:
        """Read the versions that have the label."""
        found = {}
        for region in sorted({region for region, _name in self._desired}):
            aws, names = self._gateway(region), [name for where, name in self._desired if where == region]
            for first in range(0, len(names), MAX_NAMES):
                part = [f"{name}:{self._label}" for name in names[first : first + MAX_NAMES]]
                answer = aws.call("ssm:GetParameters", f"read label '{self._label}' in {region}", Names=part)
                found.update({(region, each["Name"]): each["Version"] for each in answer["Parameters"]})
        return found

    def plan(self, current: Mapping[tuple[str, str], int], /) -> Plan[Mapping[tuple[str, str], int]]:
        """Plan one call for each parameter whose version does not have the label. It moves the label there."""
        moved = {key: version for key, version in self._desired.items() if current.get(key) != version}
        steps = {f"{region} {name}": [self._step(region, name, moved[region, name])] for region, name in moved}
        return Plan(current, {**current, **moved}, steps)

    def _step(self, region: str, name: str, version: int) -> Step:
        summary = f"move label '{self._label}' of {name} to version {version} in {region}"
        arguments = {"name": name, "parameter_version": version, "labels": [self._label]}
        return Step(Kind.UPDATE, "ssm:LabelParameterVersion", arguments, summary, context=region)

    def to_diff(self, state: Mapping[tuple[str, str], int], /) -> dict[str, Any]:
        """Render the versions with the label."""
        return {f"{name} in {region}": version for (region, name), version in sorted(state.items())}

    def to_result(
        self, plan: Plan[Mapping[tuple[str, str], int]], final: Mapping[tuple[str, str], int], /
    ) -> dict[str, Any]:
        """Return nothing, because the steps contain everything."""
        del plan, final
        return {}

    def execute(self, step: Step) -> None:
        """Move the label.

        :raises CwagentError: AWS refuses the call or the label. A call with a refused label succeeds.
        """
        answer = self._gateway(step.context).execute(step) or {}
        if answer.get("InvalidLabels"):
            raise CwagentError(f"Could not {step.summary}: AWS does not accept the label. Choose another one.")
