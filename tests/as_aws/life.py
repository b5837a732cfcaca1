"""One life of an installation: site.yml, again, a changed configuration, rotated keys, teardown, and site.yml again."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError
from emulator import AS_AWS, Behaviour, Emulator
from emulator.snapshot import configurations, snapshot
from faults.evaluation import most_admins_at_once, open_locks
from harness import PARAMETER, RESTORE_TAG, Controller, Play, associate, create_role, create_user

STORES = ("file", "parameter_store", "secrets_manager")
APP = "shop"
PREFIX = "/cwagent/credentials/"
MINUTE, DAY = 60, 24 * 3600
DEADLINE = 30
"""Seconds that each task may wait for AWS, whose delays here are seconds instead of minutes."""
SLACK = 60
"""Seconds that a task takes besides, on a machine with much to do."""
TIMEOUTS = {
    "cwagent_wait_timeout": DEADLINE,
    "cwagent_identity_timeout": DEADLINE,
    "cwagent_permission_timeout": DEADLINE,
}


@dataclass
class Life:
    """An account in which the behaviours are switched on, and the problems that were found in it.

    :param store: where access keys are saved.
    :param storing: the host that stores the configuration: ``instance`` or ``onprem``.
    """

    controller: Controller
    seed: int
    problems: list[str] = field(default_factory=list)
    plays: list[Play] = field(default_factory=list)
    ever_saved: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.store = STORES[self.seed % len(STORES)]
        self.storing = "onprem" if self.seed % 4 == 3 else "instance"  # over the seeds, with each store
        self.web, self.admin = self.aws.instances(2)
        create_role(self.aws, APP, "AmazonS3ReadOnlyAccess")
        associate(self.aws, self.admin, APP)
        self.environment = create_user(self.aws, "controller", policy="AdministratorAccess")
        self.inventory = self.controller.inventory(self._groups())
        self.aws.be_unkind(*AS_AWS, seed=self.seed)

    @property
    def aws(self) -> Emulator:
        return self.controller.aws

    def _groups(self) -> dict[str, dict[str, Any]]:
        return {
            "ec2_servers": {"web1": self.controller.instance_host(self.web)},
            "ec2_admin": {"admin1": self.controller.instance_host(self.admin)},
            "onprem_servers": {"db1": {}, "db2": {}},
            "onprem_admin": {"ops1": {}},
        }

    def live(self) -> None:
        """Run everything, and collect the problems."""
        self.run("site", interval=10)
        self.aws.shift_clock(MINUTE)
        again = self.run("site", interval=10)
        self.expect("the second run changes nothing", again.writes == [] and again.changed_tasks == [])
        self.run("site", interval=20)
        self.aws.shift_clock(31 * DAY)
        self.run("rotate_keys", interval=20)
        self.run("teardown", interval=20)
        self.expect("teardown deletes the configuration", configurations(self.aws) == {})
        users = set(snapshot(self.aws)["users"])
        self.expect(f"teardown deletes the users, and leaves {users}", users == {"controller"})
        self.run("site", interval=30)

    def run(self, playbook: str, interval: int) -> Play:
        """Run a playbook and inspect the account. :param interval: the collection interval of the configuration."""
        config = {"agent": {"metrics_collection_interval": interval}, "metrics": {"metrics_collected": {"mem": {}}}}
        variables: dict[str, Any] = {
            "cwagent_config_file": str(self.controller.file("agent.json", config)),
            "cwagent_key_store": self.store,
            "cwagent_key_store_directory": str(self.controller.credentials),
            "cwagent_store_config_from": self.storing,
            "cwagent_region": self.aws.region,
            "cwagent_key_max_age_days": 30,
            "cwagent_confirm": "teardown" if playbook == "teardown" else "",
            **TIMEOUTS,
        }
        play = self.controller.play(self.inventory, playbook, env=self.environment, **variables)
        self.plays.append(play)
        number = len(self.plays)
        found = []
        if play.code != 0:
            found.append(f"it failed: {play.message}")
        if "Traceback" in play.output:
            found.append("a traceback")
        if playbook == "site" and configurations(self.aws) != {PARAMETER: config}:
            found.append("the configuration is not stored")
        found += [f"{each.task} took {each.seconds:.0f} seconds" for each in slow_tasks(play)]
        found += self.find_leftovers()
        self.problems += [f"run {number}, {playbook}: {words}" for words in found]
        return play

    def expect(self, words: str, holds: bool) -> None:
        if not holds:
            self.problems.append(f"not so: {words}")

    def find_leftovers(self) -> list[str]:
        """Find everything that a run must not leave behind, whatever AWS did."""
        account = snapshot(self.aws)
        saved = {name: self._saved(name) for name in account["users"]}
        self.ever_saved |= {key for keys in saved.values() for key in keys}
        users = {
            name: {
                **user,
                "keys": [{"status": status, "saved": key in saved[name]} for key, status in user["keys"].items()],
            }
            for name, user in account["users"].items()
        }
        found = open_locks({"roles": account["roles"], "users": users, "instances": account["associations"]})
        orphans = [
            f"access key {key} of {name} is active and not saved"
            for name, user in account["users"].items()
            for key, status in user["keys"].items()
            if name != "controller" and status == "Active" and key not in self.ever_saved
        ]
        profile = account["associations"].get(self.admin)
        tags = account["instance_tags"][self.aws.region][self.admin]
        return [
            *found,
            *orphans,
            *([f"the admin instance has profile {profile}"] if profile != APP else []),
            *(["the admin instance has the restore tag"] if RESTORE_TAG in tags else []),
            *(["two instances had the admin profile"] if most_admins_at_once(self.plays[-1].calls) > 1 else []),
        ]

    def _saved(self, user: str) -> set[str]:
        """The ids of the access keys that are saved for a user."""
        text = ""
        if self.store == "file":
            path = self.controller.credentials / f"{user}.credentials"
            text = path.read_text() if path.exists() else ""
        elif self.store == "parameter_store":
            text = _found(self.aws.client("ssm").get_parameter, "Parameter", Name=PREFIX + user, WithDecryption=True)
        else:
            text = _found(self.aws.client("secretsmanager").get_secret_value, "SecretString", SecretId=PREFIX + user)
        return set(re.findall(r"\bAKIA\w{16}\b", text))

    @property
    def unkind_answers(self) -> Mapping[str, int]:
        """How often each behaviour answered instead of the backend."""
        found = [call.unkind for play in self.plays for call in play.calls if call.unkind]
        # The metadata service has no log.
        results = [each.result for play in self.plays for each in play.results]
        found += [Behaviour.UNAUTHORIZED_ROLES for result in results if result.get("role_refused")]
        return {behaviour: found.count(behaviour) for behaviour in sorted(set(found))}


def _found(read: Any, key: str, **arguments: Any) -> str:
    try:
        return json.dumps(read(**arguments)[key], default=str)
    except ClientError:
        return ""


def slow_tasks(play: Play) -> list[Any]:
    """The tasks that waited longer than their deadline."""
    return [each for each in play.results if each.seconds > DEADLINE + SLACK]


def live(aws: Emulator, folder: Path, seed: int) -> Life:
    """Live one life in an empty account. :param folder: the home of the controller."""
    aws.reset()
    life = Life(Controller(aws, folder), seed)
    life.live()
    return life
