"""store_config: an instance gets its earlier profile back, whatever fails and whichever other run stores."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from emulator import Behaviour, Emulator, Fault, Kind
from emulator.snapshot import associated_profiles, configurations
from emulator.testing import wait_until
from faults.evaluation import most_admins_at_once, overlapping_windows
from harness import (
    ADMIN_POLICY,
    ADMIN_ROLE,
    ADMIN_USER,
    CLOSED_WINDOW,
    PARAMETER,
    PATIENCE,
    POLICY_ARN,
    REPLACE_ASSOCIATION,
    SERVER_POLICY,
    SERVER_ROLE,
    SUDO,
    TIMEOUTS,
    UNREACHABLE,
    WINDOW_POLICY,
    Controller,
    Play,
    allow,
    assert_admin_user_closed,
    assert_no_writes,
    associate,
    create_role,
    create_user,
    execute_module,
    leave_restore_tag,
    lost_after,
    restore_records,
    trust,
)
from in_process import run_module

from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.merge import merge

APP = "shop-app"
CLOSED_POLICY = {"Version": "2012-10-17", "Statement": [CLOSED_WINDOW]}
UNTIL_DISARMED = 1000
"""More times than any run makes the call."""


@dataclass(frozen=True)
class AdminHost:
    """An admin instance with its own controller and configuration."""

    controller: Controller
    instance: str
    interval: int

    @property
    def config(self) -> dict[str, Any]:
        return {"agent": {"metrics_collection_interval": self.interval}}

    def play(
        self, *arguments: str, host: dict[str, Any] | None = None, playbook: str = "store_config", **more: Any
    ) -> Play:
        file = self.controller.file("agent.json", self.config)
        settings = {**TIMEOUTS, "cwagent_config_file": str(file), **more}
        return self.controller.play(self.inventory(host), playbook, *arguments, **settings)

    def restore(self) -> Play:
        return self.controller.play(self.inventory(), "restore")

    def inventory(self, host: dict[str, Any] | None = None) -> Path:
        return self.controller.inventory(
            {"ec2_admin": {"admin1": self.controller.instance_host(self.instance, **(host or {}))}}
        )


@dataclass(frozen=True)
class Account:
    """An account with both roles and a closed admin window."""

    aws: Emulator
    folder: Path

    def add_host(self, number: int, profile: str | None = SERVER_ROLE, stopped: bool = False) -> AdminHost:
        """An admin host on a new instance."""
        [instance] = self.aws.instances(1, stopped=int(stopped))
        if profile:
            associate(self.aws, instance, profile)
        home = self.folder / str(number)
        home.mkdir()
        return AdminHost(Controller(self.aws, home), instance, number * 10)

    def calls(self, action: str) -> list[Any]:
        return [call for call in self.aws.calls() if call.action == action]

    def roles_of(self, action: str) -> set[str]:
        """The names of the roles that made a call."""
        return {call.principal.split("/")[1] for call in self.calls(action)}

    def wait_for_calls(self, action: str, times: int = 1) -> None:
        """Wait until a call was made this many times."""
        wait_until(lambda: len(self.calls(action)) >= times)

    def assert_closed(self) -> None:
        """Assert that the window is closed."""
        found = self.aws.client("iam").get_role_policy(RoleName=ADMIN_ROLE, PolicyName=WINDOW_POLICY)
        assert found["PolicyDocument"] == CLOSED_POLICY

    def assert_safe(self) -> None:
        """Assert that nothing is open, and that no two instances had the admin profile or a window at once."""
        assert ADMIN_ROLE not in associated_profiles(self.aws).values()
        self.assert_closed()
        calls = self.aws.calls()
        assert most_admins_at_once(calls) <= 1
        assert overlapping_windows(calls) == []

    def assert_clean(self) -> None:
        """Assert that the account is safe, and that no instance has a restore tag."""
        self.assert_safe()
        assert self.aws.client("ec2").describe_tags()["Tags"] == []
        assert restore_records(self.aws) == {}

    @contextmanager
    def blocked_at(self, action: str, kind: Kind, code: str = "") -> Iterator[None]:
        """Block runs at a call, which they retry because the error is temporary on AWS."""
        self.aws.arm(Fault(kind, action=action, times=UNTIL_DISARMED, code=code, message="not yet"))
        try:
            yield
        finally:
            self.aws.disarm()


@pytest.fixture
def account(enforcing: Emulator, tmp_path: Path) -> Account:
    for role, policy in ((SERVER_ROLE, SERVER_POLICY), (ADMIN_ROLE, ADMIN_POLICY), (APP, SERVER_POLICY)):
        create_role(enforcing, role, policy)
    iam = enforcing.client("iam")
    iam.put_role_policy(RoleName=ADMIN_ROLE, PolicyName=WINDOW_POLICY, PolicyDocument=json.dumps(CLOSED_POLICY))
    return Account(enforcing, tmp_path)


@pytest.fixture
def background() -> Iterator[ThreadPoolExecutor]:
    """Runs plays in the background of a test."""
    with ThreadPoolExecutor(4) as pool:
        yield pool


def names_other_run(message: str, other: str) -> bool:
    """Whether a message contains the other instance, or its open window."""
    return f"at a time, and instance {other} " in message or f"window of role '{ADMIN_ROLE}' is open until" in message


def assert_stored_alone(account: Account, *runs: tuple[AdminHost, Play]) -> list[AdminHost]:
    """Assert that no two windows overlapped, and that each run stored or was refused and named the other one.

    :returns: the hosts that stored, the earliest first.
    """
    account.assert_clean()
    accepted = [call.principal.rpartition("/")[2] for call in account.calls("PutParameter") if call.status == 200]
    hosts = {host.instance: host for host, _ in runs}
    stored = [hosts[instance] for instance in accepted]
    assert sorted(accepted) == sorted(host.instance for host, play in runs if play.code == 0)
    assert configurations(account.aws) == ({PARAMETER: stored[-1].config} if stored else {})
    for host, play in runs:
        assert associated_profiles(account.aws)[host.instance] == SERVER_ROLE
        if host not in stored:
            others = [other.instance for other, _ in runs if other != host]
            assert names_other_run(play.assert_failed().message, others[0])
    return stored


def test_the_windows_of_two_concurrent_runs_never_overlap(account: Account, background: ThreadPoolExecutor) -> None:
    """Both check for other admin instances before either has written its restore tag.

    Then both are refused, or one of them; or one has ended before the other goes on, and both store.
    """
    first, second = account.add_host(1), account.add_host(2)
    with account.blocked_at("CreateTags", Kind.THROTTLE):
        running = [background.submit(host.play) for host in (first, second)]
        wait_until(lambda: len({call.params["ResourceId.1"] for call in account.calls("CreateTags")}) == 2)
    assert_stored_alone(account, *((host, run.result()) for host, run in zip((first, second), running, strict=True)))


def test_a_run_is_refused_while_another_waits_to_swap(account: Account, background: ThreadPoolExecutor) -> None:
    first, second = account.add_host(1), account.add_host(2)
    with account.blocked_at(REPLACE_ASSOCIATION, Kind.ERROR, "InvalidParameterValue"):
        running = background.submit(first.play)
        account.wait_for_calls(REPLACE_ASSOCIATION, 2)  # the first only proves that the profile can be restored
        refused = second.play()
        assert not running.done()
    assert refused.writes == [REPLACE_ASSOCIATION] * len(refused.writes), "only the other run writes"
    assert assert_stored_alone(account, (first, running.result()), (second, refused)) == [first]


def test_a_run_is_refused_while_another_stores(account: Account, background: ThreadPoolExecutor) -> None:
    first, second = account.add_host(1), account.add_host(2)
    with account.blocked_at("PutParameter", Kind.DENY):
        running = background.submit(first.play)
        account.wait_for_calls("PutParameter")
        refused = second.play()
        assert not running.done()
    assert refused.writes == ["PutParameter"] * len(refused.writes), "only the other run writes"
    assert assert_stored_alone(account, (first, running.result()), (second, refused)) == [first]


def test_a_run_backs_off_when_another_instance_gets_the_admin_profile(
    account: Account, background: ThreadPoolExecutor
) -> None:
    """A person associates the profile after the first run has swapped."""
    first, second = account.add_host(1), account.add_host(2)
    account.aws.metadata_lag(60)
    running = background.submit(first.play)
    account.wait_for_calls("GetRolePolicy", 2)  # the second is the last read of the acquisition
    associate(account.aws, second.instance, ADMIN_ROLE)
    account.aws.metadata_lag(0)
    refused = running.result().assert_failed()
    assert f"instance {second.instance} has instance profile '{ADMIN_ROLE}'" in refused.message
    assert account.calls("PutParameter") == []
    assert associated_profiles(account.aws) == {first.instance: SERVER_ROLE, second.instance: ADMIN_ROLE}
    account.assert_closed()


def test_the_window_is_closed_even_when_the_instance_cannot_be_read(account: Account) -> None:
    """The call fails after the acquisition, when the release needs to know whether the instance is running."""
    host = account.add_host(1)
    account.aws.arm(Fault(Kind.DENY, action="DescribeInstances", nth=2, times=UNTIL_DISARMED))
    failed = host.play().assert_failed()
    account.aws.disarm()
    assert "lacks ec2:DescribeInstances" in failed.message
    account.assert_closed()
    host.restore().assert_succeeded()
    account.assert_clean()


def test_a_run_backs_off_when_another_writes_a_restore_tag(account: Account, background: ThreadPoolExecutor) -> None:
    """As when both checked before either wrote, and the tag of the other run is visible late."""
    first, second = account.add_host(1), account.add_host(2)
    with account.blocked_at(REPLACE_ASSOCIATION, Kind.ERROR, "InvalidParameterValue"):
        running = background.submit(first.play)
        account.wait_for_calls(REPLACE_ASSOCIATION, 2)  # the first only proves that the profile can be restored
        leave_restore_tag(account.aws, second.instance, SERVER_ROLE)
    refused = running.result().assert_failed()
    assert f"instance {second.instance} has an unfinished swap of instance profile" in refused.message
    assert account.calls("PutParameter") == []
    account.assert_safe()
    second.restore().assert_succeeded()
    account.assert_clean()


def other_run(account: Account) -> None:
    """Do the same as restore.yml of another controller, while a run stores."""
    names: dict[str, Any] = {"admin_profile": ADMIN_ROLE, "server_profile": SERVER_ROLE, "admin_role": ADMIN_ROLE}
    result = run_module(account.aws, "cwagent_admin_instance", state="released", **names)
    assert not result["failed"], result


def test_a_run_that_another_run_ends_reports_that_the_window_is_closed(
    account: Account, background: ThreadPoolExecutor
) -> None:
    """It never advises to remove the Deny of the window."""
    host = account.add_host(1, APP)
    with account.blocked_at("PutParameter", Kind.DENY):
        running = background.submit(host.play, cwagent_permission_timeout=30)
        account.wait_for_calls("PutParameter")
        other_run(account)
    failed = running.result().assert_failed()
    assert "its admin window is closed or has expired" in failed.message
    assert "another run or a person closed or opened it" in failed.message
    assert "Remove that Deny" not in failed.message
    assert associated_profiles(account.aws) == {host.instance: APP}
    assert configurations(account.aws) == {}
    account.assert_clean()


def test_a_waiting_run_reports_that_another_run_restored_its_instance(
    account: Account, background: ThreadPoolExecutor
) -> None:
    """The message does not claim that EC2 takes long, or that a timeout should be increased."""
    host = account.add_host(1, APP)
    account.aws.metadata_lag(60)
    running = background.submit(host.play, cwagent_identity_timeout=30)
    account.wait_for_calls("GetRolePolicy", 2)  # the second is the last read of the acquisition
    other_run(account)
    account.aws.metadata_lag(0)
    failed = running.result().assert_failed()
    assert f"Instance {host.instance} was restored by another run or by a person" in failed.message
    assert "wait_timeout" not in failed.message
    assert account.calls("PutParameter") == []
    assert associated_profiles(account.aws) == {host.instance: APP}
    account.assert_clean()


def test_an_instance_that_cannot_be_read_at_the_end_is_a_warning(
    account: Account, background: ThreadPoolExecutor
) -> None:
    """Everything was restored, by the word of EC2."""
    host = account.add_host(1, APP)
    up = host.controller.file("up", sys.executable)
    broken = host.controller.program("broken", "#!/bin/sh\necho no JSON\n")
    python = f"{{{{ '{sys.executable}' if '{up}' is file else '{broken}' }}}}"
    with account.blocked_at("PutParameter", Kind.DENY):
        running = background.submit(host.play, host={"ansible_python_interpreter": python})
        account.wait_for_calls("PutParameter")
        up.unlink()
    done = running.result().assert_succeeded()
    assert configurations(account.aws) == {PARAMETER: host.config}
    assert associated_profiles(account.aws) == {host.instance: APP}
    account.assert_clean()
    assert f"admin1 ({host.instance}) did not report whether it has its earlier identity again" in done.words


def named_parameter(aws: Emulator) -> dict[str, str]:
    return {"name": PARAMETER, "region": aws.region}


def opened_for(play: Play) -> list[tuple[str | None, list[dict[str, str]]]]:
    """For which instance and which parameters windows were opened."""
    windows = [each.result.get("window") or {} for each in play.results]
    return [(each["instance_id"], each["parameters"]) for each in windows if each.get("state") == "open"]


def test_an_instance_without_a_profile_has_none_afterwards(account: Account) -> None:
    host = account.add_host(1, None)
    host.play().assert_succeeded()
    assert configurations(account.aws) == {PARAMETER: host.config}
    assert associated_profiles(account.aws) == {host.instance: None}
    account.assert_clean()


def test_an_instance_with_an_applications_profile_has_it_afterwards(account: Account) -> None:
    """Check mode predicts every task. Check mode and a second run write nothing."""
    host = account.add_host(1, APP)
    with assert_no_writes(account.aws):
        predicted = host.play("--check", "--diff").assert_succeeded()
    done = host.play().assert_succeeded()
    assert predicted.outcomes == done.outcomes
    *acquired, restored, closed, untagged, forgotten = done.writes
    assert acquired == [
        "TagRole",
        "CreateTags",
        REPLACE_ASSOCIATION,
        "PutRolePolicy",
        REPLACE_ASSOCIATION,
        "PutParameter",
    ]
    assert [line for line in done.report if " until " not in line][1:] == [
        line for line in predicted.report if " until " not in line
    ][1:]
    assert {restored, closed} == {REPLACE_ASSOCIATION, "PutRolePolicy"}  # these run in parallel
    assert [untagged, forgotten] == ["DeleteTags", "UntagRole"]
    assert opened_for(done) == opened_for(predicted) == [(host.instance, [named_parameter(account.aws)])]
    assert configurations(account.aws) == {PARAMETER: host.config}
    assert associated_profiles(account.aws) == {host.instance: APP}
    account.assert_clean()
    with assert_no_writes(account.aws):
        assert host.play().assert_succeeded().changed_tasks == []


def test_an_instance_whose_earlier_profile_cannot_be_given_back_becomes_a_server(account: Account) -> None:
    """It is not waited for until it shows a profile that it does not get."""
    host = account.add_host(1, APP)
    account.aws.client("iam").remove_role_from_instance_profile(InstanceProfileName=APP, RoleName=APP)
    done = host.play().assert_succeeded()
    assert f"instance profile '{APP}', which instance {host.instance} had before, does not exist any more" in done.words
    assert associated_profiles(account.aws) == {host.instance: SERVER_ROLE}
    account.assert_clean()


def test_an_instance_that_was_left_with_the_admin_profile_becomes_a_server(account: Account) -> None:
    host = account.add_host(1, ADMIN_ROLE)
    host.play().assert_succeeded()
    assert configurations(account.aws) == {PARAMETER: host.config}
    assert associated_profiles(account.aws) == {host.instance: SERVER_ROLE}
    account.assert_clean()


def test_a_stopped_instance_is_refused_before_the_first_write(account: Account) -> None:
    host = account.add_host(1, APP, stopped=True)
    with assert_no_writes(account.aws):
        refused = host.play(host={**UNREACHABLE, "ansible_ssh_retries": 0}).assert_failed()
    assert [failure.outcome for failure in refused.failures] == ["failed"]
    assert ", which stores the configuration: " in refused.message
    assert refused.message.endswith("name another host or another way with cwagent_store_config_from.")
    assert associated_profiles(account.aws) == {host.instance: APP}
    account.assert_clean()


@pytest.mark.parametrize("action", [REPLACE_ASSOCIATION, "PutParameter"])
def test_an_instance_that_is_terminated_leaves_nothing(
    account: Account, background: ThreadPoolExecutor, action: str
) -> None:
    """It is terminated at the swap, or as it stores. Then it has stored, and cannot be reached for a last look."""
    host = account.add_host(1)
    variables, env = lost_after(host.controller, action)
    code = "InvalidParameterValue" if action == REPLACE_ASSOCIATION else ""
    with account.blocked_at(action, Kind.ERROR if code else Kind.DENY, code):
        running = background.submit(host.play, host=variables, env=env)
        account.wait_for_calls(action)
        account.aws.client("ec2").terminate_instances(InstanceIds=[host.instance])
    ended = running.result()
    assert "wait_timeout" not in ended.message
    if action == REPLACE_ASSOCIATION:
        assert f"Instance {host.instance} is terminated and cannot have" in ended.assert_failed().message
    else:
        assert f"admin1 ({host.instance}) did not report" in ended.assert_succeeded().words
        assert "According to EC2 it has no instance profile" in ended.words
        assert configurations(account.aws) == {PARAMETER: host.config}
    account.assert_clean()


@dataclass(frozen=True)
class OnPremises:
    """The on-premises admin host, with its saved key."""

    account: Account
    controller: Controller

    def play(self, store_from: str = "onprem", *arguments: str, **more: Any) -> Play:
        inventory = self.controller.inventory({"onprem_admin": {"ops1": {}}})
        file = self.controller.file("agent.json", {"agent": {}})
        settings = {
            "cwagent_store_config_from": store_from,
            "cwagent_config_file": str(file),
            "store_config_credentials_file": str(self.controller.credentials / f"{ADMIN_USER}.credentials"),
        }
        return self.controller.play(inventory, "store_config", *arguments, **{**TIMEOUTS, **settings, **more})

    def assert_closed(self) -> None:
        """Assert that the window is closed and the access key is inactive."""
        assert_admin_user_closed(self.account.aws)
        self.account.assert_clean()


@pytest.fixture
def on_premises(account: Account) -> OnPremises:
    controller = Controller(account.aws, account.folder)
    key = {"key_store_directory": str(controller.credentials)}
    user = run_module(
        account.aws, "cwagent_iam_user", name=[ADMIN_USER], access="admin", admin_window=True, saved_key=key
    )
    assert not user["failed"], user
    assert not run_module(account.aws, "cwagent_admin_window", user=ADMIN_USER, state="closed")["failed"]
    return OnPremises(account, controller)


def test_the_on_premises_admin_stores_with_its_own_key(account: Account, on_premises: OnPremises) -> None:
    on_premises.assert_closed()
    done = on_premises.play().assert_succeeded()
    [stored] = [call for call in done.calls if call.action == "PutParameter"]
    assert (stored.status, stored.principal.rpartition(":")[2]) == (200, f"user/{ADMIN_USER}")
    assert opened_for(done) == [(None, [named_parameter(account.aws)])]
    assert configurations(account.aws) == {PARAMETER: {"agent": {}}}
    assert not [call for call in done.calls if call.service == "ec2" and call.write]
    on_premises.assert_closed()


def test_the_open_window_of_another_on_premises_run_is_not_closed(account: Account, on_premises: OnPremises) -> None:
    assert not run_module(account.aws, "cwagent_admin_window", user=ADMIN_USER, state="open")["failed"]
    with assert_no_writes(account.aws):
        refused = on_premises.play().assert_failed()
    assert f"the admin window of user '{ADMIN_USER}' is open until" in refused.message


def test_the_on_premises_window_is_closed_after_a_failure(account: Account, on_premises: OnPremises) -> None:
    with account.blocked_at("PutParameter", Kind.DENY):
        failed = on_premises.play(cwagent_permission_timeout=1).assert_failed()
    assert f"user/{ADMIN_USER} lacks ssm:PutParameter" in failed.message
    assert configurations(account.aws) == {}
    on_premises.assert_closed()


@pytest.mark.parametrize("mode", ["--check", "--diff"])
def test_a_host_without_the_key_is_refused_before_the_window_is_opened(on_premises: OnPremises, mode: str) -> None:
    refused = on_premises.play("onprem", mode, store_config_credentials_file="~/nothing").assert_failed()
    assert f"ops1 has no ~/nothing with the access key of {ADMIN_USER}" in refused.message
    assert refused.writes == []
    on_premises.assert_closed()


@pytest.mark.parametrize("where", ["of the host", "of the command"])
def test_only_tasks_that_store_have_the_become_of_their_host(account: Account, where: str) -> None:
    """The tasks for AWS and those on the storing host are in one play, whose variables would outrank the host's."""
    host = account.add_host(1)
    sudo = host.controller.program("sudo", SUDO)
    variables = {"ansible_become_exe": str(sudo), **({"ansible_become": True} if where == "of the host" else {})}
    arguments = ["--become"] if where == "of the command" else []
    nobody = {"ANSIBLE_BECOME_EXE": str(host.controller.home / "no-sudo"), "ANSIBLE_BECOME_ALLOW_SAME_USER": "true"}
    settings: dict[str, Any] = {**TIMEOUTS, "cwagent_config_file": str(host.controller.file("a.json", host.config))}
    done = host.controller.play(host.inventory(variables), "site", *arguments, env=nobody, **settings)
    done.assert_succeeded()
    assert "PutParameter" in done.writes
    assert "BECOME-SUCCESS" in (host.controller.home / "commands").read_text()
    assert configurations(account.aws) == {PARAMETER: host.config}
    account.assert_clean()


