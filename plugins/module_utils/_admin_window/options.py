# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the module cwagent_admin_window, and the admin window that they describe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils import _names
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.plan import (
    ABSENT,
    CLOSED,
    OPEN,
    DesiredWindow,
    check_binding,
    check_minutes,
)
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.policy import WindowParameter
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.resource import WindowResource
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.plan import check_parameter_name
from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._wait import WAIT_SPEC

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws

# For the modules that open a window. The names are checked, because a wildcard would open it for other parameters too.
PARAMETERS_SPEC: dict[str, Any] = {
    "type": "list",
    "elements": "dict",
    "default": [],
    "options": {"name": {"type": "str", "required": True}, "region": {"type": "str", "required": True}},
}

SPEC: dict[str, Any] = {
    "role": {"type": "str"},
    "user": {"type": "str"},
    "state": {"type": "str", "choices": [OPEN, CLOSED, ABSENT], "required": True},
    "window_minutes": {"type": "int", "default": 15},
    "instance_id": {"type": "str"},
    "parameters": PARAMETERS_SPEC,
    "fail_if_open": {"type": "bool", "default": False},
    "force": {"type": "bool", "default": False},
    "managed_only": {"type": "bool", "default": False},
    **WAIT_SPEC,
}
RULES: dict[str, Any] = {
    "required_one_of": [("role", "user")],
    "mutually_exclusive": [("role", "user"), ("user", "instance_id")],
}


def resource(
    params: Mapping[str, Any],
    aws: Aws,
    region: str | None,
    *,
    is_admin_policy: Callable[[str], bool],
) -> WindowResource:
    """Return the admin window of the module. :raises InvalidInput: an option is invalid."""
    del region
    return WindowResource(aws, desired_window(params), params["fail_if_open"], is_admin_policy)


def window_parameters(given: Iterable[Mapping[str, str]]) -> tuple[WindowParameter, ...]:
    """Return the parameters of an option, sorted. :raises InvalidInput: a name or region is not valid."""
    for each in given:
        check_parameter_name(each["name"])
        _names.check_region(each["region"])
    return tuple(sorted({WindowParameter(each["name"], each["region"]) for each in given}))


def desired_window(params: Mapping[str, Any]) -> DesiredWindow:
    """Return the desired window. :raises InvalidInput: an option is invalid."""
    kind = "role" if params["role"] else "user"
    if not params[kind]:
        raise InvalidInput("One of role and user is required.")
    _names.check_name(kind, params[kind])
    if params["state"] == OPEN:
        check_minutes(params["window_minutes"])
    if params["instance_id"] is not None:
        _names.check_instance_id(params["instance_id"])
    desired = DesiredWindow(
        kind,
        params[kind],
        params["state"],
        params["window_minutes"],
        params["force"],
        params["managed_only"],
        instance_id=params["instance_id"],
        parameters=window_parameters(params["parameters"]),
    )
    check_binding(desired)
    return desired
