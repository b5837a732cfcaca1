# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the desired admin window from a module's options."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils import _names
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.plan import OPEN, DesiredWindow, check_minutes
from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping


def desired_window(params: Mapping[str, Any], check_mode: bool) -> DesiredWindow:
    """Return the desired window. :raises InvalidInput: an option is invalid."""
    kind = "role" if params["role"] else "user"
    if not params[kind]:
        raise InvalidInput("One of role and user is required.")
    _names.check_name(kind, params[kind])
    if params["state"] == OPEN:
        check_minutes(params["minutes"])
    return DesiredWindow(
        kind,
        params[kind],
        params["state"],
        params["minutes"],
        params["force"],
        params["managed_only"],
        # Outside check mode the window is as IAM shows it.
        assume_closed=check_mode and params["assume_closed"],
    )
