"""The playbook that replaces access keys, with keys that are saved in AWS and brought to their hosts."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from harness import ADMIN_USER, SERVER_USER, Play, Workplace, account

DAY = 24 * 3600
PREFIX = "/cwagent/credentials/"
USER = f"{SERVER_USER}-db1"


@contextmanager
def watched() -> Iterator[set[bytes]]:
    """All that processes are started with meanwhile: their arguments and their environments."""
    seen: set[bytes] = set()
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.01):
            for process in Path("/proc").glob("[0-9]*"):
                for kind in ("cmdline", "environ"):
                    with suppress(OSError):  # ended meanwhile, or of somebody else
                        seen.add((process / kind).read_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    yield seen
    ended.set()
    watcher.join()


class Site:
    """One on-premises server, which is a folder, and one administrator; further hosts where they are named."""

    def __init__(self, at: Workplace, store: str, **more: dict[str, Any]) -> None:
        self.at, self.store = at, store
        self.file = at.home / "db1" / "credentials"
        self.variables = {
            "cwagent_credentials_store": store,
            "cwagent_deliver_credentials": "true",
            "cwagent_max_key_age": "30",
            "cwagent_region": at.aws.region,
        }
        servers = {name: {**self._folder(name), **variables} for name, variables in {"db1": {}, **more}.items()}
        self.inventory = at.inventory({"onprem_servers": servers, "onprem_admin": {"ops1": {}}})

    def _folder(self, host: str) -> dict[str, Any]:
        """The variables of a host that is a folder."""
        return {
            "onprem_credentials_file": str(self.at.home / host / "credentials"),
            "onprem_credentials_common_config": str(self.at.home / host / "common-config.toml"),
            "onprem_credentials_owner": "",
            "onprem_credentials_group": "",
            "ansible_become": False,
        }

    def play(self, playbook: str, *arguments: str, **more: Any) -> Play:
        return self.at.play(self.inventory, playbook, *arguments, **{**self.variables, **more}).succeeded()

    def saved(self, user: str = USER) -> dict[str, str]:
        if self.store == "ssm":
            ssm = self.at.aws.client("ssm")
            text = ssm.get_parameter(Name=PREFIX + user, WithDecryption=True)["Parameter"]["Value"]
        else:
            text = self.at.aws.client("secretsmanager").get_secret_value(SecretId=PREFIX + user)["SecretString"]
        found: dict[str, str] = json.loads(text)
        return found

    def works(self) -> None:
        """The server sends a metric with the key it was brought."""
        lines = dict(line.split(" = ") for line in self.file.read_text().splitlines()[1:])
        keys = {"AccessKeyId": lines["aws_access_key_id"], "SecretAccessKey": lines["aws_secret_access_key"]}
        cloudwatch = self.at.aws.client("cloudwatch", credentials=keys)
        cloudwatch.put_metric_data(Namespace="CWAgent", MetricData=[{"MetricName": "up", "Value": 1}])

    def phase(self, play: Play, user: str = USER) -> str:
        told = {each.task: each for each in play.results}["Tell how far the replacement has come"]
        shown = [item["msg"] for item in told.result["results"] if item["_ansible_item_label"].startswith(user)]
        return str(shown[0])


@pytest.mark.parametrize("store", ["secretsmanager"])
def test_from_nothing_to_a_replaced_key(workplace: Workplace, store: str) -> None:
    site = Site(workplace, store)
    with watched() as processes:
        made = site.play("site", "-vvvv")
    site.works()
    first = site.saved()
    assert site.play("site").writes == []

    workplace.aws.shift_clock(29 * DAY)
    assert "young enough" in site.phase(site.play("rotate_keys"))
    workplace.aws.shift_clock(2 * DAY)
    site.works()
    before = account(workplace.aws)
    predicted = site.play("rotate_keys", "--check")
    assert account(workplace.aws) == before
    replaced = site.play("rotate_keys", "--diff", "-vvvv")
    assert predicted.changes == replaced.changes
    assert "a new access key was made" in site.phase(replaced)
    second = site.saved()
    assert second["aws_access_key_id"] != first["aws_access_key_id"]

    assert "waits for the server" in site.phase(site.play("rotate_keys"))
    workplace.aws.shift_clock(DAY)
    site.works()
    assert "the old one was deactivated" in site.phase(site.play("rotate_keys"))
    site.works()
    assert "stays, deactivated" in site.phase(site.play("rotate_keys"))
    workplace.aws.shift_clock(7 * DAY)
    site.works()
    assert "the old access key was deleted" in site.phase(site.play("rotate_keys"))
    assert account(workplace.aws)["users"][USER]["keys"] == [second["aws_access_key_id"]]

    # The administrator has not used its new key, and nothing tells that the older one is not somebody else's.
    site.play("teardown", cwagent_teardown=True)
    assert list(account(workplace.aws)["users"]) == [ADMIN_USER]
    removed = site.play("teardown", cwagent_teardown=True, onprem_admin_exclusive=True)
    assert account(workplace.aws)["users"] == {}
    with pytest.raises(ClientError):
        site.saved()
    assert not site.file.exists()
    plays = (made, predicted, replaced, removed)
    for secret in (first["aws_secret_access_key"], second["aws_secret_access_key"]):
        assert not any(secret in play.output for play in plays)
    assert any(b"ansible-playbook" in text for text in processes)
    assert not any(first["aws_secret_access_key"].encode() in text for text in processes)


def test_a_user_that_is_not_there_yet_is_made_as_by_site(workplace: Workplace) -> None:
    site = Site(workplace, "ssm")
    site.variables |= {
        "cwagent_iam_path": "/monitoring/",
        "cwagent_permissions_boundary": "arn:aws:iam::aws:policy/PowerUserAccess",
        "cwagent_tags": {"team": "observability"},
        "onprem_server_managed_policies": ["arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"],
    }
    site.play("rotate_keys")
    assert site.play("site").writes == []


def test_one_user_that_cannot_be_helped_keeps_no_host_from_its_new_key(workplace: Workplace) -> None:
    """The user is another region's, so that the two come in modules of their own."""
    site = Site(workplace, "ssm", db2={"cwagent_region": "us-east-1"})
    del site.variables["cwagent_region"]
    site.play("site")
    first, iam = site.saved(), workplace.aws.client("iam")
    [key] = iam.list_access_keys(UserName=f"{SERVER_USER}-db2")["AccessKeyMetadata"]
    iam.update_access_key(UserName=key["UserName"], AccessKeyId=key["AccessKeyId"], Status="Inactive")
    workplace.aws.shift_clock(31 * DAY)
    refused = workplace.play(site.inventory, "rotate_keys", **site.variables).failed()
    assert f"access key {key['AccessKeyId']} of user '{SERVER_USER}-db2'" in refused.message
    assert "a new access key was made" in site.phase(refused)
    assert site.saved()["aws_access_key_id"] != first["aws_access_key_id"]
    assert site.saved()["aws_access_key_id"] in site.file.read_text()
