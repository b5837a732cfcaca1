# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks the servers in a module's options without facts from them, and counts the agents that run each version.

It reads their account, and the access keys that are saved in files.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import replace
from functools import cache, partial
from itertools import chain
from typing import TYPE_CHECKING, Any

from .._accounts.assess import assess, request_context
from .._accounts.inventory import Inventory, read_versions
from .._accounts.model import Scope, Unread
from .._configuration.parameter_plan import check_parameter_name
from .._configuration.policy import ANY
from .._ground import names
from .._ground.aws import Aws
from .._ground.errors import DENIED_CODES, AwsApiError, InvalidInput
from .._ground.names import name_of
from .._ground.plan import run_in_parallel
from .._ground.text import count_noun, wrap
from .._keys.stores import KEY_STORES
from .checks import check
from .permission_checks import calls_of
from .script import digest
from .server import Target
from .verify_input import Case

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from .._accounts.model import Account, Principal, Version
    from .endpoints import Endpoint
    from .server import Server


def targets(servers: Iterable[Mapping[str, Any]], region: str | None) -> list[Target]:
    """Return the servers. :param region: the region of the module. :raises InvalidInput: something is not valid."""
    found = [
        Target(
            each["host"],
            each.get("region") or region or "",
            each.get("instance_id") or "",
            each.get("user") or "",
            bool(each.get("hybrid")),
            tuple(each["configs"]),
        )
        for each in servers
    ]
    if not found:
        raise InvalidInput("servers is empty. Name the servers to check.")
    for target in found:
        if not target.region:
            raise InvalidInput(
                f"No AWS region is set for {target.host}. Set its region, the option region or AWS_REGION."
            )
        names.check_region(target.region)
        if target.instance_id:
            names.check_instance_id(target.instance_id)
        elif not target.is_hybrid:
            names.check_name("user", target.user)
        for name in target.configs:
            check_parameter_name(name)
    return found


with suppress(ImportError):  # _module.run_module reports it
    from botocore.regions import EndpointResolver
    from botocore.session import Session


def read_servers(
    client_factory: Callable[..., Any], targets: Sequence[Target], options: dict[str, Any]
) -> tuple[list[Server], Account]:
    """Check servers according to EC2 and IAM.

    :param client_factory: makes a boto3 client for a service: ``AnsibleAWSModule.client``.
    :param options: the options of the module.
    :raises CwagentError: nothing could be read, or a file with a saved key cannot be.
    """
    instances: dict[str, list[str]] = {}
    for each in targets:
        if each.instance_id:
            instances.setdefault(each.region, []).append(each.instance_id)
    scope = Scope(
        "controller",
        tuple(dict.fromkeys(each.region for each in targets)),
        instances=instances,
        key_stores=(options["key_store"],),
        key_prefix=options["key_store_prefix"],
        has_nodes=any(each.is_hybrid for each in targets),
    )
    inventory = Inventory(client_factory, scope)
    account = inventory.read()
    case = Case(
        account=account,
        assessments=assess(account),
        saved_keys=_saved_outside_aws(targets, options),
        server_profile=options["server_profile"],
        hybrid_role=name_of(options["hybrid_role_name"]),
        label=options["config_label"] or "",
        address_of=_address,
    )
    if options["simulate"]:
        case = replace(case, simulated=_simulate(inventory, case, targets))
        account = replace(account, unread=inventory.unread)
    return [check(case, each) for each in targets], account


def _saved_outside_aws(targets: Iterable[Target], options: dict[str, Any]) -> dict[str, str]:
    """Return by user the ID of the saved access key, if the account does not contain the place."""
    kind = KEY_STORES[options["key_store"]]
    if kind.IN_ACCOUNT:
        return {}
    store = kind.open(options)
    keys = {each.user: store.read_key(each.user) for each in targets if each.user}
    return {user: key.key_id for user, key in keys.items() if key}


@cache
def _resolver() -> EndpointResolver:
    return EndpointResolver(Session().get_component("data_loader").load_data("endpoints"))


def _address(endpoint: Endpoint) -> str:
    """Return the address that the SDK of AWS makes, whatever address this controller uses; empty if it makes none."""
    dual_stack = {"use_dualstack_endpoint": True} if endpoint.is_dual_stack else {}
    found = _resolver().construct_endpoint(endpoint.service, endpoint.region, **dual_stack)
    return f"https://{found['hostname']}" if found else ""


