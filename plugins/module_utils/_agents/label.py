# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The labels of the versions of configurations that were proved.

https://docs.aws.amazon.com/systems-manager/latest/userguide/sysman-paramstore-labels.html
"""

from __future__ import annotations

from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any

from .._ground.aws import Aws
from .._ground.converge import Resource
from .._ground.errors import AwsApiError, CwagentError
from .._ground.names import APPLIED_LABEL
from .._ground.plan import Kind, Plan, Step

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Labelled = Mapping[tuple[str, str, str], int]


# The parameters of one call.
# https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameters.html
MAX_NAMES = 10
# https://docs.aws.amazon.com/systems-manager/latest/userguide/sysman-paramstore-labels.html
_TOO_MANY, _MAX_LABELS = "ParameterVersionLabelLimitExceeded", 10


class LabelResource(Resource["Labelled"]):
    """The versions of parameters with some labels.

    :param client_factory: makes a boto3 client for a service: ``AnsibleAWSModule.client``.
    :param versions: by region and name, the number of the version that was proved.
    :param labels: the labels.
    :param timeout: how long to repeat a call after another change of the same parameter, in seconds.
    """

    def __init__(
        self,
        client_factory: Callable[..., Any],
        versions: Mapping[tuple[str, str], int],
        labels: Sequence[str],
        timeout: float,
    ) -> None:
        self._client_factory = client_factory
        self._desired = versions
        self._labels = labels
        self._timeout = timeout

    def _gateway(self, region: str) -> Aws:
        return Aws(partial(self._client_factory, region=region), self._timeout)

    def read(self) -> Labelled:
        """Read the versions that have the labels."""
        found = {}
        for region, label in product(sorted({region for region, _name in self._desired}), self._labels):
            aws, names = self._gateway(region), [name for where, name in self._desired if where == region]
            for first in range(0, len(names), MAX_NAMES):
                part = [f"{name}:{label}" for name in names[first : first + MAX_NAMES]]
                answer = aws.call("ssm:GetParameters", f"read label '{label}' in {region}", Names=part)
                found.update({(region, each["Name"], label): each["Version"] for each in answer["Parameters"]})
        return found

    def plan(self, current: Labelled, /) -> Plan[Labelled]:
        """Plan one call for each parameter whose version does not have all labels. It moves the labels there."""
        steps, planned = {}, dict(current)
        for (region, name), version in self._desired.items():
            labels = [each for each in self._labels if current.get((region, name, each)) != version]
            if labels:
                steps[f"{region} {name}"] = [_step(region, name, version, labels)]
                planned.update({(region, name, each): version for each in labels})
        return Plan(current, planned, steps)

    def to_diff(self, state: Labelled, /) -> dict[str, Any]:
        """Render the versions with the labels."""
        return {f"{name}:{label} in {region}": version for (region, name, label), version in sorted(state.items())}

    def to_result(self, plan: Plan[Labelled], final: Labelled, /) -> dict[str, Any]:
        """Render the versions that all servers run, for a later task."""
        del final
        applied = [key for key in plan.planned if key[2] == APPLIED_LABEL]
        versions = [{"region": key[0], "name": key[1], "version": plan.planned[key]} for key in applied]
        return {"applied_versions": versions}

    def execute(self, step: Step) -> None:
        """Move the labels.

        :raises CwagentError: AWS refuses the call or a label. A call with a refused label succeeds.
        """
        try:
            answer = self._gateway(step.context).execute(step) or {}
        except AwsApiError as error:
            if error.code != _TOO_MANY:
                raise
            raise CwagentError(
                f"Could not {step.summary}: the version would have more than {_MAX_LABELS} labels. Remove one: aws ssm "
                f"unlabel-parameter-version --region {step.context} --name {step.arguments['name']} "
                f"--parameter-version {step.arguments['parameter_version']} --labels LABEL"
            ) from error
        if answer.get("InvalidLabels"):
            raise CwagentError(f"Could not {step.summary}: AWS does not accept the label. Choose another one.")


def _step(region: str, name: str, version: int, labels: Sequence[str]) -> Step:
    noun = "label" if len(labels) == 1 else "labels"
    quoted = " and ".join(f"'{each}'" for each in labels)
    summary = f"move {noun} {quoted} of {name} to version {version} in {region}"
    arguments = {"name": name, "parameter_version": version, "labels": list(labels)}
    return Step(Kind.UPDATE, "ssm:LabelParameterVersion", arguments, summary, context=region)
