"""All that was measured, and looking things up in it."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from .jobs import PEERS, Job, Side
from .measure import Measurement, Phase
from .startup import Payload, Startup


@dataclass
class Results:
    """What was measured, and what could not be."""

    measurements: list[Measurement] = field(default_factory=list)
    payloads: Sequence[Payload] = ()
    startups: Sequence[Startup] = ()
    failures: list[str] = field(default_factory=list)

    def find(self, job: Job, side: Side, phase: Phase, size: int, *, delay: int = 0) -> Measurement | None:
        """Not throttled, the one with the median wall time of its repeats; ``None`` where the job was not done."""
        kind = (job.name, side, phase, size, delay, 0)
        found = [one for one in self.measurements if _kind(one) == kind and not one.failed]
        return statistics.median_low(_ByWall(one) for one in found).measurement if found else None

    def sizes(self, job: Job, side: Side, phase: Phase, delay: int) -> list[int]:
        """The sizes that were measured without a rate, in order."""
        return sorted(
            {
                one.size
                for one in self.measurements
                if _kind(one) == (job.name, side, phase, one.size, delay, 0) and not one.failed
            }
        )

    def wall(self, job: Job, side: Side, phase: Phase, size: int, *, delay: int) -> float | None:
        """The wall time at a size, if it was measured."""
        found = self.find(job, side, phase, size, delay=delay)
        return found.wall if found else None

    def extended_wall(self, job: Job, side: Side, phase: Phase, size: int, *, delay: int) -> float | None:
        """The wall time at a size; where it was not measured, from the two largest sizes that were."""
        if wall := self.wall(job, side, phase, size, delay=delay):
            return wall
        known = [one for one in self.sizes(job, side, phase, delay) if one < size][-2:]
        if len(known) < 2:
            return None
        low, high = (self.find(job, side, phase, one, delay=delay) for one in known)
        return extended(size, low, high) if low and high else None

    def faster_peer(self, job: Job, phase: Phase, size: int, delay: int) -> float | None:
        """The wall time of the faster way to use amazon.aws."""
        walls = [self.extended_wall(job, side, phase, size, delay=delay) for side in PEERS if side in job.sides]
        return min((wall for wall in walls if wall is not None), default=None)

    def delays(self, job: Job) -> list[int]:
        """The delays that a job was measured with."""
        return sorted({one.delay for one in self.measurements if one.job == job.name})


@dataclass(frozen=True)
class _ByWall:
    measurement: Measurement

    def __lt__(self, other: _ByWall) -> bool:
        return self.measurement.wall < other.measurement.wall


def _kind(one: Measurement) -> tuple[object, ...]:
    return (one.job, one.side, one.phase, one.size, one.delay, one.rate)


def extended(size: int, low: Measurement, high: Measurement) -> float:
    """The wall time at a larger size, on the line through two measurements."""
    return high.wall + (high.wall - low.wall) / (high.size - low.size) * (size - high.size)


def ratio(part: float | None, whole: float | None) -> float | None:
    """How many times the one is the other; ``None`` where either is not known."""
    return part / whole if part is not None and whole else None


def largest(values: Iterable[float | None]) -> float | None:
    """The largest of those that are known."""
    return max((value for value in values if value is not None), default=None)