def test_a_localhost_of_the_inventory_is_connected_to_by_nobody(account: Account) -> None:
    """It has no connection variable, so Ansible would use ssh."""
    host = account.add_host(1)
    file = host.inventory()
    inventory = yaml.safe_load(file.read_text())
    local = inventory["all"].pop("vars")
    for group in inventory["all"]["children"].values():
        group["vars"] = local
    inventory["all"]["hosts"] = {"localhost": {"ansible_ssh_executable": "/nonexistent"}}
    file.write_text(yaml.safe_dump(inventory))
    settings: dict[str, Any] = {**TIMEOUTS, "cwagent_config_file": str(host.controller.file("a.json", host.config))}
    host.controller.play(file, "site", **settings).assert_succeeded()
    assert configurations(account.aws) == {PARAMETER: host.config}


def test_the_controller_stores_without_a_window_or_a_swap(account: Account, on_premises: OnPremises) -> None:
    done = on_premises.play("controller").assert_succeeded()
    [stored] = [call for call in done.calls if call.write]
    assert (stored.action, stored.identity) == ("PutParameter", "root")
    on_premises.assert_closed()


def test_an_instance_that_does_not_get_the_admin_identity_in_time_is_an_error(account: Account) -> None:
    """Nothing is stored."""
    host = account.add_host(1, APP)
    account.aws.metadata_lag(60)
    failed = host.play(cwagent_identity_timeout=1).assert_failed()
    expected = (
        f"Waited 1 seconds for the instance metadata service to show instance profile '{ADMIN_ROLE}'; it still shows"
    )
    assert expected in failed.message
    assert account.calls("PutParameter") == []
    assert associated_profiles(account.aws) == {host.instance: APP}
    account.assert_clean()


