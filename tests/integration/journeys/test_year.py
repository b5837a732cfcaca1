"""A year of life: servers leave, keys leak and age, a configuration changes, and runs are killed at random writes.

After each run, the hosts of the inventory have everything, nothing is open, and the things of others are as before.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from emulator import Emulator, Fault, Kind
from emulator.snapshot import snapshot
from faults.evaluation import differences, open_locks
from fleet import DAY, Fleet
from harness import (
    ADMIN_USER,
    PARAMETER,
    RESTORE_TAG,
    SERVER_POLICY,
    SERVER_ROLE,
    SERVER_USER,
    UNREACHABLE,
    Controller,
    Play,
    assert_complete_report,
    associate,
    create_role,
    create_user,
    restore_records,
)

MAX_KEY_AGE = 60
"""In days."""
APP, SHARED = "shop", "shared"
SUFFIX = ".credentials"
UNKNOWN_INSTANCE = "i-0123456789abcdef9"
REMEDY = "If their servers have left, cwagent.iam.remove_servers with these names removes them."
LEAK: dict[str, Any] = {"cwagent_rotate_now": "true", "cwagent_revoke_old": "true"}
ROTATION: dict[str, Any] = {"cwagent_key_max_age_days": MAX_KEY_AGE, "cwagent_key_delete_after_days": 7}
CONFIRM_REMOVAL: dict[str, Any] = {"cwagent_confirm": "remove_servers"}
WRITES = {"remove_servers": 4, "rotate_keys": 3, "teardown": 15}
"""How many writes a run that is killed makes at least."""


def users_of(host: str) -> str:
    """The user of an on-premises server. Two of them share one."""
    return SHARED if host in ("db2", "db3") else f"{SERVER_USER}-{host}"


@dataclass
class Year:
    """An inventory, with the account and the controller that are managed. :param interval: the configuration."""

    fleet: Fleet
    random: random.Random
    interval: int = 10
    day: int = 0
    history: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        fleet = self.fleet
        self.admin = fleet.add_instance("admin1", group="ec2_admin")
        for host in ("web1", "web2", "web3"):
            fleet.add_instance(host)
        fleet.add_machine("db1")
        fleet.add_host("db2", cwagent_user_name=SHARED)
        fleet.add_machine("db3", cwagent_user_name=SHARED)
        fleet.add_machine("db4")
        fleet.add_host("db5")
        fleet.add_host("ops1", group="onprem_admin")
        fleet.variables |= {"cwagent_region": self.aws.region, "cwagent_store_config_from": "instance"}
        self.keys = create_user(self.aws, "controller", policy="AdministratorAccess")
        self.make_things_of_others(*self.aws.instances(1))
        self.past = self.state()

    @property
    def aws(self) -> Emulator:
        return self.fleet.aws

    def make_things_of_others(self, instance: str) -> None:
        """Make things by hand: a user with our name, and an application role, which the admin instance may have."""
        create_user(self.aws, f"{SERVER_USER}-old", policy=SERVER_POLICY)
        create_role(self.aws, APP, SERVER_POLICY, "AmazonS3ReadOnlyAccess")
        for each in (instance, *self.random.choice([(self.admin,), ()])):
            associate(self.aws, each, APP)
        self.fleet.controller.credentials.mkdir(mode=0o700)
        (self.fleet.controller.credentials / "notes.txt").write_text("by hand")

    def state(self) -> dict[str, Any]:
        files = {path.name: path.read_text() for path in self.fleet.controller.credentials.iterdir()}
        return {**snapshot(self.aws), "files": files}

    @property
    def config(self) -> dict[str, Any]:
        return {"agent": {"metrics_collection_interval": self.interval}, "metrics": {"metrics_collected": {"mem": {}}}}

    def run(self, playbook: str, *arguments: str, is_killed: bool = False, **variables: Any) -> Play:
        """Run a playbook, after the same run was killed if it is to be."""
        self.fleet.configure(self.config)
        if is_killed:
            kind, nth = (
                self.random.choice((Kind.KILL_BEFORE, Kind.KILL_AFTER)),
                self.random.randint(1, WRITES[playbook]),
            )
            self.history.append(f"{playbook} ({kind} write {nth})")
            given = {**self.fleet.variables, **variables}
            fault = Fault(kind, writes=True, nth=nth)
            self.fleet.controller.kill(fault, self.fleet.inventory, playbook, *arguments, env=self.keys, **given)
        self.history.append(playbook)
        play = self.fleet.play(playbook, *arguments, env=self.keys, **variables)
        assert play.code == 0, f"{self.history}: {play.output}"
        return play

    def wait_until(self, day: int) -> None:
        """Let the servers use their access keys, after it is sure that they have everything."""
        found = [*self.unfinished()]
        assert not found, "\n".join([*self.history, *found])
        self.aws.shift_clock((day - self.day) * DAY)
        self.day = day
        self.history.append(f"day {day}")
        for user in self.users - {ADMIN_USER}:
            saved = self.read_file(user)
            keys = {"AccessKeyId": saved["aws_access_key_id"], "SecretAccessKey": saved["aws_secret_access_key"]}
            cloudwatch = self.aws.client("cloudwatch", credentials=keys)
            cloudwatch.put_metric_data(Namespace="CWAgent", MetricData=[{"MetricName": "up", "Value": 1}])

    def read_file(self, user: str) -> dict[str, str]:
        """The saved access key of a user, by the names in the file."""
        text = (self.fleet.controller.credentials / f"{user}{SUFFIX}").read_text()
        return dict(re.findall(r"^(\w+) = (.+)$", text, re.MULTILINE))

    def saved_keys(self) -> dict[str, str]:
        """By user of the inventory, the ID of its saved key."""
        return {user: self.read_file(user)["aws_access_key_id"] for user in self.users}

    @property
    def users(self) -> set[str]:
        """The users that a host of the inventory has."""
        return {ADMIN_USER, *map(users_of, self.fleet.groups["onprem_servers"])}

    def unfinished(self) -> Iterator[str]:
        """Everything that the inventory's hosts lack, that a run left open, or that it changed in things of others."""
        account = self.state()
        users, tags = account["users"], account["instance_tags"][self.aws.region]
        servers = [self.fleet.instances[host] for host in self.fleet.groups["ec2_servers"]]
        admin_profile = self.past["associations"].get(self.admin, SERVER_ROLE)
        profiles = {**dict.fromkeys(servers, SERVER_ROLE), self.admin: admin_profile}
        expected = {
            "saved keys": {user: "Inactive" if user == ADMIN_USER else "Active" for user in self.users},
            "profiles": profiles,
            "configurations": {PARAMETER: self.config},
            "restore tags": [],
            "restore records": {},
            "things of others": self.of_others(self.past),
        }
        found = {
            "saved keys": {user: users[user]["keys"].get(key) for user, key in self.saved_keys().items()},
            "profiles": {instance: account["associations"].get(instance) for instance in profiles},
            "configurations": account["parameters"][self.aws.region],
            "restore tags": [instance for instance in tags if RESTORE_TAG in tags[instance]],
            "restore records": restore_records(self.aws),
            "things of others": self.of_others(account),
        }
        yield from differences(expected, found)
        with_saved = {
            user: {**users[user], "keys": [{"status": each, "saved": True} for each in users[user]["keys"].values()]}
            for user in self.users
        }
        yield from open_locks({"roles": account["roles"], "users": with_saved, "instances": account["associations"]})

    def of_others(self, account: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """The things that existed before the year, as they are now."""
        kinds = ("users", "roles", "instance_profiles", "associations", "files")
        return {kind: {name: account[kind].get(name) for name in self.past[kind]} for kind in kinds}

    def assert_replaced(self, before: dict[str, str], status: str, *users: str) -> None:
        """Assert that users have their saved key and the one before, which has this status, and no other one."""
        found = snapshot(self.aws)["users"]
        for user in users:
            own = "Inactive" if user == ADMIN_USER else "Active"
            assert found[user]["keys"] == {before[user]: status, self.saved_keys()[user]: own}, user


def report(play: Play) -> str:
    return " ".join(play.report)


def servers_leave(year: Year) -> None:
    fleet = year.fleet
    fleet.set("db4", **UNREACHABLE)
    leaving = {**CONFIRM_REMOVAL, "cwagent_remove_servers": ["web1", "db4"]}
    left = year.run("remove_servers", is_killed=True, **leaving)
    assert "Take web1, db4 out of the inventory: cwagent.iam.site would manage it again." in report(left)
    assert "The access key is still on db4, which could not be reached." in report(left)
    fleet.remove("web1", "db4")
    account = year.state()
    assert users_of("db4") not in account["users"]
    assert f"{users_of('db4')}{SUFFIX}" not in account["files"]
    assert fleet.instances["web1"] not in account["associations"]


def keys_leak(year: Year) -> None:
    """A limit leaves out a server that has one of the keys."""
    leaking, arguments = {users_of("db1"), SHARED}, ("--diff", "-vvvv", "--limit", "localhost,db1,db2")
    saved, users = year.saved_keys(), snapshot(year.aws)["users"]
    secrets = [year.read_file(user)["aws_secret_access_key"] for user in leaking]
    predicted = year.run("rotate_keys", "--check", *arguments, **LEAK)
    assert snapshot(year.aws)["users"] == users
    replaced = year.run("rotate_keys", *arguments, **LEAK)
    after = snapshot(year.aws)["users"]
    assert {name for name in users if after[name] != users[name]} == leaking
    year.assert_replaced(saved, "Inactive", *leaking)
    assert predicted.changed_tasks == replaced.changed_tasks
    assert_complete_report(replaced)
    for play, was in ((predicted, "would be"), (replaced, "was")):
        assert f"{users_of('db1')}: a new access key {was} created, saved and delivered to the" in report(play)
        assert "The limit leaves out db3. Nothing was changed there." in play.report
    assert "Until the server has the new one, its agent cannot send." in replaced.words
    assert year.fleet.caller("db1").endswith(f":user/{users_of('db1')}")
    secrets += [year.read_file(user)["aws_secret_access_key"] for user in leaking]
    assert not [secret for secret in secrets for play in (predicted, replaced) if secret in play.output]


def servers_vanish_and_keys_age(year: Year) -> None:
    fleet, own, vanished = year.fleet, users_of("db1"), users_of("db5")
    fleet.remove("web3", "db5")
    year.interval = 30
    users = f"Users of this collection that no host of this inventory has: {vanished}."
    where = f"Instances in {year.aws.region} that are not in this inventory and have instance profile '{SERVER_ROLE}'"
    assert f"{users} {where}: {fleet.instances['web3']}. {REMEDY}" in report(year.run("site"))

    year.wait_until(150)
    before = year.saved_keys()
    assert f"{users} {REMEDY}" in report(year.run("rotate_keys", is_killed=True, **ROTATION))
    year.assert_replaced(before, "Active", *year.users - {ADMIN_USER})
    year.assert_replaced(before, "Inactive", ADMIN_USER)
    assert fleet.caller("db1").endswith(f":user/{own}")

    year.wait_until(152)
    assert f"{own}: the old access key was deactivated" in report(year.run("rotate_keys", **ROTATION))
    year.assert_replaced(before, "Inactive", *year.users)


def vanished_servers_are_removed(year: Year) -> None:
    """With an instance that was terminated, and one that never existed."""
    fleet = year.fleet
    [ended] = year.aws.instances(1)
    year.aws.client("ec2").terminate_instances(InstanceIds=[ended])
    named = ["db5", fleet.instances["web3"], ended, UNKNOWN_INSTANCE]
    removed = year.run("remove_servers", **CONFIRM_REMOVAL, cwagent_remove_servers=named)
    assert_complete_report(removed)
    assert "There is no user" not in removed.words
    assert f"there is no instance {UNKNOWN_INSTANCE} in this region and account" in removed.words
    assert f"there is no instance {ended}" not in removed.words
    account = year.state()
    assert users_of("db5") not in account["users"]
    assert fleet.instances["web3"] not in account["associations"]


def test_a_year_leaves_nothing_behind(controller: Controller) -> None:
    year = Year(Fleet(controller), random.Random(3))  # noqa: S311  it chooses cases
    year.run("site")
    year.wait_until(60)
    servers_leave(year)
    year.wait_until(90)
    keys_leak(year)
    year.wait_until(120)
    servers_vanish_and_keys_age(year)
    year.wait_until(200)
    vanished_servers_are_removed(year)
    year.wait_until(365)
    assert year.run("site").writes == []
    year.run("teardown", is_killed=True, cwagent_confirm="teardown")
    assert differences(year.past, year.state()) == []
