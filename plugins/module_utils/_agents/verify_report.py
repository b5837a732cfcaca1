# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Renders the findings on servers as a table and a list of failures, each with its remedy. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._ground.text import WIDTH, count_noun, join_first, to_printable, to_summary, wrap
from .configs_plan import APPEND, FETCH
from .server import CHECKS, DATA, NOT_INSTALLED

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .server import Server


# Of a large fleet, the servers without failures are only counted.
MAX_ROWS = 40
MAX_NAMES = 3
HEADINGS = ("identity", "IAM", "config", "network", "agent", "data")
# The last column has the age of data that arrives, such as "12 min".
_AGE_WIDTH = 3
# Why servers are skipped when the configuration is applied, and what to do.
_WINDOWS = (
    "they run Windows",
    (
        "Run the document AmazonCloudWatch-ManageAgent of Systems Manager for them, or fetch the configuration on each "
        "server in PowerShell."
    ),
)
_WITHOUT_AGENT = ("they have no CloudWatch agent", "Install it, and run this playbook again.")
_STOPPED = ("the instances are not running", "Run this playbook again when they run.")
_UNSEEN = (
    "nothing was read on them",
    "Change cwagent_verify_from so that it reads them, and run this playbook again.",
)
_NAME_WIDTH = WIDTH - sum(len(each) + 2 for each in HEADINGS) - _AGE_WIDTH


def to_lines(servers: Sequence[Server]) -> list[str]:
    """Return lines that fit a terminal of 80 columns."""
    failed = [each for each in servers if each.failures]
    rows = [*failed, *(each for each in servers if not each.failures)][:MAX_ROWS]
    table = [_row("server", HEADINGS)]
    table += [_row(each.host, [_cell(each, check) for check in CHECKS]) for each in rows]
    if len(servers) > len(rows):
        table.append(f"and {len(servers) - len(rows)} more")
    healthy = len(servers) - len(failed)
    lines = [f"{healthy} of {count_noun(len(servers), 'server')} without a failure."]
    for title, fix in _failures(servers):
        lines += [f"! {title}", f"  Fix: {fix}"]
    for (why,), hosts in _group((each.host, (one.why,)) for each in servers for one in each.notes):
        lines.append(f"- {join_first(hosts, MAX_NAMES)}: {why}")
    return [*table, *(part for line in lines for part in wrap(line))]


def describe_failure(servers: Sequence[Server]) -> str:
    """Return how many servers fail, with the first failure; nothing if none fails."""
    failed = sum(bool(each.failures) for each in servers)
    titles = [title for title, _fix in _failures(servers)]
    return f"Servers that fail: {failed} of {len(servers)}. {to_summary(titles)}" if failed else ""


def describe_skipped(servers: Iterable[Server]) -> list[str]:
    """Return the servers that are skipped when the configuration is applied, and what to do; nothing if none is."""
    skipped: dict[tuple[str, str], list[str]] = {}
    for each in servers:
        if each.is_windows:
            skipped.setdefault(_WINDOWS, []).append(each.host)
        elif not each.is_running:
            skipped.setdefault(_STOPPED, []).append(each.host)
        elif each.agent == NOT_INSTALLED:
            skipped.setdefault(_WITHOUT_AGENT, []).append(each.host)
        elif not each.agent and not each.apply_failure:
            skipped.setdefault(_UNSEEN, []).append(each.host)
    return [f"Skipped, because {why}: {', '.join(hosts)}. {fix}" for (why, fix), hosts in skipped.items()]


def one_of_each(servers: Iterable[Server]) -> list[str]:
    """Return one server for each configuration in each region, so that several servers get only what one has proved."""
    found: dict[tuple[str, ...], str] = {}
    # An agent that has a version already begins, without a restart.
    for each in sorted(servers, key=lambda one: bool(one.commands)):
        fetched = {one.name for one in each.commands if one.action in (FETCH, APPEND)}
        names = sorted(fetched or {one.trial for one in each.runs if each.in_trial})
        if names and not each.apply_failure:
            found.setdefault((each.region, *names), each.host)
    return list(found.values())


def _failures(servers: Iterable[Server]) -> list[tuple[str, str]]:
    """Return each failure with its servers, and what to do."""
    found = _group((each.host, (one.why, one.fix)) for each in servers for one in each.failures)
    return [(f"{join_first(hosts, MAX_NAMES)}: {what}", fix) for (what, fix), hosts in found]


def _cell(server: Server, check: str) -> str:
    """Return the result of a check. Of data that arrives, it is the age."""
    status = server.status(check)
    return f"{server.data_age // 60} min" if check == DATA.name and status == "ok" else status


def _row(name: str, cells: Iterable[str]) -> str:
    shown = to_printable(name)
    if len(shown) > _NAME_WIDTH:
        shown = f"{shown[: _NAME_WIDTH - 1]}…"
    padded = (f"  {cell:<{len(heading)}}" for cell, heading in zip(cells, HEADINGS))
    return f"{shown:<{_NAME_WIDTH}}{''.join(padded)}".rstrip()


def _group(found: Iterable[tuple[str, tuple[str, ...]]]) -> list[tuple[tuple[str, ...], list[str]]]:
    """Return each finding once, with all its hosts."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for host, text in found:
        hosts = groups.setdefault(text, [])
        if host not in hosts:
            hosts.append(host)
    return list(groups.items())
