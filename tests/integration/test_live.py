"""The acceptance run for a real account, in an emulated account that is as unkind as AWS."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from emulator import AS_AWS, Emulator, Fault, Kind, program_environment
from emulator.snapshot import snapshot
from fleet import Fleet
from harness import CHECKOUT, LOCAL_CONNECTION, Controller, create_role, create_user
from live.__main__ import connection
from live.acceptance import Acceptance
from live.playbooks import Playbooks
from live.report import Report

RUN_SECONDS = 2700
TIMEOUTS = {"cwagent_wait_timeout": 30}


def run(
    aws: Emulator, env: Mapping[str, str], report: Path, *options: str, answer: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run ``python -m live`` with the credentials of a user."""
    command = [sys.executable, "-m", "live", "--report", str(report), "--timeouts", json.dumps(TIMEOUTS), *options]
    return subprocess.run(
        command,
        cwd=CHECKOUT,
        env=program_environment(aws.env(), {"PYTHONPATH": str(CHECKOUT / "tests")}, env),
        input=answer,
        check=False,
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
    )


@pytest.fixture
def caller(enforcing: Emulator) -> dict[str, str]:
    return create_user(enforcing, "caller", policy="AdministratorAccess")


def test_an_acceptance_run_passes_and_leaves_nothing(
    enforcing: Emulator, caller: dict[str, str], tmp_path: Path
) -> None:
    instances = enforcing.instances(2)
    before = snapshot(enforcing)
    enforcing.be_unkind(*AS_AWS, seed=1)
    fleet = Fleet(Controller(enforcing, tmp_path))
    machine = fleet.add_machine("db1", cwagent_deliver_keys=False)
    server = {**LOCAL_CONNECTION, **fleet.groups["onprem_servers"]["db1"]}
    options = ["--yes", "--onprem-variables", json.dumps(server), "--instances", *instances]
    done = run(enforcing, caller, tmp_path / "live.md", *options)
    report = (tmp_path / "live.md").read_text()
    assert done.returncode == 0, report
    assert "not measured" not in report
    assert "skipped" not in report
    assert machine.registration is None
    assert caller["AWS_SECRET_ACCESS_KEY"] not in report + done.stdout + done.stderr
    assert snapshot(enforcing) == before
    assert enforcing.client("secretsmanager").list_secrets()["SecretList"] == []


def test_everything_is_removed_after_a_failure(enforcing: Emulator, caller: dict[str, str], tmp_path: Path) -> None:
    instances = enforcing.instances(2)
    create_role(enforcing, "App")
    before = snapshot(enforcing)
    enforcing.arm(Fault(Kind.DENY, action="SendCommand", times=1000))
    enforcing.arm(Fault(Kind.DENY, action="PutRolePolicy", text="AmazonCloudWatch-live-AdminRole", times=1000))
    done = run(enforcing, caller, tmp_path / "live.md", "--yes", "--instances", *instances)
    assert done.returncode == 1, done.stdout
    assert "**failed**" in (tmp_path / "live.md").read_text()
    assert snapshot(enforcing) == before


def test_an_account_with_such_objects_is_refused(enforcing: Emulator, caller: dict[str, str], tmp_path: Path) -> None:
    create_role(enforcing, "AmazonCloudWatch-live-ServerRole")
    secrets = enforcing.client("secretsmanager")
    secrets.create_secret(Name="AmazonCloudWatch-live/credentials/AmazonCloudWatch-live-ServerUser", SecretString="-")
    since = enforcing.mark()
    done = run(enforcing, caller, tmp_path / "live.md", "--yes")
    assert "has role AmazonCloudWatch-live-ServerRole, instance profile" in done.stderr
    assert enforcing.writes(since) == []
    assert run(enforcing, caller, tmp_path / "live.md", "--remove").returncode == 0
    assert set(snapshot(enforcing)["roles"]) == set()
    assert secrets.list_secrets()["SecretList"] == []


@pytest.mark.parametrize("answer", ["", "no\n", "000000000001\n"])
def test_without_consent_nothing_is_done(
    answer: str, enforcing: Emulator, caller: dict[str, str], tmp_path: Path
) -> None:
    since = enforcing.mark()
    done = run(enforcing, caller, tmp_path / "live.md", answer=answer)
    assert done.returncode == 1
    assert "Nothing was done." in done.stderr
    assert "Traceback" not in done.stderr
    assert "cost about 0.03 USD" in done.stdout
    assert enforcing.writes(since) == []


@pytest.mark.parametrize(
    ("host", "variables"),
    [
        ("admin@db1.example.com", {"ansible_host": "db1.example.com", "ansible_user": "admin"}),
        ("db1.example.com", {"ansible_host": "db1.example.com"}),
        ("", {}),
    ],
)
def test_an_on_premises_server_is_named_as_for_ssh(host: str, variables: dict[str, str]) -> None:
    assert connection(host) == variables


def test_steps_without_an_on_premises_server_are_reported_as_skipped(tmp_path: Path) -> None:
    account: Any = None  # it is not asked
    lines: list[str] = []
    acceptance = Acceptance(account, Playbooks(account, tmp_path), lines.append)
    acceptance.run_hybrid_steps()
    report = Report(datetime.now(UTC), "eu-central-1", "aws", acceptance.steps, [], [])
    assert report.passed
    reason = "skipped: no on-premises server was named"
    assert f"| site, with a hybrid server | 0 | {reason} |" in report.markdown()
    assert lines == [f"{step.title} … {reason}" for step in acceptance.steps]
