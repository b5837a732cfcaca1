"""A year of life: servers come and go, keys leak and age, configurations change, and runs are killed at random writes.

At the end of each day, every user, access key, saved key and profile of ours has a host, or a run has named it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from emulator import Emulator, Fault, Kind
from emulator.snapshot import snapshot
from faults.evaluation import differences, open_locks
from harness import (
    ADMIN_ROLE,
    ADMIN_USER,
    PARAMETER,
    RESTORE_TAG,
    SERVER_POLICY,
    SERVER_ROLE,
    SERVER_USER,
    Controller,
    Play,
    associate,
    create_role,
    create_user,
    restore_records,
)

from ansible_collections.cwagent.iam.plugins.module_utils._names import is_marked

Account = Mapping[str, Any]
Event = Callable[[], None]

DAY, DAYS_OF_A_YEAR = 24 * 3600, 365
MAX_KEY_AGE = 60
"""In days."""
EVENTS_BEFORE_KEYS_ARE_TOO_OLD = 2
DEVIATION = 0.3
"""How far an event is from its regular day at most, in parts of the time between two events."""
APP = "shop"
SUFFIX = ".credentials"
WRITES = {
    "a_server_comes": 1,
    "an_onprem_server_comes": 3,
    "two_servers_leave": 4,
    "vanished_servers_are_removed": 4,
    "a_key_leaks": 2,
    "keys_are_too_old": 3,
    "an_instance_stores_a_configuration": 10,
    "an_onprem_host_stores_a_configuration": 5,
    "the_installation_is_removed": 15,
}
"""How many writes the run of an event makes at least."""


@dataclass
class Year:
    """An inventory, with the account and the controller that are managed.

    :param web: by host, the instance of each EC2 server in the inventory.
    :param onprem: the on-premises servers in the inventory.
    :param vanished: the instance and the user whose hosts vanished from the inventory.
    :param saved: by user, each access key that was ever saved, with the day.
    :param statuses: of the access keys of our users, on the evening before.
    :param leaked: access keys that others have.
    :param kill_at: the number of the write at which the next run is killed.
    :param is_rotation_day: whether the access keys of all users were to be replaced, if too old.
    """

    controller: Controller
    random: random.Random
    interval: int = 10
    storing: str = "instance"
    web: dict[str, str] = field(default_factory=dict)
    onprem: list[str] = field(default_factory=lambda: ["db1", "db2", "db3"])
    vanished: list[str] = field(default_factory=list)
    saved: dict[str, dict[str, int]] = field(default_factory=dict)
    statuses: dict[str, str] = field(default_factory=dict)
    leaked: set[str] = field(default_factory=set)
    day: int = 0
    kill_at: int = 0
    is_rotation_day: bool = False
    plays_of_the_day: list[Play] = field(default_factory=list)
    latest_site: list[Play] = field(default_factory=list)
    history: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.admin, first, second, self.next, outside = self.aws.instances(5)
        self.web = {"web1": first, "web2": second}
        self.keys = create_user(self.aws, "controller", policy="AdministratorAccess")
        self.make_things_of_others(outside)
        self.past = self.state()

    @property
    def aws(self) -> Emulator:
        return self.controller.aws

    def make_things_of_others(self, instance: str) -> None:
        """Make things by hand: a user with our name, and an application role, which the admin instance may have."""
        create_user(self.aws, f"{SERVER_USER}-old", policy=SERVER_POLICY)
        create_role(self.aws, APP, SERVER_POLICY, "AmazonS3ReadOnlyAccess")
        for each in (instance, *self.random.choice([(self.admin,), ()])):
            associate(self.aws, each, APP)
        self.controller.credentials.mkdir(mode=0o700)
        (self.controller.credentials / "notes.txt").write_text("by hand")

    def state(self) -> dict[str, Any]:
        files = {path.name: path.read_text() for path in self.controller.credentials.iterdir()}
        return {**snapshot(self.aws), "files": files}

    # -- Events --

    def plan(self) -> Iterator[tuple[int, Event, int]]:
        """The day and the event of each day, and the write at which its run is killed, or 0.

        The order is random, except that some events follow others.
        """
        stores: list[Event] = [self.an_instance_stores_a_configuration, self.an_onprem_host_stores_a_configuration]
        others: list[Event] = [
            *(self.a_server_comes, self.an_onprem_server_comes, self.two_servers_leave, self.a_key_leaks),
            *(self.vanished_servers_are_removed, self.keys_are_too_old),
        ]
        killed = [self.random.choice(stores), self.random.choice(others)]
        vanishing: list[Event] = [self.two_servers_vanish, self.vanished_servers_are_removed]
        aging: list[Event] = [self.keys_are_too_old, self.too_old_keys_are_replaced, self.too_old_keys_are_replaced]
        chains = [*([event] for event in (*stores, *others[:4])), vanishing, aging]
        order = [chain for chain in chains for _ in chain]
        self.random.shuffle(order)
        while aging in order[:EVENTS_BEFORE_KEYS_ARE_TOO_OLD]:
            self.random.shuffle(order)
        distance = DAYS_OF_A_YEAR / (len(order) + 1)
        for number, chain in enumerate(order, start=1):
            event = chain.pop(0)
            kill_at = self.random.randint(1, WRITES[event.__name__]) if event in killed else 0
            yield round((number + self.random.uniform(-DEVIATION, DEVIATION)) * distance), event, kill_at

    def the_year_begins(self) -> None:
        self.run("site")

    def a_server_comes(self) -> None:
        self.web["web3"] = self.next
        self.run("site")

    def an_onprem_server_comes(self) -> None:
        self.onprem.append("db4")
        self.run("site")

    def two_servers_leave(self) -> None:
        leaving = [self.random.choice([*self.web]), self.random.choice(self.onprem)]
        self.remove(leaving)
        self.take_out(*leaving)

    def two_servers_vanish(self) -> None:
        web, onprem = self.random.choice([*self.web]), self.random.choice(self.onprem)
        self.vanished = [self.web[web], f"{SERVER_USER}-{onprem}"]
        self.take_out(web, onprem)
        self.run("site")

    def vanished_servers_are_removed(self) -> None:
        self.remove(self.vanished)

    def a_key_leaks(self) -> None:
        host = self.random.choice(self.onprem)
        leaked = self.saved_key(f"{SERVER_USER}-{host}")
        self.leaked.add(leaked)
        revocation: dict[str, Any] = {"cwagent_rotate_now": True, "cwagent_revoke_old": True}
        self.run("rotate_keys", "--limit", f"localhost,{host}", **revocation)
        assert self.saved_key(f"{SERVER_USER}-{host}") != leaked

    def keys_are_too_old(self) -> None:
        before = self.saved_keys()
        self.too_old_keys_are_replaced()
        assert self.saved_keys() != before

    def too_old_keys_are_replaced(self) -> None:
        self.is_rotation_day = True
        self.run("rotate_keys", cwagent_key_max_age_days=MAX_KEY_AGE)

    def an_instance_stores_a_configuration(self) -> None:
        self.change_configuration("instance")

    def an_onprem_host_stores_a_configuration(self) -> None:
        self.change_configuration("onprem")

    def nothing_is_left_to_do(self) -> None:
        assert self.run("site").writes == []

    def the_installation_is_removed(self) -> None:
        self.run("teardown", cwagent_confirm="teardown")

    def change_configuration(self, storing: str) -> None:
        self.interval, self.storing = self.interval + 10, storing
        self.run("site")

    def remove(self, names: list[str]) -> None:
        self.run("remove_servers", cwagent_remove_servers=names, cwagent_confirm="remove_servers")

    def take_out(self, web: str, onprem: str) -> None:
        """Take servers out of the inventory."""
        del self.web[web]
        self.onprem.remove(onprem)

    # -- Runs --

    @property
    def config(self) -> dict[str, Any]:
        return {"agent": {"metrics_collection_interval": self.interval}, "metrics": {"metrics_collected": {"mem": {}}}}

    def run(self, playbook: str, *arguments: str, **variables: Any) -> Play:
        """Run a playbook, after the same run was killed if it is to be."""
        groups: dict[str, dict[str, Any]] = {
            "ec2_servers": {host: self.controller.instance_host(each) for host, each in self.web.items()},
            "ec2_admin": {"admin1": self.controller.instance_host(self.admin)},
            "onprem_servers": {host: {} for host in self.onprem},
            "onprem_admin": {"ops1": {}},
        }
        inventory = self.controller.inventory(groups)
        given: dict[str, Any] = {
            "cwagent_config_file": str(self.controller.file("agent.json", self.config)),
            "cwagent_key_store_directory": str(self.controller.credentials),
            "cwagent_region": self.aws.region,
            "cwagent_store_config_from": self.storing,
            **variables,
        }
        if self.kill_at:
            fault = Fault(self.random.choice((Kind.KILL_BEFORE, Kind.KILL_AFTER)), writes=True, nth=self.kill_at)
            self.history.append(f"{playbook} ({fault.kind} write {fault.nth})")
            self.controller.kill(fault, inventory, playbook, *arguments, env=self.keys, **given)
            self.kill_at = 0
        self.history.append(playbook)
        play = self.controller.play(inventory, playbook, *arguments, env=self.keys, **given)
        assert play.code == 0, f"{self.history}: {play.output}"
        self.plays_of_the_day.append(play)
        self.latest_site = [play] if playbook == "site" else self.latest_site
        return play

    # -- Days --

    def live(self, event: Event, day: int, kill_at: int = 0) -> None:
        """Live a day: the servers use their access keys, something happens, and they get their new access keys."""
        self.aws.shift_clock((day - self.day) * DAY)
        self.day, self.kill_at = day, kill_at
        self.is_rotation_day, self.plays_of_the_day = False, []
        self.history.append(f"day {day}: {event.__name__}")
        for user in self.users & self.saved.keys() - {ADMIN_USER}:
            self.send_metric(user)
        event()
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
        text = (self.controller.credentials / f"{user}{SUFFIX}").read_text()
        return dict(re.findall(r"^(\w+) = (.+)$", text, re.MULTILINE))

    def saved_key(self, user: str) -> str:
        return self.read_file(user)["aws_access_key_id"]

    def saved_keys(self) -> dict[str, str]:
        users = [path.name.removesuffix(SUFFIX) for path in self.controller.credentials.glob(f"*{SUFFIX}")]
        return {user: self.saved_key(user) for user in users}

    @property
    def users(self) -> set[str]:
        """The users that a host of the inventory has."""
        return {ADMIN_USER, *(f"{SERVER_USER}-{host}" for host in self.onprem)}

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
        with_host = {*self.users, self.admin, *self.web.values()}
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
        profiles = {**dict.fromkeys(self.web.values(), SERVER_ROLE), self.admin: self.admin_profile}
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


@pytest.mark.parametrize("seed", [3])
def test_a_year_leaves_nothing_without_a_host_that_no_run_names(controller: Controller, seed: int) -> None:
    year = Year(controller, random.Random(seed))  # noqa: S311
    year.live(year.the_year_begins, day=0)
    for day, event, kill_at in year.plan():
        year.live(event, day, kill_at)
    year.live(year.nothing_is_left_to_do, DAYS_OF_A_YEAR)
    year.kill_at = year.random.randint(1, WRITES[year.the_installation_is_removed.__name__])
    year.the_installation_is_removed()
    assert differences(year.past, year.state()) == []
