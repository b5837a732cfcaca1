"""``python -m faults``: inject one fault at a time into the job, run the job again, and count the recoveries.

Without ``--trials``, every AWS call of an undisturbed run gets every kind of fault, which takes hours. With it, that
many evenly spread calls get each kind of fault, beginning with another call every day. A worker is killed only at
writes during which it may write the configuration.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from emulator import Call, Emulator, Fault, Kind

from .evaluation import KILLS, NO_HIT, SIGNALS, Evidence, Run, State, held_writes, open_locks, problems
from .job import Job

KINDS = (*KILLS, *SIGNALS, Kind.LOSE_ANSWER, Kind.THROTTLE, Kind.DENY, Kind.SERVER_ERROR)
# Fewer times than the modules retry; only a denied call fails permanently.
REPEATS = {Kind.THROTTLE: 3, Kind.SERVER_ERROR: 2}
# The time after a signal within which everything must be closed, in seconds.
RELEASE_SECONDS = 15
# So many lines of output are printed of a trial that did not recover. --keep keeps all of them.
LAST_LINES = 40
# The modules retry this denied call for some seconds, because a new permission takes time; more often than that.
PERMANENT_DENIALS = {"PutParameter": 100}


@dataclass(frozen=True)
class Trial:
    """One fault at one call.

    :param number: the number of the call in an undisturbed run, from 1.
    :param nth: its number among the calls of the same action, from 1.
    """

    kind: Kind
    number: int
    service: str
    action: str
    nth: int

    def __str__(self) -> str:
        return f"call {self.number}, {self.action}"

    def fault(self, process: int) -> Fault:
        times = PERMANENT_DENIALS.get(self.action) if self.kind == Kind.DENY else REPEATS.get(self.kind)
        return Fault(self.kind, service=self.service, action=self.action, nth=self.nth, times=times, process=process)


def choose(calls: Sequence[Call], trials: int | None, offset: int) -> Iterator[Trial]:
    """The trials for the calls of an undisturbed run. :param offset: shifts which calls are chosen."""
    for position, kind in enumerate(KINDS):
        # Ansible waits for ever for a killed worker that holds nothing.
        chosen = held_writes(calls) if kind == Kind.KILL_WORKER else range(len(calls))
        count = min(trials or len(chosen), len(chosen))
        begin = offset + position * 5
        for index in sorted(chosen[(begin + each * len(chosen) // count) % len(chosen)] for each in range(count)):
            call = calls[index]
            same = [
                other for other in calls[: index + 1] if (other.service, other.action) == (call.service, call.action)
            ]
            yield Trial(kind, index + 1, call.service, call.action, len(same))


def run(trial: Trial, job: Job, undisturbed: State) -> str:
    """Run a trial. :returns: the problems as text, which is empty when there are none."""
    aws, folder = job.aws, job.folder
    process = job.start()
    aws.arm(trial.fault(process.pid))
    code = process.wait_for_main()
    aws.disarm()
    if trial.kind in SIGNALS:
        wait_for_release(job)
    process.wait()
    calls = aws.calls(job.start_mark)
    faulted = Run(code, job.state(), job.temporary_files())
    secrets = job.secrets()
    recovered = Run(job.run(), job.state())
    evidence = Evidence(
        kind=trial.kind,
        hit=next((call for call in calls if call.fault), None),
        faulted=faulted,
        recovered=recovered,
        calls=aws.calls(job.start_mark),
        output=job.output(),
        leaks=job.leaks(secrets | job.secrets()),
    )
    found = problems(evidence, undisturbed)
    if job.as_aws and evidence.hit is None:
        found.remove(NO_HIT)  # where reads are repeated, no two runs have the same calls
    if found:
        (folder.parent / f"{trial.kind}-{trial.number}.txt").write_text(evidence.output)
        shown = "\n".join(evidence.output.splitlines()[-LAST_LINES:])
        print(f"{trial.kind} at {trial}: {', '.join(found)}\n{shown}\n", end="", flush=True)
    return ", ".join(found)


def wait_for_release(job: Job) -> None:
    """Wait as long as a run may take to give back what it holds after a signal.

    It may have ended before that, and before the call with the fault was answered.
    """
    end = time.monotonic() + RELEASE_SECONDS

    def is_released() -> bool:
        return any(call.fault for call in job.aws.calls(job.start_mark)) and not open_locks(job.state())

    while not is_released() and time.monotonic() < end:
        time.sleep(0.2)  # AWS does not notify of changes


def campaign(args: argparse.Namespace, folder: Path) -> int:
    """Run all trials and print a line for each kind of fault. :returns: how many trials did not recover."""
    emulators = [Emulator.start("ministack") for _ in range(args.workers)]
    try:
        first = Job(emulators[0], folder / "undisturbed", args.as_aws, args.store_from)
        if first.run() != 0:
            sys.exit(f"The job fails without a fault:\n{first.output()}")
        calls = emulators[0].calls(first.start_mark)
        undisturbed = first.state()
        trials_left = list(choose(calls, args.trials, offset=datetime.now(UTC).toordinal()))
        print(f"{len(calls)} AWS calls in an undisturbed run, {len(trials_left)} trials", flush=True)
        results: dict[Kind, list[str]] = defaultdict(list)

        def work(worker: int) -> None:
            for trial in trials_left[worker :: args.workers]:
                job = Job(emulators[worker], folder / str(worker), args.as_aws, args.store_from)
                found = run(trial, job, undisturbed)
                results[trial.kind].append(f"{trial}: {found}" if found else "")
                with (folder / "trials.txt").open("a") as record:  # keeps the results of a campaign that is stopped
                    record.write(f"{trial.kind} at {trial}: {found or 'recovered'}\n")

        with ThreadPoolExecutor(args.workers) as pool:
            list(pool.map(work, range(args.workers)))
    finally:
        for emulator in emulators:
            emulator.stop()
    for kind in KINDS:
        failed = [words for words in results[kind] if words]
        print(f"{kind:15} tried {len(results[kind]):3}, recovered {len(results[kind]) - len(failed):3}")
        for words in failed:
            print(f"    {words}")
    return sum(bool(words) for found in results.values() for words in found)


def main() -> None:
    parser = argparse.ArgumentParser(prog="faults", description=__doc__)
    parser.add_argument("--trials", type=int, help="how many calls get each kind of fault; all by default")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="where the output of trials that did not recover is kept")
    parser.add_argument("--as-aws", action="store_true", help="in accounts that are as unkind as AWS")
    help_text = "which host stores; run_command needs the AWS CLI that AWS_CLI names"
    parser.add_argument(
        "--store-from", choices=["instance", "run_command", "onprem"], default="instance", help=help_text
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(1 if campaign(args, args.keep or Path(folder)) else 0)


if __name__ == "__main__":
    try:
        main()
    except (KeyboardInterrupt, subprocess.SubprocessError) as stopped:
        sys.exit(f"stopped: {stopped}")
