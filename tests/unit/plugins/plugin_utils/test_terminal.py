"""Lines for a person, while a task runs."""

from __future__ import annotations

import pytest
from ansible import constants
from ansible.utils.display import Display

from ansible_collections.cwagent.iam.plugins.plugin_utils._terminal import say, show


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


def test_a_long_line_is_wrapped_and_no_word_is_cut(printed: list[str]) -> None:
    word = "x" * 120
    show([f"  1:2 $.agent: {'word ' * 30}{word}"])
    lines = printed[0].split("\n")
    assert lines[0].startswith("  1:2 $.agent: word")
    assert [line for line in lines if len(line) > 98] == [f"      {word}"]
