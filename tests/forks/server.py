"""Runs programs in forks of this process, which has imported what they use: python server.py SOCKET PROGRAM.

The program is ansible-playbook, a Python file that runs a module of the collection, the Python of hosts, or the AWS CLI
of instances. A request is the program with its arguments and environment, and four files: a connection to whoever asks,
and the streams. The answers are the id of the process and its exit code.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import gc
import importlib
import importlib.util
import itertools
import json
import os
import pkgutil
import runpy
import select
import shutil
import signal
import socket
import sys
import tempfile
import warnings
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import Any, NoReturn

REQUEST_BYTES = 1 << 20
SET_CHILD_SUBREAPER = 36  # of prctl, in Linux
ENDING = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM)  # how a person, a closed terminal or a pipeline ends the tests
CHECKOUT = Path(__file__).parents[2]
RUNS_BEFORE_SHARING = 1
"""It takes as long as it saves in a run or two, and many servers have only one."""
STREAMS = ("stdin", "stdout", "stderr")
PROGRAM, HOST_PYTHON = "ansible-playbook", "python-of-hosts"
PYTHON = sys.executable
SET_BY_CLI = "AWS_DATA_PATH"  # when it is imported
# Packages of Ansible, and kinds of its plugins, of which each run imports the most, one by one while it goes on.
PACKAGES_OF_RUNS = ("executor", "playbook")
# Not vars plugins: a run that finds their folders searched already loads none, and reads no group_vars.
PLUGINS_OF_RUNS = ("become", "cache", "connection", "inventory", "shell", "strategy")
CALLBACKS_OF_RUNS = ("default", "junit", "minimal")  # callbacks of tests read the environment when they are imported


def load_reach() -> Any:
    """Return the module that records the lines that tests reach, if they shall be recorded."""
    if "REACH" not in os.environ:
        return None
    path = Path(__file__).parents[1] / "mutants" / "reach.py"
    spec: Any = importlib.util.spec_from_file_location("reach", path)
    sys.modules["reach"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


reach = load_reach()
clients, caching, sharing = (
    runpy.run_path(str(Path(__file__).with_name(f"{name}.py"))) for name in ("clients", "cache", "sharing")
)


def can_import(program: str) -> bool:
    """Import what a program uses. :returns: whether nothing was printed. Each run would have to print it."""
    printed = os.memfd_create("printed")
    for number in (1, 2):
        os.dup2(printed, number)
    try:
        if program.endswith(".py"):
            import_what_modules_use()
        elif program.endswith(HOST_PYTHON):
            import_what_hosts_use()
        elif program.endswith("/aws"):
            import_what_the_cli_uses()
        else:
            import_what_runs_use()
    except SystemExit:  # for example, a setting is invalid, and a message was printed
        pass
    except Exception:  # noqa: BLE001  each run fails in the same way, and prints why
        return False
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    return os.fstat(printed).st_size == 0


def import_what_runs_use() -> None:
    """Import Ansible with the settings of this process, and the actions of the collection."""
    importlib.import_module("ansible.cli.playbook")
    for name in PACKAGES_OF_RUNS:
        package = importlib.import_module(f"ansible.{name}")
        for each in pkgutil.walk_packages(package.__path__, f"ansible.{name}."):
            importlib.import_module(each.name)
    loader: Any = importlib.import_module("ansible.plugins.loader")
    loader.init_plugin_loader()
    for kind in PLUGINS_OF_RUNS:  # their settings are in their documentation, which is parsed
        list(getattr(loader, f"{kind}_loader").all(class_only=True))
    for name in CALLBACKS_OF_RUNS:
        loader.callback_loader.get(name, class_only=True)
    with suppress(ImportError):  # where a run has another folder of collections
        actions = importlib.import_module("ansible_collections.cwagent.iam.plugins.action")
        for each in pkgutil.iter_modules(actions.__path__, "cwagent.iam."):
            loader.action_loader.get(each.name, class_only=True)
        caching["find_filters_once"]()
        for name in ("junit", "sarif"):
            loader.filter_loader.get(f"cwagent.iam.{name}")
    make_clients()
    # Each run sets up the loader again.
    warnings.filterwarnings("ignore", message="AnsibleCollectionFinder has already been configured")


def make_clients() -> None:
    """Make what the clients of all runs share, and make clients refuse values above AWS's maximums."""
    with suppress(ImportError):  # where a run has no boto3
        clients["share_classes"]()
        clients["check_maximums"]()
        clients["make_clients"]()


