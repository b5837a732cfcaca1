# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sets the agent's credentials file in the text of its ``common-config.toml``. Pure.

It runs on the host, whose Python can be older than ``tomllib``. So this file reads TOML line by line, and refuses a
text with a value that does not end on its line. It changes only the lines of its two settings. A line that it cannot
read stays as it is, unless it can have something to do with the section.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from ansible_collections.cwagent.iam.plugins.module_utils._sections import Format, Refused, insert, split_lines

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Optional

    # The parts of the name of a section, or of a key. A part is None if it cannot be read.
    Name = tuple[Optional[str], ...]
    Sections = dict[Name, dict[Name, str]]

SECTION = "credentials"
PROFILE = "shared_credential_profile"
FILE = "shared_credential_file"

_SECTION: Name = (SECTION,)
_NOT_ENDED = "Every value of common-config.toml must end on its line, and none can begin with three quotes."
_NOT_IN_PLACE = f"Write {PROFILE} and {FILE} each on its own line, in one section [{SECTION}]."

_STRING = r""""(?:[^"\\]|\\.)*"|'[^']*'"""
_TOKEN = re.compile(rf"""["]{{3}}|'{{3}}|{_STRING}|\#.*|[^"'#\[\]{{}}]+|.""")
_OPEN_QUOTES = ('"', "'", '"""', "'''")
_DEPTH = {"[": 1, "{": 1, "]": -1, "}": -1}
_PART = rf"[A-Za-z0-9_-]+|{_STRING}"
_NAME = rf"(?:{_PART})(?:[ \t]*\.[ \t]*(?:{_PART}))*"
# A header with its bracket and its name, a setting with its key and its value, or nothing.
_LINE = re.compile(rf"[ \t]*(?:\[(\[?)[ \t]*({_NAME})[ \t]*\]\]?|({_NAME})[ \t]*=[ \t]*(.*[^ \t]))?[ \t]*")


def read_settings(text: str) -> dict[str, str]:
    """Return the two settings with their values, as far as a text has them; none if a line of it cannot be read."""
    try:
        return _read_settings(text)
    except Refused:
        return {}


def _read_settings(text: str) -> dict[str, str]:
    found = {name: read_text(text, SECTION, name) for name in (PROFILE, FILE)}
    return {name: value for name, value in found.items() if value is not None}


def read_text(text: str, *path: str) -> str | None:
    """Return the value of a setting of any TOML text; ``None`` if there is no such setting with a text on one line.

    :param path: the names of its section and of the setting.
    :raises Refused: a line of the text cannot be read.
    """
    for section, settings in _read(text).items():
        for key, value in settings.items():
            if section + key == path:
                return _unquote(value)
    return None


def set_credentials(text: str, profile: str, file: str) -> str:
    """Return the text with the two settings, the rest of it as it was.

    :param text: the current text, or an empty one if there is no file.
    :raises Refused: a line of the text cannot be read, or cannot be kept.
    """
    desired = {PROFILE: profile, FILE: file}
    if _read_settings(text) == desired:
        return text
    current = _read(text).get(_SECTION, {})
    values: dict[Name, str] = {(name,): _quote(value) for name, value in desired.items()}

    def change(section: list[str], newline: str) -> list[str]:
        missing = [f"    {key[0]} = {value}{newline}" for key, value in values.items() if key not in current]
        return insert([_set_value(line, values) for line in section] or [f"[{SECTION}]{newline}"], missing, newline)

    return _FORMAT.edit(text, _SECTION, {**current, **values}, change)


def remove_credentials(text: str, file: str) -> str:
    """Return the text without the two settings, if they name this file; settings with another file are not ours.

    :raises Refused: a line of a text with this file cannot be read, or cannot be kept.
    """
    if not any(each in text for each in (file, _quote(file)[1:-1])) or _read_settings(text).get(FILE) != file:
        return text

    def change(section: list[str], _newline: str) -> list[str]:
        rest = [line for line in section if not _is_ours(_key(line))]
        return rest if "".join(rest[1:]).strip() else []

    others = {key: value for key, value in _read(text)[_SECTION].items() if not _is_ours(key)}
    return _FORMAT.edit(text, _SECTION, others, change)


def _read(text: str) -> Sections:
    """Return the values by section and key, as they are written. The settings before all headers have no section.

    :raises Refused: a value does not end on its line, or something of the section is not in place.
    """
    name: Name = ()
    sections: Sections = {name: {}}
    for number, line in enumerate(split_lines(text), 1):
        code = _code(line)
        if code is None:
            raise Refused(number, _NOT_ENDED)
        match = _LINE.fullmatch(code)
        if not (_is_in_place(match, name, sections) if match else name != _SECTION and SECTION not in code):
            raise Refused(number, _NOT_IN_PLACE)
        if match and match[2]:
            name = _split(match[2])
            sections.setdefault(name, {})
        elif match and match[3]:
            sections[name][_split(match[3])] = match[4]
    return sections


def _is_in_place(match: re.Match[str], section: Name, sections: Sections) -> bool:
    """Whether a line has nothing of the section, or exactly what this file can change or keep there."""
    name, key = _split(match[2] or ""), _split(match[3] or "")
    if None in name + key:
        return False
    if name:
        return (not match[1] and name not in sections) if name == _SECTION else not _is_ours(name[1:], name[:1])
    if section == _SECTION:
        return key not in sections[section] and (not _is_ours(key) or len(key) == 1)
    return bool(section) or key[:1] != _SECTION


def _is_ours(key: Name, section: Name = _SECTION) -> bool:
    return section == _SECTION and key[:1] in ((PROFILE,), (FILE,))


def _code(line: str) -> str | None:
    """Return a line without its comment; ``None`` if a value in it does not, or need not, end there."""
    depth, code = 0, ""
    for token in _TOKEN.findall(line.rstrip("\r\n")):
        if token[0] == "#":
            break
        depth += _DEPTH.get(token, 0)
        if depth < 0 or token in _OPEN_QUOTES:
            return None
        code += token
    return None if depth else code


def _match(line: str) -> re.Match[str] | None:
    return _LINE.fullmatch(_code(line) or "")


def _header(line: str) -> Name | None:
    match = _match(line)
    return _split(match[2]) if match and match[2] else None


def _key(line: str) -> Name:
    match = _match(line)
    return _split(match[3]) if match and match[3] else ()


def _set_value(line: str, values: Mapping[Name, str]) -> str:
    match, value = _match(line), values.get(_key(line))
    return line[: match.start(4)] + value + line[match.end(4) :] if match and value is not None else line


def _split(name: str) -> Name:
    return tuple(_unquote(part) if part[0] in "\"'" else part for part in re.findall(_PART, name))


def _unquote(value: str) -> str | None:
    """Return the text of a string; ``None`` if it is something else, or has an escape that JSON does not have."""
    if not re.fullmatch(_STRING, value):
        return None
    try:
        return value[1:-1] if value[0] == "'" else str(json.loads(value, strict=False))
    except ValueError:
        return None


def _quote(value: str) -> str:
    """Return a value as a TOML string, which differs from JSON's in one character."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


_FORMAT = Format(_read, _header)
