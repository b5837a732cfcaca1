# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gives back what a worker holds if the worker is killed.

Nothing in a process runs after SIGKILL, which the system also sends when memory runs out. Ansible then waits for the
result of the task for ever, at least with the strategies ``free`` and ``host_pinned``. So before its first write, the
worker forks a guardian. It reads from a pipe of which only the worker has the other end. The end of the pipe is the end
of the worker. A worker that is only stopped is left alone.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from ansible_collections.cwagent.iam.plugins.plugin_utils._terminal import LAST_WORDS, write_last_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# The orders that the worker writes into the pipe before it closes it.
ENDED, GIVE_BACK = b"e", b"g"
# In the background of a script, ansible-core 2.18 ignores SIGINT.
PATIENCE_SECONDS = 5.0
POLL_SECONDS = 0.1


class Guardian:
    """The guardian of a task, which lives while the task holds something.

    :param host: the name of the host of the task, for the last words.
    :param signals: the signals of the run, which the guardian ignores.
    :param silence: keeps it from showing steps, because workers share a pipe for them.
    """

    def __init__(self, host: str, signals: Iterable[int], silence: Callable[[], None]) -> None:
        self._host = host
        self._signals = signals
        self._silence = silence
        self._pid = 0
        self._pipe = -1

    def watch(self, give_back: Callable[[], str]) -> None:
        """Begin to watch this process.

        :param give_back: gives back what this process holds, and returns what became of it, as a sentence. It runs in
            another process, which must not use the connections of this one.
        """
        read, self._pipe = os.pipe()
        parent = os.getppid()
        self._pid = os.fork()
        if self._pid:
            os.close(read)
            return
        try:
            self._live(read, parent, give_back)
        finally:
            os._exit(0)

    def _live(self, read: int, parent: int, give_back: Callable[[], str]) -> None:
        _leave_run(read, self._signals)
        order = os.read(read, 1)
        if order == ENDED:
            return
        self._silence()
        write_last_words(self._host, f"The process of this task ended too early. {give_back()}")
        if order != GIVE_BACK:
            _end_run(parent)

    def end(self) -> None:
        """End the guardian, because this process holds nothing any more, or has reported what it holds."""
        self._order(ENDED)

    def leave(self) -> None:
        """Let the guardian give back, if it still lives, and wait for its end. It does not end the run then."""
        self._order(GIVE_BACK)

    def _order(self, order: bytes) -> None:
        if self._pid:
            with suppress(BrokenPipeError):  # it was killed
                os.write(self._pipe, order)
            pid, self._pid = self._pid, 0
            os.close(self._pipe)
            os.waitpid(pid, 0)


def _leave_run(read: int, signals: Iterable[int]) -> None:
    """Become independent of the run: its signals, its terminal and its files."""
    os.setsid()
    for number in signals:
        signal.signal(number, signal.SIG_IGN)
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    kept = sorted({read, LAST_WORDS})
    for begin, end in zip([2, *kept], [*kept, os.sysconf("SC_OPEN_MAX")]):
        os.closerange(begin + 1, end)


def _end_run(parent: int) -> None:
    """End Ansible's main process, which waits for a result that never comes."""
    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(ProcessLookupError):
            if _is_alive(parent):
                os.kill(parent, number)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while _is_alive(parent) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)  # a process that is no child cannot be waited for


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