@pytest.mark.parametrize(("profile", "credentials"), [(0, 4), (4, 0)], ids=["credentials late", "profile late"])
def test_profile_and_credentials_can_reach_the_instance_one_after_the_other(
    account: Account, profile: float, credentials: float
) -> None:
    """The first call is made with the credentials of the admin role, however late they are."""
    host = account.add_host(1, APP)
    account.aws.metadata_lag(profile, credentials)
    host.play().assert_succeeded()
    assert account.roles_of("PutParameter") == {ADMIN_ROLE}
    assert configurations(account.aws) == {PARAMETER: host.config}
    account.assert_clean()


def test_credentials_are_read_again_after_a_denied_call(account: Account, background: ThreadPoolExecutor) -> None:
    """The metadata service has shown the role of the earlier profile to a task that needs the new one."""
    host = account.add_host(1, APP)
    account.aws.client("iam").delete_role_policy(RoleName=ADMIN_ROLE, PolicyName=WINDOW_POLICY)
    arguments: dict[str, Any] = {"name": PARAMETER, "config": host.config, "wait_timeout": PATIENCE}
    environment = {**account.aws.env(host.instance), "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    running = background.submit(
        execute_module,
        account.aws,
        "cwagent_config_parameter",
        {"use_instance_credentials": True, "known_values": {PARAMETER: {}}, **arguments},
        env=environment,
    )
    account.wait_for_calls("PutParameter")
    [association] = account.aws.client("ec2").describe_iam_instance_profile_associations()[
        "IamInstanceProfileAssociations"
    ]
    account.aws.client("ec2").replace_iam_instance_profile_association(
        AssociationId=association["AssociationId"], IamInstanceProfile={"Name": ADMIN_ROLE}
    )
    result = running.result()
    assert not result["failed"], result
    assert account.roles_of("PutParameter") == {APP, ADMIN_ROLE}
    assert configurations(account.aws) == {PARAMETER: host.config}


