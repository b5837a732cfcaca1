"""Takes measurements: each side does a job on an empty account, and repeats it with nothing to do."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from . import trace
from .case import Case, Network
from .jobs import SEQUENTIAL, Job, Side
from .process import cpu_of, environment, run


class Phase(StrEnum):
    """How much there is to do."""

    CREATE = "from nothing"
    REPEAT = "nothing to do"


BOTH = (Phase.CREATE, Phase.REPEAT)


@dataclass(frozen=True)
class Trial:
    """One side of a job at one size. :param repeat: the number among trials of the same kind."""

    job: Job
    side: Side
    size: int
    network: Network = field(default_factory=Network)
    phases: Sequence[Phase] = BOTH
    repeat: int = 0

    def __str__(self) -> str:
        delay = f", {self.network.delay * 1000:.0f} ms a call" if self.network.delay else ""
        rate = f", throttled to {self.network.rate:.0f} calls a second" if self.network.rate else ""
        return f"{self.job.name} {self.size}, {self.side}{delay}{rate}"


@dataclass(frozen=True)
class Measurement:
    """The costs of one run.

    :param delay: milliseconds a call.
    :param rate: calls a second that were allowed; 0 for all.
    :param wall: seconds.
    :param cpu: seconds of processor time, without the emulator's.
    :param emulator_cpu: seconds of processor time that the emulator took.
    :param memory: peak memory of the largest process in MiB.
    :param calls: AWS calls, including throttled attempts.
    :param reads: those of them that change nothing.
    :param waits: reads after the last write of a task, which wait until the changes are visible; ``None`` where
        tasks run in parallel, or there are none.
    :param throttled: throttled calls.
    :param connections: connections of these calls.
    :param calling: seconds from the first call to the last.
    """

    job: str
    side: str
    phase: str
    size: int
    delay: int
    rate: float
    repeat: int
    code: int
    wall: float
    cpu: float
    emulator_cpu: float
    memory: float
    calls: int
    reads: int
    waits: int | None
    throttled: int
    connections: int
    calling: float

    @property
    def failed(self) -> bool:
        """Whether the run failed."""
        return self.code != 0


def take(trial: Trial, case: Case) -> Iterator[Measurement]:
    """Measure a trial on an empty account. The output of the side is in ``output.txt`` of the case."""
    case.prepare(trial.job.fleet(trial.size))
    for fault in trial.network.faults():
        case.aws.arm(fault)
    env = environment(case.aws, case.folder)
    for phase in trial.phases:
        measurement = _run(trial, phase, case, trial.job.program(trial.side, case.folder), env)
        yield measurement
        if measurement.failed:
            break
    case.aws.disarm()


def _run(trial: Trial, phase: Phase, case: Case, program: list[str], env: dict[str, str]) -> Measurement:
    since, emulator_cpu = case.aws.mark(), cpu_of(case.aws.pid)
    file, began = case.folder / "trace.jsonl", time.time()
    usage = run(program, env | trace.settings(file), output_of(case))
    emulator_cpu = cpu_of(case.aws.pid) - emulator_cpu
    calls = case.aws.calls(since)
    traced = trace.read(file, calls, began) if file.exists() and trial.side in SEQUENTIAL else []
    return Measurement(
        job=trial.job.name,
        side=trial.side,
        phase=phase,
        size=trial.size,
        delay=round(trial.network.delay * 1000),
        rate=trial.network.rate,
        repeat=trial.repeat,
        code=usage.code,
        wall=usage.wall,
        cpu=usage.cpu,
        emulator_cpu=emulator_cpu,
        memory=usage.memory,
        calls=len(calls),
        reads=sum(not call.write for call in calls),
        waits=sum(task.waits for task in traced) if traced else None,
        throttled=sum("rate" in call.fault for call in calls),
        connections=len({call.connection for call in calls}),
        calling=calls[-1].time - calls[0].time if calls else 0,
    )


def output_of(case: Case) -> Path:
    """The file with the output of the latest trial."""
    return case.folder / "output.txt"
