"""The examples in the guide that are marked as run by a test have the effects that the page describes.

They run with the installed collection, outside of the checkout. test_docs_commands.py runs all other commands.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest
import yaml
from emulator.snapshot import snapshot
from guide import GUIDE, PLAYBOOK_PAGES, blocks, is_playbook
from harness import (
    ADMIN_ROLE,
    CHECKOUT,
    LOCAL_CONNECTION,
    PARAMETER,
    SERVER_POLICY,
    SERVER_ROLE,
    SERVER_USER,
    WINDOW_POLICY,
    Controller,
    Play,
    associate,
    create_role,
    rename_instance_profile,
)
from published import INSTALL, Shell, assert_shown

from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.merge import merge

HOW_TO = {
    *("beside_setup_scripts", "beside_terraform", "change_a_configuration", "leaked_key", "many_accounts", "pipeline"),
    *("hybrid", "remove_a_server", "windows"),
}
"""test_docs_how_to.py follows these."""

# The instance ids on the pages. The test replaces them with the ids of its instances.
SERVER, ADMIN = "i-0123456789abcdef0", "i-0123456789abcdef2"
APPLICATION = "ShopBackend"


def command(text: str) -> str:
    """The single command in a block."""
    [line] = text.splitlines()
    assert line.startswith("$ ")
    return line[2:]


def marked_blocks(page: str, language: str = "yaml") -> list[Any]:
    """The contents of the marked blocks of a page."""
    read = {"yaml": yaml.safe_load, "json": json.loads, "console": command}[language]
    found = [block.text for block in blocks(GUIDE / f"{page}.rst") if block.marked and block.language == language]
    assert found, page
    return [read(text) for text in found]


def test_every_page_with_marked_blocks_is_tested() -> None:
    tested = {
        "application_roles",
        "auto_scaling",
        "configurations",
        "getting_started",
        "growing",
        "onprem",
        *(page.stem for page in PLAYBOOK_PAGES),
        *HOW_TO,
    }
    assert {page.stem for page in GUIDE.glob("*.rst") if any(block.marked for block in blocks(page))} == tested


@dataclass(frozen=True)
class Started:
    """An account after the steps of the page getting_started."""

    controller: Controller
    shell: Shell
    ids: dict[str, str]
    command: str
    play: Play

    def run(self, line: str) -> Play:
        """Run a command, but not twice if two pages have it."""
        return self.play if line == self.command else self.shell.run(line)


@pytest.fixture(scope="module")
def started(shared_controller: Controller) -> Started:
    """The inventory and the configuration of the page, with ids of existing instances.

    It also has the on-premises server of the pages on playbooks.
    """
    aws = shared_controller.aws
    ids = dict(zip((SERVER, ADMIN), aws.instances(2), strict=True))
    [inventory], [configuration] = marked_blocks("getting_started"), marked_blocks("getting_started", "json")
    inventory["all"]["children"]["cwagent_onprem_servers"] = {"hosts": {"db-1": {}}}
    inventory["all"]["vars"] |= {
        "ansible_connection": "local",
        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
        "cwagent_environment": {"AWS_EC2_METADATA_SERVICE_ENDPOINT": aws.metadata_endpoint(ids[ADMIN])},
    }
    text = json.dumps(inventory)
    for on_page, real in ids.items():
        text = text.replace(on_page, real)
    shell = Shell(shared_controller)
    shell.prepare()
    shell.write("hosts.yml", text)
    shell.write("linux.json", configuration)
    shell.run(INSTALL).assert_succeeded()
    [site] = marked_blocks("getting_started", "console")
    return Started(shared_controller, shell, ids, site, shell.run(site).assert_succeeded())


def test_getting_started_ends_with_a_stored_configuration(started: Started) -> None:
    after = snapshot(started.controller.aws)
    assert after["parameters"] == {
        started.controller.aws.region: {PARAMETER: marked_blocks("getting_started", "json")[0]}
    }
    assert after["associations"] == dict.fromkeys(started.ids.values(), SERVER_ROLE)
    assert after["instance_tags"][started.controller.aws.region] == {started.ids[SERVER]: {}, started.ids[ADMIN]: {}}


def test_playbooks_print_the_output_on_the_page(started: Started, subtests: pytest.Subtests) -> None:
    """In the order of the overview, because restore.yml closes the window that open_window.yml opens."""
    examples = [block for page in PLAYBOOK_PAGES for block in blocks(page) if block.marked]
    for example, output in zip(examples[::2], examples[1::2], strict=True):
        play = started.run(command(example.text))
        with subtests.test(example=str(example)):
            assert (play.code != 0) is ("[ERROR]" in output.text)
            assert_shown(output.text, play.output, started.ids)
    after = snapshot(started.controller.aws)
    assert after["associations"] == dict.fromkeys(started.ids.values(), SERVER_ROLE)
    assert "Condition" not in json.dumps(after["roles"][ADMIN_ROLE]["inline"][WINDOW_POLICY])
    assert after["parameters"][started.controller.aws.region].keys() == {PARAMETER}


def test_other_examples_have_the_described_effects(started: Started) -> None:
    """In the order of the pages. Writes show what a page creates and deletes again."""
    shell, aws = started.shell, started.controller.aws
    create_role(aws, APPLICATION, "AmazonS3ReadOnlyAccess")
    rename_instance_profile(aws, APPLICATION, "ShopBackendProfile")
    associate(aws, started.ids[SERVER], "ShopBackendProfile")
    pages = ("application_roles", "auto_scaling", "onprem")
    playbooks = [playbook for page in pages for playbook in marked_blocks(page)]
    assert all(map(is_playbook, playbooks))
    shell.write("pages.yml", [play for playbook in playbooks for play in playbook])
    shop = {"instance_id": started.ids[SERVER], "cwagent_region": aws.region}
    shell.write("shop.yml", {"shop": {"hosts": {"shop-1": shop}}})
    play = shell.run("ansible-playbook -i shop.yml pages.yml").assert_succeeded()
    assert {"AttachRolePolicy", "CreateUser", "CreateAccessKey", "PutParameter", "DeleteUser"} <= set(play.writes)
    after = snapshot(aws)
    assert after["roles"][APPLICATION]["policies"] == ["AmazonS3ReadOnlyAccess", SERVER_POLICY]
    assert APPLICATION not in after["instance_profiles"]
    assert after["associations"][started.ids[SERVER]] == "ShopBackendProfile"
    assert after["users"].keys() == {f"{SERVER_USER}-db-1"}
    assert after["parameters"][aws.region].keys() == {PARAMETER}


def test_the_recipe_for_several_configurations_stores_each_in_its_regions(controller: Controller) -> None:
    aws, west, shell = controller.aws, "us-east-1", Shell(controller)
    shell.prepare()
    shell.run(INSTALL).assert_succeeded()
    [inventory], [databases] = marked_blocks("configurations"), marked_blocks("configurations", "json")
    groups = inventory["all"]["children"]
    servers = [group["hosts"] for group in groups["cwagent_ec2_servers"]["children"].values()]
    admin = groups["cwagent_ec2_admin"]["hosts"]["admin-1"]
    for host in [each for hosts in servers for each in hosts.values()] + [admin]:
        [host["instance_id"]] = aws.instances(1, region=host.get("cwagent_region", aws.region))
    admin |= {**LOCAL_CONNECTION, **controller.instance_host(admin["instance_id"])}
    examples = CHECKOUT / "examples" / "agent-config"
    files = {name: json.loads((examples / f"{name}.json").read_text()) for name in ("linux", "windows")}
    files["databases"] = databases
    for name, content in files.items():
        shell.write(f"{name}.json", content)
    shell.write("hosts.yml", inventory)
    [site] = marked_blocks("configurations", "console")
    shell.run(site).assert_succeeded()
    stored = {aws.region: ("linux", "databases"), west: ("linux", "windows")}
    assert snapshot(aws, aws.region, west)["parameters"] == {
        region: {f"AmazonCloudWatch-{name}": files[name] for name in names} for region, names in stored.items()
    }
    merged, added = merge([databases, files["linux"]]), databases["logs"]["logs_collected"]["files"]["collect_list"]
    assert merged["logs"]["logs_collected"]["files"]["collect_list"][: len(added)] == added
