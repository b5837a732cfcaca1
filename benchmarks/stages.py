"""Runs a module as Ansible sends it and measures its stages: ``python stages.py RESULT_FILE MODULE_FILE``.

The slow functions and imports are wrapped. Time in a nested stage counts only for the inner stage. The rest is
Ansible's wrapper, the arguments, and the module's own code.
"""

# ruff: noqa: E402  the clock is read before the other imports
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
    ("boto3.session", "Session", "__init__"): "create a session",
    ("botocore.session", "Session", "__init__"): "create a session",
    ("botocore.session", "Session", "create_client"): "create a client",
    ("botocore.client", "BaseClient", "_make_api_call"): "AWS calls",
}


class Stages:
    """The time of each stage so far, and how often it was entered."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = defaultdict(float)
        self.counted: dict[str, int] = defaultdict(int)
        self.since = BEGAN
        self._running: list[str] = []

    def switch(self) -> None:
        """Add the time since the last switch to the current stage."""
        now = time.monotonic()
        self.spent[self._running[-1] if self._running else "the rest"] += now - self.since
        self.since = now

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure the body as a stage."""
        self.switch()
        self._running.append(name)
        try:
            yield
        finally:
            self.switch()
            self._running.pop()


stages = Stages()


def wrap_function(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """The function, measured as a stage."""

    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        stages.counted[name] += 1
        with stages.stage(name):
            return function(*args, **kwargs)

    return wrapper


def wrap_functions() -> None:
    """Wrap the functions that the latest import has made available."""
    for (module, owner, function), name in list(FUNCTIONS.items()):
        found = getattr(sys.modules.get(module), owner, None)
        if found is not None:
            setattr(found, function, wrap_function(getattr(found, function), name))
            del FUNCTIONS[module, owner, function]


def wrap_import(original: Callable[..., Any]) -> Callable[..., Any]:
    """The import function, which measures first imports as the stage of their package."""

    def wrapper(name: str, *args: Any, **kwargs: Any) -> Any:
        group = next((words for start, words in IMPORTS.items() if name.startswith(start)), None)
        if group is None or name in sys.modules:
            return original(name, *args, **kwargs)
        with stages.stage(group):
            module = original(name, *args, **kwargs)
        wrap_functions()
        return module

    return wrapper


def write() -> None:
    """Write the results so far. The caller measures when the process was started and when it had ended."""
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
    builtins.__import__ = wrap_import(builtins.__import__)
    original_exit = os._exit

    def write_and_exit(status: int) -> NoReturn:
        write()
        original_exit(status)

    os._exit = write_and_exit
    try:
        runpy.run_path(sys.argv[2], run_name="__main__")
    finally:
        write()


if __name__ == "__main__":
    main()
