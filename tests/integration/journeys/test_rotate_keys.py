"""The playbook that rotates access keys, with keys that are saved in AWS and delivered to their hosts."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from emulator.snapshot import snapshot
from harness import (
    ADMIN_USER,
    SERVER_USER,
    Controller,
    Play,
)

DAY = 24 * 3600
PREFIX = "/cwagent/credentials/"
USER = f"{SERVER_USER}-db1"


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


class Site:
    """One on-premises server, which is a folder, one on-premises admin, and further servers by name."""

    def __init__(self, controller: Controller, store: str, **more: dict[str, Any]) -> None:
        self.controller, self.store = controller, store
        self.file = controller.home / "db1" / "credentials"
        self.variables: dict[str, Any] = {
            "cwagent_key_store": store,
            "cwagent_deliver_keys": "true",
            "cwagent_key_max_age_days": "30",
            "cwagent_region": controller.aws.region,
        }
        servers = {name: {**self._host_variables(name), **variables} for name, variables in {"db1": {}, **more}.items()}
        self.inventory = controller.inventory({"onprem_servers": servers, "onprem_admin": {"ops1": {}}})

    def _host_variables(self, host: str) -> dict[str, Any]:
        """The variables of a host whose files are in a folder."""
        return {
            "onprem_credentials_file": str(self.controller.home / host / "credentials"),
            "onprem_credentials_common_config": str(self.controller.home / host / "common-config.toml"),
            "ansible_become": False,
        }

    def play(self, playbook: str, *arguments: str, env: Mapping[str, str] | None = None, **more: Any) -> Play:
        variables = {**self.variables, **more}
        return self.controller.play(self.inventory, playbook, *arguments, env=env, **variables).assert_succeeded()

    def saved(self, user: str = USER) -> dict[str, str]:
        if self.store == "parameter_store":
            ssm = self.controller.aws.client("ssm")
            text = ssm.get_parameter(Name=PREFIX + user, WithDecryption=True)["Parameter"]["Value"]
        else:
            text = self.controller.aws.client("secretsmanager").get_secret_value(SecretId=PREFIX + user)["SecretString"]
        found: dict[str, str] = json.loads(text)
        return found

    def send_metric(self) -> None:
        """Send a metric with the delivered key."""
        lines = dict(line.split(" = ") for line in self.file.read_text().splitlines()[1:])
        keys = {"AccessKeyId": lines["aws_access_key_id"], "SecretAccessKey": lines["aws_secret_access_key"]}
        cloudwatch = self.controller.aws.client("cloudwatch", credentials=keys)
        cloudwatch.put_metric_data(Namespace="CWAgent", MetricData=[{"MetricName": "up", "Value": 1}])

    def phases(self, play: Play) -> str:
        """The report on all users, on one line."""
        return " ".join(play.report)


def test_a_key_is_created_rotated_and_deleted(controller: Controller) -> None:
    site = Site(controller, "secrets_manager")
    with watch_processes() as processes:
        created = site.play("site", "-vvvv")
    site.send_metric()
    first = site.saved()
    assert site.play("site").writes == []

    controller.aws.shift_clock(29 * DAY)
    assert site.phases(site.play("rotate_keys")) == "Nothing to do. 2 of 2 access keys are current."
    controller.aws.shift_clock(2 * DAY)
    site.send_metric()
    before = snapshot(controller.aws)
    predicted = site.play("rotate_keys", "--check")
    assert snapshot(controller.aws) == before
    assert f"{USER}: a new access key would be created, saved and delivered" in site.phases(predicted)
    replaced = site.play("rotate_keys", "--diff", "-vvvv")
    assert predicted.changed_tasks == replaced.changed_tasks
    assert f"{USER}: a new access key was created, saved and delivered to the server" in site.phases(replaced)
    second = site.saved()
    assert second["aws_access_key_id"] != first["aws_access_key_id"]

    assert f"{USER}: waiting until the server uses the new access key" in site.phases(site.play("rotate_keys"))
    controller.aws.shift_clock(DAY)
    site.send_metric()
    assert f"{USER}: the old access key was deactivated" in site.phases(site.play("rotate_keys"))
    site.send_metric()
    assert f"{USER}: the old access key is kept, deactivated" in site.phases(site.play("rotate_keys"))
    controller.aws.shift_clock(7 * DAY)
    site.send_metric()
    assert f"{USER}: the old access key was deleted" in site.phases(site.play("rotate_keys"))
    assert snapshot(controller.aws)["users"][USER]["keys"] == {second["aws_access_key_id"]: "Active"}

    # The admin user has not used its new key. According to the record of the saved key, the replaced key is ours.
    assert len(snapshot(controller.aws)["users"][ADMIN_USER]["keys"]) == 2
    removed = site.play("teardown", cwagent_confirm="teardown")
    assert snapshot(controller.aws)["users"] == {}
    with pytest.raises(ClientError):
        site.saved()
    assert not site.file.exists()
    plays = (created, predicted, replaced, removed)
    for secret in (first["aws_secret_access_key"], second["aws_secret_access_key"]):
        assert not any(secret in play.output for play in plays)
    assert any(text.startswith(b"/bin/sh\0-c\0") for text in processes), "no command on a server was seen"
    assert not any(first["aws_secret_access_key"].encode() in text for text in processes)


NOW: dict[str, Any] = {"cwagent_rotate_now": "true"}
LEAK: dict[str, Any] = {**NOW, "cwagent_revoke_old": "true"}


def test_a_leaked_key_is_replaced_and_revoked_on_the_hosts_of_the_limit(controller: Controller) -> None:
    """The hosts db2 and db3 share a user, and db3 is outside the limit."""
    site = Site(controller, "parameter_store", db2={"cwagent_user_name": "shared"}, db3={"cwagent_user_name": "shared"})
    site.play("site")
    site.send_metric()
    first, shared = site.saved(), site.saved("shared")
    users = snapshot(controller.aws)["users"]

    predicted = site.play("rotate_keys", "--check", "--limit", "localhost,db1", **LEAK)
    assert snapshot(controller.aws)["users"] == users
    replaced = site.play("rotate_keys", "--limit", "localhost,db1", **LEAK)
    assert predicted.changed_tasks == replaced.changed_tasks
    assert "Until the server has the new one, its agent cannot send." in replaced.words
    assert [line.split(" access key")[0] for line in replaced.report if line.startswith("- ")] == [
        "- create an",
        "- deactivate",
        "- write the",
    ]
    second = site.saved()
    assert {**users, USER: None} == {**snapshot(controller.aws)["users"], USER: None}
    assert snapshot(controller.aws)["users"][USER]["keys"] == {
        first["aws_access_key_id"]: "Inactive",
        second["aws_access_key_id"]: "Active",
    }
    site.send_metric()
    assert site.play("rotate_keys", "--limit", "localhost,db1", **LEAK).writes == []

    both = site.play("rotate_keys", "--limit", "localhost,db2", **LEAK)
    assert site.saved("shared") != shared
    assert "The limit leaves out db3. Nothing was changed there." in both.report


def test_all_keys_are_replaced_now_and_the_old_ones_stay_active(controller: Controller) -> None:
    """An inventory without a limit of the age, which is for the audit, is no reason to replace keys."""
    site = Site(controller, "parameter_store")
    no_limit = {**site.variables, "cwagent_key_max_age_days": 0}
    controller.play(site.inventory, "site", **no_limit).assert_succeeded()
    saved = {user: site.saved(user)["aws_access_key_id"] for user in (USER, ADMIN_USER)}
    refused = controller.play(site.inventory, "rotate_keys", **no_limit).assert_failed()
    assert "To replace all keys now, set cwagent_rotate_now to true. Nothing was changed." in refused.message
    assert refused.calls == []

    before = snapshot(controller.aws)
    predicted = site.play("rotate_keys", "--check", **NOW)
    assert snapshot(controller.aws) == before
    replaced = site.play("rotate_keys", **NOW)
    assert predicted.changed_tasks == replaced.changed_tasks
    new = {user: site.saved(user)["aws_access_key_id"] for user in saved}
    # The key of the admin user is active only while its window is open.
    assert {user: found["keys"] for user, found in snapshot(controller.aws)["users"].items()} == {
        USER: {saved[USER]: "Active", new[USER]: "Active"},
        ADMIN_USER: {saved[ADMIN_USER]: "Inactive", new[ADMIN_USER]: "Inactive"},
    }
    assert {*saved.values()}.isdisjoint(new.values())
    assert site.play("rotate_keys", **NOW).writes == []


def test_a_missing_user_is_created_as_by_site(controller: Controller) -> None:
    site = Site(controller, "parameter_store")
    site.variables |= {
        "cwagent_iam_path": "/monitoring/",
        "cwagent_permissions_boundary": "arn:aws:iam::aws:policy/PowerUserAccess",
        "cwagent_tags": {"team": "observability"},
        "onprem_server_managed_policies": ["arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"],
    }
    site.play("rotate_keys", "--limit", "localhost,ops1")
    assert list(snapshot(controller.aws)["users"]) == [ADMIN_USER]
    site.play("rotate_keys", cwagent_deliver_keys=False)
    assert not site.file.exists()
    assert site.play("site").writes == []
    assert site.file.exists()


@pytest.mark.parametrize(("role", "user"), [("onprem_server", ADMIN_USER), ("onprem_admin", USER)])
def test_a_run_fails_where_a_role_refuses_its_options(controller: Controller, role: str, user: str) -> None:
    """By then, no result could report the failure. The users of the other role are managed."""
    site = Site(controller, "parameter_store")
    wrong = {f"{role}_managed_policies": "soon", "cwagent_deliver_keys": False}
    refused = controller.play(site.inventory, "rotate_keys", **{**site.variables, **wrong}).assert_failed()
    assert "managed_policies: 'soon' is not the ARN of a managed policy" in refused.message
    assert list(snapshot(controller.aws)["users"]) == [user]


def test_a_failed_rotation_of_one_user_does_not_affect_other_hosts(controller: Controller) -> None:
    """A second user is in another region and managed by another module call, together with the one that fails."""
    site = Site(controller, "parameter_store", db2={"cwagent_region": "us-east-1"}, db3={"cwagent_region": "us-east-1"})
    del site.variables["cwagent_region"]
    site.play("site")
    first, iam = site.saved(), controller.aws.client("iam")
    [key] = iam.list_access_keys(UserName=f"{SERVER_USER}-db2")["AccessKeyMetadata"]
    iam.update_access_key(UserName=key["UserName"], AccessKeyId=key["AccessKeyId"], Status="Inactive")
    controller.aws.shift_clock(31 * DAY)
    refused = controller.play(site.inventory, "rotate_keys", **site.variables).assert_failed()
    assert f"access key {key['AccessKeyId']} of user '{SERVER_USER}-db2'" in refused.message
    assert f"{USER}: a new access key was created, saved and delivered to the server" in site.phases(refused)
    assert site.saved()["aws_access_key_id"] != first["aws_access_key_id"]
    assert site.saved()["aws_access_key_id"] in site.file.read_text()
    created = [line.split("'")[1] for line in refused.report if line.startswith("- create")]
    assert created == [USER, f"{SERVER_USER}-db3", ADMIN_USER], refused.report
