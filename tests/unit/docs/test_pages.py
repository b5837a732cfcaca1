"""The examples of the pages are valid, and the names in the pages exist."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest
import yaml
from guide import (
    COLLECTION,
    GUIDE,
    NOT_RUN,
    PAGES,
    README,
    ROOT,
    blocks,
    commands,
    is_playbook,
    playbook_options,
    sections,
)

from ansible_collections.cwagent.iam.plugins.module_utils._configuration.validate import validate
from ansible_collections.cwagent.iam.plugins.module_utils._principals.policies import agent_policies
from ansible_collections.cwagent.iam.plugins.plugin_utils._run.settings import role_options as of_role

BLOCKS = [block for page in PAGES for block in blocks(page)]
# These names begin like variables, but are names of groups.
GROUPS = {
    "cwagent_ec2_servers",
    "cwagent_ec2_admin",
    "cwagent_onprem_servers",
    "cwagent_onprem_admin",
    "cwagent_accounts",
}
README_WORDS, README_LINES, PAGE_LINES = 800, 130, 400
WRITTEN_TABLES = ".. The tables below are written by `make tables`."
# Commands name a playbook of the collection, and so does a sentence that tells a reader to run one.
INSTRUCTION = re.compile(r"\b(?:[Rr]uns?(?: the playbook)?|then|again, or|first, with)\s+`+\w+\.yml")
PARAGRAPH_WORDS = 20
INDEX = GUIDE / "README.md"
MODULES = {path.stem for path in (ROOT / "plugins" / "modules").glob("*.py")}
DEVELOPMENT = {"architecture"}
PLAYBOOKS = {path.stem for path in (ROOT / "playbooks").glob("[!_]*.yml")}
NAME = re.compile(r"(?<![\w.])(cwagent_[a-z_0-9]*[a-z])")


def role_options():
    return {name for role in (ROOT / "roles").iterdir() for name in of_role(role)}


def test_the_readme_is_read_in_a_minute():
    text = README.read_text()
    assert len(text.split()) <= README_WORDS
    assert len(text.splitlines()) <= README_LINES


def test_a_block_that_removes_everything_does_nothing_else():
    """A reader copies a whole block."""
    texts = [block.text for page in PAGES for block in blocks(page) if "cwagent.iam.teardown" in block.text]
    assert texts
    assert [text for text in texts if len(re.findall(r"cwagent\.iam\.(?!teardown)", text)) > 0] == []


def test_no_page_is_too_long_to_read():
    """Except for the tables that `make tables` writes."""
    written = {page.stem: page.read_text().partition(WRITTEN_TABLES)[0].splitlines() for page in GUIDE.glob("*.rst")}
    assert [page for page, lines in written.items() if len(lines) > PAGE_LINES] == []


def test_no_paragraph_stands_on_two_pages():
    """Commands and their output may, because a page for one task is complete."""
    pages = defaultdict(set)
    for page in PAGES:
        code = [block.text for block in blocks(page)]
        for paragraph in re.split(r"\n\s*\n", page.read_text()):
            text = " ".join(paragraph.split())
            if len(text.split()) >= PARAGRAPH_WORDS and not any(text in " ".join(each.split()) for each in code):
                pages[text].add(page.stem)
    assert {text: names for text, names in pages.items() if len(names) > 1} == {}


def test_every_page_is_in_the_contents():
    contents = yaml.safe_load((ROOT / "docs" / "docsite" / "extra-docs.yml").read_text())["sections"]
    listed = [page for section in contents for page in section["toctree"]]
    assert sorted(listed) == sorted(page.stem for page in GUIDE.glob("*.rst"))


def test_the_index_that_github_shows_has_every_page_in_the_order_of_the_contents():
    """GitHub shows no references between pages in reStructuredText, so only the index leads from the README to all."""
    contents = yaml.safe_load((ROOT / "docs" / "docsite" / "extra-docs.yml").read_text())["sections"]
    _, *parts = re.split(r"^## (.+)\n", INDEX.read_text(), flags=re.MULTILINE)
    shown = {
        title: re.findall(r"^- \[(.+)\]\((\w+)\.rst\): \w", text, re.MULTILINE)
        for title, text in zip(parts[::2], parts[1::2], strict=True)
    }
    listed = {section["title"]: section["toctree"] for section in contents}
    assert [(title, [page for _, page in links]) for title, links in shown.items()] == [*listed.items()]
    titles = {page.stem: page.read_text().splitlines()[2] for page in GUIDE.glob("*.rst")}
    assert {page: title for links in shown.values() for title, page in links} == titles
    assert f"({INDEX.relative_to(ROOT)})" in README.read_text()


def test_every_page_can_be_linked():
    for page in GUIDE.glob("*.rst"):
        assert page.read_text().startswith(f".. _{COLLECTION}.docsite.{page.stem}:\n"), page.name


def test_every_link_leads_to_a_page():
    for page in GUIDE.glob("*.rst"):
        targets = re.findall(rf"{re.escape(COLLECTION)}\.docsite\.(\w+)[`>]", page.read_text())
        assert [target for target in targets if not (GUIDE / f"{target}.rst").exists()] == [], page.name


UNTRUE = {
    "and no more": "AWS's managed policies are broad",
    "exactly the": "the same",
    "exactly what": "a fitted policy is as narrow as IAM can make it",
    "the same moment": "IAM takes seconds to apply a changed policy",
    "create-iam-roles-for-cloudwatch-agent.html": "AWS has moved the page, without its advice",
}
"""By a claim that was on a page, why it is not true."""


@pytest.mark.parametrize("claim", UNTRUE)
def test_no_page_has_a_claim_that_is_not_true(claim):
    others = (
        path for folder in ("docs/tables", "examples", "playbooks", "roles") for path in (ROOT / folder).rglob("*.yml")
    )
    pages = [*PAGES, ROOT / "galaxy.yml", *others]
    texts = {str(page.relative_to(ROOT)): " ".join(page.read_text().split()) for page in pages}
    assert [name for name, text in texts.items() if claim in text] == [], UNTRUE[claim]


def test_the_security_page_links_every_policy_of_aws_that_is_attached():
    reference = r"https://docs\.aws\.amazon\.com/aws-managed-policy/latest/reference/(\w+)\.html"
    found = re.findall(reference, (GUIDE / "security.rst").read_text())
    assert set(found) == {arn.rpartition("/")[2] for arn in agent_policies("aws")}


def test_each_line_about_a_compromised_party_has_a_test():
    table = sections(GUIDE / "security.rst")["A party that is compromised"]
    _, _header, *lines = re.split(r"^   \* - ", table, flags=re.MULTILINE)
    named = [re.findall(r"``(test_\w+)``", line) for line in lines]
    functions = {
        name for path in (ROOT / "tests").rglob("test_*.py") for name in re.findall(r"def (test_\w+)", path.read_text())
    }
    assert len(named) > 8
    assert [each for each in named if len(each) != 1 or not functions.issuperset(each)] == []


def test_the_impact_of_a_leaked_key_has_every_policy_for_systems_manager():
    impact = sections(GUIDE / "security.rst")["Impact of a compromise"].partition("\nCredentials of the admin role")[0]
    assert "cwagent_ssm_policy" in impact
    assert "AmazonEC2RoleforSSM" in impact


@pytest.mark.parametrize("block", [each for each in BLOCKS if each.language in ("yaml", "json")], ids=str)
def test_block_can_be_parsed(block):
    assert yaml.safe_load(block.text) if block.language == "yaml" else json.loads(block.text)


def test_configurations_are_valid_for_the_agent():
    configurations = [block for block in BLOCKS if block.marked and block.language == "json"]
    assert configurations
    for block in configurations:
        assert validate(block.text, source=str(block)).problems == []


@pytest.mark.main_job
def test_playbooks_and_tasks_are_valid(tmp_path):
    """All in one process: starting Ansible takes longer than checking a page."""
    written = []
    for block in BLOCKS:
        content = yaml.safe_load(block.text) if block.language == "yaml" else None
        if isinstance(content, list):
            plays = content if is_playbook(content) else [{"hosts": "localhost", "tasks": content}]
            path = tmp_path / f"{block}.yml"
            path.write_text(yaml.safe_dump(plays, sort_keys=False))
            written.append(path)
    assert written
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "ANSIBLE_"))}
    checked = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "--syntax-check", "-i", "localhost,", *written],
        cwd=ROOT,
        env=kept,
        check=False,
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0, checked.stderr
    assert "couldn't resolve" not in checked.stderr


def test_variables_of_roles_exist():
    """Syntax checks do not cover this: Ansible reads the options of an included role only when it runs."""
    text = "".join(block.text for block in BLOCKS if block.language == "yaml")
    prefixes = "|".join(path.name for path in (ROOT / "roles").iterdir())
    assert set(re.findall(rf"^ *((?:{prefixes})_\w+):", text, re.MULTILINE)) <= role_options()


def test_commands_that_no_test_runs_are_on_a_page():
    shown = {command.text for page in PAGES for command in commands(page)}
    assert {text for texts in NOT_RUN.values() for text in texts} - shown == set()


def test_commands_are_for_the_installed_collection():
    """CONTRIBUTING.md has those for a checkout."""
    paths = re.compile(r"(?<![\w/])(?:playbooks|examples|docs|tests|build)/\S*")
    for page in PAGES:
        assert page.stem in DEVELOPMENT or re.findall(r"`(playbooks/\w*)", page.read_text()) == [], page.name
    in_checkout = {"make -C iam demo", "make live", "make live REMOVE=1"}
    for page in PAGES:
        shown = [command for command in commands(page) if command.text not in in_checkout]
        assert [str(command) for command in shown if paths.search(command.text) or "make " in command.text] == []


def test_readers_run_playbooks_by_the_names_in_the_commands():
    for page in PAGES:
        assert re.findall(INSTRUCTION, page.read_text()) == [], page.name


def test_playbooks_and_variables_in_commands_exist():
    known = {*playbook_options(), *role_options()}
    named = set()
    for block in BLOCKS:
        if block.language in ("console", "sh"):
            playbooks = re.findall(r"ansible-playbook (?:cwagent\.iam\.|playbooks/)(\w+)", block.text)
            named.update(playbooks)
            assert set(playbooks) <= PLAYBOOKS, str(block)
            given = set(re.findall(r"-e ((?!awx_|ansible_)\w+)=", block.text))
            assert given <= known, str(block)
    assert "site" in named


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_names_in_the_page_exist(page):
    known = {*playbook_options(), *GROUPS, *MODULES}
    assert set(NAME.findall(page.read_text())) - known == set()


def test_every_input_of_the_playbooks_is_described_and_used():
    files = [*(ROOT / "playbooks").rglob("*.yml"), *(ROOT / "plugins" / "filter").glob("*.py")]
    used = {name for path in files for name in NAME.findall(path.read_text())}
    described = playbook_options().keys()
    assert set(described) == used - GROUPS - (MODULES - set(described))


INTERNAL = "(internal) "
"""The beginning of the short description of a plug-in that only the collection itself uses."""


def plugins():
    """By full name, the short descriptions of modules and other plug-ins."""
    folders = [ROOT / "plugins" / name for name in ("modules", "filter", "lookup", "inventory")]
    files = [path for folder in folders for path in (*folder.glob("*.py"), *folder.glob("*.yml"))]
    found = {path.stem: re.search(r"^\s*short_description: (.+)$", path.read_text(), re.M) for path in files}
    return {f"cwagent.iam.{name}": match[1] for name, match in found.items() if match}


def named_in(files):
    """The full names that stand in files."""
    return {name for path in files for name in re.findall(r"\bcwagent\.iam\.\w+", path.read_text())}


def test_a_plugin_is_internal_if_only_the_collection_uses_it():
    """Users read of the others: in a page, or, where nothing of the collection uses one, in its documentation."""
    pages = [page for page in (README, *GUIDE.glob("*.rst")) if page.stem not in DEVELOPMENT]
    for_users = named_in([*pages, *(ROOT / "examples").rglob("*.yml")])
    tasks = [path for folder in ("roles", "playbooks") for path in (ROOT / folder).rglob("*.yml")]
    ours = named_in([*tasks, *(ROOT / "plugins" / "plugin_utils").glob("_connections/hosts.py")])
    marked = {name for name, description in plugins().items() if description.startswith(INTERNAL)}
    assert marked == (plugins().keys() & ours) - for_users != set()


def test_the_readme_has_the_sections_that_certification_asks_for():
    """Automation Platform brings Ansible, so its users must not install the package of the community."""
    text = README.read_text()
    titles = re.findall(r"^## (.+)", text, re.MULTILINE)
    assert titles.index("Requirements") < titles.index("Installation")
    assert "pip install ansible" not in text
