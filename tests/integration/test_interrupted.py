"""A run that is interrupted gives the admin profile back and closes the window, and the next run does the rest."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from emulator import Fault, Kind
from emulator.snapshot import snapshot
from emulator.testing import wait_until
from faults.evaluation import open_locks
from forks import Run
from harness import ADMIN_ROLE, PLAY_SECONDS, SERVER_ROLE, Controller

RELEASE_SECONDS = 15
"""How long a run may take to give back what it holds."""
PAUSE = 0.3
"""How soon a person who sees no effect presses Ctrl-C again."""
LAG = 120
"""How long the metadata service shows the earlier state: longer than any signal takes."""


@dataclass(frozen=True)
class Site:
    """An account after site.yml, and a newer configuration to store from its instance."""

    controller: Controller
    instance: str

    @property
    def locks(self) -> list[str]:
        """The locks that are open now."""
        account = snapshot(self.controller.aws)
        return open_locks({**account, "instances": {self.instance: account["associations"].get(self.instance)}})

    def start(self, interval: int, env: dict[str, str] | None = None, playbook: str = "store_config") -> Run:
        """Begin to store a configuration."""
        file = self.controller.file("new.json", {"agent": {"metrics_collection_interval": interval}})
        host = self.controller.instance_host(self.instance)
        inventory = self.controller.inventory({"ec2_admin": {"admin1": host}})
        return self.controller.start(inventory, playbook, env=env, cwagent_config_file=str(file))

    def assert_released(self, run: Run, since: float) -> None:
        """Assert that the run fails, that nothing is open soon after a moment, and that the next run stores."""
        assert run.wait_for_main(PLAY_SECONDS) != 0
        wait_until(lambda: not self.locks)
        assert time.monotonic() - since < RELEASE_SECONDS
        run.wait(PLAY_SECONDS)
        self.controller.aws.metadata_lag(0)
        self.controller.aws.disarm()
        assert self.start(5, playbook="site").wait(PLAY_SECONDS) == 0
        assert snapshot(self.controller.aws)["associations"] == {self.instance: SERVER_ROLE}


@pytest.fixture(scope="module")
def site(shared_controller: Controller) -> Site:
    [instance] = shared_controller.aws.instances(1)
    file = shared_controller.file("old.json", {"agent": {"metrics_collection_interval": 60}})
    host = shared_controller.instance_host(instance)
    inventory = shared_controller.inventory({"ec2_admin": {"admin1": host}})
    shared_controller.play(inventory, "site", cwagent_config_file=str(file)).assert_succeeded()
    return Site(shared_controller, instance)


def interrupt(run: Run) -> None:
    os.killpg(run.pid, signal.SIGINT)


def interrupt_twice(run: Run) -> None:
    interrupt(run)
    time.sleep(PAUSE)
    with contextlib.suppress(ProcessLookupError):
        interrupt(run)


def terminate(run: Run) -> None:
    os.kill(run.pid, signal.SIGTERM)


def hang_up(run: Run) -> None:
    os.killpg(run.pid, signal.SIGHUP)


def kill(run: Run) -> None:
    """Kill the main process alone. The kernel tells its worker."""
    os.kill(run.pid, signal.SIGKILL)


@pytest.mark.main_job
@pytest.mark.parametrize("send", [interrupt, interrupt_twice, terminate, hang_up, kill])
def test_a_run_that_waits_for_the_instance_is_interrupted(site: Site, send: Callable[[Run], None]) -> None:
    """Its worker is in a module on the host, for minutes."""
    site.controller.aws.metadata_lag(LAG)
    run = site.start(10)
    wait_until(lambda: len(site.locks) == 2)
    began = time.monotonic()
    send(run)
    site.assert_released(run, began)


@pytest.mark.main_job
def test_a_time_limit_releases_too(site: Site) -> None:
    site.controller.aws.metadata_lag(LAG)
    since = site.controller.aws.mark()
    run = site.start(20, {"ANSIBLE_TASK_TIMEOUT": "15"})
    run.wait_for_main(PLAY_SECONDS)
    assert ADMIN_ROLE in [call.params.get("IamInstanceProfile.Name") for call in site.controller.aws.calls(since)]
    site.assert_released(run, time.monotonic())


@pytest.mark.parametrize("kind", [Kind.INTERRUPT, Kind.INTERRUPT_TWICE, Kind.TERMINATE, Kind.HANG_UP])
@pytest.mark.parametrize("action", ["PutRolePolicy", "ReplaceIamInstanceProfileAssociation", "CreateTags"])
def test_a_write_in_progress_is_never_interrupted(site: Site, kind: Kind, action: str) -> None:
    """Otherwise AWS could apply the opening after the closing. The signal comes before AWS has answered."""
    aws = site.controller.aws
    run = site.start(30)
    since = aws.mark()
    nth = 2 if action == "ReplaceIamInstanceProfileAssociation" else 1  # the first one tries the earlier profile
    aws.arm(Fault(kind, action=action, nth=nth, process=run.pid))
    run.wait_for_main(PLAY_SECONDS)
    began = time.monotonic()
    wait_until(lambda: not site.locks)
    hit = next(call for call in aws.calls(since) if call.fault)
    assert hit.status == 200
    assert not hit.error
    site.assert_released(run, began)
