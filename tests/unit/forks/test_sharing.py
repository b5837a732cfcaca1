"""A fork reads objects without a copy of their memory, and the table of pages that it copies is short."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2]
PROGRAM = """
import os, sys
from forks.sharing import LEAST_IMMORTAL, stop_counting

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


PAGES = """
import ctypes, mmap
from forks.sharing import COLLAPSE, LARGE_PAGE, use_large_pages

kept = [bytearray(LARGE_PAGE // 4) for number in range(64)]
tried = mmap.mmap(-1, 2 * LARGE_PAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
address = ctypes.addressof(ctypes.c_char.from_buffer(tried)) // LARGE_PAGE * LARGE_PAGE + LARGE_PAGE
tried.write(bytes(2 * LARGE_PAGE))
print(ctypes.CDLL(None).madvise(ctypes.c_void_p(address), ctypes.c_size_t(LARGE_PAGE), COLLAPSE) == 0)
use_large_pages()
with open("/proc/self/smaps_rollup") as file:
    print([int(line.split()[1]) for line in file if line.startswith("AnonHugePages:")][0])
print(set().union(*kept) == {0})
"""


def test_memory_is_in_large_pages_where_linux_can_do_that() -> None:
    """The objects take 32 MB."""
    command = [sys.executable, "-c", PAGES]
    can, kilobytes, is_kept = subprocess.check_output(command, env={"PYTHONPATH": str(TESTS)}, text=True).split()
    assert is_kept == "True"
    if can == "False":
        pytest.skip("Linux before 6.1 makes no large pages of small ones")
    assert int(kilobytes) > 20_000
