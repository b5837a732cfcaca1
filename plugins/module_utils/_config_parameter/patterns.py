# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds the parts of a regular expression that the agent refuses, because it is written in Go. Pure.

https://github.com/google/re2/wiki/Syntax describes the syntax that it accepts. This file finds only syntax of other
libraries, and mistakes that make it impossible to divide the expression into its parts.
"""

from __future__ import annotations

import re

MAX_REPEAT = 1000
# How many characters of an operator a message shows.
MAX_OPERATOR = 12

# Features of other libraries, by their first characters.
_UNSUPPORTED = {
    "(?=": "lookahead",
    "(?!": "lookahead",
    "(?<=": "lookbehind",
    "(?<!": "lookbehind",
    "(?>": "atomic groups",
    "(?|": "branch reset groups",
    "(?#": "comments",
    "(?(": "conditions",
    "(?&": "recursion",
    "(?R": "recursion",
    "(?P>": "recursion",
    "(?P=": "backreferences",
}
_GROUP = re.compile(r"\((?:\?(?:P?<[A-Za-z0-9_]+>|(?P<flags>[imsU]*(?:-[imsU]+)?)(?P<end>[:)]))|(?!\?))")
_LITERAL = re.compile(r"\\Q.*?(?:\\E|\Z)", re.DOTALL)
_ASSERTION = re.compile(r"\\[AbBz]")
# A backslash before another letter or digit is a mistake. One digit alone is not a character in octal notation.
_ESCAPE = re.compile(
    r"\\(?:[afnrtvdDsSwW]|0[0-7]{0,2}|[1-7][0-7]{1,2}|x[0-9A-Fa-f]{2}|x\{[0-9A-Fa-f]+\}|[pP](?:[A-Z]|\{[^}]*\})"
    r"|[^A-Za-z0-9\u0080-\U0010ffff])"
)
_BACKREFERENCE = re.compile(r"\\[1-9gk]")
# A lookahead with its backreference keeps its match, so that the expression does not try another way to divide it.
_CLASS = re.compile(r"\[(?=(\^?\]?))\1(?:(?=(\[:\^?[a-z]+:\]|\\.|[^\]\\]))\2)*\]", re.DOTALL)
_REPEAT = re.compile(r"(?:[*+?]|\{(0|[1-9][0-9]*)(?:,(0|[1-9][0-9]*)?)?\})\??")


def go_mistake(pattern: str) -> str:
    """Return the reason why Go refuses a regular expression; empty if it accepts the expression."""
    try:
        _check(pattern)
    except _RefusedError as error:
        return str(error)
    return ""


class _RefusedError(Exception):
    pass


def _check(pattern: str) -> None:
    at, depth = 0, 0
    # Whether there is something to repeat, and whether it has a repetition operator already.
    is_repeatable, is_repeated = False, False
    while at < len(pattern):
        repeat = _REPEAT.match(pattern, at)
        if repeat:
            _check_repeat(repeat, is_repeatable, is_repeated)
            at, is_repeated = repeat.end(), True
            continue
        is_repeated = False
        first = pattern[at]
        if first == "(":
            group = _match_group(pattern, at)
            at = group.end()
            # Flags alone are not a group, so a repetition after them still applies to the part before them.
            if group["end"] != ")":
                depth, is_repeatable = depth + 1, False
            continue
        is_repeatable = first != "|"
        depth -= first == ")"
        if depth < 0:
            raise _RefusedError("a '(' is missing for a ')'")
        at = _atom_end(pattern, at)
    if depth:
        raise _RefusedError("a ')' is missing for a '('")


def _atom_end(pattern: str, at: int) -> int:
    if pattern[at] == "\\":
        return _match_escape(pattern, at).end()
    return _match_class(pattern, at).end() if pattern[at] == "[" else at + 1


def _check_repeat(repeat: re.Match[str], is_repeatable: bool, is_repeated: bool) -> None:
    operator = repeat.group()[:MAX_OPERATOR]
    if is_repeated:
        raise _RefusedError(f"Go has no operator '{operator}' after another one, such as possessive quantifiers")
    if not is_repeatable:
        raise _RefusedError(f"there is nothing before '{operator}' that it could repeat")
    # More digits make no difference, and Python refuses to convert thousands of them.
    least, most = (int((digits or "0")[:9]) for digits in repeat.groups())
    if max(least, most) > MAX_REPEAT or (repeat.group(2) and most < least):
        raise _RefusedError(f"Go repeats from 0 to {MAX_REPEAT} times, and the second number cannot be the lower one")


def _match_group(pattern: str, at: int) -> re.Match[str]:
    for begin, name in _UNSUPPORTED.items() if pattern.startswith("(?", at) else ():
        if pattern.startswith(begin, at):
            raise _RefusedError(f"Go has no {name}, '{begin}'")
    group = _GROUP.match(pattern, at)
    if not group:
        raise _RefusedError(f"Go has no groups that begin with {pattern[at : at + 3]!r}")
    return group


def _match_escape(pattern: str, at: int, *, in_class: bool = False) -> re.Match[str]:
    escape = _ESCAPE.match(pattern, at)
    if not escape and not in_class:
        escape = _LITERAL.match(pattern, at) or _ASSERTION.match(pattern, at)
    if escape:
        return escape
    if at + 1 == len(pattern):
        raise _RefusedError("there is a backslash at the end")
    begin = pattern[at : at + 2]
    if _BACKREFERENCE.match(pattern, at):
        raise _RefusedError(f"Go has no backreferences, {begin!r}")
    raise _RefusedError(f"Go has no escape sequence {begin!r}")


def _match_class(pattern: str, at: int) -> re.Match[str]:
    found = _CLASS.match(pattern, at)
    if not found:
        raise _RefusedError("a ']' is missing for a '['")
    escape = pattern.find("\\", at, found.end())
    while escape >= 0:
        escape = pattern.find("\\", _match_escape(pattern, escape, in_class=True).end(), found.end())
    return found
