"""Servers with their inventory, and the runs of playbooks on them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emulator import Emulator
from emulator.host import Host
from emulator.machines import AGENT_FOLDER
from emulator.shared_credentials import parse
from emulator.snapshot import snapshot
from harness import TIMEOUTS, Controller, Play, associate, onprem_host

HYBRID, KEY = "hybrid", "key"
HOUR, DAY = 3600, 86400


@dataclass
class Fleet:
    """The servers of one account.

    :param groups: by group without ``cwagent_``, its hosts with their variables.
    :param instances: by host, its instance. :param machines: by on-premises host, its folder.
    :param variables: the extra variables of every run.
    """

    controller: Controller
    groups: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    instances: dict[str, str] = field(default_factory=dict)
    machines: dict[str, Host] = field(default_factory=dict)
    variables: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.variables = {"cwagent_key_store_directory": str(self.controller.credentials), **TIMEOUTS, **self.variables}

    @property
    def aws(self) -> Emulator:
        return self.controller.aws

    @property
    def iam(self) -> Any:
        return self.aws.client("iam")

    def add_instance(
        self, host: str, profile: str = "", group: str = "ec2_servers", region: str | None = None, **more: Any
    ) -> str:
        """Launch an instance. :param more: variables of the host. :returns: the ID of the instance."""
        [instance] = self.aws.instances(1, region=region)
        self.instances[host] = instance
        if profile:
            associate(self.aws, instance, profile)
        of_region = {"cwagent_region": region} if region else {}
        self.groups.setdefault(group, {})[host] = self.controller.instance_host(instance, **of_region, **more)
        return instance

    def add_machine(self, host: str, group: str = "onprem_servers", **more: Any) -> Host:
        """Add an on-premises server with its SSM agent and CloudWatch agent. :param more: variables of the host."""
        machine = self.aws.host(self.controller.home / host, cloudwatch_agent=True)
        self.machines[host] = machine
        variables = {**onprem_host(machine), "cwagent_region": self.aws.region, **more}
        self.groups.setdefault(group, {})[host] = variables
        return machine

    def add_host(self, host: str, group: str = "onprem_servers", **variables: Any) -> None:
        """Add a server of which only the name counts."""
        self.groups.setdefault(group, {})[host] = variables

    def set(self, host: str, **variables: Any) -> None:
        """Change variables of a host."""
        [found] = [hosts[host] for hosts in self.groups.values() if host in hosts]
        found.update(variables)

    def identify(self, identity: str, *hosts: str) -> None:
        """Choose HYBRID or KEY for on-premises servers; for all if none is given."""
        for host in hosts or self.machines:
            self.set(host, cwagent_onprem_identity=identity)

    def remove(self, *hosts: str) -> None:
        """Take hosts out of the inventory."""
        self.groups = {
            group: {host: each for host, each in found.items() if host not in hosts}
            for group, found in self.groups.items()
        }

    def configure(self, config: Mapping[str, Any]) -> None:
        """Write the agent's configuration, which the next run stores."""
        self.variables["cwagent_config_file"] = str(self.controller.file("agent.json", config))

    @property
    def inventory(self) -> Path:
        return self.controller.inventory(self.groups)

    def play(
        self, playbook: str | Path, *arguments: str, env: Mapping[str, str] | None = None, **variables: Any
    ) -> Play:
        """Run a playbook with the current inventory."""
        given = {**self.variables, **variables}
        return self.controller.play(self.inventory, playbook, *arguments, env=env, **given)

    def account(self) -> dict[str, Any]:
        """Everything in the account that the collection could have changed."""
        return snapshot(self.aws)

    def key_file(self, host: str) -> Path:
        """The file with the access key on an on-premises server."""
        return self.machines[host].root / AGENT_FOLDER / "etc/cwagent.credentials"

    def caller(self, host: str) -> str:
        """The caller that the agent of an on-premises server is, according to the file and profile in its settings."""
        config = self.machines[host].root / AGENT_FOLDER / "etc/common-config.toml"
        settings = tomllib.loads(config.read_text())["credentials"]
        text = Path(settings["shared_credential_file"]).read_text()
        keys = parse(text)[settings["shared_credential_profile"]].keys
        session = {
            "AccessKeyId": keys["aws_access_key_id"].value,
            "SecretAccessKey": keys["aws_secret_access_key"].value,
            "SessionToken": keys["aws_session_token"].value if "aws_session_token" in keys else None,
        }
        return str(self.aws.client("sts", credentials=session).get_caller_identity()["Arn"])
