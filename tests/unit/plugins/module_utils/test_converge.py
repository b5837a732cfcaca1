from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils import _converge
from ansible_collections.cwagent.iam.plugins.module_utils._aws import Deadline
from ansible_collections.cwagent.iam.plugins.module_utils._converge import Resource, converge
from ansible_collections.cwagent.iam.plugins.module_utils._errors import AwsApiError, CwagentError, InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._plan import Plan, Step


class Clock:
    def __init__(self) -> None:
        self.now, self.slept = 100.0, []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class Number(Resource[int]):
    """A number that is to be another one; reads show a change only after some more of them."""

    def __init__(self, current: int, desired: int, lag: int = 0, fails: bool = False) -> None:
        super().__init__(None)
        self.shown, self.desired, self.lag, self.fails = current, desired, lag, fails
        self.written: list[int] = []
        self.reads = 0

    def read(self) -> int:
        self.reads += 1
        if self.written:
            self.lag -= 1
            if self.lag < 0:
                self.shown = self.written[-1]
        return self.shown

    def plan(self, current: int) -> Plan:
        return Plan(
            {
                "number": [Step("x:Set", {"value": self.desired}, f"set {self.desired}")]
                if current != self.desired
                else []
            }
        )

    def after(self, current: int) -> int:
        return self.desired

    def render(self, state: int) -> dict[str, Any]:
        return {"number": state}

    def report(self, current: int, planned: int) -> dict[str, Any]:
        return {"old": current, "new": planned}

    def warnings(self, current: int) -> list[str]:
        return [f"was {current}"]

    def check_mode_warnings(self, current: int) -> list[str]:
        return [f"{current} may stay"]

    def execute(self, step: Step) -> None:
        if self.fails:
            raise CwagentError("Refused.")
        self.written.append(step.arguments["value"])


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(_converge, "Deadline", lambda seconds: Deadline(seconds, clock, clock.sleep))
    return clock


RESULT = {
    "changed": True,
    "steps": ["set 2"],
    "diff": {"before": {"number": 1}, "after": {"number": 2}},
    "warnings": ["was 1"],
    "old": 1,
    "new": 2,
}


def as_told(check_mode: bool) -> dict[str, Any]:
    """The result; check mode also says what it doubts, where there is something to do."""
    return {**RESULT, "warnings": ["was 1", "1 may stay"]} if check_mode else RESULT


@pytest.mark.parametrize("check_mode", [False, True])
@pytest.mark.parametrize("wait", [None, 10])
@pytest.mark.usefixtures("clock")
def test_check_mode_has_the_same_result_but_for_doubts_and_writes_nothing(check_mode, wait):
    number = Number(1, 2)
    assert converge(number, check_mode, wait) == as_told(check_mode)
    assert number.written == ([] if check_mode else [2])


@pytest.mark.parametrize("check_mode", [False, True])
@pytest.mark.usefixtures("clock")
def test_what_is_refused_is_looked_for_once_and_before_anything_is_done(check_mode):
    number, seen = Number(1, 2), []
    number.refuse = seen.append
    assert converge(number, check_mode, 10) == as_told(check_mode)
    assert seen == [1]

    def refuse(_now: int) -> None:
        raise InvalidInput("No.")

    number = Number(1, 2)
    number.refuse = refuse
    with pytest.raises(InvalidInput):
        converge(number, check_mode, 10)
    assert number.written == []


@pytest.mark.parametrize("check_mode", [False, True])
def test_nothing_to_do(clock, check_mode):
    number = Number(2, 2)
    result = converge(number, check_mode, 10)
    assert result == {
        **RESULT,
        "changed": False,
        "steps": [],
        "diff": {"before": {"number": 2}, "after": {"number": 2}},
        "warnings": ["was 2"],
        "old": 2,
    }
    assert (number.written, number.reads, clock.slept) == ([], 1, [])


def test_waits_until_the_change_is_shown(clock):
    assert converge(Number(1, 2, lag=3), False, 10) == RESULT
    assert clock.slept == [2, 2, 2]


def test_the_time_to_wait_begins_when_all_is_done(clock):
    number = Number(1, 2, lag=3)
    execute = number.execute

    def slowly(step: Step) -> None:
        execute(step)
        clock.now += 99

    number.execute = slowly
    assert converge(number, False, 10) == RESULT
    assert clock.slept == [2, 2, 2]


def refusing(number: Number, code: str, reads: int) -> Number:
    """The number, whose first so many reads after it was written are refused."""
    read = number.read

    def refused() -> int:
        shown = read()
        if 0 < number.reads - 1 <= reads:
            raise AwsApiError("Could not read it.", code)
        return shown

    number.read = refused
    return number


def test_a_thing_that_not_all_hosts_know_is_not_shown_yet(clock):
    assert converge(refusing(Number(1, 2), "NoSuchEntity", 2), False, 10) == RESULT
    assert clock.slept == [2, 2]
    with pytest.raises(CwagentError, match=r"after 5 seconds .*still to do: Could not read it\."):
        converge(refusing(Number(1, 2), "NoSuchEntity", 99), False, 5)


def test_other_refusals_are_no_reason_to_wait(clock):
    with pytest.raises(AwsApiError, match="Could not read it"):
        converge(refusing(Number(1, 2), "AccessDenied", 1), False, 10)
    assert clock.slept == []


def test_what_a_resource_does_unless_it_says_otherwise():
    taken: list[Step] = []

    class Gateway:
        execute = staticmethod(taken.append)

    number, step = Number(1, 2), Step("x:Set", {}, "set")
    Resource.__init__(number, Gateway())
    Resource.execute(number, step)
    assert taken == [step]
    assert Resource.warnings(number, 1) == []
    with pytest.raises(TypeError, match="abstract"):
        Resource(Gateway())


def test_does_not_wait_unless_told_to():
    number = Number(1, 2, lag=3)
    assert converge(number, False, None) == RESULT
    assert number.reads == 1


def test_does_not_wait_in_check_mode(clock):
    number = Number(1, 2, lag=3)
    converge(number, True, 10)
    assert (number.reads, clock.slept) == (1, [])


def test_says_what_is_not_shown_when_the_time_is_up(clock):
    number = Number(1, 2, lag=99)
    with pytest.raises(CwagentError, match=r"after 5 seconds .*still to do: set 2\. .*wait_timeout") as failure:
        converge(number, False, 5)
    assert clock.slept == [2, 2, 1]
    assert number.written == [2]
    assert "Everything was done" in str(failure.value)
    told = {"changed": True, "done": ["set 2"], "steps": ["set 2"], "warnings": ["was 1"]}
    assert failure.value.details == told


def test_a_failure_tells_the_plan_and_what_a_success_would_warn_of():
    with pytest.raises(CwagentError, match=r"^Refused\.$") as failure:
        converge(Number(1, 2, fails=True), False, None)
    told = {key: failure.value.details[key] for key in ("changed", "done", "not_done", "steps", "warnings")}
    assert told == {"changed": False, "done": [], "not_done": ["set 2"], "steps": ["set 2"], "warnings": ["was 1"]}


def test_a_failure_before_anything_was_begun_tells_no_steps():
    number = Number(1, 2)
    number.refuse = lambda _now: (_ for _ in ()).throw(InvalidInput("No."))
    with pytest.raises(InvalidInput) as failure:
        converge(number, False, None)
    assert failure.value.details == {}


@pytest.mark.usefixtures("clock")
def test_what_happened_meanwhile_is_in_the_result():
    number = Number(1, 2)
    number.report = lambda current, planned: {"new": planned, "written": number.written}
    assert converge(number, False, 10)["written"] == [2]
