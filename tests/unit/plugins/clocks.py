"""The clock of tests that wait for no real time."""

from __future__ import annotations

from ansible_collections.cwagent.iam.plugins.module_utils._ground.wait import Deadline


class Clock:
    """A time that passes only while something sleeps, or when a test sets it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def deadline(self, seconds: float) -> Deadline:
        return Deadline(seconds, self, self.sleep)
