"""Servers whose CloudWatch agent runs, for verify.yml and apply.yml."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emulator.machines import AGENT_CONTROL, AGENT_FOLDER
from fleet import HYBRID, KEY, Fleet
from harness import (
    HYBRID_ROLE,
    PARAMETER,
    SERVER_POLICY,
    SERVER_ROLE,
    SERVER_USER,
    SSM_POLICY,
    UNREACHABLE,
    Play,
    create_hybrid_role,
    create_role,
)
from in_process import run_module
from states import States

CONFIG = '{"agent":{"region":"eu-central-1"},"logs":{"logs_collected":{}}}'
NEW_CONFIG = '{"agent":{"metrics_collection_interval":60}}'
BAD = '{"metrics":{"metrics_collected":{}}}'
"""A configuration with metrics, which AWS denies to the agents of some tests."""
OURS = {"Key": "cwagent:managed", "Value": "created"}
NO_KEYS = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
"""The agent's control program must not use the keys of the controller, which runs it here."""


@dataclass
class WatchedFleet(Fleet):
    """Servers with an SSM agent, the AWS CLI and a CloudWatch agent, which can run the stored configuration."""

    def add_server(self, host: str, **agent: Any) -> None:
        """Launch an instance. :param agent: settings of its SSM agent."""
        instance = self.add_instance(host, SERVER_ROLE)
        self.aws.agents(instance, **{"cloudwatch_agent": True, **agent})
        self._set_agent(host, cwagent_environment=self.environment(host) | NO_KEYS)

    def add_keyed(self, host: str) -> None:
        """Add an on-premises server with a user, whose saved access key is delivered, beside other servers."""
        machine = self.add_machine(host, cwagent_onprem_identity=KEY)
        self.install_cli()
        saved = {"key_store_directory": str(self.controller.credentials)}
        made = run_module(self.aws, "cwagent_iam_user", name=[user_of(host)], access="server", saved_key=saved)
        assert not made["failed"], made["msg"]
        self.deliver(host, self.saved_file(host).read_text())
        self.point_at(host, machine.credentials, "AmazonCloudWatchAgent")
        self._set_agent(host, cwagent_environment=self.environment(host) | NO_KEYS)

    def add_hybrid(self, host: str) -> None:
        """Add an on-premises server that is registered with Systems Manager."""
        machine = self.add_machine(host, cwagent_onprem_identity=HYBRID)
        node = self.register(host)
        machine.restart()
        text = machine.credentials.read_text()
        machine.credentials.write_text(text.replace("[default]\n", f"[default]\nregion = {self.aws.region}\n"))
        self.point_at(host, machine.credentials)
        self.aws.agents(node, cloudwatch_agent=True)
        self._set_agent(host, cwagent_environment=self.environment(host) | NO_KEYS)

    def install_cli(self, *, installed: bool = True) -> None:
        """Install or remove the AWS CLI of all servers. The checks that need none are much faster without it."""
        self.aws.agents(aws_cli=installed)
        for machine in self.machines.values():
            link = machine.root / "usr/bin/aws"
            link.unlink(missing_ok=True)
            if installed:
                link.symlink_to(os.environ["AWS_CLI"])

    def _set_agent(self, host: str, **variables: Any) -> None:
        control = self.root(host) / AGENT_FOLDER / "bin" / AGENT_CONTROL
        self.set(host, ansible_become=False, verify_agent_ctl=str(control), **variables)

    def register(self, host: str) -> str:
        """Register an on-premises server, and return its node."""
        activation = self.aws.client("ssm").create_activation(
            IamRole=HYBRID_ROLE, DefaultInstanceName=host, Tags=[OURS]
        )
        return self.machines[host].register(activation, self.aws.region, "-y")

    def node(self, host: str) -> str:
        registration = self.machines[host].registration
        assert registration
        return registration["ManagedInstanceID"]

    def root(self, host: str) -> Path:
        return self.machines[host].root if host in self.machines else self.aws.disk(self.instances[host])

    def environment(self, host: str) -> dict[str, str]:
        """All variables of a script on a server. This machine's AWS CLI is not on its search path."""
        machine, agents = self.machines.get(host), self.aws.agents()
        if machine and not machine.registration:
            _, _, path = next(iter(agents.values()))["environment"]["PATH"].partition(":")
            region = {"AWS_ENDPOINT_URL": self.aws.endpoint, "AWS_REGION": self.aws.region}
            return {**machine.environment, **region, "PATH": f"{machine.root}/usr/bin:{path}"}
        managed = self.node(host) if machine else self.instances[host]
        return dict(agents[managed]["environment"])

    def saved_file(self, host: str) -> Path:
        """The file with the saved access key of a server's user."""
        return self.controller.credentials / f"{user_of(host)}.credentials"

    def deliver(self, host: str, text: str) -> None:
        self.machines[host].credentials.parent.mkdir(exist_ok=True)
        self.machines[host].credentials.write_text(text)

    def point_at(self, host: str, credentials: Path, profile: str = "default") -> None:
        """Let the agent of an on-premises server use a profile of a file."""
        config = self.machines[host].root / AGENT_FOLDER / "etc/common-config.toml"
        values = {"shared_credential_profile": profile, "shared_credential_file": credentials}
        lines = ["[credentials]", *(f'{name} = "{value}"' for name, value in values.items())]
        config.write_text("\n".join([*lines, ""]))

    def control(self, host: str, *arguments: str) -> None:
        """Run the control program of the agent."""
        program = self.root(host) / AGENT_FOLDER / "bin" / AGENT_CONTROL
        mode = "onPremise" if host in self.machines else "ec2"
        environment = self.environment(host)
        subprocess.run([program, "-m", mode, *arguments], env=environment, check=True, capture_output=True)

    def run_stored(self, first: str, *others: str) -> None:
        """Let agents run the stored configuration. The first one fetches it, and the others get the same files.

        Only the first one sends data.
        """
        self.control(first, "-a", "fetch-config", "-c", f"ssm:{PARAMETER}", "-s")
        for host in others:
            for folder in ("etc", "var"):
                made, copy = (self.root(each) / AGENT_FOLDER / folder for each in (first, host))
                shutil.copytree(made, copy, dirs_exist_ok=True)

    def deny(self, *calls: str) -> None:
        """Let AWS deny these calls to all agents, whatever their policies allow. The log of an agent shows that."""
        for folder in (self.root(host) / AGENT_FOLDER for host in (*self.instances, *self.machines)):
            if folder.exists():
                (folder / "denied").write_text("\n".join(calls))

    def running(self, host: str) -> tuple[str, str]:
        """The configuration that an agent runs, and when it was started."""
        [config] = self.files(host).values()
        return config, str((self.root(host) / AGENT_FOLDER / "var/running").stat().st_mtime_ns)

    def files(self, host: str) -> dict[str, str]:
        """The configurations that an agent runs, by the names of their files."""
        folder = self.root(host) / AGENT_FOLDER / "etc/amazon-cloudwatch-agent.d"
        return {file.name: file.read_text() for file in folder.glob("*")}

    def store(self, value: str) -> None:
        """Store another version of the configuration."""
        self.aws.client("ssm").put_parameter(Name=PARAMETER, Value=value, Overwrite=True)

    @property
    def report(self) -> Path:
        return self.controller.home / "verified.json"

    def verify(self, *arguments: str, **variables: Any) -> Play:
        return self.play("verify", *arguments, **{"cwagent_report_files": str(self.report), **variables})

    def servers(self) -> dict[str, dict[str, Any]]:
        """The findings of verify.yml by host."""
        return {each["host"]: each for each in json.loads(self.report.read_text())["servers"]}


