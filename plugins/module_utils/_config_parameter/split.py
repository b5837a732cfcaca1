# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Splits a configuration into parts that the agent merges into the whole. Pure.

The parts fit into parameters, and merging them gives back the whole, except for the order of lists. A part is a
configuration by itself, and so is any merge of parts, because the agent translates its configuration after each part.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from itertools import count, takewhile
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.json_path import json_path
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.merge import (
    ARRAY_OR_OBJECT_KEYS,
    LIST,
    SECTION_RULES,
    comparable,
)
from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

# Each key of these objects is something to collect, which can be in a separate part.
COLLECTIONS = frozenset({"logs_collected", "metrics_collected", "traces_collected", "collect"})
# These are settings for everything that is collected, such as the region. The first part has them.
GLOBAL_SECTIONS = frozenset({"agent", "csm"})
# Older agents cannot merge these.
RECENT_SECTIONS = frozenset({"opentelemetry"})


@dataclass(frozen=True)
class _Piece:
    """A value that is not cut.

    :param keys: its place, from the root. An index at the end stands for an element of a list.
    """

    keys: tuple[str | int, ...]
    value: Any


@dataclass(frozen=True)
class _Pieces:
    """A configuration in pieces.

    :param items: the things to collect, in order. Each is a configuration by itself.
    :param settings: the other members of an object, by its place. Without an item, the object would not be valid.
    """

    items: list[_Piece] = field(default_factory=list)
    settings: dict[tuple[str | int, ...], list[_Piece]] = field(default_factory=dict)

    def settings_around(self, item: _Piece) -> list[_Piece]:
        """The settings of all objects around an item, from the outside to the inside."""
        return [each for depth in range(len(item.keys)) for each in self.settings.get(item.keys[:depth], ())]


def minify(config: Mapping[str, Any] | str) -> str:
    """Render a configuration in the form that is stored: JSON without spaces, in UTF-8, or text as it is."""
    return config if isinstance(config, str) else json.dumps(config, separators=(",", ":"), ensure_ascii=False)


def part_names(name: str, count: int) -> list[str]:
    """Return the names of the parameters of so many parts, in the order in which an agent fetches and appends them."""
    return [part_name(name, number) for number in range(1, count + 1)]


def part_name(name: str, number: int) -> str:
    """Return the name of the parameter of a part. Parts are counted from 1."""
    return name if number == 1 else f"{name}-{number}"


def parts_of(name: str, stored: Collection[str]) -> list[str]:
    """Return the names of the stored parameters of a configuration and its parts."""
    return [*takewhile(stored.__contains__, (part_name(name, number) for number in count(1)))]


def other_parts(name: str, stored: Collection[str]) -> list[str]:
    """Return the names of the other stored parts of a configuration of which a parameter is a part."""
    whole, _hyphen, number = name.rpartition("-")
    parts = parts_of(whole, stored) if number.isdigit() else []
    return [each for each in (parts if name in parts else parts_of(name, stored)) if each != name]


def merge_order(names: Iterable[str]) -> list[str]:
    """Return the names of parameters in the order in which the agent merges them: ``X-10`` comes before ``X-2``.

    The agent saves each in a file of the same name, with a common prefix.
    """
    return sorted(names)


def split(config: Mapping[str, Any], limit: int, allow_recent: bool = False) -> list[dict[str, Any]]:
    """Split a configuration into parts of at most so many bytes.

    The same configuration has the same parts, in its own order. Merged in any order, they give back the whole, except
    for the order of lists, and for duplicates in them, which the agent removes in any case.

    :param config: a valid configuration.
    :param limit: the largest size of a part in bytes, when minified.
    :param allow_recent: whether to cut the values that only recent agents can merge: lists of ``jmx`` and ``otlp``, and
        the section ``opentelemetry``.
    :returns: the configuration alone if it fits.
    :raises InvalidInput: something that cannot be cut is too large. The message contains its JSON path and size.
    """
    if len(minify(config).encode()) <= limit:
        return [dict(config)]
    pieces = _Pieces()
    _take_apart(_Piece((), config), SECTION_RULES, allow_recent, pieces)
    too_large = [
        f"{json_path(each.keys)} needs {_size([each])} bytes" for each in pieces.items if _size([each]) > limit
    ]
    if too_large:
        raise _error(limit, f"the agent can merge each only as a whole: {', '.join(too_large)}.")
    parts = []
    while pieces.items:
        part = _fill_part(pieces, limit)
        if not part:
            raise _error(limit, _without_room(pieces))
        parts.append(_assemble(part))
    return parts


