# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the desired admin instance, and its admin window, from a module's options."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils import _names
from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance.plan import (
    ASSUME_RELEASED,
    EXCLUSIVE,
    NO_PROFILE,
    RELEASED,
    DesiredAdmin,
    check_profiles,
)
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.options import window_parameters
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.plan import (
    CLOSED,
    OPEN,
    DesiredWindow,
    check_binding,
    check_minutes,
)
from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping


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