def user_of(host: str) -> str:
    return f"{SERVER_USER}-{host}"


def without_servers(states: States) -> WatchedFleet:
    """The roles of servers, a stored configuration, and a host that is no server."""
    fleet = WatchedFleet(states.controller)
    create_role(fleet.aws, SERVER_ROLE, SERVER_POLICY, SSM_POLICY)
    create_hybrid_role(fleet.aws, SERVER_POLICY, SSM_POLICY)
    for role in (SERVER_ROLE, HYBRID_ROLE):
        fleet.iam.tag_role(RoleName=role, Tags=[OURS])
    fleet.aws.client("ssm").put_parameter(Name=PARAMETER, Value=CONFIG, Type="String")
    fleet.add_host("other", group="onprem_admin")
    return fleet


def healthy(states: States) -> WatchedFleet:
    """Healthy servers: three instances, of which Ansible reaches one and one runs Windows, and two on premises."""
    fleet = states.begin(without_servers)
    fleet.add_server("web1")
    fleet.add_server("web2")
    fleet.add_server("win1", platform="Windows", cloudwatch_agent=False)
    fleet.add_keyed("db1")
    fleet.add_hybrid("db9")
    fleet.run_stored("web1", "web2", "db1", "db9")
    for host in ("web2", "win1"):
        fleet.set(host, **UNREACHABLE)
    return fleet