def _simulate(inventory: Inventory, case: Case, targets: Iterable[Target]) -> dict[tuple[Any, ...], bool]:
    """Ask IAM whether it allows the calls of the agent, once for each role and user, each resource and condition."""
    asked: dict[tuple[Any, ...], tuple[Principal, dict[str, None]]] = {}
    for principal, call in chain.from_iterable(calls_of(case, each) for each in targets):
        for resource in call.resources:
            asked.setdefault((principal.arn, resource or ANY, *call.context), (principal, {}))[1][call.action] = None

    def ask(request: tuple[tuple[Any, ...], tuple[Principal, dict[str, None]]]) -> dict[tuple[Any, ...], bool]:
        (arn, resource, *keys), (principal, actions) = request
        context = {**request_context(principal, case.account.read_at), **{key: [value] for key, value in keys}}
        found = inventory.simulate(principal, list(actions), resource, context)
        return {(arn, action, resource, *keys): allows for action, allows in found.items()}

    return {key: allows for answer in run_in_parallel(ask, asked.items()) for key, allows in answer.items()}


class Versions:
    """Reads the versions of configurations in Parameter Store, once for each parameter.

    :param client_factory: makes a boto3 client for a service: ``AnsibleAWSModule.client``.
    """

    def __init__(self, client_factory: Callable[..., Any]) -> None:
        self._client_factory = client_factory
        self._found: dict[tuple[str, str], tuple[Version, ...] | None] = {}
        self.unread: list[Unread] = []
        # According to the clock of AWS, or ``None`` before the first answer.
        self.server_time: datetime | None = None

    def read(self, name: str, region: str) -> tuple[Version, ...] | None:
        """Return the versions of a parameter, the newest first; ``None`` if that is denied."""
        if (name, region) not in self._found:
            aws = Aws(partial(self._client_factory, region=region))
            try:
                self._found[name, region] = read_versions(aws, name)
                self.server_time = aws.server_time
            except AwsApiError as error:
                if error.code not in DENIED_CODES:
                    raise
                self._found[name, region] = None
                self.unread.append(Unread(f"the versions of {name} in {region}", error.action, region, str(error)))
        return self._found[name, region]

    def numbers(self, name: str, region: str) -> dict[str, int]:
        """Return the versions of a parameter by the digest of their text. Of equal ones, it is the newest."""
        versions = self.read(name, region) or ()
        return {digest(each.value): each.number for each in reversed(versions) if each.value is not None}

    def texts(self, name: str, region: str) -> dict[str, str] | None:
        """Return the texts of a parameter by their digest, without encrypted ones; ``None`` if that is denied."""
        versions = self.read(name, region)
        return (
            None
            if versions is None
            else {digest(each.value): each.value for each in versions if each.value is not None}
        )


def describe_versions(versions: Versions, servers: Iterable[Server]) -> list[str]:
    """Return for each configuration and region how many agents run each version.

    The versions that Parameter Store keeps are read only where an agent runs another text than the stored one.
    """
    texts: dict[tuple[str, str], Counter[str]] = {}
    stored: dict[tuple[str, str], dict[str, int]] = {}
    for server in servers:
        for name, text in server.running.items():
            texts.setdefault((name, server.region), Counter())[text] += 1
        for each in server.runs:
            stored.setdefault((each.name, server.region), {})[each.digest] = each.number
    lines = []
    for (name, region), counts in sorted(texts.items()):
        known = stored.get((name, region), {})
        if not counts.keys() <= known.keys():
            known = {**versions.numbers(name, region), **known}
        lines += [f"{name} in {region}: {_describe(counts, known)}."]
    lines += [f"- Some versions are not known: {each.why}" for each in versions.unread]
    return [part for line in lines for part in wrap(line)]


def _describe(counts: Mapping[str, int], known: Mapping[str, int]) -> str:
    """Return how many servers run each version, the newest first."""
    numbers: Counter[int] = Counter()
    for text, count in counts.items():
        numbers[known.get(text, 0)] += count
    return ", ".join(
        f"{f'version {number}' if number else 'another text'} on {count_noun(count, 'server')}"
        for number, count in sorted(numbers.items(), reverse=True)
    )
