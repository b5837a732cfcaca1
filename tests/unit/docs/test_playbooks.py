"""Each playbook has a section with the same parts, on a page that the overview of the playbooks links."""

from __future__ import annotations

import re

import pytest
import yaml
from guide import GUIDE, PLAYBOOK_PAGES, PLAYBOOKS, ROOT, blocks, commands

FILES = sorted(path.name for path in (ROOT / "playbooks").glob("[!_]*.yml"))
SECTIONS = {
    title: text
    for page in PLAYBOOK_PAGES
    for title, text in re.findall(
        r"^(\w+\.yml)\n[-=]+\n(.*?)(?=^[^\n]+\n[-=~]{3,}\n|\Z)", page.read_text(), re.M | re.S
    )
}
WITHOUT_AWS = {"policy.yml", "validate_config.yml"}
PARTS = ["Groups", "Policy", "Steps", "Check mode", "After an interruption"]
LINES = 60
_CONTENTS = yaml.safe_load((ROOT / "docs" / "docsite" / "extra-docs.yml").read_text())["sections"]
FOR_REFERENCE = ("Look up", "Contribute")
# These explain, or name the policies in their text.
NO_HOW_TO = ("admin_window", "comparison", "getting_started", "security")
HOW_TOS = [
    GUIDE / f"{page}.rst"
    for section in _CONTENTS
    if section["title"] not in FOR_REFERENCE
    for page in section["toctree"]
    if page not in {*NO_HOW_TO, *PLAYBOOKS.values()}
]
PLACEHOLDER = re.compile(r"\b[A-Z]+(?:-[A-Z]+){2,}\b")


def policies():
    """By file name of a playbook, the policies that the page on permissions lists for it."""
    row = r"\* - (``\S+\.yml``.*)\n +- `(\S+\.json) <\S+>`__\n(?: +and ``(\S+\.json)``\n)?"
    rows = re.findall(row, (GUIDE / "permissions.rst").read_text())
    return {
        playbook: [each for each in files if each]
        for names, *files in rows
        for playbook in re.findall(r"``(\S+?)``", names)
    }


def parts_with_a_policy(text):
    """The part of a page on the policy, which such a page has once, or the parts of several playbooks."""
    return re.findall(r"^Policy\n((?: {3}.*\n)+)", text, re.MULTILINE)


def needed(page):
    """The policies for the commands of a page."""
    run = {name for each in commands(page) for name in re.findall(r"ansible-playbook cwagent\.iam\.(\w+)", each.text)}
    return {file for name in run if f"{name}.yml" not in WITHOUT_AWS for file in policies()[f"{name}.yml"]}


@pytest.mark.parametrize("page", HOW_TOS, ids=lambda page: page.stem)
def test_a_how_to_names_the_policies_for_its_commands(page):
    named = {name for part in parts_with_a_policy(page.read_text()) for name in re.findall(r"``(\S+\.json)``", part)}
    included = {"restore.json"} if "store-configuration.json" in named else set()
    assert needed(page) <= named | included


@pytest.mark.parametrize("page", [*HOW_TOS, *PLAYBOOK_PAGES], ids=lambda page: page.stem)
def test_each_policy_is_named_with_what_has_to_be_replaced_in_it(page):
    for part in parts_with_a_policy(page.read_text()):
        files = [ROOT / "examples" / "policies" / name for name in re.findall(r"``(\S+\.json)``", part)]
        assert {*PLACEHOLDER.findall(part)} == {
            each for file in files for each in PLACEHOLDER.findall(file.read_text())
        }


def test_the_overview_links_every_playbook_and_is_short():
    assert sorted(PLAYBOOKS) == FILES
    assert len((GUIDE / "playbooks.rst").read_text().splitlines()) <= LINES


def test_the_sections_have_the_order_of_the_overview():
    assert list(SECTIONS) == list(PLAYBOOKS)


@pytest.mark.parametrize("playbook", FILES)
def test_every_section_has_the_same_parts(playbook):
    assert re.findall(r"^(\w.*)\n {3}\S", SECTIONS[playbook], re.MULTILINE) == PARTS


@pytest.mark.parametrize("playbook", FILES)
def test_the_policy_is_the_one_on_the_page_on_permissions(playbook):
    part = SECTIONS[playbook].partition("\nPolicy\n")[2].partition("\nSteps")[0]
    named = re.findall(r"``(\S+\.json)``", part)
    assert named == ([] if playbook in WITHOUT_AWS else policies()[playbook])


def test_every_playbook_has_an_example_that_is_run_by_a_test():
    run = [block.text for page in PLAYBOOK_PAGES for block in blocks(page) if block.marked]
    named = {
        name for text in run for name in re.findall(r"^\$ ansible-playbook cwagent\.iam\.(\w+) -i hosts\.yml", text)
    }
    assert {f"{name}.yml" for name in named} == set(FILES)
