# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sets the agent's credentials file in the text of its ``common-config.toml``. Pure.

It runs on the host, whose Python can be older than ``tomllib``. So this file knows the structure of a TOML text, where
a key and its value begin and end, and changes nothing else. No error of this file quotes the text, which can contain
the password of a proxy.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ansible_collections.cwagent.iam.plugins.module_utils._errors import CwagentError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

SECTION = "credentials"
PROFILE = "shared_credential_profile"
FILE = "shared_credential_file"

_BASIC, _LITERAL = r'"(?:[^"\\\n]|\\[^\n])*"', r"'[^'\n]*'"
_STRING = (
    r'"""(?:[^"\\]|\\.|"{1,2}(?!"))*""""{0,2}'
    rf"|'''(?:[^']|'{{1,2}}(?!'))*''''{{0,2}}|{_BASIC}|{_LITERAL}"
)
_SCALAR = (
    r"(?:true|false|[+-]?(?:inf|nan)|[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9][\w.:+-]*|[+-]?[0-9][\w.:+-]*)(?=[\s,\]}#]|$)"
)
_SIMPLE_VALUE = re.compile(f"{_STRING}|{_SCALAR}", re.DOTALL)
# The parts that can be between the brackets of a list, or of a table in a value.
_INSIDE = re.compile(rf"{_STRING}|#[^\n]*|[\[\]{{}}]|[^\"'#\[\]{{}}]+", re.DOTALL)
_KEY = re.compile(rf"[ \t]*([\w-]+|{_BASIC}|{_LITERAL})[ \t]*", re.ASCII)
_BLANK = re.compile(r"[ \t]*")
_REST_OF_LINE = re.compile(r"[ \t]*(?:#[^\n]*)?(?:\r?\n|\Z)")
_ESCAPE = re.compile(r"\\(u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|[^uU])")
_ESCAPED = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", '"': '"', "\\": "\\"}
END_OF_UNICODE, SURROGATES = 0x110000, range(0xD800, 0xE000)
_CLOSING = {"[": "]", "{": "}"}


@dataclass(frozen=True)
class _Setting:
    """A key with its value. The positions are where the lines and the value begin and end in the text."""

    key: tuple[str, ...]
    start: int
    stop: int
    value_start: int
    value_stop: int


@dataclass(frozen=True)
class _Section:
    """A section with its settings, from its header, or the beginning of the text, to the next header.

    :param body: where the line of the header ends.
    """

    name: tuple[str, ...]
    is_list: bool
    start: int
    body: int
    stop: int
    settings: tuple[_Setting, ...] = ()


class _Invalid(CwagentError):
    def __init__(self) -> None:
        super().__init__("It is not valid TOML, so the agent cannot read it.")


def read_settings(text: str) -> dict[str, str]:
    """Return the two settings with their values, as far as a text has them.

    :raises CwagentError: the text is not valid TOML.
    """
    sections = _parse(text)
    found = {name: _text_of(text, setting) for name, setting in _find_settings(text, sections).items()}
    return {name: value for name, value in found.items() if value is not None}


def read_text(text: str, *path: str) -> str | None:
    """Return the value of a setting of any TOML text; ``None`` if there is no such setting with a text on one line.

    :param path: the names of its section and of the setting.
    :raises CwagentError: the text is not valid TOML.
    """
    for section in _parse(text):
        for setting in section.settings:
            if section.name + setting.key == path:
                return _text_of(text, setting)
    return None


