# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of reports, and their formats, which the endings of their names choose. Pure."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ...module_utils._keys.stores import is_in_container
from .._run.values import quote

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from .._run.values import Problems


ENDINGS = {
    ".html": "html",
    ".json": "json",
    ".junit.xml": "junit",
    ".sarif": "sarif",
    ".sarif.json": "sarif",
    ".template": "cloudformation",
    ".template.json": "cloudformation",
    ".tf": "terraform",
}
FORMATS = tuple(dict.fromkeys(ENDINGS.values()))
AUDIT_FORMATS = ("html", "json", "junit", "sarif")
POLICY_FORMATS = ("json", "cloudformation", "terraform")
VALIDATION_FORMATS, VERIFICATION_FORMATS = ("junit", "sarif"), ("json",)
HISTORY_FORMATS = ("json", "junit", "sarif")
# By role, the formats that it writes.
ROLE_FORMATS = {"audit": AUDIT_FORMATS, "verify": VERIFICATION_FORMATS}


def sort_by_format(
    name: str,
    paths: Sequence[str],
    written: Collection[str],
    writer: str,
    problems: Problems,
    *,
    to_absolute: Callable[[str], str] = str,
    suffix: str = "",
) -> tuple[dict[str, list[str]], list[str]]:
    """Return for each format the files to write, and notices of the files that are skipped or that nobody can read.

    :param name: the name of the variable.
    :param written: the formats that the writer writes.
    :param writer: the playbook or role, in words for a notice.
    :param to_absolute: returns the absolute path of a file on the controller, or raises ``InvalidInput``.
    :param suffix: comes before the ending of each file.
    """
    files: dict[str, list[str]] = {kind: [] for kind in FORMATS}
    skipped: list[str] = []
    seen: list[str] = []
    endings = {path: _ending_of(path) for path in paths}
    wrong = [path for path, ending in endings.items() if not ending]
    if wrong:
        problems.add(f"{name}: {', '.join(map(quote, wrong))} must end in {_join([*ENDINGS])}.")
    for path in paths:
        ending = endings[path]
        absolute = problems.check(to_absolute, path, where=f"{name}: ") if ending else None
        if not absolute:
            continue
        if os.path.normpath(absolute) in seen:
            problems.add(f"{name} has a duplicate path: {path}.")
        seen.append(os.path.normpath(absolute))
        if ENDINGS[ending] in written:
            stem = len(absolute) - len(ending)
            files[ENDINGS[ending]].append(f"{absolute[:stem]}{suffix}{absolute[stem:]}")
        else:
            skipped.append(path)
    notices: list[str] = []
    if skipped:
        theirs = [ending for ending, kind in ENDINGS.items() if kind in written]
        why = f"{writer} writes only files that end in {_join(theirs)}" if theirs else f"{writer} writes no reports"
        notices.append(f"{name}: skipped {', '.join(skipped)}, because {why}.")
    kept = [path for path in paths if endings[path] and path not in skipped]
    if kept and is_in_container():
        notices.append(
            f"{name}: this is an execution environment, a container that is deleted after the job, together with "
            f"{', '.join(kept)}. Write to a mounted volume that outlives the container, or copy the files in the same "
            "job."
        )
    return files, notices


def _ending_of(path: str) -> str:
    """Return the longest ending that fits; empty if none does."""
    return max((ending for ending in ENDINGS if path[-len(ending) :].lower() == ending), key=len, default="")


def _join(endings: Sequence[str]) -> str:
    return " or ".join(part for part in (", ".join(endings[:-1]), endings[-1]) if part)
