"""One running emulator per backend and worker. The tests of a file share a worker, and so their module fixtures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from emulator import Emulator
from harness import Controller, start_empty
from states import Made, States

SPREAD = {"test_access_keys.py", "test_foreign_things.py", "test_live.py", "test_permissions.py"}
"""Files whose tests take minutes together and share nothing, so that each can be on any worker."""
TOGETHER = (
    {"journeys/test_admin_window.py", "runs/test_interrupted.py"},
    {
        *(f"journeys/test_{name}.py" for name in ("audit", "teardown")),
        *(f"runs/test_{name}.py" for name in ("store_hosts", "without_credentials")),
    },
)
"""Files whose tests begin after site.yml, whose first run is dear. Files of a group share a worker and its states."""
LONG = {
    *("test_access_keys.py", "test_accounts.py", "test_as_aws.py", "test_aws_actions.py", "test_duties.py"),
    *("test_guide.py", "test_guide_alone.py", "test_hostile_host.py", "test_hybrid_servers.py", "test_interrupted.py"),
    *("test_live.py", "test_verify.py", "test_year.py"),
}
"""Files that take long. They begin first, so that no worker is last with one."""
WITHOUT_PIPELINING = {"test_deliver_credentials.py", "test_role_includes.py"}
"""Files whose tests look where a key goes, or how a host is reached, as Ansible does it by default."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in LONG)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: Any, log: Any) -> Any:
    """Schedule the tests of a file or group on one worker: they share runs and states, which take most of the time."""
    from xdist.scheduler import LoadFileScheduling

    config.option.loadscopereorder = False  # keeps the order of the files instead of the number of their tests

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = Path(super()._split_scope(nodeid))
            shared = [str(sorted(group)) for group in TOGETHER if "/".join(file.parts[-2:]) in group]
            return nodeid if file.name in SPREAD else [*shared, str(file)][0]

    return Scheduling(config, log)


@pytest.fixture(scope="session")
def running() -> Iterator[dict[str, Emulator]]:
    """The running emulators by backend."""
    started: dict[str, Emulator] = {}
    yield started
    for emulator in started.values():
        emulator.stop()


@pytest.fixture(params=["ministack", "moto"])
def aws(request: pytest.FixtureRequest, running: dict[str, Emulator]) -> Emulator:
    """An empty account on either backend."""
    return start_empty(running, request.param)


@pytest.fixture
def enforcing(running: dict[str, Emulator]) -> Emulator:
    """An empty account that enforces policies."""
    return start_empty(running, "ministack")


@pytest.fixture
def moto(running: dict[str, Emulator]) -> Emulator:
    """An empty account on the backend that knows the other partitions."""
    return start_empty(running, "moto")


@contextmanager
def home(kept: Path, name: str) -> Iterator[Path]:
    """The home of a controller: always the same folder, since runs with the same settings start faster. It is kept."""
    folder = kept.parent / name
    folder.mkdir()
    yield folder
    folder.rename(kept / name)


@pytest.fixture(scope="module")
def shared_controller(
    request: pytest.FixtureRequest, running: dict[str, Emulator], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Controller]:
    """An empty enforcing account and a controller that all tests of a file share."""
    with home(tmp_path_factory.mktemp("shared"), "shared-home") as folder:
        yield Controller(start_empty(running, "ministack"), folder, request.path.name not in WITHOUT_PIPELINING)


@pytest.fixture
def controller(request: pytest.FixtureRequest, enforcing: Emulator, tmp_path: Path) -> Iterator[Controller]:
    """An empty enforcing account and a controller."""
    with home(tmp_path, "home") as folder:
        yield Controller(enforcing, folder, request.path.name not in WITHOUT_PIPELINING)


@pytest.fixture(scope="session")
def made() -> Made:
    """The states that were made in this session."""
    return {}


@pytest.fixture
def states(controller: Controller, made: Made) -> States:
    """The states of an enforcing account, with a controller."""
    return States(controller, made)
