"""The reports and a browser."""

from __future__ import annotations

from pathlib import Path

import pytest
from report import browser
from report.documents import DOCUMENTS
from report.rendering import render

HERE = Path(__file__).parent
DEMO = HERE.parents[1] / "build" / "demo" / "audit.html"
PACKAGES = HERE.parents[1] / ".cache" / "report" / "node_modules"


@pytest.fixture(scope="session")
def reports(tmp_path_factory):
    """The files of the reports, by the name of their document, and the report on the demo's account."""
    if not DEMO.is_file():
        raise RuntimeError(f"{DEMO} does not exist: the demo writes it. Run: make report-tests")
    return {**render(DOCUMENTS, tmp_path_factory.mktemp("reports")), "demo": DEMO}


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
