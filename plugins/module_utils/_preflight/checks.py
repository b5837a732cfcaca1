# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""All that can be known to fail before anything is changed, and whether there is anything to do on EC2 at all."""

from __future__ import annotations

from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.common.validation import check_type_list

from ansible_collections.cwagent.iam.plugins.module_utils import _module, _names
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window import plan as window_plan
from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter import plan as config_plan
from ansible_collections.cwagent.iam.plugins.module_utils._credentials.file import FileStore
from ansible_collections.cwagent.iam.plugins.module_utils._errors import AwsApiError, CwagentError, InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._instance_profile.plan import ineligible_reason
from ansible_collections.cwagent.iam.plugins.module_utils._instance_profile.resource import (
    instance_states,
    read_associations,
)
from ansible_collections.cwagent.iam.plugins.module_utils._plan import in_parallel
from ansible_collections.cwagent.iam.plugins.module_utils._preflight import drift
from ansible_collections.cwagent.iam.plugins.module_utils._role import options as role_options

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from ansible_collections.cwagent.iam.plugins.module_utils._role.plan import DesiredRole


class Preflight:
    """What a playbook is about to work with.

    :param params: the options of the module cwagent_preflight.
    :param region: of the module, where none is given for a thing.
    :param client_factory: makes a boto3 client for a service: ``AnsibleAWSModule.client``.
    :raises InvalidInput: the instances of a region are no list.
    """

    def __init__(self, params: Mapping[str, Any], region: str | None, client_factory: Callable[..., Any]) -> None:
        self._params = params
        self._region = region
        self._client_factory = client_factory
        self._instances = {name: _ids(name, given) for name, given in params["instances"].items()}
        answers: dict[str, Any] = {}
        self._aws_in = {name: drift.CachingAws(self._in_region(name), name, answers) for name in self._instances}

    def result(self) -> dict[str, Any]:
        """What the module returns. AWS is only asked when all else is right.

        :raises CwagentError: something is wrong, or AWS did not answer.
        """
        self._refuse(_refusals(self._checks()))
        carriers, unseen = self._elsewhere()
        self._refuse([*self._unfit(), *carriers])
        return {"warnings": unseen, **self._due()}

    @staticmethod
    def _refuse(problems: list[str]) -> None:
        if problems:
            raise CwagentError(f"{' '.join(problems)} Nothing was changed.", problems=problems)

    def _due(self) -> dict[str, Any]:
        """For which parts of the job on EC2 there is something to do, where that was asked."""
        if not self._roles or not self._instances:
            return {}
        desired = drift.DesiredAccess(
            **self._roles, replace=self._params["ec2_access"]["replace"], instances=self._instances
        )
        try:
            return {"due": drift.due(desired, self._aws_in)}
        except CwagentError:
            # What cannot be read, or had, is told by the task that needs it, after all that can be put back was.
            return {"due": list(drift.PARTS)}

    def _checks(self) -> Iterator[Callable[[], object]]:
        """All that can be checked without asking AWS; each raises InvalidInput."""
        params = self._params
        yield from (partial(_names.check_name, "role", name) for name in params["roles"])
        yield from (partial(_names.check_name, "user", name) for name in params["users"])
        yield partial(_names.check_different, params["roles"])
        yield partial(_names.check_different, params["users"])
        yield from (partial(config_plan.check_parameter_name, name) for name in params["parameters"])
        yield from (partial(_names.check_instance_id, each) for ids in self._instances.values() for each in ids)
        yield partial(_module.check_principal, params, _names.partition_of(self._region))
        if params["window_minutes"] is not None:
            yield partial(window_plan.check_minutes, params["window_minutes"])
        if params["credentials_directory"]:
            files = FileStore(Path(params["credentials_directory"]).absolute(), "", None)
            yield partial(files.check, params["users"])
        if params["ec2_access"]:
            yield lambda: self._roles

    @cached_property
    def _roles(self) -> dict[str, DesiredRole]:
        """By access, what is wanted of the role. :raises InvalidInput: AWS would refuse it."""
        asked = self._params["ec2_access"]
        return {access: self._role(access, asked[access]) for access in ("server", "admin")} if asked else {}

    def _role(self, access: str, given: Mapping[str, Any]) -> DesiredRole:
        options = ArgumentSpecValidator(role_options.SPEC, required_if=role_options.REQUIRED_IF).validate(given)
        problems = list(options.error_messages)
        if options.validated_parameters.get("state") == "absent":
            problems.append("state cannot be absent.")
        if problems:
            raise InvalidInput(f"ec2_access.{access}: {' '.join(problems)}")
        return role_options.wanted(options.validated_parameters, self._region)

    def _unfit(self) -> list[str]:
        """Which instances are not there, or can carry no profile."""

        def unfit_in(region: str) -> list[str]:
            aws = self._aws_in[region]
            carrying = _with_profile(aws) if self._params["ec2_access"] else ()
            unsure = [name for name in self._instances[region] if name not in carrying]
            states = instance_states(aws, unsure)
            return [problem for name in unsure if (problem := ineligible_reason(name, states.get(name)))]

        for aws in self._aws_in.values():
            aws.client("ec2")  # before the threads: amazon.aws ends the module where it can make none
        return [problem for found in in_parallel(unfit_in, self._instances) for problem in found]

    def _elsewhere(self) -> tuple[list[str], list[str]]:
        """Which instances would lose a profile that is to be deleted, and where it was not looked.

        IAM is global, so every region is looked at.
        """
        if not self._params["retired_profiles"]:
            return [], []
        answer = Aws(self._client_factory).call("ec2:DescribeRegions", "list the regions of the account")
        problems: list[str] = []
        unseen: list[str] = []
        for carrying, closed in in_parallel(self._carriers, sorted(each["RegionName"] for each in answer["Regions"])):
            problems += carrying
            unseen += closed
        return problems, unseen

    def _carriers(self, region: str) -> tuple[list[str], list[str]]:
        try:
            found = read_associations(Aws(self._in_region(region)))
        except AwsApiError as error:
            if not error.explicit_deny:
                raise
            # An organization closes regions by such a policy; it is not the user's to lift.
            return [], [f"It was not looked whether instances in {region} carry a profile. {error}"]
        problems = [
            f"Instance {name} in {region} is not in the inventory and carries instance profile '{each.profile}'."
            for name, associations in sorted(found.items())
            for each in associations
            if each.profile in self._params["retired_profiles"] and name not in self._params["retired_from"]
        ]
        return problems, []

    def _in_region(self, region: str) -> Callable[..., Any]:
        return partial(self._client_factory, region=region) if region else self._client_factory


def _ids(region: str, given: Any) -> list[str]:
    try:
        return [str(each) for each in check_type_list(given or [])]
    except TypeError as error:
        raise InvalidInput(f"instances: '{region}' has no list of ids: {error}") from error


def _with_profile(aws: Aws) -> Collection[str]:
    """The instances that carry a profile, and so are there; to read this is no further call where it is due anyway."""
    try:
        return read_associations(aws)
    except CwagentError:
        return ()


def _refusals(checks: Iterator[Callable[[], object]]) -> list[str]:
    """What the checks refuse, in words; several can refuse the same thing."""
    found: dict[str, None] = {}
    for check in checks:
        try:
            check()
        except InvalidInput as error:
            found[str(error)] = None
    return list(found)
