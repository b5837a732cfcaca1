# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The outcome for the credentials on servers. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._credentials_file.plan import RESTART_SUMMARY
from ansible_collections.cwagent.iam.plugins.plugin_utils._run_report.results import (
    ADDS_SERVER,
    Record,
    failure_reason,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping


RUN_AGAIN_ONLY = "Run this playbook again when this is fixed."
RUN_AGAIN = f"{RUN_AGAIN_ONLY} An agent whose earlier access key was revoked cannot send until then."
# The registered results of the tasks that manage the credentials of a server.
FILES, NODE, SETTINGS = CREDENTIALS = (
    "__onprem_credentials_files",
    "__hybrid_registration_node",
    "__hybrid_registration_files",
)


def key_hosts(
    hosts: Iterable[Mapping[str, Any]],
    hybrid: Collection[str] = (),
    is_removal: bool = False,
    accepts_unreachable: bool = False,
) -> dict[str, Any]:
    """The outcome for credentials on servers, from the variables that ``playbooks/tasks/credentials.yml`` sets.

    :param hosts: the variables of the servers. A server on which the tasks did not start is left out.
    :param hybrid: the names of the hybrid servers. The others have access keys.
    :param is_removal: whether the tasks remove the credentials.
    :param accepts_unreachable: whether an unreachable server is accepted, instead of a problem.
    :returns: the names of servers that are ``done`` or ``unreachable``, by server the reasons of other ``failures``,
        the ``records`` of the modules with the server in each step, ``notes`` for a person, and ``problems``.
    """
    found: dict[str, Any] = {"done": [], "unreachable": [], "failures": {}, "records": []}
    delivered: list[str] = []
    for host in hosts:
        reached, name = host.get("__cwagent_reached"), host["inventory_hostname"]
        if reached is None:
            continue
        # In the order in which the tasks ran. Without steps where the connection was lost, or where a task was skipped.
        named = (each for each in host if each in CREDENTIALS and "steps" in (host[each] or {}))
        records = {each: Record.from_result(host[each]) for each in named}
        if "__cwagent_key_failure" in host:
            found["failures"][name] = failure_reason(host["__cwagent_key_failure"])
        elif reached.get("failed") and not reached.get("unreachable"):
            found["failures"][name] = failure_reason(reached)
        else:
            is_lost = any(host.get(each, {}).get("unreachable", False) for each in CREDENTIALS)
            found["done" if records and not is_lost else "unreachable"].append(name)
        if not is_removal and _has_credentials(records, is_hybrid=name in hybrid):
            delivered.append(name)
        found["records"] += [record.on(name) if ADDS_SERVER[each] else record for each, record in records.items()]
    missed = [*_unreached(found["unreachable"], hybrid, is_removal=is_removal)]
    failures = [
        _server_failure(name, reason, is_hybrid=name in hybrid, is_removal=is_removal, is_delivered=name in delivered)
        for name, reason in found["failures"].items()
    ]
    found["problems"] = failures if accepts_unreachable else missed + failures
    with_keys = [name for name in (*found["unreachable"], *found["failures"]) if name not in hybrid]
    again = [] if is_removal or not (missed or failures) else [RUN_AGAIN if with_keys else RUN_AGAIN_ONLY]
    found["notes"] = missed + failures + again
    return found


def _has_credentials(records: Mapping[str, Record], *, is_hybrid: bool) -> bool:
    """Whether a server is registered, or has its access key. The restart of the agent is the last step."""
    record = records.get(NODE if is_hybrid else FILES)
    return record is not None and (not record.has_failed or record.not_done == (RESTART_SUMMARY,))


def _unreached(names: Iterable[str], hybrid: Collection[str], *, is_removal: bool) -> Iterator[str]:
    """The servers that were not reached, in sentences."""
    with_keys = ", ".join(name for name in names if name not in hybrid)
    others = ", ".join(name for name in names if name in hybrid)
    if with_keys:
        unreached = "is still on" if is_removal else "was not delivered to"
        yield f"The access key {unreached} {with_keys}, which could not be reached."
    if others:
        unreached = "The agent's settings are still on" if is_removal else "The registration was not completed on"
        yield f"{unreached} {others}, which could not be reached."


def _server_failure(name: str, reason: str, *, is_hybrid: bool, is_removal: bool, is_delivered: bool) -> str:
    """The failure on a server, in a sentence."""
    if is_removal:
        credentials = "registration" if is_hybrid else "access key"
        return f"The {credentials} was not removed from {name}: {reason}"
    if is_delivered:
        done = f"{name} was registered" if is_hybrid else f"The access key was delivered to {name}"
        return f"{done}, but a later task failed: {reason}"
    return (
        f"The registration of {name} was not managed: {reason}"
        if is_hybrid
        else (f"The access key was not delivered to {name}: {reason}")
    )
