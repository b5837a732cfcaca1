# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Points the CloudWatch agent to a credentials file, in the text of its ``common-config.toml``."""

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
    """The text of a ``common-config.toml`` with the two settings, or without them.

    The text is changed line by line, so that all else stays. Whether the change came out right is then seen by reading
    the new text as TOML.

    :param text: empty where there is no file.
    :raises AnsibleFilterError: the text is no TOML, or cannot be changed in place.
    """
    settings = {PROFILE: str(profile), FILE: str(file)}
    before = _parsed(text)
    principal = before.get(SECTION, {})
    if not isinstance(principal, dict):
        raise AnsibleFilterError(f"common-config.toml: '{SECTION}' is no section in it.")
    if state == "present":
        if {**principal, **settings} == principal:
            return text
        after, wanted = _set(text, settings), {**before, SECTION: {**principal, **settings}}
    else:
        # Whoever points the agent to another file has settings of their own.
        if principal.get(FILE) != settings[FILE]:
            return text
        after, wanted = (
            _removed(text),
            {**before, SECTION: {key: principal[key] for key in principal.keys() - settings.keys()}},
        )
    if not _same(after, wanted):
        raise AnsibleFilterError(
            f"common-config.toml: {PROFILE} and {FILE} are written in a way that cannot be changed in place. Write "
            f"them as lines of their own in a section [{SECTION}]."
        )
    return after


def _parsed(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise AnsibleFilterError(f"common-config.toml is no TOML, so the agent cannot read it: {error}.") from error


def _same(text: str, wanted: Mapping[str, Any]) -> bool:
    """Whether a text says this; an empty section is as good as none."""
    try:
        found = _parsed(text)
    except AnsibleFilterError:
        return False
    return {SECTION: {}, **found} == {SECTION: {}, **wanted}


def _lines(text: str) -> list[str]:
    """The lines with their ends; only those of TOML count as ends, of which Python knows more."""
    return [line for line in re.split(r"(?<=\n)", text) if line]


def _section(lines: list[str]) -> range | None:
    """Where the section is, with its header."""
    headers = [number for number, line in enumerate(lines) if _ANY_HEADER.match(line) and _whole(lines[:number])]
    start = next((number for number in headers if _HEADER.match(lines[number])), None)
    if start is None:
        return None
    return range(start, next((number for number in headers if number > start), len(lines)))


def _whole(lines: list[str]) -> bool:
    """Whether no value goes on after these lines, such as a list, in which a line may look like a header."""
    try:
        tomllib.loads("".join(lines))
    except tomllib.TOMLDecodeError:
        return False
    return True


def _quoted(value: str) -> str:
    """A value as a string of TOML, which differs from JSON's in one character."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _set(text: str, settings: Mapping[str, str]) -> str:
    end = "\r\n" if "\r\n" in text else "\n"
    lines = _lines(text)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += end
    if _section(lines) is None:
        lines += [end] if lines else []
        lines += [f"[{SECTION}]{end}"]
    section = _section(lines) or range(0)  # it was added above, where there was none
    missing = dict(settings)
    for number in section:
        found = _SETTING.match(lines[number])
        if found:
            lines[number] = f"{found[1]}{_quoted(settings[found[3]])}{found[5]}"
            missing.pop(found[3], None)
    lines[section.start + 1 : section.start + 1] = [
        f"    {key} = {_quoted(value)}{end}" for key, value in missing.items()
    ]
    return "".join(lines)


def _removed(text: str) -> str:
    lines = _lines(text)
    section = _section(lines) or range(0)
    kept = [lines[number] for number in section if not _SETTING.match(lines[number])]
    before, after = lines[: section.start], lines[section.stop :]
    if not "".join(kept[1:]).strip():  # nothing but the header
        kept = kept[1:]
        if before and not before[-1].strip():
            before = before[:-1]
    return "".join(before + kept + after)


class FilterModule:
    """The filter that changes the agent's common configuration."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """By name, the filter."""
        return {"common_config": common_config}
