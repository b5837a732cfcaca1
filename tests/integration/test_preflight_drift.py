"""The drift that the preflight finds on EC2 is what the modules of the roles would change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from emulator import Emulator
from harness import (
    ADMIN_ROLE,
    RESTORE_TAG,
    SERVER_POLICY,
    SERVER_ROLE,
    ModuleServer,
    allow,
    assert_no_writes,
    associate,
    create_role,
    create_user,
    disassociate,
    leave_restore_tag,
)

SERVER = {"name": SERVER_ROLE, "access": "server", "description": "for servers", "tags": {"team": "ops"}}
ADMIN = {"name": ADMIN_ROLE, "access": "admin", "admin_window": True}


@dataclass(frozen=True)
class Account:
    """An account with one instance. ``provision`` leaves nothing to change."""

    aws: Emulator
    instance: str
    run: Callable[..., dict[str, Any]]

    def provision(self) -> None:
        self.run("cwagent_iam_role", SERVER)
        self.run("cwagent_iam_role", ADMIN)
        self.run("cwagent_instance_profile", {"name": SERVER_ROLE, "instance_ids": [self.instance]})

    def preflight(
        self, instances: Any = None, path: str | None = None, env: Any = None, **roles: Any
    ) -> dict[str, Any]:
        """The result of the preflight, which writes nothing."""
        ec2_access = {"server": SERVER, "admin": ADMIN, **roles}
        arguments = {"instances": instances or {"": [self.instance]}, "path": path, "ec2_access": ec2_access}
        with assert_no_writes(self.aws):
            return self.run("cwagent_preflight", arguments, env=env)

    @property
    def iam(self) -> Any:
        return self.aws.client("iam")

    def tag(self, profile: str) -> None:
        leave_restore_tag(self.aws, self.instance, profile)

    def record(self, profile: str) -> None:
        tag = {"Key": f"{RESTORE_TAG}:{self.aws.region}:{self.instance}", "Value": profile}
        self.iam.tag_role(RoleName=ADMIN_ROLE, Tags=[tag])


@pytest.fixture
def account(modules: ModuleServer, enforcing: Emulator, tmp_path: Path) -> Account:
    run = partial(modules.run, enforcing, output=tmp_path / "output.txt")
    [instance] = enforcing.instances(1)
    return Account(enforcing, instance, run)


def interrupt(account: Account) -> None:
    account.tag(SERVER_ROLE)
    associate(account.aws, account.instance, ADMIN_ROLE)


def empty_profile(account: Account) -> None:
    account.iam.remove_role_from_instance_profile(InstanceProfileName=SERVER_ROLE, RoleName=SERVER_ROLE)


def other_profile(account: Account) -> None:
    create_role(account.aws, "App")
    associate(account.aws, account.instance, "App")


DRIFTS: dict[str, tuple[Callable[[Account], object], list[str]]] = {
    "a policy is missing": (
        lambda account: account.iam.detach_role_policy(
            RoleName=SERVER_ROLE, PolicyArn=f"arn:aws:iam::aws:policy/{SERVER_POLICY}"
        ),
        ["access"],
    ),
    "a tag differs": (
        lambda account: account.iam.tag_role(RoleName=SERVER_ROLE, Tags=[{"Key": "team", "Value": "dev"}]),
        ["access"],
    ),
    "the description differs": (
        lambda account: account.iam.update_role(RoleName=SERVER_ROLE, Description="x"),
        ["access"],
    ),
    "the instance profile is empty": (empty_profile, ["access"]),
    "the instance has no profile": (lambda account: disassociate(account.aws, account.instance), ["access"]),
    "the instance has another profile whose role lacks the policy": (other_profile, ["access"]),
    "the window is open": (
        lambda account: account.run(
            "cwagent_admin_window", {"role": ADMIN_ROLE, "state": "open", "instance_id": "i-0123456789abcdef0"}
        ),
        ["window", "access"],
    ),
    "the window is missing": (
        lambda account: account.run("cwagent_admin_window", {"role": ADMIN_ROLE, "state": "absent"}),
        ["window", "access"],
    ),
    "a record is left": (lambda account: account.record(SERVER_ROLE), ["profiles", "access"]),
    "the admin profile was associated by hand": (
        lambda account: associate(account.aws, account.instance, ADMIN_ROLE),
        ["profiles", "access"],
    ),
    "a restore tag is left": (lambda account: account.tag(SERVER_ROLE), ["profiles", "access"]),
    "the admin profile is left associated": (interrupt, ["profiles", "access"]),
}


def test_drift_is_found_until_the_account_is_provisioned(account: Account) -> None:
    assert account.preflight()["drift"] == ["access"]
    account.provision()
    assert account.preflight()["drift"] == []


@pytest.mark.parametrize("drift", DRIFTS)
def test_drift_is_found_and_repaired(drift: str, account: Account) -> None:
    account.provision()
    disturb, expected = DRIFTS[drift]
    disturb(account)
    assert account.preflight()["drift"] == expected
    names = {"admin_profile": ADMIN_ROLE, "server_profile": SERVER_ROLE, "fallback_instance_ids": [account.instance]}
    account.run("cwagent_admin_instance", {**names, "state": "released"})
    account.run("cwagent_admin_window", {"role": ADMIN_ROLE, "state": "closed"})
    account.run("cwagent_iam_role", SERVER)
    account.run("cwagent_iam_role", ADMIN)
    account.run(
        "cwagent_instance_profile", {"name": SERVER_ROLE, "instance_ids": [account.instance], "on_existing": "replace"}
    )
    assert account.preflight()["drift"] == []


def test_a_window_that_is_turned_off_is_drift(account: Account) -> None:
    account.provision()
    assert account.preflight(admin={**ADMIN, "admin_window": False})["drift"] == ["window", "access"]


def test_no_read_is_repeated(account: Account) -> None:
    account.provision()
    since = account.aws.mark()
    assert account.preflight()["drift"] == []
    calls = [(call.action, str(call.params)) for call in account.aws.calls(since)]
    assert len(calls) == len(set(calls)) == 10


def test_iam_reads_are_shared_by_all_regions(account: Account) -> None:
    account.provision()
    since = account.aws.mark()
    instances = {"": [account.instance], "us-east-1": account.aws.instances(1, region="us-east-1")}
    assert account.preflight(instances)["drift"] == ["access"]
    calls = [(call.service, call.action, str(call.params)) for call in account.aws.calls(since)]
    iam = [call for call in calls if call[0] == "iam"]
    assert len(iam) == len(set(iam)) > 0


EVERYTHING = ["window", "profiles", "access"]


def test_a_role_that_cannot_be_provisioned_counts_as_drift(account: Account) -> None:
    """The task of the role then reports the error."""
    account.provision()
    assert account.preflight(server={**SERVER, "path": "/other/"})["drift"] == EVERYTHING


@pytest.mark.parametrize(
    "action",
    ["ec2:DescribeIamInstanceProfileAssociations", "ec2:DescribeTags", "iam:GetRolePolicy", "iam:GetRole"],
)
def test_a_denied_read_counts_as_drift(account: Account, action: str) -> None:
    """The task that needs the permission then reports the error."""
    account.provision()
    env = create_user(account.aws, "restricted", allow(NotAction=action))
    assert account.preflight(env=env)["drift"] == EVERYTHING


@pytest.mark.parametrize(
    ("server", "problem"),
    [
        ({"access": "root"}, "ec2_access.server: value of access must be one of: server, admin, got: root"),
        ({"access": None}, "ec2_access.server: state is present but all of the following are missing: access"),
        ({"state": "absent"}, "ec2_access.server: state cannot be absent."),
        ({"path": "x"}, "'x' is not a valid IAM path"),
    ],
)
def test_invalid_options_of_a_role_are_reported(server: dict[str, Any], problem: str, account: Account) -> None:
    options = {option: value for option, value in {**SERVER, **server}.items() if value is not None}
    result = account.preflight(server=options, path=options.get("path"))
    assert len(result["problems"]) == 1
    assert problem in result["msg"]


def test_the_ids_of_a_region_must_be_a_list(account: Account) -> None:
    assert account.preflight({"": account.instance})["drift"] == ["access"]
    assert "instances: the value of '' is not a list of instance IDs" in account.preflight({"": {"a": 1}})["msg"]
    assert account.preflight({"": None})["drift"] == ["access"]
