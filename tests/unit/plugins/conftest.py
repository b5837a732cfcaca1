"""Puts the helpers that these tests share on the import path, and has the fixtures that they share."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._ground import converge
from ansible_collections.cwagent.iam.plugins.module_utils._ground.wait import Deadline

# ansible-test imports a test by its full name, and then its folder is not where Python looks.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def server() -> Iterator[Any]:
    """A web server, whose answers a test sets."""
    from web import serving

    with serving() as server:
        yield server


@pytest.fixture
def server_of_ipv6() -> Iterator[Any]:
    """The same over IPv6, which a machine can lack."""
    from web import serving

    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as failure:
        pytest.skip(f"no IPv6: {failure}")
    with serving("::1") as server:
        yield server


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A deadline ends after as many pauses as it has seconds, so that nothing waits."""
    pauses: dict[int, int] = {}

    def pause(deadline: Deadline, seconds: float = 0) -> bool:
        pauses[id(deadline)] = pauses.get(id(deadline), 0) + 1
        return pauses[id(deadline)] <= deadline.seconds

    monkeypatch.setattr(Deadline, "pause", pause)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The clock of ``converge``."""
    from clocks import Clock

    clock = Clock()
    monkeypatch.setattr(converge, "Deadline", clock.deadline)
    return clock
