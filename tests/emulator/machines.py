"""The machine behind an instance: a disk, and processes that run on it.

The disk is a folder. It is not the root of the processes, which also see the files and programs of this machine; but
``TMPDIR`` and the programs that come first on ``PATH`` are on it:

- ``root/`` is the home of root, to which no variable points: the SSM agent sets no ``HOME``. ``tmp/`` is the temporary
  folder.
- ``usr/bin/aws`` is the AWS CLI, unless the instance has none.
- ``usr/bin/amazon-cloudwatch-agent-ctl`` is, as with the agent's packages, a link to
  ``opt/aws/amazon-cloudwatch-agent/bin/``, where the agent is installed. So a script finds the agent by ``command -v``
  and its files by ``readlink -f``, here and on a real instance.
- ``var/lib/amazon/ssm/`` has the scripts and the outputs of commands.

The disk of a hybrid server is the folder of its host, which stays.

The processes have no variable of this process. They and the disks are gone when the emulator ends, even killed.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .environment import NO_METADATA

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
AGENT_CONTROL = "amazon-cloudwatch-agent-ctl"
AGENT_FOLDER = Path("opt/aws/amazon-cloudwatch-agent")
KILLED = 137
"""The exit code that the SSM agent reports for a script that it killed."""

# Reads the ids of process groups, each when it begins and again when it has ended, until the emulator has ended.
CLEANER = """
import os, shutil, signal, sys
running = set()
for line in sys.stdin:
    running ^= {int(line)}
for group in running:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        pass
shutil.rmtree(sys.argv[1], ignore_errors=True)
"""


class Machines:
    """The disks and processes of all instances. :param aws_cli: the AWS CLI of the instances that have one."""

    def __init__(self, aws_cli: str) -> None:
        self.aws_cli = aws_cli
        self.endpoint = ""
        self._folder = Path(tempfile.mkdtemp(prefix="emulator-")).resolve()
        self._system_path = system_path(self._folder / "system", SYSTEM_PATH)
        self.disks, self.saved = self._folder / "disks", self._folder / "saved"
        self.disks.mkdir()
        self.hosts: dict[str, tuple[Path, dict[str, str]]] = {}
        """By node, the folder of its host, and the variables of its credentials."""
        self._processes: list[Process] = []
        self._cleaner = subprocess.Popen(
            [sys.executable, "-I", "-c", CLEANER, str(self._folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )

    def reset(self) -> None:
        for process in self._processes[:]:
            process.kill()
        self.hosts.clear()
        for disk in self.disks.iterdir():
            shutil.rmtree(disk, ignore_errors=True)

    def disk(self, instance: str) -> Path:
        return self.hosts[instance][0] if instance in self.hosts else self.disks / instance

    def environment(self, instance: str, region: str) -> dict[str, str]:
        """All variables of a script on the instance."""
        disk = self.disk(instance)
        return {
            "PATH": f"{disk}/usr/bin:{self._system_path}",
            "TMPDIR": str(disk / "tmp"),
            "AWS_SSM_INSTANCE_ID": instance,
            "AWS_SSM_REGION_NAME": region,
            "AWS_ENDPOINT_URL": self.endpoint,
            **self._credentials(instance),
        }

    def _credentials(self, instance: str) -> dict[str, str]:
        """The variables with the places of credentials."""
        if instance in self.hosts:
            return {"AWS_EC2_METADATA_SERVICE_ENDPOINT": NO_METADATA, **self.hosts[instance][1]}
        return {"AWS_EC2_METADATA_SERVICE_ENDPOINT": f"{self.endpoint}/_imds/{instance}"}

    def install(self, instance: str, region: str, *, aws_cli: bool, cloudwatch_agent: bool) -> None:
        """Install these programs on the disk, and remove the others. Everything else on the disk stays.

        On a host, the CloudWatch agent stays as well.
        """
        disk = self.disk(instance)
        programs = disk / "usr/bin"
        for folder in (programs, disk / "root", disk / "tmp", disk / AGENT_FOLDER / "bin"):
            folder.mkdir(parents=True, exist_ok=True)
        _link(programs / "aws", Path(self.aws_cli) if aws_cli and self.aws_cli else None)
        control = disk / AGENT_FOLDER / "bin" / AGENT_CONTROL
        if cloudwatch_agent and not control.exists():
            shutil.copy(Path(__file__).with_name(AGENT_CONTROL), control)
            (control.parent / "region").write_text(region)
        if not cloudwatch_agent and instance not in self.hosts:
            shutil.rmtree(disk / AGENT_FOLDER)
        _link(programs / AGENT_CONTROL, control if control.exists() else None)

    def start(self, instance: str, region: str, command_id: str, script: Iterable[str]) -> Process:
        """Run a script as the SSM agent does."""
        folder = self.disk(instance) / "var/lib/amazon/ssm" / command_id
        folder.mkdir(parents=True)
        file = folder / "_script.sh"
        file.write_text("\n".join(script) + "\n")
        file.chmod(0o700)
        with (folder / "stdout").open("wb") as stdout, (folder / "stderr").open("wb") as stderr:
            popen = subprocess.Popen(
                ["/bin/sh", "-c", shlex.quote(str(file))],
                env=self.environment(instance, region),
                cwd=self.disk(instance),
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        process = Process(self, popen, folder)
        self._processes.append(process)
        self._tell(process)
        return process

    def ended(self, process: Process) -> None:
        self._processes.remove(process)
        self._tell(process)

    def _tell(self, process: Process) -> None:
        assert self._cleaner.stdin
        print(process.popen.pid, file=self._cleaner.stdin, flush=True)


@dataclass
class Process:
    """A script that runs. :param folder: of its output."""

    machines: Machines
    popen: subprocess.Popen[bytes]
    folder: Path

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""
        is_new = self.popen.returncode is None
        code = self.popen.poll()
        if is_new and code is not None:
            self._end()
        return code

    def kill(self) -> None:
        if self.poll() is None:
            os.killpg(self.popen.pid, signal.SIGKILL)
            self.popen.wait()
            self._end()

    def _end(self) -> None:
        """End the processes that the script left running."""
        with suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.machines.ended(self)

    def output(self, name: str) -> str:
        return (self.folder / name).read_bytes().decode("utf-8", "replace")


def system_path(folder: Path, path: str) -> str:
    """A search path without an AWS CLI: the same one, or a folder of links to all other programs."""
    if shutil.which("aws", path=path) is None:
        return path
    folder.mkdir()
    for program in (program for each in path.split(":") for program in Path(each).glob("*")):
        link = folder / program.name
        if not program.name.startswith("aws") and not link.is_symlink():
            link.symlink_to(program)
    return str(folder)


def _link(link: Path, target: Path | None) -> None:
    link.unlink(missing_ok=True)
    if target:
        link.symlink_to(target)