def _take_apart(piece: _Piece, rules: Any, allow_recent: bool, pieces: _Pieces) -> None:
    """Add the pieces of a value. :param rules: how the agent merges it; ``None`` if it does not."""
    items = _items(piece, rules)
    if not items:
        pieces.items.append(piece)
        return
    if rules != LIST:
        keys = {each.keys for each in items}
        pieces.settings[piece.keys] = [each for each in _members(piece) if each.keys not in keys]
    for each in items:
        _take_apart(each, _rules_of(each, rules, allow_recent), allow_recent, pieces)


def _items(piece: _Piece, rules: Any) -> list[_Piece]:
    """Return the values that can be in different parts; none if the whole value must be in one part."""
    if rules == LIST and isinstance(piece.value, list):
        return [_Piece((*piece.keys, index), value) for index, value in enumerate(piece.value)]
    if not isinstance(rules, dict) or not isinstance(piece.value, dict):
        return []
    if not piece.keys:
        return [each for each in _members(piece) if each.keys[-1] not in GLOBAL_SECTIONS] or _members(piece)
    if piece.keys[-1] in COLLECTIONS:
        return _members(piece)
    return [each for each in _members(piece) if each.keys[-1] in rules]


def _members(piece: _Piece) -> list[_Piece]:
    return [_Piece((*piece.keys, key), value) for key, value in piece.value.items()]


def _rules_of(piece: _Piece, parent_rules: Any, allow_recent: bool) -> Any:
    key = piece.keys[-1]
    if key in ARRAY_OR_OBJECT_KEYS:
        # The agent removes duplicates from such a list only if it merges the list with another one.
        is_list = isinstance(piece.value, list) and len(set(map(comparable, piece.value))) == len(piece.value)
        return LIST if allow_recent and is_list else None
    if parent_rules == LIST or key in GLOBAL_SECTIONS or (key in RECENT_SECTIONS and not allow_recent):
        return None
    return parent_rules.get(key)


def _fill_part(pieces: _Pieces, limit: int) -> list[_Piece]:
    """Take away the items of the next part, with the settings around them that no earlier part has.

    :returns: nothing if no item fits with its settings.
    """
    part: list[_Piece] = []
    remaining = list(pieces.items)
    pieces.items.clear()
    for position, item in enumerate(remaining):
        filled = [*part, *pieces.settings_around(item), item]
        if _size(filled) <= limit:
            part = filled
            for depth in range(len(item.keys)):
                pieces.settings.pop(item.keys[:depth], None)
        elif part:
            pieces.items.extend(remaining[position:])
            break
        else:
            pieces.items.append(item)  # one with fewer settings around it can be first
    return part


def _assemble(pieces: Sequence[_Piece]) -> dict[str, Any]:
    config: dict[str, Any] = {}
    for piece in pieces:
        *parents, key = piece.keys
        place: Any = config
        if isinstance(key, int):
            *parents, name = parents
            for parent in parents:
                place = place.setdefault(parent, {})
            place.setdefault(name, []).append(piece.value)
        else:
            for parent in parents:
                place = place.setdefault(parent, {})
            place[key] = piece.value
    return config


def _size(pieces: Sequence[_Piece]) -> int:
    return len(minify(_assemble(pieces)).encode())


def _without_room(pieces: _Pieces) -> str:
    """Describe the item that is nearest to fitting, and the settings around it."""
    size, item = min(
        ((_size([*pieces.settings_around(each), each]), each) for each in pieces.items), key=lambda pair: pair[0]
    )
    settings = ", ".join(json_path(each.keys) for each in pieces.settings_around(item))
    return f"{json_path(item.keys)} needs {size} bytes with {settings}, which must be in the same part."


def _error(limit: int, reason: str) -> InvalidInput:
    return InvalidInput(
        f"The configuration cannot be split into parts of at most {limit} bytes when minified: {reason} Shorten it, or "
        "use a larger tier."
    )
