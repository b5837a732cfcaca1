"""Things of others, in the account and on the hosts, stay as they were after runs in any order, killed or concurrent.

``CWAGENT_SEEDS`` is the number of random sequences for each kind of account (default: 1).
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from emulator import Emulator, Fault, Kind
from emulator.snapshot import associated_profiles, snapshot
from harness import (
    ADMIN_POLICY,
    ADMIN_ROLE,
    ADMIN_USER,
    PLAY_SECONDS,
    RESTORE_TAG,
    SERVER_POLICY,
    SERVER_ROLE,
    SERVER_USER,
    TIMEOUTS,
    Controller,
    allow,
    associate,
    create_role,
    create_user,
)

SEEDS = range(int(os.environ.get("CWAGENT_SEEDS", "1")))
PLAYBOOKS = ("site", "site", "store_config", "restore", "rotate_keys", "open_window", "teardown")
STEPS = 3
# How a run may end: done, a host failed, a host was unreachable, killed. A run that did not begin ends with 1 or 5.
ENDS = {0, 2, 4, -9}
DAY = 24 * 3600
# Of runs that may end in any way.
SHORT_TIMEOUTS = {
    "cwagent_identity_timeout": 8,
    "cwagent_wait_timeout": 8,
    "cwagent_permission_timeout": 4,
}
# If a principal has one of our names, its user wants it to have the agent's policies.
AGENT_POLICIES = {SERVER_POLICY, ADMIN_POLICY}
ONPREM_USER = f"{SERVER_USER}-db1"
SECTION = "AmazonCloudWatchAgent"
# A file of credentials as people have it: comments, upper case, spaces, sections that look like ours.
SECTIONS = """\
# Do not touch: backup job
[default]
AWS_Access_Key_Id=AKIAIOSFODNN7EXAMPLE  ; of the backup
aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY

[AmazonCloudWatchAgent-old]
   role_arn   =   arn:aws:iam::123456789012:role/old
"""
COMMON_CONFIG = """\
## by the network team
[proxy]
   http_proxy = "http://proxy:3128"
[ssl]
   ca_bundle_path = "/etc/ca.pem"
