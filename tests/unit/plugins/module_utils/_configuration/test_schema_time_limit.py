"""Work in another process with a time limit."""

from __future__ import annotations

import os
import time

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._configuration.schema import TooSlow, work_limited

LONG_TEXT = "x" * 1_000_000


@pytest.mark.parametrize("result", [None, 1, LONG_TEXT])
def test_the_result_is_returned(result: object) -> None:
    assert work_limited(lambda: result, 60) == result


def test_an_error_is_raised_here() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        work_limited(lambda: int("x"), 60)


@pytest.mark.parametrize("work", [lambda: time.sleep(60), lambda: os._exit(1)], ids=["slow", "crashed"])
def test_work_that_does_not_end_is_too_slow_and_its_process_ends(work, monkeypatch) -> None:
    started = []

    def fork(make=os.fork) -> int:
        started.append(make())
        return started[-1]

    monkeypatch.setattr(os, "fork", fork)
    with pytest.raises(TooSlow):
        work_limited(work, 0.2)
    with pytest.raises(ChildProcessError):
        os.waitpid(started[0], os.WNOHANG)
