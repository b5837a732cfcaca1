# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Patterns of IAM policies: ``*`` stands for any characters, ``?`` for one. Pure."""

from __future__ import annotations

import re
from collections import deque
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    Pattern = tuple[str, ...]


MANY, ONE = ".*", "."
_WILDCARDS = {"*": MANY, "?": ONE}
# How a regular expression begins, so that a dot is also the end of a line.
_IN_ITS_CASE, _IN_ANY_CASE = "(?s)", "(?si)"
# The part at the last position of a pattern. It matches no character.
_END = ""
# Policies that people write need fewer states. A policy that needs more costs some seconds, and its answer is unknown.
MAX_STATES = 5000


def to_pattern(text: str) -> Pattern:
    """Return the pattern of a text with wildcards."""
    return tuple(_WILDCARDS.get(character) or _escape(character) for character in text)


def to_literal(text: str) -> Pattern:
    """Return the pattern that matches this text only."""
    return tuple(_escape(character) for character in text)


@cache
def _escape(character: str) -> str:
    """Cached, because all policies use the same few characters."""
    return re.escape(character)


def is_match(pattern: Pattern, text: str, *, ignore_case: bool = False) -> bool:
    """Whether a pattern matches a whole text."""
    return bool(re.fullmatch("".join([_IN_ANY_CASE if ignore_case else _IN_ITS_CASE, *pattern]), text))


def representatives(prefix: str, patterns: Iterable[Pattern], characters: str) -> Iterator[str | None]:
    """Return a text for each combination of patterns that a text can match.

    Each text that begins with the prefix and continues with these characters matches exactly the same patterns as one
    of the returned texts. So a condition that depends only on the matched patterns can be checked with these texts.

    The patterns are read as one automaton, whose state contains the positions that a text can reach in each pattern.

    :return: ends with ``None`` if there may be more; the search ends after ``MAX_STATES`` states.
    """
    literal = to_literal(prefix)
    automata = [_Automaton(pattern) for pattern in dict.fromkeys(patterns) if _can_begin(pattern, literal)]
    start = tuple(automaton.follow(prefix) for automaton in automata)
    queue, seen, matched = deque([(prefix, start)]), {start}, set()
    while queue:
        text, state = queue.popleft()
        matches = tuple(each.end in positions for each, positions in zip(automata, state))
        if matches not in matched:
            matched.add(matches)
            yield text
        expected = {part for each, positions in zip(automata, state) for part in each.next_parts(positions)}
        for character in _representatives(characters, expected):
            following = tuple(each.step(positions, character) for each, positions in zip(automata, state))
            if following in seen:
                continue
            if len(seen) == MAX_STATES:
                yield None
                return
            seen.add(following)
            queue.append((text + character, following))


def _can_begin(pattern: Pattern, prefix: Pattern) -> bool:
    """Whether a pattern agrees with a prefix up to its first wildcard. Most do not, and this costs little."""
    for part, expected in zip(pattern, prefix):
        if part != expected:
            return part in (MANY, ONE)
    return True


def _representatives(characters: str, expected: set[str]) -> list[str]:
    """Return the characters that patterns expect, and one that stands for all others."""
    fitting = [each for each in characters if _escape(each) in expected]
    others = (each for each in characters if each not in fitting)
    return [*fitting, *islice(others, 1)]


class _Automaton:
    """A pattern, and which of its positions follow others. A position is the number of parts that are matched."""

    def __init__(self, pattern: Pattern) -> None:
        self.end = len(pattern)
        self._parts = (*pattern, _END)
        self._steps: dict[tuple[frozenset[int], str], frozenset[int]] = {}

    def follow(self, text: str) -> frozenset[int]:
        """Return the positions after a text."""
        positions = self._with_empty_wildcards({0})
        for character in text:
            positions = self.step(positions, character)
        return positions

    def next_parts(self, positions: frozenset[int]) -> set[str]:
        """Return the parts that can come next."""
        return {self._parts[each] for each in positions}

    def step(self, positions: frozenset[int], character: str) -> frozenset[int]:
        """Return the positions after one more character."""
        key = (positions, character)
        if key not in self._steps:
            fitting = {MANY, ONE, _escape(character)}
            parts = [(each, self._parts[each]) for each in positions]
            following = {each if part == MANY else each + 1 for each, part in parts if part in fitting}
            self._steps[key] = self._with_empty_wildcards(following)
        return self._steps[key]

    def _with_empty_wildcards(self, positions: set[int]) -> frozenset[int]:
        for position, part in enumerate(self._parts):
            if part == MANY and position in positions:
                positions.add(position + 1)
        return frozenset(positions)
