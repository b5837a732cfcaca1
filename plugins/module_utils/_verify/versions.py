# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many agents run each version of a configuration."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._access.parameters import read_versions
from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws
from ansible_collections.cwagent.iam.plugins.module_utils._errors import CwagentError
from ansible_collections.cwagent.iam.plugins.module_utils._text import count_noun, wrap
from ansible_collections.cwagent.iam.plugins.module_utils._verify.script import digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from ansible_collections.cwagent.iam.plugins.module_utils._verify.model import Server


def describe_versions(client_factory: Callable[..., Any], servers: Iterable[Server]) -> list[str]:
    """Return for each configuration and region how many agents run each version; nothing if none runs any.

    The versions that Parameter Store keeps are read only where an agent runs another text than the stored one. Where
    they may not be read, such a text is another version.
    """
    texts: dict[tuple[str, str], Counter[str]] = {}
    stored: dict[tuple[str, str], dict[str, int]] = {}
    for server in servers:
        for name, text in server.running.items():
            texts.setdefault((name, server.region), Counter())[text] += 1
        for each in server.runs:
            stored.setdefault((each.name, server.region), {})[each.digest] = each.number
    lines: list[str] = []
    for (name, region), counts in sorted(texts.items()):
        known = stored.get((name, region), {})
        if not counts.keys() <= known.keys():
            known = {**_earlier(client_factory, name, region), **known}
        lines += wrap(f"{name} in {region}: {_describe(counts, known)}.")
    return lines


def _earlier(client_factory: Callable[..., Any], name: str, region: str) -> dict[str, int]:
    """Return the versions of a parameter by the digest of their text. Of equal ones, it is the newest."""
    with suppress(CwagentError):
        versions = read_versions(Aws(partial(client_factory, region=region)), name)
        return {digest(each.value): each.number for each in reversed(versions) if each.value is not None}
    return {}


def _describe(counts: Mapping[str, int], known: Mapping[str, int]) -> str:
    """Return how many servers run each version, the newest first."""
    numbers: Counter[int] = Counter()
    for text, count in counts.items():
        numbers[known.get(text, 0)] += count
    return ", ".join(
        f"{f'version {number}' if number else 'another text'} on {count_noun(count, 'server')}"
        for number, count in sorted(numbers.items(), reverse=True)
    )
