# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks servers without facts from them, with the account and the access keys that are saved in files."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._access.assess import assess, request_context
from ansible_collections.cwagent.iam.plugins.module_utils._access.inventory import Inventory
from ansible_collections.cwagent.iam.plugins.module_utils._access.model import Scope
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.policy import ANY
from ansible_collections.cwagent.iam.plugins.module_utils._credentials.stores import AWS_STORES, KEY_STORES
from ansible_collections.cwagent.iam.plugins.module_utils._names import name_of
from ansible_collections.cwagent.iam.plugins.module_utils._plan import run_in_parallel
from ansible_collections.cwagent.iam.plugins.module_utils._verify.case import Case
from ansible_collections.cwagent.iam.plugins.module_utils._verify.checks import check
from ansible_collections.cwagent.iam.plugins.module_utils._verify.permission_checks import calls_of

with suppress(ImportError):  # _module.run_module reports it
    from botocore.regions import EndpointResolver
    from botocore.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ansible_collections.cwagent.iam.plugins.module_utils._access.model import Account, Principal
    from ansible_collections.cwagent.iam.plugins.module_utils._verify.endpoints import Endpoint
    from ansible_collections.cwagent.iam.plugins.module_utils._verify.model import Server, Target


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
        account,
        assess(account),
        _saved_outside_aws(targets, options),
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
    """Return by user the ID of the access key that is saved on the controller."""
    if options["key_store"] in AWS_STORES:
        return {}
    store = KEY_STORES[options["key_store"]].open(options)
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
