# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guard of a transaction, which gives back what this process holds if it is killed. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


class Guard(Protocol):
    """Gives back what this process holds, if it is killed."""

    def watch(self, give_back: Callable[[], str]) -> None:
        """Begin to watch this process.

        :param give_back: runs in another process, and returns what became of what this process held, as a sentence.
        """

    def end(self) -> None:
        """Watch no more, because all was given back, or the result reports what is left."""


class NoGuard:
    """Nothing can kill this process."""

    def watch(self, give_back: Callable[[], str]) -> None:
        """Do nothing."""

    def end(self) -> None:
        """Do nothing."""
