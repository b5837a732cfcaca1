# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report on a run in one account or in many, its counts, and which accounts are skipped after failures. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any

from ansible.utils.helpers import pct_to_int

from ansible_collections.cwagent.iam.plugins.plugin_utils._inputs.given import ADMIN_INSTANCE, APPLY
from ansible_collections.cwagent.iam.plugins.plugin_utils._run_report.account import Account, window_deadline
from ansible_collections.cwagent.iam.plugins.plugin_utils._run_report.keys import PHASES, rotation_phases
from ansible_collections.cwagent.iam.plugins.plugin_utils._run_report.results import account_records
from ansible_collections.cwagent.iam.plugins.plugin_utils._run_report.steps import (
    KINDS,
    NOTHING_TO_DO,
    count_changes,
    wrap,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ansible_collections.cwagent.iam.plugins.plugin_utils._run_report.results import Record


@dataclass(frozen=True)
class Report:
    """The report on a run. :param failures: by account, all failures in one text, which is empty if there are none."""

    lines: Sequence[str]
    stats: Mapping[str, Any]
    failures: Mapping[str, str]


def run_stats(*accounts: Sequence[Record], check_mode: bool) -> dict[str, Any]:
    """The changes of a run, as counts only, so that they can be passed on to other jobs.

    :param accounts: for each account, the records. Users of two accounts can have the same name.
    :param check_mode: whether the changes were only predicted.
    """
    counts = count_changes([*chain.from_iterable(accounts)])
    keys = Counter(phase for records in accounts for phase in rotation_phases(records).values())
    return {
        "check_mode": check_mode,
        "changes": sum(counts.values()),
        **{KINDS[kind]: count for kind, count in counts.items()},
        "keys": {phase: keys[phase] for phase in (*PHASES, "current") if keys[phase]},
    }


def report(accounts: Sequence[Account], *, check_mode: bool) -> Report:
    """The report on a run in the account of the controller's credentials, or in the accounts that are hosts."""
    stats = run_stats(*(account.records for account in accounts), check_mode=check_mode)
    lines = [line for account in accounts for line in _headed(account, account.lines(check_mode=check_mode))]
    if any(account.is_host for account in accounts):
        lines += account_table(accounts, check_mode=check_mode)
        stats["failed_accounts"] = sum(account.has_failed for account in accounts)
    checked = [
        found
        for account in accounts
        if APPLY not in account.requires and (found := account.variables.get("__verify_checked", {})).get("servers")
    ]
    if checked:
        stats["servers"] = sum(len(each["servers"]) for each in checked)
        stats["failed_servers"] = sum(len(each["failed_hosts"]) for each in checked)
    if accounts and ADMIN_INSTANCE in accounts[0].requires:
        stats["window_deadline"] = window_deadline(accounts[0])
    return Report(lines, stats, {account.name: " ".join(account.failures) for account in accounts})


def _headed(account: Account, lines: list[str]) -> list[str]:
    """The lines of an account with its name as a heading; nothing if a host's account had nothing to do."""
    if not account.is_host:
        return lines
    return [] if lines in ([], [NOTHING_TO_DO]) else [f"{account.name}:", *lines]


# The longest name of an account with which a line fits.
NAME_WIDTH = 24
COLUMNS = ("account", "regions", *KINDS.values(), "unchanged", "result")


def account_table(accounts: Sequence[Account], *, check_mode: bool = False) -> list[str]:
    """A table with a line for the work in each account, and the reasons why accounts failed.

    :param check_mode: whether the changes were only predicted.
    """
    rows = [(_shorten(each.name), *_account_cells(each), _outcome(each)) for each in accounts]
    failures = [f"{each.name}: {each.failure}" for each in accounts if each.failure]
    widths = [max(map(len, column)) for column in zip(COLUMNS, *rows)]
    is_text = [True, True, *(False for _kind in KINDS), False, True]

    def line(row: Iterable[str]) -> str:
        cells = (cell.ljust(width) if text else cell.rjust(width) for cell, width, text in zip(row, widths, is_text))
        return "  ".join(cells).rstrip()

    mode = ["Check mode: this is what a run would do."] if check_mode else []
    return [*mode, line(COLUMNS), *map(line, rows), *(part for each in failures for part in wrap(f"- {each}"))]


def _outcome(account: Account) -> str:
    if account.has_failed:
        return "FAILED"
    return "restore first" if account.needs_restore else "ok"


def _shorten(account: str) -> str:
    return account if len(account) <= NAME_WIDTH else f"{account[: NAME_WIDTH - 1]}…"


def _account_cells(account: Account) -> Iterator[str]:
    """The regions of an account, how much was created, updated and deleted, and how many calls had nothing to do."""
    # The steps of a playbook that applies configurations are on servers.
    records = account.records if APPLY in account.requires else account_records(account.variables)
    regions = account.run.regions if account.run else []
    yield "".join(regions[:1]) + (f" +{len(regions) - 1}" if len(regions) > 1 else "")
    yield from map(str, count_changes(records).values())
    yield str(sum(each.has_plan and not each.has_failed and not each.steps for each in records))


SKIPPED = "Skipped: "


def skip_reason(accounts: Sequence[Account], name: str) -> str:
    """Why an account is skipped, if too many accounts of its batch or of an earlier one failed; empty otherwise.

    Ansible's own keyword ignores failures that a playbook has rescued.

    The input of the account has the sizes of the batches, and the percentage of accounts in a batch that may fail.
    Skipped accounts do not count.

    :param accounts: all accounts, in the order of the batches.
    :param name: the name of the account that is about to start.
    """
    [run] = [each.run for each in accounts if each.run and each.name == name]
    max_fail_percentage, batch_sizes = run.settings["max_fail_percentage"], run.account_batches
    if not batch_sizes:
        return ""
    reasons = {account.name: account.interruption for account in accounts}
    names, sizes, begun = list(reasons), chain(batch_sizes, repeat(batch_sizes[-1])), 0
    while begun <= names.index(name):
        batch = names[begun : begun + pct_to_int(next(sizes), len(names))]
        begun += len(batch)
        failed = sum(bool(reasons[each]) and not reasons[each].startswith(SKIPPED) for each in batch)
        if 100 * failed > max_fail_percentage * len(batch):
            counts = f"{failed} of {len(batch)} accounts of a batch failed"
            return f"{SKIPPED}{counts} (cwagent_max_fail_percentage is {max_fail_percentage})."
    return ""
