"""The page on playbooks has a section for each, every one says the same things, and the site adds the variables."""

from __future__ import annotations

import re

import pytest
from guide import GUIDE, ROOT, blocks

PAGE = GUIDE / "playbooks.rst"
PLAYBOOKS = sorted(path.stem for path in (ROOT / "playbooks").glob("*.yml"))
SAID_OF_EACH = ["Groups", "Policy", "What it does, in this order", "Check mode", "When it is interrupted"]


def sections():
    """By title, the text of each section."""
    parts = re.split(r"^(.+)\n-+\n", PAGE.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def policies():
    """By file of a playbook, that of the policy that the page on permissions names for it."""
    rows = re.findall(r"\* - (``\S+\.yml``.*)\n +- ``(\S+\.json)``\n", (GUIDE / "permissions.rst").read_text())
    return {playbook: policy for names, policy in rows for playbook in re.findall(r"``(\S+?)``", names)}


def test_every_playbook_has_a_section_and_no_other_has():
    *described, last = sections()
    assert sorted(described) == [f"{playbook}.yml" for playbook in PLAYBOOKS]
    assert last == "Variables"


def test_the_overview_has_them_in_the_order_of_the_page():
    overview = re.findall(r"^   \* - `(\S+)`_$", PAGE.read_text(), re.MULTILINE)
    assert [*overview, "Variables"] == list(sections())


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_the_same_is_said_of_each(playbook):
    section = sections()[f"{playbook}.yml"]
    assert re.findall(r"^(\w.*)\n {3}\S", section, re.MULTILINE) == SAID_OF_EACH


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_policy_is_that_of_the_page_on_permissions(playbook):
    section = sections()[f"{playbook}.yml"]
    assert re.findall(r"``(\S+\.json)``", section.partition("\nPolicy\n")[2].partition("\nWhat it does")[0]) == [
        policies()[f"{playbook}.yml"]
    ]


def test_every_playbook_has_an_example_that_a_test_runs():
    run = [block.text for block in blocks(PAGE) if block.marked and block.language == "console"]
    named = [re.findall(r"^\$ ansible-playbook cwagent\.iam\.(\w+) -i hosts\.yml", text) for text in run]
    assert {name for names in named for name in names} == set(PLAYBOOKS)


def test_site_shows_the_variables_of_the_readme():
    """A comment stands for the section of the README; without it, the site would leave it out and not say so.

    That the section is found there is seen by ``make docs``.
    """
    comment = ".. variables-of-the-readme"
    assert sections()["Variables"].endswith(f"\n\n{comment}\n")
    assert comment in (ROOT / "docs" / "site" / "conf.py").read_text()
