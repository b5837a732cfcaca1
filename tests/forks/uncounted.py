"""Lets forks use the objects of this process without a copy of their memory.

A fork shares memory until it writes there, and Python writes to each object that it uses: it counts references. It does
not count those to immortal objects (PEP 683, since Python 3.12), so the objects that a server has made become immortal.
"""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Iterable
from sys import getrefcount
from types import CodeType
from typing import Any

BYTES = 4
"""How large a count is. The largest one means that an object is immortal."""
LEAST_IMMORTAL = 1 << 31
OF_CODE = ("consts", "names", "filename", "name", "qualname", "linetable", "exceptiontable")
"""The parts of code, which the garbage collector does not know."""


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
