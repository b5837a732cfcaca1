"""The tarball contains the files for users and no others, by rules and not by a list of names."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
# The committed files that are for users. A new kind of file for users is added here.
FOR_USERS = re.compile(
    r"""
      LICENSE | README\.md | CHANGELOG\.md | CONTRIBUTING\.md | SECURITY\.md
    | changelogs/(changelog|config)\.yaml
    | docs/docsite/(extra-docs\.yml | links\.yml | rst/README\.md | rst/.+\.rst)
    | docs/images/.+\.(png|svg)
    | examples/(?!awx-project/|demo/).+
    | meta/(runtime\.yml | execution-environment\.yml | ee-\w+\.txt)
    | playbooks/.+\.yml
    | plugins/\w+/(\w+/)?\w+\.(py|yml)
    | roles/\w+/(README\.md | (defaults|handlers|meta|tasks|vars)/\w+\.yml | (files|templates)/.+)
    """,
    re.VERBOSE,
)
GENERATED = {"MANIFEST.json", "FILES.json"}
LEFTOVERS = (
    "plugins/modules/__pycache__/x.pyc",
    ".venv/x.py",
    ".cache/x",
    "build/x.tar.gz",
    "x.tar.gz",
    ".idea/x.xml",
)


@pytest.fixture(scope="module")
def committed():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return {name for name in listed.split("\0") if name and (ROOT / name).is_file()}


@pytest.fixture(scope="module")
def shipped(committed, tmp_path_factory):
    """The files of a tarball that is built in a checkout with leftovers of tools."""
    checkout = tmp_path_factory.mktemp("checkout")
    for name in committed:
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, checkout / name)
    for name in LEFTOVERS:
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).touch()
    program = Path(sys.executable).with_name("ansible-galaxy")
    subprocess.run(
        [program, "collection", "build", "--output-path", "out"], cwd=checkout, check=True, capture_output=True
    )
    [tarball] = (checkout / "out").iterdir()
    with tarfile.open(tarball) as archive:
        return {member.name for member in archive if member.isfile()}


def test_all_files_for_users_are_in_the_tarball(committed, shipped):
    assert {name for name in committed if FOR_USERS.fullmatch(name)} - shipped == set()


def test_only_files_for_users_are_in_the_tarball(shipped):
    assert {name for name in shipped - GENERATED if not FOR_USERS.fullmatch(name)} == set()


def test_only_committed_files_are_in_the_tarball(committed, shipped):
    assert shipped - GENERATED - committed == set()


def test_every_relative_link_of_the_texts_leads_to_a_file_of_the_tarball(shipped):
    """Galaxy and the installed collection show the README beside the files of the tarball only."""
    texts = [(ROOT / name).read_text() for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")]
    targets = {target for text in texts for target in re.findall(r"\]\(([^)#]+)", text)}
    relative = {target for target in targets if not re.match(r"[a-z]+:", target)}
    # Automation Hub requires links to the changelog and to the licence.
    assert {"CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "SECURITY.md", "docs/images/window.svg"} < relative
    assert relative - shipped == set()
