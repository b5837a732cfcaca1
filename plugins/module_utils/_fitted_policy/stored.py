# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the configurations of an account that its fitted policies cover, in all their versions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ansible_collections.cwagent.iam.plugins.module_utils._access.covered import WAY_OUT, is_ignored
from ansible_collections.cwagent.iam.plugins.module_utils._access.model import History
from ansible_collections.cwagent.iam.plugins.module_utils._access.parameters import read_versions
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.plan import ENCRYPTED_TYPE
from ansible_collections.cwagent.iam.plugins.module_utils._credentials.parameter_store import list_parameters
from ansible_collections.cwagent.iam.plugins.module_utils._errors import AwsApiError, InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._names import PARAMETER_PREFIX
from ansible_collections.cwagent.iam.plugins.module_utils._plan import run_in_parallel

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws


@dataclass(frozen=True)
class Stored:
    """A stored configuration, or a part of one. :param history: its versions with their texts."""

    history: History
    is_encrypted: bool


def read_stored(aws_in: Mapping[str, Aws], ignored: Collection[str]) -> list[Stored]:
    """Read all configurations of some regions.

    :param aws_in: by region, the gateway to it.
    :param ignored: the parameters to leave out.
    :raises InvalidInput: a region or a parameter cannot be read. The message lists all of them.
    """
    for aws in aws_in.values():
        aws.client("ssm")  # not in the threads: amazon.aws ends the module if it cannot make a client

    def list_in(region: str) -> list[tuple[str, str, str]] | str:
        try:
            found = list_parameters(aws_in[region], [PARAMETER_PREFIX], f"list the configurations in {region}")
        except AwsApiError as error:
            return f"{error} Or leave this region out with read_regions."
        return [(region, each["Name"], each["Type"]) for each in found if not is_ignored(region, each["Name"], ignored)]

    def read(parameter: tuple[str, str, str]) -> Stored | str:
        region, name, kind = parameter
        try:
            versions = read_versions(aws_in[region], name, decrypt=kind == ENCRYPTED_TYPE)
        except AwsApiError as error:
            return f"Parameter '{name}' in {region}: {error} {WAY_OUT}"
        return Stored(History(name, region, versions), kind == ENCRYPTED_TYPE)

    listed = run_in_parallel(list_in, aws_in)
    parameters = [each for found in listed if not isinstance(found, str) for each in found]
    stored = run_in_parallel(read, parameters)
    problems = [each for each in [*listed, *stored] if isinstance(each, str)]
    if problems:
        raise InvalidInput(f"No fitted policy is possible. {' '.join(problems)}")
    return [each for each in stored if not isinstance(each, str)]
