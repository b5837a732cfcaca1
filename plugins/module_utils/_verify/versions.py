# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many agents run each version of a configuration."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._access.model import Unread
from ansible_collections.cwagent.iam.plugins.module_utils._access.parameters import read_versions
from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws
from ansible_collections.cwagent.iam.plugins.module_utils._errors import DENIED_CODES, AwsApiError
from ansible_collections.cwagent.iam.plugins.module_utils._text import count_noun, wrap
from ansible_collections.cwagent.iam.plugins.module_utils._verify.script import digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from ansible_collections.cwagent.iam.plugins.module_utils._verify.model import Server


def describe_versions(client_factory: Callable[..., Any], servers: Iterable[Server]) -> tuple[list[str], list[Unread]]:
    """Return for each configuration and region how many agents run each version, and what could not be read.

    The versions that Parameter Store keeps are read only where an agent runs another text than the stored one.
    """
    texts: dict[tuple[str, str], Counter[str]] = {}
    stored: dict[tuple[str, str], dict[str, int]] = {}
    for server in servers:
        for name, text in server.running.items():
            texts.setdefault((name, server.region), Counter())[text] += 1
        for each in server.runs:
            stored.setdefault((each.name, server.region), {})[each.digest] = each.number
    lines, unread = [], []
    for (name, region), counts in sorted(texts.items()):
        known, place = stored.get((name, region), {}), f"{name} in {region}"
        if not counts.keys() <= known.keys():
            try:
                known = {**_read(client_factory, name, region), **known}
            except AwsApiError as error:
                if error.code not in DENIED_CODES:
                    raise
                unread.append(Unread(f"the versions of {place}", error.action, region, str(error)))
        lines += [f"{place}: {_describe(counts, known)}."]
    lines += [f"- Some versions are not known: {each.why}" for each in unread]
    return [part for line in lines for part in wrap(line)], unread


def _read(client_factory: Callable[..., Any], name: str, region: str) -> dict[str, int]:
    """Return the versions of a parameter by the digest of their text. Of equal ones, it is the newest."""
    versions = read_versions(Aws(partial(client_factory, region=region)), name)
    return {digest(each.value): each.number for each in reversed(versions) if each.value is not None}


def _describe(counts: Mapping[str, int], known: Mapping[str, int]) -> str:
    """Return how many servers run each version, the newest first."""
    numbers: Counter[int] = Counter()
    for text, count in counts.items():
        numbers[known.get(text, 0)] += count
    return ", ".join(
        f"{f'version {number}' if number else 'another text'} on {count_noun(count, 'server')}"
        for number, count in sorted(numbers.items(), reverse=True)
    )
