# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sets the CloudWatch agent's credentials file in the text of its ``common-config.toml``."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import tomllib  # filters run on the controller, whose Python has it from ansible-core 2.18 on
from ansible.errors import AnsibleFilterError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SECTION = "credentials"
PROFILE = "shared_credential_profile"
FILE = "shared_credential_file"
_HEADER = re.compile(rf"""\s*\[\s*(["']?){SECTION}\1\s*\]\s*(#.*)?$""")
_ANY_HEADER = re.compile(r"\s*\[")
_SETTING = re.compile(rf"""(\s*(["']?)({PROFILE}|{FILE})\2\s*=\s*)("(?:[^"\\]|\\.)*"|'[^']*')(.*)$""", re.DOTALL)


def common_config(text: str, profile: str, file: str, *, state: str = "present") -> str:
    """Return the text of a ``common-config.toml`` with the two settings, or without them.

    The text is changed line by line, so that the rest is kept as it is. The new text is then parsed as TOML to verify
    the change.

    :param text: the current text; empty where there is no file.
    :raises AnsibleFilterError: the text is not valid TOML, or cannot be changed in place.
    """
    settings = {PROFILE: str(profile), FILE: str(file)}
    current = _parse(text)
    section = current.get(SECTION, {})
    if not isinstance(section, dict):
        raise AnsibleFilterError(f"common-config.toml: '{SECTION}' is not a section.")
    if state == "present":
        planned = {**section, **settings}
        if planned == section:
            return text
        new_text = _set(text, settings)
    else:
        # Settings with another file are not from this collection.
        if section.get(FILE) != settings[FILE]:
            return text
        planned = {key: section[key] for key in section.keys() - settings.keys()}
        new_text = _remove(text)
    if not _has_content(new_text, {**current, SECTION: planned}):
        raise AnsibleFilterError(
            f"common-config.toml: {PROFILE} and {FILE} are written in a way that cannot be changed in place. Write "
            f"them as lines of their own in a section [{SECTION}]."
        )
    return new_text


def _parse(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise AnsibleFilterError(
            f"common-config.toml is not valid TOML, so the agent cannot read it: {error}."
        ) from error


def _has_content(text: str, planned: Mapping[str, Any]) -> bool:
    """Whether a text has this content; an empty section counts as none."""
    try:
        content = _parse(text)
    except AnsibleFilterError:
        return False
    return {SECTION: {}, **content} == {SECTION: {}, **planned}


def _lines(text: str) -> list[str]:
    """Split a text into lines with their ends, only where TOML ends a line; Python's own method splits at more."""
    return [line for line in re.split(r"(?<=\n)", text) if line]


def _find_section(lines: list[str]) -> range | None:
    """Return the line numbers of the section, with its header; ``None`` where there is none."""
    headers = [number for number, line in enumerate(lines) if _ANY_HEADER.match(line) and _is_complete(lines[:number])]
    start = next((number for number in headers if _HEADER.match(lines[number])), None)
    if start is None:
        return None
    return range(start, next((number for number in headers if number > start), len(lines)))


def _is_complete(lines: list[str]) -> bool:
    """Whether no value, such as a list, continues after these lines; in a list, a line can look like a header."""
    try:
        tomllib.loads("".join(lines))
    except tomllib.TOMLDecodeError:
        return False
    return True


def _quote(value: str) -> str:
    """Return a value as a TOML string, which differs from JSON's in one character."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _set(text: str, settings: Mapping[str, str]) -> str:
    end = "\r\n" if "\r\n" in text else "\n"
    lines = _lines(text)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += end
    if _find_section(lines) is None:
        lines += [end] if lines else []
        lines += [f"[{SECTION}]{end}"]
    section = _find_section(lines) or range(0)  # added above, where there was none
    missing = dict(settings)
    for number in section:
        match = _SETTING.match(lines[number])
        if match:
            lines[number] = f"{match[1]}{_quote(settings[match[3]])}{match[5]}"
            missing.pop(match[3], None)
    lines[section.start + 1 : section.start + 1] = [
        f"    {key} = {_quote(value)}{end}" for key, value in missing.items()
    ]
    return "".join(lines)


def _remove(text: str) -> str:
    lines = _lines(text)
    section = _find_section(lines) or range(0)
    kept = [lines[number] for number in section if not _SETTING.match(lines[number])]
    before, after = lines[: section.start], lines[section.stop :]
    if not "".join(kept[1:]).strip():  # nothing but the header
        kept = kept[1:]
        if before and not before[-1].strip():
            before = before[:-1]
    return "".join(before + kept + after)


class FilterModule:
    """The filters in this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"common_config": common_config}
