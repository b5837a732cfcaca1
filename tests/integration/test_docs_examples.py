"""The examples that the guide marks as run by a test: they do on an account what the page says."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

import pytest
import yaml
from emulator import Emulator
from guide import GUIDE, blocks, is_playbook
from harness import (
    ADMIN_ROLE,
    PARAMETER,
    SERVER_POLICY,
    SERVER_ROLE,
    SERVER_USER,
    WINDOW_POLICY,
    Play,
    Workplace,
    account,
    carried,
    make_role,
    put_on,
)

# The ids in the pages, for which the test has instances of its own.
SERVER, ADMIN = "i-0123456789abcdef0", "i-0123456789abcdef2"
APPLICATIONS = ("ShopBackend", "ShopFrontend", "ShopBatch")


def command(text: str) -> str:
    """The one command that a block shows."""
    [line] = text.splitlines()
    assert line.startswith("$ ")
    return line[2:]


def marked(page: str, language: str = "yaml") -> list[Any]:
    """The contents of the marked blocks of a page."""
    read = {"yaml": yaml.safe_load, "json": json.loads, "console": command}[language]
    found = [block.text for block in blocks(GUIDE / f"{page}.rst") if block.marked and block.language == language]
    assert found, page
    return [read(text) for text in found]


def test_all_that_is_marked_is_run() -> None:
    run = {"getting_started", "playbooks", "application_roles", "onprem", "growing"}
    assert {page.stem for page in GUIDE.glob("*.rst") if any(block.marked for block in blocks(page))} == run


@dataclass(frozen=True)
class Started:
    """An account after the steps of the page on getting started."""

    at: Workplace
    ids: dict[str, str]
    command: str
    play: Play

    def run(self, line: str) -> Play:
        """What a command came to; the one that is the same on two pages is not run again."""
        return self.play if line == self.command else self.at.command(line)

    def shown(self, output: str) -> str:
        """Output as a page shows it: with its ids, and without what differs from run to run."""
        for shown, real in self.ids.items():
            output = output.replace(real, shown)
        return steady(output)


def steady(output: str) -> str:
    """Output without times, the ids of access keys, and how wide the terminal was."""
    for varies in (r"(?<=\*\*\*)\*+", r"(?<=AKIA)\w{16}", r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"):
        output = re.sub(varies, "", output)
    return " ".join(output.split())


@pytest.fixture(scope="module")
def started(shared: Workplace) -> Started:
    """The inventory and the configuration of the page, with the ids of instances that are there.

    There is an on-premises server as well, which the page on playbooks has.
    """
    aws = shared.aws
    ids = dict(zip((SERVER, ADMIN), aws.instances(2), strict=True))
    [inventory], [configuration] = marked("getting_started"), marked("getting_started", "json")
    inventory["all"]["children"]["cwagent_onprem_servers"] = {"hosts": {"db-1": {}}}
    inventory["all"]["vars"] |= {
        "ansible_connection": "local",
        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
        "store_config_environment": {"AWS_EC2_METADATA_SERVICE_ENDPOINT": aws.metadata_endpoint(ids[ADMIN])},
    }
    text = json.dumps(inventory)
    for shown, real in ids.items():
        text = text.replace(shown, real)
    shared.file("hosts.yml", text)
    shared.file("linux.json", configuration)
    [site] = marked("getting_started", "console")
    return Started(shared, ids, site, shared.command(site).succeeded())


def test_getting_started_leads_to_a_stored_configuration(started: Started) -> None:
    held = account(started.at.aws)
    assert held["parameters"] == {started.at.aws.region: {PARAMETER: marked("getting_started", "json")[0]}}
    assert held["carried"] == dict.fromkeys(started.ids.values(), SERVER_ROLE)
    assert held["tags"][started.at.aws.region] == {started.ids[SERVER]: {}, started.ids[ADMIN]: {}}


def test_playbooks_say_what_the_page_shows(started: Started) -> None:
    """In the order of the page: what open_window.yml leaves, restore.yml finds."""
    examples = [block for block in blocks(GUIDE / "playbooks.rst") if block.marked]
    for example, output in zip(examples[::2], examples[1::2], strict=True):
        play = started.run(command(example.text))
        assert (play.code != 0) is ("[ERROR]" in output.text), example
        said = started.shown(play.output)
        for piece in re.split(r"^\.\.\.$", output.text, flags=re.MULTILINE):
            _, found, said = said.partition(steady(piece))
            assert found, f"{example}: {piece}"
    held = account(started.at.aws)
    assert held["carried"] == dict.fromkeys(started.ids.values(), SERVER_ROLE)
    assert "Condition" not in json.dumps(held["roles"][ADMIN_ROLE]["inline"][WINDOW_POLICY])
    assert held["parameters"][started.at.aws.region].keys() == {PARAMETER}


def test_other_examples_do_what_they_say(started: Started) -> None:
    """In the order of the pages; what a page takes down again at its end is seen to have been there."""
    at, aws = started.at, started.at.aws
    for role in APPLICATIONS:
        make_role(aws, role, "AmazonS3ReadOnlyAccess")
    rename_profile(aws, "ShopBackend", "ShopBackendProfile")
    put_on(aws, started.ids[SERVER], "ShopBackendProfile")
    books = [book for page in ("application_roles", "onprem") for book in marked(page)]
    assert all(map(is_playbook, books))
    play = at.play(at.inventory({}), at.file("pages.yml", [play for book in books for play in book])).succeeded()
    assert {"AttachRolePolicy", "CreateUser", "CreateAccessKey", "PutParameter", "DeleteUser"} <= set(play.writes)
    held = account(aws)
    assert held["roles"]["ShopBackend"]["policies"] == ["AmazonS3ReadOnlyAccess"]
    for role in APPLICATIONS[1:]:
        assert held["roles"][role]["policies"] == ["AmazonS3ReadOnlyAccess", SERVER_POLICY]
    assert "ShopBackend" not in held["profiles"]
    assert held["carried"][started.ids[SERVER]] == "ShopBackendProfile"
    assert held["users"].keys() == {f"{SERVER_USER}-db-1"}
    assert held["parameters"][aws.region].keys() == {PARAMETER}


def rename_profile(aws: Emulator, role: str, name: str) -> None:
    """Let a role be in an instance profile of another name than its own."""
    iam = aws.client("iam")
    iam.remove_role_from_instance_profile(InstanceProfileName=role, RoleName=role)
    iam.delete_instance_profile(InstanceProfileName=role)
    iam.create_instance_profile(InstanceProfileName=name)
    iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=role)


def test_growing_serves_every_region(workplace: Workplace) -> None:
    aws = workplace.aws
    ids = {region: aws.instances(1, region=region)[0] for region in ("eu-central-1", "us-east-1")}
    for region, instance in ids.items():
        aws.client("ec2", region).create_tags(Resources=[instance], Tags=[{"Key": "monitored", "Value": "true"}])
    inventory, book = marked("growing")
    keys = "".join(f"[{name}]\naws_access_key_id = test\naws_secret_access_key = test\n" for name in ("shop", "bank"))
    env = {
        "AWS_SHARED_CREDENTIALS_FILE": str(workplace.file("credentials.ini", keys)),
        "AWS_ACCESS_KEY_ID": "",
        "AWS_SECRET_ACCESS_KEY": "",
    }
    # Both accounts are the same one here, so the hosts come one after the other.
    play = workplace.play(
        workplace.file("accounts.yml", inventory), workplace.file("monitored.yml", book), "--forks", "1", env=env
    )
    play.succeeded()
    assert carried(aws, "eu-central-1") == {ids["eu-central-1"]: SERVER_ROLE}
    assert carried(aws, "us-east-1") == {ids["us-east-1"]: SERVER_ROLE}
