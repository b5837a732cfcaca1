"""What makes runs of Ansible start faster changes nothing of what they do."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Barrier, BrokenBarrierError
from typing import IO, Any

import pytest
import yaml
from ansible.module_utils._internal._datatag import AnsibleTagHelper
from ansible.parsing.dataloader import DataLoader
from emulator import program_environment
from warm import forking, once, sharing
from warm.startup import shared_code

CHECKOUT = Path(__file__).parents[3]
YAML_FILES = sorted(each for folder in ("playbooks", "roles") for each in (CHECKOUT / folder).rglob("*.yml"))

SECONDS = 30
"""How long a process may take to end, on a machine with much to do."""

PLAYBOOK = """
- hosts: localhost
  gather_facts: false
  vars: {ansible_python_interpreter: "{{ ansible_playbook_python }}"}
  tasks:
    - ansible.builtin.command: echo "{{ word }} é"
      register: done
    - ansible.builtin.assert: {that: "done.stdout == 'right é'", fail_msg: "it said {{ done.stdout }}"}
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
    assert len([*tmp_path.iterdir()]) == len(YAML_FILES)
    assert parsed(trusted) == expected, "when it was shared"


def command(folder: Path, word: str) -> list[str | Path]:
    playbook = folder / "playbook.yml"
    playbook.write_text(PLAYBOOK)
    return ["ansible-playbook", "-i", "localhost,", "-c", "local", playbook, "-e", f"word={word}"]


def environ(folder: Path, faster: Mapping[str, str]) -> dict[str, str]:
    return program_environment({"HOME": str(folder), **faster})


def run(folder: Path, word: str, faster: Mapping[str, str], errors: IO[str]) -> tuple[int, str]:
    done = subprocess.run(
        command(folder, word),
        env=environ(folder, faster),
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize(("word", "code"), [("right", 0), ("wrong", 2)])
def test_a_forked_run_prints_and_ends_as_any_other(tmp_path: Path, word: str, code: int) -> None:
    """Its streams may be other kinds of files than those of the process that forks it."""
    found = []
    for faster in ({}, sharing(), forking()):
        with (tmp_path / "errors").open("w+") as errors:
            found.append(run(tmp_path, word, faster, errors))
            errors.seek(0)
            assert errors.read() == ""
    assert found[0][0] == code
    assert f"{word} é" in found[0][1] if code else "ok=2" in found[0][1]
    assert found[0] == found[1] == found[2]


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
