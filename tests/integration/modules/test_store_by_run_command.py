"""An instance stores by Run Command: nothing connects to it, and the guarantees are the same as with a connection."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from emulator import Kind
from emulator.snapshot import configurations
from emulator.testing import wait_until
from harness import (
    ADMIN_ROLE,
    NEEDS_AWS_CLI,
    PARAMETER,
    POLICY_ARN,
    SERVER_ROLE,
    SSM_POLICY,
    SWAPPED,
    assert_no_writes,
    associate,
    disassociate,
)
from in_process import on_instance
from states import States
from storing import UNTIL_DISARMED, Result, Storing, config_of, ready_to_store, refusal, succeeded, without_times

from ansible_collections.cwagent.iam.plugins.module_utils._configuration.parts import to_record

OTHER_PARAMETER, OTHER_REGION = "AmazonCloudWatch-db", "us-east-1"
WAITS = {"permission_timeout": 60, "identity_timeout": 240, "wait_timeout": 180}
CHECKED, SENT, PENDING = "Success", "InProgress", "Pending"
"""The states of the command that checks the instance, and then of the command that stores."""

pytestmark = NEEDS_AWS_CLI
COMMAND_SECONDS = sum(WAITS.values())
"""The sum of the waits. After it, Systems Manager has given up a command that no agent has fetched."""

OLD = {"agent": {"metrics_collection_interval": 60}}


class Commanded(Storing):
    """An account whose admin instance is online for Systems Manager, with an older configuration stored."""

    @property
    def admin(self) -> str:
        return self.instances["admin1"]

    def command(self, *faults: dict[str, Any], is_reachable: bool = False, **options: Any) -> Result:
        """Store by Run Command."""
        send = on_instance(self.aws, self.admin, lambda: is_reachable)
        return self.store("admin1", *faults, send=send, **{"from": "run_command", **WAITS, **options})

    def command_with(self, *states: str, options: dict[str, Any] | None = None, **agent: Any) -> Result:
        """Store while the agent behaves otherwise as soon as the commands of the run are in these states."""
        with ThreadPoolExecutor(1) as background:
            running = background.submit(self.command, **(options or {}))
            wait_until(lambda: [each["details"] for each in self.aws.commands()] == [*states])
            self.aws.agents(self.admin, **agent)
            if agent.get("delivery") == "lost":
                wait_until(lambda: [each["details"] for each in self.aws.commands()] == [*states, PENDING])
                self.aws.shift_clock(COMMAND_SECONDS)
            return running.result()

    def store_commands(self) -> list[str]:
        """The states of the commands that store."""
        found = [each for each in self.aws.commands() if each["comment"].startswith("cwagent.iam store")]
        return [each["details"] for each in found]


@pytest.fixture
def account(states: States) -> Commanded:
    """A new account and no saved state, whose time is earlier: commands have deadlines by the clock of the instance."""
    account = Commanded(**vars(ready_to_store(states)))
    for role in (SERVER_ROLE, ADMIN_ROLE):
        account.iam.attach_role_policy(RoleName=role, PolicyArn=POLICY_ARN + SSM_POLICY)
    account.aws.client("ssm").put_parameter(Name=PARAMETER, Value=json.dumps(OLD), Type="String")
    assert account.aws.agents()[account.admin]["online"]
    return account


@pytest.fixture(autouse=True)
def assert_unchanged(account: Commanded) -> Iterator[None]:
    """After each test, everything is as before, besides configurations that were stored."""
    yield
    account.assert_clean()
    assert account.profiles == {account.admin: SERVER_ROLE}
    assert PARAMETER in configurations(account.aws, OTHER_REGION) or account.stored == {PARAMETER: OLD}


BROKEN = {"code": 1, "stdout": "", "stderr": "sh: not found"}


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        ({"running": False}, "the SSM agent of instance {instance} is not online"),
        ({"aws_cli": False}, "cannot store: it has no AWS CLI"),
        ({"answer": BROKEN}, "gave no result: its status is Failed, and it printed: sh: not found"),
    ],
)
def test_an_instance_that_could_not_store_is_found_before_anything_is_opened(
    account: Commanded, agent: dict[str, Any], words: str
) -> None:
    aws = account.aws
    aws.agents(account.admin, **agent)
    since = aws.mark()
    message = refusal(account.command())
    assert words.format(instance=account.admin) in message
    assert "Nothing was opened." in message
    assert {*account.writes(since)} <= {"SendCommand"}
    assert account.store_commands() == []


def test_an_instance_with_windows_is_refused_before_anything_is_written(account: Commanded) -> None:
    """A task that compares comes before all others that write."""
    account.aws.agents(account.admin, platform="Windows")
    ways: list[dict[str, Any]] = [{}, {"check": True}, {"from": "auto"}, {"state": "compared"}]
    with assert_no_writes(account.aws):
        messages = [refusal(account.command(**options)) for options in ways]
    expected = (
        f"instance {account.admin} runs Windows, and only Linux instances can run the script. Choose a Linux instance "
        "as the admin instance, or set cwagent_store_config_from to controller, or to onprem in a run without "
        "cwagent_accounts. Nothing was opened."
    )
    assert [expected in each for each in messages] == [True] * len(ways)


def test_the_parts_of_a_configuration_are_stored_with_their_record(account: Commanded) -> None:
    """As by the other ways to store. The AWS CLI gets the record as an option."""
    files = [{"file_path": f"/{part}-{'x' * 7000}", "log_group_name": part} for part in ("a", "b")]
    config = {"logs": {"logs_collected": {"files": {"collect_list": files}}}}
    succeeded(account.command(config=config, split_config=True, regions=[account.aws.region, OTHER_REGION]))
    for region, versions in ((account.aws.region, (2, 1)), (OTHER_REGION, (1, 1))):
        ssm, values, found = account.aws.client("ssm", region), [], []
        for name in (PARAMETER, f"{PARAMETER}-2"):
            newest = ssm.get_parameter_history(Name=name)["Parameters"][-1]
            values.append(newest["Value"])
            found.append((newest["Version"], newest["Description"]))
        assert found == [(number, to_record(values, number)) for number in versions]


@pytest.mark.parametrize("policies", [[POLICY_ARN + SSM_POLICY], []])
def test_a_check_does_not_warn_of_an_agent_for_which_the_run_attaches_the_policy(
    account: Commanded, policies: list[str]
) -> None:
    account.aws.agents(account.admin, running=False)
    server = {"role": {"name": SERVER_ROLE, "managed_policies": policies}, "instance_profile": {"name": SERVER_ROLE}}
    planned = [
        {"changed": True, **server},
        {"changed": True, "role": {"name": ADMIN_ROLE}, "instance_profile": {"name": ADMIN_ROLE}},
        {"changed": True, "instances": [{"instance_id": account.admin, "profile": SERVER_ROLE}]},
    ]
    with assert_no_writes(account.aws):
        found = succeeded(account.command(check=True, planned=planned))
    assert any("SSM agent" in each for each in found.get("warnings", [])) == (not policies)


def test_an_admin_role_that_does_not_let_the_agent_work_is_found_before_anything_is_opened(account: Commanded) -> None:
    arn = POLICY_ARN + SSM_POLICY
    account.iam.detach_role_policy(RoleName=ADMIN_ROLE, PolicyArn=arn)
    with assert_no_writes(account.aws):
        message = refusal(account.command())
    account.iam.attach_role_policy(RoleName=ADMIN_ROLE, PolicyArn=arn)
    assert f"role '{ADMIN_ROLE}' does not allow ssm:UpdateInstanceInformation" in message
    assert f"Set cwagent_ssm_policy to {SSM_POLICY}" in message


def test_another_instance_with_the_admin_profile_is_an_error_before_the_command_is_sent(account: Commanded) -> None:
    aws = account.aws
    [other] = aws.instances(1)
    associate(aws, other, ADMIN_ROLE)
    since = aws.mark()
    assert other in refusal(account.command())
    assert account.writes(since) == ["SendCommand"], "only the check"
    disassociate(aws, other)
    aws.client("ec2").terminate_instances(InstanceIds=[other])


def test_a_command_that_does_not_store_is_reported_and_the_profile_is_restored(account: Commanded) -> None:
    """The command that checks works, and then no agent fetches the command that stores."""
    message = refusal(account.command_with(CHECKED, delivery="lost"))
    assert "the command on the instance did not store it: the agent did not fetch it in time" in message
    assert account.swaps == SWAPPED


def test_a_denied_write_is_reported_and_the_profile_is_restored(account: Commanded) -> None:
    denied = {"kind": Kind.DENY, "action": "PutParameter", "times": UNTIL_DISARMED}
    message = refusal(account.command(denied, permission_timeout=3))
    assert "lacks ssm:PutParameter" in message
    assert f"assumed-role/{ADMIN_ROLE}/{account.admin}" in message
    assert account.swaps == SWAPPED


def test_the_command_of_a_run_that_failed_is_cancelled(account: Commanded) -> None:
    """It waits for the admin identity, which the instance would get in the next window."""
    denied = {"kind": Kind.DENY, "action": "CreateTags", "times": UNTIL_DISARMED}
    refusal(account.command(denied))
    assert account.calls_of("CancelCommand")
    wait_until(lambda: account.store_commands() == ["Cancelled"])


AUTO: dict[str, Any] = {"from": "auto"}


def test_auto_takes_no_way_where_nothing_reaches_the_instance(account: Commanded) -> None:
    """The error has both reasons."""
    account.aws.agents(account.admin, running=False)
    with assert_no_writes(account.aws):
        message = refusal(account.command(**AUTO))
    assert "admin1 cannot store the configuration. Ansible: the host is unreachable." in message
    assert f"the SSM agent of instance {account.admin} is not online" in message


@pytest.mark.parametrize(
    ("is_reachable", "source", "line"),
    [
        (False, "run_command", "store by Run Command, since Ansible does not reach this host"),
        (True, "instance", "store with modules, since Ansible reaches this host"),
    ],
)
def test_auto_takes_the_first_way_that_reaches_the_instance(
    account: Commanded, is_reachable: bool, source: str, line: str
) -> None:
    said: list[str] = []
    with assert_no_writes(account.aws):
        planned = succeeded(account.command(is_reachable=is_reachable, check=True, tell=said.append, **AUTO))
    assert line in " ".join(said)
    assert planned["source"] == source
    assert any(step.startswith("send instance ") for step in planned["steps"]) == (source == "run_command")


def test_the_instance_stores_all_configurations_though_its_agent_is_silent(account: Commanded) -> None:
    """Check mode predicts the steps. A second run writes nothing."""
    aws = account.aws
    file = str(account.controller.file("new.json", config_of("admin1")))
    regions = [aws.region, OTHER_REGION]
    configs = [{"name": each, "file": file, "regions": regions} for each in (PARAMETER, OTHER_PARAMETER)]
    several: dict[str, Any] = {"configs": configs}
    with assert_no_writes(aws):
        planned = succeeded(account.command(check=True, **several))
    done = succeeded(account.command_with(CHECKED, SENT, options=several, swap_seconds=1800))
    assert account.swaps == SWAPPED
    assert not aws.agents()[account.admin]["online"]
    assert without_times(done["steps"]) == without_times(planned["steps"])
    assert configurations(aws, OTHER_REGION) == dict.fromkeys((PARAMETER, OTHER_PARAMETER), config_of("admin1"))
    assert account.stored == configurations(aws, OTHER_REGION)
    with assert_no_writes(aws):
        assert not succeeded(account.command(**several))["changed"]
