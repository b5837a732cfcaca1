# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Chooses earlier versions of configurations, which are stored again. Pure.

Each part of a configuration that was split has its own versions. Parts that were stored together go back together.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.merge import merge
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.split import minify
from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._store_config.options import PREVIOUS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from ansible_collections.cwagent.iam.plugins.module_utils._access.model import History, Version

# The parts of a configuration are stored at the same time, or nearly so.
TOGETHER = timedelta(minutes=1)


def select(histories: Sequence[History], wanted: str) -> list[tuple[str, Version]]:
    """Return the earlier versions of the parameters of a configuration, with their names.

    :param histories: of its parameters. The first one counts if the version is a number.
    :raises InvalidInput: there is no such version.
    """
    first = histories[0]
    if not first.versions:
        raise InvalidInput(f"Parameter '{first.name}' does not exist in {first.region}, so it has no earlier version.")
    until = _before_last_change(histories) if wanted == PREVIOUS else _end_of(first, wanted)
    chosen = [(each.name, next((one for one in each.versions if one.modified <= until), None)) for each in histories]
    if chosen[0][1] is None:
        raise InvalidInput(f"Parameter '{first.name}' in {first.region} has no version before the current one.")
    return [(name, version) for name, version in chosen if version]


def _before_last_change(histories: Sequence[History]) -> datetime:
    """Return a time between the last time when any of the parameters was stored, and the time before.

    If the last change has brought back an earlier state, it is the time of that change, so that a run that failed
    halfway can be repeated, and nothing goes back and forth.
    """
    last = max(each.versions[0].modified for each in histories if each.versions)
    stored_last = [each.versions for each in histories if each.versions and each.versions[0].modified > last - TOGETHER]
    if all(map(_is_back, stored_last)):
        return last
    return max([last - TOGETHER, *(each[1].modified for each in stored_last if each[1:])])


def _is_back(versions: Sequence[Version]) -> bool:
    """Whether the current version has the text of an earlier one, and not of the version before it."""
    current, *earlier = [each.value for each in versions]
    return current is not None and current in earlier[1:] and current != earlier[0]


def _end_of(history: History, wanted: str) -> datetime:
    """Return a time before the version after a number was stored with its parts."""
    by_number = {each.number: each for each in history.versions}
    number = next((each for each in by_number if str(each) == wanted.lstrip("0")), 0)
    if not number:
        raise InvalidInput(
            f"Version {wanted} of parameter '{history.name}' in {history.region} does not exist. Parameter Store has "
            f"versions {min(by_number)} to {max(by_number)}."
        )
    if number + 1 not in by_number:
        return history.versions[0].modified + TOGETHER
    begin, end = by_number[number].modified, by_number[number + 1].modified
    return max(end - TOGETHER, begin + (end - begin) / 2)


def join_parts(versions: Sequence[tuple[str, Version]]) -> str:
    """Return the text of a configuration, of which each parameter has a part.

    :raises InvalidInput: a part was not read, or the parts do not fit together.
    """
    unread = [name for name, version in versions if version.value is None]
    if unread:
        raise InvalidInput(f"The earlier version of {', '.join(unread)} is encrypted, and nothing here decrypts it.")
    texts = [version.value or "" for _name, version in versions]
    if not texts[1:]:
        return texts[0]
    try:
        return minify(merge(map(json.loads, texts)))
    except (AttributeError, TypeError, ValueError):
        raise InvalidInput(f"A part of {versions[0][0]} is not a configuration.") from None
