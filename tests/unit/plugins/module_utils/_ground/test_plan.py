from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import (
    AwsApiError,
    ContentionError,
    CwagentError,
    PartialFailure,
    StaleStateError,
)
from ansible_collections.cwagent.iam.plugins.module_utils._ground.plan import (
    MAX_REPORTED_FAILURES,
    WORKERS,
    Kind,
    Plan,
    Step,
    apply,
    run_in_parallel,
)


def steps(*summaries: str, kind: Kind = Kind.UPDATE) -> list[Step]:
    return [Step(kind, "iam:X", {}, summary) for summary in summaries]


def plan_of(steps_by_item: dict[str, list[Step]], errors: dict[str, CwagentError] | None = None) -> Plan[str]:
    return Plan("current", "planned", steps_by_item, errors or {})


class Executor:
    """Records the steps it takes, and fails at some of them."""

    def __init__(self, *failing: str) -> None:
        self.failing, self.taken = failing, []

    def __call__(self, step: Step) -> None:
        if step.summary in self.failing:
            raise CwagentError(f"Could not {step.summary}.")
        self.taken.append(step.summary)


def test_the_steps_of_every_item_are_taken_in_order():
    executor = Executor()
    summaries = {item: [f"{item}{number}" for number in range(9)] for item in "abcdef"}
    apply(plan_of({item: steps(*summaries[item]) for item in summaries}), executor, check_mode=False, done=[])
    assert {item: [taken for taken in executor.taken if taken[0] == item] for item in summaries} == summaries


@pytest.mark.parametrize("check_mode", [False, True])
def test_an_item_with_an_error_fails_in_check_mode_too(check_mode):
    executor, done = Executor(), []
    plan = plan_of({"a": steps("a1")}, {"b": CwagentError("No b.")})
    with pytest.raises(CwagentError, match=r"^No b\.$") as failure:
        apply(plan, executor, check_mode, done)
    assert executor.taken == [step.summary for step in done] == ([] if check_mode else ["a1"])
    assert failure.value.details == {"failures": {"b": "No b."}, "not_done": []}


@pytest.mark.parametrize(
    ("failing", "message"),
    [
        (0, "Could not a1. Not done: a2, a3."),
        (1, "Could not a2. Done before that: a1. Not done: a3."),
        (2, "Could not a3. Done before that: a1, a2."),
    ],
)
def test_a_failure_lists_the_steps_that_were_done_and_not_done(failing, message):
    planned, done = steps("a1", "a2", "a3"), []
    summaries = [step.summary for step in planned]
    with pytest.raises(CwagentError) as failure:
        apply(plan_of({"a": planned}), Executor(summaries[failing]), check_mode=False, done=done)
    assert str(failure.value) == message
    failures = {"a": f"Could not {summaries[failing]}."}
    assert failure.value.details == {"failures": failures, "not_done": summaries[failing:]}
    assert done == planned[:failing]


@pytest.mark.parametrize("taken", ["", "a2 on one"])
def test_a_step_that_failed_in_part_is_reported_in_parts(taken):
    def fail(step: Step) -> None:
        if step.summary == "a2":
            raise PartialFailure("Could not a2.", done=taken, not_done="a2 on others")

    planned, done = steps("a1", "a2", "a3"), []
    with pytest.raises(CwagentError) as failure:
        apply(plan_of({"a": planned}), fail, check_mode=False, done=done)
    assert done == [planned[0], *([replace(planned[1], summary=taken)] if taken else [])]
    assert failure.value.details["not_done"] == ["a2 on others", "a3"]


def test_a_failure_has_the_details_of_the_error():
    def fail(step: Step) -> None:
        raise ContentionError("No.", steps=[])

    with pytest.raises(CwagentError) as failure:
        apply(plan_of({"a": steps("a1")}), fail, check_mode=False, done=[])
    assert failure.value.details == {"steps": [], "failures": {"a": "No."}, "not_done": ["a1"]}


STALE = Step(Kind.CREATE, "iam:CreateRole", {}, "stale", stale_when=frozenset({"EntityAlreadyExists"}))


