"""A CloudWatch agent of which only the control program exists."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

# Logs its arguments. At each start, the agent gives all of its folder to its run_as_user: see ``changeFileOwner`` in
# ``internal/util/user/userutil.go``.
CONTROL = """\
#!/bin/sh
cd "$(dirname "$0")"
echo "$@" >> actions
case "$2" in
    status) cat status ;;
    start) test ! -e run_as || chown -R "$(cat run_as)" etc ;;
esac
"""


@dataclass(frozen=True)
class Agent:
    """:param root: the folder of the control program and its files."""

    root: Path

    def install(self) -> None:
        """Install an agent that runs."""
        self.control.write_text(CONTROL)
        self.control.chmod(0o755)
        shown = {"status": "running", "starttime": "2030-01-01T00:00:00+0000", "cwoc_status": "running"}
        (self.root / "status").write_text(json.dumps(shown, indent=2))

    @property
    def control(self) -> Path:
        return self.root / "ctl"

    def actions(self) -> list[str]:
        """The actions of the control program since the last call, without status."""
        log = self.root / "actions"
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return [line.split()[1] for line in lines if "status" not in line]


@dataclass(frozen=True)
class AgentHost:
    """A host that is a folder, with an agent, the agent's settings and the file with its access key."""

    root: Path

    def install(self, settings: str) -> None:
        """Install an agent that runs and has these settings."""
        self.file.parent.mkdir(parents=True)
        self.config.write_bytes(settings.encode())
        self.agent.install()

    @property
    def agent(self) -> Agent:
        return Agent(self.root)

    @property
    def file(self) -> Path:
        return self.root / "etc" / "cwagent.credentials"

    @property
    def config(self) -> Path:
        return self.root / "etc" / "common-config.toml"
