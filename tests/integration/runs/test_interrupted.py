"""A run that is interrupted gives the admin profile back and closes the window, and the next run does the rest."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable

import pytest
from emulator import Fault, Kind
from emulator.snapshot import snapshot
from emulator.testing import wait_until
from faults.evaluation import open_locks
from faults.job import Job
from forks import Run
from harness import ADMIN_ROLE, PLAY_SECONDS, REPLACE_ASSOCIATION, SERVER_ROLE, Controller
from states import States, after_site
from storing import Storing, succeeded

RELEASE_SECONDS = 15
"""How long a run may take to give back what it holds."""
PAUSE = 0.3
"""How soon a person who sees no effect presses Ctrl-C again."""
LAG = 120
"""How long the metadata service shows the earlier state: longer than any signal takes."""


@pytest.fixture
def fleet(states: States) -> Storing:
    """An account after site.yml, and a newer configuration to store from its instance."""
    fleet = Storing(**vars(states.begin(after_site)))
    fleet.configure({"agent": {"metrics_collection_interval": 10}})
    return fleet


def locks(fleet: Storing) -> list[str]:
    """The locks that are open now."""
    account, admin = snapshot(fleet.aws), fleet.instances["admin1"]
    return open_locks({**account, "users": {}, "instances": {admin: account["associations"].get(admin)}})


def start(fleet: Storing, **env: str) -> Run:
    """Begin to store the configuration."""
    return fleet.controller.start(fleet.inventory, "store_config", env=env, **fleet.variables)


def assert_released(fleet: Storing, run: Run, since: float) -> None:
    """Assert that the run fails, that nothing is open soon after a moment, and that a clean-up does the rest."""
    assert run.wait_for_main(PLAY_SECONDS) != 0
    wait_until(lambda: not locks(fleet))
    assert time.monotonic() - since < RELEASE_SECONDS
    run.wait(PLAY_SECONDS)
    fleet.aws.metadata_lag(0)
    fleet.aws.disarm()
    succeeded(fleet.restore())
    assert fleet.profiles[fleet.instances["admin1"]] == SERVER_ROLE
    fleet.assert_clean()


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
def test_a_run_that_waits_for_the_instance_is_interrupted(fleet: Storing, send: Callable[[Run], None]) -> None:
    """Its worker is in a module on the host, for minutes."""
    fleet.aws.metadata_lag(LAG)
    run = start(fleet)
    wait_until(lambda: len(locks(fleet)) == 2)
    began = time.monotonic()
    send(run)
    assert_released(fleet, run, began)


@pytest.mark.main_job
def test_a_time_limit_releases_too_and_the_next_run_stores(fleet: Storing) -> None:
    fleet.aws.metadata_lag(LAG)
    since = fleet.aws.mark()
    run = start(fleet, ANSIBLE_TASK_TIMEOUT="15")
    assert run.wait_for_main(PLAY_SECONDS) != 0
    ended = time.monotonic()
    assert ADMIN_ROLE in [call.params.get("IamInstanceProfile.Name") for call in fleet.aws.calls(since)]
    run.wait(PLAY_SECONDS)
    wait_until(lambda: not locks(fleet))
    assert time.monotonic() - ended < RELEASE_SECONDS
    fleet.aws.metadata_lag(0)
    done = fleet.play("site").assert_succeeded()
    assert "PutParameter" in done.writes
    fleet.assert_clean()


@pytest.mark.parametrize(
    ("kind", "action", "nth"),
    # The first association tries the earlier profile.
    [(Kind.INTERRUPT_TWICE, REPLACE_ASSOCIATION, 2), (Kind.TERMINATE, "CreateTags", 1)],
)
def test_a_write_in_progress_is_never_interrupted(fleet: Storing, kind: Kind, action: str, nth: int) -> None:
    """Otherwise AWS could apply the opening after the closing. The signal comes before AWS has answered.

    ``test_transaction_interruption.py`` shields from each signal.
    """
    run = start(fleet)
    since = fleet.aws.mark()
    fleet.aws.arm(Fault(kind, action=action, nth=nth, process=run.pid))
    run.wait_for_main(PLAY_SECONDS)
    began = time.monotonic()
    wait_until(lambda: not locks(fleet))
    hit = next(call for call in fleet.aws.calls(since) if call.fault)
    assert (hit.status, hit.error) == (200, "")
    assert_released(fleet, run, began)


@pytest.mark.parametrize(
    ("action", "nth"),
    [("TagRole", 1), ("PutRolePolicy", 1), pytest.param(REPLACE_ASSOCIATION, 2, marks=pytest.mark.main_job)],
)
def test_a_guardian_releases_what_a_killed_worker_held_and_ends_the_run(fleet: Storing, action: str, nth: int) -> None:
    """Ansible itself waits for a killed worker for ever."""
    run = start(fleet)
    fleet.aws.arm(Fault(Kind.KILL_WORKER, action=action, nth=nth, process=run.pid))
    wait_until(lambda: any(call.fault for call in fleet.aws.calls()))
    assert_released(fleet, run, time.monotonic())
    assert "given back" in fleet.controller.output.read_text()


@pytest.mark.parametrize(
    ("store_from", "action", "nth"), [("run_command", "CreateTags", 1), ("onprem", "UpdateAccessKey", 2)]
)
def test_a_guardian_releases_whatever_way_the_configuration_is_stored(
    controller: Controller, store_from: str, action: str, nth: int
) -> None:
    job = Job(controller.aws, controller.home / "job", store_from=store_from)
    run = job.start()
    job.aws.arm(Fault(Kind.KILL_WORKER, action=action, nth=nth, process=run.pid))
    wait_until(lambda: any(call.fault for call in job.aws.calls(job.start_mark)))
    began = time.monotonic()
    assert run.wait_for_main(PLAY_SECONDS) != 0
    wait_until(lambda: not open_locks(job.state()))
    assert time.monotonic() - began < RELEASE_SECONDS
    run.wait(PLAY_SECONDS)
    assert "given back" in job.output()
    job.aws.disarm()
    assert job.run() == 0
