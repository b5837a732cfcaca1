# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The differences between two states, for the diff. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


# The owner of a part, so it stays beside a part that differs.
NAME = "name"
# Without the mark of a difference before each line.
LINE_WIDTH = 98
INDENT = 2
# A path of / is none.
EMPTY: tuple[Any, ...] = ([], {}, "", "/")


def changed_parts(diff: Mapping[str, Any]) -> dict[str, Any]:
    """Return a diff without the parts that are the same before and after. A diff in lines is returned as it is."""
    if not diff.keys() >= {"before", "after"}:
        return {**diff}
    before, after = _differing(diff["before"], diff["after"])
    return {**diff, "before": before, "after": after}


def net_change(diffs: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return one diff for several changes of the same things, one after the other."""
    before: Any = {}
    after: Any = {}
    for each in diffs:
        before, after = _merged(each["before"], before), _merged(after, each["after"])
    return changed_parts({"before": before, "after": after})


def without_empty(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return a state without its parts that are empty. A part that only one side has is shown there."""
    return {key: value for key, value in state.items() if value not in EMPTY}


def to_lines(diff: Mapping[str, Any]) -> dict[str, Any]:
    """Return a diff with its sides as YAML, in which a value that fits in a line is in one."""
    sides = {side: diff[side] for side in ("before", "after") if isinstance(diff.get(side), (dict, list))}
    return {**diff, **{side: "".join(f"{each}\n" for each in _lines(sides[side], LINE_WIDTH)) for side in sides}}


def _lines(value: Any, width: int) -> list[str]:
    if not value or not isinstance(value, (dict, list)) or _fits(value, width):
        return [_to_json(value)]
    if isinstance(value, list):
        return [line for each in value for line in _indented("- ", _lines(each, width - INDENT))]
    found = []
    for key in sorted(value, key=lambda key: (key != NAME, key)):
        label, nested = f"{_to_json(key)}:", value[key]
        is_short = not nested or not isinstance(nested, (dict, list)) or _fits(nested, width - len(label) - 1)
        lines = _lines(nested, width - INDENT)
        found += [f"{label} {_to_json(nested)}"] if is_short else [label, *_indented(INDENT * " ", lines)]
    return found


def _fits(value: Any, width: int) -> bool:
    return len(_to_json(value)) <= width


def _to_json(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _indented(first: str, lines: Iterable[str]) -> list[str]:
    return [f"{INDENT * ' ' if number else first}{line}" for number, line in enumerate(lines)]


def _differing(before: Any, after: Any) -> tuple[Any, Any]:
    if not (isinstance(before, dict) and isinstance(after, dict)):
        return _known(before), _known(after)
    pairs = {
        key: _differing(before.get(key), after.get(key))
        for key in {**before, **after}
        if key not in before or key not in after or before[key] != after[key]
    }
    named = {NAME: before[NAME]} if pairs and before.get(NAME) and before[NAME] == after.get(NAME) else {}
    sides = [
        {**named, **{key: pairs[key][side] for key in pairs if key in of}} for side, of in enumerate((before, after))
    ]
    return sides[0], sides[1]


def _known(value: Any) -> Any:
    """Return something that only one side has, without the values in it that are not known or not set."""
    if isinstance(value, dict):
        return {key: _known(each) for key, each in value.items() if each is not None}
    return [_known(each) for each in value] if isinstance(value, list) else value


def _merged(first: Any, last: Any) -> Any:
    """Return the first mapping with the values of the last one in it."""
    if not (isinstance(first, dict) and isinstance(last, dict)):
        return last
    return {key: _merged(first.get(key), last[key]) if key in last else first[key] for key in {**first, **last}}