def import_what_modules_use() -> None:
    """Import the modules of the collection, and read botocore's data for their clients.

    Nothing of the controller's side is imported, because a module prints its warnings there, instead of returning them.
    """
    modules = importlib.import_module("ansible_collections.cwagent.iam.plugins.modules")
    for each in pkgutil.iter_modules(modules.__path__, f"{modules.__name__}."):
        importlib.import_module(each.name)
    session: Any = importlib.import_module("botocore.session")
    session.create_loader = functools.cache(session.create_loader)
    make_clients()


def import_what_hosts_use() -> None:
    """Import what Ansible sends to hosts for the modules of the collection."""
    folder = str(CHECKOUT / ".ansible" / "collections")
    sys.path.append(folder)
    import_what_modules_use()
    sys.path.remove(folder)
    for each in [each for each in sys.modules if each.startswith("ansible_collections.cwagent.iam.plugins.modules.")]:
        del sys.modules[each]  # a module runs as the main program


def import_what_the_cli_uses() -> None:
    """Import the AWS CLI, and read botocore's data for the client that instances use."""
    cli: Any = importlib.import_module("awscli.clidriver")
    loaders = cli.botocore.session.botocore.loaders
    loaders.create_loader = functools.cache(loaders.create_loader)
    driver = cli.create_clidriver()
    driver.session.create_client("ssm", region_name="us-east-1")
    with Path(os.devnull).open("w") as nothing, redirect_stdout(nothing):
        driver.main(["ssm", "get-parameter", "--name", "example", "--generate-cli-skeleton"])


def become(request: dict[str, Any], files: list[int]) -> None:
    """Take the place of the requested program."""
    signal.set_wakeup_fd(-1)
    for handled in (signal.SIGCHLD, *ENDING):
        signal.signal(handled, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    os.chdir(request["folder"])  # the folder of this process may have been removed and made again
    os.setsid()  # a test can signal its process group, as a terminal does
    # A program started in the background or with nohup inherits signals that are ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, (name, file) in enumerate(zip(STREAMS, files, strict=True)):
        os.dup2(file, number)
        os.close(file)
        # The streams of this process know whether its own files could be searched.
        stream = open(number, getattr(sys, name).mode, encoding="utf-8", closefd=False)  # noqa: SIM115
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    sys.stderr.reconfigure(line_buffering=True, errors="backslashreplace")
    terminal: Any = sys.modules.get("ansible_collections.cwagent.iam.plugins.plugin_utils._connections.terminal")
    if terminal:
        os.dup2(1, terminal.LAST_WORDS)  # it has duplicated the output of this process
    own = {name: text for name, text in os.environ.items() if name == SET_BY_CLI}
    os.environ.clear()
    os.environ.update({**own, **request["environ"]})
    tempfile.tempdir = None  # this process has found its own
    sys.argv[:] = request["argv"]
    if sys.argv[0].endswith((PROGRAM, HOST_PYTHON)):
        sys.executable = request["python"]
    sys.path[0:0] = [os.path.dirname(sys.argv[0])]  # noqa: PTH120  as Python does


def read_program() -> str:
    """Read a program from the input, as Python does where it gets none. :returns: a file that has it."""
    file = os.memfd_create("program")
    with open(file, "wb", closefd=False) as program:
        program.write(sys.stdin.buffer.read())
    return f"/proc/self/fd/{file}"


def run(request: dict[str, Any], files: list[int], *, is_imported: bool) -> int:
    """Run the program of a request. :returns: its exit code."""
    become(request, files)
    if reach:
        reach.begin()
    is_host = sys.argv[0].endswith(HOST_PYTHON)
    if not is_imported or (is_host and sys.argv[1:2] and sys.argv[1].startswith("-")):
        arguments = [PYTHON, *sys.argv[is_host:]]
        os.execve(PYTHON, arguments, request["environ"])  # noqa: S606  a list needs no shell
    constants: Any = sys.modules.get("ansible.constants")
    if constants:
        # The folder of this process is not for the run to remove.
        temporary = constants.config.get_config_value("DEFAULT_LOCAL_TMP", variables=vars(constants))
        constants.DEFAULT_LOCAL_TMP = temporary
        Path(request["packed"]).mkdir(mode=0o700, exist_ok=True)  # a test can have removed it with its temporary folder
        Path(temporary, "ansiballz_cache").symlink_to(request["packed"])
    code = 0
    try:
        if is_host:
            del sys.argv[0]
            sys.argv[:] = sys.argv or [read_program()]
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001  as Python ends for one that nobody handles
        sys.excepthook(*sys.exc_info())
        code = 1
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(ValueError, OSError):  # the program may have closed it
            stream.flush()
    return code


def adopt_orphans() -> None:
    """Become the parent of the processes of a run whose main process ends."""
    ctypes.CDLL(None).prctl(SET_CHILD_SUBREAPER, 1)


def end(_number: int, _frame: object) -> None:
    """End this process. Another signal does not interrupt what it does before."""
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def end_children() -> None:
    """Kill the processes that are left of runs. The tests have ended, perhaps in the middle of a run."""
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    with suppress(ChildProcessError):  # there is none any more
        while True:
            for each in children.read_text().split():
                os.kill(int(each), signal.SIGKILL)
            os.wait()  # when a process has ended, its children are children of this process


def main() -> None:
    requests = socket.socket(fileno=int(sys.argv[1]))
    adopt_orphans()
    is_imported = can_import(sys.argv[2])
    packed = tempfile.mkdtemp(prefix="cwagent-packed-")  # modules as Ansible sends them to hosts
    cache = caching["Cache"](Path(packed, "cache"))
    if is_imported and sys.argv[2].endswith(PROGRAM):  # otherwise, each run is another program
        cache.use()
    gc.freeze()
    for number in ENDING:
        if signal.getsignal(number) != signal.SIG_IGN:  # with nohup, for example
            signal.signal(number, end)
    try:
        serve(requests, cache, packed, is_imported=is_imported)
    except KeyboardInterrupt:
        pass
    finally:
        end_children()
        shutil.rmtree(packed, ignore_errors=True)


def share_memory() -> None:
    """Let all forks use the same memory, as far as they only read it."""
    gc.unfreeze()
    sharing["stop_counting"](gc.get_objects())
    gc.freeze()
    sharing["use_large_pages"]()


def serve(requests: socket.socket, cache: Any, packed: str, *, is_imported: bool) -> None:
    """Run each requested program in a fork, until nobody can ask any more."""
    connections: dict[int, socket.socket] = {}  # to whoever asked, by process
    woken, waking = os.pipe()
    os.set_blocking(waking, False)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    signal.set_wakeup_fd(waking, warn_on_full_buffer=False)
    for number in itertools.count():
        wait_for_request(requests, woken, connections)
        text, files, *_more = socket.recv_fds(requests, REQUEST_BYTES, 1 + len(STREAMS))
        if not text:
            break
        cache.read()
        if number == RUNS_BEFORE_SHARING:
            share_memory()
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)  # until the fork handles them as its program does
        pid = os.fork()
        if pid == 0:
            for other in (requests, *connections.values()):
                other.close()
            # The processes of the program keep its own connection open, which tells when the last one has ended.
            run_and_end({**json.loads(text), "packed": packed}, files[1:], is_imported=is_imported)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
        for each in files[1:]:
            os.close(each)
        connections[pid] = socket.socket(fileno=files[0])
        tell(connections[pid], pid)


