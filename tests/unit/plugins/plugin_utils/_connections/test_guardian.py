"""A guardian gives back what its process held, if that process ends too early."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from ansible_collections.cwagent.iam.plugins.plugin_utils._connections import guardian

# The main process starts a worker, which holds something.
PROGRAM = """
import os, pathlib, signal, sys, time
from ansible_collections.cwagent.iam.plugins.plugin_utils._connections import guardian
from ansible_collections.cwagent.iam.plugins.plugin_utils._connections.transaction import Interruption

how, known_by = sys.argv[1:]
if known_by != "file":
    del os.pidfd_open
if known_by == "ps":
    guardian.Path = lambda _path: pathlib.Path("/none")
signal.signal(signal.SIGINT, signal.SIG_IGN if how == "ignoring" else signal.SIG_DFL)
worker = os.fork()
if worker == 0:
    guardian = Interruption("web1").guardian
    if how == "failing":
        guardian.watch(lambda: 1 / 0)
    else:
        guardian.watch(lambda: f"It was given back by {os.getsid(0) == os.getpid()}.")
    if how == "ends":
        guardian.end()
    elif how == "leaves":
        guardian.leave()
    else:
        os.kill(os.getpid(), signal.SIGSTOP if how == "stopped" else signal.SIGKILL)
    os._exit(0)
if how == "stopped":
    os.waitpid(worker, os.WUNTRACED)
    os.kill(worker, signal.SIGKILL)
os.waitpid(worker, 0)
if how in ("ends", "leaves"):
    print("the run goes on", flush=True)
else:
    while True:  # as a run that waits for a result
        signal.pause()
"""


def run(how: str, known_by: str = "file") -> tuple[int, str]:
    """The status and the output of the program.

    The output is a file, because the guardian has it open, too. The end of a pipe would come only after the guardian,
    which waits until nothing of the main process is left.
    """
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, how, known_by],
            stdout=output,
            stderr=errors,
            timeout=60,
            check=False,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        for file in (output, errors):
            file.seek(0)
        assert errors.read() == ""
        return done.returncode, output.read()


GIVEN_BACK = "web1: The process of this task ended too early. It was given back by True."


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ("killed", -signal.SIGINT),
        ("ignoring", -signal.SIGTERM),
        ("stopped", -signal.SIGINT),
    ],
)
@pytest.mark.parametrize("known_by", ["file", "start", "ps"])
def test_a_process_that_ended_too_early_ends_the_run(how: str, code: int, known_by: str) -> None:
    found, output = run(how, known_by)
    assert GIVEN_BACK in output
    assert found == code


def test_a_guardian_that_cannot_give_back_says_so_and_ends_the_run() -> None:
    code, output = run("failing")
    assert code == -signal.SIGINT
    assert "Whatever the task held may not have been given back (ZeroDivisionError('division by zero')). Run" in output


@pytest.mark.parametrize("known_by", ["file", "start"])
def test_a_process_that_has_the_number_of_the_main_process_gets_no_signal(
    known_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*given: int) -> None:
        raise AssertionError(given)

    with subprocess.Popen(["sleep", "60"]) as main:
        monkeypatch.setattr(os, "getppid", lambda: main.pid)
        if known_by == "start":
            monkeypatch.delattr(os, "pidfd_open")
        watched = guardian.MainProcess()
        assert watched.is_alive()
        main.kill()
    # The number belongs to this process now, as far as the system says.
    monkeypatch.setattr(os, "kill", refuse)
    start_of = guardian._start_of
    monkeypatch.setattr(guardian, "_start_of", lambda _pid: start_of(os.getpid()))
    watched.end()
    assert not watched.is_alive()


def test_a_worker_whose_main_process_has_ended_ends_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    class Ended:
        pid = os.getppid() + 1

    monkeypatch.setattr(guardian, "parent_process", Ended)
    watched = guardian.MainProcess()
    assert (watched.is_alive(), watched.files) == (False, [])
    monkeypatch.setattr(os, "kill", lambda *_: pytest.fail("a signal"))
    watched.end()


def test_the_run_goes_on_if_the_process_has_given_back() -> None:
    assert run("ends") == (0, "the run goes on\n")


def test_a_guardian_that_is_left_gives_back_and_the_run_goes_on() -> None:
    code, output = run("leaves")
    assert code == 0
    assert [line.partition(" ")[2] for line in output.splitlines()] == [GIVEN_BACK, "run goes on"]


def test_nothing_of_the_run_is_open_in_the_guardian(tmp_path: Path) -> None:
    program = f"""
import os
from ansible_collections.cwagent.iam.plugins.plugin_utils._connections.transaction import Interruption
file = open({str(tmp_path / "file")!r}, "w")
guardian = Interruption("web1").guardian
def give_back():
    try:
        os.fstat(file.fileno())
    except OSError:
        return "Closed."
    return "Open."
guardian.watch(give_back)
guardian.leave()
"""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environ)
    assert done.stdout.endswith("Closed.\n")
