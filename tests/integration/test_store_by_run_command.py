"""store_config by Run Command: no connection to the instance, and every guarantee of the way over a connection."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
from emulator import Fault, Kind
from emulator.snapshot import configurations, snapshot
from emulator.testing import wait_until
from harness import (
    ADMIN_ROLE,
    LOCAL_CONNECTION,
    PARAMETER,
    POLICY_ARN,
    SERVER_ROLE,
    SSM_POLICY,
    SWAPPED,
    Controller,
    Play,
    assert_complete_report,
    assert_no_writes,
    associate,
    create_role,
    disassociate,
)

OTHER_PARAMETER, OTHER_REGION = "AmazonCloudWatch-db", "us-east-1"
SETTINGS: dict[str, Any] = {"cwagent_store_config_from": "run_command", "cwagent_ssm_policy": SSM_POLICY}
TIMEOUTS = {"cwagent_permission_timeout": 60, "cwagent_identity_timeout": 60}
UNREACHABLE = {"ansible_connection": "ssh", "ansible_host": "192.0.2.1", "ansible_timeout": 1}
"""The variables of a host that Ansible does not reach."""

CHECKED, SENT = "Success", "InProgress"
"""The states of the command that checks the instance, and then of the command that stores."""

PENDING = "Pending"
COMMAND_SECONDS = 300
"""After this time, Systems Manager has given up a command that no agent has fetched."""

OLD, NEW = ({"agent": {"metrics_collection_interval": interval}} for interval in (60, 10))


@dataclass(frozen=True)
class Stored:
    """An account after site.yml, whose admin instance has the server profile, and a newer configuration."""

    controller: Controller
    admin: str
    account: dict[str, Any]

    def store(
        self, *arguments: str, host: dict[str, Any] | None = None, playbook: str = "store_config", **variables: Any
    ) -> Play:
        """Store the newer configuration."""
        settings = {"cwagent_config_file": str(self.controller.home / "new.json"), **TIMEOUTS, **SETTINGS}
        inventory = inventory_of(self.controller, self.admin, **(host or {}))
        return self.controller.play(inventory, playbook, *arguments, **{**settings, **variables})

    def store_with(self, *commands: str, variables: dict[str, Any] | None = None, **agent: Any) -> Play:
        """Store while the agent behaves otherwise as soon as the commands of the run are in these states."""
        aws, since = self.controller.aws, len(self.controller.aws.commands())
        with ThreadPoolExecutor(1) as background:
            running = background.submit(self.store, **(variables or {}))
            wait_until(lambda: [each["details"] for each in aws.commands()[since:]] == [*commands])
            aws.agents(self.admin, **agent)
            if agent.get("delivery") == "lost":
                wait_until(lambda: [each["details"] for each in aws.commands()[since:]] == [*commands, PENDING])
                aws.shift_clock(COMMAND_SECONDS)
            return running.result()


def inventory_of(controller: Controller, admin: str, **more: Any) -> Any:
    host = {"instance_id": admin, "cwagent_region": controller.aws.region, **UNREACHABLE, **more}
    return controller.inventory({"ec2_admin": {"admin1": host}})


@pytest.fixture(scope="module")
def stored(shared_controller: Controller) -> Stored:
    """The instance is reached by Systems Manager from the beginning, by an application's profile."""
    controller, aws = shared_controller, shared_controller.aws
    create_role(aws, "app", SSM_POLICY)
    [admin] = aws.instances(1)
    associate(aws, admin, "app")
    controller.file("old.json", OLD)
    controller.file("new.json", NEW)
    inventory = inventory_of(controller, admin)
    settings = {"cwagent_config_file": str(controller.home / "old.json"), **SETTINGS}
    planned = controller.play(inventory, "site", "--check", "--diff", **settings).assert_succeeded()
    assert planned.writes == []
    done = controller.play(inventory, "site", "--diff", **settings).assert_succeeded()
    assert done.changes == planned.changes
    assert done.outcomes == planned.outcomes
    assert_complete_report(done)
    again = controller.play(inventory, "site", **settings).assert_succeeded()
    assert again.writes == []
    assert again.report == ["Nothing to do."]
    associate(aws, admin, SERVER_ROLE)
    return Stored(controller, admin, snapshot(aws))


