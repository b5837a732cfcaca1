"""``python -m mutants``: the share of mutants that the tests notice, and the others.

A mutant is a file with one small change, such as ``<=`` for ``<``. One that no test notices shows what is not tested,
or is listed in ``equivalent.py`` since it behaves like the original.

- ``pure``: a pure file changes, and the unit tests of its package run.
- ``aws``: a file changes that reads, writes or connects others. All tests without Ansible that reach the line run.
- ``conditions``: a condition of a playbook or role changes, and the tests run that run the file.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from import_graph import PLUGINS, PURE_FILES

from . import conditions, running
from .making import Mutant, sample
from .reach import NAMES, Reach

KINDS = ("pure", "aws", "conditions")
FOLDER = running.CHECKOUT / "build" / "mutants"
REACH = running.CHECKOUT / "build" / "reach"
LEAST = 0.95
AWS_FILES = sorted(
    path
    for folder in ("module_utils", "action", "lookup", "inventory")
    for path in (PLUGINS / folder).rglob("*.py")
    if path not in PURE_FILES and path.stem not in ("__init__", "options")
)
WITHOUT_ANSIBLE = ("tests/unit/plugins", "tests/integration/modules")
WITH_ANSIBLE = ("tests/integration/journeys", "tests/integration/runs")
_copy: running.Copy


@dataclass(frozen=True)
class Trial:
    """A mutant of a file, and the tests that run on it. :param name: the path of the file in the checkout."""

    name: str
    mutant: Mutant
    tests: tuple[str, ...]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m mutants", description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("files", nargs="*", help="paths below plugins/, or of playbooks and roles; all by default")
    parser.add_argument("--sample", type=positive, default=20, help="how many mutants of each file, or else in all")
    parser.add_argument("--seed", type=int, default=1, help="chooses other mutants")
    parser.add_argument("--workers", type=positive, default=1)
    parser.add_argument("--reach", type=Path, help="a folder with the reach of the tests, instead of a new one")
    args = parser.parse_args()
    if unknown := {*args.files}.difference(*map(files_of, KINDS)):
        parser.error(f"there is no such file: {', '.join(sorted(unknown))}")
    if args.reach and not (args.reach / NAMES).exists():
        parser.error(f"{args.reach} has no reach of tests")
    args.files = [name for name in files_of(args.kind) if not args.files or name in args.files]
    if not args.files:
        print(f"None of the files is of the kind {args.kind}.")
        return
    trials = {"pure": pure_trials, "aws": aws_trials, "conditions": condition_trials}[args.kind](args)
    print(f"{len(trials)} mutants of {len({each.name for each in trials})} files, seed {args.seed}", flush=True)
    numbers = multiprocessing.Value("i", 0)
    try:
        with ProcessPoolExecutor(args.workers, initializer=_start, initargs=(numbers,)) as pool:
            report(zip(trials, pool.map(_test, trials), strict=True), least=LEAST if args.kind == "pure" else 0)
    finally:
        shutil.rmtree(FOLDER, ignore_errors=True)


def positive(text: str) -> int:
    """A number of the command line. :raises ArgumentTypeError: it is less than 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 1 on")
    return int(text)


def files_of(kind: str) -> list[str]:
    """The files of a kind: paths below plugins/, or of the checkout for conditions."""
    if kind == "conditions":
        return [str(path.relative_to(running.CHECKOUT)) for path in conditions.FILES]
    return [str(path.relative_to(PLUGINS)) for path in (PURE_FILES if kind == "pure" else AWS_FILES)]


def pure_trials(args: argparse.Namespace) -> list[Trial]:
    """A sample of each pure file."""
    return [
        Trial(f"plugins/{name}", mutant, (running.unit_tests(name),))
        for name in args.files
        for mutant in sample(PLUGINS / name, name, args.sample, args.seed)
    ]


def aws_trials(args: argparse.Namespace) -> list[Trial]:
    """A sample of all other files together, in proportion to their size."""
    reach = record(WITHOUT_ANSIBLE, args)
    total = sum(len((PLUGINS / name).read_text().splitlines()) for name in args.files)
    found = []
    for name in args.files:
        length = len((PLUGINS / name).read_text().splitlines())
        for mutant in sample(PLUGINS / name, name, -(-args.sample * length // total), args.seed):
            lines = range(mutant.line, mutant.line + mutant.lines)
            found.append(Trial(f"plugins/{name}", mutant, tuple(reach.tests(name, lines))))
    random.Random(args.seed).shuffle(found)  # noqa: S311 (no secret)
    return sorted(found[: args.sample], key=lambda each: (each.name, each.mutant.line))


def condition_trials(args: argparse.Namespace) -> list[Trial]:
    """A sample of the conditions of playbooks and roles."""
    reach = record(WITH_ANSIBLE, args)
    chosen = conditions.sample(args.files, args.sample, args.seed)
    return [
        Trial(name, mutant, tuple(reach.tests_of_tasks(name) or reach.tests_of_tasks(*conditions.importers(name))))
        for name, mutant in chosen
    ]


def record(tests: Iterable[str], args: argparse.Namespace) -> Reach:
    """Run tests to record their reach, unless a folder with it is given."""
    if args.reach:
        return Reach(args.reach)
    shutil.rmtree(REACH, ignore_errors=True)
    REACH.mkdir(parents=True)
    command = [sys.executable, "-m", "pytest", "-q", "-pmutants.reach", f"-n{args.workers}", *tests]
    subprocess.run(command, check=True, cwd=running.CHECKOUT, env={**os.environ, "REACH": str(REACH)})
    return Reach(REACH)


def report(results: Iterable[tuple[Trial, bool]], least: float) -> None:
    """Print the result of each file as soon as it is known. End with an error when one has too many survivors."""
    everything, low = [], []
    for name, of_file in itertools.groupby(results, key=lambda result: result[0].name):
        noticed = []
        for trial, is_noticed in of_file:
            noticed.append(is_noticed)
            if not is_noticed:
                print(f"not noticed by {len(trial.tests)} tests: {name}:{trial.mutant}", flush=True)
        print(f"{sum(noticed):4} of {len(noticed):4} are noticed ({_share(noticed):.0%}): {name}", flush=True)
        everything += noticed
        low += [name] if _share(noticed) < least else []
    print(f"{sum(everything):4} of {len(everything):4} are noticed ({_share(everything):.0%})")
    if low:
        raise SystemExit(f"Fewer than {least:.0%} of the mutants are noticed of: {', '.join(low)}")


def _share(noticed: list[bool]) -> float:
    return sum(noticed) / len(noticed) if noticed else 1.0


def _start(numbers: multiprocessing.sharedctypes.Synchronized[int]) -> None:
    global _copy  # noqa: PLW0603 (each worker has its own)
    with numbers.get_lock():
        numbers.value += 1
        number = numbers.value
    _copy = running.Copy(FOLDER / str(number))


def _test(trial: Trial) -> bool:
    return bool(trial.tests) and _copy.notices(trial.name, trial.mutant.code, trial.tests)


if __name__ == "__main__":
    main()
