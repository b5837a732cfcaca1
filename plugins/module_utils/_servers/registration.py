# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The SSM agent of the host that this runs on: its registration, and the record of a run that has not finished.

https://github.com/aws/amazon-ssm-agent/blob/mainline/agent/agent_parser.go
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible.module_utils import distro

from .._ground.errors import ContentionError, CwagentError, root_advice
from .._ground.files import File, create_empty_file, delete_file, is_file, read_file, write_file
from .node import CLEAR, DEREGISTERED, DEREGISTERING, FINISHED, READ, REGISTER, REGISTERED, RESTART, RESTARTED
from .ssm_agent import SERVICE, SNAP_SERVICE, read_configuration

if TYPE_CHECKING:
    from collections.abc import Iterator


# The paths of the agent, which the controller hands on unchanged. The fragment ``ssm_agent`` documents these options.
SSM_AGENT_SPEC: dict[str, Any] = {
    "ssm_agent": {"type": "str", "default": ""},
    "ssm_agent_config": {"type": "str", "default": "/etc/amazon/ssm/amazon-ssm-agent.json"},
    "registration": {"type": "str", "default": "/var/lib/amazon/ssm/registration"},
}
HOST_SPEC: dict[str, Any] = {
    "state": {
        "type": "str",
        "choices": [READ, REGISTERED, RESTARTED, FINISHED, DEREGISTERING, DEREGISTERED],
        "default": READ,
    },
    "region": {"type": "str", "default": ""},
    "activation_id": {"type": "str", "default": ""},
    "activation_code": {"type": "str", "no_log": True},
    "run_id": {"type": "str", "default": ""},
    "known_run_id": {"type": "str", "default": ""},
    "instance_id": {"type": "str", "default": ""},
    **SSM_AGENT_SPEC,
}
HOST_RULES: dict[str, Any] = {
    "required_if": [
        ("state", REGISTERED, ("region", "activation_id", "activation_code", "run_id")),
        ("state", DEREGISTERING, ("instance_id",)),
    ]
}

SNAP = "/snap/amazon-ssm-agent/current/amazon-ssm-agent"
PROGRAMS = ("/usr/bin/amazon-ssm-agent", SNAP)
UNFINISHED = "cwagent-unfinished.json"
# It exists while a host has a registration that this collection made, and until all of it is cleared.
MARK = "cwagent-registered"
IDENTITY = "OnPrem"
TIMEOUT_SECONDS = 120
MAX_OUTPUT = 500

# https://docs.aws.amazon.com/systems-manager/latest/userguide/hybrid-multicloud-ssm-agent-install-linux.html
PAGE = "https://docs.aws.amazon.com/systems-manager/latest/userguide/hybrid-multicloud-ssm-agent-install-linux.html"
PACKAGES = "https://s3.amazonaws.com/ec2-downloads-windows/SSMAgent/latest"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv6l": "arm", "armv7l": "arm", "i386": "386", "i686": "386"}
DEB, RPM = frozenset({"debian", "raspbian"}), frozenset({"rhel", "fedora", "centos", "amzn", "suse", "sles"})


def describe_installation(distributions: set[str], machine: str) -> str:
    """Return how to install the SSM agent.

    :param distributions: ``ID`` and ``ID_LIKE`` of the operating system.
    :param machine: the processor, as ``uname -m`` prints it.
    """
    kind, page = ARCHITECTURES.get(machine, ""), f"See {PAGE}."
    if "ubuntu" in distributions:
        return f"On Ubuntu: sudo snap install amazon-ssm-agent --classic. {page}"
    if kind and distributions & DEB:
        name = "amazon-ssm-agent.deb"
        return f"On Debian: curl -O {PACKAGES}/debian_{kind}/{name} && sudo dpkg -i {name}. {page}"
    if kind and distributions & RPM:
        return f"On this system: sudo rpm --install {PACKAGES}/linux_{kind}/amazon-ssm-agent.rpm. {page}"
    return page


