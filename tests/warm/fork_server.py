"""Runs modules, ansible-playbook or the AWS CLI in forks of this process, which has imported what they need.

``python fork_server.py SOCKET modules|playbooks|aws``. Whoever wants a program to run connects to it and hands over its
files, environment and arguments (``startup/fork_client.py``): a test itself, a run for its modules, or the Python that
was started for the program (``startup/sitecustomize.py``). To start a module takes three quarters of its time
otherwise, and to start a playbook a third of a run that changes nothing.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import marshal
import os
import pkgutil
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import types
from collections.abc import Callable, Hashable
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import Any

REQUEST_BYTES = 1 << 20
STREAMS = ("stdin", "stdout", "stderr")
# The services whose models are read once for all modules. Others work too.
SERVICES = ("ec2", "iam", "secretsmanager", "ssm", "sts")
# It reads the configuration of a run when it is imported.
CONFIGURATION = "ansible.constants"
# What begins the names of variables that Ansible itself does not read.
OF_ONE_RUN = ("AWS_", "PYTEST_", "RECORDED_TO")
MAX_TEMPLATES = 32
# Packages of Ansible of which each run imports the most, one by one while it goes on.
USED_BY_RUNS = (
    *("executor", "playbook", "plugins.become", "plugins.cache.memory", "plugins.callback", "plugins.connection"),
    *("plugins.inventory", "plugins.shell", "plugins.strategy", "plugins.vars"),
)
# What imports add to it is for the forks, too: the AWS CLI adds where its own data is.
ENVIRON = {*os.environ}


def share_sessions() -> None:
    """Let the sessions of this process, and of its forks, share what botocore reads and makes for each."""
    import botocore.client
    import botocore.hooks
    import botocore.loaders

    load = botocore.loaders.JSONFileLoader.load_file

    @cache
    def load_once(path: str) -> Any:
        return load(botocore.loaders.JSONFileLoader(), path)

    botocore.loaders.JSONFileLoader.load_file = lambda _loader, path: load_once(path)
    services = cache(botocore.loaders.create_loader().list_available_services)
    botocore.loaders.Loader.list_available_services = lambda _loader, type_name: services(type_name)
    # To find the name of an event, and whether a handler takes any keywords, is a third of the time of a session.
    rename = partial(botocore.hooks.EventAliaser._alias_event_name, botocore.hooks.EventAliaser(None))
    names = cache(rename)
    botocore.hooks.EventAliaser._alias_event_name = lambda _aliaser, event: names(event)
    botocore.hooks.accepts_kwargs = cache(botocore.hooks.accepts_kwargs)
    # The methods of a client only name the operation, and are many.
    creator = botocore.client.ClientCreator
    creator._create_methods = share_by_service(creator._create_methods)
    creator._create_name_mapping = share_by_service(creator._create_name_mapping)


def share_by_service(make: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Let what a creator of clients makes for a service be made once."""
    made: dict[str, dict[str, Any]] = {}

    def make_once(creator: Any, model: Any) -> dict[str, Any]:
        key = f"{model.service_name} {model.api_version}"
        if key not in made:
            made[key] = make(creator, model)
        return {**made[key]}

    return make_once


