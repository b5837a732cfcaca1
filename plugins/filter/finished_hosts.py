# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The servers on which the tasks for credentials have succeeded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.plugin_utils._run_report import key_hosts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


def finished_hosts(hosts: Iterable[str], hostvars: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the hosts that were reached, and on which no task failed."""
    found: list[str] = key_hosts(hostvars[host] for host in hosts if host in hostvars)["done"]
    return found


class FilterModule:
    """The filters in this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"finished_hosts": finished_hosts}
