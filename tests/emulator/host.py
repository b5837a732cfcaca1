"""An on-premises host, which is a folder of this machine, as the machines of instances are.

    host = aws.host(tmp_path / "web-1")
    activation = aws.client("ssm").create_activation(IamRole="CloudWatchAgentHybridRole")
    node = host.register(activation, aws.region)
    host.restart()
    assert host.credentials.exists()

The programs ``amazon-ssm-agent`` and ``systemctl`` in ``usr/bin`` are stand-ins that need no root and no variable.
``amazon_ssm_agent.py`` explains them. ``getent`` there knows only root. ``Host.environment`` puts them first on
``PATH``.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import amazon_ssm_agent, shared_credentials
from .machines import AGENT_CONTROL, AGENT_FOLDER


@dataclass(frozen=True)
class Host:
    """:param root: the folder in which all files of the host are."""

    root: Path
    endpoint: str

    def install(self, *, cloudwatch_agent: bool = False) -> None:
        for folder in ("root", "tmp", "usr/bin", "etc/amazon/ssm"):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        self._install(self.root / "usr/bin/systemctl")
        _write_program(self.root / "usr/bin/getent", shlex.join(["echo", f"root:x:0:0:root:{self.root}/root:/bin/sh"]))
        self._install(self.ssm_agent)
        if cloudwatch_agent:
            control = self.root / AGENT_FOLDER / "bin" / AGENT_CONTROL
            control.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(Path(__file__).with_name(AGENT_CONTROL), control)
            (self.root / "usr/bin" / AGENT_CONTROL).symlink_to(control)

    def _install(self, program: Path) -> None:
        words = [sys.executable, "-I", amazon_ssm_agent.__file__, str(self.root), self.endpoint, program.name]
        _write_program(program, f'exec {shlex.join(words)} "$@"')

    @property
    def ssm_agent(self) -> Path:
        """The program of the SSM agent."""
        return self.root / amazon_ssm_agent.PROGRAM

    @property
    def registration_file(self) -> Path:
        return self.root / amazon_ssm_agent.REGISTRATION

    @property
    def configuration_file(self) -> Path:
        """The SSM agent's configuration, which does not exist by default."""
        return self.root / amazon_ssm_agent.CONFIGURATION

    @property
    def credentials(self) -> Path:
        """The file in which the SSM agent shares its credentials by default."""
        return self.root / "root/.aws/credentials"

    @property
    def environment(self) -> dict[str, str]:
        """The variables of a program on the host: the search path, home and temporary folder."""
        path = os.pathsep.join([f"{self.root}/usr/bin", os.environ["PATH"]])
        return {"PATH": path, "HOME": f"{self.root}/root", "TMPDIR": str(self.root / "tmp")}

    @property
    def registration(self) -> dict[str, str] | None:
        """The content of the registration file: ``ManagedInstanceID`` and ``Region``."""
        return dict(json.loads(self.registration_file.read_text())) if self.registration_file.exists() else None

    def session(self, profile: str = "default") -> dict[str, str]:
        """The credentials that the SSM agent shares, as ``Emulator.client`` takes them."""
        keys = shared_credentials.parse(self.credentials.read_text())[profile].keys
        names = {
            "AccessKeyId": "access_key_id",
            "SecretAccessKey": "secret_access_key",
            "SessionToken": "session_token",
        }
        return {name: keys[f"aws_{key}"].value for name, key in names.items()}

    def set_service_variables(self, **variables: str) -> None:
        """Give the SSM agent's service variables, which it has from its next start on."""
        file = self.root / f"etc/systemd/system/{amazon_ssm_agent.UNIT}.service.d/override.conf"
        file.parent.mkdir(parents=True, exist_ok=True)
        lines = [f'Environment="{name}={value}"' for name, value in variables.items()]
        file.write_text("\n".join(["[Service]", *lines, ""]))

    def run(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run a program of the host."""
        return subprocess.run(
            words, env=self.environment, input=stdin, capture_output=True, text=True, check=False, timeout=60
        )

    def register(self, activation: dict[str, Any], region: str, *options: str) -> str:
        """Register with an activation, as CreateActivation returns it. :returns: the id of the node."""
        code, activation_id = activation["ActivationCode"], activation["ActivationId"]
        words = ["-register", "-code", code, "-id", activation_id, "-region", region, *options]
        done = self.run(str(self.ssm_agent), *words)
        if done.returncode:
            raise RuntimeError(done.stdout + done.stderr)
        assert self.registration
        return self.registration["ManagedInstanceID"]

    def restart(self) -> None:
        """Restart the SSM agent's service."""
        self.run("systemctl", "restart", amazon_ssm_agent.UNIT).check_returncode()


def _write_program(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)
