"""Runs a program and measures what it uses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from emulator import Emulator, program_environment

CHECKOUT = Path(__file__).parents[1]
LAUNCHER = Path(__file__).with_name("launcher.py")


@dataclass(frozen=True)
class Usage:
    """What a program and its child processes used.

    :param wall: seconds.
    :param cpu: seconds of processor time.
    :param memory: peak memory of the largest process in MiB.
    :param began: ``time.monotonic`` when it was started.
    """

    code: int
    wall: float
    cpu: float
    memory: float
    began: float


def environment(aws: Emulator, folder: Path, **more: str) -> dict[str, str]:
    """A clean environment with the emulator's root keys and ``folder`` as home."""
    temporary = {f"ANSIBLE_{place}_TEMP": str(folder / "tmp") for place in ("LOCAL", "REMOTE")}
    return program_environment({"HOME": str(folder)}, temporary, aws.env(), more)


def run(arguments: Sequence[str], env: dict[str, str], log: Path) -> Usage:
    """Run a program to its end. Its output is appended to ``log``."""
    result = log.with_name("usage.json")
    with log.open("a") as output:
        subprocess.run(
            [sys.executable, "-I", "-S", LAUNCHER, result, *arguments],
            cwd=CHECKOUT,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=True,
        )
    return Usage(**json.loads(result.read_text()))


def cpu_of(pid: int) -> float:
    """The processor time in seconds that a running process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()  # the name before it can contain spaces
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