@pytest.fixture(autouse=True)
def assert_unchanged(stored: Stored) -> Iterator[None]:
    """After each test, the instance has its earlier profile and the parameter its earlier value."""
    yield
    aws = stored.controller.aws
    aws.disarm()
    aws.agents(stored.admin, **DEFAULT_AGENT)
    assert snapshot(aws) == stored.account
    assert stored.account["associations"] == {stored.admin: SERVER_ROLE}


DEFAULT_AGENT: dict[str, Any] = {
    "platform": "Linux",
    "aws_cli": True,
    "running": True,
    "delivery": "normal",
    "delivery_seconds": 0.0,
    "unknown_seconds": 0.0,
    "swap_seconds": 0.0,
    "offline": "refused",
    "answer": None,
}


def store_commands(stored: Stored) -> list[dict[str, Any]]:
    return [each for each in stored.controller.aws.commands() if each["comment"].startswith("cwagent.iam store")]


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        ({"running": False}, "the SSM agent of instance {instance} is not online"),
        ({"aws_cli": False}, "cannot store: it has no AWS CLI"),
        ({"delivery": "undeliverable"}, "gave no result: it could not be delivered to the agent"),
        (
            {"answer": {"code": 1, "stdout": "", "stderr": "sh: not found"}},
            "gave no result: its status is Failed, and it printed: sh: not found",
        ),
    ],
)
def test_an_instance_that_could_not_store_is_found_before_anything_is_opened(
    stored: Stored, agent: dict[str, Any], words: str
) -> None:
    aws, before = stored.controller.aws, store_commands(stored)
    aws.agents(stored.admin, **agent)
    play = stored.store().assert_failed()
    assert words.format(instance=stored.admin) in play.message
    assert "Nothing was opened." in play.message
    assert set(play.writes) <= {"SendCommand"}
    assert store_commands(stored) == before


@pytest.mark.parametrize(
    ("playbook", "arguments", "variables"),
    [
        ("store_config", [], {}),
        ("store_config", ["--check"], {}),
        ("store_config", [], {"cwagent_store_config_from": "auto"}),
        ("site", [], {"cwagent_tags": {"team": "a tag that the roles lack"}}),
    ],
)
def test_an_instance_with_windows_is_refused_before_anything_is_written(
    stored: Stored, playbook: str, arguments: list[str], variables: dict[str, Any]
) -> None:
    aws = stored.controller.aws
    aws.agents(stored.admin, platform="Windows")
    with assert_no_writes(aws):
        play = stored.store(*arguments, playbook=playbook, **variables).assert_failed()
    assert (
        f"instance {stored.admin} runs Windows, and only Linux instances can run the script. Choose a Linux instance "
        "as the admin instance, or set cwagent_store_config_from to controller, or to onprem in a run without "
        "cwagent_accounts. Nothing was opened."
    ) in play.message


def test_an_admin_role_that_does_not_let_the_agent_work_is_found_before_anything_is_opened(stored: Stored) -> None:
    iam = stored.controller.aws.client("iam")
    arn = POLICY_ARN + SSM_POLICY
    iam.detach_role_policy(RoleName=ADMIN_ROLE, PolicyArn=arn)
    with assert_no_writes(stored.controller.aws):
        play = stored.store().assert_failed()
    iam.attach_role_policy(RoleName=ADMIN_ROLE, PolicyArn=arn)
    assert f"role '{ADMIN_ROLE}' does not allow ssm:UpdateInstanceInformation" in play.message
    assert f"Set cwagent_ssm_policy to {SSM_POLICY}" in play.message


