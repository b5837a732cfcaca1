"""Runs the playbooks as a user does, each with the credentials of its duty."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .account import LiveAccount
from .names import (
    ADMIN_ROLE,
    ADMIN_USER,
    HYBRID_ROLE,
    HYBRID_SERVER,
    HYBRID_USER,
    KEY_PREFIX,
    PARAMETER,
    SERVER_ROLE,
    SERVER_USER,
)

CHECKOUT = Path(__file__).parents[2]
PROGRAMS = Path(sys.executable).parent
"""The folder of Ansible's programs."""
PLAY_SECONDS = 1800
CREDENTIALS = ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
FAILURE = re.compile(r"^(?:\[ERROR\]|fatal:)", re.MULTILINE)
"""The beginning of a failure, whose reason Ansible prints once."""
RECAP = re.compile(r"^\S+ +: ok=\d+ +changed=(\d+) ", re.MULTILINE)


@dataclass(frozen=True)
class Run:
    """A run of a playbook."""

    playbook: str
    code: int
    output: str
    seconds: float

    @property
    def changed(self) -> int:
        """The number of tasks that changed something."""
        return sum(int(found) for found in RECAP.findall(self.output))

    @property
    def problem(self) -> str:
        """Why it failed; empty where it did not."""
        if self.code == 0 and "Traceback" not in self.output:
            return ""
        last = max(0, len(self.output) - 3000)
        failure = FAILURE.search(self.output)
        begin = min(failure.start(), last) if failure else last
        return f"{self.playbook} ended with {self.code}:\n{self.output[begin:]}"


@dataclass
class Playbooks:
    """The inventory and the variables of an acceptance run.

    :param folder: for the inventory and the configuration.
    :param timeouts: variables of the playbooks that limit how long they wait.
    :param hybrid_host: the variables with which Ansible connects to the on-premises server that is registered.
    :param has_hybrid_server: whether the inventory has that server, as it does in the steps that are about it.
    """

    account: LiveAccount
    folder: Path
    timeouts: Mapping[str, Any] = field(default_factory=dict)
    hybrid_host: Mapping[str, Any] = field(default_factory=dict)
    has_hybrid_server: bool = False

    def configure(self, interval: int) -> dict[str, Any]:
        """Write the configuration that is to be stored. :param interval: tells it from others."""
        config = {
            "agent": {"metrics_collection_interval": interval},
            "metrics": {"metrics_collected": {"mem": {"measurement": ["mem_used_percent"]}}},
        }
        (self.folder / "agent.json").write_text(json.dumps(config))
        return config

    def compile(self, parameter: str, config: Mapping[str, Any]) -> tuple[Run, list[dict[str, Any]]]:
        """Run policy.yml without credentials. :returns: the run, and the documents that it wrote."""
        given, written = self.folder / "compiled.json", self.folder / "policy.json"
        given.write_text(json.dumps(config))
        variables = {"cwagent_parameter_name": parameter, "cwagent_config_file": str(given)}
        run = self.run("policy", "", **variables, cwagent_report_files=[str(written)])
        found = json.loads(written.read_text()) if written.exists() else []
        return run, found if isinstance(found, list) else [found]

    def has_saved_key(self, user: str) -> bool:
        """Whether the access key of a user is saved."""
        return KEY_PREFIX + user in self.account.secrets()

    def run(self, playbook: str, duty: str, *options: str, **variables: Any) -> Run:
        """Run a playbook until it ends."""
        began = time.monotonic()
        with self._start(self._command(playbook, options, variables), duty) as process:
            output, _nothing = process.communicate(timeout=PLAY_SECONDS)
        return Run(playbook, process.returncode, output, time.monotonic() - began)

    def module(self, module: str, duty: str, **arguments: Any) -> Run:
        """Run a module of the collection alone."""
        began = time.monotonic()
        command = ["ansible", "localhost", "-m", f"cwagent.iam.{module}", "-a", json.dumps(arguments)]
        with self._start(command, duty) as process:
            output, _nothing = process.communicate(timeout=PLAY_SECONDS)
        return Run(module, process.returncode, output, time.monotonic() - began)

    def kill_when(self, condition: Callable[[], bool], playbook: str, duty: str) -> bool:
        """Kill a playbook as soon as a condition holds. :returns: whether it did before the playbook ended."""
        with self._start(self._command(playbook, (), {}), duty) as process:
            while not (held := condition()) and process.poll() is None:
                time.sleep(0.2)  # AWS does not notify of changes
            if held:
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
        return held

    def _command(self, playbook: str, options: Sequence[str], variables: Mapping[str, Any]) -> list[str]:
        inventory = self.folder / "hosts.json"
        inventory.write_text(json.dumps(self._inventory()))
        given = json.dumps({**self._variables(), **variables})
        return ["ansible-playbook", f"playbooks/{playbook}.yml", "-i", str(inventory), *options, "-e", given]

    def _start(self, command: Sequence[str], duty: str) -> subprocess.Popen[str]:
        program, *arguments = command
        environ = {name: value for name, value in os.environ.items() if name not in CREDENTIALS}
        if duty:
            environ.update(self.account.credentials(duty), AWS_REGION=self.account.region)
        return subprocess.Popen(
            [str(PROGRAMS / program), *arguments],
            cwd=CHECKOUT,
            env={**environ, "ANSIBLE_NOCOLOR": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def _inventory(self) -> dict[str, Any]:
        def hosts(**found: Any) -> dict[str, Any]:
            return {"hosts": found}

        servers: dict[str, Any] = {"db": {"cwagent_user_name": SERVER_USER}}
        if self.has_hybrid_server:
            identity = {"cwagent_onprem_identity": "hybrid", "cwagent_user_name": HYBRID_USER}
            servers[HYBRID_SERVER] = {**self.hybrid_host, **identity}
        groups = {
            "cwagent_ec2_servers": hosts(web={"instance_id": self.account.web}),
            "cwagent_ec2_admin": hosts(admin={"instance_id": self.account.admin}),
            "cwagent_onprem_servers": hosts(**servers),
            "cwagent_onprem_admin": hosts(ops={"cwagent_admin_user_name": ADMIN_USER}),
        }
        return {"all": {"children": groups}}

    def _variables(self) -> dict[str, Any]:
        return {
            "cwagent_region": self.account.region,
            "cwagent_server_role_name": SERVER_ROLE,
            "cwagent_admin_role_name": ADMIN_ROLE,
            "cwagent_hybrid_role_name": HYBRID_ROLE,
            "cwagent_parameter_name": PARAMETER,
            "cwagent_config_file": str(self.folder / "agent.json"),
            "cwagent_store_config_from": "run_command",
            # With it, keys in Parameter Store would need a KMS key, which AWS deletes days later.
            "cwagent_ssm_policy": "AmazonSSMManagedInstanceCore",
            "cwagent_key_store": "secrets_manager",
            "cwagent_key_store_prefix": KEY_PREFIX,
            **self.timeouts,
        }
