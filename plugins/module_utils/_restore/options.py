# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the module cwagent_restore."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance.plan import check_profiles
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.plan import ABSENT, CLOSED
from ansible_collections.cwagent.iam.plugins.module_utils._preflight.checks import Problems, fail_on_problems
from ansible_collections.cwagent.iam.plugins.module_utils._preflight.unlisted import UNLISTED_SPEC, to_listed
from ansible_collections.cwagent.iam.plugins.module_utils._restore.resource import KEEP, Leftovers
from ansible_collections.cwagent.iam.plugins.module_utils._wait import WAIT_SPEC

if TYPE_CHECKING:
    from collections.abc import Mapping

SPEC: dict[str, Any] = {
    "admin_role": {"type": "str"},
    "server_profile": {"type": "str", "required": True},
    "window_state": {"type": "str", "choices": [CLOSED, ABSENT, KEEP], "default": CLOSED},
    "close_role_window": {"type": "bool", "default": True},
    "admin_users": {"type": "list", "elements": "str", "default": []},
    "instances": {"type": "dict", "default": {}},
    "check_instances": {"type": "bool", "default": False},
    "adopt_existing": {"type": "bool", "default": True},
    **UNLISTED_SPEC,
    **WAIT_SPEC,
}
RULES: dict[str, Any] = {}


def to_leftovers(params: Mapping[str, Any]) -> Leftovers:
    """Return the places to check. :raises InvalidInput: an option is invalid. The message lists all problems."""
    role, profile, found = params["admin_role"], params["server_profile"], Problems()
    found.check_names("instance profile", [profile])
    if role is not None:
        found.check_names("role", [role])
        found.check(check_profiles, role, profile)
    for option in ("admin_users", "users"):
        found.check_names("user", params[option])
    instances = found.check_instances(params["instances"])
    fail_on_problems(found.messages)
    return Leftovers(
        role,
        profile,
        params["window_state"],
        params["close_role_window"],
        params["admin_users"],
        instances,
        params["check_instances"],
        params["adopt_existing"],
        to_listed(params, instances, [profile, *([role] if role else [])]),
    )
