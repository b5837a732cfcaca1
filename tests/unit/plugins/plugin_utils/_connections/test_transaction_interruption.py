"""The effects of a signal on a task that holds something."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.cwagent.iam.plugins.plugin_utils._connections import transaction
from ansible_collections.cwagent.iam.plugins.plugin_utils._connections.transaction import (
    SIGNALS,
    Interrupted,
    Interruption,
)


@pytest.fixture(autouse=True)
def _ordinary_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The signals and the parent of a program at a terminal, whatever started the tests."""
    monkeypatch.setattr(transaction, "parent_process", lambda: None)
    earlier = {each: signal.signal(each, signal.SIG_DFL) for each in SIGNALS}
    yield
    for number, handler in earlier.items():
        signal.signal(number, handler)


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", SIGNALS[:3])
def test_the_first_signal_interrupts_and_all_later_ones_do_not(number: int) -> None:
    done = []
    interruption = Interruption()

    def work() -> None:
        try:
            send(number)
            done.append("after the signal")
        finally:
            for each in SIGNALS:
                send(each)
            done.append("released")

    with interruption.handled(), pytest.raises(Interrupted):
        work()
    assert done == ["released"]
    assert interruption.has_come


def test_steps_can_be_silenced_without_a_signal() -> None:
    interruption = Interruption()
    interruption.silence()
    assert interruption.has_come


@pytest.mark.parametrize("number", SIGNALS[:3])
def test_a_signal_waits_for_the_end_of_a_shield(number: int) -> None:
    done = []
    interruption = Interruption()

    def work() -> None:
        with interruption.shield():
            with interruption.shield():
                send(number)
                done.append("inner")
            done.append("outer")
        done.append("never")

    with interruption.handled(), pytest.raises(Interrupted):
        work()
    assert done == ["inner", "outer"]


@pytest.mark.parametrize("depth", [1, 2])
def test_a_signal_is_not_lost_where_the_body_of_a_shield_fails(depth: int) -> None:
    """Otherwise a call that fails is repeated until its time limit, and all later signals are ignored."""
    interruption = Interruption()

    def fail(depth: int) -> None:
        with interruption.shield():
            if depth > 1:
                fail(depth - 1)
            send(signal.SIGINT)
            raise ValueError

    with interruption.handled(), pytest.raises(Interrupted):
        fail(depth)


def test_another_thread_has_no_shield() -> None:
    """It does not end the main thread's shield either."""
    interruption = Interruption()

    done = []

    def work_elsewhere() -> None:
        with interruption.shield():
            pass

    def work() -> None:
        with interruption.shield():
            thread = threading.Thread(target=work_elsewhere)
            thread.start()
            thread.join()
            send(signal.SIGINT)
            done.append("shielded")

    with interruption.handled(), pytest.raises(Interrupted):
        work()
    assert done == ["shielded"]


class TimeLimit(BaseException):
    pass


@pytest.mark.parametrize("is_shielded", [False, True])
def test_a_time_limit_raises_the_error_of_ansible(is_shielded: bool) -> None:
    def raise_limit(_number: int, _frame: Any) -> None:
        raise TimeLimit

    earlier = signal.signal(signal.SIGALRM, raise_limit)
    interruption = Interruption()

    def work() -> None:
        with interruption.shield() if is_shielded else nullcontext():
            send(signal.SIGALRM)

    try:
        with interruption.handled(), pytest.raises(TimeLimit):
            work()
        assert signal.getsignal(signal.SIGALRM) is raise_limit
    finally:
        signal.signal(signal.SIGALRM, earlier)


def test_earlier_handlers_are_restored() -> None:
    before = [signal.getsignal(each) for each in SIGNALS]
    with Interruption().handled():
        assert [signal.getsignal(each) for each in SIGNALS] != before
    assert [signal.getsignal(each) for each in SIGNALS] == before


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT])
def test_a_signal_that_is_ignored_stays_ignored(number: int) -> None:
    """With nohup, and in the background of a script."""
    earlier = signal.signal(number, signal.SIG_IGN)
    try:
        with Interruption().handled():
            send(number)
    finally:
        signal.signal(number, earlier)


def test_a_parent_that_has_ended_before_interrupts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transaction, "parent_process", lambda: SimpleNamespace(pid=os.getppid() + 1))
    with pytest.raises(Interrupted), Interruption().handled():
        pass


@pytest.mark.parametrize(("platform", "number"), [("linux", 15), ("darwin", None)])
def test_on_linux_the_end_of_the_parent_is_a_signal_and_no_core_file_is_written(
    monkeypatch: pytest.MonkeyPatch, platform: str, number: int | None
) -> None:
    sent: list[int] = []

    class Library:
        @staticmethod
        def prctl(_option: int, value: int) -> None:
            sent.append(value)

    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(transaction.ctypes, "CDLL", lambda _name: Library)
    with Interruption().handled():
        pass
    assert sent == ([number, 0, 1, 0] if number else [])


PROGRAM = """
import os, signal, sys, time
from ansible_collections.cwagent.iam.plugins.plugin_utils._connections.transaction import Interrupted, Interruption
reader, writer = os.pipe()
if os.fork() == 0:
    try:
        with Interruption().handled():
            os.write(writer, b"x")
            while True:  # Python misses a signal that comes just before it begins one long wait
                time.sleep(0.01)
    except Interrupted:
        print("released", flush=True)
    os._exit(0)
os.read(reader, 1)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of the end of its parent")
def test_a_worker_whose_parent_is_killed_releases() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "released\n"), done.stderr
