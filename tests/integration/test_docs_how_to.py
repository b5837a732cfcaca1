"""Each of these pages works alone, as it is written: its inventory, its commands, and the output that it shows.

Only the blocks that are marked are run here. test_docs_commands.py runs all other commands.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from emulator.snapshot import snapshot
from fleet import DAY, HOUR
from fleet import Fleet as OnPremises
from guide import GUIDE, Block, blocks, sections
from harness import (
    ADMIN_ROLE,
    HYBRID_ROLE,
    PARAMETER,
    SERVER_POLICY,
    SERVER_ROLE,
    SERVER_USER,
    Controller,
    associate,
    create_role,
)
from published import EXAMPLE_KEY, INSTALL, Reader, assert_shown
from test_accounts import Fleet

pytestmark = pytest.mark.skipif("AWS_CLI" not in os.environ, reason="make integration sets it up")

SITE = "ansible-playbook cwagent.iam.site -i hosts.yml"
AGENT = "opt/aws/amazon-cloudwatch-agent/bin/amazon-cloudwatch-agent-ctl"


def marked(page: str, *languages: str, section: str | None = None) -> list[Block]:
    """The blocks in these languages that a page or one of its sections marks as run by a test."""
    path = GUIDE / f"{page}.rst"
    found = blocks(path, sections(path)[section] if section else None)
    return [block for block in found if block.marked and block.language in languages]


def follow(
    reader: Reader,
    page: str,
    ids: Mapping[str, str],
    section: str | None = None,
    before: Callable[[], object] = lambda: None,
) -> None:
    """Run the marked commands of a page. If the next marked block is output, the command prints that.

    :param section: the section of which the commands are run.
    :param before: is called before each command.
    """
    found = marked(page, "console", "text", section=section)
    key = reader.saved_key()
    for command, after in pairwise([*found, found[0]]):
        if command.language == "console":
            before()
            shown = after.text if after.language == "text" else ""
            play = reader.shell.run(re.sub(r"^\$ ", "", command.text, flags=re.MULTILINE).replace(EXAMPLE_KEY, key))
            assert (play.code != 0) is ("[ERROR]" in shown), f"{command}\n{play.output}"
            assert "Traceback" not in play.output
            assert_shown(shown, play.output, ids)


class HowTo:
    """A person who follows one page with their own servers."""

    def __init__(self, controller: Controller, page: str) -> None:
        """Install the collection, write the inventory of the page, and launch its instances.

        The configuration comes from the page, or from the page getting_started.
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
            command: list[str | Path] = [control, "-a", "fetch-config", "-m", "ec2", "-c", f"ssm:{PARAMETER}", "-s"]
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


def run_on_windows(how_to: HowTo) -> None:
    """The page begins in an empty account, whose instances run Windows."""
    how_to.aws.agents(*how_to.ids.values(), platform="Windows")


BEFORE: dict[str, Callable[[HowTo], None]] = {
    "pipeline": install,
    "change_a_configuration": install_with_agents,
    "leaked_key": install,
    "remove_a_server": install,
    "windows": run_on_windows,
    "beside_terraform": apply_terraform,
    "beside_setup_scripts": run_setup_script,
}
"""By page, what there is before its first command."""


def assert_terraform_sees_no_change(how_to: HowTo, before: dict[str, Any], after: dict[str, Any]) -> None:
    """Apart from the tag that the page lets Terraform ignore, and the policy that it attaches to the application."""
    expected = {**before["roles"]["shop"], "policies": ["AmazonS3ReadOnlyAccess", SERVER_POLICY]}
    assert {**after["roles"]["shop"], "tags": {}} == expected
    assert all(tag.startswith("cwagent:") for tag in after["roles"]["shop"]["tags"])
    assert after["roles"][SERVER_ROLE] == before["roles"][SERVER_ROLE]
    for kind in ("associations", "instance_tags"):
        assert after[kind] == before[kind]


def assert_adopted_roles_are_the_same(how_to: HowTo, before: dict[str, Any], after: dict[str, Any]) -> None:
    """Apart from the tag and the admin window."""
    kept = {name: {**role, "tags": {}, "inline": {}} for name, role in after["roles"].items()}
    assert kept == before["roles"]
    assert after["associations"] == dict.fromkeys(how_to.ids.values(), SERVER_ROLE)


def assert_key_is_replaced(how_to: HowTo, before: dict[str, Any], after: dict[str, Any]) -> None:
    keys = how_to.aws.client("iam").list_access_keys(UserName=f"{SERVER_USER}-db-1")["AccessKeyMetadata"]
    assert sorted(key["Status"] for key in keys) == ["Active", "Inactive"]


