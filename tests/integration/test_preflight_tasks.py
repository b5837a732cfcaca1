"""What the preflight finds to be due is what the modules of the tasks would change."""

from __future__ import annotations

from collections.abc import Callable, Iterable
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
PROFILE = {"name": SERVER_ROLE, "on_other_profile": "keep"}


def task(part: str, module: str, options: dict[str, Any], region: str = "") -> dict[str, Any]:
    """A task as the preflight takes it."""
    return {"part": part, "module": module, "options": options, "region": region}


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

    def tasks(self, instances: dict[str, list[str]] | None = None, **server: Any) -> list[dict[str, Any]]:
        """The tasks as the playbook site has them. :param server: further options of the server role."""
        by_region = instances or {"": [self.instance]}
        profiles = {"admin_profile": ADMIN_ROLE, "server_profile": SERVER_ROLE, "state": "released"}
        close = {"role": ADMIN_ROLE, "state": "closed", "managed_only": True}
        return [
            task("restore", "cwagent_admin_window", close),
            *(
                task("restore", "cwagent_admin_instance", {**profiles, "fallback_instance_ids": ids}, region)
                for region, ids in by_region.items()
            ),
            task("ec2", "cwagent_iam_role", {**SERVER, **server}),
            *(
                task("ec2", "cwagent_instance_profile", {**PROFILE, "instance_ids": ids}, region)
                for region, ids in by_region.items()
            ),
            task("ec2", "cwagent_iam_role", ADMIN),
        ]

    def preflight(
        self, instances: Any = None, env: Any = None, more: Iterable[dict[str, Any]] = (), **server: Any
    ) -> dict[str, Any]:
        """The result of the preflight, which writes nothing."""
        tasks = [*self.tasks(instances, **server), *more]
        arguments = {"instances": instances or {"": [self.instance]}, "tasks": tasks}
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


EVERYTHING = ["restore", "ec2"]
DRIFTS: dict[str, tuple[Callable[[Account], object], list[str]]] = {
    "a policy is missing": (
        lambda account: account.iam.detach_role_policy(
            RoleName=SERVER_ROLE, PolicyArn=f"arn:aws:iam::aws:policy/{SERVER_POLICY}"
        ),
        ["ec2"],
    ),
    "a tag differs": (
        lambda account: account.iam.tag_role(RoleName=SERVER_ROLE, Tags=[{"Key": "team", "Value": "dev"}]),
        ["ec2"],
    ),
    "the description differs": (
        lambda account: account.iam.update_role(RoleName=SERVER_ROLE, Description="x"),
        ["ec2"],
    ),
    "the instance profile is empty": (empty_profile, ["ec2"]),
    "the instance has no profile": (lambda account: disassociate(account.aws, account.instance), ["ec2"]),
    "the instance has another profile whose role lacks the policy": (other_profile, ["ec2"]),
    "the window is open": (
        lambda account: account.run(
            "cwagent_admin_window", {"role": ADMIN_ROLE, "state": "open", "instance_id": "i-0123456789abcdef0"}
        ),
        EVERYTHING,
    ),
    "the window is missing": (
        lambda account: account.run("cwagent_admin_window", {"role": ADMIN_ROLE, "state": "absent"}),
        EVERYTHING,
    ),
    "a record is left": (lambda account: account.record(SERVER_ROLE), EVERYTHING),
    "the admin profile was associated by hand": (
        lambda account: associate(account.aws, account.instance, ADMIN_ROLE),
        EVERYTHING,
    ),
    "a restore tag is left": (lambda account: account.tag(SERVER_ROLE), EVERYTHING),
    "the admin profile is left associated": (interrupt, EVERYTHING),
}


def test_drift_is_found_until_the_account_is_provisioned(account: Account) -> None:
    assert account.preflight()["due"] == ["ec2"]
    account.provision()
    assert account.preflight()["due"] == []


@pytest.mark.parametrize("drift", DRIFTS)
def test_drift_is_found_and_repaired(drift: str, account: Account) -> None:
    account.provision()
    disturb, expected = DRIFTS[drift]
    disturb(account)
    assert account.preflight()["due"] == expected
    names = {"admin_profile": ADMIN_ROLE, "server_profile": SERVER_ROLE, "fallback_instance_ids": [account.instance]}
    account.run("cwagent_admin_instance", {**names, "state": "released"})
    account.run("cwagent_admin_window", {"role": ADMIN_ROLE, "state": "closed"})
    account.run("cwagent_iam_role", SERVER)
    account.run("cwagent_iam_role", ADMIN)
    account.run(
        "cwagent_instance_profile",
        {"name": SERVER_ROLE, "instance_ids": [account.instance], "on_other_profile": "replace"},
    )
    assert account.preflight()["due"] == []


def test_a_window_that_is_turned_off_is_due(account: Account) -> None:
    account.provision()
    remove = task("ec2", "cwagent_admin_window", {"role": ADMIN_ROLE, "state": "absent"})
    assert account.preflight(more=[remove])["due"] == ["ec2"]


def test_everything_is_read_with_six_calls_and_a_description(account: Account) -> None:
    """The description of the server role is not in the bulk read."""
    account.provision()
    since = account.aws.mark()
    assert account.preflight()["due"] == []
    calls = [call.action for call in account.aws.calls(since)]
    assert sorted(calls) == [
        *("DescribeIamInstanceProfileAssociations", "DescribeTags", "GetAccountAuthorizationDetails"),
        *("GetInstanceProfile", "GetInstanceProfile", "GetRole"),
    ]


def test_without_the_bulk_read_no_read_is_repeated(account: Account) -> None:
    account.provision()
    env = create_user(account.aws, "restricted", allow(NotAction="iam:GetAccountAuthorizationDetails"))
    since = account.aws.mark()
    assert account.preflight(env=env)["due"] == []
    calls = [(call.action, str(call.params)) for call in account.aws.calls(since)]
    assert len(calls) == len(set(calls)) == 12


def test_iam_reads_are_shared_by_all_regions(account: Account) -> None:
    account.provision()
    since = account.aws.mark()
    instances = {"": [account.instance], "us-east-1": account.aws.instances(1, region="us-east-1")}
    assert account.preflight(instances)["due"] == ["ec2"]
    calls = [(call.service, call.action, str(call.params)) for call in account.aws.calls(since)]
    iam = [call for call in calls if call[0] == "iam"]
    assert len(iam) == len(set(iam)) > 0


def test_a_role_that_cannot_be_provisioned_is_due(account: Account) -> None:
    """The task of the role then reports the error."""
    account.provision()
    assert account.preflight(iam_path="/other/")["due"] == ["ec2"]


@pytest.mark.parametrize(
    ("action", "due"),
    [
        ("ec2:DescribeIamInstanceProfileAssociations", EVERYTHING),
        ("ec2:DescribeTags", EVERYTHING),
        ("iam:GetInstanceProfile", ["ec2"]),
        ("iam:GetRole", ["ec2"]),
    ],
)
def test_a_denied_read_makes_its_part_due(account: Account, action: str, due: list[str]) -> None:
    """The task that needs the permission then reports the error."""
    account.provision()
    env = create_user(account.aws, "restricted", allow(NotAction=action))
    assert account.preflight(env=env)["due"] == due


def test_the_ids_of_a_region_must_be_a_list(account: Account) -> None:
    instances = {"": account.instance}
    assert not account.run("cwagent_preflight", {"instances": instances}).get("problems")
    assert "is not a list of instance IDs" in account.run("cwagent_preflight", {"instances": {"": {"a": 1}}})["msg"]
    assert not account.run("cwagent_preflight", {"instances": {"": None}}).get("problems")
