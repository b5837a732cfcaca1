"""Programs for the PATH of a shell, for hosts and instances, which ask the process of the tests to run them in a fork.

The fork ends with the program, because a fault or a person can end that. ``python -m forks COMMAND`` runs a command
with this PATH.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import tempfile
from functools import cache
from pathlib import Path
from threading import Thread

from forks import AWS_CLI, HOST_PYTHON, PROGRAM, ask

REQUEST_BYTES = 1 << 20
PROGRAMS = {PROGRAM: PROGRAM, HOST_PYTHON: HOST_PYTHON, "aws": AWS_CLI}
"""By name in the folder, what ``ask`` runs."""
OF_SHELL = ("_", "OLDPWD")
"""Variables that differ from command to command and that no run reads."""
CLIENT = """\
#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asked:
    asked.connect("\\0{name}")
    request = json.dumps({{"argv": sys.argv, "environ": dict(os.environ), "folder": os.getcwd()}})
    socket.send_fds(asked, [request.encode()], [0, 1, 2])
    asked.recv(32)
    code = int(asked.recv(32) or -9)
sys.exit(code if code >= 0 else 128 - code)
"""


@cache
def folder() -> Path:
    """The folder of ``ansible-playbook``, the Python of hosts and the AWS CLI. It exists until this process ends."""
    name = f"cwagent-{os.getpid()}"
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listening.bind(f"\0{name}")
    listening.listen()
    Thread(target=_serve, args=(listening,), daemon=True).start()
    for each in PROGRAMS:
        program = Path(_temporary().name) / each
        program.write_text(CLIENT.format(python=sys.executable, name=name))
        program.chmod(0o755)
    return Path(_temporary().name)


@cache
def _temporary() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="cwagent-path-")


def _serve(listening: socket.socket) -> None:
    while True:
        asking, _ = listening.accept()
        with asking:
            text, files, *_more = socket.recv_fds(asking, REQUEST_BYTES, 3)
            if text:  # a program that was killed before it asked sends nothing
                request = json.loads(text)
                environ = {key: value for key, value in request["environ"].items() if key not in OF_SHELL}
                command = [PROGRAMS[Path(request["argv"][0]).name], *request["argv"][1:]]
                ask(command, environ, Path(request["folder"]), asking, files)
            for each in files:
                os.close(each)
