# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Three-valued logic: an answer is no, unknown or yes. Pure.

This is Kleene's logic. An answer is unknown only if the known parts do not decide it alone, so yes and no hold
whatever the unknown parts are.
"""

from __future__ import annotations

from enum import IntEnum, auto
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class Decision(IntEnum):
    """An answer. The members are in the order of how certain a yes is, so the least of several is their conjunction."""

    NO = auto()
    UNKNOWN = auto()
    YES = auto()


def decision_of(is_true: bool) -> Decision:
    """Return the decision for something that is known."""
    return Decision.YES if is_true else Decision.NO


def negate(decision: Decision) -> Decision:
    """Return the opposite; unknown stays unknown."""
    return {Decision.NO: Decision.YES, Decision.YES: Decision.NO}.get(decision, decision)


def all_of(decisions: Iterable[Decision]) -> Decision:
    """Return whether all are yes; yes if there is none."""
    return min(decisions, default=Decision.YES)


def any_of(decisions: Iterable[Decision]) -> Decision:
    """Return whether one is yes; no if there is none."""
    return max(decisions, default=Decision.NO)
