# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of a configuration: how it is merged from them, split into them, and recorded with them. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import count, takewhile
from typing import TYPE_CHECKING, Any

from .._ground.errors import InvalidInput
from .json_path import json_path

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence


# A list that is joined, without duplicates.
LIST = "list"
# The agent merges its files in the order of their paths, into an empty configuration:
# https://github.com/aws/amazon-cloudwatch-agent/tree/main/translator/jsonconfig
# These are the objects that it merges key by key, with the rules of their keys. Anything else must be in one file only,
# or be equal in all. The agent ignores other top-level keys.
SECTION_RULES: dict[str, Any] = {
    "agent": {"usage_metadata": LIST},
    "csm": {},
    "logs": {
        "logs_collected": {"files": {"collect_list": LIST}, "windows_events": {"collect_list": LIST}},
        "metrics_collected": {"ecs": {}, "kubernetes": {}, "prometheus": {}},
    },
    "metrics": {"metrics_collected": {"procstat": LIST}},
    "opentelemetry": {"collect": {}},
    "traces": {"traces_collected": {}},
}
# These are an object or a list of objects. Different ones become one list, in each object that is merged key by key.
# Only recent agents do that. Older agents treat them like any other key.
ARRAY_OR_OBJECT_KEYS = frozenset({"jmx", "otlp"})


def merge(configs: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Merge configurations. The agent also merges a single one, which removes duplicates from its lists.

    :param configs: in the order of the paths of their files.
    :raises InvalidInput: the agent could not merge them. The message lists all places where they differ.
    """
    result: dict[str, Any] = {}
    conflicts: list[str] = []
    for config in configs:
        for section, rules in SECTION_RULES.items():
            conflicts += _merge_object(config, result, (section,), rules)
    if conflicts:
        raise InvalidInput(
            "The agent cannot merge these configurations, which have different values for "
            f"{', '.join(dict.fromkeys(conflicts))}."
        )
    return result


def comparable(value: Any) -> Any:
    """Return something hashable that is equal for two JSON values that the agent takes for the same.

    Numbers are compared by value. In Python, they can also be equal to booleans.
    """
    if isinstance(value, dict):
        return frozenset((key, comparable(member)) for key, member in value.items())
    if isinstance(value, list):
        return tuple(comparable(each) for each in value)
    return (bool, value) if isinstance(value, bool) else value


def _merge_object(
    source: Mapping[str, Any], result: dict[str, Any], keys: tuple[str, ...], rules: Mapping[str, Any]
) -> Iterator[str]:
    """Merge the object that is the last of ``keys`` in ``source``. :returns: the JSON paths of conflicts."""
    key = keys[-1]
    # Like the agent, ignore any value in such a place that is not an object.
    if not isinstance(source.get(key), dict):
        return
    merged = result.setdefault(key, {})
    for name, value in source[key].items():
        rule = rules.get(name)
        if isinstance(rule, dict):
            yield from _merge_object(source[key], merged, (*keys, name), rule)
        elif rule == LIST:
            if isinstance(value, list) and value:
                merged[name] = _join_lists(merged.get(name, []), value)
        elif name not in merged:
            merged[name] = value
        elif not _merge_value(value, merged, name):
            yield json_path((*keys, name))


def _merge_value(value: Any, merged: dict[str, Any], name: str) -> bool:
    """Merge a value with another one of the same name. :returns: whether that is possible."""
    current = merged[name]
    if name not in ARRAY_OR_OBJECT_KEYS:
        return bool(comparable(current) == comparable(value))
    if isinstance(current, list) or comparable(current) != comparable(value):
        merged[name] = _join_lists(*(each if isinstance(each, list) else [each] for each in (current, value)))
    return isinstance(current, (dict, list)) and isinstance(value, (dict, list))


def _join_lists(current: list[Any], added: list[Any]) -> list[Any]:
    joined, known = list(current), {comparable(each) for each in current}
    for each in added:
        if comparable(each) not in known:
            known.add(comparable(each))
            joined.append(each)
    return joined


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
    for the order of lists, and for duplicates in them, which the agent removes in any case. A part is a configuration
    by itself, and so is any merge of parts, because the agent translates its configuration after each part.

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


# https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_PutParameter.html
MAX_DESCRIPTION = 1024
_DIGEST_LENGTH = 12
_RECORD = re.compile(r"Stored by cwagent\.iam as version ([0-9]+) with the parts ([0-9a-f]+(?: [0-9a-f]+)*)")


def to_record(values: Sequence[str], number: int) -> str:
    """Return the description of a version, a record of the parts that were stored together.

    It has a digest of every part, including the parts that stayed as they were, so any version identifies all of them.
    It has the number of its version too, because Parameter Store keeps the description when somebody else stores a
    value without one. It is empty if there are too many parts for a description.

    :param values: of all parts, in their order.
    :param number: the number of the version.
    """
    text = f"Stored by cwagent.iam as version {number} with the parts {' '.join(map(digest, values))}"
    return text if len(text) <= MAX_DESCRIPTION else ""


def recorded_parts(description: str, number: int) -> tuple[str, ...]:
    """Return the digests of the parts that were stored together; none if nothing was recorded with this version."""
    found = _RECORD.fullmatch(description)
    return tuple(found[2].split()) if found and found[1] == str(number) else ()


def to_canonical(value: str) -> str:
    """Return a text that is the same for values with the same content, whatever their spaces and the order of keys."""
    try:
        return json.dumps(json.loads(value), sort_keys=True)
    except (ValueError, RecursionError):  # an OpenTelemetry configuration, or the text of somebody else
        return value


@lru_cache(maxsize=2048)
def digest(value: str) -> str:
    """Return the digest of the content of a part."""
    return hashlib.sha256(to_canonical(value).encode(errors="surrogatepass")).hexdigest()[:_DIGEST_LENGTH]
