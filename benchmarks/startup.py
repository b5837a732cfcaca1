"""The costs of a module apart from its calls: its size, its imports, its start and its end."""

from __future__ import annotations

import base64
import io
import json
import re
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .case import Case
from .jobs import TASKS, USERS, Job, Side
from .process import environment, run

STAGES = Path(__file__).with_name("stages.py")
RUNS = 7
LONGEST = 12
START, END = "start the interpreter", "end the process"


@dataclass(frozen=True)
class Payload:
    """A module as Ansible sends it to a host: a Python file that contains a zip. :param size: bytes."""

    side: str
    module: str
    size: int
    files: int


@dataclass(frozen=True)
class Import:
    """An import and its milliseconds. :param total: including the imports of the imported module."""

    module: str
    own: float
    total: float


@dataclass(frozen=True)
class Startup:
    """A run of a module that changes nothing, as Ansible starts it but without Ansible.

    :param stages: by stage, milliseconds in the fastest of some runs.
    :param memory: peak memory in MiB.
    :param unused: files of a collection in the payload that were not imported.
    :param idle_clients: created clients for services that were not called.
    :param s3transfer: whether it was imported.
    :param imports: the slowest imports.
    """

    side: str
    module: str
    stages: dict[str, float]
    memory: float
    unused: Sequence[str]
    idle_clients: int
    s3transfer: bool
    imports: Sequence[Import]

    @property
    def total(self) -> float:
        """Milliseconds from start to end."""
        return sum(self.stages.values())


def payloads(case: Case) -> list[Payload]:
    """The modules that create users with keys, and a role, on both sides."""
    return [
        Payload(side, name, path.stat().st_size, len(_names(path)))
        for job, side in ((USERS, Side.OURS), (USERS, Side.LOOP), (TASKS, Side.OURS), (TASKS, Side.PEER))
        for name, path in _sent(case, job, side).items()
        if name.startswith(("cwagent_", "iam_"))
    ]


def startups(case: Case) -> list[Startup]:
    """A task on a role that changes nothing, on both sides."""
    return [_startup(case, side) for side in (Side.OURS, Side.PEER)]


def _sent(case: Case, job: Job, side: Side) -> dict[str, Path]:
    """By name, the files of the modules that a side sends for a job of size one."""
    case.prepare(job.fleet(1))
    env = environment(case.aws, case.folder, ANSIBLE_KEEP_REMOTE_FILES="1")
    usage = run(job.program(side, case.folder), env, case.folder / "output.txt")
    if usage.code:
        raise RuntimeError(f"{job.name} of {side} failed: {(case.folder / 'output.txt').read_text()}")
    return {path.stem.partition("_")[2]: path for path in (case.folder / "tmp").rglob("AnsiballZ_*.py")}


def _names(payload: Path) -> list[str]:
    """The files in the zip."""
    found = re.search(r"zip_data='([^']+)'|ZIPDATA = [\"']+([^\"']+)", payload.read_text())
    if not found:
        raise RuntimeError(f"{payload} has no zip in it")
    return zipfile.ZipFile(io.BytesIO(base64.b64decode(found[1] or found[2]))).namelist()


def _startup(case: Case, side: Side) -> Startup:
    [(module, payload)] = _sent(case, TASKS, side).items()
    env, log, seen_in = environment(case.aws, case.folder), case.folder / "output.txt", case.folder / "seen.json"
    runs = []
    for _ in range(RUNS):
        since = case.aws.mark()
        usage = run([sys.executable, str(STAGES), str(seen_in), str(payload)], env, log)
        seen = json.loads(seen_in.read_text())
        around = {START: seen["began"] - usage.began, END: usage.began + usage.wall - seen["ended"]}
        runs.append({**around, **seen["spent"]})
    services = {call.service for call in case.aws.calls(since)}
    return Startup(
        side=side,
        module=module,
        stages={name: seconds * 1000 for name, seconds in min(runs, key=lambda one: sum(one.values())).items()},
        memory=run([sys.executable, str(payload)], env, log).memory,
        unused=sorted(set(map(_module, filter(_of_collection, _names(payload)))) - set(seen["modules"])),
        idle_clients=seen["counted"].get("create a client", 0) - len(services),
        s3transfer="s3transfer" in seen["modules"],
        imports=_imports(payload, env, case.folder / "imports.txt"),
    )


def _of_collection(name: str) -> bool:
    return name.startswith("ansible_collections/") and not name.endswith("__init__.py") and "/modules/" not in name


def _module(name: str) -> str:
    return name.removesuffix(".py").replace("/", ".")


def _imports(payload: Path, env: dict[str, str], log: Path) -> list[Import]:
    """The output of ``-X importtime``, the slowest first."""
    log.unlink(missing_ok=True)
    run([sys.executable, "-X", "importtime", str(payload)], env, log)
    found = re.findall(r"import time:\s+(\d+) \|\s+(\d+) \| +(\S+)", log.read_text())
    imports = [Import(module, int(own) / 1000, int(total) / 1000) for own, total, module in found]
    return sorted(imports, key=lambda one: one.total, reverse=True)[:LONGEST]
