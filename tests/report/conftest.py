"""The reports, rendered by Ansible, and a browser."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from report import browser, documents

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
TEMPLATE = ROOT / "roles" / "audit" / "templates" / "report.html.j2"
PACKAGES = ROOT / ".cache" / "report" / "node_modules"
DOCUMENTS = {
    "small": documents.small(),
    "clean": documents.clean(),
    "empty": documents.empty(),
    "large": documents.large(),
}


@pytest.fixture(scope="session")
def reports(tmp_path_factory):
    """The files of the reports, by the name of their document."""
    folder = tmp_path_factory.mktemp("reports")
    for name, document in DOCUMENTS.items():
        (folder / f"{name}.json").write_text(json.dumps(document))
    program = Path(sys.executable).with_name("ansible-playbook")
    variables = {"folder": str(folder), "names": list(DOCUMENTS), "template": str(TEMPLATE)}
    settings = {
        "ANSIBLE_LIBRARY": str(HERE / "library"),
        "ANSIBLE_LOCALHOST_WARNING": "false",
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
    }
    done = subprocess.run(
        [program, "-i", "localhost,", "-c", "local", HERE / "render.yml", "-e", json.dumps(variables)],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return {name: folder / f"{name}.html" for name in DOCUMENTS}


@pytest.fixture(scope="session")
def chromium(tmp_path_factory):
    """A running browser."""
    with browser.running(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture
def packages():
    """The folder with the packages of package.json."""
    if not PACKAGES.is_dir():
        raise RuntimeError(f"The npm packages of {HERE} are not installed in {PACKAGES}. Run: make report-tests")
    return PACKAGES
