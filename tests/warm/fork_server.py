"""Runs modules, ansible-playbook or the AWS CLI in forks of this process, which has imported what they need.

``python fork_server.py SOCKET modules|playbooks|aws``. ``startup/sitecustomize.py``, which the Python of such a program
imports first, connects to it and hands over its files, environment and arguments. To start a module takes three
quarters of its time otherwise, and to start a playbook a fifth of a run that changes nothing.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import marshal
import os
import pkgutil
import runpy
import signal
import socket
import subprocess
import sys
import threading
import types
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

REQUEST_BYTES = 1 << 20
STREAMS = ("stdin", "stdout", "stderr")
# The services whose models are read once for all modules. Others work too.
SERVICES = ("ec2", "iam", "secretsmanager", "ssm", "sts")
# It reads the configuration of a run when it is imported.
CONFIGURATION = "ansible.constants"
# What imports add to it is for the forks, too: the AWS CLI adds where its own data is.
ENVIRON = {*os.environ}


def load_models_once() -> None:
    """Let the sessions of this process, and of its forks, share the models of services."""
    import botocore.loaders

    load = botocore.loaders.JSONFileLoader.load_file

    @cache
    def load_once(path: str) -> Any:
        return load(botocore.loaders.JSONFileLoader(), path)

    botocore.loaders.JSONFileLoader.load_file = lambda _loader, path: load_once(path)
    services = cache(botocore.loaders.create_loader().list_available_services)
    botocore.loaders.Loader.list_available_services = lambda _loader, type_name: services(type_name)


def create_clients(session: Any, method: str) -> None:
    """Read the models of the services that are used most."""
    for service in SERVICES:
        getattr(session, method)(service, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")


def preload_modules() -> None:
    """Import and read what every module needs."""
    import boto3.session

    load_models_once()
    package = importlib.import_module("ansible_collections.cwagent.iam.plugins.module_utils")
    for each in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        importlib.import_module(each.name)
    create_clients(boto3.session.Session(), "client")


def preload_aws() -> None:
    """Import and read what the AWS CLI needs."""
    driver = importlib.import_module("awscli.clidriver")
    load_models_once()
    create_clients(driver.create_clidriver().session, "create_client")


def preload_playbooks() -> None:
    """Import what ansible-playbook does, except what reads the configuration of a run when it is imported."""
    program = "import sys, ansible.cli.playbook; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True)
    sys.modules[CONFIGURATION] = None  # type: ignore[assignment]  # whatever imports it cannot be imported
    for name in done.stdout.split():
        if not name.startswith("ansible.cli"):  # it prints why it cannot be imported
            with suppress(ImportError):  # also for parts of a compiled library
                importlib.import_module(name)


PRELOAD = {"modules": preload_modules, "playbooks": preload_playbooks, "aws": preload_aws}


def become(request: dict[str, Any], files: list[int]) -> None:
    """Take the place of the process that asked."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    sys.modules.pop(CONFIGURATION, None)
    for number, (name, file) in enumerate(zip(STREAMS, files, strict=True)):
        os.dup2(file, number)
        os.close(file)
        # The streams of this process know whether its own files could be searched.
        earlier = getattr(sys, name)
        stream = open(number, earlier.mode, encoding="utf-8", errors=earlier.errors, closefd=False)  # noqa: SIM115
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    sys.stderr.reconfigure(line_buffering=True)
    given_by_imports = {name: text for name, text in os.environ.items() if name not in ENVIRON}
    os.environ.clear()
    os.environ.update(given_by_imports)
    os.environ.update(request["environ"])
    os.chdir(request["folder"])
    os.umask(request["umask"])
    sys.argv[:] = request["argv"] or [""]
    sys.path[0] = str(Path(sys.argv[0]).parent) if request["argv"] else ""


def end_with(connection: socket.socket) -> None:
    """Kill this process when the process that asked has ended, since whoever kills that one means this one."""
    connection.recv(1)
    os.kill(os.getpid(), signal.SIGKILL)


def run_stdin() -> None:
    """Run the program that comes by the standard input."""
    main = types.ModuleType("__main__")
    sys.modules["__main__"] = main
    exec(compile(sys.stdin.buffer.read(), "<stdin>", "exec"), main.__dict__)  # noqa: S102  a test has sent it


def run(connection: socket.socket) -> int:
    """Run the program of a request. :returns: its exit code."""
    text, files, *_more = socket.recv_fds(connection, REQUEST_BYTES, 3)
    become(marshal.loads(text), files)  # noqa: S302  a program of these tests has sent it
    threading.Thread(target=end_with, args=[connection], daemon=True).start()
    code = 0
    try:
        if sys.argv[0]:
            runpy.run_path(sys.argv[0], run_name="__main__")
        else:
            run_stdin()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001  as Python ends for one that nobody handles
        sys.excepthook(*sys.exc_info())
        code = 1
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(ValueError, OSError):  # the module may have closed it
            stream.flush()
    return code


def main() -> None:
    # The folder of this file is the first where Python looks.
    shared_code = importlib.import_module("startup.shared_code")

    address, kind = sys.argv[1:]
    folder = Path(address).parent
    if kind != "aws":
        shared_code.share_archives(folder)
        shared_code.share_yaml(folder)
    PRELOAD[kind]()
    gc.disable()  # the forks end soon
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
        server.bind(address)
        server.listen(64)
        print("ready", flush=True)
        while True:
            connection, _address = server.accept()
            if kind == "playbooks":
                shared_code.load_parsed(folder)
            with connection:
                if os.fork() == 0:
                    server.close()
                    connection.send(bytes([run(connection)]))
                    os._exit(0)


if __name__ == "__main__":
    main()