def run_and_end(request: dict[str, Any], files: list[int], *, is_imported: bool) -> NoReturn:
    """Run the program of a request, and end this process without what the server does at its own end."""
    code = 1
    try:
        code = run(request, files, is_imported=is_imported)
    except BaseException:  # noqa: BLE001  any that went on would remove the server's folder; this is how Python ends
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)


def wait_for_request(requests: socket.socket, woken: int, connections: dict[int, socket.socket]) -> None:
    """Tell how programs end, and end those for which nobody waits any more, until somebody asks."""
    while True:
        sources: list[socket.socket | int] = [requests, woken, *connections.values()]
        ready, _, _ = select.select(sources, [], [])
        if woken in ready:
            os.read(woken, select.PIPE_BUF)
            tell_exit_codes(connections)
        for pid, connection in connections.items():
            if connection in ready:  # it was closed, because nobody sends anything
                os.kill(pid, signal.SIGKILL)
        if requests in ready:
            return


def tell_exit_codes(connections: dict[int, socket.socket]) -> None:
    """Tell the exit codes of the processes that have ended, and close their connections. Orphans have none."""
    with suppress(ChildProcessError):  # there is no process any more
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if connection := connections.pop(ended[0], None):
                with connection:
                    tell(connection, os.waitstatus_to_exitcode(ended[1]))


def tell(connection: socket.socket, number: int) -> None:
    """Send a number to whoever asked."""
    with suppress(ConnectionError):  # the process that asked has ended
        connection.send(str(number).encode())


if __name__ == "__main__":
    main()
