# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run did, in lines for a person and as counts for a program, from the results of its modules."""

from __future__ import annotations

import textwrap
from collections import Counter
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any

from ansible.utils.helpers import pct_to_int

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

# Ansible prints each line in quotes, indented by eight columns; together they fit a terminal of 100 columns.
WIDTH = 88
RUN_AGAIN = (
    "Run this playbook again when this is fixed. An agent whose earlier access key was revoked cannot send until then."
)
KINDS = {"create": "created", "update": "updated", "delete": "deleted"}


def run_report(
    results: Iterable[Mapping[str, Any]], *, check_mode: bool = False, notes: Iterable[str] = ()
) -> list[str]:
    """The steps of a run with their counts, or that there was nothing to do.

    :param results: what the tasks registered, of loops too; results without steps, as of skipped tasks, count nothing.
    :param check_mode: whether the steps were only predicted.
    :param notes: further sentences, such as what was not asked for.
    """
    found = [each for result in results for each in _module_results(result)]
    # A module that failed has planned more steps than it has done, whatever its task made of the failure.
    steps = [step for each in found for step in each.get("done", () if each.get("failed") else each.get("steps", ()))]
    counts = _counts(found)
    would = "would be " if check_mode else ""
    summary = ", ".join(f"{count} {would}{KINDS[kind]}" for kind, count in counts.items() if count)
    lines = [f"{summary}:", *(f"- {step}" for step in steps)] if steps else ["Nothing to do."]
    return [part for line in [*lines, *_parts(found), *notes] for part in _wrap(line)]


def _counts(found: Collection[Mapping[str, Any]]) -> dict[str, int]:
    """How much was created, updated and deleted."""
    return {kind: sum(each.get("counts", {}).get(kind, 0) for each in found) for kind in KINDS}


def run_stats(results: Iterable[Mapping[str, Any]], *, check_mode: bool = False) -> dict[str, Any]:
    """What a run did, as counts only, so that it can be passed on to other jobs.

    :param results: as for ``run_report``.
    :param check_mode: whether the changes were only predicted.
    """
    found = [each for result in results for each in _module_results(result)]
    counts = _counts(found)
    keys = Counter(_phases(found).values())
    return {
        "check_mode": check_mode,
        "changes": sum(counts.values()),
        **{KINDS[kind]: count for kind, count in counts.items()},
        "keys": {phase: keys[phase] for phase in (*PHASES, "current") if keys[phase]},
    }


