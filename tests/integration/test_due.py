"""What the preflight finds to do on EC2 is what the modules of the roles would then do."""

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
    SERVER_POLICY,
    SERVER_ROLE,
    ModuleServer,
    allow,
    make_role,
    make_user,
    nothing_written,
    put_on,
    take_off,
)

SERVER = {"name": SERVER_ROLE, "access": "server", "description": "for servers", "tags": {"team": "ops"}}
ADMIN = {"name": ADMIN_ROLE, "access": "admin", "admin_window": True}
NOTE = "cwagent:earlier-profile"


@dataclass(frozen=True)
class Account:
    """An account with one instance; ``make`` leaves nothing to do for it."""

    aws: Emulator
    instance: str
    run: Callable[..., dict[str, Any]]

    def make(self) -> None:
        self.run("cwagent_iam_role", SERVER)
        self.run("cwagent_iam_role", ADMIN)
        self.run("cwagent_instance_profile", {"name": SERVER_ROLE, "instance_ids": [self.instance]})

    def look(self, instances: Any = None, path: str | None = None, env: Any = None, **roles: Any) -> dict[str, Any]:
        """What the preflight says; it writes nothing."""
        wanted = {"server": SERVER, "admin": ADMIN, **roles}
        given = {"instances": instances or {"": [self.instance]}, "path": path, "ec2_access": wanted}
        with nothing_written(self.aws):
            return self.run("cwagent_preflight", given, env=env)

    @property
    def iam(self) -> Any:
        return self.aws.client("iam")

    def note(self, profile: str) -> None:
        self.aws.client("ec2").create_tags(Resources=[self.instance], Tags=[{"Key": NOTE, "Value": profile}])


@pytest.fixture
def account(modules: ModuleServer, enforcing: Emulator, tmp_path: Path) -> Account:
    run = partial(modules.run, enforcing, output=tmp_path / "output.txt")
    return Account(enforcing, *enforcing.instances(1), run)


def lend(account: Account) -> None:
    account.note(SERVER_ROLE)
    put_on(account.aws, account.instance, ADMIN_ROLE)


def empty_profile(account: Account) -> None:
    account.iam.remove_role_from_instance_profile(InstanceProfileName=SERVER_ROLE, RoleName=SERVER_ROLE)


def other_profile(account: Account) -> None:
    make_role(account.aws, "App")
    put_on(account.aws, account.instance, "App")


DRIFTS: dict[str, tuple[Callable[[Account], object], list[str]]] = {
    "a policy is missing": (
        lambda at: at.iam.detach_role_policy(
            RoleName=SERVER_ROLE, PolicyArn=f"arn:aws:iam::aws:policy/{SERVER_POLICY}"
        ),
        ["access"],
    ),
    "a tag is another": (
        lambda at: at.iam.tag_role(RoleName=SERVER_ROLE, Tags=[{"Key": "team", "Value": "dev"}]),
        ["access"],
    ),
    "the description is another": (lambda at: at.iam.update_role(RoleName=SERVER_ROLE, Description="x"), ["access"]),
    "the instance profile is empty": (empty_profile, ["access"]),
    "the instance carries nothing": (lambda at: take_off(at.aws, at.instance), ["access"]),
    "the instance keeps another profile, which lacks the policy": (other_profile, ["access"]),
    "the window is open": (
        lambda at: at.run("cwagent_admin_window", {"role": ADMIN_ROLE, "state": "open"}),
        ["window", "access"],
    ),
    "the window is gone": (
        lambda at: at.run("cwagent_admin_window", {"role": ADMIN_ROLE, "state": "absent"}),
        ["window", "access"],
    ),
    "a note is left": (lambda at: at.note(SERVER_ROLE), ["profiles", "access"]),
    "the admin profile is left": (lend, ["profiles", "access"]),
}


def test_whatever_is_to_be_done_is_found(account: Account) -> None:
    assert account.look()["due"] == ["access"]
    account.make()
    assert account.look()["due"] == []


@pytest.mark.parametrize("drift", DRIFTS)
def test_drift_is_found_and_repaired(drift: str, account: Account) -> None:
    account.make()
    disturb, expected = DRIFTS[drift]
    disturb(account)
    assert account.look()["due"] == expected
    account.run(
        "cwagent_admin_instance", {"admin_profile": ADMIN_ROLE, "server_profile": SERVER_ROLE, "state": "returned"}
    )
    account.run("cwagent_admin_window", {"role": ADMIN_ROLE, "state": "closed"})
    account.run("cwagent_iam_role", SERVER)
    account.run("cwagent_iam_role", ADMIN)
    account.run("cwagent_instance_profile", {"name": SERVER_ROLE, "instance_ids": [account.instance], "replace": True})
    assert account.look()["due"] == []


def test_no_window_is_wanted(account: Account) -> None:
    account.make()
    assert account.look(admin={**ADMIN, "admin_window": False})["due"] == ["window", "access"]


def test_each_thing_is_read_once(account: Account) -> None:
    account.make()
    since = account.aws.mark()
    assert account.look()["due"] == []
    calls = [(call.action, str(call.params)) for call in account.aws.calls(since)]
    assert len(calls) == len(set(calls)) == 10


def test_iam_is_read_once_for_all_regions(account: Account) -> None:
    account.make()
    since = account.aws.mark()
    instances = {"": [account.instance], "us-east-1": account.aws.instances(1, region="us-east-1")}
    assert account.look(instances)["due"] == ["access"]
    calls = [(call.service, call.action, str(call.params)) for call in account.aws.calls(since)]
    iam = [call for call in calls if call[0] == "iam"]
    assert len(iam) == len(set(iam)) > 0


def test_what_cannot_be_had_or_read_is_left_to_the_task_that_needs_it(account: Account) -> None:
    account.make()
    assert account.look(server={**SERVER, "path": "/other/"})["due"] == ["window", "profiles", "access"]
    for action in (
        "ec2:DescribeIamInstanceProfileAssociations",
        "ec2:DescribeTags",
        "iam:GetRolePolicy",
        "iam:GetRole",
    ):
        env = make_user(account.aws, action.replace(":", "-"), allow(NotAction=action))
        assert account.look(env=env)["due"] == ["window", "profiles", "access"], action


@pytest.mark.parametrize(
    ("server", "problem"),
    [
        ({"access": "root"}, "ec2_access.server: value of access must be one of: server, admin, got: root"),
        ({"access": None}, "ec2_access.server: state is present but all of the following are missing: access"),
        ({"state": "absent"}, "ec2_access.server: state cannot be absent."),
        ({"path": "x"}, "'x' is no valid IAM path"),
    ],
)
def test_mistakes_in_the_options_of_a_role(server: dict[str, Any], problem: str, account: Account) -> None:
    given = {option: value for option, value in {**SERVER, **server}.items() if value is not None}
    refused = account.look(server=given, path=given.get("path"))
    assert len(refused["problems"]) == 1
    assert problem in refused["msg"]


def test_the_ids_of_a_region_are_a_list(account: Account) -> None:
    assert account.look({"": account.instance})["due"] == ["access"]
    assert "'' has no list of ids" in account.look({"": {"a": 1}})["msg"]
    assert account.look({"": None})["due"] == ["access"]
