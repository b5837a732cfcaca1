"""One running emulator per backend and worker; the tests of a file share a worker, and so what they set up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from emulator import Emulator
from harness import ModuleServer, Workplace


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: Any, log: Any) -> Any:
    """A file's tests go to one worker: they share playbook runs, which are what takes time."""
    from xdist.scheduler import LoadFileScheduling

    return LoadFileScheduling(config, log)


@pytest.fixture(scope="session")
def running() -> Iterator[dict[str, Emulator]]:
    started: dict[str, Emulator] = {}
    yield started
    for emulator in started.values():
        emulator.stop()


def _empty(running: dict[str, Emulator], backend: str) -> Emulator:
    if backend not in running:
        running[backend] = Emulator.start(backend)
    running[backend].reset()
    return running[backend]


@pytest.fixture(params=["ministack", "moto"])
def aws(request: pytest.FixtureRequest, running: dict[str, Emulator]) -> Emulator:
    """An empty account on either backend."""
    return _empty(running, request.param)


@pytest.fixture
def enforcing(running: dict[str, Emulator]) -> Emulator:
    """An empty account that holds callers to their policies."""
    return _empty(running, "ministack")


@pytest.fixture
def moto(running: dict[str, Emulator]) -> Emulator:
    """An empty account on the backend that knows the other partitions."""
    return _empty(running, "moto")


@pytest.fixture(scope="module")
def modules() -> Iterator[ModuleServer]:
    """Modules that start at once."""
    with ModuleServer.started() as server:
        yield server


@pytest.fixture(scope="module")
def shared(running: dict[str, Emulator], tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """An empty enforcing account and a controller that all tests of a file share."""
    return Workplace(_empty(running, "ministack"), tmp_path_factory.mktemp("home"))


@pytest.fixture
def workplace(enforcing: Emulator, tmp_path: Path) -> Workplace:
    """An empty enforcing account and a controller."""
    return Workplace(enforcing, tmp_path)