def assert_windows_configuration_is_stored(how_to: HowTo, before: dict[str, Any], after: dict[str, Any]) -> None:
    assert after["parameters"][how_to.aws.region].keys() == {"AmazonCloudWatch-windows"}
    assert after["associations"] == dict.fromkeys(how_to.ids.values(), SERVER_ROLE)


def assert_servers_are_removed(how_to: HowTo, before: dict[str, Any], after: dict[str, Any]) -> None:
    assert before["users"].keys() - after["users"].keys() == {f"{SERVER_USER}-db-1"}
    assert before["associations"].keys() - after["associations"].keys() == {how_to.ids["i-0123456789abcdef1"]}


def assert_interval_is_stored(how_to: HowTo, before: dict[str, Any], after: dict[str, Any]) -> None:
    stored = after["parameters"][how_to.aws.region][PARAMETER]
    assert stored["agent"]["metrics_collection_interval"] == 30


def assert_reports_are_written(how_to: HowTo, before: dict[str, Any], after: dict[str, Any]) -> None:
    assert json.loads((how_to.shell.work / "config.sarif").read_text())["runs"][0]["results"]
    assert "<failure" in (how_to.shell.work / "config.junit.xml").read_text()


AFTER: dict[str, Callable[[HowTo, dict[str, Any], dict[str, Any]], None]] = {
    "pipeline": assert_reports_are_written,
    "change_a_configuration": assert_interval_is_stored,
    "leaked_key": assert_key_is_replaced,
    "remove_a_server": assert_servers_are_removed,
    "windows": assert_windows_configuration_is_stored,
    "beside_terraform": assert_terraform_sees_no_change,
    "beside_setup_scripts": assert_adopted_roles_are_the_same,
}
"""By page, what a run of it must have left. It gets the account before and afterwards."""


@pytest.mark.parametrize("page", BEFORE)
def test_a_page_prints_what_it_shows(controller: Controller, page: str) -> None:
    how_to = HowTo(controller, page)
    BEFORE[page](how_to)
    before = snapshot(controller.aws)
    follow(how_to.reader, page, how_to.ids)
    AFTER[page](how_to, before, snapshot(controller.aws))


def test_accounts_are_worked_on_as_the_page_shows(controller: Controller) -> None:
    """The variables of the page are replaced, because the test has a role to assume in each account."""
    fleet = Fleet(controller)
    for account in ("shop", "blog"):
        fleet.account(account, 1)
    reader = Reader(controller)
    shell = reader.shell
    shell.prepare(fleet.user)
    shell.run(INSTALL).assert_succeeded()
    [inventory], [agent] = marked("many_accounts", "yaml"), marked("getting_started", "json")
    groups = yaml.safe_load(inventory.text)
    groups["cwagent_accounts"]["hosts"] = {account: fleet.host(account) for account in fleet.ids}
    shell.write("accounts.yml", groups)
    shell.write("agent.json", agent.text)
    follow(reader, "many_accounts", {})
    for account in fleet.ids:
        assert fleet.state(account) == fleet.expected(account, json.loads(agent.text))


def on_premises(controller: Controller) -> tuple[HowTo, OnPremises]:
    """A person who follows the page about hybrid servers with an emulated host."""
    how_to, servers = HowTo(controller, "hybrid"), OnPremises(controller)
    region = yaml.safe_load(how_to.inventory)["all"]["vars"]["cwagent_region"]
    servers.add_machine("db-1", cwagent_region=region, cwagent_deliver_keys=False)
    how_to.shell.write("host_vars/db-1.yml", servers.groups["onprem_servers"]["db-1"])
    return how_to, servers


def test_a_server_is_registered_as_the_page_shows(controller: Controller) -> None:
    how_to, servers = on_premises(controller)
    follow(how_to.reader, "hybrid", {}, "Register a server")
    assert f":assumed-role/{HYBRID_ROLE}/mi-" in servers.caller("db-1")
    assert servers.account()["users"] == {}
    follow(how_to.reader, "hybrid", {}, "Remove a server")
    assert servers.machines["db-1"].registration is None


def test_a_server_leaves_its_key_as_the_page_shows(controller: Controller) -> None:
    how_to, servers = on_premises(controller)
    back = "Back to access keys"
    follow(how_to.reader, "hybrid", {}, back)
    assert servers.caller("db-1").endswith(f":user/{SERVER_USER}-db-1")
    waits = iter([0, 6 * HOUR, 8 * DAY])
    follow(how_to.reader, "hybrid", {}, "Leave access keys", lambda: controller.aws.shift_clock(next(waits)))
    assert f":assumed-role/{HYBRID_ROLE}/mi-" in servers.caller("db-1")
    assert servers.account()["users"] == {}
    follow(how_to.reader, "hybrid", {}, back)
    assert servers.caller("db-1").endswith(f":user/{SERVER_USER}-db-1")
