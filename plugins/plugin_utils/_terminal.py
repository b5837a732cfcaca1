# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shows a person lines while a task runs."""

from __future__ import annotations

import textwrap
import time
from typing import TYPE_CHECKING

from ansible import constants
from ansible.utils.display import Display

if TYPE_CHECKING:
    from collections.abc import Iterable

# People read the output of these callbacks. Others print for programs, which more lines would confuse.
FOR_PEOPLE = ("default", "yaml", "debug", "awx_display")
LINE_WIDTH = 98


def say(host: str | None, text: str) -> None:
    """Print the current step on a host."""
    if is_for_people():
        Display().display(f"{time.strftime('%H:%M:%S')} {host}: {text}")


def show(lines: Iterable[str]) -> None:
    """Print lines, wrapped to the width of a terminal."""
    if is_for_people():
        for line in lines:
            wrapped = textwrap.wrap(line, LINE_WIDTH, subsequent_indent="      ", break_long_words=False)
            Display().display("\n".join(wrapped))


def is_for_people() -> bool:
    """Return whether people read the output."""
    return constants.DEFAULT_STDOUT_CALLBACK.rpartition(".")[2] in FOR_PEOPLE
