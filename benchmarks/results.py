"""All measurements, and functions to find them."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from .jobs import PEERS, Job, Side
from .measure import Measurement, Phase
from .startup import Payload, Startup


@dataclass
class Results:
    """The measurements, and the trials that failed."""

    measurements: list[Measurement] = field(default_factory=list)
    payloads: Sequence[Payload] = ()
    startups: Sequence[Startup] = ()
    failures: list[str] = field(default_factory=list)

    def find(self, job: Job, side: Side, phase: Phase, size: int, *, delay: int = 0) -> Measurement | None:
        """The unthrottled measurement with the median wall time of its repeats; ``None`` where there is none."""
        kind = (job.name, side, phase, size, delay, 0)
        found = [one for one in self.measurements if _kind(one) == kind and not one.failed]
        return statistics.median_low(_ByWall(one) for one in found).measurement if found else None

    def sizes(self, job: Job, side: Side, phase: Phase, delay: int) -> list[int]:
        """The sizes that were measured without throttling, in order."""
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

    def extrapolated_wall(self, job: Job, side: Side, phase: Phase, size: int, *, delay: int) -> float | None:
        """The wall time at a size, extrapolated from the two largest measured sizes if it was not measured."""
        if wall := self.wall(job, side, phase, size, delay=delay):
            return wall
        known = [one for one in self.sizes(job, side, phase, delay) if one < size][-2:]
        if len(known) < 2:
            return None
        low, high = (self.find(job, side, phase, one, delay=delay) for one in known)
        return extrapolate(size, low, high) if low and high else None

    def faster_peer(self, job: Job, phase: Phase, size: int, delay: int) -> float | None:
        """The wall time of the faster side that uses amazon.aws."""
        walls = [self.extrapolated_wall(job, side, phase, size, delay=delay) for side in PEERS if side in job.sides]
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


def extrapolate(size: int, low: Measurement, high: Measurement) -> float:
    """The wall time at a larger size, extrapolated from two measurements."""
    return high.wall + (high.wall - low.wall) / (high.size - low.size) * (size - high.size)


def ratio(part: float | None, whole: float | None) -> float | None:
    """``part`` over ``whole``; ``None`` where either is unknown."""
    return part / whole if part is not None and whole else None


def largest(values: Iterable[float | None]) -> float | None:
    """The largest known value."""
    return max((value for value in values if value is not None), default=None)
