"""Each playbook has a section with the same parts, on a page that the overview of the playbooks links."""

from __future__ import annotations

import re

import pytest
from guide import GUIDE, PLAYBOOK_PAGES, PLAYBOOKS, ROOT, blocks

FILES = sorted(path.name for path in (ROOT / "playbooks").glob("*.yml"))
SECTIONS = {
    title: text
    for page in PLAYBOOK_PAGES
    for title, text in re.findall(r"^(\w+\.yml)\n[-=]+\n(.*?)(?=^[^\n]+\n[-=]{3,}\n|\Z)", page.read_text(), re.M | re.S)
}
WITHOUT_AWS = {"validate_config.yml"}
PARTS = ["Groups", "Policy", "Steps", "Check mode", "After an interruption"]
LINES = 60


def policies():
    """By file name of a playbook, the policy that the page on permissions lists for it."""
    rows = re.findall(r"\* - (``\S+\.yml``.*)\n +- `(\S+\.json) <\S+>`__\n", (GUIDE / "permissions.rst").read_text())
    return {playbook: policy for names, policy in rows for playbook in re.findall(r"``(\S+?)``", names)}


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
    assert named == ([] if playbook in WITHOUT_AWS else [policies()[playbook]])


def test_every_playbook_has_an_example_that_is_run_by_a_test():
    run = [block.text for page in PLAYBOOK_PAGES for block in blocks(page) if block.marked]
    named = {
        name for text in run for name in re.findall(r"^\$ ansible-playbook cwagent\.iam\.(\w+) -i hosts\.yml", text)
    }
    assert {f"{name}.yml" for name in named} == set(FILES)