def test_an_instance_that_keeps_the_admin_identity_fails(account: Account, background: ThreadPoolExecutor) -> None:
    """Its window is closed, so the identity has no permission. The restore tag goes by the word of EC2."""
    host = account.add_host(1, APP)
    with account.blocked_at("PutParameter", Kind.DENY):
        running = background.submit(host.play, cwagent_identity_timeout=2)
        account.wait_for_calls("PutParameter")
        account.aws.metadata_lag(60)
    failed = running.result().assert_failed()
    assert f"Waited 2 seconds for the instance metadata service to show instance profile '{APP}'" in failed.message
    assert associated_profiles(account.aws) == {host.instance: APP}
    assert configurations(account.aws) == {PARAMETER: host.config}
    account.assert_clean()


def test_a_permission_that_does_not_become_effective_is_an_error(account: Account) -> None:
    """The message contains the denied call, and the instance gets its earlier profile back."""
    host = account.add_host(1, APP)
    with account.blocked_at("PutParameter", Kind.DENY):
        failed = host.play(cwagent_permission_timeout=1).assert_failed()
    assert f"assumed-role/{ADMIN_ROLE}/{host.instance} lacks ssm:PutParameter" in failed.message
    assert associated_profiles(account.aws) == {host.instance: APP}
    account.assert_clean()