class SsmAgent:
    """The SSM agent. :param params: the options of ``HOST_SPEC``."""

    def __init__(self, params: dict[str, Any]) -> None:
        self._params = params
        self._registration = Path(params["registration"])
        self._unfinished = self._registration.with_name(UNFINISHED)
        self._mark = self._registration.with_name(MARK)
        self._done: list[str] = []

    def run(self) -> dict[str, Any]:
        """Do the work of the module, and return its result.

        :raises CwagentError: something failed. The details contain the actions that were ``done``.
        """
        works = {
            READ: lambda: None,
            REGISTERED: self._register,
            RESTARTED: self._restart,
            FINISHED: self._finish_registration,
            DEREGISTERING: lambda: self._record(instance_id=self._params["instance_id"]),
            DEREGISTERED: self._clear,
        }
        try:
            with self._lock():
                works[self._params["state"]]()
                return {"changed": bool(self._done), "done": self._done, **self._read()}
        except CwagentError as error:
            error.details["done"] = self._done
            raise
        except OSError as error:
            reason = f"{error.filename}: {error.strerror}" if error.filename else str(error)
            raise CwagentError(f"{reason}.{root_advice(error)}", done=self._done) from error

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Wait while another run registers this host. Until that ends, nobody knows whether there is a registration."""
        folder, registers = self._registration.parent, self._params["state"] == REGISTERED
        if registers:
            folder.mkdir(parents=True, exist_ok=True)
        elif not folder.exists():
            yield
            return
        opened = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(opened, fcntl.LOCK_EX if registers else fcntl.LOCK_SH)
            yield
        finally:
            os.close(opened)

    def _read(self) -> dict[str, Any]:
        registration, unfinished = _read_json(self._registration), _read_json(self._unfinished)
        node = registration.get("ManagedInstanceID")
        return {
            "ssm_agent": self._program,
            "installation": ""
            if self._program
            else describe_installation({distro.id(), *distro.like().split()}, platform.machine()),
            "problem": self._find_problem(),
            "marked": is_file(self._mark),
            "registration": {"instance_id": node, "region": registration.get("Region", "")} if node else None,
            "unfinished": {name: unfinished.get(name, "") for name in ("instance_id", "activation_id", "run_id")}
            if unfinished
            else None,
        }

    @property
    def _program(self) -> str:
        """The path of the program; empty if it is not installed."""
        given = self._params["ssm_agent"]
        return next((each for each in ([given] if given else PROGRAMS) if os.access(each, os.X_OK)), "")

    def _find_problem(self) -> str:
        """Return why the configuration of the agent rules out a registration."""
        path = Path(self._params["ssm_agent_config"])
        try:
            configuration = read_configuration(path.read_text(encoding="utf-8", errors="replace"))
        except FileNotFoundError:
            return ""
        if not configuration or not configuration.identities or IDENTITY in configuration.identities:
            return ""
        return (
            f"Identity.ConsumptionOrder in {path} does not contain {IDENTITY}, so its SSM agent ignores registrations. "
            f"Add {IDENTITY} there."
        )

    def _register(self) -> None:
        """Register the host, and restart the agent. The code is in the arguments of the agent while that runs.

        :raises ContentionError: the host is no longer as the controller has read it, which then found no registration.
        """
        program, params = self._required_program(), self._params
        recorded = _read_json(self._unfinished).get("run_id", "")
        if recorded != params["known_run_id"] or _read_json(self._registration).get("ManagedInstanceID"):
            raise ContentionError(
                "Another run registers this host, or has just done so. When that run has ended, run again."
            )
        # The agent asks whether to replace a registration. Only an interrupted run leaves one without its file.
        confirmation = ["-y"] if is_file(self._unfinished) else []
        self._record(activation_id=params["activation_id"], run_id=params["run_id"])
        arguments = ["-code", params["activation_code"], "-id", params["activation_id"], "-region", params["region"]]
        self._call([program, "-register", *arguments, *confirmation], "register this host")
        if not _read_json(self._registration).get("ManagedInstanceID"):
            raise CwagentError(
                f"{program} has registered this host, but {self._registration} does not contain the registration. Set "
                "registration to the path of that file."
            )
        create_empty_file(self._mark)
        self._done.append(REGISTER)
        self._restart()

    def _restart(self) -> None:
        self._control("restart")
        self._done.append(RESTART)

    def _finish_registration(self) -> None:
        create_empty_file(self._mark)
        self._finish()

    def _finish(self) -> None:
        delete_file(self._unfinished)

    def _clear(self) -> None:
        """Clear the registration, and stop the agent, which would use it until its end."""
        if self._program:
            self._call([self._program, "-register", "-clear"], "clear the registration")
            self._control("stop")
        # The agent ignores it if it cannot delete the file.
        delete_file(self._registration)
        self._done.append(CLEAR)
        self._finish()
        delete_file(self._mark)

    def _required_program(self) -> str:
        if not self._program:
            raise CwagentError("This host has no SSM agent.")
        return self._program

    def _record(self, **values: str) -> None:
        """Write the record of a run that has not finished, atomically."""
        self._unfinished.parent.mkdir(parents=True, exist_ok=True)
        write_file(self._unfinished, File(json.dumps(values), 0o600, None, None))

    def _control(self, verb: str) -> None:
        service = SNAP_SERVICE if self._program.startswith("/snap/") else SERVICE
        self._call(["systemctl", verb, service], f"{verb} the SSM agent")

    def _call(self, command: list[str], description: str) -> None:
        """Run a program without input. AnsibleModule.run_command would log its arguments if it cannot be started.

        :raises CwagentError: it failed. The message never contains the activation code.
        """
        try:
            # pylint: disable-next=ansible-bad-function
            done = subprocess.run(  # noqa: S603  no shell
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=TIMEOUT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            reason = f"{command[0]} did not end within {TIMEOUT_SECONDS} seconds"
        except OSError as error:
            reason = f"{command[0]}: {error.strerror}"
        else:
            if done.returncode == 0:
                return
            output = " ".join(done.stdout.decode(errors="replace").split())
            code = self._params["activation_code"]
            shown = (output.replace(code, "...") if code else output)[-MAX_OUTPUT:]
            reason = f"{command[0]} failed with status {done.returncode}: {shown}"
        raise CwagentError(f"Could not {description}: {reason}") from None


def _read_json(path: Path) -> dict[str, Any]:
    """Return the object in a file; empty if there is no file. :raises CwagentError: it does not contain an object."""
    file = read_file(path)
    try:
        found = json.loads((file and file.text) or "{}")
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise CwagentError(f"{path} does not contain an object in JSON. If nothing needs it, delete it, and run again.")
    return found
