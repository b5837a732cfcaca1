"""Running a program and seeing what it costs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from emulator import Emulator

CHECKOUT = Path(__file__).parents[1]
LAUNCHER = Path(__file__).with_name("launcher.py")
FOREIGN = ("AWS_", "ANSIBLE_", "BOTO_", "PYTHON", "http", "HTTP", "all_proxy", "ALL_PROXY")


@dataclass(frozen=True)
class Usage:
    """What a program and all it started cost.

    :param wall: seconds.
    :param cpu: seconds of processor time.
    :param memory: MiB that the largest of its processes held at most.
    :param began: ``time.monotonic`` when it was started.
    """

    code: int
    wall: float
    cpu: float
    memory: float
    began: float


def environment(aws: Emulator, folder: Path, **more: str) -> dict[str, str]:
    """A clean environment with the emulator's root keys and a home of its own."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(FOREIGN)}
    path = os.pathsep.join([str(Path(sys.executable).parent), clean["PATH"]])
    temporary = {f"ANSIBLE_{place}_TEMP": str(folder / "tmp") for place in ("LOCAL", "REMOTE")}
    return {**clean, "PATH": path, "HOME": str(folder), "LC_ALL": "C.UTF-8", **temporary, **aws.env(), **more}


def run(arguments: Sequence[str], env: dict[str, str], log: Path) -> Usage:
    """Run a program to its end; what it prints is added to ``log``."""
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
    """The seconds of processor time that a running process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()  # the name before it can hold anything
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
