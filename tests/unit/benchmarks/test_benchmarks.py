"""The benchmarks evaluate and present their measurements."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from emulator import Call

from benchmarks import bounds, guide
from benchmarks.bounds import Bound
from benchmarks.jobs import TASKS, USERS, VERIFY, Side
from benchmarks.measure import Measurement, Phase
from benchmarks.results import Results
from benchmarks.startup import Payload
from benchmarks.tables import Table, number
from benchmarks.trace import Traced

ONE = Measurement(
    job=USERS.name,
    side=Side.OURS,
    phase=Phase.CREATE,
    size=200,
    delay=0,
    rate=0,
    repeat=0,
    code=0,
    wall=5,
    cpu=2,
    emulator_cpu=1,
    memory=90,
    calls=1000,
    reads=400,
    waits=201,
    throttled=0,
    connections=10,
    calling=4,
)


def results(*differences: dict[str, Any]) -> Results:
    return Results([replace(ONE, **each) for each in differences])


def find_bound(all_results: Results, words: str) -> Bound:
    [bound] = [bound for bound in bounds.evaluate(all_results) if words in bound.what]
    return bound


def test_the_median_of_repeats_is_used() -> None:
    walls = results(*({"wall": wall, "repeat": repeat} for repeat, wall in enumerate((9, 4, 5))))
    assert walls.wall(USERS, Side.OURS, Phase.CREATE, 200, delay=0) == 5


def test_failed_and_throttled_runs_are_not_used() -> None:
    bad = results({"code": 2}, {"rate": 10.0})
    assert bad.wall(USERS, Side.OURS, Phase.CREATE, 200, delay=0) is None


@pytest.mark.parametrize(
    ("walls", "expected"),
    [({10: 6.0, 50: 26.0}, 101.0), ({50: 26.0}, None), ({10: 6.0, 50: 26.0, 200: 99.0}, 99.0)],
)
def test_a_missing_size_is_extrapolated_from_the_two_largest(walls: dict[int, float], expected: float | None) -> None:
    measured = results(*({"side": Side.LOOP, "size": size, "wall": wall} for size, wall in walls.items()))
    assert measured.extrapolated_wall(USERS, Side.LOOP, Phase.CREATE, 200, delay=0) == expected


def test_the_faster_peer_is_used() -> None:
    compared = results({}, {"side": Side.LOOP, "wall": 300}, {"side": Side.HOSTS, "wall": 250})
    bound = find_bound(compared, "200 users, from nothing, at 0 ms")
    assert (bound.measured, bound.holds) == (50, True)


def test_the_fixed_cost_is_subtracted_before_the_comparison_with_boto3() -> None:
    ping = {"job": TASKS.name, "side": Side.PING, "phase": Phase.REPEAT, "size": 1, "wall": 1}
    bound = find_bound(results({}, ping, {"side": Side.FLOOR, "wall": 2}), "over boto3's")
    assert (bound.measured, bound.holds) == (2, True)


@pytest.mark.parametrize(("largest", "holds"), [(30, False), (20, True)])
def test_the_cost_per_user_must_not_increase(largest: float, holds: bool) -> None:
    measured = results({"size": 50, "wall": 1}, {"size": 200, "wall": 3}, {"size": 1000, "wall": largest})
    assert find_bound(measured, "from nothing at 0 ms a call: wall time per user").holds is holds


def test_the_share_of_allowed_calls_is_computed() -> None:
    throttled = {"rate": 10.0, "calls": 1200, "throttled": 250, "calling": 100}
    bound = find_bound(results(throttled), "share of the calls")
    assert bound.measured == pytest.approx(950 / 1020)
    assert bound.holds


@pytest.mark.parametrize(("calls", "wall", "holds"), [(34, 11, True), (35, 11, False), (34, 11.1, False)])
def test_the_cost_of_asking_cloudwatch_is_compared(calls: int, wall: float, holds: bool) -> None:
    of_job = {"job": VERIFY.name, "phase": Phase.REPEAT, "size": 1000}
    silent = {**of_job, "side": Side.SILENT, "calls": 10, "wall": 10}
    measured = results({**of_job, "calls": calls, "wall": wall}, silent)
    bounds_of_job = [find_bound(measured, f"verify.yml, 1000 servers: {each}") for each in ("calls", "wall time")]
    assert all(each.holds for each in bounds_of_job) == holds


def test_sizes_of_modules_are_compared() -> None:
    sizes = {"cwagent_iam_role": 90, "iam_role": 100}
    measured = Results(payloads=[Payload("", name, size, 1) for name, size in sizes.items()])
    assert find_bound(measured, "cwagent_iam_role over").holds
    assert find_bound(measured, "cwagent_iam_user over").holds is None


def test_a_module_is_compared_with_all_modules_that_it_replaces() -> None:
    sizes = {"cwagent_iam_user": 150, "iam_user": 100, "iam_access_key": 60}
    measured = Results(payloads=[Payload("", name, size, 1) for name, size in sizes.items()])
    assert find_bound(measured, "cwagent_iam_user over").measured == pytest.approx(150 / 160)


@pytest.mark.parametrize(
    ("actions", "waits"),
    [(["GetUser"], 0), (["GetUser", "CreateUser"], 0), (["CreateUser", "GetUser", "AttachUserPolicy", "GetUser"], 1)],
)
def test_reads_after_the_last_write_are_waits(actions: list[str], waits: int) -> None:
    calls = tuple(Call("iam", action, "", "", "", seq=seq) for seq, action in enumerate(actions))
    assert Traced("task", "module", 1.0, calls).waits == waits


def test_the_page_keeps_the_text_around_the_measurements() -> None:
    page = f"Before\n\n{guide.BEGIN}\nold\n\n{guide.END}\nAfter\n"
    assert guide.between(page, "new") == page.replace("old", "new")
    with pytest.raises(ValueError, match="marks"):
        guide.between("Before", "new")


def test_a_table_for_a_terminal_and_for_the_guide() -> None:
    table = Table("Cost", ("side", "wall"), [("ours", "1"), ("theirs", "40")])
    assert table.text().splitlines() == ["Cost", "side    wall", "------  ----", "ours       1", "theirs    40"]
    rows = ["   side,wall", "   ours,1", "   theirs,40"]
    assert table.rst().splitlines() == [".. csv-table:: Cost", "   :header-rows: 1", "", *rows]


@pytest.mark.parametrize(
    ("value", "text"), [(None, ""), (0.8, "0.80"), (2.0, "2"), (12.34, "12.3"), (230.4, "230"), (0.0, "0")]
)
def test_numbers_have_three_significant_digits(value: float | None, text: str) -> None:
    assert number(value) == text
