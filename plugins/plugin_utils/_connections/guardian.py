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
import select
import signal
import subprocess
import time
from contextlib import suppress
from multiprocessing import parent_process
from pathlib import Path
from typing import TYPE_CHECKING

from .terminal import LAST_WORDS, write_last_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


# The orders that the worker writes into the pipe before it closes it.
ENDED, GIVE_BACK = b"e", b"g"
# In the background of a script, ansible-core 2.18 ignores SIGINT.
PATIENCE_SECONDS = 5.0
POLL_SECONDS = 0.1
REMEDY = "Run cwagent.iam.site or cwagent.iam.restore to clean up."


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
        run = MainProcess()
        self._pid = os.fork()
        if self._pid:
            os.close(read)
            run.close()
            return
        try:
            self._live(read, run, give_back)
        finally:
            os._exit(0)

    def _live(self, read: int, run: MainProcess, give_back: Callable[[], str]) -> None:
        _leave_run([read, *run.files], self._signals)
        order = os.read(read, 1)
        if order == ENDED:
            return
        self._silence()
        try:
            outcome = give_back()
        except Exception as error:  # noqa: BLE001  the run must end, whatever happened
            outcome = f"Whatever the task held may not have been given back ({error!r}). {REMEDY}"
        write_last_words(self._host, f"The process of this task ended too early. {outcome}")
        if order != GIVE_BACK:
            run.end()

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


def _leave_run(files: Iterable[int], signals: Iterable[int]) -> None:
    """Become independent of the run: its signals, its terminal and its files, but for the files of the guardian."""
    os.setsid()
    for number in signals:
        signal.signal(number, signal.SIG_IGN)
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    kept = sorted({*files, LAST_WORDS})
    for begin, end in zip([2, *kept], [*kept, os.sysconf("SC_OPEN_MAX")]):
        os.closerange(begin + 1, end)


class MainProcess:
    """Ansible's main process, the parent of the worker.

    Its number can belong to another process once it has ended. So it is known by a file of the system for it, which
    Linux has, and elsewhere by the time of its start. If neither is known, it counts as ended.
    """

    def __init__(self) -> None:
        self._pid = os.getppid()
        self._file = _open_process(self._pid)
        self._start = "" if self._file is not None else _start_of(self._pid)
        expected = parent_process()
        if os.getppid() != self._pid or (expected and expected.pid != self._pid):  # it has ended, another is the parent
            self.close()
            self._start = ""

    @property
    def files(self) -> list[int]:
        """The files that must stay open."""
        return [] if self._file is None else [self._file]

    def close(self) -> None:
        """Close the files, in the process that does not end the run."""
        for each in self.files:
            os.close(each)
        self._file = None

    def end(self) -> None:
        """End it, because it waits for a result that never comes."""
        for number in (signal.SIGINT, signal.SIGTERM):
            with suppress(ProcessLookupError):
                self._send(number)
            deadline = time.monotonic() + PATIENCE_SECONDS
            while self.is_alive() and time.monotonic() < deadline:
                time.sleep(POLL_SECONDS)  # a process that is no child cannot be waited for

    def is_alive(self) -> bool:
        """Whether it is still running."""
        if self._file is not None:
            waiting = select.poll()
            waiting.register(self._file, select.POLLIN)
            return not waiting.poll(0)
        return bool(self._start) and _start_of(self._pid) == self._start

    def _send(self, number: int) -> None:
        if self._file is not None:
            signal.pidfd_send_signal(self._file, number)
        elif self.is_alive():
            os.kill(self._pid, number)


def _open_process(pid: int) -> int | None:
    """Return a file for a process; ``None`` if the system, or this Python, has none."""
    if not (hasattr(os, "pidfd_open") and hasattr(signal, "pidfd_send_signal")):
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None


def _start_of(pid: int) -> str:
    """Return when a process started, in the words of the system; empty if there is no such process."""
    with suppress(OSError, IndexError):
        # The name of the program, in brackets, can contain anything.
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[19]
    with suppress(OSError, subprocess.SubprocessError):
        command = ["ps", "-o", "lstart=", "-p", str(pid)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)  # noqa: S603
        return done.stdout.strip()
    return ""
