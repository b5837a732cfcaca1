# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The formats of a saved access key: a section of a shared-credentials file, and a JSON document in AWS. Pure.

Others write such files, too, and ``common-config.toml``. An edit keeps everything besides one section byte for byte. No
error quotes the text, which can contain the secret of a key or the password of a proxy.
"""

from __future__ import annotations

import configparser
import json
import re
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from .._ground.errors import CwagentError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence


# The name of a section, or of an option in it.
K = TypeVar("K")
# Unlike Python's parser, AWS tools give the section DEFAULT no special meaning. No header can have this name.
_NO_DEFAULT = "\n"
# The names in shared-credentials files; the documents in AWS use the same names.
# A session has a token. No saved key has one.
KEY_ID, SECRET, TOKEN, REGION = "aws_access_key_id", "aws_secret_access_key", "aws_session_token", "region"
# The key that the saved one replaced. Only rotation reads it; AWS tools ignore it, and it is not delivered.
REPLACED = "replaced_access_key_id"
# A value that fits on one line of a credentials file and has no special meaning there.
_VALUE = r"[!-~]+"


class Refused(CwagentError):
    """A line of a text cannot be read, or cannot be kept. :param line: its number."""

    def __init__(self, line: int, reason: str = "It cannot be kept as it is.") -> None:
        super().__init__(f"Line {line}: {reason}")
        self.line = line


@dataclass(frozen=True)
class Format(Generic[K]):
    """A format of files with sections.

    :param read: returns the sections of a text with their options. :raises Refused: a line cannot be read.
    :param header: returns the name of the section that begins with a line; ``None`` if the line is not a header.
    :param comments: the characters that begin a comment, if comments directly before a section belong to it.
    """

    read: Callable[[str], dict[K, dict[K, str]]]
    header: Callable[[str], K | None]
    comments: str = ""

    def find(self, lines: Sequence[str], name: K) -> tuple[int, int] | None:
        """Return where the lines of a section begin and end; ``None`` if there is no such section."""
        starts = [(number, found) for number, line in enumerate(lines) if (found := self.header(line)) is not None]
        start = next((number for number, found in starts if found == name), None)
        if start is None:
            return None
        end = next((number for number, _found in starts if number > start), len(lines))
        while lines[end - 1].strip()[:1] in self.comments:  # an empty line, too, but never the header
            end -= 1
        return start, end

    def edit(
        self, text: str, name: K, options: Mapping[K, str], change: Callable[[list[str], str], list[str] | None]
    ) -> str:
        """Return the text with one section changed. A missing section is added at the end.

        :param options: of the section afterwards.
        :param change: returns the new lines of the section from its lines and the end of a line. Without lines, the
            section is removed; ``None`` if it cannot be changed.
        :raises Refused: the text cannot be read, or the change has another effect.
        """
        before, lines = self.read(text), split_lines(text)
        found = self.find(lines, name)
        start, stop = found or (len(lines), len(lines))
        newline = next((end for each in [*lines[start:][:1], *lines[:1]] if (end := _end_of(each))), "\n")
        section = change(lines[start:stop], newline)
        first = start
        if found and not section and stop == len(lines) and not "".join(lines[:start][-1:]).strip():
            first = max(start - 1, 0)  # the empty line that separates it from the section before
        gap = [newline] * (2 - text.endswith("\n")) if lines and section and not found else []
        edited = "".join([*lines[:first], *gap, *(section or []), *lines[stop:]])
        wanted = {each: values for each, values in before.items() if each != name}
        if section is None or not self._has(edited, {**wanted, name: dict(options)} if section else wanted):
            raise Refused((start if found or name not in before else self._first_line(lines, name)) + 1)
        return edited

    def _first_line(self, lines: Sequence[str], name: K) -> int:
        """Return where a section begins whose header is not recognized."""
        return next(end for end in range(len(lines)) if name in self.read("".join(lines[: end + 1])))

    def _has(self, text: str, sections: Mapping[K, Mapping[K, str]]) -> bool:
        try:
            return self.read(text) == sections
        except Refused:
            return False


def split_lines(text: str) -> list[str]:
    """Return the lines with their ends, as the programs that read such files see them."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def insert(section: Sequence[str], lines: Sequence[str], newline: str) -> list[str]:
    """Return the lines of a section with others directly after its header."""
    header = section[0] + (newline if lines and not _end_of(section[0]) else "")
    return [header, *lines, *section[1:]]


def _end_of(line: str) -> str:
    return "\r\n" if line.endswith("\r\n") else line[-1:] if line.endswith("\n") else ""


