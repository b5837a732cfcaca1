"""Objects without a count of references are read by a fork without a copy of their memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2]
PROGRAM = """
import os, sys
from forks.uncounted import LEAST_IMMORTAL, stop_counting

def function(): return "constant", 1.5
objects = [[str(number), float(number)] for number in range(100_000)]
if sys.argv[1] == "stop":
    stop_counting([objects, function])
counts = map(sys.getrefcount, (objects[7], objects[7][1], function.__code__, function.__code__.co_consts[-1]))
print(*(count >= LEAST_IMMORTAL for count in counts), flush=True)

def own_memory():
    with open("/proc/self/smaps_rollup") as file:
        [kilobytes] = [line.split()[1] for line in file if line.startswith("Private_Dirty:")]
    return int(kilobytes)

if os.fork() == 0:
    before = own_memory()
    for pair in objects:
        for each in pair:
            pass
    print(own_memory() - before, flush=True)
    os._exit(0)
os.wait()
"""


@pytest.mark.parametrize("has_stopped", [False, True])
def test_a_fork_copies_no_memory_that_it_reads(has_stopped: bool) -> None:
    """The objects take about 15 MB."""
    command = [sys.executable, "-c", PROGRAM, "stop" if has_stopped else ""]
    printed = subprocess.check_output(command, env={"PYTHONPATH": str(TESTS)}, text=True).split()
    assert printed[:-1] == [str(has_stopped)] * 4
    assert int(printed[-1]) < 1000 if has_stopped else int(printed[-1]) > 10_000
