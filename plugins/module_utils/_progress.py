# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shows a person the progress of a long call. A module that runs in a separate Python shows nothing."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

INTERVAL_SECONDS = 5.0


class Progress:
    """Shows at most one line every five seconds, the first one after five seconds. Other threads show none.

    :param say: shows a line.
    """

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._say = say
        self._clock = clock
        self._last = clock()

    def announce(self, text: str) -> None:
        """Show at once a line that a person should read before the next step."""
        self._say(text)

    def tell(self, text: str) -> None:
        """Show the progress of the call, if it is time for a line."""
        now = self._clock()
        if now - self._last >= INTERVAL_SECONDS and threading.current_thread() is threading.main_thread():
            self._last = now
            self._say(text)


_listeners: list[Progress] = []


@contextmanager
def shown(progress: Progress) -> Iterator[None]:
    """Show the progress of calls in the body."""
    _listeners.append(progress)
    try:
        yield
    finally:
        _listeners.pop()


def tell(text: str) -> None:
    """Show the progress of the call, if somebody listens and it is time for a line."""
    if _listeners:
        _listeners[-1].tell(text)


def announce(text: str) -> None:
    """Show a line that a person should read before the next step, if somebody listens."""
    if _listeners:
        _listeners[-1].announce(text)
