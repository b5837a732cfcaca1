"""A change for users has a changelog fragment from the first release on."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / ".github" / "check-change-note"
CHANGELOG = "changelogs/changelog.yaml"
UNRELEASED, RELEASED = "---\nreleases: {}\n", "---\nreleases:\n  1.0.0:\n    changes: {}\n"
FRAGMENT = {"changelogs/fragments/x.yml": "---\nbugfixes:\n  - x\n"}
PLUGIN, TEST = {"plugins/x.py": "x = 1\n"}, {"tests/x.py": "x = 1\n"}


def commit(repository: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (repository / name).parent.mkdir(parents=True, exist_ok=True)
        (repository / name).write_text(text)
    git = ["git", "-C", str(repository), "-c", "user.name=x", "-c", "user.email=x@example.com"]
    for command in (["add", "."], ["commit", "--quiet", "--message", "x"]):
        subprocess.run([*git, *command], check=True)


@pytest.mark.parametrize(
    ("changelog", "change", "message"),
    [
        (UNRELEASED, PLUGIN, ""),
        (UNRELEASED, {**PLUGIN, CHANGELOG: RELEASED}, ""),
        (RELEASED, PLUGIN, "These files changed without a fragment in changelogs/fragments:\n  plugins/x.py\n"),
        (RELEASED, {**PLUGIN, **FRAGMENT}, ""),
        (RELEASED, TEST, ""),
    ],
    ids=["before the first release", "first release", "no fragment", "fragment", "not for users"],
)
def test_a_change_for_users_needs_a_fragment_from_the_first_release_on(tmp_path, changelog, change, message):
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    commit(tmp_path, {CHANGELOG: changelog})
    commit(tmp_path, change)
    done = subprocess.run([SCRIPT, "HEAD~1"], cwd=tmp_path, check=False, capture_output=True, text=True)
    assert done.returncode == (1 if message else 0), done.stderr
    assert done.stderr.startswith(message)
