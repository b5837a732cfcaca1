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
    """One on-premises server, which is a folder, and one administrator."""

    def __init__(self, at: Workplace, store: str) -> None:
        self.at, self.store = at, store
        self.file = at.home / "host" / "credentials"
        self.variables = {
            "cwagent_credentials_store": store,
            "cwagent_deliver_credentials": "true",
            "cwagent_max_key_age": "30",
            "cwagent_region": at.aws.region,
        }
        host = {
            "onprem_credentials_file": str(self.file),
            "onprem_credentials_common_config": str(at.home / "host" / "common-config.toml"),
            "onprem_credentials_owner": "",
            "onprem_credentials_group": "",
            "ansible_become": False,
        }
        self.inventory = at.inventory({"onprem_servers": {"db1": host}, "onprem_admin": {"ops1": {}}})

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
