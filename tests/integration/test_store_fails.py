"""When storing fails, the reason is said, and the account is as it was."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from emulator import Fault
from harness import (
    ADMIN_ROLE,
    HERE,
    PARAMETER,
    SERVER_ROLE,
    Play,
    Workplace,
    account,
    nothing_written,
    put_on,
    take_off,
)

QUICK = {"store_config_permission_timeout": 1, "store_config_identity_timeout": 1}


@dataclass(frozen=True)
class Stored:
    """An account after site.yml, whose admin instance carries the server profile; and a newer configuration."""

    at: Workplace
    admin: str
    account: dict[str, Any]

    def store(self, *arguments: str, env: dict[str, str] | None = None, **variables: Any) -> Play:
        """Store the newer configuration. ``host`` changes what the inventory says of the admin instance."""
        host = self.at.on_instance(self.admin, **variables.pop("host", {}))
        inventory = self.at.inventory({"ec2_admin": {"admin1": host}})
        given = {"cwagent_config_file": str(self.at.home / "new.json"), **QUICK, **variables}
        return self.at.play(inventory, "store_config", *arguments, env=env, **given)


@pytest.fixture(scope="module")
def stored(shared: Workplace) -> Stored:
    [admin] = shared.aws.instances(1)
    shared.file("old.json", {"agent": {"metrics_collection_interval": 60}})
    shared.file("new.json", {"agent": {"metrics_collection_interval": 10}})
    inventory = shared.inventory({"ec2_admin": {"admin1": shared.on_instance(admin)}})
    shared.play(inventory, "site", cwagent_config_file=str(shared.home / "old.json")).succeeded()
    return Stored(shared, admin, account(shared.aws))


@pytest.fixture(autouse=True)
def as_it_was(stored: Stored) -> Iterator[None]:
    """Whatever happens: the instance is on its earlier profile and the parameter is the earlier one."""
    yield
    stored.at.aws.disarm()
    assert account(stored.at.aws) == stored.account
    assert stored.account["carried"] == {stored.admin: SERVER_ROLE}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is not JSON"),
        ('{"agnet": {}}', "sections the agent does not know: agnet"),
        (json.dumps({"agent": {"x": "y" * 8192}}), "Parameter Store takes 8192"),
    ],
)
def test_an_invalid_configuration_is_refused_before_any_swap(stored: Stored, text: str, words: str) -> None:
    stored.at.file("wrong.json", text)
    with nothing_written(stored.at.aws):
        play = stored.store(cwagent_config_file=str(stored.at.home / "wrong.json")).failed()
    assert words in play.message


def test_denied(stored: Stored) -> None:
    stored.at.aws.arm(Fault("deny", service="ssm", action="PutParameter", times=1000))
    play = stored.store().failed()
    assert "lacks ssm:PutParameter" in play.message
    assert f"assumed-role/{ADMIN_ROLE}/{stored.admin}" in play.message
    assert play.put_on == [ADMIN_ROLE, SERVER_ROLE]


@pytest.fixture(scope="module")
def ssh(shared: Workplace) -> Path:
    """An executable in place of ssh."""
    wrapper = shared.file("ssh", f'#!/bin/sh\nexec "{sys.executable}" "{HERE / "failing_ssh.py"}" "$@"\n')
    wrapper.chmod(0o755)
    return wrapper


def test_unreachable_after_the_swap(stored: Stored, ssh: Path) -> None:
    host = {"ansible_connection": "ssh", "ansible_ssh_executable": str(ssh), "ansible_ssh_transfer_method": "piped"}
    lost = {"LOST_AFTER": ADMIN_ROLE, "LOST_SINCE": str(stored.at.aws.mark())}
    play = stored.store(env=lost, host=host).failed()
    assert f"admin1 ({stored.admin}) could not be reached" in play.message
    assert f"It carries {SERVER_ROLE} again" in play.message
    assert play.put_on == [ADMIN_ROLE, SERVER_ROLE]


def test_unreachable_before_the_swap(stored: Stored, ssh: Path) -> None:
    """Found while comparing; the run ends there."""
    host = {"ansible_connection": "ssh", "ansible_ssh_executable": str(ssh), "ansible_ssh_transfer_method": "piped"}
    lost = {"LOST_AFTER": "GetParameter", "LOST_SINCE": str(stored.at.aws.mark())}
    with nothing_written(stored.at.aws):
        assert "Connection timed out" in stored.store(env=lost, host=host).failed().message


def test_another_instance_that_carries_the_admin_profile(stored: Stored) -> None:
    aws = stored.at.aws
    [other] = aws.instances(1)
    put_on(aws, other, ADMIN_ROLE)
    with nothing_written(aws):
        assert other in stored.store().failed().message
    take_off(aws, other)
    aws.client("ec2").terminate_instances(InstanceIds=[other])


def test_what_failed_succeeds_when_run_again(stored: Stored) -> None:
    """Last, as it stores; the newer configuration is then what the account is to have."""
    assert stored.store().succeeded().put_on == [ADMIN_ROLE, SERVER_ROLE]
    stored.account["parameters"][stored.at.aws.region][PARAMETER] = {"agent": {"metrics_collection_interval": 10}}
