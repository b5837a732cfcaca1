from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._ground.converge import Resource, converge, end
from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import (
    AwsApiError,
    ConsistencyTimeout,
    ContentionError,
    CwagentError,
    InvalidInput,
    StaleStateError,
)
from ansible_collections.cwagent.iam.plugins.module_utils._ground.plan import Kind, Plan, Step

NO_AWS: Any = None


class NumberResource(Resource[int]):
    """A number with a desired value.

    :param lag: how many reads after a write still show the old value.
    :param fails: whether the step fails.
    """

    def __init__(self, current: int, desired: int, lag: int = 0, fails: bool = False) -> None:
        super().__init__(NO_AWS)
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

    def plan(self, current: int) -> Plan[int]:
        step = Step(Kind.UPDATE, "x:Set", {"value": self.desired}, f"set {self.desired}")
        return Plan(current, self.desired, {"number": [step] if current != self.desired else []})

    def to_diff(self, state: int) -> dict[str, Any]:
        return {"number": state}

    def to_result(self, plan: Plan[int], final: int) -> dict[str, Any]:
        return {"old": plan.current, "new": final}

    def warnings(self, plan: Plan[int]) -> list[str]:
        return [f"was {plan.current}"]

    def check_mode_warnings(self, plan: Plan[int]) -> list[str]:
        return [f"may not become {plan.planned}"]

    def execute(self, step: Step) -> None:
        if self.fails:
            raise CwagentError("Could not set it.")
        self.written.append(step.arguments["value"])


COUNTS = {"create": 0, "update": 1, "delete": 0}
RESULT = {
    "changed": True,
    "steps": ["set 2"],
    "counts": COUNTS,
    "diff": {"before": {"number": 1}, "after": {"number": 2}},
    "warnings": ["was 1"],
    "old": 1,
    "new": 2,
}


def expected_result(check_mode: bool) -> dict[str, Any]:
    """The result of changing 1 to 2; check mode adds its own warnings."""
    return {**RESULT, "warnings": ["was 1", "may not become 2"]} if check_mode else RESULT


@pytest.mark.parametrize("check_mode", [False, True])
@pytest.mark.parametrize("wait", [None, 10])
def test_check_mode_has_the_same_result_except_for_its_warnings_and_writes_nothing(check_mode, wait, clock):
    """It does not wait for a change that AWS shows late. Preconditions are checked once with the current state."""
    number, checked = NumberResource(1, 2, lag=3), []
    number.check_preconditions = checked.append
    assert converge(number, check_mode, wait) == expected_result(check_mode)
    assert number.written == ([] if check_mode else [2])
    assert checked == [1]
    is_waiting = wait and not check_mode
    assert (number.reads, clock.slept) == ((5, [2, 2, 2]) if is_waiting else (1, []))


@pytest.mark.parametrize("check_mode", [False, True])
@pytest.mark.parametrize("error", [ContentionError, InvalidInput])
@pytest.mark.parametrize("method", ["check_preconditions", "plan"])
@pytest.mark.usefixtures("clock")
def test_nothing_is_written_after_a_failed_check(check_mode, error, method):
    def fail(current: int) -> None:
        raise error("No.")

    number = NumberResource(1, 2)
    setattr(number, method, fail)
    with pytest.raises(error) as failure:
        converge(number, check_mode, 10)
    assert number.written == []
    assert failure.value.details == {}, "a run that failed before it had a plan reports no steps"


@pytest.mark.parametrize("check_mode", [False, True])
def test_no_difference_means_no_steps_and_no_waiting(clock, check_mode):
    number = NumberResource(2, 2)
    result = converge(number, check_mode, 10)
    assert result == {
        **RESULT,
        "changed": False,
        "steps": [],
        "counts": {"create": 0, "update": 0, "delete": 0},
        "diff": {"before": {"number": 2}, "after": {"number": 2}},
        "warnings": ["was 2"],
        "old": 2,
    }
    assert (number.written, number.reads, clock.slept) == ([], 1, [])


def test_the_wait_timeout_begins_after_the_last_step(clock):
    number = NumberResource(1, 2, lag=3)
    execute = number.execute

    def execute_slowly(step: Step) -> None:
        execute(step)
        clock.now += 99

    number.execute = execute_slowly
    assert converge(number, False, 10) == RESULT
    assert clock.slept == [2, 2, 2]


def fail_reads(number: NumberResource, code: str, count: int) -> NumberResource:
    """The number, whose first reads after the write fail. :param count: how many."""
    read = number.read

    def fail_or_read() -> int:
        shown = read()
        if 0 < number.reads - 1 <= count:
            raise AwsApiError("Could not read it.", code)
        return shown

    number.read = fail_or_read
    return number