def set_credentials(text: str, profile: str, file: str) -> str:
    """Return the text with the two settings, the rest of it as it was.

    :param text: the current text, or an empty one if there is no file.
    :raises CwagentError: the text is not valid TOML, or cannot be changed in place.
    """
    desired = {PROFILE: profile, FILE: file}
    if read_settings(text) == desired:
        return text
    sections = _parse(text)
    section = _changeable_section(sections)
    end = "\r\n" if "\r\n" in text else "\n"
    if section is None:
        separator = "" if text.endswith("\n") or not text else end
        return f"{text}{separator}{end if text else ''}[{SECTION}]{end}{_lines(desired, end)}"
    present = {setting.key[0]: setting for setting in section.settings if setting.key[0] in desired}
    missing = {name: value for name, value in desired.items() if name not in present}
    separator = "" if text[: section.body].endswith("\n") else end
    edits = [(section.body, section.body, separator + _lines(missing, end))] if missing else []
    edits += [(each.value_start, each.value_stop, _quote(desired[name])) for name, each in present.items()]
    return _edit(text, edits)


def remove_credentials(text: str, file: str) -> str:
    """Return the text without the two settings, if they name this file; settings with another file are not ours.

    :raises CwagentError: the text is not valid TOML, or cannot be changed in place.
    """
    section = _changeable_section(_parse(text)) if read_settings(text).get(FILE) == file else None
    if section is None:
        return text
    removed = [each for each in section.settings if each.key[0] in (PROFILE, FILE)]
    edits = [(each.start, each.stop, "") for each in removed]
    rest = _edit(text[: section.stop], edits)[section.body :]
    if rest.strip():
        return _edit(text, edits)
    before = re.sub(r"(\A|\n)[ \t]*\r?\n\Z", r"\1", text[: section.start])
    return before + rest + text[section.stop :]


def _find_settings(text: str, sections: Sequence[_Section]) -> dict[str, _Setting]:
    """Return the two settings by name, in whatever notation.

    :raises CwagentError: the section is not a section.
    """
    found = {}
    for section, setting in _all_settings(text, sections):
        path = section.name + setting.key
        if path in ((SECTION, PROFILE), (SECTION, FILE)):
            found[path[-1]] = setting
    return found


def _all_settings(text: str, sections: Sequence[_Section]) -> Iterator[tuple[_Section, _Setting]]:
    for section in sections:
        for setting in section.settings:
            if section.name + setting.key != (SECTION,):
                yield section, setting
            elif text[setting.value_start] != "{":
                raise CwagentError(f"'{SECTION}' is not a section.")
            else:
                for inner in _inline_settings(text, setting):
                    yield section, replace(inner, key=setting.key + inner.key)


def _inline_settings(text: str, table: _Setting) -> Iterator[_Setting]:
    """Return the settings of a table that is written as a value."""
    position = table.value_start + 1
    while _skip(_BLANK, text, position) < table.value_stop - 1:
        setting = _read_setting(text, position)
        yield setting
        position = _skip(_BLANK, text, setting.value_stop)
        if position < table.value_stop - 1:
            position = _expect(",", text, position)


def _changeable_section(sections: Sequence[_Section]) -> _Section | None:
    """Return the section; ``None`` if there is none.

    :raises CwagentError: it is written in a way that cannot be changed in place.
    """
    elsewhere = any(setting.key[0] == SECTION for setting in sections[0].settings)
    paths = [section.name + setting.key for section in sections for setting in section.settings]
    paths += [section.name for section in sections]
    nested = any(path[2:] and path[:2] in ((SECTION, PROFILE), (SECTION, FILE)) for path in paths)
    if elsewhere or nested or any(each.name in ((SECTION, PROFILE), (SECTION, FILE)) for each in sections):
        raise CwagentError(
            f"{PROFILE} and {FILE} are written in a way that cannot be changed in place. Write each on its own line in "
            f"a section [{SECTION}]."
        )
    return next((each for each in sections if each.name == (SECTION,)), None)


def _text_of(text: str, setting: _Setting) -> str | None:
    """Return the value of a setting; ``None`` if it is not a text on one line."""
    value = text[setting.value_start : setting.value_stop]
    return _unquote(value) if re.fullmatch(f"{_BASIC}|{_LITERAL}", value) and value[:3] not in ('"""', "'''") else None


