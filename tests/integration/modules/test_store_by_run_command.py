"""An instance stores by Run Command: nothing connects to it, and the guarantees are those of a connection."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
from emulator import Kind
from emulator.snapshot import associated_profiles, configurations
from emulator.testing import wait_until
from fleet import Fleet
from harness import (
    ADMIN_ROLE,
    PARAMETER,
    POLICY_ARN,
    REPLACE_ASSOCIATION,
    SERVER_ROLE,
    SSM_POLICY,
    SWAPPED,
    assert_no_writes,
    associate,
    disassociate,
)
from in_process import on_instance
from states import States
from storing import (
    UNTIL_DISARMED,
    assert_clean,
    calls_of,
    config_of,
    ready_to_store,
    refusal,
    store,
    succeeded,
    without_times,
)

OTHER_PARAMETER, OTHER_REGION = "AmazonCloudWatch-db", "us-east-1"
WAITS = {"permission_timeout": 60, "identity_timeout": 60, "wait_timeout": 60}
CHECKED, SENT, PENDING = "Success", "InProgress", "Pending"
"""The states of the command that checks the instance, and then of the command that stores."""

COMMAND_SECONDS = 300
"""After this time, Systems Manager has given up a command that no agent has fetched."""

OLD = {"agent": {"metrics_collection_interval": 60}}


@dataclass(frozen=True)
class Stored:
    """An account whose admin instance is online for Systems Manager, with an older configuration stored."""

    fleet: Fleet

    @property
    def admin(self) -> str:
        return self.fleet.instances["admin1"]

    def store(self, *faults: dict[str, Any], is_reachable: bool = False, **options: Any) -> dict[str, Any]:
        send = on_instance(self.fleet.aws, self.admin, lambda: is_reachable)
        given = {"from": "run_command", **WAITS, **options}
        return store(self.fleet, "admin1", *faults, send=send, **given)

    def store_with(self, *commands: str, options: dict[str, Any] | None = None, **agent: Any) -> dict[str, Any]:
        """Store while the agent behaves otherwise as soon as the commands of the run are in these states."""
        aws = self.fleet.aws
        with ThreadPoolExecutor(1) as background:
            running = background.submit(self.store, **(options or {}))
            wait_until(lambda: [each["details"] for each in aws.commands()] == [*commands])
            aws.agents(self.admin, **agent)
            if agent.get("delivery") == "lost":
                wait_until(lambda: [each["details"] for each in aws.commands()] == [*commands, PENDING])
                aws.shift_clock(COMMAND_SECONDS)
            return running.result()

    def commands(self) -> list[str]:
        """The states of the commands that store."""
        of_store = [each for each in self.fleet.aws.commands() if each["comment"].startswith("cwagent.iam store")]
        return [each["details"] for each in of_store]

    def swaps(self) -> list[str]:
        return [call.params["IamInstanceProfile.Name"] for call in calls_of(self.fleet.aws, REPLACE_ASSOCIATION)]


def ready_for_commands(states: States) -> Fleet:
    fleet = states.begin(ready_to_store)
    for role in (SERVER_ROLE, ADMIN_ROLE):
        fleet.iam.attach_role_policy(RoleName=role, PolicyArn=POLICY_ARN + SSM_POLICY)
    fleet.aws.client("ssm").put_parameter(Name=PARAMETER, Value=json.dumps(OLD), Type="String")
    assert fleet.aws.agents()[fleet.instances["admin1"]]["online"]
    return fleet


@pytest.fixture
def stored(states: States) -> Stored:
    return Stored(states.begin(ready_for_commands))


@pytest.fixture(autouse=True)
def assert_unchanged(stored: Stored) -> Iterator[None]:
    """After the test, everything is as before, besides configurations that were stored."""
    aws = stored.fleet.aws
    yield
    assert_clean(aws)
    assert associated_profiles(aws) == {stored.admin: SERVER_ROLE}
    assert PARAMETER in configurations(aws, OTHER_REGION) or configurations(aws) == {PARAMETER: OLD}


BROKEN = {"code": 1, "stdout": "", "stderr": "sh: not found"}


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        ({"running": False}, "the SSM agent of instance {instance} is not online"),
        ({"aws_cli": False}, "cannot store: it has no AWS CLI"),
        ({"delivery": "undeliverable"}, "gave no result: it could not be delivered to the agent"),
        ({"answer": BROKEN}, "gave no result: its status is Failed, and it printed: sh: not found"),
    ],
)
def test_an_instance_that_could_not_store_is_found_before_anything_is_opened(
    stored: Stored, agent: dict[str, Any], words: str
) -> None:
    aws = stored.fleet.aws
    aws.agents(stored.admin, **agent)
    since = aws.mark()
    message = refusal(stored.store())
    assert words.format(instance=stored.admin) in message
    assert "Nothing was opened." in message
    assert {call.action for call in aws.writes(since)} <= {"SendCommand"}
    assert stored.commands() == []


@pytest.mark.parametrize("options", [{}, {"check": True}, {"from": "auto"}, {"state": "compared"}], ids=" ".join)
def test_an_instance_with_windows_is_refused_before_anything_is_written(
    stored: Stored, options: dict[str, Any]
) -> None:
    """A task that compares comes before all others that write."""
    stored.fleet.aws.agents(stored.admin, platform="Windows")
    with assert_no_writes(stored.fleet.aws):
        message = refusal(stored.store(**options))
    assert (
        f"instance {stored.admin} runs Windows, and only Linux instances can run the script. Choose a Linux instance "
        "as the admin instance, or set cwagent_store_config_from to controller, or to onprem in a run without "
        "cwagent_accounts. Nothing was opened."
    ) in message


def test_an_admin_role_that_does_not_let_the_agent_work_is_found_before_anything_is_opened(stored: Stored) -> None:
    arn = POLICY_ARN + SSM_POLICY
    stored.fleet.iam.detach_role_policy(RoleName=ADMIN_ROLE, PolicyArn=arn)
    with assert_no_writes(stored.fleet.aws):
        message = refusal(stored.store())
    stored.fleet.iam.attach_role_policy(RoleName=ADMIN_ROLE, PolicyArn=arn)
    assert f"role '{ADMIN_ROLE}' does not allow ssm:UpdateInstanceInformation" in message
    assert f"Set cwagent_ssm_policy to {SSM_POLICY}" in message


def test_another_instance_with_the_admin_profile_is_an_error_before_the_command_is_sent(stored: Stored) -> None:
    aws = stored.fleet.aws
    [other] = aws.instances(1)
    associate(aws, other, ADMIN_ROLE)
    since = aws.mark()
    assert other in refusal(stored.store())
    assert [call.action for call in aws.writes(since)] == ["SendCommand"], "only the check"
    disassociate(aws, other)
    aws.client("ec2").terminate_instances(InstanceIds=[other])


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        ({"delivery": "lost"}, "the command on the instance did not store it: the agent did not fetch it in time"),
        ({"delivery": "undeliverable"}, "did not store it: it could not be delivered to the agent"),
        ({"answer": BROKEN}, "its status is Failed, and it printed: sh: not found"),
    ],
)
def test_a_command_that_does_not_store_is_reported_and_the_profile_is_restored(
    stored: Stored, agent: dict[str, Any], words: str
) -> None:
    """The command that checks works, and then the command that stores fails."""
    assert words in refusal(stored.store_with(CHECKED, **agent))
    assert stored.swaps() == SWAPPED


def test_a_denied_write_is_reported_and_the_profile_is_restored(stored: Stored) -> None:
    denied = {"kind": Kind.DENY, "action": "PutParameter", "times": UNTIL_DISARMED}
    message = refusal(stored.store(denied, permission_timeout=3))
    assert "lacks ssm:PutParameter" in message
    assert f"assumed-role/{ADMIN_ROLE}/{stored.admin}" in message
    assert stored.swaps() == SWAPPED


def test_the_command_of_a_run_that_failed_is_cancelled(stored: Stored) -> None:
    """It waits for the admin identity, which the instance would get in the next window."""
    denied = {"kind": Kind.DENY, "action": "CreateTags", "times": UNTIL_DISARMED}
    refusal(stored.store(denied))
    assert calls_of(stored.fleet.aws, "CancelCommand")
    wait_until(lambda: stored.commands() == ["Cancelled"])


def test_auto_takes_no_way_where_nothing_reaches_the_instance(stored: Stored) -> None:
    """The error has both reasons."""
    stored.fleet.aws.agents(stored.admin, running=False)
    with assert_no_writes(stored.fleet.aws):
        message = refusal(stored.store(**{"from": "auto"}))
    assert "admin1 cannot store the configuration. Ansible: the host is unreachable." in message
    assert f"the SSM agent of instance {stored.admin} is not online" in message


@pytest.mark.parametrize(
    ("is_reachable", "source", "line"),
    [
        (False, "run_command", "store by Run Command, since Ansible does not reach this host"),
        (True, "instance", "store with modules, since Ansible reaches this host"),
    ],
)
def test_auto_takes_the_first_way_that_reaches_the_instance(
    stored: Stored, is_reachable: bool, source: str, line: str
) -> None:
    said: list[str] = []
    with assert_no_writes(stored.fleet.aws):
        options: dict[str, Any] = {"from": "auto", "check": True, "tell": said.append}
        planned = succeeded(stored.store(is_reachable=is_reachable, **options))
    assert line in " ".join(said)
    assert planned["source"] == source
    assert any(step.startswith("send instance ") for step in planned["steps"]) == (source == "run_command")


def test_the_instance_stores_all_configurations_though_its_agent_is_silent(stored: Stored) -> None:
    """Check mode predicts the steps. A second run writes nothing."""
    aws = stored.fleet.aws
    file = str(stored.fleet.controller.file("new.json", config_of("admin1")))
    regions = [aws.region, OTHER_REGION]
    several = {"configs": [{"name": each, "file": file, "regions": regions} for each in (PARAMETER, OTHER_PARAMETER)]}
    with assert_no_writes(aws):
        planned = succeeded(stored.store(check=True, **several))
    done = succeeded(stored.store_with(CHECKED, SENT, options=several, swap_seconds=1800))
    assert stored.swaps() == SWAPPED
    assert not aws.agents()[stored.admin]["online"]
    assert without_times(done["steps"]) == without_times(planned["steps"])
    assert configurations(aws, OTHER_REGION) == dict.fromkeys((PARAMETER, OTHER_PARAMETER), config_of("admin1"))
    assert configurations(aws) == configurations(aws, OTHER_REGION)
    with assert_no_writes(aws):
        assert not succeeded(stored.store(**several))["changed"]
