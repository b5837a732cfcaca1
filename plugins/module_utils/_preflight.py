# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""All that can be known to fail before anything is changed."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils import _config, _module, _names
from ansible_collections.cwagent.iam.plugins.module_utils._association import unfit_instance
from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws
from ansible_collections.cwagent.iam.plugins.module_utils._credentials import FileStore
from ansible_collections.cwagent.iam.plugins.module_utils._ec2 import instance_states, read_associations
from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._steps import in_parallel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


def _checks(params: Mapping[str, Any], region: str | None) -> Iterator[Callable[[], None]]:
    """All that can be checked without asking AWS; each raises InvalidInput."""
    yield from (partial(_names.check_name, "role", name) for name in params["roles"])
    yield from (partial(_names.check_name, "user", name) for name in params["users"])
    yield partial(_names.check_different, params["roles"])
    yield partial(_names.check_different, params["users"])
    yield from (partial(_config.check_parameter_name, name) for name in params["parameters"])
    yield from (partial(_names.check_instance_id, instance_id) for instance_id in params["instance_ids"])
    yield partial(_module.check_principal, params, _names.partition_of(region))
    if params["credentials_directory"]:
        files = FileStore(Path(params["credentials_directory"]).absolute(), "", None)
        yield partial(files.check, params["users"])


def _elsewhere(params: Mapping[str, Any], connect: Callable[..., Any]) -> list[str]:
    """Which instances would lose a profile that is to be deleted: IAM is global, so every region is looked at."""
    profiles = set(params["retired_profiles"])
    if not profiles:
        return []
    answer = Aws(connect).call("ec2:DescribeRegions", "list the regions of the account")

    def carriers(region: str) -> list[str]:
        found = read_associations(Aws(partial(connect, region=region)))
        return [
            f"Instance {name} in {region} is not in the inventory and carries instance profile '{each.profile}'."
            for name, associations in sorted(found.items())
            for each in associations
            if each.profile in profiles and name not in params["retired_from"]
        ]

    regions = sorted(region["RegionName"] for region in answer["Regions"])
    return [problem for found in in_parallel(carriers, regions) for problem in found]


def problems(params: Mapping[str, Any], region: str | None, connect: Callable[..., Any]) -> list[str]:
    """What is wrong, in words; EC2 is only asked when nothing else is.

    :param params: the options of the module cwagent_preflight.
    :param connect: makes a boto3 client for a service: ``AnsibleAWSModule.client``.
    :raises CwagentError: EC2 did not answer.
    """
    found = []
    for check in _checks(params, region):
        try:
            check()
        except InvalidInput as error:
            found.append(str(error))
    if found:
        return found
    instance_ids = params["instance_ids"]
    states = instance_states(Aws(connect), instance_ids)
    unfit = (unfit_instance(instance_id, states.get(instance_id)) for instance_id in instance_ids)
    return [*filter(None, unfit), *_elsewhere(params, connect)]
