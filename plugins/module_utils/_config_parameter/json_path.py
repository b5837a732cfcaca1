# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Renders JSON paths, and values in JSON. Pure."""

from __future__ import annotations

import json
import re

_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def json_path(keys: tuple[str | int, ...]) -> str:
    """Return the JSON path of the place to which these keys of objects and indexes of lists lead."""
    return "$" + "".join(
        f".{key}" if isinstance(key, str) and _PLAIN_KEY.fullmatch(key) else f"[{printable_json(key)}]" for key in keys
    )


def printable_json(value: object) -> str:
    """Render a value as JSON in one line, without characters that a terminal would interpret."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return "".join(each if each.isprintable() else json.dumps(each)[1:-1] for each in text)
