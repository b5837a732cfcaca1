"""An ``ansible-playbook`` for the PATH of a shell, which asks the process of the tests to run it in a fork."""

from __future__ import annotations

import json
import os
import socket
import sys
import tempfile
from functools import cache
from pathlib import Path
from threading import Thread

from forks import PROGRAM, Run

REQUEST_BYTES = 1 << 20
OF_SHELL = ("_", "OLDPWD")
"""Variables that differ from command to command and that no run reads."""
CLIENT = """\
#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asked:
    asked.connect("\\0{name}")
    request = json.dumps({{"argv": sys.argv[1:], "environ": dict(os.environ), "folder": os.getcwd()}})
    socket.send_fds(asked, [request.encode()], [0, 1, 2])
    code = int(asked.recv(32))
sys.exit(code if code >= 0 else 128 - code)
"""


@cache
def folder() -> Path:
    """The folder of the program. It exists until this process ends."""
    name = f"cwagent-{os.getpid()}"
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listening.bind(f"\0{name}")
    listening.listen()
    Thread(target=_serve, args=(listening,), daemon=True).start()
    program = Path(_temporary().name) / PROGRAM
    program.write_text(CLIENT.format(python=sys.executable, name=name))
    program.chmod(0o755)
    return program.parent


@cache
def _temporary() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="cwagent-path-")


def _serve(listening: socket.socket) -> None:
    while True:
        asking, _ = listening.accept()
        Thread(target=_answer, args=(asking,), daemon=True).start()


def _answer(asking: socket.socket) -> None:
    with asking:
        text, files, *_more = socket.recv_fds(asking, REQUEST_BYTES, 3)
        request = json.loads(text)
        environ = {key: value for key, value in request["environ"].items() if key not in OF_SHELL}
        with os.fdopen(files[0]) as stdin, os.fdopen(files[1], "w") as output, os.fdopen(files[2], "w") as errors:
            command = [PROGRAM, *request["argv"]]
            run = Run.start(command, environ, Path(request["folder"]), stdin=stdin, output=output, errors=errors)
        asking.send(str(run.wait()).encode())
