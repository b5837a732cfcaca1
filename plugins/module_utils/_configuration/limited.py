# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does work in another process, which is ended after some time. Nothing else ends a regular expression."""

from __future__ import annotations

import os
import pickle
import select
import signal
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


READ_BYTES = 65536


class TooSlow(Exception):
    """The work has taken longer than it may."""


def work_limited(work: Callable[[], Any], seconds: float) -> Any:
    """Return the result of the work, which another process does.

    :raises TooSlow: the work has not ended in time, or its process has crashed.
    :raises Exception: the error of the work.
    """
    read, write = os.pipe()
    process = os.fork()
    if not process:
        # It ends by itself even if this process is killed before.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        _work(work, write)
    os.close(write)
    try:
        answer = _read(read, time.monotonic() + seconds)
    finally:
        os.close(read)
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
    if not answer:
        raise TooSlow
    is_done, result = pickle.loads(answer)  # noqa: S301  this process has forked the other one
    if not is_done:
        raise result
    return result


def _work(work: Callable[[], Any], write: int) -> None:
    """Do the work and end this process."""
    try:
        try:
            answer = pickle.dumps((True, work()))
        except Exception as error:  # noqa: BLE001  the other process raises it
            answer = pickle.dumps((False, error))
        while answer:
            answer = answer[os.write(write, answer) :]
    finally:
        os._exit(0)


def _read(file: int, end: float) -> bytes:
    """Return all that is written to a pipe until it is closed; nothing if that takes too long."""
    answer = b""
    while select.select([file], [], [], max(0.0, end - time.monotonic()))[0]:
        part = os.read(file, READ_BYTES)
        if not part:
            return answer
        answer += part
    return b""
