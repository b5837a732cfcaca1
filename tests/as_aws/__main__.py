"""``python -m as_aws``: live one life of an installation for each seed, and print its minutes and its problems."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from emulator import Emulator
from harness import Play

from .life import Life, live


def report(life: Life, seconds: float) -> str:
    """The lines that are printed about a life."""
    unkind = ", ".join(f"{count} {behaviour}" for behaviour, count in life.unkind_answers.items())
    calls = sum(len(play.calls) for play in life.plays)
    longest = max(each.seconds for play in life.plays for each in play.results)
    head = f"seed {life.seed:3} {life.store:14} {life.storing:8} {seconds / 60:4.1f} minutes"
    lines = [f"{head}, {calls} calls, longest task {longest:.0f} s, {unkind}"]
    return "\n    ".join([*lines, *life.problems])


def record(play: Play) -> str:
    """The output of a run, and its calls."""
    calls = [
        f"{call.time:.3f} {call.action} {call.status} {call.error} {call.unkind} {call.params}" for call in play.calls
    ]
    return "\n".join([play.output, *calls])


def main() -> None:
    parser = argparse.ArgumentParser(prog="as_aws", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="where the output of seeds with problems is kept")
    args = parser.parse_args()

    def run(seed: int) -> bool:
        with tempfile.TemporaryDirectory() as folder, Emulator.start("ministack") as aws:
            began = time.monotonic()
            life = live(aws, Path(folder), seed)
            print(report(life, time.monotonic() - began), flush=True)
            if life.problems and args.keep:
                args.keep.mkdir(parents=True, exist_ok=True)
                (args.keep / f"{seed}.txt").write_text("\n".join(record(play) for play in life.plays))
            return not life.problems

    with ThreadPoolExecutor(args.workers) as pool:
        passed = list(pool.map(run, range(args.first, args.first + args.seeds)))
    print(f"{sum(passed)} of {len(passed)} seeds without a problem")
    sys.exit(0 if all(passed) else 1)


if __name__ == "__main__":
    main()
