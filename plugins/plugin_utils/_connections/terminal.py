# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shows a person lines while a task runs."""

from __future__ import annotations

import io
import multiprocessing
import os
import re
import select
import textwrap
import time
from contextlib import nullcontext, redirect_stdout, suppress
from typing import TYPE_CHECKING

from ansible import constants
from ansible.utils.display import Display

from ...module_utils._ground.text import to_printable

if TYPE_CHECKING:
    from collections.abc import Iterable


# People read the output of these callbacks. Others print for programs, which more lines would confuse.
FOR_PEOPLE = ("default", "yaml", "debug", "awx_display")
LINE_WIDTH = 98
# How long to wait until somebody reads the last words. Without a limit, a full pipe would keep the process for ever.
READER_SECONDS = 2


def say(host: str | None, text: str) -> None:
    """Print the current step on a host."""
    if is_for_people():
        _display(_line(host, text))


def show(lines: Iterable[str]) -> None:
    """Print lines together, wrapped to the width of a terminal. The spaces between the columns of a table stay."""
    shown = []
    for line in lines:
        text = "".join(each for each in re.sub(r"[^\S ]", " ", line) if each.isprintable()).rstrip()
        shown += textwrap.wrap(text, LINE_WIDTH, subsequent_indent="      ", break_long_words=False) or [""]
    if shown and is_for_people():
        _display("\n".join(shown))


def _display(text: str) -> None:
    """Pass text on to Ansible's main process, which prints it.

    ansible-runner up to 2.4.1, which AWX 24.6 has, also writes event data to the output of the worker. Ansible 2.19 and
    later warn of any such output, and the main process adds the same event data.
    """
    is_worker = multiprocessing.parent_process() is not None
    with redirect_stdout(io.StringIO()) if is_worker else nullcontext():
        Display().display(text)


def write_last_words(host: str, text: str) -> None:
    """Print what became of a task that was interrupted, although Ansible's main process may have ended."""
    with suppress(OSError):
        if select.select([], [LAST_WORDS], [], READER_SECONDS)[1]:
            os.write(LAST_WORDS, f"{_line(host, text)}\n".encode())


def _line(host: str | None, text: str) -> str:
    return f"{time.strftime('%H:%M:%S')} {host}: {to_printable(text)}"


def is_for_people() -> bool:
    """Return whether people read the output."""
    return constants.DEFAULT_STDOUT_CALLBACK.rpartition(".")[2] in FOR_PEOPLE


def _duplicate_output() -> int:
    """Return a descriptor of the output, which workers inherit.

    A worker of ansible-core 2.19 or newer has no other way to the terminal.
    """
    try:
        return os.dup(1 if is_for_people() else 2)
    except OSError:  # the program was started without it
        return os.open(os.devnull, os.O_WRONLY)


LAST_WORDS = _duplicate_output()
