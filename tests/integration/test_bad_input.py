"""Invalid input of site.yml is reported in one clear error, before the first write."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from emulator import NO_METADATA
from emulator.snapshot import snapshot
from harness import (
    Controller,
    Play,
)

CONFIG = json.dumps({"agent": {}})
TOO_LARGE = json.dumps({"agent": {"x": "y" * 8192}})


@dataclass(frozen=True)
class Site:
    """An account with instances, and valid input. Each test makes one thing invalid."""

    controller: Controller
    instances: list[str]
    bare_python: Path

    def groups(self) -> dict[str, dict[str, Any]]:
        first, second = (self.controller.instance_host(instance) for instance in self.instances)
        return {"ec2_servers": {"web1": first}, "ec2_admin": {"admin1": second}, "onprem_servers": {"db1": {}}}

    def play(self, groups: dict[str, dict[str, Any]], env: dict[str, str] | None = None, **variables: Any) -> Play:
        valid = {"cwagent_config_file": "agent.json", "cwagent_credentials_dir": str(self.controller.credentials)}
        return self.controller.play(self.controller.inventory(groups), "site", env=env, **{**valid, **variables})


@pytest.fixture(scope="module")
def site(shared_controller: Controller) -> Site:
    first, second = shared_controller.aws.instances(2)
    shared_controller.file("agent.json", CONFIG)
    shared_controller.file("text.json", "{agent: yes}")
    shared_controller.file("list.json", "[]")
    shared_controller.file("section.json", '{"agnet": {}}')
    shared_controller.file("large.json", TOO_LARGE)
    shared_controller.file("a file", "")
    # The interpreter of the tests without its packages
    bare = shared_controller.file("bare-python", f'#!/bin/sh\nexec "{sys.executable}" -S "$@"\n')
    bare.chmod(0o755)
    return Site(shared_controller, [first, second], bare)


VARIABLES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "policy": ({"cwagent_ssm_policy": "AdministratorAccess"}, ["AmazonSSMManagedInstanceCore", "AdministratorAccess"]),
    "prefix": ({"cwagent_parameter_name": "linux"}, ["'linux'", "AmazonCloudWatch-"]),
    "parameter characters": ({"cwagent_parameter_name": "AmazonCloudWatch-a b"}, ["'AmazonCloudWatch-a b'"]),
    "invalid JSON": ({"cwagent_config_file": "text.json"}, ["text.json is not JSON", "line 1 column 2"]),
    "not an object": ({"cwagent_config_file": "list.json"}, ["list.json is not an agent configuration"]),
    "unknown section": ({"cwagent_config_file": "section.json"}, ["agnet"]),
    "over 8 KB": ({"cwagent_config_file": "large.json"}, ["bytes when minified", "8192"]),
    "no file": ({"cwagent_config_file": "nothing.json"}, ["nothing.json"]),
    "role name": ({"cwagent_server_role_name": "a b"}, ["'a b' is not a valid role name"]),
    "path": ({"cwagent_iam_path": "monitoring"}, ["'monitoring' is not a valid IAM path"]),
    "boundary": ({"cwagent_permissions_boundary": "not an arn"}, ["permissions_boundary: 'not an arn'"]),
    "partition": (
        {"cwagent_permissions_boundary": "arn:aws-cn:iam::aws:policy/ReadOnlyAccess"},
        ["belongs to partition aws-cn"],
    ),
    "tag": ({"cwagent_tags": {"aws:x": "y"}}, ["tag 'aws:x'"]),
    "folder": ({"cwagent_credentials_dir": "a file/in it"}, ["a file is not a folder"]),
    "minutes": ({"store_config_window_minutes": 721}, ["must be between 1 and 720 minutes, not 721"]),
    "users": ({"cwagent_onprem_users": "everyone"}, ["everyone", "per_host"]),
}


@pytest.mark.parametrize("case", VARIABLES)
def test_invalid_variable(site: Site, case: str) -> None:
    variables, words = VARIABLES[case]
    folder = variables.get("cwagent_credentials_dir")
    values = {**variables, **({"cwagent_credentials_dir": str(site.controller.home / folder)} if folder else {})}
    assert_one_error(site, site.play(site.groups(), **values), words)


def assert_one_error(site: Site, play: Play, words: list[str]) -> None:
    """Assert that a play failed with one message that contains all words, and wrote nothing."""
    play.assert_failed()
    assert len(play.failures) == 1, play.output
    assert [word for word in words if word not in play.message] == [], play.message
    assert play.writes == []
    assert not site.controller.credentials.exists()


def invalid_groups(site: Site, case: str) -> tuple[dict[str, dict[str, Any]], list[str]]:
    groups = site.groups()
    server, admin = groups["ec2_servers"]["web1"], groups["ec2_admin"]["admin1"]
    [terminated] = site.controller.aws.instances(1)
    site.controller.aws.client("ec2").terminate_instances(InstanceIds=[terminated])  # EC2 removes them after a while
    cases: dict[str, tuple[dict[str, dict[str, Any]], list[str]]] = {
        "no admin": ({"ec2_admin": {}}, ["cwagent_ec2_admin must have exactly one host", "but has none"]),
        "two admins": (
            {"ec2_admin": {"admin1": admin, "web1": server}},
            ["cwagent_ec2_admin must have exactly one host", "but has admin1, web1"],
        ),
        "two on-premises admins": ({"onprem_admin": {"ops1": {}, "ops2": {}}}, ["at most one host", "ops1, ops2"]),
        "unknown": (
            {"ec2_servers": {"web1": {**server, "instance_id": "i-00000000000000000"}}},
            ["Instance i-00000000000000000 does not exist"],
        ),
        "malformed": (
            {"ec2_servers": {"web1": {**server, "instance_id": "i-xyz"}}},
            ["'i-xyz' is not a valid EC2 instance ID"],
        ),
        "terminated": (
            {"ec2_servers": {"web1": {**server, "instance_id": terminated}}},
            [f"Instance {terminated} is terminated"],
        ),
        "no id": ({"ec2_servers": {"web1": {"cwagent_region": "eu-central-1"}}}, ["web1", "instance_id"]),
        "user name": ({"onprem_servers": {"db1": {"cwagent_user_name": "a b"}}}, ["'a b' is not a valid user name"]),
        "no boto3 on the instance": (
            {"ec2_admin": {"admin1": {**admin, "ansible_python_interpreter": str(site.bare_python)}}},
            ["boto3 is not installed for", "on this host", "pip install boto3", "ansible_python_interpreter"],
        ),
    }
    changed, words = cases[case]
    return {**groups, **changed}, words


HOSTS = (
    *("no admin", "two admins", "two on-premises admins", "unknown", "malformed", "terminated", "no id", "user name"),
    "no boto3 on the instance",
)


@pytest.mark.parametrize("case", HOSTS)
def test_invalid_host(site: Site, case: str) -> None:
    groups, words = invalid_groups(site, case)
    assert_one_error(site, site.play(groups), words)


def test_missing_credentials(site: Site) -> None:
    env = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_EC2_METADATA_SERVICE_ENDPOINT": NO_METADATA}
    assert_one_error(site, site.play(site.groups(), env=env), ["no AWS credentials were found", "AWS_PROFILE"])


def test_missing_region(site: Site) -> None:
    groups = site.groups()
    for hosts in groups.values():
        for variables in hosts.values():
            variables.pop("cwagent_region", None)
    play = site.play(groups, env={"AWS_REGION": "", "AWS_DEFAULT_REGION": ""})
    assert_one_error(site, play, ["requires a region and none was found", "environment variables"])


def test_wrong_credentials(site: Site) -> None:
    play = site.play(site.groups(), env={"AWS_ACCESS_KEY_ID": "AKIAUNKNOWN"})
    assert_one_error(site, play, ["AWS did not accept the credentials in use"])


def test_unknown_access(site: Site) -> None:
    """site.yml has no such variable; this is for users of the module or of a role alone."""
    playbook = [
        {
            "hosts": "localhost",
            "gather_facts": False,
            "tasks": [{"cwagent.iam.cwagent_iam_role": {"name": "R", "access": "root"}}],
        }
    ]
    play = site.controller.play(site.controller.inventory({}), site.controller.file("access.yml", playbook))
    assert_one_error(site, play, ["value of access must be one of: server, admin", "root"])


def test_survey_answers_may_be_strings_and_blank(site: Site) -> None:
    """Runs last, because it is the only test that writes."""
    blank = ("ssm_policy", "parameter_name", "permissions_boundary", "iam_path", "server_role_name", "configs")
    answers = {f"cwagent_{name}": "" for name in blank}
    play = site.play(
        site.groups(),
        **answers,
        cwagent_tags="team=ops,stage=test",
        cwagent_replace_instance_profile="true",
        cwagent_onprem_users="",
    ).assert_succeeded()
    assert play.changed_tasks
    after = snapshot(site.controller.aws)
    assert after["roles"]["CloudWatchAgentServerRole"]["tags"] == {"team": "ops", "stage": "test"}
    assert after["users"]["CloudWatchAgentServerUser-db1"]["tags"] == {"team": "ops", "stage": "test"}
    assert after["parameters"][site.controller.aws.region] == {"AmazonCloudWatch-linux": {"agent": {}}}