def _parts(found: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """How servers get a configuration that was stored in several parameters."""
    for each in chain.from_iterable(each.get("configurations", ()) for each in found):
        first, *others = [parameter["name"] for parameter in each["parameters"]]
        if others:
            yield f"Servers in {each['region']} fetch {first}, then append {', '.join(others)}, in this order."


# What a phase of a replacement means for the user it is about, and in which order phases are reported.
PHASES = {
    "blocked": "blocked: a key that is not saved takes the slot of the new one",
    "due": "a new access key was created and saved; deliver it to the server",
    "waiting_for_use": "waiting until the server uses the new access key, and it alone",
    "deactivating": "the old access key was deactivated",
    "grace_period": "the old access key is kept, deactivated, for the grace period",
    "deleting": "the old access key was deleted",
}


DELIVERED = "a new access key was created, saved and delivered to the server"


def rotation_report(results: Iterable[Mapping[str, Any]], *, delivered: Collection[str] = ()) -> list[str]:
    """How far the access keys of all users are replaced, a line for each user whose key is not simply current.

    :param results: of the module cwagent_iam_user, with ``rotation``.
    :param delivered: the users whose new key is on their servers already.
    """
    phase_of = _phases(each for result in results for each in _module_results(result))
    described = [
        f"{user}: {DELIVERED if phase == 'due' and user in delivered else text}"
        for phase, text in PHASES.items()
        for user, of in phase_of.items()
        if of == phase
    ]
    current = sum(phase == "current" for phase in phase_of.values())
    lines = [*described, f"{current} of {len(phase_of)} access keys are current."]
    return [part for line in lines for part in _wrap(line)]


def _phases(found: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """By user, how far the access key is replaced."""
    return {user: of for each in found if not each.get("failed") for user, of in each.get("rotation", {}).items()}


def _module_results(result: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The results of the module calls in one registered result."""
    if "results" in result:
        for each in result["results"]:
            yield from _module_results(each)
    elif not result.get("skipped"):
        yield result


def _wrap(line: str) -> list[str]:
    indent = "  " if line.startswith("- ") else ""
    return textwrap.wrap(line, WIDTH, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False) or [""]


def registered_results(hosts: Iterable[Mapping[str, Any]], names: Iterable[str]) -> list[Mapping[str, Any]]:
    """The results that tasks have registered, in the order of their names.

    :param hosts: the variables of the hosts on which the tasks can have run.
    :param names: of the registered variables. Those that no host has are left out.
    """
    listed = list(hosts)
    return [host[name] for name in names for host in listed if name in host]


def key_hosts(
    hosts: Iterable[Mapping[str, Any]], is_removal: bool = False, accepts_unreachable: bool = False
) -> dict[str, Any]:
    """What became of the access key on servers, by the variables that ``playbooks/tasks/credentials.yml`` sets.

    :param hosts: the variables of the servers. One that the tasks did not begin with is left out.
    :param is_removal: whether the tasks remove the key.
    :param accepts_unreachable: whether a server that could not be reached is no problem.
    :returns: the names of those where it is ``done`` and of those that were ``unreachable``, why others failed as
        ``failures``, the ``results`` of the module, whose steps name the server, the ``notes`` on servers without it,
        and those of them that are ``problems``.
    """
    found: dict[str, Any] = {"done": [], "unreachable": [], "failures": {}, "results": []}
    for host in hosts:
        reached, name = host.get("__cwagent_reached"), host["inventory_hostname"]
        if reached is None:
            continue
        # Empty, as the role has it at first, or without steps where the connection was lost in between.
        result = host.get("__onprem_credentials_files") or {}
        if "__cwagent_key_failure" in host:
            found["failures"][name] = str(host["__cwagent_key_failure"])
        elif reached.get("failed") and not reached.get("unreachable"):
            found["failures"][name] = failure_reason(reached)
        else:
            is_lost = host.get("__onprem_credentials_restarted", {}).get("unreachable", False)
            found["done" if "steps" in result and not is_lost else "unreachable"].append(name)
        if "steps" in result:
            lists = ("steps", "done", "not_done")
            named = {key: [f"{step} on {name}" for step in result[key]] for key in lists if key in result}
            found["results"].append({**result, **named})
    unreached, failed = ("is still on", "was not removed from") if is_removal else ("was not delivered to",) * 2
    names = ", ".join(found["unreachable"])
    missed = [f"The access key {unreached} {names}, which could not be reached."] if names else []
    failures = [f"The access key {failed} {name}: {reason}" for name, reason in found["failures"].items()]
    found["problems"] = failures if accepts_unreachable else missed + failures
    found["notes"] = missed + failures + ([RUN_AGAIN] if (missed or failures) and not is_removal else [])
    return found


def failure_reason(result: Mapping[str, Any]) -> str:
    """Why a task failed, in the words of its module, also for one with a loop."""
    items = [each for each in _module_results(result) if each.get("failed") and each.get("msg")]
    reasons = dict.fromkeys(str(each["msg"]) for each in items)
    return " ".join(reasons) or str(result.get("msg") or "A task failed without a message.")


def found_lines(found: Mapping[str, Any]) -> list[str]:
    """Which servers of an account were found, and which instance stores the configuration.

    :param found: the result of the module cwagent_account_info.
    """
    regions = ", ".join(f"{len(ids)} in {region}" for region, ids in found["instances"].items())
    admin = found["admin_instance"]
    stores = [f"{admin['instance_id']} in {admin['region']} stores the configuration."] if admin else []
    lines = [f"Servers: {regions or 'none'}.", *stores]
    return [part for line in lines for part in _wrap(line)]


# The longest name of an account with which a line fits.
NAME_WIDTH = 24
COLUMNS = ("account", "regions", *KINDS.values(), "unchanged", "result")


def account_table(
    hosts: Iterable[Mapping[str, Any]],
    accounts: Iterable[str],
    names: Iterable[str],
    active: Iterable[str],
    *,
    check_mode: bool = False,
) -> list[str]:
    """What was done in each account, as a table with a line for each, and why accounts failed.

    :param hosts: the variables of the hosts that stand for the accounts.
    :param accounts: the names of these hosts, in the same order.
    :param names: of the variables that the tasks have registered.
    :param active: the names of those that no task has left unreachable or failed.
    :param check_mode: whether the changes were only predicted.
    """
    variables, listed = list(names), list(hosts)
    reasons = _account_failures(listed, accounts, active)
    rows = []
    for host, (account, failure) in zip(listed, reasons.items()):
        found = [each for result in registered_results([host], variables) for each in _module_results(result)]
        rows.append((_shorten(account), *_account_cells(host, found), "FAILED" if failure else "ok"))
    failures = [f"{account}: {failure}" for account, failure in reasons.items() if failure]
    widths = [max(map(len, column)) for column in zip(COLUMNS, *rows)]
    is_text = [True, True, *(False for _kind in KINDS), False, True]

    def line(row: Iterable[str]) -> str:
        cells = (cell.ljust(width) if text else cell.rjust(width) for cell, width, text in zip(row, widths, is_text))
        return "  ".join(cells).rstrip()

    mode = ["Check mode: this is what a run would do."] if check_mode else []
    return [*mode, line(COLUMNS), *map(line, rows), *(part for each in failures for part in _wrap(f"- {each}"))]


def _shorten(account: str) -> str:
    return account if len(account) <= NAME_WIDTH else f"{account[: NAME_WIDTH - 1]}…"


def _account_cells(host: Mapping[str, Any], found: Collection[Mapping[str, Any]]) -> Iterator[str]:
    """The regions of an account, how much was created, updated and deleted, and how many results had nothing to do."""
    regions = (host.get("__cwagent_validated", {}).get("inputs") or {}).get("regions", [])
    yield "".join(regions[:1]) + (f" +{len(regions) - 1}" if len(regions) > 1 else "")
    yield from map(str, _counts(found).values())
    yield str(sum(not each["steps"] for each in found if "steps" in each and not each.get("failed")))


def account_failure(host: Mapping[str, Any]) -> str:
    """Why the work in an account failed; empty if it did not."""
    if "__cwagent_failure" in host:
        return str(host["__cwagent_failure"])
    if "__cwagent_rotation_failures" in host:
        return " ".join(host["__cwagent_rotation_failures"])
    validated = host.get("__cwagent_validated", {})
    return "" if validated.get("inputs") else str(validated.get("msg") or "It was not begun.")


def _account_failures(
    hosts: Iterable[Mapping[str, Any]], accounts: Iterable[str], active: Iterable[str]
) -> dict[str, str]:
    """By account, why the work in it failed; empty if it did not."""
    finished = {*active}
    return {
        account: account_failure(host) or ("" if account in finished else UNFINISHED)
        for account, host in zip(accounts, hosts)
    }


UNFINISHED = "It was not finished: a task failed, or the host was unreachable."
SKIPPED = "Skipped: "


def skip_reason(
    hosts: Iterable[Mapping[str, Any]],
    accounts: Iterable[str],
    active: Iterable[str],
    account: str,
    *,
    batch_sizes: Sequence[str],
    max_fail_percentage: int,
) -> str:
    """Why an account is skipped: too many of its batch or of an earlier one failed. Empty if it is not skipped.

    Ansible's own keyword counts no failure that a playbook has rescued.

    :param hosts: the variables of the hosts that stand for the accounts.
    :param accounts: the names of these hosts, in the same order, which is that of the batches.
    :param active: the names of those that no task has left unreachable or failed.
    :param account: the name of the account that is about to begin.
    :param batch_sizes: as for ``serial``.
    :param max_fail_percentage: the percentage of the accounts in a batch that may fail. Skipped ones do not count.
    """
    reasons = _account_failures(hosts, accounts, active)
    names, sizes, begun = list(reasons), chain(batch_sizes, repeat(batch_sizes[-1])), 0
    while begun <= names.index(account):
        batch = names[begun : begun + pct_to_int(next(sizes), len(names))]
        begun += len(batch)
        failed = sum(bool(reasons[each]) and not reasons[each].startswith(SKIPPED) for each in batch)
        if 100 * failed > max_fail_percentage * len(batch):
            counts = f"{failed} of {len(batch)} accounts of a batch failed"
            return f"{SKIPPED}{counts} (cwagent_max_fail_percentage is {max_fail_percentage})."
    return ""


class FilterModule:
    """The filters that word the reports of runs."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """By name, the filters."""
        return {
            "account_failure": account_failure,
            "account_table": account_table,
            "failure_reason": failure_reason,
            "found_lines": found_lines,
            "key_hosts": key_hosts,
            "registered_results": registered_results,
            "rotation_report": rotation_report,
            "run_report": run_report,
            "run_stats": run_stats,
            "skip_reason": skip_reason,
        }
