# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller stores with its own credentials, or does the work that no admin principal may do."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from .._configuration.parameter import READ_BACK_SECONDS, ParameterResource, TagsResource
from .._configuration.parameter_plan import DesiredConfig
from .._ground.converge import converge
from .._ground.errors import ConsistencyTimeout, CwagentError
from .base import Way
from .transaction import Source

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from typing import Any

    from .._ground.aws import Aws
    from .._ground.plan import Step
    from .transaction import Comparison, Configuration, Report


class ControllerWay(Way):
    """Ansible itself, which needs no host."""

    def reach(self) -> None:
        """There is nothing to reach."""

    def read_schema(self) -> str:
        """There is no agent."""
        return ""

    def source(self, comparison: Comparison) -> Source:
        """Return the controller."""
        del comparison
        return ControllerSource(self._wiring.report, self.aws_in)


class ControllerSource(Source):
    """The controller, which already has the permission."""

    may_tag = True

    def __init__(self, report: Report, aws_in: Callable[[str], Aws]) -> None:
        """:param aws_in: makes the gateway to AWS in a region."""
        super().__init__(report)
        self._aws_in = aws_in

    def store(self, configuration: Configuration) -> Mapping[str, Any]:
        """Store a configuration with its tags."""
        region = configuration.region
        resource = ParameterResource(self._aws_in(region), configuration.desired, region, configuration.known)
        return converge(resource, False, READ_BACK_SECONDS)


class _ReportedParameterResource(ParameterResource):
    """A configuration that a host reports to have stored."""

    def execute(self, step: Step) -> None:
        """The host has done it."""


def _check_stored(aws: Aws, configuration: Configuration, host: str) -> None:
    """Wait until Parameter Store shows what a host reports. :raises CwagentError: it shows anything else."""
    region = configuration.region
    try:
        converge(
            _ReportedParameterResource(aws, configuration.untagged, region, configuration.known),
            False,
            READ_BACK_SECONDS,
        )
    except ConsistencyTimeout as error:
        raise CwagentError(
            f"{host} reported that it stored configuration '{configuration.name}', but Parameter Store in {region} "
            "does not have it. Find out why, then run again."
        ) from error


def tidy(
    report: Report,
    aws_in: Callable[[str], Aws],
    configurations: Sequence[Configuration],
    *,
    names: Collection[str],
    host: str,
    tags: bool,
    surplus: bool,
    check_mode: bool,
) -> None:
    """Check what a host stored, tag the parameters, and delete those that an earlier, larger configuration has left.

    :param names: of all configurations of the user.
    :param host: the host that reports what it stored. It is empty if the controller has seen that.
    :param tags: whether to tag the parameters of configurations that differ.
    :param surplus: whether to delete such parameters, unless they belong to another configuration.
    """
    for each in configurations:
        aws, region = aws_in(each.region), each.region
        if host and not check_mode and each.plan_without_tags.has_changes:
            _check_stored(aws, each, host)
        for parameter in each.desired.parameters if tags and each.plan.has_changes else ():
            if parameter.tags:
                tagged = TagsResource(aws, parameter.name, parameter.tags, region)
                report.take("tagged", partial(converge, tagged, check_mode, READ_BACK_SECONDS))
        for name in sorted({*each.surplus}.difference(names)) if surplus else ():
            deleted = ParameterResource(aws, DesiredConfig(name), region)
            report.take("deleted", partial(converge, deleted, check_mode, None))