ONCE_REFUSED = 9
"""A seed with which EC2 may not assume the new role at first, and may when its profile is associated again."""


def test_a_new_role_that_ec2_may_not_assume_yet_is_associated_again(account: Account) -> None:
    """EC2 would try it again only after minutes, as long as this association lasts."""
    host = account.add_host(1)
    key = create_user(account.aws, "controller", allow("*"))
    iam = account.aws.client("iam")
    iam.remove_role_from_instance_profile(InstanceProfileName=ADMIN_ROLE, RoleName=ADMIN_ROLE)
    account.aws.be_unkind(Behaviour.UNAUTHORIZED_ROLES, seed=ONCE_REFUSED, seconds=600, chance=0.5)
    controller = {"AccessKeyId": key["AWS_ACCESS_KEY_ID"], "SecretAccessKey": key["AWS_SECRET_ACCESS_KEY"]}
    create_new_admin_role(account.aws.client("iam", credentials=controller))
    host.play(env=key).assert_succeeded()
    # Its own profile, the admin profile twice, and its own profile.
    swaps = [call.params["IamInstanceProfile.Name"] for call in account.calls(REPLACE_ASSOCIATION)]
    assert swaps == [SERVER_ROLE, ADMIN_ROLE, ADMIN_ROLE, SERVER_ROLE]
    assert configurations(account.aws) == {PARAMETER: host.config}
    account.assert_clean()


