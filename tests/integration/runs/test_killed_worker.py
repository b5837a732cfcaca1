"""A worker that is killed while it holds the permission to write: a guardian gives it back and ends the run."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from emulator import Fault, Kind, program_environment
from emulator.testing import wait_until
from faults.evaluation import open_locks
from fleet import Fleet
from forks import Run
from harness import CHECKOUT, PLAY_SECONDS, REPLACE_ASSOCIATION, playbook_command
from states import States, after_site

RELEASE_SECONDS = 15


def locks(fleet: Fleet) -> list[str]:
    account = fleet.account()
    return open_locks(
        {**account, "instances": {name: account["associations"].get(each) for name, each in fleet.instances.items()}}
    )


@pytest.mark.parametrize(("action", "nth"), [("TagRole", 1), ("PutRolePolicy", 1), (REPLACE_ASSOCIATION, 2)])
def test_a_killed_worker(states: States, tmp_path: Path, action: str, nth: int) -> None:
    fleet = states.begin(after_site)
    fleet.configure({"agent": {"metrics_collection_interval": 10}})
    output = tmp_path / "output"
    command = playbook_command(fleet.inventory, "store_config", **fleet.variables)
    environ = program_environment(fleet.aws.env(), fleet.controller._settings)
    with output.open("w") as file:
        run = Run.start(command, environ, CHECKOUT, output=file, errors=file)
    fleet.aws.arm(Fault(Kind.KILL_WORKER, action=action, nth=nth, process=run.pid))
    wait_until(lambda: any(call.fault for call in fleet.aws.calls()))
    began = time.monotonic()
    wait_until(lambda: not locks(fleet))
    assert time.monotonic() - began < RELEASE_SECONDS
    code = run.wait(PLAY_SECONDS)
    print(code, time.monotonic() - began, output.read_text()[-1500:])
    assert code != 0
    assert "given back" in output.read_text()