@pytest.mark.parametrize(
    ("code", "failures", "decides", "waits"),
    [
        ("NoSuchEntity", 2, False, 2),
        ("AccessDenied", 1, False, None),
        ("Strange", 1, True, 1),
        ("NoSuchEntity", 1, True, None),
    ],
    ids=["not found", "denied", "the resource decides", "the resource decides otherwise"],
)
def test_only_a_propagation_error_means_that_the_change_is_not_visible_yet(clock, code, failures, decides, waits):
    number = fail_reads(NumberResource(1, 2), code, failures)
    if decides:
        number.is_propagation_error = lambda error: error.code == "Strange"
    if waits:
        assert converge(number, False, 10) == RESULT
    else:
        with pytest.raises(AwsApiError, match="Could not read it") as failure:
            converge(number, False, 10)
        assert failure.value.details["done"] == ["set 2"]
        assert failure.value.details["changed"] is True
    assert clock.slept == [2] * (waits or 0)


@pytest.mark.usefixtures("clock")
def test_a_propagation_error_until_the_timeout_is_a_consistency_timeout():
    with pytest.raises(ConsistencyTimeout, match=r"within 5 seconds\. Not visible yet: Could not read it\."):
        converge(fail_reads(NumberResource(1, 2), "NoSuchEntity", 99), False, 5)


def test_the_resource_decides_which_steps_remain(clock):
    number = NumberResource(1, 2)
    remaining = [["the number"], []]
    number.remaining = lambda plan, state: remaining.pop(0)
    assert converge(number, False, 10) == RESULT
    assert clock.slept == [2]


class BaseResource(Resource[int]):
    """A resource that overrides only the methods that it must."""

    read = NumberResource.read
    plan = NumberResource.plan
    to_diff = NumberResource.to_diff
    to_result = NumberResource.to_result


def test_a_resource_has_no_warnings_and_takes_steps_as_calls_by_default():
    taken: list[Step] = []

    class RecordingAws:
        execute = staticmethod(taken.append)

    resource, number = BaseResource(cast("Any", RecordingAws())), NumberResource(1, 2)
    plan = number.plan(1)
    resource.check_preconditions(1)
    assert resource.warnings(plan) == resource.check_mode_warnings(plan) == []
    resource.execute(plan.all_steps[0])
    assert taken == plan.all_steps
    assert [number.remaining(plan, state) for state in (1, 2)] == [["set 2"], []]
    errors = [AwsApiError("No.", code) for code in ("NoSuchEntity", "AccessDenied")]
    assert [resource.is_propagation_error(error) for error in errors] == [True, False]


def test_a_resource_is_abstract():
    with pytest.raises(TypeError, match="abstract"):
        cast("Any", Resource)(NO_AWS)


def test_a_consistency_timeout_lists_the_invisible_steps(clock):
    number = NumberResource(1, 2, lag=99)
    with pytest.raises(ConsistencyTimeout) as failure:
        converge(number, False, 5)
    assert clock.slept == [2, 2, 1]
    assert number.written == [2]
    assert str(failure.value) == (
        "All changes were applied, but AWS did not show them within 5 seconds. Not visible yet: set 2. Run again, or "
        "increase wait_timeout."
    )
    assert failure.value.details == {
        "changed": True,
        "done": ["set 2"],
        "steps": ["set 2"],
        "counts": COUNTS,
        "warnings": ["was 1"],
    }


def test_a_failed_step_reports_the_plan_and_the_warnings():
    with pytest.raises(CwagentError, match=r"^Could not set it\.$") as failure:
        converge(NumberResource(1, 2, fails=True), False, None)
    assert failure.value.details == {
        "changed": False,
        "done": [],
        "not_done": ["set 2"],
        "failures": {"number": "Could not set it."},
        "steps": ["set 2"],
        "counts": {"create": 0, "update": 0, "delete": 0},
        "warnings": ["was 1"],
    }


@pytest.mark.usefixtures("clock")
def test_the_result_is_rendered_after_the_steps():
    number = NumberResource(1, 2)
    number.to_result = lambda plan, final: {"new": final, "written": number.written}
    assert converge(number, False, 10)["written"] == [2]


@pytest.mark.parametrize("done", [0, 1, 2])
def test_after_a_failure_the_counts_include_only_done_steps(done):
    number, executed = NumberResource(1, 2), []
    [step] = number.plan(1).all_steps
    number.plan = lambda current: Plan(current, 2, {"number": [step] * 3})

    def execute(step: Step) -> None:
        if len(executed) == done:
            raise CwagentError("Could not set it.")
        executed.append(step)

    number.execute = execute
    with pytest.raises(CwagentError) as failure:
        converge(number, False, None)
    assert failure.value.details["done"] == ["set 2"] * done
    assert failure.value.details["counts"] == {"create": 0, "update": done, "delete": 0}