def create_new_admin_role(iam: Any) -> None:
    iam.detach_role_policy(RoleName=ADMIN_ROLE, PolicyArn=POLICY_ARN + ADMIN_POLICY)
    iam.delete_role_policy(RoleName=ADMIN_ROLE, PolicyName=WINDOW_POLICY)
    iam.delete_role(RoleName=ADMIN_ROLE)
    iam.create_role(RoleName=ADMIN_ROLE, AssumeRolePolicyDocument=trust("ec2.amazonaws.com"))
    iam.attach_role_policy(RoleName=ADMIN_ROLE, PolicyArn=POLICY_ARN + ADMIN_POLICY)
    iam.put_role_policy(RoleName=ADMIN_ROLE, PolicyName=WINDOW_POLICY, PolicyDocument=json.dumps(CLOSED_POLICY))
    iam.add_role_to_instance_profile(InstanceProfileName=ADMIN_ROLE, RoleName=ADMIN_ROLE)


def test_a_run_fails_if_something_else_overwrites_the_value(account: Account, background: ThreadPoolExecutor) -> None:
    """The instance gets its earlier profile back all the same."""
    host = account.add_host(1, APP)
    # The first is the comparison. The instance reads again until it may.
    account.aws.arm(Fault(Kind.DENY, action="GetParameter", text=PARAMETER, nth=2, times=UNTIL_DISARMED))
    running = background.submit(host.play)
    account.wait_for_calls("PutParameter")
    account.wait_for_calls("GetParameter", 2)
    overwrite(account)
    account.aws.disarm()
    failed = running.result().assert_failed()
    assert f"parameter '{PARAMETER}' has another value than the one that was just stored" in failed.message
    assert "something else wrote version 2" in failed.message
    assert "read what was stored as a server does" not in failed.output
    assert associated_profiles(account.aws) == {host.instance: APP}
    account.assert_clean()