def test_another_instance_with_the_admin_profile_is_an_error_before_the_command_is_sent(stored: Stored) -> None:
    aws = stored.controller.aws
    [other] = aws.instances(1)
    associate(aws, other, ADMIN_ROLE)
    play = stored.store().assert_failed()
    disassociate(aws, other)
    aws.client("ec2").terminate_instances(InstanceIds=[other])
    assert other in play.message
    assert play.writes == ["SendCommand"], "only the check"


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        ({"delivery": "lost"}, "the command on the instance did not store it: the agent did not fetch it in time"),
        ({"delivery": "undeliverable"}, "did not store it: it could not be delivered to the agent"),
        ({"answer": {"code": 1, "stdout": "", "stderr": "no"}}, "its status is Failed, and it printed: no"),
    ],
)
def test_a_command_that_does_not_store_is_reported_and_the_profile_is_restored(
    stored: Stored, agent: dict[str, Any], words: str
) -> None:
    """The command that checks works, and then the command that stores fails."""
    play = stored.store_with(CHECKED, **agent).assert_failed()
    assert words in play.message
    assert play.associated == SWAPPED


def test_a_denied_write_is_reported_and_the_profile_is_restored(stored: Stored) -> None:
    stored.controller.aws.arm(Fault(Kind.DENY, service="ssm", action="PutParameter", times=1000))
    play = stored.store(cwagent_permission_timeout=3).assert_failed()
    assert "lacks ssm:PutParameter" in play.message
    assert f"assumed-role/{ADMIN_ROLE}/{stored.admin}" in play.message
    assert play.associated == SWAPPED


def test_the_command_of_a_run_that_failed_is_cancelled(stored: Stored) -> None:
    """It waits for the admin identity, which the instance would get in the next window."""
    aws = stored.controller.aws
    aws.arm(Fault(Kind.DENY, service="ec2", action="CreateTags", times=1000))
    play = stored.store().assert_failed()
    assert "CancelCommand" in play.writes
    wait_until(lambda: store_commands(stored)[-1]["details"] == "Cancelled")


def test_the_first_way_that_reaches_the_instance_is_taken(stored: Stored) -> None:
    """Nothing reaches it, and the error has both reasons."""
    aws = stored.controller.aws
    aws.agents(stored.admin, running=False)
    with assert_no_writes(aws):
        play = stored.store(cwagent_store_config_from="auto").assert_failed()
    assert "admin1 cannot store the configuration. Ansible: " in play.message
    assert "Failed to connect to the host via ssh" in play.message
    assert f"the SSM agent of instance {stored.admin} is not online" in play.message


def test_systems_manager_is_the_way_where_ansible_has_none(stored: Stored) -> None:
    play = stored.store("--check", cwagent_store_config_from="auto").assert_succeeded()
    assert "store by Run Command, since Ansible does not reach this host" in play.words
    assert "send instance " in " ".join(play.report)


def test_ansible_is_the_way_where_it_reaches_the_instance(stored: Stored) -> None:
    metadata = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": stored.controller.aws.metadata_endpoint(stored.admin)}
    host = {**LOCAL_CONNECTION, "cwagent_environment": metadata}
    play = stored.store("--check", host=host, cwagent_store_config_from="auto").assert_succeeded()
    assert "store with modules, since Ansible reaches this host" in play.words
    assert "Send the command that stores the configurations" not in play.output


def test_the_next_run_stores_all_configurations_though_the_agent_is_silent(stored: Stored) -> None:
    """Runs last, because it stores newer configurations, which the account then has to have."""
    aws, file = stored.controller.aws, str(stored.controller.home / "new.json")
    regions = [aws.region, OTHER_REGION]
    configs = [{"name": name, "file": file, "regions": regions} for name in (PARAMETER, OTHER_PARAMETER)]
    several = {"cwagent_config_file": "", "cwagent_configs": configs}
    play = stored.store_with(CHECKED, SENT, variables=several, swap_seconds=1800).assert_succeeded()
    assert play.associated == SWAPPED
    assert not aws.agents()[stored.admin]["online"]
    assert_complete_report(play)
    stored.account["parameters"][aws.region] = configurations(aws, OTHER_REGION)
    assert configurations(aws, OTHER_REGION) == {PARAMETER: NEW, OTHER_PARAMETER: NEW}
