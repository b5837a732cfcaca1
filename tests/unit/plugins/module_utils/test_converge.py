from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._aws import Deadline
from ansible_collections.cwagent.iam.plugins.module_utils._converge import converge
from ansible_collections.cwagent.iam.plugins.module_utils._errors import CwagentError
from ansible_collections.cwagent.iam.plugins.module_utils._steps import Plan, Step


class Clock:
    def __init__(self) -> None:
        self.now, self.slept = 100.0, []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class Number:
    """A number that is to be another one; reads show a change only after some more of them."""

    def __init__(self, now: int, want: int, lag: int = 0, fails: bool = False) -> None:
        self.shown, self.want, self.lag, self.fails = now, want, lag, fails
        self.written: list[int] = []
        self.reads = 0

    def read(self) -> int:
        self.reads += 1
        if self.written:
            self.lag -= 1
            if self.lag < 0:
                self.shown = self.written[-1]
        return self.shown

    def plan(self, now: int) -> Plan:
        return Plan({"number": [Step("x:Set", {"value": self.want}, f"set {self.want}")] if now != self.want else []})

    def after(self, now: int) -> int:
        return self.want

    def render(self, state: int) -> dict[str, Any]:
        return {"number": state}

    def report(self, now: int, then: int) -> dict[str, Any]:
        return {"old": now, "new": then}

    def warnings(self, now: int) -> list[str]:
        return [f"was {now}"]

    def execute(self, step: Step) -> None:
        if self.fails:
            raise CwagentError("Refused.")
        self.written.append(step.arguments["value"])


def waiting(clock: Clock, seconds: float = 10) -> Deadline:
    return Deadline(seconds, clock, clock.sleep)


RESULT = {
    "changed": True,
    "steps": ["set 2"],
    "diff": {"before": {"number": 1}, "after": {"number": 2}},
    "warnings": ["was 1"],
    "old": 1,
    "new": 2,
}


@pytest.mark.parametrize("check_mode", [False, True])
@pytest.mark.parametrize("wait", [False, True])
def test_check_mode_has_the_same_result_and_writes_nothing(check_mode, wait):
    number = Number(1, 2)
    assert converge(number, check_mode, waiting(Clock()) if wait else None) == RESULT
    assert number.written == ([] if check_mode else [2])


@pytest.mark.parametrize("check_mode", [False, True])
def test_nothing_to_do(check_mode):
    number, clock = Number(2, 2), Clock()
    result = converge(number, check_mode, waiting(clock))
    assert result == {
        **RESULT,
        "changed": False,
        "steps": [],
        "diff": {"before": {"number": 2}, "after": {"number": 2}},
        "warnings": ["was 2"],
        "old": 2,
    }
    assert (number.written, number.reads, clock.slept) == ([], 1, [])


def test_waits_until_the_change_is_shown():
    number, clock = Number(1, 2, lag=3), Clock()
    assert converge(number, False, waiting(clock)) == RESULT
    assert clock.slept == [2, 2, 2]


def test_does_not_wait_unless_told_to():
    number = Number(1, 2, lag=3)
    assert converge(number, False, None) == RESULT
    assert number.reads == 1


def test_does_not_wait_in_check_mode():
    number, clock = Number(1, 2, lag=3), Clock()
    converge(number, True, waiting(clock))
    assert (number.reads, clock.slept) == (1, [])


def test_says_what_is_not_shown_when_the_time_is_up():
    number, clock = Number(1, 2, lag=99), Clock()
    with pytest.raises(CwagentError, match=r"after 5 seconds .*still to do: set 2\. .*wait_timeout") as failure:
        converge(number, False, waiting(clock, 5))
    assert clock.slept == [2, 2, 1]
    assert number.written == [2]
    assert "Everything was done" in str(failure.value)


def test_a_failure_tells_the_plan():
    with pytest.raises(CwagentError, match=r"^Refused\.$") as failure:
        converge(Number(1, 2, fails=True), False, None)
    assert failure.value.details["steps"] == ["set 2"]
    assert failure.value.details["not_done"] == ["set 2"]


def test_what_happened_meanwhile_is_in_the_result():
    number = Number(1, 2)
    number.report = lambda now, then: {"new": then, "written": number.written}
    assert converge(number, False, waiting(Clock()))["written"] == [2]