def overwrite(account: Account) -> None:
    """Overwrite the configuration as another program would."""
    account.aws.client("ssm").put_parameter(Name=PARAMETER, Value='{"agent":{}}', Overwrite=True)


def test_a_run_fails_if_the_instance_reads_another_value_as_a_server(
    account: Account, background: ThreadPoolExecutor
) -> None:
    """Between the last read of the admin role and the first read of the earlier one."""
    host = account.add_host(1, APP)
    with account.blocked_at("DeleteTags", Kind.THROTTLE):
        running = background.submit(host.play)
        account.wait_for_calls("DeleteTags")
        overwrite(account)
    failed = running.result().assert_failed()
    assert f"{PARAMETER} was stored, but admin1 ({host.instance}) reads another value." in failed.message
    assert associated_profiles(account.aws) == {host.instance: APP}
    account.assert_clean()


def test_an_instance_that_may_not_read_the_configuration_as_a_server_is_a_warning(account: Account) -> None:
    """It contains the permission."""
    host = account.add_host(1, APP)
    account.aws.client("iam").detach_role_policy(RoleName=APP, PolicyArn=POLICY_ARN + SERVER_POLICY)
    done = host.play().assert_succeeded()
    assert f"the configuration was stored, but admin1 ({host.instance}) cannot read it with" in done.words
    assert f"assumed-role/{APP}/{host.instance} lacks ssm:GetParameter" in done.words
    assert configurations(account.aws) == {PARAMETER: host.config}
    account.assert_clean()


SCHEMA = {"properties": {"agent": {"properties": {"metrics_collection_interval": {"maximum": 5}}}}}
"""A schema that refuses the configurations that the hosts store."""


def agent_schema(host: AdminHost, schema: Any = SCHEMA) -> dict[str, Any]:
    """Install a schema on the instance, at the path in another variable."""
    return {"__store_config_agent_schema_path": str(host.controller.file("schema.json", schema))}


def test_the_schema_that_the_agent_has_installed_is_used_before_anything_is_opened(account: Account) -> None:
    host = account.add_host(1)
    with assert_no_writes(account.aws):
        refused = host.play(**agent_schema(host)).assert_failed()
    problem = "$.agent.metrics_collection_interval: 10 is not valid; allowed: at most 5"
    assert problem in refused.message
    assert refused.words.count(problem) >= 2, "it is in the list too"


@pytest.mark.parametrize(
    ("variables", "is_shown"),
    [
        ({"cwagent_config_validation": "warn"}, True),
        ({"cwagent_config_validation": "off"}, False),
        ({"__store_config_agent_schema_path": "/nonexistent/schema.json"}, False),
    ],
    ids=["warn", "off", "no schema"],
)
def test_a_configuration_is_stored_where_the_schema_does_not_refuse_it(
    account: Account, variables: dict[str, str], is_shown: bool
) -> None:
    host = account.add_host(1)
    done = host.play(**{**agent_schema(host), **variables}).assert_succeeded()
    assert ("10 is not valid; allowed: at most 5" in done.words) == is_shown
    assert configurations(account.aws) == {PARAMETER: host.config}
    account.assert_clean()


