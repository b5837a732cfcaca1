# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks up in AWS what a playbook is about to use. Only reads."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws
from ansible_collections.cwagent.iam.plugins.module_utils._errors import AwsApiError, CwagentError
from ansible_collections.cwagent.iam.plugins.module_utils._instance_profile.plan import ineligible_reason
from ansible_collections.cwagent.iam.plugins.module_utils._instance_profile.resource import (
    instance_states,
    live_instances,
    read_associations,
)
from ansible_collections.cwagent.iam.plugins.module_utils._plan import run_in_parallel
from ansible_collections.cwagent.iam.plugins.module_utils._preflight import drift
from ansible_collections.cwagent.iam.plugins.module_utils._preflight.checks import fail_on_problems

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from ansible_collections.cwagent.iam.plugins.module_utils._preflight.checks import Inputs


class Preflight:
    """The lookups in AWS, for inputs without problems.

    :param client_factory: makes a boto3 client for a service: ``AnsibleAWSModule.client``.
    """

    def __init__(self, inputs: Inputs, client_factory: Callable[..., Any]) -> None:
        self._inputs = inputs
        self._client_factory = client_factory
        answers: dict[str, Any] = {}
        self._aws_in = {
            region: drift.CachingAws(self._factory_in(region), region, answers) for region in inputs.instances
        }

    def result(self) -> dict[str, Any]:
        """Look up everything and return the module's result.

        :raises InvalidInput: an instance cannot be used, or another instance has a profile to delete.
        :raises CwagentError: AWS did not answer, or answered with an error.
        """
        other_holders, warnings = self._other_holders()
        fail_on_problems([*self._ineligible_instances(), *self._adoption_problems(), *other_holders])
        return {"warnings": warnings, **self._drift()}

    def _drift(self) -> dict[str, Any]:
        """Return the parts that differ from the desired access, if there is one to compare with."""
        if not self._inputs.roles or not self._inputs.instances:
            return {}
        desired = drift.DesiredAccess(
            **self._inputs.roles, on_existing=self._inputs.on_existing, instances=self._inputs.instances
        )
        try:
            return {"drift": drift.find_drift(desired, self._aws_in)}
        except CwagentError:
            # The module that needs what failed here reports the error, after everything else was restored.
            return {"drift": list(drift.PARTS)}

    def _ineligible_instances(self) -> list[str]:
        """List why instances cannot have an instance profile."""

        def list_in(region: str) -> list[str]:
            aws = self._aws_in[region]
            certain = _instances_with_profile(aws) if self._inputs.roles else ()
            unsure = [name for name in self._inputs.instances[region] if name not in certain]
            states = instance_states(aws, unsure)
            return [problem for name in unsure if (problem := ineligible_reason(name, states.get(name)))]

        for aws in self._aws_in.values():
            aws.client("ec2")  # not in the threads: amazon.aws ends the module where it cannot make a client
        return [problem for problems in run_in_parallel(list_in, self._inputs.instances) for problem in problems]

    def _adoption_problems(self) -> list[str]:
        """List why the admin role cannot be managed. The drift needs the same calls, which are made once."""
        if not self._inputs.roles or not self._inputs.instances:
            return []
        try:
            return drift.adoption_problems(self._inputs.roles["admin"], next(iter(self._aws_in.values())))
        except CwagentError:
            return []  # the module that needs what failed here reports the error

    def _other_holders(self) -> tuple[list[str], list[str]]:
        """List the instances that would lose a profile to delete, and warn of regions that cannot be read.

        IAM is global, so an instance of any region can have the profile.
        """
        if not self._inputs.profiles_to_delete:
            return [], []
        answer = Aws(self._client_factory).call("ec2:DescribeRegions", "list the regions of the account")
        regions = sorted(each["RegionName"] for each in answer["Regions"])
        problems: list[str] = []
        warnings: list[str] = []
        for holders, unreadable in run_in_parallel(self._other_holders_in, regions):
            problems += holders
            warnings += unreadable
        return problems, warnings

    def _other_holders_in(self, region: str) -> tuple[list[str], list[str]]:
        aws, inputs = Aws(self._factory_in(region)), self._inputs
        try:
            holders = [
                (name, each.profile)
                for name, associations in sorted(read_associations(aws).items())
                for each in associations
                if each.profile in inputs.profiles_to_delete and name not in inputs.expected_instance_ids
            ]
            live = live_instances(aws, [name for name, _profile in holders])
        except AwsApiError as error:
            if not error.explicit_deny:
                raise
            # An organization disables regions with such a policy, which the user cannot change.
            return [], [f"It is not known whether instances in {region} have an instance profile to delete. {error}"]
        problems = [
            f"Instance {name} in {region} is not in the inventory and has instance profile '{profile}'."
            for name, profile in holders
            if name in live
        ]
        return problems, []

    def _factory_in(self, region: str) -> Callable[..., Any]:
        return partial(self._client_factory, region=region) if region else self._client_factory


def _instances_with_profile(aws: Aws) -> Collection[str]:
    """Return the instances that have a profile, and so exist. The drift needs the same call, which is made once."""
    try:
        return read_associations(aws)
    except CwagentError:
        return ()
