# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the module cwagent_admin_instance, and the admin instance and window that they describe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils import _names
from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance.plan import (
    ACQUIRED,
    ASSUME_ACQUIRED,
    ASSUME_RELEASED,
    ASSUME_TAGGED,
    EXCLUSIVE,
    NO_PROFILE,
    RELEASED,
    DesiredAdmin,
    check_profiles,
)
from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance.resource import (
    RECORD_SECONDS,
    AdminInstanceResource,
)
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
    "state": {"type": "str", "choices": [ACQUIRED, EXCLUSIVE, RELEASED], "required": True},
    "fallback_instance_ids": {"type": "list", "elements": "str", "default": []},
    "record_role": {"type": "str"},
    "known_earlier_profile": {"type": "str"},
    "admin_role": {"type": "str"},
    "window_minutes": {"type": "int", "default": 15},
    "managed_only": {"type": "bool", "default": False},
    "parameters": PARAMETERS_SPEC,
    "fail_if_tagged": {"type": "bool", "default": False},
    "fail_if_lost": {"type": "bool", "default": False},
    "associate_again": {"type": "bool", "default": False},
    "assume_running": {"type": "bool", "default": False},
    "assume_created": {"type": "bool", "default": False},
    "assume_associated": {"type": "bool", "default": False},
    "assume": {"type": "str", "choices": [ASSUME_ACQUIRED, ASSUME_TAGGED, ASSUME_RELEASED]},
    "skip_window_read": {"type": "bool", "default": False},
    "keep_tag": {"type": "bool", "default": False},
    **WAIT_SPEC,
}
RULES: dict[str, Any] = {"required_if": [("state", state, ["instance_ids"]) for state in (ACQUIRED, EXCLUSIVE)]}


def resource(
    params: Mapping[str, Any],
    aws: Aws,
    region: str | None,
    check_mode: bool,
    *,
    record_seconds: float = RECORD_SECONDS,
) -> AdminInstanceResource:
    """Return the admin instance of the module. :raises InvalidInput: an option is invalid."""
    del region
    desired, window = desired_admin(params, aws.region, check_mode), desired_window(params, check_mode)
    opened_or_closed = WindowResource(aws, window, fail_if_open=window.state == OPEN) if window else None
    return AdminInstanceResource(aws, desired, opened_or_closed, record_seconds)


def desired_admin(params: Mapping[str, Any], region: str, check_mode: bool) -> DesiredAdmin:
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
    known = params["known_earlier_profile"]
    if known:
        _names.check_name("instance profile", known)
    return DesiredAdmin(
        state=params["state"],
        admin=params["admin_profile"],
        fallback=params["server_profile"],
        instance_ids=None if params["instance_ids"] is None else tuple(params["instance_ids"]),
        fallback_ids=frozenset(params["fallback_instance_ids"]),
        record_role=record_role,
        region=region,
        # To acquire, the earlier profile is always read.
        known_earlier=None if known is None or params["state"] != RELEASED else known or NO_PROFILE,
        keep_tag=params["keep_tag"],
        fail_if_tagged=params["fail_if_tagged"],
        fail_if_lost=params["fail_if_lost"],
        associate_again=params["associate_again"],
        assume_running=params["assume_running"],
        assume_created=params["assume_created"],
        # Outside check mode the instances are as AWS shows them.
        assume=params["assume"] if check_mode else None,
        assume_associated=check_mode and params["assume_associated"],
    )


def desired_window(params: Mapping[str, Any], check_mode: bool) -> DesiredWindow | None:
    """Return the admin window to open or close; ``None`` if none is. :raises InvalidInput: an option is invalid."""
    role = params["admin_role"]
    if role is None or params["state"] == EXCLUSIVE:
        return None
    _names.check_name("role", role)
    if params["state"] == RELEASED:
        return DesiredWindow("role", role, CLOSED, force=params["skip_window_read"])
    check_minutes(params["window_minutes"])
    desired = DesiredWindow(
        "role",
        role,
        OPEN,
        params["window_minutes"],
        managed_only=params["managed_only"],
        # Outside check mode the window is as IAM shows it.
        assume_closed=check_mode and params["assume"] == ASSUME_RELEASED,
        assume_created=check_mode and params["assume_created"],
        instance_id=params["instance_ids"][0],  # more than one are refused
        parameters=window_parameters(params["parameters"]),
        read_others=not params["assume_created"],
    )
    check_binding(desired)
    return desired