METRICS = {"metrics": {"metrics_collected": {"mem": {"measurement": ["mem_used_percent"]}}}}
"""A configuration without anything to warn of."""


def test_a_run_without_problems_shows_nothing_of_them(account: Account) -> None:
    host = account.add_host(1)
    settings: dict[str, Any] = {
        **agent_schema(host, {}),
        "cwagent_config_file": str(host.controller.file("metrics.json", METRICS)),
    }
    runs = [host.play(**settings).assert_succeeded() for _ in range(2)]
    for each in runs:
        problems = re.compile("WARNING|Warning|ERROR|ignoring|DEPRECAT")
        assert [line for line in each.output.splitlines() if problems.search(line)] == []


def test_with_nothing_to_store_the_schema_of_the_agent_is_not_read(account: Account) -> None:
    host = account.add_host(1)
    host.play().assert_succeeded()
    host.play(**agent_schema(host)).assert_succeeded()


def test_a_problem_that_does_not_stop_a_run_is_shown_once(account: Account) -> None:
    """Although the configuration is validated once more, by the schema."""
    host = account.add_host(1)
    done = host.play(**agent_schema(host, {})).assert_succeeded()
    assert done.output.count("with the section 'agent' alone, the agent collects nothing") == 1


def files_of(count: int) -> dict[str, Any]:
    """A configuration of so many log files, each of some 2 kB."""
    return {
        "logs": {
            "logs_collected": {
                "files": {
                    "collect_list": [
                        {"file_path": f"/var/log/{number}{'x' * 2000}", "log_group_name": f"group-{number}"}
                        for number in range(count)
                    ]
                }
            }
        }
    }


def test_a_large_configuration_is_stored_in_parts_and_a_smaller_one_leaves_none_where_asked(account: Account) -> None:
    host = account.add_host(1, APP)
    names = [PARAMETER, f"{PARAMETER}-2", f"{PARAMETER}-3"]
    split: dict[str, Any] = {"cwagent_split_config": True, "cwagent_adopt_existing": True}

    def run(count: int, playbook: str = "store_config", **more: Any) -> Play:
        file = host.controller.file("large.json", files_of(count))
        settings = {**split, "cwagent_config_file": str(file), **more}
        return host.play(playbook=playbook, **settings).assert_succeeded()

    large = run(9, "site")
    assert opened_for(large) == [(host.instance, [{"name": name, "region": account.aws.region} for name in names])]
    assert account.roles_of("PutParameter") == {ADMIN_ROLE}
    stored = configurations(account.aws)
    assert sorted(stored) == names
    assert merge([stored[name] for name in names]) == files_of(9)
    order = f"Servers in {account.aws.region} fetch {names[0]}, then append {names[1]}, {names[2]}, in this order."
    assert order in " ".join(large.report)
    with assert_no_writes(account.aws):
        assert run(9, "site").changed_tasks == []

    smaller = run(1)
    surplus = f"has 1 part, and there are further parameters: {names[1]}, {names[2]}."
    assert surplus in smaller.words
    assert [each["name"] for _, parameters in opened_for(smaller) for each in parameters] == names[:1]
    assert configurations(account.aws) == {**stored, PARAMETER: files_of(1)}

    # The second part is the parameter of another configuration now.
    listed = [
        {"name": name, "file": str(host.controller.file(f"{name}.json", config))}
        for name, config in ((PARAMETER, files_of(1)), (names[1], stored[names[1]]))
    ]
    removed = run(1, "site", cwagent_configs=listed, cwagent_config_file="", cwagent_remove_surplus_parameters=True)
    assert [(call.action, call.identity, call.params["Name"]) for call in removed.calls if call.write] == [
        ("DeleteParameter", "root", names[2])
    ]
    assert f"- delete parameter '{names[2]}'" in removed.report
    assert configurations(account.aws) == {PARAMETER: files_of(1), names[1]: stored[names[1]]}
    account.assert_clean()

    run(1, "teardown", cwagent_confirm="teardown")
    assert configurations(account.aws) == {}


def test_a_configuration_is_refused_that_has_the_name_of_a_part_of_another(account: Account) -> None:
    """Each run would overwrite the configuration that the run before has stored."""
    host = account.add_host(1)
    listed = [
        {"name": name, "file": str(host.controller.file(f"{name}.json", config))}
        for name, config in ((PARAMETER, files_of(9)), (f"{PARAMETER}-3", METRICS))
    ]
    with assert_no_writes(account.aws):
        refused = host.play(cwagent_configs=listed, cwagent_config_file="", cwagent_split_config=True).assert_failed()
    assert f"More than one configuration would be stored in {PARAMETER}-3 in {account.aws.region};" in refused.message
