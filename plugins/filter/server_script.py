# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The script that collects facts on a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._verify.model import Server
from ansible_collections.cwagent.iam.plugins.module_utils._verify.script import script

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def server_script(server: Mapping[str, Any]) -> str:
    """Return the script for a server in the result of the module cwagent_server_info."""
    return script(Server.from_dict(server))


class FilterModule:
    """The filters in this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"server_script": server_script}
