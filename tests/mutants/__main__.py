"""``python -m mutants``: the share of the mutants of each pure file that the unit tests notice, and the others.

A mutant is the file with one small change, such as ``<=`` for ``<``. One that no test notices shows what is not
tested, or is listed in ``equivalent.py`` since it behaves like the original.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import shutil
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor

from import_graph import PLUGINS, PURE_FILES

from . import running
from .making import Mutant, sample

FOLDER = running.CHECKOUT / "build" / "mutants"
LEAST = 0.95
_copy: running.Copy


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m mutants", description=__doc__)
    parser.add_argument("files", nargs="*", help="paths below plugins/; all pure files if none is given")
    parser.add_argument("--sample", type=int, default=20, help="how many mutants of each file are tested")
    parser.add_argument("--seed", type=int, default=1, help="chooses other mutants")
    parser.add_argument("--workers", type=int, default=1)
    args = parser.parse_args()
    names = args.files or [str(path.relative_to(PLUGINS)) for path in PURE_FILES]
    chosen = [(name, mutant) for name in names for mutant in sample(PLUGINS / name, name, args.sample, args.seed)]
    print(f"{len(chosen)} mutants of {len(names)} files, seed {args.seed}", flush=True)
    numbers = multiprocessing.Value("i", 0)
    try:
        with ProcessPoolExecutor(args.workers, initializer=_start, initargs=(numbers,)) as pool:
            report(zip(chosen, pool.map(_test, chosen), strict=True))
    finally:
        shutil.rmtree(FOLDER, ignore_errors=True)


def report(results: Iterable[tuple[tuple[str, Mutant], bool]]) -> None:
    """Print the result of each file as soon as it is known. End with an error when one has too many survivors."""
    everything, low = [], []
    for name, of_file in itertools.groupby(results, key=lambda result: result[0][0]):
        noticed = []
        for (_, mutant), is_noticed in of_file:
            noticed.append(is_noticed)
            if not is_noticed:
                print(f"not noticed: plugins/{name}:{mutant}", flush=True)
        print(f"{sum(noticed):4} of {len(noticed):4} are noticed ({_share(noticed):.0%}): plugins/{name}", flush=True)
        everything += noticed
        low += [name] if _share(noticed) < LEAST else []
    print(f"{sum(everything):4} of {len(everything):4} are noticed ({_share(everything):.0%})")
    if low:
        raise SystemExit(f"Fewer than {LEAST:.0%} of the mutants are noticed of: {', '.join(low)}")


def _share(noticed: list[bool]) -> float:
    return sum(noticed) / len(noticed) if noticed else 1.0


def _start(numbers: multiprocessing.sharedctypes.Synchronized[int]) -> None:
    global _copy  # noqa: PLW0603 (each worker has its own)
    with numbers.get_lock():
        numbers.value += 1
        number = numbers.value
    _copy = running.Copy(FOLDER / str(number))


def _test(chosen: tuple[str, Mutant]) -> bool:
    name, mutant = chosen
    return _copy.notices(name, mutant.code)


if __name__ == "__main__":
    main()
