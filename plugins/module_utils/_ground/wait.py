# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long a module waits for AWS: the options for it, and the time limit."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


WAIT_SPEC: dict[str, Any] = {
    "wait": {"type": "bool", "default": True},
    "wait_timeout": {"type": "int", "default": 180},
}
POLL_SECONDS = 2.0


class Deadline:
    """A time limit for waiting.

    :param seconds: how long to wait at most, from now.
    :param clock: the time in seconds, as ``time.monotonic``.
    :param sleep: as ``time.sleep``. AWS does not notify of changes, so modules pause before they read again. Nothing
        else sleeps, so tests can pass their own clock.
    """

    def __init__(
        self,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.seconds = seconds
        self._clock = clock
        self._sleep = sleep
        self._end = clock() + seconds

    def pause(self, seconds: float = POLL_SECONDS) -> bool:
        """Wait before the next try, and return true. When the time is up, return false without waiting."""
        remaining = self._end - self._clock()
        if remaining <= 0:
            return False
        self._sleep(min(seconds, remaining))
        return True
