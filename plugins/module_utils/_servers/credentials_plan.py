# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans the files of the agent: its credentials file, and the settings for it in ``common-config.toml``. Pure."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from .._ground.errors import CwagentError
from .._ground.files import File
from .._ground.plan import Kind, Plan, Step
from .._keys.saved_key import (
    Format,
    Refused,
    insert,
    parse_sections,
    read_section,
    refuse_file,
    remove_section,
    replace_section,
    split_lines,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Optional

    Name = tuple[Optional[str], ...]
    Sections = dict[Name, dict[Name, str]]


# This runs on the host, whose Python can be older than ``tomllib``. So it reads TOML line by line, and refuses a text
# with a value that does not end on its line. It changes only the lines of its two settings. A line that it cannot read
# stays as it is, unless it can have something to do with the section.
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


CREDENTIALS_MODE = 0o600
CONFIG_MODE = 0o644
ITEM = "files"
RESTART_SUMMARY = "restart the agent"
_ADVICE = "Set another path, or move the file away."
WRITE, DELETE, CREATE_FOLDER = "file:Write", "file:Delete", "file:CreateFolder"


@dataclass(frozen=True)
class State:
    """The files as they are. :param missing_folders: the folders to create for them, outermost first."""

    credentials: File | None
    config: File | None
    unfinished: bool = False
    missing_folders: tuple[str, ...] = ()


@dataclass(frozen=True)
class Desired:
    """The user's choices for the files.

    :param credentials: the path of the credentials file.
    :param config: the path of the agent's common configuration; ``None`` leaves it as it is.
    :param text: a credentials file with the profile, which the file on the host gets; ``None`` removes the profile
        there, and deletes a file without other profiles.
    :param uid, gid: the owner and group of the credentials file; ``None`` keeps them.
    """

    credentials: str
    config: str | None
    profile: str
    text: str | None = field(repr=False)
    uid: int | None = None
    gid: int | None = None

    @property
    def change_config(self) -> ConfigChange:
        """The change of the agent's common configuration."""
        return ConfigChange(self.config, self.profile, self.credentials, self.text is not None)


def plan(current: State, desired: Desired) -> Plan[State]:
    """Plan the steps to the desired files.

    The settings are written after the credentials file, and removed before it.

    :raises CwagentError: one of the files cannot be changed.
    """
    planned = planned_state(current, desired)
    config = desired.change_config.steps(current.config)
    steps = [create_folder(path) for path in current.missing_folders if desired.text is not None]
    if desired.text is None:
        steps += config
        if planned.credentials is None:
            steps += [_delete(desired.credentials)] if current.credentials or current.unfinished else []
        elif planned.credentials != current.credentials or current.unfinished:
            remove = partial(_without_profile, desired=desired)
            steps.append(write("remove the access key from", desired.credentials, remove, is_new=False))
    else:
        if planned.credentials != current.credentials:
            put = partial(_with_profile, desired=desired)
            is_new = current.credentials is None
            steps.append(write("write the access key to", desired.credentials, put, is_new=is_new))
        steps += config
    return Plan(current, planned, {ITEM: steps})


def planned_state(current: State, desired: Desired) -> State:
    """Return the state after the plan was applied.

    :raises CwagentError: one of the files cannot be changed.
    """
    before = current.credentials
    config = desired.change_config(current.config)
    if desired.text is None:
        return replace(current, credentials=_without_profile(before, desired), config=config, unfinished=False)
    credentials = _with_profile(before, desired)
    return State(credentials, config, current.unfinished and credentials == before)


def _with_profile(before: File | None, desired: Desired) -> File:
    """Return the file on the host with the desired profile, and the others as they are.

    :raises CwagentError: the others cannot be kept.
    """
    text = desired.text or ""
    if before is None:
        return File(text, CREDENTIALS_MODE, desired.uid, desired.gid)
    values = read_section(text, desired.profile) or {}
    text = before.text
    if not values or read_section(text, desired.profile) != values:
        with refuse_file(desired.credentials, desired.profile, _ADVICE):
            text = replace_section(text, desired.profile, values)
    owner = before.uid if desired.uid is None else desired.uid
    return File(text, CREDENTIALS_MODE, owner, before.gid if desired.gid is None else desired.gid)


def _without_profile(before: File | None, desired: Desired) -> File | None:
    """Return the file without the profile; ``None`` if it has no other.

    The credentials of a session are not ours: the SSM agent can keep them in the same file.

    :raises CwagentError: the others cannot be kept.
    """
    if before and (read_section(before.text, desired.profile) or {}).get("aws_session_token"):
        return before
    if before is None:
        return None
    with refuse_file(desired.credentials, desired.profile, _ADVICE):
        if parse_sections(before.text).keys() == {desired.profile}:
            return None
        return replace(before, text=remove_section(before.text, desired.profile))


@dataclass(frozen=True)
class ConfigChange:
    """Changes the agent's common configuration: it gets the two settings, or loses them.

    :param path: of the file; ``None`` leaves it as it is. :param credentials: the path of the credentials file.
    """

    path: str | None
    profile: str
    credentials: str
    is_present: bool

    def __call__(self, current: File | None) -> File | None:
        """Return the file after the change. :raises CwagentError: it cannot be changed."""
        if self.path is None:
            return current
        before = current or File("", CONFIG_MODE, None, None)
        try:
            if self.is_present:
                text = set_credentials(before.text, self.profile, self.credentials)
            else:
                text = remove_credentials(before.text, self.credentials)
        except CwagentError as error:
            raise CwagentError(f"{self.path} cannot be changed: {error} Nothing was changed.") from error
        return replace(before, text=text) if text != before.text else current

    def steps(self, current: File | None) -> list[Step]:
        """Return the step that changes the file, if it differs."""
        if self.path is None or self(current) == current:
            return []
        what = "set the credentials file in" if self.is_present else "remove the credentials file from"
        return [write(what, self.path, self, is_new=current is None)]


def write(what: str, path: str, change: Callable[[File | None], File | None], *, is_new: bool) -> Step:
    """Return the step that changes a file.

    :param change: returns the file to write for the one that exists then. Other programs can have changed it since.
    """
    return Step(Kind.CREATE if is_new else Kind.UPDATE, WRITE, {"path": path}, f"{what} {path}", context=change)


def _delete(path: str) -> Step:
    return Step(Kind.DELETE, DELETE, {"path": path}, f"delete {path}")


def create_folder(path: str) -> Step:
    """Return the step that creates a folder."""
    return Step(Kind.CREATE, CREATE_FOLDER, {"path": path}, f"create folder {path}")


def _has_key(file: File, desired: Desired) -> bool:
    wanted = read_section(desired.text or "", desired.profile)
    return wanted is not None and read_section(file.text, desired.profile) == wanted


def to_diff(state: State, desired: Desired) -> dict[str, Any]:
    """Render a state for the diff. Its only file content is the two settings for the credentials file."""
    key, config = state.credentials, state.config
    shown: dict[str, Any] = {
        "credentials_file": None
        if key is None
        else {
            "path": desired.credentials,
            "access_key": "the saved one" if _has_key(key, desired) else "not the saved one",
            "mode": f"{key.mode:04o}",
            "owner": key.uid,
            "group": key.gid,
        }
    }
    if desired.config is not None:
        shown["common_config"] = read_settings(config.text) if config else {}
    return shown
