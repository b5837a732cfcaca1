"""What makes runs of Ansible start faster changes nothing of what they do."""

from __future__ import annotations

import importlib
import json
import os
import re
import select
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Barrier, BrokenBarrierError
from typing import Any

import pytest
import yaml
from ansible.module_utils._internal._datatag import AnsibleTagHelper
from ansible.parsing.dataloader import DataLoader
from emulator import program_environment
from warm import COLLECTIONS, Run, forking, forking_aws_cli, once, sharing
from warm.startup import shared_code

CHECKOUT = Path(__file__).parents[3]
YAML_FILES = sorted(each for folder in ("playbooks", "roles") for each in (CHECKOUT / folder).rglob("*.yml"))

SECONDS = 180
"""How long a process may take to end, on a machine with much to do."""

WORD = "it's $HOME é"
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


def marked(value: Any) -> Any:
    """A value with its types and with the marks that Ansible gave it."""
    marks = sorted(map(repr, AnsibleTagHelper.tags(value)))
    if isinstance(value, dict):
        return type(value), marks, [(marked(key), marked(each)) for key, each in value.items()]
    if isinstance(value, list):
        return type(value), marks, [marked(each) for each in value]
    return type(value), marks, repr(value)


def parsed(trusted: bool) -> list[Any]:
    return [marked(DataLoader().load_from_file(str(path), trusted_as_template=trusted)) for path in YAML_FILES]


@pytest.mark.parametrize("trusted", [False, True])
def test_shared_yaml_has_the_marks_of_parsed_yaml(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trusted: bool
) -> None:
    expected = parsed(trusted)
    monkeypatch.setattr(yaml, "load", yaml.load)  # it is restored after the test
    shared_code.share_yaml(tmp_path)
    assert parsed(trusted) == expected, "when it is shared"
    assert len([*(tmp_path / shared_code.YAML).iterdir()]) == len(YAML_FILES)
    assert parsed(trusted) == expected, "when it was shared"
    shared_code.load_parsed(tmp_path)
    assert len(shared_code.parsed) == len(YAML_FILES)
    assert parsed(trusted) == expected, "when it was loaded before"
    assert shared_code.parsed == {}


def test_what_a_server_cannot_import_is_left_to_the_runs(tmp_path: Path) -> None:
    """The values of a vault, for instance, whose class reads the configuration of a run when it is imported."""
    folder = tmp_path / shared_code.YAML
    folder.mkdir()
    (folder / "saved").write_bytes(b"cno_module\nAnything\n.")  # the pickle of a class of that module
    shared_code.load_parsed(tmp_path)
    assert shared_code.parsed == {}


def command(folder: Path, word: str, hosts: str) -> list[str | Path]:
    playbook = folder / "playbook.yml"
    playbook.write_text(PLAYBOOK)
    (folder / "included.yml").write_text(INCLUDED)
    return ["ansible-playbook", "-i", hosts, "-c", "local", playbook, "-e", f"word={word}", "--forks=1"]


def environ(folder: Path, faster: Mapping[str, str]) -> dict[str, str]:
    return program_environment({"HOME": str(folder), **faster})


def run(arguments: Sequence[str | Path], folder: Path, faster: Mapping[str, str]) -> tuple[int, str, str]:
    """Run it. Its streams are other kinds of files than those of the process that forks it."""
    with (folder / "errors").open("w+") as errors:
        done = subprocess.run(
            arguments, env=environ(folder, faster), stdout=subprocess.PIPE, stderr=errors, text=True, check=False
        )
        errors.seek(0)
        return done.returncode, done.stdout, errors.read()


@pytest.mark.parametrize("hosts", ["one,", "one,two"])
@pytest.mark.parametrize(("word", "code"), [("right", 0), ("wrong", 2)])
def test_a_faster_run_prints_and_ends_as_any_other(tmp_path: Path, hosts: str, word: str, code: int) -> None:
    arguments = command(tmp_path, word, hosts)
    without_shell = {**forking(), "ANSIBLE_PIPELINING": "true"}
    runs = [run(arguments, tmp_path, each) for each in ({}, sharing(), forking(), without_shell)]
    assert [(each[0], each[2]) for each in runs] == [(code, "")] * 4
    printed = [each[1] for each in runs]
    assert "it said wrong é" in printed[0] if code else "failed=0" in printed[0]
    assert "'nope' is undefined" in printed[0]
    assert f"it's {word} $HOME é in " in printed[0]
    # Of several hosts, Ansible prints the line of one before or after the items of the next, as it happens.
    ordered: Callable[[list[str]], list[str]] = sorted if "two" in hosts else list
    ordinary, *faster = (ordered(each.splitlines()) for each in printed)
    assert faster == [ordinary] * 3


