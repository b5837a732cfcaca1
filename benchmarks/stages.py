"""Runs a module as Ansible sent it, and says where its time goes: ``python stages.py RESULT_FILE MODULE_FILE``.

The functions that take the time are wrapped, and so are imports; what one spends inside another counts for the inner
one alone. The rest is Ansible's wrapper, the arguments, and the module's own code.
"""

from __future__ import annotations

import time

BEGAN = time.monotonic()

import builtins  # noqa: E402  the first thing to happen here is to look at the clock
import json  # noqa: E402
import os  # noqa: E402
import runpy  # noqa: E402
import sys  # noqa: E402
from collections import defaultdict  # noqa: E402
from collections.abc import Callable, Iterator  # noqa: E402
from contextlib import contextmanager  # noqa: E402
from functools import wraps  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

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

spent: dict[str, float] = defaultdict(float)
counted: dict[str, int] = defaultdict(int)
running: list[str] = []
since = BEGAN


def _switch() -> None:
    """Charge the time since the last switch to the stage that is running."""
    global since  # noqa: PLW0603  the one clock
    now = time.monotonic()
    spent[running[-1] if running else "the rest"] += now - since
    since = now


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Charge what happens inside to a stage."""
    _switch()
    running.append(name)
    try:
        yield
    finally:
        _switch()
        running.pop()


def watched(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """The function, charged to a stage."""

    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        counted[name] += 1
        with stage(name):
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
        with stage(group):
            module = original(name, *args, **kwargs)
        watch_functions()
        return module

    return wrapper


def write() -> None:
    """Say what was seen so far; the caller knows when the process was started and when it was gone."""
    _switch()
    seen = {"began": BEGAN, "ended": since, "spent": spent, "counted": counted, "modules": sorted(sys.modules)}
    Path(sys.argv[1]).write_text(json.dumps(seen))


def main() -> None:
    builtins.__import__ = watch_imports(builtins.__import__)
    leave = os._exit

    def note_and_leave(code: int) -> None:
        write()
        leave(code)

    os._exit = note_and_leave  # type: ignore[assignment]
    try:
        runpy.run_path(sys.argv[2], run_name="__main__")
    finally:
        write()


if __name__ == "__main__":
    main()
