"""The page on playbooks has a section for each playbook, all with the same parts, and the site adds the variables."""

from __future__ import annotations

import re

import pytest
from guide import GUIDE, ROOT, blocks, sections

PAGE = GUIDE / "playbooks.rst"
PLAYBOOKS = sorted(path.stem for path in (ROOT / "playbooks").glob("*.yml"))
SECTIONS = sections(PAGE)
WITHOUT_AWS = {"validate_config"}
PARTS = ["Groups", "Policy", "Steps", "Check mode", "After an interruption"]


def policies():
    """By file name of a playbook, the policy that the page on permissions lists for it."""
    rows = re.findall(r"\* - (``\S+\.yml``.*)\n +- `(\S+\.json) <\S+>`__\n", (GUIDE / "permissions.rst").read_text())
    return {playbook: policy for names, policy in rows for playbook in re.findall(r"``(\S+?)``", names)}


def test_every_section_is_about_a_playbook():
    assert sorted(SECTIONS) == [f"{playbook}.yml" for playbook in PLAYBOOKS]


def test_the_overview_has_the_order_of_the_page():
    overview = re.findall(r"^   \* - `(\S+)`_$", PAGE.read_text(), re.MULTILINE)
    assert overview == list(SECTIONS)


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_every_section_has_the_same_parts(playbook):
    section = SECTIONS[f"{playbook}.yml"]
    assert re.findall(r"^(\w.*)\n {3}\S", section, re.MULTILINE) == PARTS


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_the_policy_is_the_one_on_the_page_on_permissions(playbook):
    section = SECTIONS[f"{playbook}.yml"]
    named = re.findall(r"``(\S+\.json)``", section.partition("\nPolicy\n")[2].partition("\nSteps")[0])
    assert named == ([] if playbook in WITHOUT_AWS else [policies()[f"{playbook}.yml"]])


def test_every_playbook_has_an_example_that_is_run_by_a_test():
    run = [block.text for block in blocks(PAGE) if block.marked and block.language == "console"]
    named = [re.findall(r"^\$ ansible-playbook cwagent\.iam\.(\w+) -i hosts\.yml", text) for text in run]
    assert {name for names in named for name in names} == set(PLAYBOOKS)
