"""``python -m benchmarks``: measure all sides, print the costs, and check the targets."""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from emulator import Emulator

from . import bounds, guide, plot, startup, tables
from .case import Case, Network
from .jobs import ACCOUNTS, INSTANCES, PEERS, SITE, TASKS, USERS, VERIFY, Side
from .measure import Phase, Trial, output_of, take
from .process import CHECKOUT
from .results import Results

OUTPUT = CHECKOUT / "build" / "bench"
PLOT = OUTPUT / "users.png"
SIZES = (1, 10, 50, 200, 1000)
JOBS = [job.name for job in (USERS, INSTANCES, SITE, VERIFY, ACCOUNTS, TASKS)]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--jobs", nargs="+", choices=JOBS, default=JOBS, help="all of them by default")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, metavar="N", help="how many users")
    parser.add_argument("--peers", type=int, default=50, metavar="N", help="the most users for amazon.aws (slow)")
    parser.add_argument("--delays", type=int, nargs="+", default=(0, 30), metavar="MS", help="milliseconds a call")
    parser.add_argument("--instances", type=int, nargs="+", default=(50, 1000), metavar="N", help="how many instances")
    parser.add_argument("--servers", type=int, nargs="+", default=(50, 1000), metavar="N", help="how many to verify")
    parser.add_argument("--accounts", type=int, nargs="+", default=(1, 12), metavar="N", help="how many accounts")
    parser.add_argument("--throttled", type=int, default=200, metavar="N", help="how many throttled users; 0 for none")
    parser.add_argument("--repeats", type=int, default=3, metavar="N", help="how often short trials are measured")
    parser.add_argument("--check", action="store_true", help="fail when a target is missed")
    parser.add_argument("--publish", action="store_true", help="put the tables and the plot into the guide")
    return parser.parse_args()


def trials(args: argparse.Namespace) -> Iterator[Trial]:
    """All trials."""
    for delay, size, side in itertools.product(args.delays, sorted(args.sizes), USERS.sides):
        if side not in PEERS:
            yield from (
                Trial(USERS, side, size, Network(delay / 1000), repeat=repeat) for repeat in range(args.repeats)
            )
        elif size <= args.peers:
            yield Trial(USERS, side, size, Network(delay / 1000))
    for repeat, size, side in itertools.product(range(args.repeats), (1, bounds.ROW), TASKS.sides):
        yield Trial(TASKS, side, size, phases=[Phase.REPEAT], repeat=repeat)
    for repeat, side in itertools.product(range(args.repeats), SITE.sides):
        yield Trial(SITE, side, 1, repeat=repeat)
    for job, sizes in ((INSTANCES, args.instances), (ACCOUNTS, args.accounts)):
        yield from (Trial(job, side, size) for size, side in itertools.product(sizes, job.sides))
    for size, repeat, side in itertools.product(args.servers, range(args.repeats), VERIFY.sides):
        yield Trial(VERIFY, side, size, phases=[Phase.REPEAT], repeat=repeat)
    if args.throttled:
        throttled = Network(rate=bounds.RATE, burst=bounds.BURST)
        yield Trial(USERS, Side.OURS, args.throttled, throttled, [Phase.CREATE])


def measure(args: argparse.Namespace, case: Case) -> Results:
    """Take all measurements. The output of failed trials is kept."""
    results = Results(payloads=startup.payloads(case), startups=startup.startups(case))
    for trial in (trial for trial in trials(args) if trial.job.name in args.jobs):
        for measurement in take(trial, case):
            results.measurements.append(measurement)
            print(f"{trial}, {measurement.phase}: {measurement.calls} calls, {measurement.wall:.2f} s", flush=True)
            if measurement.failed:
                results.failures.append(f"{trial}, {measurement.phase}")
                (OUTPUT / f"failed-{len(results.failures)}.txt").write_text(output_of(case).read_text())
    return results


def show(results: Results, evaluated: list[bounds.Bound]) -> None:
    """Print all tables, the targets last."""
    shown = [*tables.costs(results), tables.payloads(results), tables.stages(results), *tables.imports(results)]
    for table in [*shown, tables.bounds(evaluated)]:
        print(f"\n{table.text()}")


def write(results: Results, evaluated: list[bounds.Bound]) -> None:
    """Write all results as JSON, the tables as reStructuredText, and the plot."""
    record = {**asdict(results), "bounds": [{**asdict(bound), "holds": bound.holds} for bound in evaluated]}
    (OUTPUT / "results.json").write_text(json.dumps(record, indent=1) + "\n")
    (OUTPUT / "results.rst").write_text(guide.render(results, evaluated) + "\n")
    plot.draw(results, PLOT)


def main() -> int:
    args = arguments()
    OUTPUT.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, Emulator.start("ministack") as aws:
        results = measure(args, Case(aws, Path(folder) / "case"))
    evaluated = bounds.evaluate(results)
    show(results, evaluated)
    write(results, evaluated)
    if args.publish:
        guide.publish(results, evaluated, PLOT)
    missed = sum(bound.holds is False for bound in evaluated)
    print(f"\n{len(evaluated)} bounds, {missed} missed. {time.monotonic() - began:.0f} s, {OUTPUT / 'results.json'}")
    for failure in results.failures:
        print(f"not measured, because it failed: {failure}", file=sys.stderr)
    return 1 if results.failures or (args.check and missed) else 0


if __name__ == "__main__":
    sys.exit(main())
