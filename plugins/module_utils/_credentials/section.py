# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One section in the text of a credentials file; everything else in the text stays as it is. Pure.

No error of this file quotes the text, which can be the secret.
"""

from __future__ import annotations

import configparser
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Unlike Python's parser, AWS tools give the section DEFAULT no special meaning. No header can have this name.
_NO_DEFAULT = "]"


def read_section(text: str, name: str) -> dict[str, str] | None:
    """Return the options of a section; ``None`` if it does not exist, or if this is not a credentials file."""
    return (parse_sections(text) or {}).get(name)


def parse_sections(text: str) -> dict[str, dict[str, str]] | None:
    """Return all sections with their options; ``None`` if this is not a credentials file."""
    parser = configparser.RawConfigParser(default_section=_NO_DEFAULT)
    try:
        parser.read_string(text)
    except configparser.Error:
        return None  # the error quotes the line, which can be the secret
    return {name: dict(parser[name]) for name in parser.sections()}


def replace_section(text: str, name: str, values: Mapping[str, str]) -> str | None:
    """Return the text with a section that has these options and no others. A missing section is added at the end.

    :returns: ``None`` if this is not possible without a change of other sections.
    """
    before = parse_sections(text)
    if before is None:
        return None
    lines = text.splitlines(keepends=True)
    newline = "\r\n" if lines and lines[0].endswith("\r\n") else "\n"
    section = [f"[{name}]{newline}", *(f"{option} = {value}{newline}" for option, value in values.items())]
    found = find_section(lines, name)
    if found is None:
        gap = [] if not lines else [newline] if text.endswith("\n") else [newline, newline]
        edited = "".join([*lines, *gap, *section])
    else:
        start, end = found
        edited = "".join([*lines[:start], *section, *lines[end:]])
    return edited if parse_sections(edited) == {**before, name: dict(values)} else None


def remove_section(text: str, name: str) -> str | None:
    """Return the text without a section.

    :returns: ``None`` if this is not possible without a change of other sections.
    """
    before = parse_sections(text)
    if before is None:
        return None
    lines = text.splitlines(keepends=True)
    start, end = find_section(lines, name) or (0, 0)
    # The empty line that separates it from the section before
    if end == len(lines) and start > 0 and not lines[start - 1].strip():
        start -= 1
    edited = "".join([*lines[:start], *lines[end:]])
    return edited if parse_sections(edited) == {key: each for key, each in before.items() if key != name} else None


def find_section(lines: Sequence[str], name: str) -> tuple[int, int] | None:
    """Return where the lines of a section begin and end; ``None`` if there is no such section."""
    starts = [number for number, line in enumerate(lines) if line.startswith("[")]
    start = next((number for number in starts if lines[number].strip() == f"[{name}]"), None)
    if start is None:
        return None
    end = next((number for number in starts if number > start), len(lines))
    # Comments directly before the next section belong to that section.
    while end > start + 1 and (not lines[end - 1].strip() or lines[end - 1].lstrip()[0] in "#;"):
        end -= 1
    return start, end
