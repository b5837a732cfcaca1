# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Edits the lines of one section in the text of a file that others write, too; the rest stays byte for byte. Pure.

Credentials files and ``common-config.toml`` are formats of such a file. No error quotes the text, which can contain the
secret of a key or the password of a proxy.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from .errors import CwagentError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


# The name of a section, or of an option in it.
K = TypeVar("K")


class Refused(CwagentError):
    """A line of a text cannot be read, or cannot be kept. :param line: its number."""

    def __init__(self, line: int, reason: str = "It cannot be kept as it is.") -> None:
        super().__init__(f"Line {line}: {reason}")
        self.line = line


@dataclass(frozen=True)
class Format(Generic[K]):
    """A format of files with sections.

    :param read: returns the sections of a text with their options. :raises Refused: a line cannot be read.
    :param header: returns the name of the section that begins with a line; ``None`` if the line is not a header.
    :param comments: the characters that begin a comment, if comments directly before a section belong to it.
    """

    read: Callable[[str], dict[K, dict[K, str]]]
    header: Callable[[str], K | None]
    comments: str = ""

    def find(self, lines: Sequence[str], name: K) -> tuple[int, int] | None:
        """Return where the lines of a section begin and end; ``None`` if there is no such section."""
        starts = [(number, found) for number, line in enumerate(lines) if (found := self.header(line)) is not None]
        start = next((number for number, found in starts if found == name), None)
        if start is None:
            return None
        end = next((number for number, _found in starts if number > start), len(lines))
        while lines[end - 1].strip()[:1] in self.comments:  # an empty line, too, but never the header
            end -= 1
        return start, end

    def edit(
        self, text: str, name: K, options: Mapping[K, str], change: Callable[[list[str], str], list[str] | None]
    ) -> str:
        """Return the text with one section changed. A missing section is added at the end.

        :param options: of the section afterwards.
        :param change: returns the new lines of the section from its lines and the end of a line. Without lines, the
            section is removed; ``None`` if it cannot be changed.
        :raises Refused: the text cannot be read, or the change has another effect.
        """
        before, lines = self.read(text), split_lines(text)
        found = self.find(lines, name)
        start, stop = found or (len(lines), len(lines))
        newline = next((end for each in [*lines[start:][:1], *lines[:1]] if (end := _end_of(each))), "\n")
        section = change(lines[start:stop], newline)
        first = start
        if found and not section and stop == len(lines) and not "".join(lines[:start][-1:]).strip():
            first = max(start - 1, 0)  # the empty line that separates it from the section before
        gap = [newline] * (2 - text.endswith("\n")) if lines and section and not found else []
        edited = "".join([*lines[:first], *gap, *(section or []), *lines[stop:]])
        wanted = {each: values for each, values in before.items() if each != name}
        if section is None or not self._has(edited, {**wanted, name: dict(options)} if section else wanted):
            raise Refused((start if found or name not in before else self._first_line(lines, name)) + 1)
        return edited

    def _first_line(self, lines: Sequence[str], name: K) -> int:
        """Return where a section begins whose header is not recognized."""
        return next(end for end in range(len(lines)) if name in self.read("".join(lines[: end + 1])))

    def _has(self, text: str, sections: Mapping[K, Mapping[K, str]]) -> bool:
        try:
            return self.read(text) == sections
        except Refused:
            return False


def split_lines(text: str) -> list[str]:
    """Return the lines with their ends, as the programs that read such files see them."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def insert(section: Sequence[str], lines: Sequence[str], newline: str) -> list[str]:
    """Return the lines of a section with others directly after its header."""
    header = section[0] + (newline if lines and not _end_of(section[0]) else "")
    return [header, *lines, *section[1:]]


def _end_of(line: str) -> str:
    return "\r\n" if line.endswith("\r\n") else line[-1:] if line.endswith("\n") else ""
