"""Each of these pages works alone, as it is written: its inventory, its commands, and the output that it shows."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from emulator.snapshot import associated_profiles, snapshot
from guide import GUIDE, Block, blocks
from harness import (
    ADMIN_ROLE,
    PARAMETER,
    SERVER_POLICY,
    SERVER_ROLE,
    Controller,
    associate,
    create_role,
)
from published import INSTALL, Reader, assert_shown
from test_organization import Organization

pytestmark = pytest.mark.skipif("AWS_CLI" not in os.environ, reason="make integration sets it up")

SITE = "ansible-playbook cwagent.iam.site -i hosts.yml"
AGENT = "opt/aws/amazon-cloudwatch-agent/bin/amazon-cloudwatch-agent-ctl"
CORE = "AmazonSSMManagedInstanceCore"


def marked(page: str, language: str) -> list[Block]:
    """The blocks of a page in a language that are marked as run by a test."""
    return [block for block in blocks(GUIDE / f"{page}.rst") if block.marked and block.language == language]


class HowTo:
    """A person with servers of their own who follows one page."""

    def __init__(self, controller: Controller, page: str) -> None:
        """Install the collection, write the inventory of the page, and launch its instances.

        The configuration is that of the page, or of the page getting_started.
        """
        self.aws, self.page, self.reader = controller.aws, page, Reader(controller)
        self.shell = self.reader.shell
        self.shell.prepare()
        self.run(INSTALL)
        [written] = marked(page, "yaml")
        [configuration] = marked(page, "json") or marked("getting_started", "json")
        self.shell.write("linux.json", configuration.text)
        self.shell.write("hosts.yml", written.text)
        self.reader.enter_servers()
        self.ids = {
            on_page: real
            for group, hosts in self.groups(written.text).items()
            for host, variables in hosts.items()
            if (on_page := (variables or {}).get("instance_id"))
            for real in [self.groups(self.inventory)[group][host]["instance_id"]]
        }

    @staticmethod
    def groups(inventory: str) -> dict[str, dict[str, Any]]:
        return {name: group["hosts"] for name, group in yaml.safe_load(inventory)["all"]["children"].items()}

    @property
    def inventory(self) -> str:
        return (self.shell.work / "hosts.yml").read_text()

    def run(self, command: str) -> None:
        self.shell.run(command).assert_succeeded()

    def follow(self) -> None:
        """Run the commands of the page. The output of each is what the next block shows."""
        examples = [block for block in blocks(GUIDE / f"{self.page}.rst") if block.marked]
        examples = [block for block in examples if block.language in ("console", "text")]
        for command, shown in zip(examples[::2], examples[1::2], strict=True):
            assert (command.language, shown.language) == ("console", "text"), command
            play = self.shell.run(re.sub(r"^\$ ", "", command.text, flags=re.MULTILINE))
            assert (play.code != 0) is ("[ERROR]" in shown.text), f"{command}\n{play.output}"
            assert "Traceback" not in play.output
            assert_shown(shown.text, play.output, self.ids)


def nothing(_: HowTo) -> None:
    """The page begins in an empty account."""


def install(how_to: HowTo) -> None:
    """The page begins after site.yml."""
    how_to.run(SITE)


def install_with_agents(how_to: HowTo) -> None:
    """The page begins when all instances run the agent with the stored configuration."""
    install(how_to)
    aws, work = how_to.aws, how_to.shell.work
    for hosts in how_to.groups(how_to.inventory).values():
        for host, variables in hosts.items():
            instance = variables["instance_id"]
            environment = aws.agents(instance, cloudwatch_agent=True)[instance]["environment"]
            control = aws.disk(instance) / AGENT
            path = work / "host_vars" / f"{host}.yml"
            path.write_text(json.dumps({**yaml.safe_load(path.read_text()), "verify_agent_ctl": str(control)}))
            keys = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
            command = [control, "-a", "fetch-config", "-m", "ec2", "-c", f"ssm:{PARAMETER}", "-s"]
            subprocess.run(command, env={**environment, **keys}, check=True, capture_output=True)


def apply_terraform(how_to: HowTo) -> None:
    """Terraform has made the server role, its instance profile and the instances, and an application's role."""
    create_role(how_to.aws, SERVER_ROLE, SERVER_POLICY)
    create_role(how_to.aws, "shop", "AmazonS3ReadOnlyAccess")
    web, shop, admin = how_to.ids.values()
    for instance, profile in {web: SERVER_ROLE, shop: "shop", admin: SERVER_ROLE}.items():
        associate(how_to.aws, instance, profile)


def run_setup_script(how_to: HowTo) -> None:
    """The script of AWS has set up one instance, and somebody has followed AWS's procedure for the admin role."""
    create_role(how_to.aws, SERVER_ROLE, SERVER_POLICY)
    create_role(how_to.aws, ADMIN_ROLE, "CloudWatchAgentAdminPolicy")
    first, *_ = how_to.ids.values()
    associate(how_to.aws, first, SERVER_ROLE)


BEFORE: dict[str, Callable[[HowTo], None]] = {
    "pipeline": install,
    "change_a_configuration": install_with_agents,
    "remove_a_server": install,
    "beside_terraform": apply_terraform,
    "beside_setup_scripts": run_setup_script,
}
"""By page, what there is before its first command."""


@pytest.mark.parametrize("page", BEFORE)
def test_a_page_prints_what_it_shows(controller: Controller, page: str) -> None:
    how_to = HowTo(controller, page)
    BEFORE[page](how_to)
    before = snapshot(controller.aws)
    how_to.follow()
    check = globals().get(f"check_{page}")
    if check:
        check(how_to, before)
