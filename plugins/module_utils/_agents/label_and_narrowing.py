# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decides which labels move, and whether fitted policies may be narrowed, after a version was applied. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .._ground.names import APPLIED_LABEL
from .._ground.text import join_first

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from .server import Server


_NOT_PROVED = "a server has not proved the version"
_LIMITED = "--limit leaves out servers"
_AGAIN = "Run this playbook again, without a limit, when it can check all servers."
_WHERE_UNSEEN = (
    "If it cannot, such as on Windows, and they run the stored version, give that version the label "
    f"{APPLIED_LABEL}, and use the module cwagent_fitted_policy with narrow=true."
)
_MAX_LISTED = 10


@dataclass(frozen=True)
class Judgement:
    """The outcome of a run that applied versions.

    :param label: the label of the user that moves to the versions that the servers run. Empty if none moves.
    :param narrows: whether no server can run an earlier version. Then the label of the fitted policies moves, and the
        policies may be narrowed.
    :param renames: the servers whose files get their final names. With a label, they wait until it was moved.
    :param notes: why a label was not moved, or the fitted policies were not narrowed, in sentences.
    """

    label: str
    narrows: bool
    renames: tuple[Server, ...]
    notes: tuple[str, ...]


def judge_proof(
    servers: Sequence[Server], applied: Collection[str], *, label: str, is_fitted: bool, is_complete: bool
) -> Judgement:
    """Return what follows from the servers that have proved their version.

    :param servers: the servers as they were before the configurations were applied.
    :param applied: the hosts that got the configuration, and whose agents did not fail with it.
    :param label: of the user. Empty for none.
    :param is_fitted: whether the servers have fitted policies.
    :param is_complete: whether the run has all servers, because the others have not proved a version.
    """
    missing = {each.host for each in servers if each.is_applied_to}.difference(applied)
    reason = _NOT_PROVED if missing else "" if is_complete else _LIMITED
    wide = _why_wide(servers, reason) if is_fitted else ""
    kept = f"Label '{label}' was not moved, because {reason}." if label and reason else ""
    return Judgement(
        label="" if reason else label,
        narrows=is_fitted and not wide and bool(servers),
        renames=() if kept else tuple(each for each in servers if each.renames and each.host not in missing),
        notes=tuple(each for each in (kept, wide) if each),
    )


def _why_wide(servers: Sequence[Server], reason: str) -> str:
    """Return why fitted policies may not be narrowed; empty if they may. :param reason: why no label moves."""
    earlier = join_first([each.host for each in servers if each.can_run_earlier], _MAX_LISTED)
    if reason or not earlier:
        return f"The fitted policy was not narrowed, because {reason}. {_AGAIN}" if reason else ""
    return f"The fitted policy was not narrowed, because {earlier} can run an earlier version. {_AGAIN} {_WHERE_UNSEEN}"
