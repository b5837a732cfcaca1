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
from itertools import takewhile
from typing import TYPE_CHECKING

from ansible_collections.cwagent.iam.plugins.module_utils._credentials.saved_key import KEY_ID, SECRET, TOKEN
from ansible_collections.cwagent.iam.plugins.module_utils._credentials.section import (
    FORMAT,
    parse_sections,
    read_sections,
)
from ansible_collections.cwagent.iam.plugins.module_utils._sections import insert, split_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

REGION = "region"
CREDENTIALS = (KEY_ID, SECRET, TOKEN)
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


def read_profile(text: str, name: str) -> Profile:
    """Return a profile, which is empty if it does not exist, or if this is not a credentials file."""
    options = read_sections(text).get(name, {})
    key_id, _secret, token = (options.get(each) for each in CREDENTIALS)
    has_credentials = all(options.get(each) for each in CREDENTIALS)
    lines = split_lines(text)
    found = FORMAT.find(lines, name)
    is_ours = bool(options and found and _find_ours(lines[slice(*found)]))
    return Profile(options.get(REGION), is_ours, has_credentials, bool(key_id and not token))


def set_region(text: str, name: str, region: str) -> str:
    """Return the text with the region in a profile, and everything else as it is.

    :raises Refused: this is not possible, or others have set another region.
    """
    options = parse_sections(text).get(name, {})
    if options.get(REGION) == region:
        return text

    def change(section: list[str], newline: str) -> list[str] | None:
        ours = _find_ours(section)
        if ours:
            line = _REGION.sub(rf"\g<1>{region}", section[ours[1]], count=1)
            return [*section[: ours[1]], line, *section[ours[1] + 1 :]]
        if REGION in options:
            return None
        # An option that is indented further than the one before it would belong to the value of that one.
        first = next((line for line in section[1:] if not _IGNORED.match(line)), "")
        indent = first[: len(first) - len(first.lstrip(" \t"))]
        lines = [f"{indent}{COMMENT}{newline}", f"{indent}{REGION} = {region}{newline}"]
        return insert(section or [f"[{name}]{newline}"], lines, newline)

    return FORMAT.edit(text, name, {**options, REGION: region}, change)


def remove_region(text: str, name: str) -> str:
    """Return the text without the region in a profile, if this collection has set it.

    :raises Refused: this is not possible without another change.
    """
    if not read_profile(text, name).is_ours:
        return text

    def change(section: list[str], _newline: str) -> list[str]:
        return [line for number, line in enumerate(section) if number not in (_find_ours(section) or ())]

    options = parse_sections(text)[name]
    return FORMAT.edit(text, name, {each: value for each, value in options.items() if each != REGION}, change)


def _find_ours(section: Sequence[str]) -> tuple[int, int] | None:
    """Return where our comment and the line with the region are in a section; ``None`` if the region is not ours."""
    for number, line in enumerate(section):
        if _REGION.match(line):
            ignored = takewhile(lambda each: _IGNORED.match(section[each]), range(number - 1, 0, -1))
            above = next((each for each in ignored if section[each].strip() == COMMENT), None)
            if above is not None:
                return above, number
    return None
