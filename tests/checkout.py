"""Copies the checkout."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]


def git(*arguments: str | Path, cwd: Path) -> str:
    person = ["-c", "user.name=someone", "-c", "user.email=someone@example.com"]
    done = subprocess.run(["git", *person, *arguments], cwd=cwd, check=True, capture_output=True, text=True)
    return done.stdout


def make_repository(folder: Path) -> None:
    """Make a git repository whose branch main has the files of the checkout, committed or not."""
    listed = git("ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=CHECKOUT)
    for name in filter(None, listed.split("\0")):
        if (CHECKOUT / name).is_file() or (CHECKOUT / name).is_symlink():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(CHECKOUT / name, folder / name, follow_symlinks=False)
    git("init", "--quiet", "--initial-branch=main", cwd=folder)
    git("add", "--all", "--force", cwd=folder)
    git("commit", "--quiet", "--message=all", cwd=folder)
