# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The users of hybrid servers that must stay, because a server has not been seen with its registration. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._report.results import failure_reason
from .hosts import HYBRID, flatten

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .run import Run


def users_on_hold(run: Run, hostvars: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return by user of hybrid servers why it must stay as it is; nothing for a user that no server needs any more.

    :param hostvars: the variables of the hosts, with the results that the role hybrid_registration has registered.
    """
    retired = flatten(run.retired_users)
    found: dict[str, list[str]] = {}
    for host, each in run.onprem_hosts.items():
        if each.identity == HYBRID and each.user in retired:
            reason = _explain_hold(host, hostvars[host], run.settings["hybrid_role_name"])
            found.setdefault(each.user, []).extend([reason] if reason else [])
    return {user: " ".join(reasons) for user, reasons in found.items() if reasons}


def _explain_hold(host: str, variables: Mapping[str, Any], role: str) -> str:
    """Return why it is not known that the agent of a host uses the credentials of its node; empty if it does."""
    reached = variables.get("__cwagent_reached")
    if reached is None:
        return f"The limit leaves out {host}."
    if reached.get("unreachable"):
        return f"{host} could not be reached."
    failure = variables.get("__cwagent_key_failure", reached if reached.get("failed") else None)
    if failure is not None:
        return f"A task on {host} failed: {failure_reason(failure)}"
    node = (variables.get("__hybrid_registration_node") or {}).get("node") or {}
    files = variables.get("__hybrid_registration_files") or {}
    if not node.get("id"):
        return f"{host} is not registered yet."
    caller = files.get("caller") or ""
    if caller.endswith(f":assumed-role/{role}/{node['id']}"):
        return ""
    reason = files.get("caller_error") or (f"the caller is {caller}" if caller else "the caller is not known")
    return f"{host} does not have working credentials of node {node['id']} yet: {reason.rstrip('.')}."
