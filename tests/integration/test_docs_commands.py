"""Every command of the guide works as it is written, with the installed collection and no checkout.

``guide.NOT_RUN`` lists commands that cannot be run here. A new command of a page is run without a line in this file.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml
from emulator.snapshot import snapshot
from guide import GUIDE, PAGES, README, Command, blocks, commands
from harness import Controller
from published import Reader

pytestmark = pytest.mark.skipif("AWS_CLI" not in os.environ, reason="make integration sets it up")

START = GUIDE / "getting_started.rst"
LAST = GUIDE / "uninstalling.rst"
ALONE = (README, GUIDE / "growing.rst")
"""test_docs_alone.py follows these in separate accounts."""


@pytest.fixture(scope="module")
def reader(shared_controller: Controller) -> Reader:
    """A person after the page getting_started, who also has an on-premises server and an admin host."""
    found = Reader(shared_controller)
    found.shell.prepare()
    [inventory] = [block.text for block in blocks(START) if block.language == "yaml"]
    [configuration] = [block.text for block in blocks(START) if block.language == "json"]
    groups = yaml.safe_load(inventory)
    groups["all"]["children"]["cwagent_onprem_servers"] = {"hosts": {"db-1": {}}}
    groups["all"]["children"]["cwagent_onprem_admin"] = {"hosts": {"ops-1": {}}}
    found.shell.write("hosts.yml", groups)
    found.shell.write("linux.json", configuration)
    found.enter_servers()
    found.follow(START, lambda command: command.marked or is_last(command))
    return found


def is_last(command: Command) -> bool:
    """Whether this is the last page with a command that no other test runs. There it is run."""
    return not command.marked and LAST_PAGES[command.text] == command.page


def guide_order() -> list[Path]:
    middle = [page for page in PAGES if page not in (START, LAST, *ALONE)]
    return [START, *middle, LAST]


LAST_PAGES = {command.text: command.page for page in guide_order() for command in commands(page)}
for each in (command for page in PAGES for command in commands(page) if command.marked):
    LAST_PAGES[each.text] = ""  # test_docs_examples.py runs it
FOLLOWED = [page for page in guide_order()[1:] if any(map(is_last, commands(page)))]


@pytest.mark.parametrize("page", FOLLOWED, ids=lambda page: page.stem)
def test_every_command_of_a_page_works(reader: Reader, page: Path) -> None:
    reader.follow(page, is_last)
    if page == LAST:
        after = snapshot(reader.controller.aws)
        assert (after["roles"], after["users"], any(after["parameters"].values())) == ({}, {}, False)
