# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""All that can be known to fail before anything is changed, and whether there is anything to do on EC2 at all."""

from __future__ import annotations

from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.cwagent.iam.plugins.module_utils import _config, _module, _names, _role_options, _survey
from ansible_collections.cwagent.iam.plugins.module_utils._association import unfit_instance
from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws
from ansible_collections.cwagent.iam.plugins.module_utils._credentials import FileStore
from ansible_collections.cwagent.iam.plugins.module_utils._ec2 import instance_states, read_associations
from ansible_collections.cwagent.iam.plugins.module_utils._errors import CwagentError, InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._steps import in_parallel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ansible_collections.cwagent.iam.plugins.module_utils._role import WantedRole


class Preflight:
    """What a playbook is about to work with.

    :param params: the options of the module cwagent_preflight.
    :param region: of the module, where none is given for a thing.
    :param connect: makes a boto3 client for a service: ``AnsibleAWSModule.client``.
    """

    def __init__(self, params: Mapping[str, Any], region: str | None, connect: Callable[..., Any]) -> None:
        self._params = params
        self._region = region
        self._connect = connect
        self._aws_in = {name: _survey.ReadOnce(self._in_region(name)) for name in params["instances"]}

    def result(self) -> dict[str, Any]:
        """What the module returns. AWS is only asked when all else is right.

        :raises CwagentError: something is wrong, or AWS did not answer.
        """
        problems = list(_refusals(self._checks())) or [*self._unfit(), *self._elsewhere()]
        try:
            result = {} if problems else self._due()
        except InvalidInput as error:
            problems = [str(error)]
        if problems:
            raise CwagentError(f"{' '.join(problems)} Nothing was changed.", problems=problems)
        return result

    def _due(self) -> dict[str, Any]:
        """For which parts of the job on EC2 there is something to do, where that was asked."""
        asked = self._params["ec2_access"]
        if not asked or not self._params["instances"]:
            return {}
        want = _survey.WantedAccess(
            self._role(asked["server"]), self._role(asked["admin"]), asked["replace"], self._params["instances"]
        )
        return {"due": _survey.due(want, self._aws_in, datetime.now(timezone.utc))}

    def _checks(self) -> Iterator[Callable[[], object]]:
        """All that can be checked without asking AWS; each raises InvalidInput."""
        params = self._params
        yield from (partial(_names.check_name, "role", name) for name in params["roles"])
        yield from (partial(_names.check_name, "user", name) for name in params["users"])
        yield partial(_names.check_different, params["roles"])
        yield partial(_names.check_different, params["users"])
        yield from (partial(_config.check_parameter_name, name) for name in params["parameters"])
        yield from (partial(_names.check_instance_id, each) for ids in params["instances"].values() for each in ids)
        yield partial(_module.check_principal, params, _names.partition_of(self._region))
        if params["credentials_directory"]:
            files = FileStore(Path(params["credentials_directory"]).absolute(), "", None)
            yield partial(files.check, params["users"])
        if params["ec2_access"]:
            yield from (partial(self._role, params["ec2_access"][access]) for access in ("server", "admin"))

    def _role(self, options: Mapping[str, Any]) -> WantedRole:
        checked = ArgumentSpecValidator(_role_options.SPEC).validate(options)
        if checked.error_messages:
            raise InvalidInput(f"ec2_access: {' '.join(checked.error_messages)}")
        return _role_options.wanted(checked.validated_parameters, self._region)

    def _unfit(self) -> Iterator[str]:
        for region, ids in self._params["instances"].items():
            aws = self._aws_in[region]
            # One that carries a profile is there; to read this first is no further call where it is read anyway.
            carrying = read_associations(aws) if self._params["ec2_access"] else {}
            unsure = [name for name in ids if name not in carrying]
            states = instance_states(aws, unsure)
            yield from filter(None, (unfit_instance(name, states.get(name)) for name in unsure))

    def _elsewhere(self) -> list[str]:
        """Which instances would lose a profile that is to be deleted: IAM is global, so every region is looked at."""
        profiles = set(self._params["retired_profiles"])
        if not profiles:
            return []
        answer = Aws(self._connect).call("ec2:DescribeRegions", "list the regions of the account")

        def carriers(region: str) -> list[str]:
            found = read_associations(Aws(self._in_region(region)))
            return [
                f"Instance {name} in {region} is not in the inventory and carries instance profile '{each.profile}'."
                for name, associations in sorted(found.items())
                for each in associations
                if each.profile in profiles and name not in self._params["retired_from"]
            ]

        regions = sorted(region["RegionName"] for region in answer["Regions"])
        return [problem for found in in_parallel(carriers, regions) for problem in found]

    def _in_region(self, region: str) -> Callable[..., Any]:
        return partial(self._connect, region=region) if region else self._connect


def _refusals(checks: Iterator[Callable[[], object]]) -> Iterator[str]:
    for check in checks:
        try:
            check()
        except InvalidInput as error:
            yield str(error)
