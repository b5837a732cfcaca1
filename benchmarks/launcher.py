"""Runs a program and writes what it used: ``python -I -S launcher.py RESULT_FILE PROGRAM...``.

A process inherits the peak memory of the process that started it, so the starter has to be small, like this one.
"""

from __future__ import annotations

import json
import os
import sys
import time

began = time.monotonic()
process = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(process, 0)
taken = {
    "code": os.waitstatus_to_exitcode(status),
    "wall": time.monotonic() - began,
    "cpu": usage.ru_utime + usage.ru_stime,
    "memory": usage.ru_maxrss / 1024,
    "began": began,
}
with open(sys.argv[1], "w") as file:  # noqa: PTH123  importing pathlib would raise the peak that is measured
    json.dump(taken, file)
