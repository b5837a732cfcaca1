"""Records the lines of the collection that each test reaches, in this process and in the runs that it starts.

``pytest -p mutants.reach`` does that where the variable ``REACH`` names a folder. Each test has a file there with a
byte for each line of the plugins. All processes map it into their memory, so that nothing has to be collected at the
end of a process, which can be killed. Another file lists the tasks and plays that the tests run.
"""

from __future__ import annotations

import ast
import atexit
import hashlib
import mmap
import os
import re
import sys
from functools import cache
from pathlib import Path
from types import CodeType
from typing import Any

CHECKOUT = Path(__file__).parents[2]
PLUGINS = CHECKOUT / "plugins"
FOLDERS = (f"{PLUGINS}/", "/ansible_collections/cwagent/iam/plugins/")
"""The folders from which plugins are imported: the checkout's, and the same through a link."""
IN_CHECKOUT = re.compile(rf"^(.*/ansible_collections/cwagent/iam|{re.escape(str(CHECKOUT))})/")
"""The folder of an installation or of the link to the checkout, or else the checkout."""
CURRENT = "PYTEST_CURRENT_TEST"
NAMES, TASKS = "names", "tasks"
_lines: mmap.mmap


@cache
def positions() -> dict[str, int]:
    """By file below plugins/, the position before its first line; for no name, the number of all positions."""
    found, position = {}, 0
    for path in sorted(PLUGINS.rglob("*.py")):
        found[str(path.relative_to(PLUGINS))] = position
        position += len(path.read_text().splitlines())
    return {**found, "": position + 1}


@cache
def position_of(file: str) -> int | None:
    """The position of a file by its path in Python; ``None`` for a file that is not the collection's."""
    for folder in FOLDERS:
        _, found, name = file.rpartition(folder)
        if found:
            return positions().get(name)
    return None


def begin() -> None:
    """Record for the current test from now on, in this process and its forks."""
    global _lines  # noqa: PLW0603  the test of this process
    folder = Path(os.environ["REACH"])
    test = os.environ.get(CURRENT, "").rpartition(" (")[0]
    path = folder / hashlib.sha256(test.encode()).hexdigest()[:20]
    if not path.exists():
        with (folder / NAMES).open("a") as names:
            names.write(f"{path.name} {test}\n")
    with path.open("ab+") as file:
        file.truncate(positions()[""])
        _lines = mmap.mmap(file.fileno(), 0)
    monitoring: Any = sys.monitoring
    if monitoring.get_tool(monitoring.PROFILER_ID) is None:
        monitoring.use_tool_id(monitoring.PROFILER_ID, "reach")
        monitoring.register_callback(monitoring.PROFILER_ID, monitoring.events.PY_START, _start)
        monitoring.register_callback(monitoring.PROFILER_ID, monitoring.events.LINE, _reach)
        monitoring.set_events(monitoring.PROFILER_ID, monitoring.events.PY_START)
        atexit.register(monitoring.set_events, monitoring.PROFILER_ID, 0)  # before modules are gone
    monitoring.restart_events()


def _start(code: CodeType, _offset: int) -> Any:
    """Watch the lines of a function of the collection. Others are left out, so that they cost nothing."""
    monitoring: Any = sys.monitoring
    if position_of(code.co_filename) is not None:
        monitoring.set_local_events(monitoring.PROFILER_ID, code, monitoring.events.LINE)
    return monitoring.DISABLE


def _reach(code: CodeType, line: int) -> Any:
    position = position_of(code.co_filename)
    if position is not None:
        _lines[position + line] = 1
    return sys.monitoring.DISABLE


def is_imported(name: str, lines: range) -> bool:
    """Whether lines of a file below plugins/ are outside of the bodies of functions."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    bodies = [
        range(each.body[0].lineno, (each.end_lineno or 0) + 1)
        for each in ast.walk(ast.parse((PLUGINS / name).read_text()))
        if isinstance(each, functions)
    ]
    return not any(line in body for line in lines for body in bodies)


def record_path(path: str) -> None:
    """Record that the current test runs a task or a play. :param path: of its file, with a colon and its line."""
    test = os.environ.get(CURRENT, "").rpartition(" (")[0]
    with (Path(os.environ["REACH"]) / TASKS).open("a") as file:
        file.write(f"{IN_CHECKOUT.sub('', path)} {test}\n")


def pytest_runtest_logstart(nodeid: str) -> None:
    os.environ[CURRENT] = f"{nodeid} (setup)"
    begin()


class Reach:
    """The records in a folder."""

    def __init__(self, folder: Path) -> None:
        self._tests: list[tuple[str, bytes]] = []
        for line in (folder / NAMES).read_text().splitlines():
            name, _, test = line.partition(" ")
            if test:  # the rest is imported or done for all
                self._tests.append((test, (folder / name).read_bytes()))
        # The tests that reach the least are the quickest, and say the most about a line.
        self._tests.sort(key=lambda each: sum(each[1]))
        tasks = folder / TASKS
        lines = set(tasks.read_text().splitlines()) if tasks.exists() else set()
        self._tasks = sorted(line.partition(" ")[::2] for line in lines)

    def tests(self, name: str, lines: range) -> list[str]:
        """The tests that reach one of the lines of a file below plugins/, the quickest first.

        A line that an import runs, such as a constant, has all tests of its file.
        """
        start = positions()[name]
        found = self._that_reach(start, lines)
        if found or not is_imported(name, lines):
            return found
        return self._that_reach(start, range(1, len((PLUGINS / name).read_text().splitlines()) + 1))

    def _that_reach(self, start: int, lines: range) -> list[str]:
        return [test for test, reached in self._tests if any(reached[start + line] for line in lines)]

    def tests_of_tasks(self, *names: str) -> list[str]:
        """The tests that run a task or a play of files of roles or playbooks."""
        return list(dict.fromkeys(test for task, test in self._tasks if task.rpartition(":")[0] in names))
