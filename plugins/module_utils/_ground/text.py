# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Text for a terminal. Pure."""

from __future__ import annotations

import re
import textwrap
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence


# Ansible prints each line in quotes with a comma, indented by eight columns; together they fit a terminal of 80.
WIDTH = 69
# Not printable, so no printable text contains it. It stands for the backslash that Ansible prints before a quote.
ESCAPE = "\ue000"
# The most characters of a value that a message repeats.
MAX_SHOWN = 120
# A value that is too long: in quotes, or without a space. The longest names, of parameters, have 1,011 characters.
# A quote that begins a value has no letter before it, and one that ends a value has none behind it.
_LONG_VALUE = re.compile(r"(?<![^\s(])'[^'\n]{1100,}'(?!\w)|\S{1100,}")
MARKS = ("- ", "! ", "  ")
# How similar a name is to another one that was meant, from 0 to 1, if the name can be right too.
MISSPELLED = 0.85


def to_printable(text: object) -> str:
    """Return text on one line, without characters that break XML, control a terminal or reverse the writing."""
    return "".join(each for each in " ".join(str(text).split()) if each.isprintable())


def shorten(value: object, most: int = MAX_SHOWN) -> str:
    """Return a value for a message, with escapes for characters that are not printable, and cut if it is long."""
    whole = str(value)
    text = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in whole[:most])
    return f"{text}..." if len(whole) > most else text


def quote(value: object, most: int = MAX_SHOWN) -> str:
    """Return a shortened value in quotes."""
    return f"'{shorten(value, most)}'"


def to_message(text: object) -> str:
    """Return a printable message, with its lines, in which no value is longer than any that AWS accepts in a name."""
    return _LONG_VALUE.sub(_shorten_found, printable_lines(str(text)))


def _shorten_found(found: re.Match[str]) -> str:
    mark = "'" if found[0].startswith("'") else ""
    return f"{mark}{shorten(found[0].strip(mark or None))}{mark}"


def printable_lines(text: str) -> str:
    """Return a text without characters that control a terminal or reverse the writing, with its lines."""
    return "".join(each for each in text if each.isprintable() or each in "\n\t")


def count_noun(number: int, noun: str) -> str:
    """Return a number with its noun."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def join_first(names: Sequence[str], most: int) -> str:
    """Return the first names, and how many more there are."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def misspelled(name: str, known: Collection[str]) -> str:
    """Return the known name that a name, which can be right too, is nearly; empty if there is none."""
    found = get_close_matches(name, known, n=1, cutoff=MISSPELLED)
    return found[0] if found and name not in known else ""


def to_summary(problems: Sequence[str]) -> str:
    """Return the first problem as a sentence, and how many more there are."""
    first, more = to_printable(problems[0]), len(problems) - 1
    end = "" if first.endswith((".", "?", "…")) else "."
    others = "There is 1 more problem." if more == 1 else f"There are {more} more problems."
    return f"{first}{end} {others}" if more else f"{first}{end}"


def without_repetitions(text: str, earlier: str = "") -> str:
    """Return a text in which each sentence is once, where it is first.

    :param earlier: a text that was printed before, whose sentences are left out.
    """
    return " ".join(each for each in dict.fromkeys(_sentences(text)) if each not in _sentences(earlier))


def _sentences(text: str) -> list[str]:
    return re.split(r"(?<=[.?!]) ", text)


def wrap(line: str) -> list[str]:
    """Return the lines of a terminal for a line, which may begin with a mark of two columns."""
    mark = line[:2] if line[:2] in MARKS else ""
    text = to_printable(line[len(mark) :])
    for character in '\\"':
        text = text.replace(character, ESCAPE + character)
    parts = textwrap.wrap(text, WIDTH, initial_indent=mark, subsequent_indent=" " * len(mark), break_on_hyphens=False)
    return [part.replace(ESCAPE, "") for part in parts]
