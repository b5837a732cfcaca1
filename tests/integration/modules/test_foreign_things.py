"""Things of others, in the account and on the hosts, stay as they were after jobs in any order, cut off or concurrent.

``CWAGENT_SEEDS`` is the number of random sequences for each kind of account (default: 1).
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from emulator import Emulator, Fault, Kind
from emulator.snapshot import associated_profiles, snapshot
from faults.evaluation import differences
from harness import (
    ADMIN_POLICY,
    ADMIN_ROLE,
    ADMIN_USER,
    PARAMETER,
    RESTORE_TAG,
    SERVER_POLICY,
    SERVER_ROLE,
    SERVER_USER,
    allow,
    associate,
    create_role,
    create_user,
    execute_module,
)
from in_process import on_instance, run_module, transact

from ansible_collections.cwagent.iam.plugins.module_utils._keys.saved_key import from_file, to_file

Result = dict[str, Any]
SEEDS = range(int(os.environ.get("CWAGENT_SEEDS", "1")))
JOBS = ("site", "site", "store_config", "restore", "rotate_keys", "open_window", "teardown")
DAY = 24 * 3600
SHORT, LONG = 5, 120
"""The timeouts of jobs that may end in any way, and of those that must succeed."""
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
    """An account with a past, with an EC2 server, an admin instance and an on-premises server to manage.

    :param taken: whether others have the names of the admin role and the admin user.
    """

    aws: Emulator
    home: Path
    taken: bool
    random: random.Random
    timeout: int = SHORT
    instances: dict[str, str] = field(default_factory=dict)
    roles: set[str] = field(default_factory=set)
    users: dict[str, set[str]] = field(default_factory=dict)

    @property
    def keys(self) -> Path:
        """The folder of the saved keys on the controller."""
        return self.home / "keys"

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
        ssm = self.aws.client("ssm")
        for name in ("AmazonCloudWatch-theirs", "/cwagent/credentials/ops", "/cwagent/credentials/ops.pending"):
            ssm.put_parameter(Name=name, Value=json.dumps({"owner": "ops"}), Type="String")
        self._make_files()

    def plant_tags(self) -> None:
        """Tag instances as an attacker does. A run waits some seconds for the records of such tags."""
        planted = [self.instances[name] for name in ("web1", "planted", "bare")]
        self.aws.client("ec2").create_tags(Resources=planted, Tags=[{"Key": RESTORE_TAG, "Value": "Power"}])

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
        self.keys.mkdir(mode=0o700)
        self.host.mkdir()
        for path in self._files_with_sections():
            path.write_text(SECTIONS)
            path.chmod(0o600)
        (self.keys / "notes.txt").write_text("theirs")
        (self.host / "common-config.toml").write_text(COMMON_CONFIG)

    @property
    def host(self) -> Path:
        """The folder that is the on-premises server."""
        return self.home / "db1"

    def _files_with_sections(self) -> list[Path]:
        return [self.keys / "ops.credentials", self.keys / f"{ONPREM_USER}.credentials", self.host / "credentials"]

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
        notes, config = self.keys / "notes.txt", self.host / "common-config.toml"
        lines = [line for line in COMMON_CONFIG.splitlines() if line not in config.read_text().splitlines()]
        modes = {str(path): oct(path.stat().st_mode) for path in (*files, *{path.parent for path in files})}
        return {"sections": files, "notes": notes.read_text(), "lost lines of the configuration": lines, "modes": modes}

    # -- Jobs, which do the same as the playbooks --

    def run(self, module: str, **options: Any) -> Result:
        return run_module(self.aws, f"cwagent_{module}", wait_timeout=self.timeout, **options)

    def clean_up(self, window: str = "closed", **more: Any) -> Result:
        managed = {"": [self.instances["admin1"], self.instances["web1"]]}
        names = {"admin_role_name": ADMIN_ROLE, "server_profile": SERVER_ROLE, "admin_users": [ADMIN_USER]}
        return self.run("restore", window_state=window, instances=managed, **names, **more)

    def manage_users(self, **more: Any) -> Iterator[Result]:
        saved_key = {"key_store_directory": str(self.keys)}
        state: dict[str, Any] = {"saved_key": saved_key, **more}
        is_present = more.get("state") != "absent"
        for name, access in ((ONPREM_USER, "server"), (ADMIN_USER, "admin")):
            of_user = {"access": access, "admin_window": access == "admin"} if is_present else {}
            yield self.run("iam_user", name=[name], **of_user, **state)

    def manage_profiles(self, **more: Any) -> Result:
        names = [self.instances[name] for name in ("admin1", "web1")]
        return self.run("instance_profile", name=SERVER_ROLE, instance_ids=names, **more)

    def manage_file(self, state: str) -> Result:
        """Bring the saved key to the on-premises server, or remove it there."""
        key = from_file((self.keys / f"{ONPREM_USER}.credentials").read_text(), SECTION)
        content = {"content": to_file(key, SECTION)} if key and state == "present" else {}
        paths = {"path": str(self.host / "credentials"), "common_config": str(self.host / "common-config.toml")}
        return execute_module(self.aws, "cwagent_credentials_file", {"state": state, **paths, **content})

    def store(self, state: str = "stored") -> Result:
        """Store another configuration than before, or open the window."""
        config = json.dumps({"agent": {"metrics_collection_interval": self.random.randint(10, 86400)}})
        name = f"agent{self.random.random()}.json"
        (self.home / name).write_text(config)
        configs = {"configs": [{"name": PARAMETER, "file": name}]} if state == "stored" else {}
        names = ("wait_timeout", "identity_timeout", "permission_timeout")
        options: dict[str, Any] = {
            **configs,
            "state": state,
            "instance_id": self.instances["admin1"],
            **dict.fromkeys(names, self.timeout),
        }
        send = on_instance(self.aws, self.instances["admin1"])
        return transact(self.aws, "cwagent_store_config", send, folder=self.home, **options)

    def steps_of(self, job: str) -> Iterator[Result]:
        """The results of the steps of a job, each when the ones before it have succeeded."""
        if job == "site":
            yield self.clean_up(check_instances=True, adopt_existing=False)
            yield self.run("iam_role", name=SERVER_ROLE, access="server")
            yield self.manage_profiles(on_other_profile="keep")
            yield self.run("iam_role", name=ADMIN_ROLE, access="admin", admin_window=True)
            yield from self.manage_users()
            yield self.store()
            yield self.manage_file("present")
        elif job == "store_config":
            yield self.store()
        elif job == "open_window":
            yield self.store("opened")
        elif job == "restore":
            yield self.clean_up()
        elif job == "rotate_keys":
            yield from self.manage_users(key_max_age_days=30, key_delete_after_days=7)
            yield self.manage_file("present")
        else:
            yield self.clean_up("absent")
            yield self.run("iam_role", name=ADMIN_ROLE, state="absent")
            yield self.manage_profiles(state="absent")
            yield self.run("iam_role", name=SERVER_ROLE, state="absent")
            yield self.run("application_roles")
            yield from self.manage_users(state="absent")
            yield self.run("config_parameter", name=PARAMETER, state="absent")
            yield self.manage_file("absent")

    def do(self, job: str) -> str:
        """Do a job until a step fails. Return the message of the failed step, or an empty text."""
        return next((result["msg"] for result in self.steps_of(job) if result["failed"]), "")

    def step(self, job: str) -> str:
        """Do a job, with another one at once or alone, cut off or not. Return a description."""
        choose = self.random
        chosen = [job, choose.choice(JOBS)] if choose.random() < 0.25 else [job]
        if "rotate_keys" in chosen:
            self.aws.shift_clock(20 * DAY)
        cut_off = choose.randint(1, 12) if choose.random() < 0.5 else 0
        if cut_off:
            # As after a kill, no later write takes effect. The last one may have had an effect without an answer.
            if choose.random() < 0.5:
                self.aws.arm(Fault(Kind.LOSE_ANSWER, writes=True, nth=cut_off))
                cut_off += 1
            self.aws.arm(Fault(Kind.DENY, writes=True, nth=cut_off, times=10**6))
        with ThreadPoolExecutor(len(chosen)) as pool:
            messages = list(pool.map(self.do, chosen))
        self.aws.disarm()
        return f"{' and '.join(chosen)}, cut off at write {cut_off or 'none'} -> {messages}"


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


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("taken", [False, True], ids=["admin names are free", "admin names are taken"])
def test_things_of_others_stay_as_they_were(enforcing: Emulator, tmp_path: Path, taken: bool, seed: int) -> None:
    account = Account(enforcing, tmp_path, taken, random.Random(f"{taken} {seed}"))  # noqa: S311  it chooses cases
    account.make_past()
    before = account.foreign()
    history: list[str] = []
    for job in account.random.sample(JOBS, len(JOBS)):
        history.append(account.step(job))
        assert differences(before, account.foreign()) == [], history
    # Nothing that these jobs left behind stops a later one.
    account.timeout = LONG
    if not taken:
        account.plant_tags()
        before = account.foreign()
    assert account.do("restore") == "", history
    assert differences(before, account.foreign()) == [], history
    enforcing.client("ec2").delete_tags(Resources=[*account.instances.values()], Tags=[{"Key": RESTORE_TAG}])
    before = account.foreign()
    since, message = enforcing.mark(), account.do("site")
    assert differences(before, account.foreign()) == [], history
    if taken:
        assert "exists and was not created by this collection" in message
        assert enforcing.writes(since) == []
    else:
        assert message == "", history
        assert "PutParameter" in [call.action for call in enforcing.writes(since)]
