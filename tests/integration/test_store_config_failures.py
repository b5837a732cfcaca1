"""When storing fails, the reason is shown and the account is unchanged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from emulator import NO_METADATA, Fault, Kind
from emulator.snapshot import snapshot
from harness import (
    ADMIN_ROLE,
    PARAMETER,
    SERVER_ROLE,
    SWAPPED,
    Controller,
    Play,
    assert_no_writes,
    associate,
    disassociate,
    lost_after,
)

SHORT_TIMEOUTS = {"cwagent_permission_timeout": 1, "cwagent_identity_timeout": 1}


@dataclass(frozen=True)
class Stored:
    """An account after site.yml, whose admin instance has the server profile, and a newer configuration."""

    controller: Controller
    admin: str
    account: dict[str, Any]

    def store(self, *arguments: str, env: dict[str, str] | None = None, **variables: Any) -> Play:
        """Store the newer configuration. ``host`` has further inventory variables of the admin instance."""
        host = self.controller.instance_host(self.admin, **variables.pop("host", {}))
        inventory = self.controller.inventory({"ec2_admin": {"admin1": host}})
        values = {"cwagent_config_file": str(self.controller.home / "new.json"), **SHORT_TIMEOUTS, **variables}
        return self.controller.play(inventory, "store_config", *arguments, env=env, **values)


@pytest.fixture(scope="module")
def stored(shared_controller: Controller) -> Stored:
    [admin] = shared_controller.aws.instances(1)
    shared_controller.file("old.json", {"agent": {"metrics_collection_interval": 60}})
    shared_controller.file("new.json", {"agent": {"metrics_collection_interval": 10}})
    inventory = shared_controller.inventory({"ec2_admin": {"admin1": shared_controller.instance_host(admin)}})
    shared_controller.play(
        inventory, "site", cwagent_config_file=str(shared_controller.home / "old.json")
    ).assert_succeeded()
    return Stored(shared_controller, admin, snapshot(shared_controller.aws))


@pytest.fixture(autouse=True)
def assert_unchanged(stored: Stored) -> Iterator[None]:
    """After each test, the instance has its earlier profile and the parameter its earlier value."""
    yield
    stored.controller.aws.disarm()
    assert snapshot(stored.controller.aws) == stored.account
    assert stored.account["associations"] == {stored.admin: SERVER_ROLE}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "1:2 $: the '}' for line 1 column 1 is missing"),
        ('{"agnet": {}}', "1:2 $.agnet: unknown section; did you mean 'agent'?"),
        (json.dumps({"agent": {"x": "y" * 8192}}), "Parameter Store takes 8192"),
    ],
)
def test_an_invalid_configuration_is_refused_before_the_first_write(stored: Stored, text: str, words: str) -> None:
    stored.controller.file("invalid.json", text)
    with assert_no_writes(stored.controller.aws):
        play = stored.store(cwagent_config_file=str(stored.controller.home / "invalid.json")).assert_failed()
    assert play.message.startswith(f"{PARAMETER} is not valid: ")
    assert "/invalid.json: " in play.message
    assert words in play.message
    assert play.message.endswith(" Nothing was changed.")
    assert play.words.count(words) >= 2, "it is in the lines above the message, too"


def test_an_instance_without_a_way_to_parameter_store_stores_nothing(stored: Stored) -> None:
    """The controller has a way, so the run checks it from the instance, before it opens anything."""
    metadata = stored.controller.instance_host(stored.admin)["cwagent_environment"]
    isolated = {"cwagent_environment": {**metadata, "AWS_ENDPOINT_URL": NO_METADATA}}
    with assert_no_writes(stored.controller.aws):
        play = stored.store(host=isolated).assert_failed()
    assert f"does not reach Parameter Store in {stored.controller.aws.region} (" in play.message
    assert "needs a VPC endpoint for ssm" in play.message


def test_a_denied_write_is_reported_and_the_profile_is_restored(stored: Stored) -> None:
    stored.controller.aws.arm(Fault(Kind.DENY, service="ssm", action="PutParameter", times=1000))
    play = stored.store().assert_failed()
    assert "lacks ssm:PutParameter" in play.message
    assert f"assumed-role/{ADMIN_ROLE}/{stored.admin}" in play.message
    assert play.associated == SWAPPED


def test_an_instance_that_becomes_unreachable_after_the_swap_is_restored(stored: Stored) -> None:
    host, env = lost_after(stored.controller, ADMIN_ROLE)
    play = stored.store(env=env, host=host).assert_failed()
    assert f"admin1 ({stored.admin}) could not be reached" in play.message
    assert f"It has {SERVER_ROLE} again" in play.message
    assert play.associated == SWAPPED


def test_an_instance_that_is_unreachable_before_the_swap_is_not_changed(stored: Stored) -> None:
    """The run ends when it compares the configuration."""
    host, env = lost_after(stored.controller, "GetParameter")
    with assert_no_writes(stored.controller.aws):
        assert "Connection timed out" in stored.store(env=env, host=host).assert_failed().message


def test_another_instance_with_the_admin_profile_is_an_error(stored: Stored) -> None:
    aws = stored.controller.aws
    [other] = aws.instances(1)
    associate(aws, other, ADMIN_ROLE)
    with assert_no_writes(aws):
        assert other in stored.store().assert_failed().message
    disassociate(aws, other)
    aws.client("ec2").terminate_instances(InstanceIds=[other])


def test_the_next_run_stores_the_configuration(stored: Stored) -> None:
    """Runs last, because it stores the newer configuration, which the account then has to have."""
    assert stored.store().assert_succeeded().associated == SWAPPED
    stored.account["parameters"][stored.controller.aws.region][PARAMETER] = {
        "agent": {"metrics_collection_interval": 10}
    }
