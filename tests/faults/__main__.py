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
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from emulator import Call, Emulator, Fault, Kind

from .job import Job
from .judgement import KILLS, Evidence, Run, State, problems

KINDS = (*KILLS, Kind.LOSE_ANSWER, Kind.THROTTLE, Kind.DENY, Kind.SERVER_ERROR)
# Fewer times than the modules try; what fails for good is a call that is denied.
REPEATED = {Kind.THROTTLE: 3, Kind.SERVER_ERROR: 2}
# The modules take a refusal for a right that is on its way, and try for some seconds; more often than that.
DENIED_FOR_GOOD = {"PutParameter": 100}


@dataclass(frozen=True)
class Trial:
    """One fault at one call.

    :param number: which call of an undisturbed run it is, from 1.
    :param nth: which one of those with the same action, from 1.
    """

    kind: Kind
    number: int
    service: str
    action: str
    nth: int

    def __str__(self) -> str:
        return f"call {self.number}, {self.action}"

    def fault(self, process: int) -> Fault:
        times = DENIED_FOR_GOOD.get(self.action) if self.kind == Kind.DENY else REPEATED.get(self.kind)
        return Fault(self.kind, service=self.service, action=self.action, nth=self.nth, times=times, process=process)


def chosen(calls: Sequence[Call], trials: int | None, offset: int) -> Iterator[Trial]:
    """The trials to make, over the calls of an undisturbed run. :param offset: shifts which calls are taken."""
    count = min(trials or len(calls), len(calls))
    for position, kind in enumerate(KINDS):
        for index in sorted((offset + position * 5 + each * len(calls) // count) % len(calls) for each in range(count)):
            call = calls[index]
            same = [
                other for other in calls[: index + 1] if (other.service, other.action) == (call.service, call.action)
            ]
            yield Trial(kind, index + 1, call.service, call.action, len(same))


def run(trial: Trial, aws: Emulator, folder: Path, undisturbed: State) -> str:
    """What is not as it must be, in words; empty when all is."""
    job = Job(aws, folder)
    process = job.start()
    aws.arm(trial.fault(process.pid))
    code = process.wait()
    aws.disarm()
    calls = aws.calls(job.start_mark)
    faulted = Run(code, job.state(), job.left())
    secrets = job.secrets()
    mended = Run(job.run(), job.state())
    evidence = Evidence(
        kind=trial.kind,
        hit=next((call for call in calls if call.fault), None),
        faulted=faulted,
        mended=mended,
        calls=aws.calls(job.start_mark),
        output=job.output(),
        shown=job.shown(secrets | job.secrets()),
    )
    found = problems(evidence, undisturbed)
    if found:
        (folder.parent / f"{trial.kind}-{trial.number}.txt").write_text(job.output())
    return ", ".join(found)


def campaign(trials: int | None, workers: int, folder: Path) -> int:
    """Make all trials and print a line for each kind; the number of those that did not recover."""
    emulators = [Emulator.start("ministack") for _ in range(workers)]
    try:
        first = Job(emulators[0], folder / "undisturbed")
        if first.run() != 0:
            sys.exit(f"The job fails without a fault:\n{first.output()}")
        calls = emulators[0].calls(first.start_mark)
        undisturbed = first.state()
        waiting = list(chosen(calls, trials, offset=datetime.now(UTC).toordinal()))
        print(f"{len(calls)} wire calls in an undisturbed run, {len(waiting)} trials", flush=True)
        results: dict[Kind, list[str]] = defaultdict(list)

        def work(worker: int) -> None:
            for trial in waiting[worker::workers]:
                words = run(trial, emulators[worker], folder / str(worker), undisturbed)
                results[trial.kind].append(f"{trial}: {words}" if words else "")
                with (folder / "trials.txt").open("a") as record:  # what is known when a long campaign is stopped
                    record.write(f"{trial.kind} at {trial}: {words or 'recovered'}\n")

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