@pytest.mark.parametrize(
    ("command", "variables"),
    [
        (f"/bin/sh -c {sys.executable}", {}),
        (f"/bin/sh -c {shlex.quote(f'A=1 B={shlex.quote(WORD)} {sys.executable}')}", {"A": "1", "B": WORD}),
        (f"/bin/sh -c {shlex.quote(f'{sys.executable} file')}", None),
        (f"/bin/sh -c {shlex.quote(f'{sys.executable} && sleep 0')}", None),
        (f"/bin/sh -c {shlex.quote(f'sudo {sys.executable}')}", None),
        ("/bin/sh -c /usr/bin/other-python", None),
        (f"/bin/bash -c {sys.executable}", None),
        (f"sudo /bin/sh -c {sys.executable}", None),
    ],
)
def test_only_a_module_for_this_python_is_handed_over(
    monkeypatch: pytest.MonkeyPatch, command: str, variables: dict[str, str] | None
) -> None:
    monkeypatch.syspath_prepend(Path(shared_code.__file__).parent)
    assert importlib.import_module("modules_without_shell").read_environment(command) == variables


def test_a_run_has_its_own_settings(tmp_path: Path) -> None:
    """Nothing of the run before, also where both are forked from the same process."""
    settings = "{{ lookup('config', 'DEFAULT_FORKS') }} {{ lookup('env', 'AWS_REGION') }}"
    folder = "{{ lookup('config', 'DEFAULT_LOCAL_TMP') }}"
    playbook = tmp_path / "playbook.yml"
    task = {"ansible.builtin.debug": {"msg": f"has {settings}, {folder}"}}
    playbook.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": [task]}]))
    found, folders = [], set()
    for forks, given in [("", {"AWS_REGION": "one"}), ("", {}), ("7", {}), ("8", {"ANSIBLE_FORKS": "9"}), ("8", {})]:
        config = tmp_path / "ansible.cfg"
        config.write_text(f"[defaults]\nforks = {forks}\n" if forks else "")
        _code, printed, _errors = run(
            ["ansible-playbook", "-i", "localhost,", playbook],
            tmp_path,
            {**forking(), "ANSIBLE_CONFIG": str(config), **given},
        )
        [(said, own)] = re.findall(r"has (.*), (.*)\"", printed)
        found.append(said.strip())
        folders.add(own)
    assert found == ["5 one", "5", "7", "9", "8"]
    assert len(folders) == len(found)
    assert {Path(each).parent for each in folders} == {tmp_path / ".ansible" / "tmp"}
    assert not any(Path(each).exists() for each in folders)


def test_runs_with_the_same_settings_are_forked_from_one_process(tmp_path: Path) -> None:
    """Whatever test they belong to, and whatever account they use."""
    playbook = tmp_path / "playbook.yml"
    task = {"ansible.builtin.debug": {"msg": "{{ lookup('file', '/proc/self/status') }}"}}
    playbook.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": [task]}]))
    arguments: list[str | Path] = ["ansible-playbook", "-i", "localhost,", playbook]
    given = [{name: text} for name in ("PYTEST_CURRENT_TEST", "AWS_PROFILE", "ANSIBLE_FORKS") for text in ("7", "8")]
    printed = [run(arguments, tmp_path, {**forking(), **each})[1] for each in given]
    parents = [re.findall(r"PPid:\\t(\d+)", each)[0] for each in printed]
    assert len(set(parents[:4])) == 1
    assert len({*parents[3:]}) == 3  # others have their own


FILTER = """
class FilterModule:
    def filters(self):
        return {"trim": lambda text: "trimmed here", "local": lambda text: "local here"}
"""