"""


@dataclass
class Account:
    """An account with a past, and an inventory with an EC2 server, an admin instance and on-premises hosts."""

    controller: Controller
    taken: bool
    random: random.Random
    instances: dict[str, str] = field(default_factory=dict)
    roles: set[str] = field(default_factory=set)
    users: dict[str, set[str]] = field(default_factory=dict)

    @property
    def aws(self) -> Emulator:
        return self.controller.aws

    def make_past(self) -> None:
        """Make things as people, other tools and an attacker leave them behind."""
        names = ("admin1", "web1", "planted", "bare", "shared")
        self.instances = dict(zip(names, self.aws.instances(len(names)), strict=True))
        self._make_role("shop", "AmazonS3ReadOnlyAccess", SERVER_POLICY)
        self._make_role("Power", "AdministratorAccess")
        self._make_role(SERVER_ROLE, SERVER_POLICY, "AmazonS3ReadOnlyAccess")
        self._make_user("ops", "Active", "Inactive", policy="ReadOnlyAccess")
        self._make_user(ONPREM_USER, "Active", policy=SERVER_POLICY)
        if self.taken:
            self._make_role(ADMIN_ROLE, ADMIN_POLICY)
            self._make_user(ADMIN_USER, "Active", "Inactive", policy=ADMIN_POLICY)
        for name, profile in (("web1", "shop"), ("planted", "shop"), ("shared", SERVER_ROLE)):
            associate(self.aws, self.instances[name], profile)
        ec2 = self.aws.client("ec2")
        ec2.create_tags(Resources=[*self.instances.values()], Tags=[{"Key": "Name", "Value": "by hand"}])
        planted = [self.instances[name] for name in ("web1", "planted", "bare")]
        ec2.create_tags(Resources=planted, Tags=[{"Key": RESTORE_TAG, "Value": "Power"}])
        ssm = self.aws.client("ssm")
        for name in ("AmazonCloudWatch-theirs", "/cwagent/credentials/ops", "/cwagent/credentials/ops.pending"):
            ssm.put_parameter(Name=name, Value=json.dumps({"owner": "ops"}), Type="String")
        self._make_files()

    def _make_role(self, name: str, *policies: str) -> None:
        iam = self.aws.client("iam")
        create_role(self.aws, name, *policies, services=("ec2.amazonaws.com", "lambda.amazonaws.com"))
        iam.update_role(RoleName=name, Description="made by hand", MaxSessionDuration=7200)
        iam.tag_role(RoleName=name, Tags=[{"Key": "team", "Value": "shop"}])
        document = json.dumps(allow("s3:GetObject"))
        iam.put_role_policy(RoleName=name, PolicyName="theirs", PolicyDocument=document)
        self.roles.add(name)

    def _make_user(self, name: str, *statuses: str, policy: str) -> None:
        iam = self.aws.client("iam")
        create_user(self.aws, name, allow("s3:GetObject"), policy)
        iam.tag_user(UserName=name, Tags=[{"Key": "team", "Value": "shop"}])
        for _ in statuses[1:]:
            iam.create_access_key(UserName=name)
        keys = [each["AccessKeyId"] for each in iam.list_access_keys(UserName=name)["AccessKeyMetadata"]]
        for key, status in zip(keys, statuses, strict=True):
            iam.update_access_key(UserName=name, AccessKeyId=key, Status=status)
        self.users[name] = set(keys)

    def _make_files(self) -> None:
        self.controller.credentials.mkdir(mode=0o700)
        self.host.mkdir()
        for path in self._files_with_sections():
            path.write_text(SECTIONS)
            path.chmod(0o600)
        (self.controller.credentials / "notes.txt").write_text("theirs")
        (self.host / "common-config.toml").write_text(COMMON_CONFIG)

    @property
    def host(self) -> Path:
        """The folder that is the on-premises server."""
        return self.controller.home / "db1"

    def _files_with_sections(self) -> list[Path]:
        folder = self.controller.credentials
        return [folder / "ops.credentials", folder / f"{ONPREM_USER}.credentials", self.host / "credentials"]

    def foreign(self) -> dict[str, Any]:
        """The things that others made, as data that can be compared."""
        found = snapshot(self.aws)
        outside = {name: each for name, each in self.instances.items() if name != "admin1"}
        tags, profiles = found["instance_tags"][self.aws.region], associated_profiles(self.aws)
        return {
            "roles": {name: without_agent_policies(found["roles"].get(name), name) for name in sorted(self.roles)},
            "users": {name: self._user(found["users"].get(name), name) for name in sorted(self.users)},
            "instance profiles": {name: found["instance_profiles"].get(name) for name in sorted(self.roles)},
            "customer policies": found["customer_policies"],
            "associations": {name: profiles[each] for name, each in outside.items()},
            "tags": {name: tags[each] for name, each in outside.items()},
            "tag of the admin instance": tags[self.instances["admin1"]]["Name"],
            "parameters": self._parameters(),
            "files": self._files(),
        }

    def _user(self, user: dict[str, Any] | None, name: str) -> dict[str, Any] | None:
        found = without_agent_policies(user, name)
        keys = {key: status for key, status in (found or {}).get("keys", {}).items() if key in self.users[name]}
        return found and {**found, "keys": keys}

    def _parameters(self) -> dict[str, tuple[str, int]]:
        ssm = self.aws.client("ssm")
        pages = ssm.get_paginator("describe_parameters").paginate()
        names = [each["Name"] for page in pages for each in page["Parameters"]]
        found = {name: ssm.get_parameter(Name=name)["Parameter"] for name in names}
        return {name: (each["Value"], each["Version"]) for name, each in found.items() if "owner" in each["Value"]}

    def _files(self) -> dict[str, Any]:
        """The files without the section that is ours, and the modes of files and folders that others made."""
        files = {path: theirs(path.read_text() if path.exists() else "") for path in self._files_with_sections()}
        notes, config = self.controller.credentials / "notes.txt", self.host / "common-config.toml"
        lines = [line for line in COMMON_CONFIG.splitlines() if line not in config.read_text().splitlines()]
        modes = {str(path): oct(path.stat().st_mode) for path in (*files, *{path.parent for path in files})}
        return {"sections": files, "notes": notes.read_text(), "lost lines of the configuration": lines, "modes": modes}

    # -- Runs --

    @property
    def inventory(self) -> Path:
        host = {
            "onprem_credentials_file": str(self.host / "credentials"),
            "onprem_credentials_common_config": str(self.host / "common-config.toml"),
            "ansible_become": False,
        }
        instances = {name: self.controller.instance_host(self.instances[name]) for name in ("admin1", "web1")}
        return self.controller.inventory(
            {
                "ec2_admin": {"admin1": instances["admin1"]},
                "ec2_servers": {"web1": instances["web1"]},
                "onprem_servers": {"db1": host},
                "onprem_admin": {"ops1": {}},
            }
        )

    def variables(self, config: Path, timeouts: Mapping[str, int]) -> dict[str, Any]:
        return {
            **timeouts,
            "cwagent_config_file": str(config),
            "cwagent_key_store_directory": str(self.controller.credentials),
            "cwagent_deliver_keys": True,
            "cwagent_key_max_age_days": "30",
            "cwagent_region": self.aws.region,
            "cwagent_confirm": "teardown",
        }

    def step(self, number: int) -> str:
        """Run one or two random playbooks at once, killed or not. Return a description of the step."""
        choose = self.random
        config = self.controller.file(f"agent{number}.json", {"agent": {"metrics_collection_interval": 10 + number}})
        chosen = [choose.choice(PLAYBOOKS) for _ in range(1 + (choose.random() < 0.25))]
        if "rotate_keys" in chosen:
            self.aws.shift_clock(20 * DAY)
        variables = self.variables(config, SHORT_TIMEOUTS)
        started = [self.controller.start(self.inventory, playbook, **variables) for playbook in chosen]
        killed = ""
        if choose.random() < 0.5:
            kind, nth = choose.choice((Kind.KILL_BEFORE, Kind.KILL_AFTER)), choose.randint(1, 12)
            # The first of the runs is killed, at its own call or at one of the other
            self.aws.arm(Fault(kind, writes=True, nth=nth, process=started[0].pid))
            killed = f" ({kind} write {nth})"
        codes = [each.wait(PLAY_SECONDS) for each in started]
        self.aws.disarm()
        assert set(codes) <= ENDS, f"{chosen} did not begin"
        return f"{' and '.join(chosen)}{killed} -> {codes}"


def without_agent_policies(principal: dict[str, Any] | None, name: str) -> dict[str, Any] | None:
    """A principal without the policies of the agent, which a user requests with its name."""
    if principal is None or name in ("shop", "Power", "ops"):
        return principal
    return {**principal, "policies": [each for each in principal["policies"] if each not in AGENT_POLICIES]}


def theirs(text: str) -> str:
    """The text of a credentials file without our section, with its empty lines at the end, and its comment."""
    before, found, ours = text.partition(f"[{SECTION}]\n")
    rest = ours.partition("\n[")[2]
    return (f"{before}[{rest}" if rest else before).rstrip("\n") if found else text.rstrip("\n")


def differences(before: Any, after: Any, where: str = "") -> list[str]:
    """Where two snapshots differ, in words."""
    if not (isinstance(before, Mapping) and isinstance(after, Mapping)):
        return [] if before == after else [f"{where}: {before!r} became {after!r}"]
    names = [*before, *(name for name in after if name not in before)]
    return [each for name in names for each in differences(before.get(name), after.get(name), f"{where}/{name}")]


@pytest.fixture
def account(controller: Controller) -> Callable[[bool, int], Account]:
    def make(taken: bool, seed: int) -> Account:
        made = Account(controller, taken, random.Random(f"{taken} {seed}"))  # noqa: S311
        made.make_past()
        return made

    return make


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("taken", [False, True], ids=["admin names are free", "admin names are taken"])
def test_things_of_others_stay_as_they_were(account: Callable[[bool, int], Account], taken: bool, seed: int) -> None:
    made = account(taken, seed)
    before = made.foreign()
    history: list[str] = []
    for number in range(STEPS):
        history.append(made.step(number))
        assert differences(before, made.foreign()) == [], history
    # Nothing that these runs left behind stops a later run.
    config = made.controller.file("last.json", {"agent": {"metrics_collection_interval": 60}})
    variables = made.variables(config, TIMEOUTS)
    made.controller.play(made.inventory, "restore", **variables).assert_succeeded()
    last = made.controller.play(made.inventory, "site", **variables)
    if taken:
        assert "exists and was not created by this collection" in last.assert_failed().message
        assert last.writes == []
    else:
        assert "PutParameter" in last.assert_succeeded().writes
    assert differences(before, made.foreign()) == [], history
