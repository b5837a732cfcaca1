"""The built documentation is pushed to its own branch, without the files of the checkout."""

from __future__ import annotations

import subprocess
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[3] / ".github" / "publish-docs"


def git(folder, *arguments):
    done = subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.split()


def publish(folder, tag):
    return subprocess.run([SCRIPT, "html", tag], cwd=folder, check=False, capture_output=True, text=True)


def prepare(folder):
    """A checkout that ignores the built documentation, and its remote repository."""
    remote, checkout = folder / "remote", folder / "checkout"
    git(folder, "init", "--quiet", "--bare", str(remote))
    git(folder, "init", "--quiet", "--initial-branch=main", str(checkout))
    git(checkout, "remote", "add", "origin", str(remote))
    (checkout / ".gitignore").write_text("html\n")
    (checkout / "html" / "_static").mkdir(parents=True)
    (checkout / "html" / "index.html").write_text("first")
    (checkout / "html" / "_static" / "site.css").write_text("")
    return remote, checkout


def test_the_branch_has_the_built_files_and_replaces_its_earlier_commit(tmp_path):
    remote, checkout = prepare(tmp_path)
    assert publish(checkout, "1.0.0").returncode == 0
    (checkout / "html" / "index.html").write_text("second")
    assert publish(checkout, "1.1.0").returncode == 0
    assert set(git(remote, "ls-tree", "-r", "--name-only", "gh-pages")) == {
        ".nojekyll",
        "index.html",
        "_static/site.css",
    }
    assert git(remote, "show", "gh-pages:index.html") == ["second"]
    assert git(remote, "rev-list", "--count", "gh-pages") == ["1"]
    assert git(checkout, "status", "--porcelain") == ["??", ".gitignore"]


def test_a_tag_is_required(tmp_path):
    remote, checkout = prepare(tmp_path)
    failed = publish(checkout, "")
    assert (failed.returncode, failed.stderr) == (1, "Name the tag: make publish-docs TAG=1.0.0\n")
    assert git(remote, "branch", "--list") == []
