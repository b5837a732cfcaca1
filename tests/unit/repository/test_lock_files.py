"""The lock files name packages with their hashes, and no registry: whoever installs them chooses it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[3]
NPM_LOCK = CHECKOUT / "tests" / "simulator" / "package-lock.json"
LOCKS = [*sorted((CHECKOUT / "requirements").glob("*.txt")), NPM_LOCK]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_a_lock_file_names_no_registry(lock):
    text = lock.read_text()
    assert "://" not in text
    assert '"resolved"' not in text
    assert "index-url" not in text


def test_every_npm_package_has_a_hash():
    packages = {name: each for name, each in json.loads(NPM_LOCK.read_text())["packages"].items() if name}
    assert packages
    assert all(each["integrity"].startswith("sha512-") for each in packages.values())
