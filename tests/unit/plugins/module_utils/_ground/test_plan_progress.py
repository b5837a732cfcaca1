"""A person reads how far a long call is, and not more often than every five seconds."""

from __future__ import annotations

import threading

import pytest
from clocks import Clock

from ansible_collections.cwagent.iam.plugins.module_utils._ground.plan import Progress, run_in_parallel, shown, tell


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_line_is_shown_every_five_seconds(clock: Clock) -> None:
    lines: list[str] = []
    with shown(Progress(lines.append, clock)):
        for clock.now in range(18):
            tell(f"{clock.now}")
    tell("later")
    assert lines == ["5", "10", "15"]


def test_another_thread_shows_nothing(clock: Clock) -> None:
    """Ansible's display belongs to the main thread."""
    lines: list[str] = []
    with shown(Progress(lines.append, clock)):
        clock.now = 9
        thread = threading.Thread(target=tell, args=["from a thread"])
        thread.start()
        thread.join()
    assert lines == []


def test_work_on_many_items_shows_how_many_are_done(clock: Clock) -> None:
    lines: list[str] = []

    def work(number: int) -> int:
        clock.now += 1
        return number

    with shown(Progress(lines.append, clock)):
        assert run_in_parallel(work, range(40)) == list(range(40))
    assert lines
    assert all(line.endswith(" of 40 done") for line in lines)


def test_inner_progress_is_shown_once(clock: Clock) -> None:
    outer: list[str] = []
    inner: list[str] = []
    with shown(Progress(outer.append, clock)):
        with shown(Progress(inner.append, clock)):
            clock.now = 6
            tell("inside")
        tell("outside")
    assert (outer, inner) == (["outside"], ["inside"])
