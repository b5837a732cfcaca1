"""A year of life: servers come and go, keys leak and age, configurations change, and runs are killed at random writes.

At the end of each day, every user, access key, saved key and profile of ours has a host, or a run has named it.
"""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emulator import Emulator, Fault, Kind
from emulator.snapshot import snapshot
from faults.evaluation import differences, open_locks
from fleet import Fleet
from harness import (
    ADMIN_ROLE,
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

from ansible_collections.cwagent.iam.plugins.module_utils._names import is_marked

Account = Mapping[str, Any]

DAY = 24 * 3600
MAX_KEY_AGE = 60
"""In days."""
APP, SHARED = "shop", "shared"
SUFFIX = ".credentials"
NEWCOMERS = {"ec2_servers": "web3", "onprem_servers": "db4"}
UNKNOWN_INSTANCE = "i-0123456789abcdef9"
REMEDY = "If their servers have left, cwagent.iam.remove_servers with these names removes them."
LEAK: dict[str, Any] = {"cwagent_rotate_now": "true", "cwagent_revoke_old": "true"}
ROTATION: dict[str, Any] = {"cwagent_key_max_age_days": MAX_KEY_AGE, "cwagent_key_delete_after_days": 7}
CONFIRM_REMOVAL = {"cwagent_confirm": "remove_servers"}
WRITES = {"remove_servers": 4, "rotate_keys": 3, "teardown": 15}
"""How many writes a run that is killed makes at least."""


@contextmanager
def watch_processes() -> Iterator[set[bytes]]:
    """The arguments and environments of all processes that run during the body."""
    seen: set[bytes] = set()
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.01):
            for process in Path("/proc").glob("[0-9]*"):
                for kind in ("cmdline", "environ"):
                    with suppress(OSError):  # it has ended, or belongs to another user
                        seen.add((process / kind).read_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    yield seen
    ended.set()
    watcher.join()


def users_of(host: str) -> str:
    """The user of an on-premises server. Two of them share one."""
    return SHARED if host in ("db2", "db3") else f"{SERVER_USER}-{host}"


@dataclass
class Year:
    """An inventory, with the account and the controller that are managed.

    :param saved: by user, each access key that was ever saved, with the day.
    :param statuses: of the access keys of our users, on the evening before.
    :param leaked: access keys that others have.
    :param kills: the number of the write at which the next run is killed, or 0.
    :param is_rotation_day: whether the access keys of all users were to be replaced, if too old.
    """

    fleet: Fleet
    random: random.Random
    interval: int = 10
    saved: dict[str, dict[str, int]] = field(default_factory=dict)
    statuses: dict[str, str] = field(default_factory=dict)
    leaked: set[str] = field(default_factory=set)
    day: int = 0
    is_rotation_day: bool = False
    plays_of_the_day: list[Play] = field(default_factory=list)
    latest_site: list[Play] = field(default_factory=list)
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
        self.coming = {group: fleet.groups[group].pop(host) for group, host in NEWCOMERS.items()}
        self.keys = create_user(self.aws, "controller", policy="AdministratorAccess")
        self.make_things_of_others(*self.aws.instances(1))
        self.past = self.state()

    @property
    def aws(self) -> Emulator:
        return self.fleet.aws

    @property
    def credentials(self) -> Path:
        return self.fleet.controller.credentials

    def make_things_of_others(self, instance: str) -> None:
        """Make things by hand: a user with our name, and an application role, which the admin instance may have."""
        create_user(self.aws, f"{SERVER_USER}-old", policy=SERVER_POLICY)
        create_role(self.aws, APP, SERVER_POLICY, "AmazonS3ReadOnlyAccess")
        for each in (instance, *self.random.choice([(self.admin,), ()])):
            associate(self.aws, each, APP)
        self.credentials.mkdir(mode=0o700)
        (self.credentials / "notes.txt").write_text("by hand")

    def state(self) -> dict[str, Any]:
        files = {path.name: path.read_text() for path in self.credentials.iterdir()}
        return {**snapshot(self.aws), "files": files}

    # -- Runs and days --

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
        self.plays_of_the_day.append(play)
        self.latest_site = [play] if playbook == "site" else self.latest_site
        return play

    @contextmanager
    def live(self, day: int, what: str) -> Iterator[None]:
        """Live a day: the servers use their access keys, something happens, and they get their new access keys."""
        self.aws.shift_clock((day - self.day) * DAY)
        self.day, self.is_rotation_day, self.plays_of_the_day = day, False, []
        self.history.append(f"day {day}: {what}")
        for user in self.users & self.saved.keys() - {ADMIN_USER}:
            self.send_metric(user)
        yield
        for user, key in self.saved_keys().items():
            self.saved.setdefault(user, {}).setdefault(key, day)
        account = self.state()
        found = [*self.without_host(account), *self.wrong_keys(account), *self.unfinished(account)]
        assert not found, "\n".join([*self.history, *found])
        self.statuses = {key: status for user in our_users(account).values() for key, status in user["keys"].items()}

    def send_metric(self, user: str) -> None:
        """Send a metric with the saved key, which the server was given the evening before."""
        found = self.read_file(user)
        keys = {"AccessKeyId": found["aws_access_key_id"], "SecretAccessKey": found["aws_secret_access_key"]}
        cloudwatch = self.aws.client("cloudwatch", credentials=keys)
        cloudwatch.put_metric_data(Namespace="CWAgent", MetricData=[{"MetricName": "up", "Value": 1}])

    def read_file(self, user: str) -> dict[str, str]:
        """The saved access key of a user, by the names in the file."""
        text = (self.credentials / f"{user}{SUFFIX}").read_text()
        return dict(re.findall(r"^(\w+) = (.+)$", text, re.MULTILINE))

    def secrets(self, *users: str) -> Iterator[str]:
        return (self.read_file(user)["aws_secret_access_key"] for user in users)

    def saved_key(self, user: str) -> str:
        return self.read_file(user)["aws_access_key_id"]

    def saved_keys(self) -> dict[str, str]:
        users = [path.name.removesuffix(SUFFIX) for path in self.credentials.glob(f"*{SUFFIX}")]
        return {user: self.saved_key(user) for user in users}

    @property
    def web(self) -> list[str]:
        """The instances of the EC2 servers in the inventory."""
        return [self.fleet.instances[host] for host in self.fleet.groups["ec2_servers"]]

    @property
    def users(self) -> set[str]:
        """The users that a host of the inventory has."""
        return {ADMIN_USER, *map(users_of, self.fleet.groups["onprem_servers"])}

    # -- The end of each day --

    def without_host(self, account: Account) -> Iterator[str]:
        """Our things without a host that are missing in the reports of this day and of the latest run of site.yml."""
        lines = [line for play in (*self.latest_site, *self.plays_of_the_day) for line in play.report]
        text = "".join("".join(lines).split())  # a name goes over several lines
        named = "".join(re.findall(r"(?:nohostofthisinventoryhas|arenotinthisinventory)[^.]*\.", text))
        files = account["files"].keys() - self.past["files"]
        owners = [
            *((name, f"user {name}") for name in our_users(account)),
            *((name.strip(".").rpartition(".")[0], f"file {name}") for name in files),
            *(
                (instance, f"instance {instance} with {profile}")
                for instance, profile in account["associations"].items()
                if profile in (SERVER_ROLE, ADMIN_ROLE)
            ),
        ]
        with_host = {*self.users, self.admin, *self.web}
        for owner, words in owners:
            if owner not in with_host and owner not in named:
                yield f"{words} has no host, and no run has named it"

    def wrong_keys(self, account: Account) -> Iterator[str]:
        """Access keys of our users that should not exist any more, or should not be active."""
        for user, found in our_users(account).items():
            *_, previous, current = ["", *self.saved[user]]
            for key, status in found["keys"].items():
                if key not in (previous, current):
                    yield f"access key {key} of {user} is neither the saved one nor the previous one"
                if key in self.leaked and status == "Active":
                    yield f"access key {key} of {user} leaked and is active"
            if self.is_rotation_day and user in self.users:
                yield from self.late_replacements(user, found["keys"])

    def late_replacements(self, user: str, keys: Mapping[str, str]) -> Iterator[str]:
        """Access keys with which rotate_keys.yml did nothing, although it was their time."""
        *_, previous, current = ["", *self.saved[user]]
        if previous not in self.statuses:
            if self.day - self.saved[user][current] >= MAX_KEY_AGE:
                yield f"access key {current} of {user} is too old"
        # The grace period is shorter than the time between two days, so a step is due when the new key is in use.
        elif current in self.statuses and self.is_used(current) and keys.get(previous) == self.statuses[previous]:
            yield f"access key {previous} of {user} was replaced and is still {keys[previous]}"

    def is_used(self, key: str) -> bool:
        found = self.aws.client("iam").get_access_key_last_used(AccessKeyId=key)
        return "LastUsedDate" in found["AccessKeyLastUsed"]

    def unfinished(self, account: Account) -> Iterator[str]:
        """Everything that the inventory's hosts lack, that a run left open, or that it changed in things of others."""
        users, tags = our_users(account), account["instance_tags"][self.aws.region]
        profiles = {**dict.fromkeys(self.web, SERVER_ROLE), self.admin: self.admin_profile}
        expected = {
            "saved keys": {user: "Inactive" if user == ADMIN_USER else "Active" for user in self.users},
            "profiles": profiles,
            "configurations": {PARAMETER: self.config},
            "restore tags": [],
            "restore records": {},
            "things of others": self.of_others(self.past),
        }
        keys = {user: users[user]["keys"] for user in self.users & users.keys()}
        found = {
            "saved keys": {user: statuses.get(self.saved_key(user)) for user, statuses in keys.items()},
            "profiles": {instance: account["associations"].get(instance) for instance in profiles},
            "configurations": account["parameters"][self.aws.region],
            "restore tags": [instance for instance in tags if RESTORE_TAG in tags[instance]],
            "restore records": restore_records(self.aws),
            "things of others": self.of_others(account),
        }
        yield from differences(expected, found)
        with_saved = {
            user: {**found, "keys": [{"status": status, "saved": True} for status in found["keys"].values()]}
            for user, found in users.items()
        }
        yield from open_locks({"roles": account["roles"], "users": with_saved, "instances": account["associations"]})

    @property
    def admin_profile(self) -> str:
        """The profile that the admin instance has, unless a configuration is being stored."""
        return str(self.past["associations"].get(self.admin, SERVER_ROLE))

    def of_others(self, account: Account) -> dict[str, dict[str, Any]]:
        """The things that existed before the year, as they are now."""
        kinds = ("users", "roles", "instance_profiles", "associations", "files")
        return {kind: {name: account[kind].get(name) for name in self.past[kind]} for kind in kinds}


def our_users(account: Account) -> dict[str, Any]:
    return {name: user for name, user in account["users"].items() if is_marked(user["tags"])}


def report(play: Play) -> str:
    return " ".join(play.report)


def servers_come_and_leave(year: Year) -> None:
    fleet = year.fleet
    with year.live(0, "the admin instance stores the configuration"):
        year.run("site")

    with year.live(30, "servers come, and an on-premises server stores another configuration"):
        for group, host in NEWCOMERS.items():
            fleet.groups[group][host] = year.coming[group]
        year.interval = 20
        assert year.run("site", cwagent_store_config_from="onprem").associated == [SERVER_ROLE]

    with year.live(60, "two servers leave, of which one is off"):
        fleet.set("db4", **UNREACHABLE)
        leaving = {**CONFIRM_REMOVAL, "cwagent_remove_servers": ["web1", "db4"]}
        left = year.run("remove_servers", is_killed=True, **leaving)
        assert "Take web1, db4 out of the inventory: cwagent.iam.site would manage it again." in report(left)
        assert "The access key is still on db4, which could not be reached." in report(left)
        fleet.remove("web1", "db4")


def keys_leak(year: Year) -> None:
    """A limit leaves out a server that has one of the keys."""
    leaking, arguments = {users_of("db1"), SHARED}, ("--diff", "-vvvv", "--limit", "localhost,db1,db2")
    with year.live(90, "two keys leak"):
        before, secrets = snapshot(year.aws)["users"], [*year.secrets(*leaking)]
        year.leaked |= {year.saved_key(user) for user in leaking}
        predicted = year.run("rotate_keys", "--check", *arguments, **LEAK)
        assert snapshot(year.aws)["users"] == before
        with watch_processes() as processes:
            replaced = year.run("rotate_keys", *arguments, **LEAK)
        after = snapshot(year.aws)["users"]
        assert {name for name in before if after[name] != before[name]} == leaking
        assert predicted.changed_tasks == replaced.changed_tasks
        assert_complete_report(replaced)
        for play, was in ((predicted, "would be"), (replaced, "was")):
            assert f"{users_of('db1')}: a new access key {was} created, saved and delivered to the" in report(play)
            assert "The limit leaves out db3. Nothing was changed there." in play.report
        assert "Until the server has the new one, its agent cannot send." in replaced.words
        assert year.fleet.caller("db1").endswith(f":user/{users_of('db1')}")
    secrets += year.secrets(*leaking)
    assert not [secret for secret in secrets for play in (predicted, replaced) if secret in play.output]
    assert any(text.startswith(b"/bin/sh\0-c\0") for text in processes), "no command on a server was seen"
    assert not [secret for secret in secrets for text in processes if secret.encode() in text]


def servers_vanish_and_keys_age(year: Year) -> None:
    fleet, aws, own, vanished = year.fleet, year.aws, users_of("db1"), users_of("db5")
    with year.live(120, "two servers vanish, and the admin instance stores another configuration"):
        fleet.remove("web3", "db5")
        year.interval = 30
        where = f"Instances in {aws.region} that are not in this inventory and have instance profile '{SERVER_ROLE}'"
        users = f"Users of this collection that no host of this inventory has: {vanished}."
        assert f"{users} {where}: {fleet.instances['web3']}. {REMEDY}" in report(year.run("site"))

    with year.live(150, "keys are too old"):
        year.is_rotation_day, before = True, year.saved_keys()
        assert f"{users} {REMEDY}" in report(year.run("rotate_keys", is_killed=True, **ROTATION))
        assert {user for user, key in year.saved_keys().items() if key != before[user]} == year.users
        assert fleet.caller("db1").endswith(f":user/{own}")

    for day, what in ((152, "deactivated"), (165, "deleted")):
        with year.live(day, f"the old keys are to be {what}"):
            year.is_rotation_day = True
            assert f"{own}: the old access key was {what}" in report(year.run("rotate_keys", **ROTATION))

    with year.live(200, "the vanished servers are removed by the names of the host and the instance"):
        removal: dict[str, Any] = {**CONFIRM_REMOVAL, "cwagent_remove_servers": ["db5", fleet.instances["web3"]]}
        removed = year.run("remove_servers", **removal)
        assert_complete_report(removed)
        assert "There is no user" not in removed.words
        [ended] = aws.instances(1)
        aws.client("ec2").terminate_instances(InstanceIds=[ended])
        removal["cwagent_remove_servers"] += [ended, UNKNOWN_INSTANCE]
        again = year.run("remove_servers", **removal)
        assert (again.report[0], again.changed_tasks) == ("Nothing to do.", [])
        assert f"there is no instance {UNKNOWN_INSTANCE} in this region and account" in again.words
        assert f"there is no instance {ended}" not in again.words
        assert f"There is no user '{vanished}'." in again.words


def test_a_year_leaves_nothing_without_a_host_that_no_run_names(controller: Controller) -> None:
    year = Year(Fleet(controller), random.Random(3))  # noqa: S311  it chooses cases
    servers_come_and_leave(year)
    keys_leak(year)
    servers_vanish_and_keys_age(year)
    with year.live(365, "nothing is left to do"):
        assert year.run("site").writes == []
    year.run("teardown", is_killed=True, cwagent_confirm="teardown")
    assert differences(year.past, year.state()) == []
