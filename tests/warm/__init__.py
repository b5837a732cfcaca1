"""Makes the runs of Ansible in tests start faster. What is run, and what it does, stays the same.

The runs of a test session share what each of them would assemble and compile anew. They, their modules and the AWS CLI
are forked from processes that have imported what they need; most tasks are then run without another fork.
``python -m warm COMMAND`` runs a command whose runs of Ansible do so.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache, wraps
from pathlib import Path
from threading import RLock
from typing import IO, Any

from emulator import program_environment

from .startup.fork_client import MESSAGE_BYTES, ask

Command = Sequence[str | Path]
Environ = Mapping[str, str]

HERE = Path(__file__).parent
COLLECTIONS = HERE.parents[1] / ".ansible" / "collections"
CALLBACKS = HERE / "callback"
GIVEN = "WARM_GIVEN"
"""The variable with what the process that started this one shares with it."""
QUICK_TO_FORK = {"PYTHONMALLOC": "malloc", "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
"""The variables of a process that forks small programs: in huge pages, it is forked in a quarter of the time."""
AWS_CLI = """\
#!{python} -SE
import os
import sys

sys.path.insert(0, "{startup}")
from fork_client import run_elsewhere

os._exit(run_elsewhere("{address}", ["{real}", *sys.argv[1:]]))
"""


def once(make: Callable[[], dict[str, str]]) -> Callable[[], dict[str, str]]:
    """Call a function once, also where the first tests of a session ask from several threads.

    Where the process that started this one has called it for both (``share_with_processes``), it is not called here.
    """
    lock, kept = RLock(), cache(make)

    @wraps(make)
    def locked() -> dict[str, str]:
        with lock:
            given: dict[str, dict[str, str]] = json.loads(os.environ.get(GIVEN, "{}"))
            return given.get(make.__name__) or kept()

    return locked


@once
def sharing() -> dict[str, str]:
    """The variables of runs that share what they assemble and compile, until this process ends."""
    folder = tempfile.TemporaryDirectory(prefix="cwagent-")
    atexit.register(folder.cleanup)
    return {
        "ANSIBLE_CALLBACK_PLUGINS": str(CALLBACKS),
        "ANSIBLE_CALLBACKS_ENABLED": "shared",
        "PYTHONPATH": str(HERE / "startup"),
        "SHARED_BY_RUNS": folder.name,
    }


@once
def forking_modules() -> dict[str, str]:
    """The variables of runs whose modules are also forked, from a process that ends with this one."""
    return {**sharing(), "MODULE_SERVER": _start_server("modules", {"PYTHONPATH": str(COLLECTIONS), **QUICK_TO_FORK})}


@once
def forking() -> dict[str, str]:
    """The variables of runs that are forked themselves, too. Such a run is in no process group of whoever starts it."""
    return {**forking_modules(), "PLAYBOOK_SERVER": _start_server("playbooks", {})}


@once
def forking_aws_cli() -> dict[str, str]:
    """The variable that names the AWS CLI, for a program that runs the one that it named until now, in a fork."""
    real = Path(os.environ["AWS_CLI"])
    python = real.with_name("python")
    address = _start_server("aws", QUICK_TO_FORK, python)
    program = Path(sharing()["SHARED_BY_RUNS"], "bin", "aws")
    program.parent.mkdir()
    program.write_text(AWS_CLI.format(python=python, startup=HERE / "startup", address=address, real=real))
    program.chmod(0o700)
    return {"AWS_CLI": str(program)}


@dataclass(frozen=True)
class Run:
    """A program of Python in a fork.

    :param pid: its process; whoever kills it, with those that it has started, kills a run of Ansible but its modules,
        and these end with it.
    """

    pid: int
    connection: Any

    @classmethod
    def start(
        cls, server: str, command: Command, environ: Environ, folder: Path, *, output: IO[Any], errors: IO[Any]
    ) -> Run:
        """Start a program without input. A name means a program that is installed with this Python.

        :param server: the variable that names what forks it, MODULE_SERVER or PLAYBOOK_SERVER.
        """
        arguments = [str(each) for each in (Path(sys.executable).parent / command[0], *command[1:])]
        with Path(os.devnull).open() as nothing:
            files = [each.fileno() for each in (nothing, output, errors)]
            connection = ask(environ[server], arguments, dict(environ), files, str(folder))
        return cls(int(connection.recv(MESSAGE_BYTES)), connection)

    def wait(self, seconds: float | None = None) -> int:
        """Wait for its end; it is ended after so many seconds.

        :returns: its exit code, or the negative number of a signal, as ``subprocess`` does.
        """
        with closing(self.connection):
            self.connection.settimeout(seconds)
            code = self.connection.recv(MESSAGE_BYTES)
        return code[0] if code else -signal.SIGKILL


def run(
    server: str, command: Command, environ: Environ, folder: Path, seconds: float
) -> subprocess.CompletedProcess[str]:
    """Start a program as ``Run.start`` does, and wait for its end."""
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        code = Run.start(server, command, environ, folder, output=output, errors=errors).wait(seconds)
        for each in (output, errors):
            each.seek(0)
        return subprocess.CompletedProcess([*command], code, output.read(), errors.read())


def share_with_processes() -> None:
    """Let the processes that this one starts, such as the workers of pytest, use the same servers and folder."""
    makers = (sharing, forking_modules, forking, *([forking_aws_cli] if "AWS_CLI" in os.environ else []))
    os.environ[GIVEN] = json.dumps({make.__name__: make() for make in makers})


def _start_server(what: str, variables: Mapping[str, str], python: str | Path = sys.executable) -> str:
    """Start a process that forks programs of a kind. :returns: its socket."""
    address = str(Path(sharing()["SHARED_BY_RUNS"], what))
    command: list[str | Path] = [python, HERE / "fork_server.py", address, what]
    process = subprocess.Popen(
        command,
        env=program_environment(variables),
        stdin=subprocess.PIPE,  # the server ends when this pipe is closed
        stdout=subprocess.PIPE,
        text=True,
    )
    atexit.register(process.kill)
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    return address
