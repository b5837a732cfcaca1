# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the files of agent configurations and of JSON schemas on the host that runs the module."""

from __future__ import annotations

import os
import stat

from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.document import MAX_SIZE
from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput


def read_file(path: str) -> bytes:
    """Read a file, but never more than the size of a configuration or schema, because some files have no end.

    :raises InvalidInput: it cannot be read, is not a regular file, or is too large.
    """
    try:
        with open(path, "rb", opener=_open_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise InvalidInput(f"{path} cannot be read: it is not a regular file.")
            content = file.read(MAX_SIZE + 1)
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}.") from error
    if len(content) > MAX_SIZE:
        raise InvalidInput(f"{path} cannot be read: it is larger than {MAX_SIZE} bytes.")
    return content


def _open_without_waiting(path: str, flags: int) -> int:
    """Open a file, even if it is a FIFO without a writer."""
    return os.open(path, flags | os.O_NONBLOCK)