@pytest.mark.parametrize(("beside", "expected"), [(True, ["trimmed here", "local here"]), (False, ["a", "nope"])])
def test_a_run_finds_filters_wherever_they_are(tmp_path: Path, beside: bool, expected: list[str]) -> None:
    """Also those beside its playbook, and those of our collection, more than once and under another name."""
    templates = [
        *("{{ ' a ' | trim }}", "{{ '' | local }}" if beside else "{{ '' | nope }}", "{{ [1] | first }}"),
        *("{{ ' a ' | ansible.builtin.trim }}", "{{ '' | cwagent.iam.nope }}", "{{ 1 is even or 2 is odd }}"),
        "{{ [] | cwagent.iam.key_hosts is mapping }}",
    ]
    tasks = [{"ansible.builtin.debug": {"msg": each}, "ignore_errors": True} for each in templates * 2]
    playbook = tmp_path / "playbook.yml"
    playbook.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
    if beside:
        (tmp_path / "filter_plugins").mkdir()
        (tmp_path / "filter_plugins" / "ours.py").write_text(FILTER)
    arguments: list[str | Path] = ["ansible-playbook", "-i", "localhost,", playbook]
    ordinary, faster = (
        run(arguments, tmp_path, {"ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS), **each})[1] for each in ({}, forking())
    )
    assert faster == ordinary
    assert [ordinary.count(each) > 1 for each in expected] == [True, True]


@pytest.mark.parametrize(("program", "code"), [("true", 0), ("false", 2), ("kill", -signal.SIGKILL)])
def test_a_run_can_be_killed(tmp_path: Path, program: str, code: int) -> None:
    output, beginning = tmp_path / "output.txt", tmp_path / "beginning"
    os.mkfifo(beginning)
    commands = {"kill": ["cat", beginning]}  # which waits for somebody who writes
    task = {"ansible.builtin.command": {"argv": [str(each) for each in commands.get(program, [program])]}}
    playbook = tmp_path / "playbook.yml"
    playbook.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": [task]}]))
    command: list[str | Path] = ["ansible-playbook", "-i", "localhost,", "-c", "local", playbook]
    with output.open("w") as file:
        started = Run.start(
            "PLAYBOOK_SERVER", command, environ(tmp_path, forking()), tmp_path, output=file, errors=file
        )
    if program == "kill":
        with beginning.open("w"):  # it is open once the command reads it
            os.kill(started.pid, signal.SIGKILL)
    assert started.wait(SECONDS) == code
    assert ("PLAY RECAP" in output.read_text()) == (program != "kill")


def test_tasks_are_run_in_the_controller(tmp_path: Path) -> None:
    """The parent of a program that a template starts is the process that runs the task."""
    tasks = [{"ansible.builtin.debug": {"msg": "process {{ lookup('pipe', 'echo $PPID') }}"}}] * 2
    playbook = tmp_path / "playbook.yml"
    playbook.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
    arguments: list[str | Path] = ["ansible-playbook", "-i", "localhost,", "-c", "local", playbook]
    processes = [len(set(re.findall(r"process \d+", run(arguments, tmp_path, each)[1]))) for each in ({}, sharing())]
    assert processes == [2, 1]


@pytest.mark.skipif("AWS_CLI" not in os.environ, reason="make unit sets it up")
@pytest.mark.parametrize("words", ["--version", "sts get-caller-identity", "nonsense"])
def test_the_forked_aws_cli_prints_and_ends_as_any_other(tmp_path: Path, words: str) -> None:
    ordinary, forked = (
        run([cli, *words.split()], tmp_path, {"AWS_REGION": "eu-central-1"})
        for cli in (os.environ["AWS_CLI"], forking_aws_cli()["AWS_CLI"])
    )
    assert ordinary == forked
    assert ordinary[1] + ordinary[2]


def test_threads_that_ask_at_once_start_one_server() -> None:
    started: list[str] = []
    asking, starting = Barrier(2), Barrier(2)

    @once
    def start() -> dict[str, str]:
        with suppress(BrokenBarrierError):
            starting.wait(0.2)  # for the other thread, which does not come
        started.append("server")
        return {"SERVER": "1"}

    def ask() -> dict[str, str]:
        asking.wait()
        return start()

    with ThreadPoolExecutor(2) as pool:
        found = [each.result() for each in [pool.submit(ask), pool.submit(ask)]]
    assert found == [{"SERVER": "1"}] * 2
    assert started == ["server"]


def test_a_forked_run_ends_with_the_process_that_asked_for_it(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    program = tmp_path / "ansible-playbook"
    program.write_text(
        f"import os, signal; file = open({str(pipe)!r}, 'w'); print(os.getpid(), file=file, flush=True); signal.pause()"
    )
    asking = subprocess.Popen([sys.executable, program], env=environ(tmp_path, forking()))
    with pipe.open() as file:
        forked = int(file.readline())
        asking.kill()
        asking.wait()
        try:
            ended, _, _ = select.select([file], [], [], SECONDS)
            assert forked != asking.pid
            assert ended, "no process can write any more"
            assert file.read() == ""
        finally:
            with suppress(ProcessLookupError):
                os.kill(forked, signal.SIGKILL)


def test_the_servers_end_with_the_process_that_started_them() -> None:
    program = (
        "import os, warm; warm.forking(); print(open(f'/proc/{os.getpid()}/task/{os.getpid()}/children').read()); "
    )
    starter = subprocess.Popen(
        [sys.executable, "-uc", f"{program} import signal; signal.pause()"],
        env=program_environment({"PYTHONPATH": str(CHECKOUT / "tests")}),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert starter.stdout
    with starter, starter.stdout:
        servers = [os.pidfd_open(int(each)) for each in starter.stdout.readline().split()]
        starter.kill()
    for each in servers:
        ended, _, _ = select.select([each], [], [], SECONDS)
        os.close(each)
        assert ended
    assert len(servers) == 2
