"""What holds for all files and tests: licence headers, and unit tests that stay on this machine."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

PLUGINS = Path(__file__).resolve().parents[3] / "plugins"
FILES = sorted(path for path in PLUGINS.rglob("*.py") if path.name != "__init__.py")
HEADER = """\
# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PLUGINS)))
def test_a_plugin_file_begins_with_its_licence(path: Path) -> None:
    assert path.read_text().removeprefix("#!/usr/bin/python\n").startswith(HEADER)


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1"])
def test_a_unit_test_cannot_reach_another_machine(address: str) -> None:
    blocked = pytest.importorskip("pytest_socket").SocketConnectBlockedError
    with pytest.raises((blocked, UserWarning), match=address):  # the warning comes first, and is an error
        socket.create_connection((address, 80), timeout=0.1)