def parse_sections(text: str) -> dict[str, dict[str, str]]:
    """Return all sections with their options.

    :raises Refused: this is not a credentials file.
    """
    parser = configparser.RawConfigParser(default_section=_NO_DEFAULT)
    try:
        parser.read_string(text)
    except configparser.Error as error:
        facts = vars(error)
        line = facts.get("lineno") or facts["errors"][0][0]
    else:
        return {name: dict(parser[name]) for name in parser.sections()}
    raise Refused(line)  # outside of the handler, whose error quotes the line, which can be the secret


def _header(line: str) -> str | None:
    header = line.strip()
    return (header[1:-1] if header.endswith("]") else "") if line.startswith("[") else None


FORMAT = Format(parse_sections, _header, "#;")


def read_sections(text: str) -> dict[str, dict[str, str]]:
    """Return all sections with their options; none if this is not a credentials file."""
    try:
        return parse_sections(text)
    except Refused:
        return {}


def read_section(text: str, name: str) -> dict[str, str] | None:
    """Return the options of a section; ``None`` if it does not exist, or if this is not a credentials file."""
    return read_sections(text).get(name)


def replace_section(text: str, name: str, values: Mapping[str, str]) -> str:
    """Return the text with a section that has these options and no others. A missing section is added at the end.

    :raises Refused: this is not possible without a change of other sections.
    """

    def change(_section: list[str], newline: str) -> list[str]:
        return [f"[{name}]{newline}", *(f"{option} = {value}{newline}" for option, value in values.items())]

    return FORMAT.edit(text, name, values, change)


def remove_section(text: str, name: str) -> str:
    """Return the text without a section.

    :raises Refused: this is not possible without a change of other sections.
    """
    return FORMAT.edit(text, name, {}, lambda _section, _newline: [])


@contextmanager
def refuse_file(path: str, profile: str, advice: str) -> Iterator[None]:
    """Name the file in the error if its text is refused. :param advice: the sentence that follows the reason."""
    try:
        yield
    except Refused as error:
        raise CwagentError(
            f"{path} has content that does not belong in a credentials file, or that cannot be kept (line "
            f"{error.line}), so profile {profile} in it cannot be changed. {advice} Nothing was changed."
        ) from None


@dataclass(frozen=True)
class SavedKey:
    """An access key with its secret.

    :param region: the region for AWS tools that use the key.
    :param replaced_key_id: the access key that this one replaced when it was created.
    """

    key_id: str
    secret: str = field(repr=False)
    region: str | None = None
    replaced_key_id: str | None = None


def from_file(text: str, profile: str) -> SavedKey | None:
    """Return the key in the text of an AWS shared-credentials file; ``None`` if there is no complete one."""
    values = read_section(text, profile)
    return parse(values) if values else None


def from_json(text: str) -> SavedKey | None:
    """Return the key in the JSON of a parameter or secret; ``None`` if there is no complete one."""
    try:
        saved = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return parse(saved) if isinstance(saved, dict) else None


def parse(saved: Mapping[str, Any]) -> SavedKey | None:
    """Return the key in the saved values; ``None`` if it is not complete.

    The stores and the readers both use this, so that they agree on the meaning of a complete key.
    """
    key_id, secret = saved.get(KEY_ID), saved.get(SECRET)
    region = saved.get(REGION) or None
    if not all(_is_value(value) for value in (key_id, secret, region or "none")):
        return None
    replaced = saved.get(REPLACED)
    return SavedKey(str(key_id), str(secret), region, replaced if _is_value(replaced) else None)


def _is_value(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(_VALUE, value) is not None


def to_values(key: SavedKey) -> dict[str, str]:
    """Return the values that are saved for a key, in files and in documents. ``parse`` reads them."""
    optional = {REGION: key.region, REPLACED: key.replaced_key_id}
    return {KEY_ID: key.key_id, SECRET: key.secret, **{name: value for name, value in optional.items() if value}}


def to_file(key: SavedKey, profile: str) -> str:
    """Return the text of an AWS shared-credentials file that delivers the key."""
    lines = [f"{name} = {value}" for name, value in to_values(replace(key, replaced_key_id=None)).items()]
    return "\n".join([f"[{profile}]", *lines, ""])


def saved_key_description(key_id: str, user: str) -> str:
    """Return the description of a parameter or secret with a key, which can be read without reading the secret."""
    return f"Access key {key_id} of IAM user {user} for the Amazon CloudWatch agent."


def claim_description(user: str) -> str:
    """Return the description of the record of a user's keys, which exists while another key is being created."""
    return f"Access keys that IAM user {user} had before another one is created."


def is_description_of(user: str, description: str) -> bool:
    """Whether a parameter or secret with this description is the saved key of a user, or the record of its keys."""
    key_id = described_key(description)
    return description == (saved_key_description(key_id, user) if key_id else claim_description(user))


def described_key(description: str) -> str | None:
    """Return the id of the key in a description; ``None`` for any other description."""
    named = re.match(r"Access key (\w{16,128}) of IAM user ", description, re.ASCII)
    return named.group(1) if named else None
