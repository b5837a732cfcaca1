"""A missing browser is a failure that tells you what to install, and never a skipped test."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from report import browser

PROGRAM = Path(__file__).with_name("install-browser")


@pytest.fixture
def only(tmp_path, monkeypatch):
    """Makes these the only programs on PATH."""

    def make(*names):
        for name in names:
            (tmp_path / name).write_text("#!/bin/sh\n")
            (tmp_path / name).chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))

    return make


@pytest.mark.parametrize(
    ("present", "missing"),
    [
        ((), "Chromium and chromedriver"),
        (("google-chrome",), "chromedriver"),
        (("chromedriver",), "Chromium"),
    ],
)
def test_missing_programs_are_reported(only, present, missing):
    only(*present)
    done = subprocess.run(["/bin/sh", PROGRAM], check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert f"The tests of the HTML report need {missing} on PATH, and apt-get could not" in done.stderr
    with pytest.raises(RuntimeError, match=rf"need {missing} on PATH\. Run: make browser"):
        browser.programs()


@pytest.mark.parametrize("name", browser.BROWSERS)
def test_a_browser_that_is_there_is_used(only, name):
    only(name, "chromedriver")
    done = subprocess.run(["/bin/sh", PROGRAM], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [Path(path).name for path in browser.programs()] == [name, "chromedriver"]


def test_missing_programs_are_installed_with_apt_get(only, tmp_path):
    only("id", "apt-get", "google-chrome")
    log = tmp_path / "log"
    (tmp_path / "id").write_text("#!/bin/sh\necho 0\n")
    (tmp_path / "apt-get").write_text(
        f'#!/bin/sh\necho "$@" >>{log}\nif [ "$1" = install ]; then : >{tmp_path}/chromedriver; '
        f"/bin/chmod +x {tmp_path}/chromedriver; fi\n"
    )
    subprocess.run(["/bin/sh", PROGRAM], check=True, capture_output=True)
    assert log.read_text().splitlines() == [
        "update -qq",
        "install -y -qq --no-install-recommends chromium chromium-driver",
    ]
