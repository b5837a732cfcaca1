# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the module cwagent_store_config, and the source that they describe."""

from __future__ import annotations

import uuid
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.cwagent.iam.plugins.module_utils import _environment, _names
from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance.plan import (
    ACQUIRED,
    DesiredAdmin,
    check_profiles,
)
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.options import window_parameters
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.plan import (
    OPEN,
    DesiredWindow,
    check_binding,
    check_minutes,
)
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.options import desired_tags
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.plan import LIMITS
from ansible_collections.cwagent.iam.plugins.module_utils._credentials.source import SOURCE_SPEC
from ansible_collections.cwagent.iam.plugins.module_utils._store_command.plan import MIN_SECONDS, SENT, DesiredCommand
from ansible_collections.cwagent.iam.plugins.module_utils._store_config.admin_profile import Admin
from ansible_collections.cwagent.iam.plugins.module_utils._store_config.command import CommandSource, writes
from ansible_collections.cwagent.iam.plugins.module_utils._store_config.configuration import compared
from ansible_collections.cwagent.iam.plugins.module_utils._store_config.controller import ControllerSource, tidy
from ansible_collections.cwagent.iam.plugins.module_utils._store_config.gateway import ShieldedAws
from ansible_collections.cwagent.iam.plugins.module_utils._store_config.instance import InstanceSource
from ansible_collections.cwagent.iam.plugins.module_utils._store_config.onprem import OnPremisesSource
from ansible_collections.cwagent.iam.plugins.module_utils._store_config.transaction import Transaction

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws
    from ansible_collections.cwagent.iam.plugins.module_utils._store_config.configuration import Configuration
    from ansible_collections.cwagent.iam.plugins.module_utils._store_config.transaction import Report, Shield, Source

INSTANCE, RUN_COMMAND, ONPREM, CONTROLLER = "instance", "run_command", "onprem", "controller"

STORED, OPENED = "stored", "opened"

SPEC: dict[str, Any] = {
    "state": {"type": "str", "choices": [STORED, OPENED], "default": STORED},
    "from": {"type": "str", "choices": [INSTANCE, RUN_COMMAND, ONPREM, CONTROLLER], "default": INSTANCE},
    "configs": {"type": "list", "elements": "dict", "default": []},
    "split": {"type": "bool", "default": False},
    "split_recent": {"type": "bool", "default": False},
    "tier": {"type": "str", "choices": list(LIMITS)},
    "parameter_tags": {"type": "dict", "default": {}},
    "remove_surplus": {"type": "bool", "default": False},
    "instance_id": {"type": "str"},
    "admin_profile": {"type": "str"},
    "admin_role": {"type": "str"},
    "server_profile": {"type": "str"},
    "earlier_identity": {"type": "dict"},
    "admin_user": {"type": "str"},
    "credentials_file": {"type": "str", "default": ""},
    **{name: option for name, option in SOURCE_SPEC.items() if name != "region"},  # that is the one of the task
    "admin_window": {"type": "bool", "default": True},
    "admin_window_minutes": {"type": "int", "default": 15},
    "assume_associated": {"type": "bool", "default": False},
    "assume_restored": {"type": "bool", "default": False},
    "wait_timeout": {"type": "int", "default": 180},
    "identity_timeout": {"type": "int", "default": 300},
    "permission_timeout": {"type": "int", "default": 180},
    **_environment.ENVIRONMENT_SPEC,
}
_OF_INSTANCE = ["instance_id", "admin_profile", "admin_role", "server_profile"]
RULES: dict[str, Any] = {
    "required_if": [
        ("from", INSTANCE, _OF_INSTANCE),
        ("from", RUN_COMMAND, _OF_INSTANCE),
        ("from", ONPREM, ["admin_user"]),
    ],
}


class Wiring(NamedTuple):
    """What a transaction needs besides its options.

    :param client: makes a boto3 client for a service: ``Call.client``.
    :param shield: as for the transaction; it is around each call that writes, too.
    :param name: the name of the host, for messages.
    :param host: does what is to be done on the host.
    """

    client: Callable[..., Any]
    shield: Shield
    check_mode: bool
    name: str
    host: Any
    report: Report


