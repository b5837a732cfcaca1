"""A run of Ansible in a fork does and prints the same as any other run."""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import forks
import pytest
from emulator import program_environment
from forks import AWS_CLI, HOST_PYTHON, Run, on_path
from forks.cache import Cache

CHECKOUT = Path(__file__).parents[3]
COLLECTIONS = CHECKOUT / ".ansible" / "collections"
SECONDS = 180
"""How long a process may take to end, on a machine with much to do."""

PLAYBOOK = """
- hosts: all
  gather_facts: false
  vars:
    ansible_python_interpreter: "{{ ansible_playbook_python }}"
    given: {list: [1]}
  tasks:
    - ansible.builtin.command: echo "{{ word }} é"
      register: done
    - ansible.builtin.shell: echo "$WORD in $PWD"
      environment: {WORD: "it's {{ word }} $HOME é"}
      register: __said
    - ansible.builtin.debug: {var: __said.stdout}
    - ansible.builtin.debug: {var: given.list.append(2)}
    - ansible.builtin.debug: {msg: "{{ given }} {{ item }}", verbosity: "{{ item }}"}
      loop: [0, 1]
      loop_control: {label: "number {{ item }}"}
    - ansible.builtin.command: echo "{{ item }}"
      loop: [1, 2]
      when: item == 2 and inventory_hostname == "two"
      register: __echoed
    - ansible.builtin.command: "false"
      loop: []
    - ansible.builtin.add_host: {name: "{{ inventory_hostname }}-added"}
    - ansible.builtin.debug: {msg: "{{ groups.all }}"}
    - ansible.builtin.command: "false"
      when: __echoed is failed
    - ansible.builtin.set_fact: {fact: "{{ inventory_hostname }}"}
      run_once: true
    - ansible.builtin.include_tasks: included.yml
      vars: {included: "{{ fact }}"}
      when: inventory_hostname == "two"
    - ansible.builtin.fail: {msg: "{{ nope }}"}
      ignore_errors: "{{ inventory_hostname == 'one' }}"
      when: inventory_hostname == "one"
    - ansible.builtin.debug: {msg: letters}
      when: [word is match("\\\\w+$"), missing.part is undefined]
    - block:
        - ansible.builtin.debug: {msg: nothing}
          when: word == missing.part
      rescue:
        - ansible.builtin.debug: {msg: "{{ ansible_failed_result }}"}
    - block:
        - ansible.builtin.fail: {msg: hidden}
          no_log: true
      rescue:
        - ansible.builtin.debug: {msg: "rescued {{ ansible_failed_task.name }}"}
          delegate_to: one
          delegate_facts: true
          changed_when: true
          notify: Say
      always:
        - ansible.builtin.assert: {that: "done.stdout == 'right é'", fail_msg: "it said {{ done.stdout }}"}
  handlers:
    - name: Say
      ansible.builtin.debug: {msg: said}
"""
INCLUDED = """
- ansible.builtin.debug: {msg: "included {{ included }}"}
- ansible.builtin.set_fact: {included: "{{ included | upper }}"}
- ansible.builtin.debug: {msg: "{{ included }}"}
"""


# The process from which a run was forked. Ansible runs a task in a fork of the run.
PARENT = "{{ lookup('pipe', 'ps -o ppid= -p $(ps -o ppid= -p $PPID)') }}"


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home and folder of runs that are not about settings, so that they are forked from one process."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "ansible.cfg").write_text(f"[defaults]\ncollections_path = {COLLECTIONS}\n")
    return folder


def environ(folder: Path, more: Mapping[str, str]) -> dict[str, str]:
    return program_environment({"HOME": str(folder), **more})


