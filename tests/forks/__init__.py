"""Starts ansible-playbook and modules in tests from processes that have imported what they use, with the same settings.

A run reuses the modules that earlier runs have packed for hosts, and the results that ``cache.py`` caches. Only the
first run prints a warning about a file of the checkout. Nothing else differs from a program that a user starts. To
import Ansible and boto3 is half of a run that changes nothing, and the tests have thousands of runs.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import IO, Any

from emulator.environment import WITHOUT_ACCOUNT

Command = Sequence[str | Path]
Environ = Mapping[str, str]

PROGRAM = "ansible-playbook"
HOST_PYTHON = "python-of-hosts"
"""The Python of ``ansible-playbook``, and so of hosts that are this machine. It imports at once what modules import."""
MESSAGE_BYTES = 32
MAX_SERVERS = 8
# Prefixes of variables that nothing reads before a run begins.
OF_ONE_RUN = ("ANSIBLE_LOCAL_TEMP", "AWS_", "LOST_", "PYTEST_", "RECORDED_TO")
AWS_CLI = os.environ.get("AWS_CLI", "")
# Prefixes of the variables that Python reads before a module or the AWS CLI begins.
OF_PYTHON = ("LANG", "LC_", "PYTHON")


@dataclass(frozen=True)
class Run:
    """A run of Ansible in a fork.

    :param pid: its process.
    :param connection: when it is closed, the process is killed if it still runs.
    """

    pid: int
    connection: socket.socket

    @classmethod
    def start(
        cls,
        command: Command,
        environ: Environ,
        folder: Path,
        *,
        output: IO[Any],
        errors: IO[Any],
        stdin: IO[Any] | None = None,
    ) -> Run:
        """Start ``ansible-playbook``, or the path of a Python file, with arguments. By default it has no input."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, Path(os.devnull).open() as nothing:
            files = [(stdin or nothing).fileno(), output.fileno(), errors.fileno()]
            ask(command, environ, folder, theirs, files)
        return cls(int(ours.recv(MESSAGE_BYTES)), ours)

    def wait(self, seconds: float | None = None) -> int:
        """Wait until it has ended, with workers that outlive its main process. It is ended after so many seconds.

        :returns: the exit code of the main process, or the negative number of a signal, as ``subprocess`` does.
        """
        with self.connection:
            code = self.wait_for_main(seconds)
            while self.connection.recv(MESSAGE_BYTES):  # until no process has the other end
                pass
        return code

    def wait_for_main(self, seconds: float | None = None) -> int:
        """Wait for the end of the main process only, and return the same. ``wait`` has to follow."""
        self.connection.settimeout(seconds)
        code = self.connection.recv(MESSAGE_BYTES, socket.MSG_PEEK)
        return int(code) if code else -signal.SIGKILL


def run(command: Command, environ: Environ, folder: Path, seconds: float) -> subprocess.CompletedProcess[str]:
    """Start a program as ``Run.start`` does, and wait for its end."""
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        code = Run.start(command, environ, folder, output=output, errors=errors).wait(seconds)
        for each in (output, errors):
            each.seek(0)
        return subprocess.CompletedProcess([*command], code, output.read(), errors.read())


def ask(command: Command, environ: Environ, folder: Path, connection: socket.socket, streams: Sequence[int]) -> None:
    """Let a server run a program, tell its process and its exit code to a connection, and end it with that.

    :param command: as for ``Run.start``, or ``HOST_PYTHON`` or the AWS CLI with arguments.
    :param streams: stdin, stdout, stderr.
    """
    from . import on_path  # it imports this module

    arguments = [str(Path(sys.executable).parent / command[0]), *map(str, command[1:])]
    with _lock:
        python = str(on_path.folder() / HOST_PYTHON)
        request = {"argv": arguments, "environ": dict(environ), "folder": str(folder), "python": python}
        server = _server(arguments[0], environ, folder)
        socket.send_fds(server, [json.dumps(request).encode()], [connection.fileno(), *streams])


_lock = Lock()
_servers: dict[Hashable, tuple[subprocess.Popen[bytes], socket.socket]] = {}


def _server(program: str, environ: Environ, folder: Path) -> socket.socket:
    """Return where a process takes requests that has started as runs of a program with these settings do."""
    settings = (program, _read_settings(program, environ, folder))
    found = _servers.pop(settings, None) or _start_server(program, environ, folder)
    _servers[settings] = found  # the last one is the one used last
    if len(_servers) > MAX_SERVERS:
        _stop_server(next(iter(_servers)))
    return found[1]


def _stop_server(settings: Hashable) -> None:
    process, requests = _servers.pop(settings)
    requests.close()
    process.wait()


@atexit.register
def _stop_servers() -> None:
    for settings in [*_servers]:
        _stop_server(settings)


def _start_server(program: str, environ: Environ, folder: Path) -> tuple[subprocess.Popen[bytes], socket.socket]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        own = Path(program).with_name("python")  # of a program in a virtual environment
        python = str(own) if own.exists() else sys.executable
        command = [python, "-P", str(Path(__file__).with_name("server.py")), str(theirs.fileno()), program]
        variables = {name: text for name, text in environ.items() if not name.startswith(OF_ONE_RUN)}
        given = {**variables, **WITHOUT_ACCOUNT}
        process = subprocess.Popen(command, cwd=folder, env=given, pass_fds=[theirs.fileno()])
    return process, ours


def _read_settings(program: str, environ: Environ, folder: Path) -> Hashable:
    """Read all files that Ansible reads before it knows what to run."""
    if program == AWS_CLI or program.endswith(HOST_PYTHON):
        return tuple(sorted((name, text) for name, text in environ.items() if name.startswith(OF_PYTHON)))
    variables = {name: text for name, text in environ.items() if not name.startswith(OF_ONE_RUN)}
    named, home = environ.get("ANSIBLE_CONFIG", ""), environ.get("HOME", "")
    files = [folder / named, folder / "ansible.cfg", Path(home, ".ansible.cfg"), Path("/etc/ansible/ansible.cfg")]
    contents = [each.read_bytes() if each.is_file() else b"" for each in files]
    # With ANSIBLE_HOME, no setting is a path in the home of the user, unless somebody has written it so.
    written = str([contents, *(text for name, text in variables.items() if name.startswith("ANSIBLE_"))])
    if "ANSIBLE_HOME" in variables and not contents[2] and "~" not in written:
        variables.pop("HOME", None)
    # The paths in a file are relative to its folder. No test gives a variable a relative path.
    return "" if Path(named).is_absolute() else folder, tuple(sorted(variables.items())), tuple(contents)