def transaction(params: Mapping[str, Any], wiring: Wiring) -> Transaction:
    """Return the transaction that the options describe. :raises InvalidInput: an option is invalid."""
    configurations = _configurations(params)

    def aws_in(region: str | None = None) -> Aws:
        client = partial(wiring.client, region=region) if region else wiring.client
        return ShieldedAws(client, params["wait_timeout"], wiring.shield)

    source = _source(params, configurations, wiring, aws_in)
    does = partial(
        tidy,
        wiring.report,
        aws_in,
        configurations,
        tags=not source.may_tag,
        surplus=params["remove_surplus"],
        check_mode=wiring.check_mode,
    )
    return Transaction(source, configurations, does, wiring.shield)


def _configurations(params: Mapping[str, Any]) -> list[Configuration]:
    tags = desired_tags({"tags": params["parameter_tags"]})
    return [
        compared(each, params["tier"], tags, split=params["split"], split_recent=params["split_recent"])
        for each in params["configs"]
    ]


def _source(
    params: Mapping[str, Any], configurations: Sequence[Configuration], wiring: Wiring, aws_in: Callable[..., Aws]
) -> Source:
    if params["from"] == CONTROLLER:
        return ControllerSource(wiring.report, aws_in)
    window, aws = _window(params, configurations, wiring.check_mode), aws_in()
    opened = window if params["admin_window"] else None
    wait, pending = params["wait_timeout"], [each for each in configurations if each.plan_without_tags.has_changes]
    if params["from"] == ONPREM:
        return OnPremisesSource(wiring.report, aws, wiring.host, name=wiring.name, window=opened, wait_timeout=wait)
    admin = Admin(wiring.name, _desired_admin(params, aws.region, wiring.check_mode), opened, wait)
    if params["from"] == INSTANCE:
        earlier = params["earlier_identity"]
        return InstanceSource(wiring.report, aws, admin, wiring.host, configurations=pending, earlier=earlier)
    command = DesiredCommand(
        SENT,
        params["instance_id"],
        str(uuid.uuid4()),
        params["admin_role"],
        tuple(write for each in pending for write in writes(each, can_change_tier=not params["tier"])),
        _command_seconds(params),
        params["permission_timeout"],
    )
    return CommandSource(wiring.report, aws, admin, command, aws_in)


def _window(params: Mapping[str, Any], configurations: Sequence[Configuration], check_mode: bool) -> DesiredWindow:
    check_minutes(params["admin_window_minutes"])
    kind, principal = ("user", params["admin_user"]) if params["from"] == ONPREM else ("role", params["admin_role"])
    _names.check_name(kind, principal)
    written = [
        {"name": step.arguments["name"], "region": each.region}
        for each in configurations
        for step in each.plan_without_tags.all_steps
    ]
    window = DesiredWindow(
        kind,
        principal,
        OPEN,
        params["admin_window_minutes"],
        managed_only=not params["assume_created"],  # the task that creates it has checked it
        # Outside check mode the window is as IAM shows it.
        assume_closed=check_mode and params["assume_restored"],
        assume_created=check_mode and params["assume_created"],
        instance_id=params["instance_id"] if kind == "role" else None,
        parameters=window_parameters(written),
        read_others=not params["assume_created"],
    )
    check_binding(window)
    return window


def _desired_admin(params: Mapping[str, Any], region: str, check_mode: bool) -> DesiredAdmin:
    for name in (params["admin_profile"], params["server_profile"]):
        _names.check_name("instance profile", name)
    check_profiles(params["admin_profile"], params["server_profile"])
    _names.check_instance_id(params["instance_id"])
    return DesiredAdmin(
        ACQUIRED,
        params["admin_profile"],
        params["server_profile"],
        (params["instance_id"],),
        record_role=params["admin_role"],
        region=region,
        fail_if_tagged=params["state"] == STORED,  # a person may open a window for longer
        assume_running=params["state"] == STORED or params["from"] == INSTANCE,  # it has just answered
        assume_created=params["assume_created"],
        assume_released=check_mode and params["assume_restored"],
        assume_associated=check_mode and params["assume_associated"],
    )


def _command_seconds(params: Mapping[str, Any]) -> int:
    """Return how long the command may live: as long as the waits of the run, within the window."""
    waits = params["wait_timeout"] + params["identity_timeout"] + params["permission_timeout"]
    return int(min(params["admin_window_minutes"] * 60, max(2 * MIN_SECONDS, waits)))
