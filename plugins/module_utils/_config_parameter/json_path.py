# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds values in a JSON document, and renders their paths. Pure."""

from __future__ import annotations

import json
import re
from itertools import chain
from typing import TYPE_CHECKING, Any, Union

if TYPE_CHECKING:
    from collections.abc import Iterator

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
