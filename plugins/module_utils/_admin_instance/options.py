# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the module cwagent_admin_instance, and the admin instance and window that they describe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils import _names
from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance.plan import (
    ACQUIRED,
    RELEASED,
    DesiredAdmin,
    check_profiles,
)
from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance.resource import AdminInstanceResource
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.options import (
    PARAMETERS_SPEC,
    window_parameters,
)
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.plan import (
    CLOSED,
    OPEN,
    DesiredWindow,
    check_binding,
    check_minutes,
)
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.resource import WindowResource
from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._wait import WAIT_SPEC

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws

SPEC: dict[str, Any] = {
    "admin_profile": {"type": "str", "required": True},
    "server_profile": {"type": "str", "required": True},
    "instance_ids": {"type": "list", "elements": "str"},
    "state": {"type": "str", "choices": [ACQUIRED, RELEASED], "required": True},
    "fallback_instance_ids": {"type": "list", "elements": "str", "default": []},
    "record_role": {"type": "str"},
    "admin_role": {"type": "str"},
    "window_minutes": {"type": "int", "default": 15},
    "managed_only": {"type": "bool", "default": False},
    "parameters": PARAMETERS_SPEC,
    **WAIT_SPEC,
}
RULES: dict[str, Any] = {"required_if": [("state", ACQUIRED, ["instance_ids"])]}


def resource(params: Mapping[str, Any], aws: Aws, region: str | None, check_mode: bool) -> AdminInstanceResource:
    """Return the admin instance of the module. :raises InvalidInput: an option is invalid."""
    del region, check_mode
    desired, window = desired_admin(params, aws.region), desired_window(params)
    opened_or_closed = WindowResource(aws, window, fail_if_open=window.state == OPEN) if window else None
    return AdminInstanceResource(aws, desired, opened_or_closed)


def desired_admin(params: Mapping[str, Any], region: str) -> DesiredAdmin:
    """Return the desired state of the instances of a region. :raises InvalidInput: an option is invalid."""
    for name in (params["admin_profile"], params["server_profile"]):
        _names.check_name("instance profile", name)
    check_profiles(params["admin_profile"], params["server_profile"])
    if params["instance_ids"] == [] and params["state"] != RELEASED:
        raise InvalidInput("instance_ids is empty: there is no instance for the admin profile.")
    for instance_id in [*(params["instance_ids"] or ()), *params["fallback_instance_ids"]]:
        _names.check_instance_id(instance_id)
    record_role = params["record_role"] or params["admin_role"] or params["admin_profile"]
    _names.check_name("role", record_role)
    return DesiredAdmin(
        state=params["state"],
        admin=params["admin_profile"],
        fallback=params["server_profile"],
        instance_ids=None if params["instance_ids"] is None else tuple(params["instance_ids"]),
        fallback_ids=frozenset(params["fallback_instance_ids"]),
        record_role=record_role,
        region=region,
        fail_if_tagged=True,
    )


def desired_window(params: Mapping[str, Any]) -> DesiredWindow | None:
    """Return the admin window to open or close; ``None`` for no window. :raises InvalidInput: an option is invalid."""
    role = params["admin_role"]
    if role is None:
        return None
    _names.check_name("role", role)
    if params["state"] == RELEASED:
        return DesiredWindow("role", role, CLOSED)
    check_minutes(params["window_minutes"])
    desired = DesiredWindow(
        "role",
        role,
        OPEN,
        params["window_minutes"],
        managed_only=params["managed_only"],
        instance_id=params["instance_ids"][0],  # more than one are refused
        parameters=window_parameters(params["parameters"]),
    )
    check_binding(desired)
    return desired
