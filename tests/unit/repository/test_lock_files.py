"""The lock files list packages with their hashes, but no registry, because each user chooses one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[3]
PYTHON_LOCKS = sorted((CHECKOUT / "requirements").glob("*.txt"))
NPM_LOCKS = sorted((CHECKOUT / "tests").glob("*/package-lock.json"))


def packages_of(lock):
    """The packages of an npm lock file, without the addresses where their authors may be paid."""
    packages = json.loads(lock.read_text())["packages"]
    return {name: {**each, "funding": None} for name, each in packages.items() if name}


@pytest.mark.parametrize("lock", PYTHON_LOCKS, ids=lambda lock: lock.name)
def test_a_python_lock_file_names_no_registry(lock):
    text = lock.read_text()
    assert "://" not in text
    # A line that begins like this is an option of pip. Only options can set a place to install from.
    assert [line for line in text.splitlines() if line.startswith("-")] == []


@pytest.mark.parametrize("lock", NPM_LOCKS, ids=lambda lock: lock.parent.name)
def test_an_npm_lock_file_names_no_registry(lock):
    assert not any("resolved" in each for each in packages_of(lock).values())
    assert "://" not in json.dumps(packages_of(lock))


@pytest.mark.parametrize("lock", NPM_LOCKS, ids=lambda lock: lock.parent.name)
def test_every_npm_package_has_a_hash(lock):
    assert packages_of(lock)
    assert all(each["integrity"].startswith("sha512-") for each in packages_of(lock).values())
