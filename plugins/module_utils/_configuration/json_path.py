# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds values in a JSON document, renders their paths, and lists the differences of two documents by path. Pure."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from itertools import chain
from typing import TYPE_CHECKING, Any, Union

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    Keys = tuple[Union[str, int], ...]


_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def json_path(keys: Keys) -> str:
    """Return the JSON path of the place to which these keys of objects and indexes of lists lead."""
    return "$" + "".join(
        f".{key}" if isinstance(key, str) and _PLAIN_KEY.fullmatch(key) else f"[{printable_json(key)}]" for key in keys
    )


def printable_json(value: object) -> str:
    """Render a value as JSON in one line, without characters that a terminal would interpret."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return "".join(each if each.isprintable() else json.dumps(each)[1:-1] for each in text)


def find_values(value: Any, field: str) -> list[tuple[Keys, Any]]:
    """Find the values of a field, with their paths; in its name, ``*`` stands for any key or index."""
    found: list[tuple[Keys, Any]] = [((), value)]
    for step in field.split("."):
        found = list(chain.from_iterable(_children(path, each, step) for path, each in found))
    return found


def _children(path: Keys, value: Any, step: str) -> Iterator[tuple[Keys, Any]]:
    if isinstance(value, list) and step == "*":
        yield from (((*path, index), each) for index, each in enumerate(value))
    elif isinstance(value, dict):
        yield from (((*path, key), each) for key, each in value.items() if step in ("*", key))


# The longest text of a value in a line.
MAX_VALUE = 60
# An element of a list is still the same if the first of these members that it has is unchanged.
IDENTITY_KEYS = ("file_path", "event_name", "exe", "pid_file", "pattern", "endpoint", "name")


def differences(before: Any, after: Any) -> list[str]:
    """List the differences of two JSON values; none if only spaces and the order of keys differ.

    :returns: lines that begin with ``+`` for a new, ``-`` for a removed and ``~`` for a changed value. Values are
        shortened. The path contains the member that identifies an element of a list, else its index.
    """
    return list(_differences(before, after, "$"))


def _differences(before: Any, after: Any, path: str) -> Iterator[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in dict.fromkeys([*before, *after]):
            place = path + json_path((key,))[1:]
            if key not in after:
                yield f"- {place}: {_shown(before[key])}"
            elif key not in before:
                yield f"+ {place}: {_shown(after[key])}"
            else:
                yield from _differences(before[key], after[key], place)
    elif isinstance(before, list) and isinstance(after, list):
        yield from _list_differences(before, after, path)
    elif _text(before) != _text(after):
        yield f"~ {path}: {_shown(before)} -> {_shown(after)}"


def _list_differences(before: list[Any], after: list[Any], path: str) -> Iterator[str]:
    pairs = _pair_elements(before, after)
    before_paths, after_paths = _element_paths(before, path), _element_paths(after, path)
    for index, value in enumerate(before):
        if index in pairs:
            yield from _differences(value, after[pairs[index]], after_paths[pairs[index]])
        else:
            yield f"- {before_paths[index]}: {_shown(value)}"
    for index in sorted(set(range(len(after))) - set(pairs.values())):
        yield f"+ {after_paths[index]}: {_shown(after[index])}"
    order = [pairs[index] for index in sorted(pairs)]
    if order != sorted(order):
        yield f"~ {path}: other order of elements"


def _pair_elements(before: list[Any], after: list[Any]) -> dict[int, int]:
    """Return the indexes in both lists of the same elements, which are equal or else have the same identity."""
    pairs = _pair([_text(each) for each in before], [_text(each) for each in after])
    taken = set(pairs.values())
    old = [None if index in pairs else _identity(each) for index, each in enumerate(before)]
    new = [None if index in taken else _identity(each) for index, each in enumerate(after)]
    return {**pairs, **_pair(old, new)}


def _pair(before: Sequence[str | None], after: Sequence[str | None]) -> dict[int, int]:
    positions = defaultdict(list)
    for index, key in reversed(list(enumerate(after))):
        positions[key].append(index)
    return {index: positions[key].pop() for index, key in enumerate(before) if key is not None and positions[key]}


def _identity(element: Any) -> str | None:
    key = next((key for key in IDENTITY_KEYS if isinstance(element, dict) and key in element), None)
    return key and f"{key}={printable_json(element[key])}"


def _element_paths(elements: list[Any], path: str) -> list[str]:
    identities = [_identity(each) for each in elements]
    return [
        f"{path}[{_shorten(identity) if identity and identities.count(identity) == 1 else index}]"
        for index, identity in enumerate(identities)
    ]


def _shown(value: Any) -> str:
    return _shorten(printable_json(value))


def _shorten(text: str) -> str:
    return text if len(text) <= MAX_VALUE else f"{text[: MAX_VALUE - 1]}…"


def _text(value: Any) -> str:
    """Return a text that differs if the stored values differ. In JSON, ``true`` is not ``1``."""
    return json.dumps(value, sort_keys=True)
