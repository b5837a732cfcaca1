"""Modules report what keeps them from AWS in a message that a person can act on, whatever they do otherwise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from emulator import NO_METADATA, Emulator
from emulator.snapshot import snapshot
from harness import ADMIN_ROLE, SERVER_ROLE, allow, create_role, create_user
from in_process import run_module

SHORT = {"wait_timeout": 5}
Options = Mapping[str, Any]
MODULES: dict[str, Callable[[str], Options]] = {
    "iam_role": lambda _instance: {"name": "R", "access": "server", **SHORT},
    "iam_user": lambda _instance: {"name": ["u"], "access": "server", **SHORT},
    "instance_profile": lambda instance: {"name": SERVER_ROLE, "instance_ids": [instance], **SHORT},
    "application_roles": lambda _instance: SHORT,
    "hybrid_nodes": lambda _instance: {"nodes_by_region": {"": ["web"]}, **SHORT},
    "admin_window": lambda instance: {"role": ADMIN_ROLE, "state": "open", "instance_id": instance, **SHORT},
    "restore": lambda instance: {
        "admin_role_name": ADMIN_ROLE,
        "server_profile": SERVER_ROLE,
        "instances": {"": [instance]},
        "check_instances": True,
        **SHORT,
    },
    "config_parameter": lambda _instance: {"name": "AmazonCloudWatch-x", "config": {"agent": {}}},
    "access_info": lambda _instance: {},
    "account_info": lambda instance: {"server_filters": {"instance-id": [instance]}},
    "server_info": lambda instance: {"servers": [{"host": "web", "instance_id": instance, "region": "eu-central-1"}]},
    "restore: checked": lambda instance: {"state": "checked", "instances": {"": [instance]}, "users": ["u"]},
}
"""By module that calls AWS, and by state where it has two tasks, its options for an instance."""
NO_REGION = ("No AWS region is set", "requires a region", "You must specify a region")
UNKNOWN = {"AWS_ACCESS_KEY_ID": "AKIAUNKNOWN", "AWS_SECRET_ACCESS_KEY": "-"}
DOWN = {"kind": "error", "code": "Unavailable", "message": "down", "status": 400, "times": 1000}

pytestmark = pytest.mark.filterwarnings("ignore:Fetching the endpoint_resolver component:DeprecationWarning")


def run_all(aws: Emulator, *faults: Mapping[str, Any], **how: Any) -> dict[str, dict[str, Any]]:
    """The result of each module in an account that has its roles. Assert that none of them wrote anything."""
    for name in (SERVER_ROLE, ADMIN_ROLE):
        create_role(aws, name)
    [instance] = aws.instances(1)
    before = snapshot(aws)
    results = {
        module: run_module(aws, f"cwagent_{module.partition(':')[0]}", *faults, **{**options(instance), **how})
        for module, options in MODULES.items()
    }
    assert snapshot(aws) == before
    return results


def test_a_denied_module_names_what_is_missing(enforcing: Emulator) -> None:
    nobody = create_user(enforcing, "nobody", allow("sts:GetCallerIdentity"))
    for module, result in run_all(enforcing, credentials=nobody).items():
        said = " ".join([result.get("msg", ""), *result["warnings"], str(result.get("servers"))])
        assert "lacks " in said, (module, result)


def test_a_module_passes_on_what_aws_says(enforcing: Emulator) -> None:
    for module, result in run_all(enforcing, DOWN).items():
        assert result["failed"], module
        assert "(Unavailable)" in result["msg"] or "Unavailable: down" in result["msg"], (module, result["msg"])


@pytest.fixture
def no_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither metadata nor files have credentials or a region."""
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", NO_METADATA)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.mark.usefixtures("no_account")
@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"access_key": None, "secret_key": None}, ["no AWS credentials were found", "AWS_PROFILE"]),
        ({"credentials": UNKNOWN}, ["AWS did not accept the credentials in use"]),
    ],
    ids=["none", "unknown"],
)
def test_a_module_without_valid_credentials_says_so(enforcing: Emulator, given: Options, words: list[str]) -> None:
    for module, result in run_all(enforcing, **given).items():
        assert result["failed"], module
        assert [each for each in words if each not in result["msg"]] == [], (module, result["msg"])


@pytest.mark.usefixtures("no_account")
def test_a_module_without_a_region_asks_for_one(enforcing: Emulator) -> None:
    results = run_all(enforcing, region=None)
    assert not results.pop("server_info")["failed"], "each of its servers has one"
    for module, result in results.items():
        assert any(words in result["msg"] for words in NO_REGION), (module, result)
