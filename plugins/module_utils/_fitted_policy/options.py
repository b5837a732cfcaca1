# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the module cwagent_fitted_policy, the stored configurations, and the policies that they require."""

from __future__ import annotations

import socket
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils import _names
from ansible_collections.cwagent.iam.plugins.module_utils._access.covered import (
    WAY_OUT,
    Read,
    Text,
    covered_texts,
    is_ignored,
    known_grants,
    to_sources,
    with_applied,
)
from ansible_collections.cwagent.iam.plugins.module_utils._access.model import History
from ansible_collections.cwagent.iam.plugins.module_utils._access.parameters import read_versions
from ansible_collections.cwagent.iam.plugins.module_utils._account.find import enabled_regions
from ansible_collections.cwagent.iam.plugins.module_utils._call import aws_gateway, gateways
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.plan import ENCRYPTED_TYPE
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.policy import (
    Scope,
    needed_statements,
    take_apart,
    width_notices,
)
from ansible_collections.cwagent.iam.plugins.module_utils._credentials.parameter_store import list_parameters
from ansible_collections.cwagent.iam.plugins.module_utils._errors import AwsApiError, InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._fitted_policy.plan import (
    STORING_LIFETIME,
    Covered,
    DesiredPolicies,
    not_stored,
    storing_statements,
    storing_times,
)
from ansible_collections.cwagent.iam.plugins.module_utils._fitted_policy.resource import FittedPolicies
from ansible_collections.cwagent.iam.plugins.module_utils._names import PARAMETER_PREFIX, tags_as_text
from ansible_collections.cwagent.iam.plugins.module_utils._plan import run_in_parallel
from ansible_collections.cwagent.iam.plugins.module_utils._planned import PLANNED_SPEC, Planned
from ansible_collections.cwagent.iam.plugins.module_utils._store_config.comparison import read_earlier, validate
from ansible_collections.cwagent.iam.plugins.module_utils._store_config.options import CONFIGS_SPEC, GivenConfigs
from ansible_collections.cwagent.iam.plugins.module_utils._text import join_first
from ansible_collections.cwagent.iam.plugins.module_utils._wait import WAIT_SPEC

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws
    from ansible_collections.cwagent.iam.plugins.module_utils._call import Call


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


SPEC: dict[str, Any] = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    **CONFIGS_SPEC,
    "read_regions": {"type": "list", "elements": "str", "default": []},
    "ignored_parameters": {"type": "list", "elements": "str", "default": []},
    "narrow": {"type": "bool", "default": False},
    "create": {"type": "bool", "default": True},
    "tags": {"type": "dict", "default": {}},
    **PLANNED_SPEC,
    **WAIT_SPEC,
}
RULES: dict[str, Any] = {}
_MAX_LISTED = 5
_NOTHING = (
    "No fitted policy is possible: neither configs nor Parameter Store in {} has a configuration whose name begins "
    f"with {_names.PARAMETER_PREFIX} and that ignored_parameters does not list. Store one first, or use AWS's policy."
)


def resource(call: Call) -> FittedPolicies:
    """Return the policies of the account with their desired state, for which this reads Parameter Store.

    :raises InvalidInput: an option is not valid, or there is no fitted policy for the configurations.
    """
    params, aws = call.params, aws_gateway(call)
    tags = tags_as_text(params["tags"])
    _names.check_tags(tags)
    identity = aws.call("sts:GetCallerIdentity", "read which account this is")
    partition, account = identity["Arn"].split(":")[1], identity["Account"]
    if params["state"] == "absent":
        return FittedPolicies(aws, DesiredPolicies(partition, account), is_absent=True, planned=params["planned"])
    unwanted = FittedPolicies(aws, DesiredPolicies(partition, account))
    if params["narrow"] and not unwanted.read().policies:
        return unwanted  # the principals still have AWS's policies
    for region in params["read_regions"]:
        _names.check_region(region)
    given = GivenConfigs.of(params)
    read: Read = {}
    new = _new_texts(given, call, aws.region, read)
    regions = params["read_regions"] or enabled_regions(aws)
    applied = Planned(params["planned"]).applied_versions
    stored = [
        replace(each, history=with_applied(each.history, applied.get((each.history.region, each.history.name))))
        for each in read_stored(gateways(call, regions), params["ignored_parameters"])
    ]
    histories = [each.history for each in stored]
    texts = [*(text for each in stored for text in covered_texts(each.history, is_encrypted=each.is_encrypted)), *new]
    if not texts:
        raise InvalidInput(_NOTHING.format(join_first(regions, _MAX_LISTED)))
    scope = Scope(partition, account, tuple(params["emf_log_groups"]))
    all_regions = () if params["read_regions"] else regions
    sources = to_sources(texts, all_regions, read)
    needed = needed_statements(sources, scope)
    kept = [
        Text(each.history.name, each.history.region, one.value, "", each.is_encrypted)
        for each in stored
        for one in each.history.versions
        if one.value
    ]
    known = known_grants([*texts, *kept], all_regions, scope, read)
    desired = DesiredPolicies(
        partition,
        account,
        {"server": take_apart(needed), "admin": take_apart(storing_statements(texts, all_regions, scope))},
        not_stored(new, histories),
        f"{identity['Arn']} {socket.gethostname()}",
        storing_times(histories, aws.now - STORING_LIFETIME),
        narrow=params["narrow"],
        create=params["create"],
        tags=tags,
        covered=Covered(
            frozenset({*((each.region, each.name) for each in histories), *((each.region, each.name) for each in new)}),
            frozenset(regions),
            frozenset(params["ignored_parameters"]),
            has_all_regions=not params["read_regions"],
            known=known,
        ),
    )
    return FittedPolicies(aws, desired, notices=[*width_notices(needed, sources, known.shown)])


def _new_texts(given: GivenConfigs, call: Call, own_region: str, read: Read) -> list[Text]:
    """Return the texts of the parameters that are to be stored.

    :param read: receives their configurations.
    :raises InvalidInput: a configuration is refused.
    """

    def aws_in(region: str | None) -> Aws:
        return next(iter(gateways(call, [region or ""]).values()))

    earlier = read_earlier(given, aws_in)
    validated = validate(given, earlier=earlier, known=given.compared)
    validated.check()
    for _each, desired in validated.valid:
        read.update({parameter.value: (config, "") for parameter, config in zip(desired.parameters, desired.configs)})
    return [
        Text(parameter.name, region or own_region, parameter.value, each.name)
        for each, desired in validated.valid
        for region in each.regions
        for parameter in desired.parameters
    ]