@pytest.mark.parametrize(
    ("errors", "is_stale"),
    [
        ({"a": AwsApiError("There.", "EntityAlreadyExists")}, True),
        ({"a": AwsApiError("There.", "EntityAlreadyExists"), "b": AwsApiError("There.", "EntityAlreadyExists")}, True),
        ({"a": AwsApiError("No.", "AccessDenied")}, False),
        ({"a": CwagentError("No.")}, False),
        ({"a": AwsApiError("There.", "EntityAlreadyExists"), "b": AwsApiError("No.", "AccessDenied")}, False),
    ],
)
def test_an_error_of_a_stale_state_leads_to_another_plan_unless_something_else_failed_too(errors, is_stale):
    def fail(step: Step) -> None:
        raise errors[step.arguments["item"]]

    items = {item: [replace(STALE, arguments={"item": item})] for item in errors}
    with pytest.raises(CwagentError) as failure:
        apply(plan_of(items), fail, check_mode=False, done=[])
    assert isinstance(failure.value, StaleStateError) == is_stale


def test_an_error_of_a_plan_is_not_a_stale_state():
    with pytest.raises(CwagentError) as failure:
        apply(plan_of({}, {"a": AwsApiError("There.", "EntityAlreadyExists")}), Executor(), check_mode=False, done=[])
    assert not isinstance(failure.value, StaleStateError)


@pytest.mark.parametrize(
    ("more", "end"),
    [
        (0, ""),
        (1, " 1 more failed; the result has all of them in failures."),
        (2, " 2 more failed; the result has all of them in failures."),
    ],
)
def test_the_message_has_the_failures_of_a_few_items_and_the_details_have_all(more, end):
    items = [f"u{number}" for number in range(MAX_REPORTED_FAILURES + more)]
    with pytest.raises(CwagentError) as failure:
        apply(plan_of({item: steps(item) for item in items}), Executor(*items), check_mode=False, done=[])
    assert str(failure.value).count("Could not") == MAX_REPORTED_FAILURES
    assert str(failure.value).endswith(f"Could not u4.{end}")
    assert list(failure.value.details["failures"]) == items


def test_an_item_that_fails_does_not_stop_the_others():
    executor = Executor("b1", "d2")
    plan = plan_of({item: steps(f"{item}1", f"{item}2") for item in "abcd"})
    done: list[Step] = []
    with pytest.raises(CwagentError, match=r"Could not b1\..* Could not d2\.") as failure:
        apply(plan, executor, check_mode=False, done=done)
    assert sorted(executor.taken) == ["a1", "a2", "c1", "c2", "d1"]
    assert list(failure.value.details["failures"]) == ["b", "d"]
    assert [step.summary for step in done] == ["a1", "a2", "c1", "c2", "d1"]
    assert failure.value.details["not_done"] == ["b1", "b2", "d2"]


@pytest.mark.parametrize(
    ("steps_by_item", "counts"),
    [
        ({}, {"create": 0, "update": 0, "delete": 0}),
        ({"a": []}, {"create": 0, "update": 0, "delete": 0}),
        ({"a": [], "b": steps("b1", "b2")}, {"create": 0, "update": 2, "delete": 0}),
        (
            {
                "a": [*steps("a1", kind=Kind.CREATE), *steps("a2", "a3")],
                "b": [*steps("b1", "b2"), *steps("b3", kind=Kind.DELETE)],
            },
            {"create": 1, "update": 4, "delete": 1},
        ),
    ],
    ids=["no items", "no steps", "an item without steps", "steps of two items"],
)
def test_a_plan_has_changes_if_it_has_steps_and_counts_them(steps_by_item, counts):
    plan = Plan("current", "planned", steps_by_item)
    assert plan.has_changes is bool(plan.all_steps)
    assert plan.all_steps == [step for steps in steps_by_item.values() for step in steps]
    assert plan.summaries == [step.summary for step in plan.all_steps]
    assert plan.counts == counts
    assert plan.errors == {}


@pytest.mark.parametrize("count", [0, 1, 2, 50])
def test_results_of_parallel_work_are_in_the_order_of_the_items(count):
    assert run_in_parallel(lambda number: number * 2, range(count)) == [number * 2 for number in range(count)]


def test_work_is_done_in_parallel():
    everyone = threading.Barrier(WORKERS, timeout=120)
    assert run_in_parallel(lambda _: everyone.wait() >= 0, range(WORKERS)) == [True] * WORKERS


def test_the_number_of_workers_is_bounded():
    running, most, lock = set(), [0], threading.Lock()

    def work(number: int) -> None:
        with lock:
            running.add(number)
            most[0] = max(most[0], len(running))
        threading.Event().wait(0.001)
        with lock:
            running.remove(number)

    run_in_parallel(work, range(5 * WORKERS))
    assert most[0] <= WORKERS
