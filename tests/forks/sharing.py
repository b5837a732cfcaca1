"""Lets forks use the objects of this process without a copy of their memory, and begin and end sooner.

A fork shares memory until it writes there, and Python writes to each object that it uses: it counts references. It does
not count those to immortal objects (PEP 683, since Python 3.12), so the objects that a server has made become immortal.
A fork still copies the table of pages, and frees it when it ends. The table is short where pages are large.
"""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Iterable
from pathlib import Path
from sys import getrefcount
from types import CodeType
from typing import Any

BYTES = 4
"""How large a count is. The largest one means that an object is immortal."""
LEAST_IMMORTAL = 1 << 31
OF_CODE = ("consts", "names", "filename", "name", "qualname", "linetable", "exceptiontable")
"""The parts of code, which the garbage collector does not know."""
LARGE_PAGE = 1 << 21
COLLAPSE = 25
"""The advice that makes large pages of small ones, since Linux 6.1. Without it, the pages stay small."""


def stop_counting(objects: Iterable[Any]) -> None:
    """Make objects immortal, and all that they refer to. Nothing changes with a Python that counts all references."""
    if not _can_stop():
        return
    found = [*objects]
    while found:
        new = [each for each in found if getrefcount(each) < LEAST_IMMORTAL]
        for each in new:
            ctypes.memset(id(each), 255, BYTES)
        found = gc.get_referents(*new)
        found += [getattr(each, f"co_{name}") for each in new if type(each) is CodeType for name in OF_CODE]


def _can_stop() -> bool:
    tried = object()
    ctypes.memset(id(tried), 255, BYTES)
    count = getrefcount(tried)
    more = [tried]
    return getrefcount(*more) == count


def use_large_pages() -> None:
    """Ask Linux to move the memory of this process into large pages. Where it cannot, the pages stay small."""
    advise = ctypes.CDLL(None).madvise
    for line in Path("/proc/self/maps").read_text().splitlines():
        addresses, access, _offset, _device, file = line.split()[:5]
        begin, end = (int(each, 16) // LARGE_PAGE * LARGE_PAGE for each in addresses.split("-"))
        # A page that another mapping begins or ends in stays small.
        if access.startswith("rw") and file == "0" and end - begin > LARGE_PAGE:
            advise(ctypes.c_void_p(begin + LARGE_PAGE), ctypes.c_size_t(end - begin - LARGE_PAGE), COLLAPSE)
