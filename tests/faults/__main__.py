"""``python -m faults``: put one fault after the other into the job, run it once more, and count what recovered.

Without ``--trials``, every wire call of an undisturbed run gets every kind of fault, which takes hours. With it, so
many calls are taken for each kind, evenly spread, beginning at another one every day.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from emulator import Emulator, Fault, Kind

from .job import Job, most_admins_at_once

KINDS = (Kind.KILL_BEFORE, Kind.KILL_AFTER, Kind.LOSE_ANSWER, Kind.THROTTLE, Kind.DENY, Kind.SERVER_ERROR)
# As often as botocore tries: enough to make the call fail for good in one of the kinds, and not in the other.
REPEATED = {Kind.THROTTLE: 3, Kind.SERVER_ERROR: 2}


@dataclass(frozen=True)
class Trial:
    """One fault at one call. :param nth: which call of the run, from 1."""

    kind: Kind
    nth: int


def chosen(calls: int, trials: int | None, offset: int) -> Iterator[Trial]:
    """The trials to make, over a run of so many calls."""
    for number, kind in enumerate(KINDS):
        step = max(1, calls // trials) if trials else 1
        first = (offset + number * 5) % step
        yield from (Trial(kind, nth) for nth in range(first + 1, calls + 1, step))


def run(trial: Trial, aws: Emulator, folder: Path, undisturbed: dict[str, object]) -> str:
    """What did not recover, in words; empty when all did."""
    job = Job(aws, folder)
    process = job.start()
    aws.arm(Fault(trial.kind, nth=trial.nth, times=REPEATED.get(trial.kind), process=process.pid))
    process.wait()
    aws.disarm()
    hit = next((call for call in aws.calls(job.start_mark) if call.fault), None)
    where = f"call {trial.nth}, {hit.action if hit else 'never made'}"
    problems = []
    if job.run() != 0:
        problems.append("the second run failed")
    try:
        if job.state() != undisturbed:
            problems.append("another end state")
    except OSError as error:
        problems.append(f"no saved key ({error})")
    if most_admins_at_once(aws.calls(job.start_mark)) > 1:
        problems.append("two instances carried the admin profile")
    if "Traceback" in job.output():
        problems.append("a traceback")
    if problems:
        (folder.parent / f"{trial.kind}-{trial.nth}.txt").write_text(job.output())
    return f"{where}: {', '.join(problems)}" if problems else ""


def campaign(trials: int | None, workers: int, folder: Path) -> int:
    """Make all trials and print a line for each kind; the number of those that did not recover."""
    emulators = [Emulator.start("ministack") for _ in range(workers)]
    try:
        first = Job(emulators[0], folder / "undisturbed")
        if first.run() != 0:
            sys.exit(f"The job fails without a fault:\n{first.output()}")
        undisturbed = first.state()
        calls = len(emulators[0].calls(first.start_mark))
        waiting = list(chosen(calls, trials, offset=datetime.now(UTC).toordinal()))
        print(f"{calls} wire calls in an undisturbed run, {len(waiting)} trials", flush=True)
        results: dict[Kind, list[str]] = defaultdict(list)

        def work(worker: int) -> None:
            for trial in waiting[worker::workers]:
                results[trial.kind].append(run(trial, emulators[worker], folder / str(worker), undisturbed))

        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(work, range(workers)))
    finally:
        for emulator in emulators:
            emulator.stop()
    for kind in KINDS:
        failed = [words for words in results[kind] if words]
        print(f"{kind:12} tried {len(results[kind]):3}, recovered {len(results[kind]) - len(failed):3}")
        for words in failed:
            print(f"    {words}")
    return sum(bool(words) for found in results.values() for words in found)


def main() -> None:
    parser = argparse.ArgumentParser(prog="faults", description=__doc__)
    parser.add_argument("--trials", type=int, help="calls for each kind of fault; all without it")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="where the output of what did not recover is kept")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(1 if campaign(args.trials, args.workers, args.keep or Path(folder)) else 0)


if __name__ == "__main__":
    try:
        main()
    except (KeyboardInterrupt, subprocess.SubprocessError) as stopped:
        sys.exit(f"stopped: {stopped}")