def create_clients(session: Any, method: str) -> None:
    """Read the models of the services that are used most."""
    for service in SERVICES:
        getattr(session, method)(service, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")


def import_all(name: str) -> None:
    """Import a module, and all that is in it if it is a package."""
    module = importlib.import_module(name)
    for each in pkgutil.walk_packages(getattr(module, "__path__", ()), f"{name}."):
        importlib.import_module(each.name)


def preload_modules() -> None:
    """Import and read what every module needs."""
    import boto3.session

    share_sessions()
    import_all("ansible_collections.cwagent.iam.plugins.module_utils")
    create_clients(boto3.session.Session(), "client")


def preload_aws() -> None:
    """Import and read what the AWS CLI needs."""
    driver = importlib.import_module("awscli.clidriver")
    share_sessions()
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
    del sys.modules[CONFIGURATION]


PRELOAD = {"modules": preload_modules, "playbooks": preload_playbooks, "aws": preload_aws}


def become(request: dict[str, Any], files: list[int]) -> None:
    """Take the place of the process that asked."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number, (name, file) in enumerate(zip(STREAMS, files, strict=True)):
        os.dup2(file, number)
        os.close(file)
        # The streams of this process know whether its own files could be searched.
        earlier = getattr(sys, name)
        stream = open(number, earlier.mode, encoding="utf-8", errors=earlier.errors, closefd=False)  # noqa: SIM115
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    sys.stderr.reconfigure(line_buffering=True)
    set_environment(request["environ"])
    os.chdir(request["folder"])
    os.umask(request["umask"])
    sys.argv[:] = request["argv"] or [""]
    sys.path[0] = str(Path(sys.argv[0]).parent) if request["argv"] else ""


def set_environment(environ: dict[str, str]) -> None:
    """Set the environment to this one, and to what imports have added."""
    given_by_imports = {name: text for name, text in os.environ.items() if name not in ENVIRON}
    os.environ.clear()
    os.environ.update(given_by_imports)
    os.environ.update(environ)


def end_with(connection: socket.socket) -> None:
    """Kill this process when the process that asked has ended, since whoever kills that one means this one."""
    connection.recv(1)
    os.kill(os.getpid(), signal.SIGKILL)


def run_stdin() -> None:
    """Run the program that comes by the standard input."""
    main = types.ModuleType("__main__")
    sys.modules["__main__"] = main
    exec(compile(sys.stdin.buffer.read(), "<stdin>", "exec"), main.__dict__)  # noqa: S102  a test has sent it


def run(connection: socket.socket, request: dict[str, Any], files: list[int]) -> int:
    """Run the program of a request. :returns: its exit code."""
    become(request, files)
    if CONFIGURATION in sys.modules:  # of a template, whose folder for temporary files this run must not remove
        constants: Any = sys.modules[CONFIGURATION]
        constants.DEFAULT_LOCAL_TMP = constants.config.get_config_value("DEFAULT_LOCAL_TMP", variables=vars(constants))
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


def fork_run(text: bytes, files: list[int]) -> None:
    """Run the program of a request in a fork, and tell the process that asked how it ended."""
    if os.fork() == 0:
        connection = socket.socket(fileno=files[0])
        with suppress(BrokenPipeError):  # the process that asked has ended
            connection.send(str(os.getpid()).encode())
            connection.send(bytes([run(connection, marshal.loads(text), files[1:])]))  # noqa: S302  a test has sent it
        os._exit(0)
    close_all(files)


def close_all(files: list[int]) -> None:
    for each in files:
        os.close(each)


class Templates:
    """Processes that have started as far as all runs with the same settings do. The runs are forked from them."""

    def __init__(self, load: Callable[[], None]) -> None:
        """:param load: what to do before a fork."""
        self.load = load
        self.running: dict[Hashable, socket.socket | None] = {}
        os.register_at_fork(after_in_child=self.clear)

    def fork_run(self, text: bytes, files: list[int]) -> None:
        """Run the program of a request in a fork of its template."""
        request = marshal.loads(text)  # noqa: S302  a test has sent it
        settings = read_settings(request)
        if settings in self.running:
            self.running[settings] = self.running.pop(settings)  # the last one is the one used last
        else:
            self.load()
            self.running[settings] = self.start(request, files)
            if len(self.running) > MAX_TEMPLATES:
                self.let_go(self.running.pop(next(iter(self.running))))
        template = self.running[settings]
        if template is None:
            fork_run(text, files)
            return
        socket.send_fds(template, [text], files)
        close_all(files)

    def clear(self) -> None:
        """Let go of all templates."""
        for each in self.running.values():
            self.let_go(each)
        self.running.clear()

    @staticmethod
    def let_go(template: socket.socket | None) -> None:
        """Let go of a template, which ends when nobody else has it."""
        if template:
            template.close()

    def start(self, request: dict[str, Any], files: list[int]) -> socket.socket | None:
        """Start a template. :returns: where it takes requests, or None where the start of a run prints something."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        if os.fork() == 0:
            ours.close()
            close_all(files)  # whoever reads them waits for their end
            self.serve(theirs, request)
            os._exit(0)
        theirs.close()
        if ours.recv(1):
            return ours
        ours.close()
        return None

    def serve(self, requests: socket.socket, first: dict[str, Any]) -> None:
        """Start as a run does, and fork those that are requested."""
        set_environment(first["environ"])
        ENVIRON.update(first["environ"])
        os.chdir(first["folder"])
        printed = os.memfd_create("printed")
        for number in (1, 2):
            os.dup2(printed, number)
        with suppress(SystemExit):
            importlib.import_module("ansible.cli.playbook")
            for each in USED_BY_RUNS:
                import_all(f"ansible.{each}")
            importlib.import_module("startup.loaded_plugins").load_plugins()
            importlib.import_module("startup.shared_code").read_variables_once()
        if os.fstat(printed).st_size:
            return
        gc.freeze()
        requests.send(b"ready")
        while True:
            text, files, *_more = socket.recv_fds(requests, REQUEST_BYTES, 1 + len(STREAMS))
            if not text:
                return
            self.load()
            fork_run(text, files)


def read_settings(request: dict[str, Any]) -> Hashable:
    """Read all that Ansible reads before it knows what to run."""
    environ, folder = request["environ"], Path(request["folder"])
    variables = {name: text for name, text in environ.items() if not name.startswith(OF_ONE_RUN)}
    named, home = environ.get("ANSIBLE_CONFIG", ""), environ.get("HOME", "")
    files = [folder / named, folder / "ansible.cfg", Path(home, ".ansible.cfg"), Path("/etc/ansible/ansible.cfg")]
    contents = [each.read_bytes() if each.is_file() else b"" for each in files]
    return folder, tuple(sorted(variables.items())), tuple(contents)


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
        os.register_at_fork(after_in_child=server.close)
        start = Templates(partial(shared_code.load_parsed, folder)).fork_run if kind == "playbooks" else fork_run
        print("ready", flush=True)
        while True:
            ready, _, _ = select.select([server, sys.stdin], [], [])
            if sys.stdin in ready:  # the process that started this one has ended
                return
            connection, _address = server.accept()
            text, files, *_more = socket.recv_fds(connection, REQUEST_BYTES, len(STREAMS))
            if text:  # unless the process that asked has ended
                start(text, [connection.detach(), *files])
            connection.close()


if __name__ == "__main__":
    main()
