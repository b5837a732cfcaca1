# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The line with the region in a profile of a credentials file that the SSM agent keeps. Pure.

The SSM agent writes the whole file whenever it renews the credentials. It keeps other options, their comments and other
sections, but aligns the equal signs:
https://github.com/aws/amazon-ssm-agent/blob/mainline/agent/managedInstances/sharedCredentials/shared_Credentials.go

So a comment directly before the line shows whether the line is ours.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ansible_collections.cwagent.iam.plugins.module_utils._credentials.section import find_section, parse_sections

if TYPE_CHECKING:
    from collections.abc import Sequence

REGION = "region"
CREDENTIALS = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
COMMENT = "# Set by the Ansible collection cwagent.iam"

_REGION = re.compile(rf"([ \t]*{REGION}[ \t]*[=:][ \t]*)\S*", re.IGNORECASE)
_IGNORED = re.compile(r"\s*(?:[#;]|$)")


@dataclass(frozen=True)
class Profile:
    """A profile of a credentials file.

    :param is_ours: whether this collection has set the region.
    :param has_credentials: whether it has the credentials of a session, as the SSM agent writes them.
    :param has_access_key: whether it has the access key of a user, which the SSM agent never writes.
    """

    region: str | None = None
    is_ours: bool = False
    has_credentials: bool = False
    has_access_key: bool = False


def read_profile(text: str, name: str) -> Profile | None:
    """Return a profile, which is empty if it does not exist; ``None`` if this is not a credentials file."""
    sections = parse_sections(text)
    if sections is None:
        return None
    options = sections.get(name, {})
    key_id, _secret, token = (options.get(each) for each in CREDENTIALS)
    has_credentials = all(options.get(each) for each in CREDENTIALS)
    is_ours = _find_ours(_split(text), name) is not None
    return Profile(options.get(REGION), is_ours, has_credentials, bool(key_id and not token))


def set_region(text: str, name: str, region: str) -> str | None:
    """Return the text with the region in a profile, and everything else as it is.

    :returns: ``None`` if this is not possible, or if others have set another region.
    """
    sections = parse_sections(text)
    if sections is None:
        return None
    if sections.get(name, {}).get(REGION) == region:
        return text
    lines = _split(text)
    ours = _find_ours(lines, name)
    if ours:
        lines[ours[1]] = _REGION.sub(rf"\g<1>{region}", lines[ours[1]], count=1)
    elif REGION in sections.get(name, {}):
        return None
    else:
        lines = _insert(lines, name, region)
    return _if_only_changed("".join(lines), {**sections, name: {**sections.get(name, {}), REGION: region}})


def remove_region(text: str, name: str) -> str | None:
    """Return the text without the region in a profile, if this collection has set it.

    :returns: ``None`` if this is not possible without another change.
    """
    sections = parse_sections(text)
    if sections is None:
        return None
    lines = _split(text)
    ours = _find_ours(lines, name)
    if not ours:
        return text
    rest = "".join(line for number, line in enumerate(lines) if number not in ours)
    options = {option: value for option, value in sections[name].items() if option != REGION}
    return _if_only_changed(rest, {**sections, name: options})


def _insert(lines: list[str], name: str, region: str) -> list[str]:
    """Return the lines with ours directly after the header of the profile, or with a new profile at the end."""
    newline = "\r\n" if lines and lines[0].endswith("\r\n") else "\n"
    found = find_section(lines, name)
    if found is None:
        gap = [] if not lines else [newline] if lines[-1].endswith("\n") else [newline, newline]
        return [*lines, *gap, f"[{name}]{newline}", f"{COMMENT}{newline}", f"{REGION} = {region}{newline}"]
    start, end = found
    header = lines[start] if lines[start].endswith("\n") else f"{lines[start]}{newline}"
    newline = "\r\n" if header.endswith("\r\n") else "\n"
    # An option that is indented further than the one before it would belong to the value of that one.
    first = next((line for line in lines[start + 1 : end] if not _IGNORED.match(line)), "")
    indent = first[: len(first) - len(first.lstrip(" \t"))]
    ours = [f"{indent}{COMMENT}{newline}", f"{indent}{REGION} = {region}{newline}"]
    return [*lines[:start], header, *ours, *lines[start + 1 :]]


def _find_ours(lines: Sequence[str], name: str) -> tuple[int, int] | None:
    """Return where our comment and the line with the region are; ``None`` if the region is not ours."""
    found = find_section(lines, name)
    if found is None:
        return None
    start, end = found
    for number in range(start, end):
        if _REGION.match(lines[number]):
            above = number - 1
            while above > start and _IGNORED.match(lines[above]):
                if lines[above].strip() == COMMENT:
                    return above, number
                above -= 1
    return None


def _if_only_changed(text: str, sections: dict[str, dict[str, str]]) -> str | None:
    return text if parse_sections(text) == sections else None


def _split(text: str) -> list[str]:
    """Return the lines with their ends, as a parser of credentials files sees them."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)
