# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the module cwagent_restore."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils import _names
from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance.plan import check_profiles
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.plan import ABSENT, CLOSED
from ansible_collections.cwagent.iam.plugins.module_utils._restore.resource import KEEP, Leftovers
from ansible_collections.cwagent.iam.plugins.module_utils._wait import WAIT_SPEC

if TYPE_CHECKING:
    from collections.abc import Mapping

SPEC: dict[str, Any] = {
    "admin_role": {"type": "str", "required": True},
    "server_profile": {"type": "str", "required": True},
    "window_state": {"type": "str", "choices": [CLOSED, ABSENT, KEEP], "default": CLOSED},
    "close_role_window": {"type": "bool", "default": True},
    "users": {"type": "list", "elements": "str", "default": []},
    "instances": {"type": "dict", "default": {}},
    "record_regions": {"type": "list", "elements": "str"},
    "adopt_existing": {"type": "bool", "default": True},
    **WAIT_SPEC,
}
RULES: dict[str, Any] = {}


def leftovers(params: Mapping[str, Any]) -> Leftovers:
    """Return the places to check. :raises InvalidInput: an option is invalid."""
    _names.check_name("role", params["admin_role"])
    _names.check_name("instance profile", params["server_profile"])
    check_profiles(params["admin_role"], params["server_profile"])
    for user in params["users"]:
        _names.check_name("user", user)
    for instance_id in (each for names in params["instances"].values() for each in names):
        _names.check_instance_id(instance_id)
    return Leftovers(
        params["admin_role"],
        params["server_profile"],
        params["window_state"],
        params["close_role_window"],
        params["users"],
        params["instances"],
        params["record_regions"],
        params["adopt_existing"],
    )