def _parse(text: str) -> list[_Section]:
    """Return the sections of a text. The first one has no name, and contains the settings before all headers.

    :raises CwagentError: the text is not valid TOML.
    """
    sections = _read_sections(text)
    names = [each.name for each in sections if not each.is_list]
    keys = [(index, each.key) for index, section in enumerate(sections) for each in section.settings]
    if len(set(names)) < len(names) or len(set(keys)) < len(keys):
        raise _Invalid
    if any(each.is_list and each.name == (SECTION,) for each in sections):
        raise CwagentError(f"'{SECTION}' is not a section.")
    return sections


def _read_sections(text: str) -> list[_Section]:
    sections = [_Section((), False, 0, 0, len(text))]
    position = 0
    while position < len(text):
        start, position = position, _skip(_BLANK, text, position)
        match = _REST_OF_LINE.match(text, position)
        if match:
            position = match.end()
        elif text[position] == "[":
            section = _read_header(text, start, position)
            sections[-1] = replace(sections[-1], stop=start)
            sections.append(section)
            position = section.body
        else:
            setting = _read_setting(text, start)
            setting = replace(setting, stop=_skip(_REST_OF_LINE, text, setting.value_stop))
            sections[-1] = replace(sections[-1], settings=(*sections[-1].settings, setting))
            position = setting.stop
    return sections


def _read_header(text: str, start: int, position: int) -> _Section:
    is_list = text.startswith("[[", position)
    name, position = _read_key(text, position + 1 + is_list)
    position = _expect("]]" if is_list else "]", text, position)
    return _Section(name, is_list, start, _skip(_REST_OF_LINE, text, position), len(text))


def _read_setting(text: str, start: int) -> _Setting:
    key, position = _read_key(text, start)
    value_start = _skip(_BLANK, text, _expect("=", text, position))
    value_stop = _end_of_value(text, value_start)
    return _Setting(key, start, value_stop, value_start, value_stop)


def _read_key(text: str, position: int) -> tuple[tuple[str, ...], int]:
    parts: list[str] = []
    while True:
        match = _KEY.match(text, position)
        if not match:
            raise _Invalid
        parts.append(_unquote(match[1]) if match[1][0] in "\"'" else match[1])
        position = match.end()
        if not text.startswith(".", position):
            return tuple(parts), position
        position += 1


def _end_of_value(text: str, start: int) -> int:
    if text[start : start + 1] not in _CLOSING:
        return _skip(_SIMPLE_VALUE, text, start)
    expected: list[str] = []
    position = start
    while True:
        match = _INSIDE.match(text, position)
        if not match:
            raise _Invalid
        position = match.end()
        if match[0] in _CLOSING:
            expected.append(_CLOSING[match[0]])
        elif match[0] in ("]", "}") and expected.pop() != match[0]:
            raise _Invalid
        if not expected:
            return position


def _skip(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    if not match:
        raise _Invalid
    return match.end()


def _expect(token: str, text: str, position: int) -> int:
    if not text.startswith(token, position):
        raise _Invalid
    return position + len(token)


def _unquote(value: str) -> str:
    if value[0] == "'":
        return value[1:-1]

    def unescape(match: re.Match[str]) -> str:
        code = match[1]
        if code in _ESCAPED:
            return _ESCAPED[code]
        number = int(code[1:], 16) if code[0] in "uU" else END_OF_UNICODE
        if number in SURROGATES or number >= END_OF_UNICODE:
            raise _Invalid
        return chr(number)

    return _ESCAPE.sub(unescape, value[1:-1])


def _quote(value: str) -> str:
    """Return a value as a TOML string, which differs from JSON's in one character."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _lines(settings: Mapping[str, str], end: str) -> str:
    return "".join(f"    {name} = {_quote(value)}{end}" for name, value in settings.items())


def _edit(text: str, edits: Sequence[tuple[int, int, str]]) -> str:
    """Return a text with parts of it replaced, each given by its position."""
    for start, stop, new in sorted(edits, reverse=True):
        text = text[:start] + new + text[stop:]
    return text
