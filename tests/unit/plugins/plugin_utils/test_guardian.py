"""A guardian gives back what its process held, if that process ends too early."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

# The main process starts a worker, which holds something.
PROGRAM = """
import os, signal, sys, time
from ansible_collections.cwagent.iam.plugins.plugin_utils import _terminal
from ansible_collections.cwagent.iam.plugins.plugin_utils._interruption import Interruption

how = sys.argv[1]
signal.signal(signal.SIGINT, signal.SIG_IGN if how == "ignoring" else signal.SIG_DFL)
worker = os.fork()
if worker == 0:
    guardian = Interruption("web1").guardian
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


def run(how: str) -> tuple[int, str]:
    """The status and the output of the program.

    The output is a file, because the guardian has it open, too. The end of a pipe would come only after the guardian,
    which waits until nothing of the main process is left.
    """
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, how],
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
def test_a_process_that_ended_too_early_ends_the_run(how: str, code: int) -> None:
    found, output = run(how)
    assert GIVEN_BACK in output
    assert found == code


def test_the_run_goes_on_if_the_process_has_given_back() -> None:
    assert run("ends") == (0, "the run goes on\n")


def test_a_guardian_that_is_left_gives_back_and_the_run_goes_on() -> None:
    code, output = run("leaves")
    assert code == 0
    assert [line.partition(" ")[2] for line in output.splitlines()] == [GIVEN_BACK, "run goes on"]


def test_nothing_of_the_run_is_open_in_the_guardian(tmp_path: Path) -> None:
    program = f"""
import os
from ansible_collections.cwagent.iam.plugins.plugin_utils._interruption import Interruption
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
