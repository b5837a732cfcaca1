from __future__ import annotations

import threading

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._errors import CwagentError
from ansible_collections.cwagent.iam.plugins.module_utils._plan import (
    MAX_REPORTED_FAILURES,
    WORKERS,
    Plan,
    Step,
    apply,
    in_parallel,
)


def steps(*names: str) -> list[Step]:
    return [Step("iam:X", {}, name) for name in names]


class Hands:
    """Takes steps, except those it is told to fail at."""

    def __init__(self, *fails: str) -> None:
        self.fails, self.taken = fails, []

    def __call__(self, step: Step) -> None:
        if step.summary in self.fails:
            raise CwagentError(f"Could not {step.summary}.")
        self.taken.append(step.summary)


def test_takes_all_steps_in_order():
    hands = Hands()
    apply(Plan({"a": steps("a1", "a2", "a3")}), hands, check_mode=False)
    assert hands.taken == ["a1", "a2", "a3"]


def test_order_is_kept_for_every_item():
    hands = Hands()
    apply(Plan({name: steps(*(f"{name}{number}" for number in range(9))) for name in "abcdef"}), hands, False)
    for name in "abcdef":
        assert [taken for taken in hands.taken if taken[0] == name] == [f"{name}{number}" for number in range(9)]


def test_check_mode_takes_no_step():
    hands = Hands()
    apply(Plan({"a": steps("a1"), "b": steps("b1")}), hands, check_mode=True)
    assert hands.taken == []


@pytest.mark.parametrize("check_mode", [False, True])
def test_what_is_refused_fails_in_check_mode_too(check_mode):
    hands = Hands()
    plan = Plan({"a": steps("a1")}, {"b": CwagentError("No b.")})
    with pytest.raises(CwagentError, match=r"^No b\.$") as failure:
        apply(plan, hands, check_mode)
    done = [] if check_mode else ["a1"]
    assert hands.taken == done
    assert failure.value.details == {"failures": {"b": "No b."}, "done": done, "not_done": []}


def test_a_failure_says_what_was_done_and_what_was_not():
    hands = Hands("a3")
    with pytest.raises(CwagentError) as failure:
        apply(Plan({"a": steps("a1", "a2", "a3", "a4", "a5")}), hands, check_mode=False)
    assert str(failure.value) == "Could not a3. Done before that: a1, a2. Not done: a4, a5."
    assert failure.value.details == {
        "failures": {"a": "Could not a3."},
        "done": ["a1", "a2"],
        "not_done": ["a3", "a4", "a5"],
    }


def test_what_a_failure_tells_besides_is_told():
    def give_way(step: Step) -> None:
        raise CwagentError("No.", steps=[])

    with pytest.raises(CwagentError) as failure:
        apply(Plan({"a": steps("a1")}), give_way, check_mode=False)
    assert failure.value.details == {"steps": [], "failures": {"a": "No."}, "done": [], "not_done": ["a1"]}


def test_of_a_fleet_that_fails_a_few_are_told():
    names = [f"u{number}" for number in range(MAX_REPORTED_FAILURES + 2)]
    with pytest.raises(CwagentError) as failure:
        apply(Plan({name: steps(name) for name in names}), Hands(*names), check_mode=False)
    assert str(failure.value).count("Could not") == MAX_REPORTED_FAILURES
    assert str(failure.value).endswith("Could not u4. 2 more failed; the result tells of each in failures.")
    assert list(failure.value.details["failures"]) == names


@pytest.mark.parametrize(
    ("fails", "words"),
    [
        ("a1", "Could not a1. Not done: a2."),
        ("a2", "Could not a2. Done before that: a1."),
    ],
)
def test_a_failure_says_no_more_than_there_is(fails, words):
    with pytest.raises(CwagentError) as failure:
        apply(Plan({"a": steps("a1", "a2")}), Hands(fails), check_mode=False)
    assert str(failure.value) == words


def test_an_item_that_fails_does_not_stop_the_others():
    hands = Hands("b1", "d2")
    plan = Plan({name: steps(f"{name}1", f"{name}2") for name in "abcd"})
    with pytest.raises(CwagentError, match=r"Could not b1\..* Could not d2\.") as failure:
        apply(plan, hands, check_mode=False)
    assert sorted(hands.taken) == ["a1", "a2", "c1", "c2", "d1"]
    assert list(failure.value.details["failures"]) == ["b", "d"]
    assert failure.value.details["done"] == ["a1", "a2", "c1", "c2", "d1"]
    assert failure.value.details["not_done"] == ["b1", "b2", "d2"]


@pytest.mark.parametrize(
    ("plan", "changes"),
    [(Plan({}), False), (Plan({"a": []}), False), (Plan({"a": [], "b": steps("b1", "b2")}), True)],
)
def test_plan(plan, changes):
    assert plan.changes is changes
    assert plan.summaries == (["b1", "b2"] if changes else [])


@pytest.mark.parametrize("count", [0, 1, 2, 50])
def test_parallel_work_keeps_the_order(count):
    assert in_parallel(lambda number: number * 2, range(count)) == [number * 2 for number in range(count)]


def test_parallel_work_is_bounded_and_parallel():
    everyone = threading.Barrier(WORKERS, timeout=10)
    assert in_parallel(lambda _: everyone.wait() >= 0, range(WORKERS)) == [True] * WORKERS
    running, most, lock = set(), [0], threading.Lock()

    def work(number: int) -> None:
        with lock:
            running.add(number)
            most[0] = max(most[0], len(running))
        threading.Event().wait(0.001)
        with lock:
            running.remove(number)

    in_parallel(work, range(5 * WORKERS))
    assert most[0] <= WORKERS
