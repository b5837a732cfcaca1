# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps of a run in lines for a person. Pure."""

from __future__ import annotations

import re
import textwrap
from itertools import chain
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ansible_collections.cwagent.iam.plugins.plugin_utils._run_report.results import Record


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
