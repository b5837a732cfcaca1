"""Looks where a secret is while a module on a host has it."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from harness import Controller

MINIMUM_LOOKS = 3
"""How often the watching Python looks before the call that needs the secret succeeds, so that its evidence counts."""

# A Python of the host that looks for the secret while a module has it. It looks in all files of the home folder, which
# contains the temporary files too, and in the arguments and environments of all processes.
WATCHING_PYTHON = """\
#!{python}
import contextlib, json, os, pathlib, subprocess, sys
payload = b"" if sys.argv[1:] else sys.stdin.buffer.read()  # with pipelining, Python has no arguments
secrets = [path.read_bytes() for path in pathlib.Path({secrets!r}).glob("*")]
held = [secret for secret in secrets if secret in payload]
environ = {{**os.environ, **({environ!r} if held else {{}})}}
child = subprocess.Popen([{python!r}, *sys.argv[1:]], stdin=None if sys.argv[1:] else subprocess.PIPE, env=environ)
if child.stdin:
    child.stdin.write(payload)
    child.stdin.close()
looks, seen = 0, set()
while held and (looks == 0 or child.poll() is None):
    looks += 1
    proc = [path for path in pathlib.Path("/proc").glob("[0-9]*/*") if path.name in ("cmdline", "environ")]
    for path in [*proc, *pathlib.Path({home!r}).rglob("*")]:
        if pathlib.Path({secrets!r}) in path.parents:
            continue
        with contextlib.suppress(OSError):
            seen |= {{str(path)}} if any(secret in path.read_bytes() for secret in held) else set()
    if looks == {minimum}:
        pathlib.Path({looked!r}).touch()
if held:
    with open({evidence!r}, "a") as file:
        file.write(json.dumps(sorted(seen)) + "\\n")
sys.exit(child.wait())
"""


@dataclass(frozen=True)
class Watch:
    """A Python for the host that looks where a secret is while a module has it."""

    home: Path

    @property
    def python(self) -> Path:
        return self.home / "watching-python"

    @classmethod
    def of(cls, controller: Controller, secret: str, **environ: str) -> Watch:
        """:param environ: variables that a module with the secret has besides."""
        watch = cls(controller.home)
        folder = watch.secrets
        folder.mkdir()
        (folder / "0").write_text(secret)
        places = {"home": str(watch.home), "secrets": str(folder)}
        results = {"evidence": str(watch.home / "evidence"), "looked": str(watch.looked)}
        program = {"python": sys.executable, "minimum": MINIMUM_LOOKS, "environ": environ}
        text = WATCHING_PYTHON.format(**program, **results, **places)
        controller.program(watch.python.name, text)
        return watch

    @property
    def secrets(self) -> Path:
        """The folder with the secret, in which the Python does not look."""
        return self.home / "secrets"

    @property
    def looked(self) -> Path:
        """A file that is there as soon as the Python has looked often enough."""
        return self.home / "looked"

    def evidence(self) -> list[list[str]]:
        """By module that had a secret: where it was."""
        return [json.loads(line) for line in (self.home / "evidence").read_text().splitlines()]
