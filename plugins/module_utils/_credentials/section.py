# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One section in the text of a credentials file; everything else in the text stays as it is. Pure."""

from __future__ import annotations

import configparser
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ansible_collections.cwagent.iam.plugins.module_utils._errors import CwagentError
from ansible_collections.cwagent.iam.plugins.module_utils._sections import Format, Refused

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# Unlike Python's parser, AWS tools give the section DEFAULT no special meaning. No header can have this name.
_NO_DEFAULT = "\n"


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
    """Name the file in the error if its text is refused. :param advice: what to do."""
    try:
        yield
    except Refused as error:
        raise CwagentError(
            f"{path} has content that does not belong in a credentials file, or that cannot be kept (line "
            f"{error.line}), so profile {profile} in it cannot be changed. {advice} Nothing was changed."
        ) from error
