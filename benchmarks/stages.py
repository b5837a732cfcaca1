"""Runs a module as Ansible sent it, and says where its time goes: ``python stages.py RESULT_FILE MODULE_FILE``.

The functions that take the time are wrapped, and so are imports; what one spends inside another counts for the inner
one alone. The rest is Ansible's wrapper, the arguments, and the module's own code.
"""

# ruff: noqa: E402  the first thing to happen here is to look at the clock
from __future__ import annotations

import time

BEGAN = time.monotonic()

import builtins
import json
import os
import runpy
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, NoReturn

IMPORTS = {
    "ansible.module_utils": "import ansible.module_utils",
    "ansible_collections.amazon": "import amazon.aws",
    "ansible_collections.cwagent": "import cwagent.iam",
    "s3transfer": "import s3transfer",
    "boto3": "import boto3 and botocore",
    "botocore": "import boto3 and botocore",
}
FUNCTIONS = {
    ("boto3.session", "Session", "__init__"): "make a session",
    ("botocore.session", "Session", "__init__"): "make a session",
    ("botocore.session", "Session", "create_client"): "make a client",
    ("botocore.client", "BaseClient", "_make_api_call"): "AWS calls",
}


class Stages:
    """What each stage took so far, and how often it was entered."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = defaultdict(float)
        self.counted: dict[str, int] = defaultdict(int)
        self.since = BEGAN
        self._running: list[str] = []

    def switch(self) -> None:
        """Charge the time since the last switch to the stage that is running."""
        now = time.monotonic()
        self.spent[self._running[-1] if self._running else "the rest"] += now - self.since
        self.since = now

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Charge what happens inside to a stage."""
        self.switch()
        self._running.append(name)
        try:
            yield
        finally:
            self.switch()
            self._running.pop()


stages = Stages()


def watched(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """The function, charged to a stage."""

    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        stages.counted[name] += 1
        with stages.stage(name):
            return function(*args, **kwargs)

    return wrapper


def watch_functions() -> None:
    """Wrap those that have come with the latest import."""
    for (module, owner, function), name in list(FUNCTIONS.items()):
        found = getattr(sys.modules.get(module), owner, None)
        if found is not None:
            setattr(found, function, watched(getattr(found, function), name))
            del FUNCTIONS[module, owner, function]


def watch_imports(original: Callable[..., Any]) -> Callable[..., Any]:
    """The import statement, charged to the stage of what is imported for the first time."""

    def wrapper(name: str, *args: Any, **kwargs: Any) -> Any:
        group = next((words for start, words in IMPORTS.items() if name.startswith(start)), None)
        if group is None or name in sys.modules:
            return original(name, *args, **kwargs)
        with stages.stage(group):
            module = original(name, *args, **kwargs)
        watch_functions()
        return module

    return wrapper


def write() -> None:
    """Say what was seen so far; the caller knows when the process was started and when it was gone."""
    stages.switch()
    seen = {
        "began": BEGAN,
        "ended": stages.since,
        "spent": stages.spent,
        "counted": stages.counted,
        "modules": sorted(sys.modules),
    }
    Path(sys.argv[1]).write_text(json.dumps(seen))


def main() -> None:
    builtins.__import__ = watch_imports(builtins.__import__)
    leave = os._exit

    def note_and_leave(status: int) -> NoReturn:
        write()
        leave(status)

    os._exit = note_and_leave
    try:
        runpy.run_path(sys.argv[2], run_name="__main__")
    finally:
        write()


if __name__ == "__main__":
    main()
