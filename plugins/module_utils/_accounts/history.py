# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The writers and the changes of the versions of a configuration. Pure."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from .._configuration.json_path import differences
from .._configuration.parts import digest, part_name, recorded_parts
from .model import ROLE, USER

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .model import History, Version


# By the part of an ARN before the first slash, the kind of the principal.
_KINDS = {"assumed-role": ROLE, "user": USER, "federated-user": "federated user", "root": "root user"}
_ARN = re.compile(rf"arn:[^:]+:(?:iam|sts)::(\d+):({'|'.join(_KINDS)})(?:/(.+))?")


@dataclass(frozen=True)
class Writer:
    """The principal that wrote a version, which AWS shows as the ARN of a user or of the session of a role.

    :param name: the name without the path. Of anything else than a role or user, all that AWS shows.
    :param session: the name of the session of a role. For an instance it is the ID. Any other caller chooses it.
    """

    account: str
    kind: str
    name: str
    session: str = ""

    @classmethod
    def of(cls, arn: str) -> Writer:
        """Return the writer with an ARN, or with another text that AWS shows instead of one."""
        found = _ARN.fullmatch(arn)
        if not found:
            return cls("", "", arn or "an unknown principal")
        account, kind, path = found.groups(default="")
        if kind == "assumed-role":
            name, _slash, session = path.partition("/")
            return cls(account, ROLE, name, session)
        return cls(account, _KINDS[kind], path.rpartition("/")[2] or account)

    def __str__(self) -> str:
        label = f"{self.kind} '{self.name}'" if self.kind else self.name
        return f"{label} (session {self.session})" if self.session else label

    @property
    def principal(self) -> Writer:
        """The same without the session."""
        return Writer(self.account, self.kind, self.name)


def changes(history: History) -> list[list[str] | None]:
    """Return for each version what it changed; nothing for version 1.

    ``None`` if it or the version before was not read, or if Parameter Store no longer keeps the version before.
    """
    earlier = chain(history.versions[1:], [None])
    return [_changes(version, before) for version, before in zip(history.versions, earlier)]


def group_parts(histories: Iterable[History]) -> list[list[History]]:
    """Group the histories of the parameters that can be parts of one configuration, which follow each other."""
    groups: list[list[History]] = []
    for each in histories:
        whole = groups[-1] if groups else []
        if whole and (each.name, each.region) == (part_name(whole[0].name, len(whole) + 1), whole[0].region):
            whole.append(each)
        else:
            groups.append([each])
    return groups


def stored_together(histories: Sequence[History], version: Version) -> list[tuple[str, Version]]:
    """Return the versions of all parts of a configuration that were stored with a version, or stayed as they were.

    Of versions with the same content, it is the nearest one in time.

    :param histories: of the parameters of the configuration, in their order.
    :returns: with their names. The list is empty if they were not recorded, or if one of them is no longer kept.
    """
    digests = recorded_parts(version.description, version.number)
    kept = [
        [each for each in history.versions if each.value is not None and digest(each.value) == wanted]
        for history, wanted in zip(histories, digests)
    ]
    if len(kept) < len(digests) or not all(kept):
        return []
    return [
        (history.name, min(same, key=lambda each: abs(each.modified - version.modified)))
        for history, same in zip(histories, kept)
    ]


def _changes(version: Version, before: Version | None) -> list[str] | None:
    if before is None:  # it is the first version, or Parameter Store no longer keeps the one before
        return [] if version.number == 1 else None
    if version.value is None or before.value is None:
        return None
    try:
        return differences(json.loads(before.value), json.loads(version.value))
    except (ValueError, RecursionError):  # an OpenTelemetry configuration
        return [] if before.value == version.value else ["~ the text"]
