"""remove_servers.yml: takes servers out by name, asks first, and touches nothing of the servers that stay."""

from __future__ import annotations

import json
import shutil
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from emulator import Emulator, Fault, Kind
from emulator.snapshot import associated_profiles, snapshot
from harness import (
    SERVER_ROLE,
    SERVER_USER,
    Controller,
    Play,
    assert_complete_report,
    assert_no_writes,
    create_user,
)

from ansible_collections.cwagent.iam.plugins.module_utils._credentials.saved_key import (
    SavedKey,
    saved_key_description,
    to_values,
)

CONFIRMED: dict[str, Any] = {"cwagent_confirm": "remove_servers"}
USER, OTHER_USER = f"{SERVER_USER}-db1", f"{SERVER_USER}-db2"
UNKNOWN_INSTANCE = "i-0123456789abcdef9"
UNREACHABLE: dict[str, Any] = {"ansible_connection": "ssh", "ansible_host": "192.0.2.1", "ansible_timeout": 1}
REMEDY = "If their servers have left, cwagent.iam.remove_servers with these names removes them."
TAKE_OUT = "Take web1, db1 out of the inventory: cwagent.iam.site would manage it again."


@dataclass
class Fleet:
    """An account after site.yml: two instances and the admin instance, and two servers on premises."""

    controller: Controller

    def __post_init__(self) -> None:
        self.admin, self.web, self.other = self.controller.aws.instances(3)
        self.inventory = self.inventory_of("web1", "web2", "db1", "db2")

    @property
    def file(self) -> Path:
        """The delivered access key of db1."""
        return self.controller.home / "db1" / "credentials"

    def inventory_of(self, *hosts: str, **variables: Any) -> Path:
        """An inventory with some of the servers. :param variables: of db1."""
        folder = self.controller.home / "db1"
        db1 = {
            "cwagent_deliver_keys": True,
            "onprem_credentials_file": str(folder / "credentials"),
            "onprem_credentials_common_config": str(folder / "common-config.toml"),
            "cwagent_key_file_owner": "",
            "cwagent_key_file_group": "",
            "ansible_become": False,
            **variables,
        }
        instances = {"web1": self.web, "web2": self.other}
        ec2 = {host: self.controller.instance_host(each) for host, each in instances.items() if host in hosts}
        groups: dict[str, dict[str, Any]] = {
            "ec2_servers": ec2,
            "ec2_admin": {"admin1": self.controller.instance_host(self.admin)},
            "onprem_servers": {host: each for host, each in {"db1": db1, "db2": {}}.items() if host in hosts},
            "onprem_admin": {"ops1": {}},
        }
        return self.controller.inventory(groups, f"{'-'.join(hosts)}-{len(variables)}.yml")

    def play(self, playbook: str, *arguments: str, **variables: Any) -> Play:
        keys: dict[str, Any] = {"cwagent_key_store_directory": str(self.controller.credentials)}
        return self.controller.play(self.inventory, playbook, *arguments, **keys, **variables)

    def remove(self, *names: str, arguments: tuple[str, ...] = (), **variables: Any) -> Play:
        return self.play("remove_servers", *arguments, cwagent_remove_servers=list(names), **CONFIRMED, **variables)

    def state(self) -> dict[str, Any]:
        return {
            **snapshot(self.controller.aws),
            "files": sorted(path.name for path in self.controller.credentials.iterdir()),
        }

    def assert_removed(self, before: dict[str, Any]) -> None:
        """Assert that nothing of web1 and db1 is left, and that nothing else has changed."""
        after = self.state()
        assert USER not in after["users"]
        assert after["files"] == [name for name in before["files"] if USER not in name]
        expected = {self.web: None, self.other: SERVER_ROLE, self.admin: SERVER_ROLE}
        assert associated_profiles(self.controller.aws) == expected
        before["users"].pop(USER)
        assert {key: after[key] for key in ("users", "roles", "instance_profiles")} == {
            key: before[key] for key in ("users", "roles", "instance_profiles")
        }


@pytest.fixture(scope="module")
def installed() -> dict[Path, Fleet]:
    """The fleet after its first site.yml, by the folder with a copy of its files."""
    return {}


