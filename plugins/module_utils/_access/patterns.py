# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Patterns of IAM policies: ``*`` stands for any characters, ``?`` for one. Pure."""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    # Each element is the regular expression of one wildcard or of one character.
    Pattern = tuple[str, ...]

MANY, ONE = ".*", "."
_WILDCARDS = {"*": MANY, "?": ONE}
# More than policies of people need; a policy that is made to need more costs some seconds and is answered with unknown.
MAX_STATES = 5000


def to_pattern(text: str) -> Pattern:
    """Return the pattern of a text with wildcards."""
    return tuple(_WILDCARDS.get(character) or re.escape(character) for character in text)


def to_literal(text: str) -> Pattern:
    """Return the pattern that matches this text only."""
    return tuple(re.escape(character) for character in text)


def is_match(pattern: Pattern, text: str, *, ignore_case: bool = False) -> bool:
    """Whether a pattern matches a whole text."""
    return bool(re.fullmatch("".join(pattern), text, re.DOTALL | (re.IGNORECASE if ignore_case else 0)))


def representatives(prefix: str, patterns: Iterable[Pattern], characters: str) -> Iterator[str | None]:
    """Return a text for each combination of patterns that a text can match.

    Of the texts that begin with the prefix and go on with these characters, each matches exactly the same patterns as
    one of those returned. So what depends on the matched patterns only is true of a text if it is true of one of these.

    The patterns are read as one automaton. A character that is in no pattern stands for all others like it.

    :return: ends with ``None`` if there may be more; the search ends after ``MAX_STATES`` states.
    """
    automata = list(dict.fromkeys(patterns))
    used = {part for pattern in automata for part in pattern}
    unused = [each for each in characters if re.escape(each) not in used]
    alphabet = [each for each in characters if each not in unused[1:]]
    start = tuple(_reached(pattern, {0}) for pattern in automata)
    for character in prefix:
        start = _step(automata, start, character)
    queue, seen, matched = deque([(prefix, start)]), {start}, set()
    while queue:
        text, state = queue.popleft()
        matches = tuple(len(pattern) in positions for pattern, positions in zip(automata, state))
        if matches not in matched:
            matched.add(matches)
            yield text
        for character in alphabet:
            following = _step(automata, state, character)
            if following not in seen:
                if len(seen) == MAX_STATES:
                    yield None
                    return
                seen.add(following)
                queue.append((text + character, following))


def _step(automata: list[Pattern], state: tuple[frozenset[int], ...], character: str) -> tuple[frozenset[int], ...]:
    """Return the positions in each pattern after one more character."""
    literal = re.escape(character)
    return tuple(
        _reached(
            pattern,
            {
                position if pattern[position] == MANY else position + 1
                for position in positions
                if position < len(pattern) and pattern[position] in (MANY, ONE, literal)
            },
        )
        for pattern, positions in zip(automata, state)
    )


def _reached(pattern: Pattern, positions: set[int]) -> frozenset[int]:
    """Return also the positions behind wildcards that stand for nothing."""
    found = set(positions)
    for position, part in enumerate(pattern):
        if part == MANY and position in found:
            found.add(position + 1)
    return frozenset(found)
