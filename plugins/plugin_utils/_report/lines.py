# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps of a run in lines for a person. Pure.

How far access keys are replaced and users are retired, in lines for a person.

The outcome for the credentials on servers.
"""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from itertools import chain
from typing import TYPE_CHECKING, Any

from ...module_utils._ground.text import count_noun
from ...module_utils._servers.credentials_plan import RESTART_SUMMARY
from .results import ADDS_SERVER, Record, failure_reason

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence


# Ansible prints each line in quotes, indented by eight columns; together they fit a terminal of 100 columns.
WIDTH = 88
NOTHING_TO_DO = "Nothing to do."
KINDS = {"create": "created", "update": "updated", "delete": "deleted"}


def run_report(
    records: Sequence[Record],
    *,
    check_mode: bool = False,
    notes: Iterable[str] = (),
    hosts: Mapping[str, str] | None = None,
) -> list[str]:
    """The steps of a run with their counts, or that there was nothing to do.

    :param check_mode: whether the steps were only predicted.
    :param notes: further sentences, such as a note on work that was not requested.
    :param hosts: by ID of an instance, its host.
    """
    steps = [step for each in records for step in each.steps]
    for instance, host in (hosts or {}).items():
        steps = [re.sub(rf"\b{instance}\b", f"{host} ({instance})", step) for step in steps]
    counts = count_changes(records)
    would = "would be " if check_mode else ""
    summary = ", ".join(f"{count} {would}{KINDS[kind]}" for kind, count in counts.items() if count)
    lines = [f"{summary}:", *(f"- {step}" for step in steps)] if steps else [NOTHING_TO_DO]
    return [part for line in [*lines, *_parts(records), *notes] for part in wrap(line)]


def count_changes(records: Sequence[Record]) -> dict[str, int]:
    """How much was created, updated and deleted."""
    return {kind: sum(each.counts.get(kind, 0) for each in records) for kind in KINDS}


def _parts(records: Iterable[Record]) -> Iterator[str]:
    """How servers get a configuration that was stored in several parameters."""
    for each in chain.from_iterable(each.configurations for each in records):
        first, *others = [parameter["name"] for parameter in each["parameters"]]
        if others:
            yield f"Servers in {each['region']} fetch {first}, then append {', '.join(others)}, in this order."


def wrap(line: str) -> list[str]:
    indent = "  " if line.startswith("- ") else ""
    return textwrap.wrap(line, WIDTH, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False) or [""]


# The meaning of each phase of a replacement for its user, in the order of the report.
PHASES = {
    "blocked": "blocked: a key that is not saved takes the slot of the new one",
    "due": "a new access key {was} created and saved",
    "waiting_for_use": "waiting until the server uses the new access key, and it alone",
    "deactivating": "the old access key {was} deactivated",
    "grace_period": "the old access key is kept, deactivated, for the grace period",
    "deleting": "the old access key {was} deleted",
}
# The same for the retirement of a user.
RETIREMENT_PHASES = {
    "blocked": "blocked: {reasons}",
    "waiting": "the access key is kept until all servers are ready: {reasons}",
    "in_use": "waiting until the access key was unused for five hours",
    "deactivating": (
        "the access key {was} deactivated, because its servers are registered with Systems Manager; {later}"
    ),
    "grace_period": "the access key is kept, deactivated, for the grace period; {later}",
    "deleting": "the user {was} deleted with its access key",
}
DELETED_LATER = "the user is deleted {} after the last use"
KEPT = "the user is kept without an access key: {reasons}"
DELIVERED = "a new access key {was} created, saved and delivered to the server"
TO_DELIVER = f"{PHASES['due']}; deliver it to the server"


def rotation_report(records: Iterable[Record], is_delivered: Mapping[str, bool], *, check_mode: bool) -> list[str]:
    """How far the access keys of all users are replaced: a line for each user whose key is not current, and counts.

    :param is_delivered: by user of servers, whether the new key is on all of these servers.
    :param check_mode: whether the changes were only predicted.
    """
    phase_of = rotation_phases(records)
    due = {user: DELIVERED if is_on_servers else TO_DELIVER for user, is_on_servers in is_delivered.items()}
    was = "would be" if check_mode else "was"
    described = [
        f"{user}: {(due.get(user, text) if phase == 'due' else text).format(was=was)}"
        for phase, text in PHASES.items()
        for user, of in phase_of.items()
        if of == phase
    ]
    words = {"current": "current", "due": "would be replaced" if check_mode else "replaced", "blocked": "blocked"}
    # In all other phases, the old key still exists.
    counts = Counter(words.get(phase, "being replaced") for phase in phase_of.values())
    shown = [f"{counts[each]} {each}" for each in (*words.values(), "being replaced") if counts[each]]
    lines = [*described, *([f"Access keys: {', '.join(shown)}."] if shown else [])]
    return [part for line in lines for part in wrap(line)]


def retirement_report(records: Iterable[Record], *, check_mode: bool, key_delete_after_days: int) -> list[str]:
    """How far the users of servers that no longer need access keys are retired, a line for each user.

    :param check_mode: whether the changes were only predicted.
    :param key_delete_after_days: how long a user is kept after the last use of its access key.
    """
    found = [each for each in records if each.retirement]
    later = DELETED_LATER.format(count_noun(key_delete_after_days, "day"))
    reasons = {user: ", ".join(of) for each in found for user, of in each.blockers.items()}
    phase_of = {user: of for each in found for user, of in each.retirement.items()}
    lines = [
        f"{user}: "
        + (KEPT if of == "deleting" and user in reasons else text).format(
            was="would be" if check_mode else "was", later=later, reasons=reasons.get(user, "")
        )
        for phase, text in RETIREMENT_PHASES.items()
        for user, of in phase_of.items()
        if of == phase
    ]
    return [part for line in lines for part in wrap(line)]


def rotation_phases(records: Iterable[Record]) -> dict[str, str]:
    """By user, how far the access key is replaced."""
    return {user: of for each in records for user, of in each.rotation.items()}


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