class ContendedResource(NumberResource):
    """A number whose first writes meet another state than the reads before.

    :param others: the numbers that others write, one before each of these writes.
    """

    def __init__(self, current: int, desired: int, others: list[int]) -> None:
        super().__init__(current, desired)
        self.others = others

    def plan(self, current: int) -> Plan[int]:
        plan = super().plan(current)
        steps = [replace(step, summary=f"{step.summary} instead of {current}") for step in plan.all_steps]
        return replace(plan, steps={"number": [replace(each, stale_when=frozenset({"Stale"})) for each in steps]})

    def execute(self, step: Step) -> None:
        if self.others:
            self.shown = self.others.pop(0)
            raise AwsApiError("It was changed.", "Stale")
        super().execute(step)


@pytest.mark.parametrize(
    ("others", "steps"),
    [
        ([], ["set 2 instead of 1"]),
        ([5], ["set 2 instead of 5"]),
        ([5, 6], ["set 2 instead of 6"]),
        # The call took effect although its answer was lost, or another run did the same.
        ([2], []),
    ],
)
def test_a_stale_state_is_read_and_planned_again(clock, others, steps):
    number = ContendedResource(1, 2, list(others))
    result = converge(number, False, 10)
    assert result["steps"] == steps
    assert result["changed"] is bool(steps)
    assert result["counts"] == {"create": 0, "update": len(steps), "delete": 0}
    assert result["diff"] == {"before": {"number": 1}, "after": {"number": 2}}
    assert (result["old"], result["new"]) == (1, 2)
    assert clock.slept == [2] * len(others)


@pytest.mark.parametrize(("wait", "reads"), [(None, 1), (3, 3)])
@pytest.mark.usefixtures("clock")
def test_a_state_that_changes_all_the_time_is_an_error_in_the_end(wait, reads):
    number = ContendedResource(1, 2, list(range(3, 99)))
    with pytest.raises(StaleStateError, match=r"^It was changed\.$") as failure:
        converge(number, False, wait)
    assert number.reads == reads
    assert failure.value.details["done"] == []
    assert failure.value.details["changed"] is False


@pytest.mark.usefixtures("clock")
def test_only_failed_items_are_planned_again():
    """The changes of another item may not be visible yet. For example, a second access key would be created."""
    number = ContendedResource(1, 2, [5])
    [other] = NumberResource(1, 2).plan(1).all_steps
    plan, executed = number.plan, []
    number.plan = lambda current: replace(plan(current), steps={"other": [other], **plan(current).steps})
    number.remaining = lambda *_: []
    execute = number.execute
    number.execute = lambda step: execute(step) if step.stale_when else executed.append(step)
    assert converge(number, False, 10)["steps"] == ["set 2", "set 2 instead of 5"]
    assert executed == [other]


def test_an_error_can_report_that_nothing_was_started():
    number = NumberResource(1, 2)

    def abort(step: Step) -> None:
        raise ContentionError("Another run.", steps=[])

    number.execute = abort
    with pytest.raises(CwagentError) as failure:
        converge(number, False, None)
    assert failure.value.details["steps"] == []
    assert set(failure.value.details["counts"].values()) == {0}


class Module:
    """Records how it ends."""

    ended: Any = None

    def __init__(self, diff_mode: bool = False) -> None:
        self._diff = diff_mode

    def exit_json(self, **result: Any) -> None:
        self.ended = ("exit", result)

    def fail_json(self, **result: Any) -> None:
        self.ended = ("fail", result)


@pytest.mark.parametrize(
    ("result", "warnings", "ended"),
    [
        ({"changed": True, "warnings": ["Look."]}, ["Look."], ("exit", {"changed": True})),
        ({"changed": False}, [], ("exit", {"changed": False})),
        ({"failed": True, "msg": "No.", "warnings": ["Look."]}, ["Look."], ("fail", {"msg": "No."})),
    ],
)
def test_a_module_ends_with_its_result_and_shows_its_warnings(result, warnings, ended, monkeypatch):
    module, shown = Module(), []
    monkeypatch.setattr(f"{converge.__module__}.warn", shown.append)
    end(module, result)
    assert (module.ended, shown) == (ended, warnings)


@pytest.mark.parametrize("failed", [False, True])
@pytest.mark.parametrize("diff_mode", [False, True])
def test_only_diff_mode_has_a_diff_in_the_result(diff_mode: bool, failed: bool) -> None:
    module, diff = Module(diff_mode), {"before": 1, "after": 2}
    end(module, {"msg": "x", "failed": failed, "diff": diff})
    assert module.ended[1] == {"msg": "x", **({"diff": diff} if diff_mode else {})}
