"""The results as tables, for a terminal and for the guide."""

from __future__ import annotations

import csv
import io
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .bounds import Bound
from .jobs import ACCOUNTS, INSTANCES, SITE, TASKS, USERS, VERIFY, Job, Side
from .measure import Measurement, Phase
from .results import Results, ratio

NOTHING = ""


@dataclass(frozen=True)
class Table:
    """A header and rows. The first ``words`` columns are text, the others numbers."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: int = 1

    def text(self) -> str:
        """For a terminal."""
        lines = [self.header, *self.rows]
        widths = [max(len(line[column]) for line in lines) for column in range(len(self.header))]
        aligned = [
            "  ".join(
                cell.ljust(width) if column < self.words else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        ]
        head, *body = aligned
        return "\n".join([self.title, head, "  ".join("-" * width for width in widths), *body])

    def rst(self) -> str:
        """For the guide, with a row on each line."""
        rows = io.StringIO()
        csv.writer(rows, lineterminator="\n").writerows([self.header, *self.rows])
        return f".. csv-table:: {self.title}\n   :header-rows: 1\n\n{textwrap.indent(rows.getvalue(), '   ')}".rstrip()


def bounds(evaluated: Sequence[Bound]) -> Table:
    """The targets."""
    rows = [
        (
            str(bound.number),
            bound.what,
            number(bound.measured),
            f"{'≥' if bound.least else '≤'} {number(bound.limit)} {bound.unit}".rstrip(),
            {True: "holds", False: "MISSED", None: "not measured"}[bound.holds],
        )
        for bound in evaluated
    ]
    return Table("Targets", ("", "what", "measured", "bound", ""), rows, words=2)


def costs(results: Results) -> Iterator[Table]:
    """The costs of every job on every side."""
    for job in (USERS, INSTANCES, SITE, VERIFY, ACCOUNTS, TASKS):
        yield from costs_of(results, job)
    yield from throttled(results)


def costs_of(results: Results, job: Job) -> Iterator[Table]:
    """The costs of a job on every side."""
    for delay in results.delays(job):
        for phase in Phase:
            if table := _costs(results, job, phase, delay):
                yield table


def throttled(results: Results) -> Iterator[Table]:
    """The costs with throttling."""
    found = [one for one in results.measurements if one.rate]
    if found:
        rows = [(one.side, *_figures(one), str(one.throttled)) for one in found]
        title = f"{USERS.title}, throttled to {found[0].rate:.0f} calls a second"
        yield Table(title, ("side", *FIGURES, "throttled calls"), rows)


FIGURES = ("size", "calls", "connections", "wall s", "CPU s", "emulator's CPU s", "MiB")


def _figures(one: Measurement) -> tuple[str, ...]:
    counts = (str(one.size), str(one.calls), str(one.connections))
    return (*counts, f"{one.wall:.2f}", f"{one.cpu:.2f}", f"{one.emulator_cpu:.2f}", f"{one.memory:.0f}")


def _costs(results: Results, job: Job, phase: Phase, delay: int) -> Table | None:
    sizes = sorted({one.size for one in results.measurements if one.job == job.name})
    rows = [
        (found.side, *_figures(found), times(found, results.find(job, Side.OURS, phase, size, delay=delay)))
        for size in sizes
        for side in job.sides
        if (found := results.find(job, side, phase, size, delay=delay))
    ]
    title = f"{job.title}, {phase}" + (f", {delay} ms a call" if len(results.delays(job)) > 1 else "")
    return Table(title, ("side", *FIGURES, "wall, times ours"), rows) if rows else None


def times(one: Measurement, ours: Measurement | None) -> str:
    """The wall time as a multiple of that of this collection."""
    return number(ratio(one.wall, ours.wall if ours else None))


def payloads(results: Results) -> Table:
    """The sizes of the modules that Ansible sends to a host."""
    rows = [(one.module, f"{one.size / 1000:.0f}", str(one.files)) for one in results.payloads]
    return Table("Size of modules", ("module", "kB", "files"), rows)


def stages(results: Results) -> Table:
    """The times of the stages of a module."""
    names = list(dict.fromkeys(name for startup in results.startups for name in startup.stages))
    rows = [(name, *(f"{startup.stages.get(name, 0):.0f}" for startup in results.startups)) for name in names]
    rows.append(("all", *(f"{startup.total:.0f}" for startup in results.startups)))
    rows.append(("memory, MiB", *(f"{startup.memory:.0f}" for startup in results.startups)))
    title = "A module that changes nothing, milliseconds"
    return Table(title, ("stage", *(startup.module for startup in results.startups)), rows)


def imports(results: Results) -> Iterator[Table]:
    """The slowest imports."""
    for startup in results.startups:
        rows = [(one.module, f"{one.total:.1f}", f"{one.own:.1f}") for one in startup.imports]
        yield Table(f"Imports of {startup.module}, milliseconds", ("module", "with its own imports", "alone"), rows)


def number(value: float | None) -> str:
    """A number with three significant digits."""
    if value is None:
        return NOTHING
    if value == int(value) or abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
