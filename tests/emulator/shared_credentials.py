"""How the SSM agent writes credentials to the shared credentials file of its host.

It replaces three keys of a section. But it also writes the whole file in the format of its library, ``ini.v1`` for Go:

- The equals signs of a section are aligned, and an empty line follows each section.
- A comment at the end of a line moves to the line before it. Comments at the end of the file are lost.
- A value that contains ``#`` or ``;`` is cut there, unless it is in backquotes.
- A file that it cannot parse is replaced.

The file is written in place and keeps its mode. Values over several lines are not supported here.

https://github.com/aws/amazon-ssm-agent/blob/mainline/agent/managedInstances/sharedCredentials/shared_Credentials.go
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .backend import Credentials

DEFAULT = "DEFAULT"
"""The section of keys that come before all sections. ``[default]`` is another one."""


@dataclass
class Key:
    value: str = ""
    comment: str = ""


@dataclass
class Section:
    comment: str = ""
    keys: dict[str, Key] = field(default_factory=dict)


def store(path: Path, profile: str, credentials: Credentials) -> None:
    """Write credentials to a section of the file, which is created where it does not exist."""
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
    sections = {DEFAULT: Section()}
    with suppress(ValueError):
        sections = parse(path.read_text())
    keys = sections.setdefault(profile, Section()).keys
    values = (credentials.access_key, credentials.secret, credentials.token)
    for name, value in zip(("aws_access_key_id", "aws_secret_access_key", "aws_session_token"), values, strict=True):
        keys.setdefault(name, Key()).value = value
    path.write_text("".join(map(_section_text, sections, sections.values())))


def parse(text: str) -> dict[str, Section]:
    """The sections of a file. Raises ValueError where a line is neither a section nor a key."""
    section = Section()
    sections, comment = {DEFAULT: section}, ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith(("#", ";")):
            comment += f"{line}\n"
        elif line.startswith("["):
            name, closed, rest = line[1:].rpartition("]")
            if not closed:
                raise ValueError(line)
            section = sections.setdefault(name, Section())
            section.comment, comment = f"{comment}{rest.strip()}".strip(), ""
        elif line:
            found = re.fullmatch(r"([^=:]+)[=:](.*)", line)
            if not found:
                raise ValueError(line)
            value, inline = _value(found[2].strip())
            section.keys[found[1].strip()], comment = Key(value, f"{comment}{inline}".strip()), ""
    return sections


def _value(text: str) -> tuple[str, str]:
    """A value, and the comment after it."""
    quoted = re.match(r"`([^`]*)`(.*)", text)
    if quoted:
        return quoted[1], quoted[2].strip()
    found = re.search(r"[#;]", text)
    value, inline = (text[: found.start()].strip(), text[found.start() :]) if found else (text, "")
    unquoted = re.fullmatch(r"(['\"])(.*)\1", value)
    return (unquoted[2] if unquoted else value), inline


def _section_text(name: str, section: Section) -> str:
    lines = _comment_lines(section.comment)
    if name != DEFAULT:
        lines.append(f"[{name}]")
    elif not section.keys:
        return "".join(f"{line}\n" for line in lines)
    width = max(map(len, section.keys), default=0)
    for key, each in section.keys.items():
        value = f"`{each.value}`" if re.search(r"[#;]", each.value) else each.value
        lines += [*_comment_lines(each.comment), f"{key:{width}} = {value}"]
    return "".join(f"{line}\n" for line in [*lines, ""])


def _comment_lines(comment: str) -> list[str]:
    return [f"{line[0]} {line[1:].strip()}" for line in comment.splitlines()]