@pytest.fixture
def fleet(controller: Controller, installed: dict[Path, Fleet], tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """A fleet after site.yml, which the first test runs. The other tests go back to that state."""
    if not installed:
        fleet = Fleet(controller)
        fleet.play("site").assert_succeeded()
        controller.aws.save("saved")
        files = tmp_path_factory.mktemp("installed")
        shutil.copytree(controller.home, files, dirs_exist_ok=True)
        installed[files] = copy(fleet)
        return fleet
    [(files, first)] = installed.items()
    controller.aws.restore("saved")
    shutil.copytree(files, controller.home, dirs_exist_ok=True)
    fleet = copy(first)
    fleet.controller = controller
    return fleet


def test_hosts_of_the_inventory_are_removed(fleet: Fleet) -> None:
    before = fleet.state()
    assert fleet.file.exists()
    with assert_no_writes(fleet.controller.aws):
        asked = [
            fleet.play("remove_servers", cwagent_remove_servers=["web1", "db1"], cwagent_confirm=answer).assert_failed()
            for answer in ("", "teardown")
        ]
        predicted = fleet.remove("web1", "db1", arguments=("--check", "--diff")).assert_succeeded()
    named = f"Users: {USER}. Hybrid servers: none. Instances: {fleet.web}. To confirm, set cwagent_confirm to "
    assert [each.message for each in asked if named not in each.message] == []
    assert fleet.file.exists()
    removed = fleet.remove("web1", "db1").assert_succeeded()
    assert predicted.changed_tasks == removed.changed_tasks
    assert_complete_report(removed)
    assert TAKE_OUT in " ".join(removed.report)
    fleet.assert_removed(before)
    assert not fleet.file.exists()
    again = fleet.remove("web1", "db1").assert_succeeded()
    assert again.report[0] == "Nothing to do."
    assert again.changed_tasks == []


def test_things_without_a_host_are_listed(fleet: Fleet) -> None:
    fleet.inventory = fleet.inventory_of("web2", "db2")
    user = f"Users of this collection that no host of this inventory has: {USER}."
    instance = f"are not in this inventory and have instance profile '{SERVER_ROLE}': {fleet.web}."
    remedy = REMEDY
    site = fleet.play("site").assert_succeeded()
    assert site.report[0] == "Nothing to do."
    assert f"{user} Instances in {fleet.controller.aws.region} that {instance} {remedy}" in " ".join(site.report)
    assert f"{user} {remedy}" in " ".join(fleet.play("rotate_keys").assert_succeeded().report)
    file = fleet.controller.home / "audit.json"
    fleet.play("audit", cwagent_report_files=str(file), cwagent_audit_fail_at="none").assert_succeeded()
    assert f"User '{USER}' was made for a server, and no host of the inventory has it." in file.read_text()
    assert f"User '{OTHER_USER}' was made" not in file.read_text()
    fleet.remove(fleet.web).assert_succeeded()
    removed = fleet.play("teardown", cwagent_confirm="teardown").assert_succeeded()
    assert f"{user} {remedy}" in " ".join(removed.report)


def test_servers_that_no_host_has_are_removed_by_user_and_instance(fleet: Fleet) -> None:
    before = fleet.state()
    fleet.inventory = fleet.inventory_of("web2", "db2")
    removed = fleet.remove(USER, fleet.web).assert_succeeded()
    assert_complete_report(removed)
    fleet.assert_removed(before)
    assert f"There is no user '{USER}'." in fleet.remove(USER, fleet.web).assert_succeeded().words


def test_a_host_that_left_the_inventory_is_removed_by_its_name(fleet: Fleet) -> None:
    before = fleet.state()
    fleet.inventory = fleet.inventory_of("web2", "db2")
    with assert_no_writes(fleet.controller.aws):
        asked = fleet.play("remove_servers", cwagent_remove_servers=["db1"]).assert_failed()
        predicted = fleet.remove("db1", fleet.web, arguments=("--check",)).assert_succeeded()
    assert f"Users: db1 ({USER} if there is no such user). Hybrid servers: db1 (if it is registered)." in asked.message
    removed = fleet.remove("db1", fleet.web).assert_succeeded()
    assert predicted.changed_tasks == removed.changed_tasks
    assert_complete_report(removed)
    assert "There is no user" not in removed.words
    fleet.assert_removed(before)
    fleet.controller.aws.client("ec2").terminate_instances(InstanceIds=[fleet.web])
    again = fleet.remove("db1", fleet.web, UNKNOWN_INSTANCE).assert_succeeded()
    assert again.report[0] == "Nothing to do."
    assert f"there is no instance {UNKNOWN_INSTANCE} in this region and account" in again.words
    assert f"there is no instance {fleet.web}" not in again.words
    assert f"There is no user '{USER}'." in again.words


def test_a_name_means_a_user_rather_than_a_host_with_the_same_name(fleet: Fleet) -> None:
    create_user(fleet.controller.aws, "db1", policy="CloudWatchAgentServerPolicy")
    fleet.inventory = fleet.inventory_of("web2", "db2")
    with assert_no_writes(fleet.controller.aws):
        refused = fleet.remove("db1").assert_failed()
    assert "User 'db1' was not created by this collection, so it is not removed." in refused.message


def test_the_next_run_continues_where_one_was_interrupted(fleet: Fleet) -> None:
    before = fleet.state()
    for action in ("DisassociateIamInstanceProfile", "DeleteAccessKey", "DetachUserPolicy", "DeleteUser"):
        fleet.controller.aws.arm(Fault(Kind.DENY, action=action))
        fleet.remove("web1", "db1").assert_failed()
        fleet.controller.aws.disarm()
    fleet.remove("web1", "db1").assert_succeeded()
    fleet.assert_removed(before)
    assert not fleet.file.exists()


def test_a_host_that_cannot_be_reached_does_not_keep_its_user(fleet: Fleet) -> None:
    fleet.inventory = fleet.inventory_of("web1", "web2", "db1", "db2", **UNREACHABLE)
    removed = fleet.remove("db1").assert_succeeded()
    assert USER not in snapshot(fleet.controller.aws)["users"]
    assert removed.report[-1] == "The access key is still on db1, which could not be reached."


def test_users_of_others_are_refused(fleet: Fleet) -> None:
    create_user(fleet.controller.aws, "alice", policy="CloudWatchAgentServerPolicy")
    with assert_no_writes(fleet.controller.aws):
        refused = fleet.remove("alice", "db1").assert_failed()
        staying = fleet.remove("admin1").assert_failed()
    assert "User 'alice' was not created by this collection, so it is not removed." in refused.message
    assert "host admin1 is in the group cwagent_ec2_admin" in staying.message


# Saved keys in AWS whose user somebody deleted by hand

PREFIX = "/cwagent/credentials/"
LISTINGS = {"parameter_store": "ssm:DescribeParameters", "secrets_manager": "secretsmanager:ListSecrets"}
ALLOW = {
    "parameter_store": "Allow it as keys-in-parameter-store.json does, or ignore this.",
    "secrets_manager": "Allow it as keys-in-secrets-manager.json does, or ignore this.",
}
UNKNOWN = "It is not known whether access keys of users that no host has are saved in"


@dataclass
class SavedInAws:
    """Two servers on premises whose keys are saved in AWS. The server that stays is db2.

    :param region: the servers' region. The default is the controller's region.
    """

    controller: Controller
    store: str
    region: str = ""

    def __post_init__(self) -> None:
        own = {"cwagent_region": self.region} if self.region else {}
        self.inventory = self.controller.inventory({"onprem_servers": {"db1": own, "db2": own}})
        self.play("site").assert_succeeded()
        self.inventory = self.controller.inventory({"onprem_servers": {"db2": own}})

    def play(self, playbook: str, *arguments: str, **variables: Any) -> Play:
        keys: dict[str, Any] = {"cwagent_key_store": self.store}
        return self.controller.play(self.inventory, playbook, *arguments, **keys, **variables)

    def names(self) -> set[str]:
        """The names of all parameters or secrets."""
        if self.store == "parameter_store":
            return {each["Name"] for each in self.controller.aws.client("ssm").describe_parameters()["Parameters"]}
        return {each["Name"] for each in self.controller.aws.client("secretsmanager").list_secrets()["SecretList"]}

    def save_others(self) -> None:
        """Save values of others, and a key that was ours and is scheduled for deletion."""
        ssm, secrets = (self.controller.aws.client(service) for service in ("ssm", "secretsmanager"))
        ssm.put_parameter(Name=f"{PREFIX}of-others", Value="x", Type="SecureString")
        secrets.create_secret(Name=f"{PREFIX}of-others", SecretString="x")
        text = saved_key_description("AKIAIOSFODNN7EXAMPLE", "deleted")
        secrets.create_secret(Name=f"{PREFIX}deleted", SecretString="x", Description=text)
        secrets.delete_secret(SecretId=f"{PREFIX}deleted", RecoveryWindowInDays=7)


def delete_user(aws: Emulator, name: str) -> None:
    """Delete a user as somebody does by hand."""
    iam = aws.client("iam")
    for key in iam.list_access_keys(UserName=name)["AccessKeyMetadata"]:
        iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
    for policy in iam.list_attached_user_policies(UserName=name)["AttachedPolicies"]:
        iam.detach_user_policy(UserName=name, PolicyArn=policy["PolicyArn"])
    iam.delete_user(UserName=name)


@pytest.mark.parametrize("store", LISTINGS)
def test_a_saved_key_in_aws_whose_user_is_gone_is_named_and_removed(controller: Controller, store: str) -> None:
    aws, fleet = controller.aws, SavedInAws(controller, store)
    action = LISTINGS[store].partition(":")[2]
    delete_user(aws, USER)
    fleet.save_others()
    named, remedy = f"Saved access keys of users that do not exist: {aws.region}:{USER}.", REMEDY
    site = fleet.play("site").assert_succeeded()
    assert site.report[0] == "Nothing to do."
    assert " ".join(site.report).endswith(f" {named} {remedy}")
    assert [call.action for call in site.calls].count(action) == 1
    assert f"{named} {remedy}" in " ".join(fleet.play("rotate_keys").assert_succeeded().report)
    aws.arm(Fault(Kind.DENY, action=action))
    denied = fleet.play("site").assert_succeeded()
    aws.disarm()
    unknown = f"{UNKNOWN} {aws.region}: {LISTINGS[store]} is not allowed. {ALLOW[store]}"
    assert denied.report[0] == "Nothing to do."
    assert " ".join(denied.report).endswith(f" {unknown}")
    removed = fleet.play("remove_servers", cwagent_remove_servers=[USER], **CONFIRMED).assert_succeeded()
    assert_complete_report(removed)
    assert f"There is no user '{USER}'." in removed.words
    assert fleet.names() == {f"{PREFIX}{OTHER_USER}", f"{PREFIX}of-others"}
    teardown = fleet.play("teardown", cwagent_confirm="teardown").assert_succeeded()
    assert "no host" not in " ".join(teardown.report)
    assert fleet.names() == {f"{PREFIX}of-others"}


def test_the_named_saved_key_is_removed_in_a_region_that_no_host_has(controller: Controller) -> None:
    aws, gone = controller.aws, "gone"
    fleet = SavedInAws(controller, "parameter_store", "us-east-1")
    key_id, ssm = "AKIAIOSFODNN7EXAMPLE", aws.client("ssm")
    value, text = json.dumps(to_values(SavedKey(key_id, "secret"))), saved_key_description(key_id, gone)
    ssm.put_parameter(Name=f"{PREFIX}{gone}", Value=value, Type="SecureString", Description=text)
    name = f"{aws.region}:{gone}"
    named = f"Saved access keys of users that do not exist: {name}. {REMEDY}"
    assert named in " ".join(fleet.play("site").assert_succeeded().report)
    assert named in " ".join(fleet.play("rotate_keys", "--limit", "localhost,db2").assert_succeeded().report)
    fleet.play("remove_servers", cwagent_remove_servers=[name], **CONFIRMED).assert_succeeded()
    assert fleet.names() == set()
    ssm.put_parameter(Name=f"{PREFIX}{gone}", Value="{}", Type="SecureString", Description=text)
    kept = fleet.play("remove_servers", cwagent_remove_servers=[name], **CONFIRMED).assert_succeeded()
    assert f"SSM parameter {PREFIX}{gone} was not deleted, because it is not an access key." in kept.words


@pytest.mark.parametrize(
    ("playbook", "named"),
    [
        ("teardown", {"cwagent_confirm": "teardown"}),
        ("remove_servers", {**CONFIRMED, "cwagent_remove_servers": ["db1"]}),
    ],
)
def test_with_the_credentials_of_another_account_no_access_key_is_lost(
    controller: Controller, playbook: str, named: dict[str, Any]
) -> None:
    """The files on the controller and on the host are the only copies of the secret."""
    folder = controller.home / "db1"
    host: dict[str, Any] = {
        "cwagent_deliver_keys": True,
        "onprem_credentials_file": str(folder / "credentials"),
        "onprem_credentials_common_config": str(folder / "common-config.toml"),
        "ansible_become": False,
    }
    inventory = controller.inventory({"onprem_servers": {"db1": host}})
    keys: dict[str, Any] = {"cwagent_key_store_directory": str(controller.credentials)}
    controller.play(inventory, "site", **keys).assert_succeeded()
    files = {path: path.read_text() for path in (folder / "credentials", *controller.credentials.glob("*.credentials"))}
    assert len(files) == 2
    controller.aws.reset()  # an account without these users
    with assert_no_writes(controller.aws):
        refused = controller.play(inventory, playbook, **keys, **named).assert_failed()
    assert f"has the access key of user '{USER}', and this account has no such user." in refused.message
    assert {path: path.read_text() for path in files} == files
