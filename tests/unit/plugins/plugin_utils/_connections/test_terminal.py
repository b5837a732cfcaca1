"""Lines for a person, while a task runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from ansible import constants
from ansible.utils.display import Display

from ansible_collections.cwagent.iam.plugins.plugin_utils._connections import terminal
from ansible_collections.cwagent.iam.plugins.plugin_utils._connections.terminal import say, show, write_last_words


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(Display, "display", lambda _self, text: lines.append(text))
    return lines


@pytest.mark.parametrize(
    ("callback", "is_for_people"),
    [("default", True), ("ansible.builtin.default", True), ("awx_display", True), ("ansible.posix.json", False)],
)
def test_only_people_read_lines(
    callback: str, is_for_people: bool, printed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "DEFAULT_STDOUT_CALLBACK", callback)
    say("web1", "store a configuration")
    show(["linux.json: 1 problem"])
    assert len(printed) == (2 if is_for_people else 0)
    assert all("web1: store a configuration" in each for each in printed[:1])


@pytest.mark.parametrize("shown", [lambda: say("web1", "store"), lambda: show(["store", "restore"])])
def test_the_event_data_of_ansible_runner_stays_out_of_the_output(
    shown: Callable[[], None], printed: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """ansible-runner 2.4.0 wraps the method like this, and ansible-core warns of output of a worker."""
    display = Display.display

    def with_event_data(self: Display, text: str) -> None:
        sys.stdout.write("\x1b[K")
        display(self, text)
        sys.stdout.flush()

    monkeypatch.setattr(Display, "display", with_event_data)
    monkeypatch.setattr(terminal.multiprocessing, "parent_process", object)
    shown()
    assert "store" in printed[0]
    assert capsys.readouterr().out == ""


def test_a_long_line_is_wrapped_and_no_word_is_cut(printed: list[str]) -> None:
    word = "x" * 120
    show([f"  1:2 $.agent: {'word ' * 30}{word}"])
    lines = printed[0].split("\n")
    assert lines[0].startswith("  1:2 $.agent: word")
    assert [line for line in lines if len(line) > 98] == [f"      {word}"]


def test_the_columns_of_a_table_stay_aligned(printed: list[str]) -> None:
    table = ["account  created  result", "shop           1  ok", "  continued"]
    show([*table, ""])
    assert printed == ["\n".join([*table, ""])], "no line of another task comes between them"
    show([])
    assert len(printed) == 1


def test_nothing_of_a_server_controls_the_terminal(printed: list[str]) -> None:
    say("web1", "store\x1b[2J\r\u202ewas")
    show(["  \x1b]0;title\x07problem\n"])
    assert printed[0].endswith(" web1: store[2J was")
    assert printed[1] == "  ]0;titleproblem"


def test_the_last_words_reach_a_reader_and_wait_for_none(monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    monkeypatch.setattr(terminal, "LAST_WORDS", write)
    write_last_words("web1", "It was given\nback.")
    assert os.read(read, 100).decode().partition(" ")[2] == "web1: It was given back.\n"
    monkeypatch.setattr(terminal, "READER_SECONDS", 0)
    os.set_blocking(write, False)
    with suppress(BlockingIOError):
        while True:
            os.write(write, b"x" * 4096)
    write_last_words("web1", "Nobody reads this.")
    os.close(read)
    write_last_words("web1", "Nobody can read this.")
    os.close(write)


def test_without_an_output_the_last_words_go_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_number: int) -> int:
        raise OSError

    monkeypatch.setattr(terminal.os, "dup", fail)
    file = terminal._duplicate_output()
    assert os.fstat(file).st_rdev == Path(os.devnull).stat().st_rdev
    os.close(file)