def run_both(
    arguments: Sequence[str | Path], folder: Path, more: Mapping[str, str], times: int = 1
) -> list[tuple[int, str, str]]:
    """Run it in its own process, and in forks of one process. :returns: their codes, output and errors."""
    plain = subprocess.run(
        arguments,
        cwd=folder,
        env=environ(folder, more),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    forked = [forks.run(arguments, environ(folder, more), folder, SECONDS) for _ in range(times)]
    return [(each.returncode, each.stdout, each.stderr) for each in (plain, *forked)]


def write_playbook(folder: Path, *messages: str) -> list[str | Path]:
    """Write a playbook with these messages. :returns: the command that runs it."""
    tasks = [{"ansible.builtin.debug": {"msg": each}, "ignore_errors": True} for each in messages]
    playbook = folder / "playbook.yml"
    playbook.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
    return ["ansible-playbook", "-i", "localhost,", "-c", "local", playbook]


@pytest.mark.parametrize(("hosts", "word", "code"), [("one,", "right", 0), ("one,two", "wrong", 2)])
def test_a_forked_run_prints_and_ends_as_any_other(home: Path, hosts: str, word: str, code: int) -> None:
    (home / "playbook.yml").write_text(PLAYBOOK)
    (home / "included.yml").write_text(INCLUDED)
    options = ["-i", hosts, "-c", "local", "-e", f"word={word}", "--forks=1"]
    runs = run_both(["ansible-playbook", "playbook.yml", *options], home, {}, times=3 if code else 1)
    assert {(each[0], each[2]) for each in runs} == {(code, "")}
    assert "it said wrong é" in runs[0][1] if code else "failed=0" in runs[0][1]
    # Of several hosts, Ansible prints the line of one before or after the items of the next, as it happens.
    ordered: Callable[[list[str]], list[str]] = sorted if "two" in hosts else list
    plain, *forked = (ordered(each[1].splitlines()) for each in runs)
    assert forked == [plain] * len(forked)
    assert [*(home / ".ansible" / "tmp").iterdir()] == []  # each run had its own folder there


@pytest.mark.parametrize(
    ("arguments", "more"),
    [
        (["ansible-playbook", "--nope"], {}),
        (["ansible-playbook", "nope.yml"], {"ANSIBLE_FORKS": "many"}),
        (["ansible-playbook", "nope.yml"], {"ANSIBLE_NOCOLOR": "", "ANSIBLE_FORCE_COLOR": "1"}),
    ],
)
def test_also_where_it_fails_early(home: Path, arguments: list[str], more: dict[str, str]) -> None:
    plain, forked = run_both(arguments, home, more)
    assert forked == plain


def test_a_run_has_its_own_settings(tmp_path: Path) -> None:
    """It gets nothing from the run before, even if both are forked from the same process."""
    settings = "{{ lookup('config', 'DEFAULT_FORKS') }} {{ lookup('env', 'AWS_REGION') }}"
    command = write_playbook(tmp_path, f"has {settings}.")
    found = []
    for number, given in [("", {"AWS_REGION": "one"}), ("", {}), ("7", {}), ("8", {"ANSIBLE_FORKS": "9"}), ("8", {})]:
        config = tmp_path / "ansible.cfg"
        config.write_text(f"[defaults]\nforks = {number}\n" if number else "")
        done = forks.run(command, environ(tmp_path, given), tmp_path, SECONDS)
        found += [each.strip() for each in re.findall(r"has (.*)\.", done.stdout)]
    assert found == ["5 one", "5", "7", "9", "8"]


def test_a_run_reads_a_file_of_the_checkout_that_has_changed(home: Path) -> None:
    """Runs parse such a file once, as long as its content is the same."""
    cache = CHECKOUT / ".cache"
    cache.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        printed = []
        for word in ("one", "two", "one"):
            command = write_playbook(Path(folder), f"has {word}.")
            printed += re.findall(r"has (.*)\.", forks.run(command, environ(home, {}), home, SECONDS).stdout)
    assert printed == ["one", "two", "one"]


@pytest.mark.parametrize(("roles", "processes"), [("/roles", 1), ("~/roles", 2)])
def test_a_run_has_its_own_home(tmp_path: Path, roles: str, processes: int) -> None:
    """Runs with different homes are forked from one process if no setting depends on the home."""
    message = "is {{ '~' | expanduser }} {{ lookup('config', 'DEFAULT_ROLES_PATH')[0] }} from " + PARENT
    command = write_playbook(tmp_path, message)
    homes = [str(tmp_path / name) for name in ("one", "two")]
    given = {"ANSIBLE_HOME": str(tmp_path / "ansible"), "ANSIBLE_ROLES_PATH": roles}
    runs = [forks.run(command, environ(tmp_path, {"HOME": home, **given}), tmp_path, SECONDS) for home in homes]
    found = [re.findall(r"is (\S+) (\S+) from +(\d+)", each.stdout)[0] for each in runs]
    assert [each[:2] for each in found] == [(home, roles.replace("~", home)) for home in homes]
    assert len({each[2] for each in found}) == processes


def test_runs_with_the_same_settings_are_forked_from_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever test they belong to, and whatever account they use; and there are only so many such processes."""
    command = write_playbook(tmp_path, f"from {PARENT}")
    given = [{name: text} for name in ("PYTEST_CURRENT_TEST", "AWS_PROFILE", "ANSIBLE_FORKS") for text in ("7", "8")]
    monkeypatch.setattr(forks, "MAX_SERVERS", 2)
    monkeypatch.setattr(forks, "_servers", {})
    printed = [forks.run(command, environ(tmp_path, each), tmp_path, SECONDS).stdout for each in given]
    parents = [re.findall(r"from +(\d+)", each)[0] for each in printed]
    exist = [Path("/proc", each).exists() for each in parents]
    forks._stop_servers()
    assert len({*parents[:4]}) == 1
    assert len({*parents[3:]}) == 3  # others have their own
    assert exist == [False] * 4 + [True] * 2


FILTER = """
class FilterModule:
    def filters(self):
        return {"trim": lambda text: "trimmed here", "local": lambda text: "local here"}
"""


def test_a_run_finds_filters_wherever_they_are(tmp_path: Path, home: Path) -> None:
    """Also beside its playbook, though not beside the playbook of an earlier run, and in our collection."""
    folder = tmp_path / "filter_plugins"
    folder.mkdir()
    (folder / "ours.py").write_text(FILTER)
    for is_beside, expected in ((True, ["trimmed here", "local here"]), (False, ["'a'", "No filter named 'local'"])):
        if not is_beside:
            shutil.rmtree(folder)
        command = write_playbook(
            tmp_path,
            *("{{ [' a ' | trim] }}", "{{ '' | local }}", "{{ [1] | first }}", "{{ ' a ' | ansible.builtin.trim }}"),
            *(
                "{{ '' | cwagent.iam.nope }}",
                "{{ 1 is even or 2 is odd }}",
                "{{ [] | cwagent.iam.junit }}",
            ),
        )
        plain, forked = run_both(command, home, {})
        assert forked == plain
        assert [each for each in expected if each not in plain[1].replace('"', "'")] == []


PROGRAM_OF_HOST = """
import os, sys
sys.stderr.write(f"{os.environ['WORD']} {sys.argv[1:]} {__name__} {os.getcwd()}")
sys.exit(len(sys.argv))
"""


@pytest.mark.parametrize("given", [["program.py", "a", "-b"], ["-P", "program.py"], []])
def test_a_host_runs_a_program_as_any_python(tmp_path: Path, given: list[str]) -> None:
    """Ansible sends it a file or, with pipelining, its text as the input."""
    (tmp_path / "program.py").write_text(PROGRAM_OF_HOST)
    pythons = [sys.executable, str(on_path.folder() / HOST_PYTHON)]
    ended = [
        subprocess.run(
            [python, *given],
            cwd=tmp_path,
            env=environ(tmp_path, {"WORD": python}),
            input="" if given else PROGRAM_OF_HOST,
            capture_output=True,
            text=True,
            check=False,
        )
        for python in pythons
    ]
    plain, forked = ((each.returncode, each.stderr.split(" ", 1)) for each in ended)
    assert [plain[1].pop(0), forked[1].pop(0)] == pythons
    assert forked == plain


def test_a_host_has_its_own_temporary_folder(tmp_path: Path) -> None:
    """The folder of the test before is gone."""
    found = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        given = environ(tmp_path, {"TMPDIR": str(folder)})
        command = [on_path.folder() / HOST_PYTHON]
        program = "import tempfile; print(tempfile.mkdtemp())"
        found.append(Path(subprocess.check_output(command, env=given, input=program, text=True).strip()))
        found[-1].rmdir()
        folder.rmdir()
    assert [each.parent.name for each in found] == ["one", "two"]


def test_a_command_finds_the_programs_first(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "forks", "sh", "-c", "command -v ansible-playbook; exit 3"]
    given = environ(tmp_path, {"PYTHONPATH": str(CHECKOUT / "tests")})
    done = subprocess.run(command, env=given, capture_output=True, text=True, check=False)
    assert (done.returncode, "/cwagent-path-" in done.stdout) == (3, True)


@pytest.mark.skipif(not AWS_CLI, reason="it needs the AWS CLI, which make test-tools sets up")
@pytest.mark.parametrize("arguments", [["--version"], ["ssm", "get-parameter", "--name", "x", "--region", "eu-west-1"]])
def test_an_instance_runs_the_aws_cli_as_anywhere(tmp_path: Path, arguments: list[str]) -> None:
    nobody = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1"}
    given = environ(tmp_path, {**nobody, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"})
    plain, forked = (
        subprocess.run([each, *arguments], env=given, capture_output=True, text=True, check=False)
        for each in (AWS_CLI, on_path.folder() / "aws")
    )
    assert (forked.returncode, forked.stdout, forked.stderr) == (plain.returncode, plain.stdout, plain.stderr)
    assert "aws-cli" in plain.stdout + plain.stderr or nobody["AWS_ENDPOINT_URL"] in plain.stderr


def test_a_program_of_a_host_ends_with_its_python(tmp_path: Path) -> None:
    """A fault kills it, as the machine fails."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    # The program sleeps until the fault ends it. Without the fault, it ends by itself after the test has failed.
    program = f"import os, time; open({str(pipe)!r}, 'w').write(f'{{os.getpid()}}\\n'); time.sleep({SECONDS})"
    asking = subprocess.Popen([on_path.folder() / HOST_PYTHON], env=environ(tmp_path, {}), stdin=subprocess.PIPE)
    assert asking.stdin
    with asking.stdin as given:
        given.write(program.encode())
    ended = os.pidfd_open(int(pipe.read_text()))
    asking.kill()
    asking.wait()
    assert select.select([ended], [], [], SECONDS)[0]
    os.close(ended)


@pytest.mark.parametrize(("program", "code"), [("true", 0), ("false", 2), ("kill", -signal.SIGKILL)])
def test_a_run_can_be_killed(tmp_path: Path, home: Path, program: str, code: int) -> None:
    output, beginning = tmp_path / "output.txt", tmp_path / "beginning"
    os.mkfifo(beginning)
    commands = {"kill": ["cat", beginning]}  # which waits for somebody who writes
    task = {"ansible.builtin.command": {"argv": [str(each) for each in commands.get(program, [program])]}}
    playbook = tmp_path / "playbook.yml"
    playbook.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": [task]}]))
    command: list[str | Path] = ["ansible-playbook", "-i", "localhost,", "-c", "local", playbook]
    given = environ(home, {"ANSIBLE_LOCAL_TEMP": str(tmp_path)})  # it cannot remove its folder there
    with output.open("w") as file:
        started = Run.start(command, given, home, output=file, errors=file)
    if program == "kill":
        with beginning.open("w"):  # it is open once the command reads it
            os.kill(started.pid, signal.SIGKILL)
    assert started.wait(SECONDS) == code
    assert ("PLAY RECAP" in output.read_text()) == (program != "kill")


def test_a_run_lasts_as_long_as_its_last_process(tmp_path: Path) -> None:
    """A worker of Ansible outlives an interrupted run while it releases a permission, and calls AWS."""
    pipe, left, program = (tmp_path / name for name in ("pipe", "left", "program.py"))
    os.mkfifo(pipe)
    program.write_text(f"""
import os, pathlib, sys
if os.fork():
    sys.exit(3)
pathlib.Path({str(pipe)!r}).read_text()
pathlib.Path({str(left)!r}).touch()
""")
    with Path(os.devnull).open("w") as nothing:
        started = Run.start([program], environ(tmp_path, {}), tmp_path, output=nothing, errors=nothing)
    assert started.wait_for_main(SECONDS) == 3
    assert not left.exists()
    pipe.write_text("go on")
    assert started.wait(SECONDS) == 3
    assert left.exists()


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
def test_each_of_several_runs_ends_by_itself_with_its_own_exit_code(tmp_path: Path, order: tuple[int, ...]) -> None:
    program, given = tmp_path / "program.py", environ(tmp_path, {})
    program.write_text("import sys; open(sys.argv[1]).read(); sys.exit(int(sys.argv[2]))")
    started: list[Run] = []
    with Path(os.devnull).open("w") as nothing:
        for number in range(len(order)):
            os.mkfifo(tmp_path / str(number))
            command: list[str | Path] = [program, tmp_path / str(number), str(number)]
            started.append(Run.start(command, given, tmp_path, output=nothing, errors=nothing))
    for number in order:
        (tmp_path / str(number)).write_text("go on")
        assert started[number].wait(SECONDS) == number


def test_who_asks_and_ends_at_once_disturbs_no_other_run(tmp_path: Path) -> None:
    pipe, program, given = tmp_path / "pipe", tmp_path / "program.py", environ(tmp_path, {})
    os.mkfifo(pipe)
    program.write_text("import sys; open(sys.argv[1]).read(); sys.exit(7)")
    with Path(os.devnull).open("w") as nothing:
        started = Run.start([program, pipe], given, tmp_path, output=nothing, errors=nothing)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            forks.ask([program, pipe], given, tmp_path, theirs, [nothing.fileno()] * 3)
        assert select.select([ours], [], [], SECONDS)[0]
        ours.close()  # without reading the number of the process
    assert forks.run([program, os.devnull], given, tmp_path, SECONDS).returncode == 7
    pipe.write_text("go on")
    assert started.wait(SECONDS) == 7


@pytest.mark.parametrize(
    ("number", "codes"),
    [
        (signal.SIGTERM, {-signal.SIGTERM}),
        (signal.SIGHUP, {-signal.SIGHUP}),
        (signal.SIGINT, {-signal.SIGINT, 1}),  # before and after Python handles it
    ],
)
def test_a_run_can_be_ended_as_soon_as_it_begins(tmp_path: Path, number: signal.Signals, codes: set[int]) -> None:
    program, given = tmp_path / "program.py", environ(tmp_path, {"TMPDIR": str(tmp_path)})
    # Python misses a signal that comes just before it begins one long wait.
    program.write_text("import time\nwhile True: time.sleep(0.01)")
    found = set()
    with Path(os.devnull).open("w") as nothing:
        for _repeated in range(30):
            started = Run.start([program], given, tmp_path, output=nothing, errors=nothing)
            os.kill(started.pid, number)
            found.add(started.wait(SECONDS))
    assert found <= codes
    assert len([*tmp_path.glob("cwagent-packed-*")]) == 1


def test_a_run_and_its_server_end_with_the_process_that_asked(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    program = f"""
import forks, pathlib, sys
command = ["ansible-playbook", "-i", "localhost,", "-c", "local", "playbook.yml"]
forks.run(command, {environ(tmp_path, {})!r}, pathlib.Path({str(tmp_path)!r}), 1000)
"""
    # Written by the run itself, which keeps it open. It waits where nobody reads, and ends when the test has.
    write_playbook(tmp_path, f"{{{{ lookup('pipe', '(cat /proc/$PPID/stat; exec yes) >{pipe}') }}}}")
    asking = subprocess.Popen(
        [sys.executable, "-c", program], env=environ(tmp_path, {"PYTHONPATH": str(CHECKOUT / "tests")})
    )
    with pipe.open() as file:
        parent = int(file.readline().rpartition(")")[2].split()[1])
        ended = os.pidfd_open(parent)
        asking.kill()
        asking.wait()
        assert select.select([ended], [], [], SECONDS)[0]
    os.close(ended)


@pytest.mark.parametrize("has_next", [False, True])
def test_an_incomplete_record_of_a_killed_run_is_skipped(tmp_path: Path, has_next: bool) -> None:
    whole = tmp_path / "whole"
    Cache(whole).find("first", lambda: {"list": [1]})
    record = whole.read_bytes()

    for length in range(1, len(record)):
        file = tmp_path / str(length)
        file.write_bytes(record + record[:length] + record * has_next)
        server = Cache(file)
        server.read()
        Cache(file).find("second", lambda: 2)
        server.read()

        assert server.results == {"first": {"list": [1]}, "second": 2}


ASKING = """
import os, signal, sys, threading
from pathlib import Path
from forks import Run

# With nohup or in the background, the tests themselves ignore a signal.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
with open(os.devnull, "w") as nothing:
    started = Run.start([sys.argv[1], sys.argv[2]], dict(os.environ), Path.cwd(), output=nothing, errors=nothing)
    threading.Event().wait()
"""
ASKED = """
import os, signal, subprocess, sys
from pathlib import Path

worker = subprocess.Popen(["sleep", "600"], start_new_session=True)
Path(sys.argv[1]).write_text(f"{worker.pid} {os.getppid()}")
signal.pause()
"""


@pytest.mark.parametrize(
    ("who", "signals"),
    [
        ("one", [signal.SIGKILL]),
        ("all", [signal.SIGTERM]),
        ("all", [signal.SIGHUP]),
        *(("all", [signal.SIGINT, each]) for each in (signal.SIGINT, signal.SIGTERM)),
    ],
)
def test_nothing_of_a_run_is_left_after_the_process_that_asked(tmp_path: Path, who: str, signals: list[int]) -> None:
    """Each of Ansible's workers has its own session, so no signal to the run reaches them.

    A terminal, a shell and a pipeline signal the server as well.
    """
    asking, asked, written = (tmp_path / name for name in ("asking.py", "asked.py", "worker"))
    os.mkfifo(written)
    asking.write_text(ASKING)
    asked.write_text(ASKED)
    environ = {**os.environ, "PYTHONPATH": str(CHECKOUT / "tests"), "TMPDIR": str(tmp_path)}
    command = [sys.executable, *map(str, (asking, asked, written))]
    with subprocess.Popen(command, env=environ, stderr=subprocess.DEVNULL, start_new_session=True) as person:
        worker, server = map(os.pidfd_open, map(int, written.read_text().split()))
        for each in signals:
            (os.killpg if who == "all" else os.kill)(person.pid, each)
    ready = [select.select([each], [], [], SECONDS)[0] for each in (worker, server)]
    for each in (worker, server):
        os.close(each)
    assert ready == [[worker], [server]]
    assert [*tmp_path.glob("cwagent-packed-*")] == []
