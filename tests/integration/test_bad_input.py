"""What is wrong with the input of site.yml is said in one clear error, before the first write."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from harness import NOWHERE, Play, Workplace, account

CONFIG = json.dumps({"agent": {}})
TOO_LARGE = json.dumps({"agent": {"x": "y" * 8192}})


@dataclass(frozen=True)
class Site:
    """An account with instances, and what is right; each test spoils one thing."""

    at: Workplace
    instances: list[str]
    bare_python: Path

    def groups(self) -> dict[str, dict[str, Any]]:
        first, second = (self.at.on_instance(instance) for instance in self.instances)
        return {"ec2_servers": {"web1": first}, "ec2_admin": {"admin1": second}, "onprem_servers": {"db1": {}}}

    def play(self, groups: dict[str, dict[str, Any]], env: dict[str, str] | None = None, **variables: Any) -> Play:
        given = {"cwagent_config_file": "agent.json", "cwagent_credentials_dir": str(self.at.credentials)}
        return self.at.play(self.at.inventory(groups), "site", env=env, **{**given, **variables})


@pytest.fixture(scope="module")
def site(shared: Workplace) -> Site:
    first, second = shared.aws.instances(2)
    shared.file("agent.json", CONFIG)
    shared.file("text.json", "{agent: yes}")
    shared.file("list.json", "[]")
    shared.file("section.json", '{"agnet": {}}')
    shared.file("large.json", TOO_LARGE)
    shared.file("a file", "")
    # The interpreter of the tests without the packages they have
    bare = shared.file("bare-python", f'#!/bin/sh\nexec "{sys.executable}" -S "$@"\n')
    bare.chmod(0o755)
    return Site(shared, [first, second], bare)


VARIABLES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "policy": ({"cwagent_ssm_policy": "AdministratorAccess"}, ["AmazonSSMManagedInstanceCore", "AdministratorAccess"]),
    "prefix": ({"cwagent_parameter_name": "linux"}, ["'linux'", "AmazonCloudWatch-"]),
    "parameter characters": ({"cwagent_parameter_name": "AmazonCloudWatch-a b"}, ["'AmazonCloudWatch-a b'"]),
    "no JSON": ({"cwagent_config_file": "text.json"}, ["text.json is not JSON", "line 1 column 2"]),
    "no object": ({"cwagent_config_file": "list.json"}, ["list.json is not an agent configuration"]),
    "unknown section": ({"cwagent_config_file": "section.json"}, ["agnet"]),
    "over 8 KB": ({"cwagent_config_file": "large.json"}, ["bytes when minified", "8192"]),
    "no file": ({"cwagent_config_file": "nothing.json"}, ["nothing.json"]),
    "role name": ({"cwagent_server_role_name": "a b"}, ["'a b' is no valid role name"]),
    "path": ({"cwagent_iam_path": "monitoring"}, ["'monitoring' is no valid IAM path"]),
    "boundary": ({"cwagent_permissions_boundary": "none of yours"}, ["permissions_boundary: 'none of yours'"]),
    "partition": (
        {"cwagent_permissions_boundary": "arn:aws-cn:iam::aws:policy/ReadOnlyAccess"},
        ["belongs to partition aws-cn"],
    ),
    "tag": ({"cwagent_tags": {"aws:x": "y"}}, ["tag 'aws:x'"]),
    "folder": ({"cwagent_credentials_dir": "a file/in it"}, ["a file is not a folder"]),
    "minutes": ({"store_config_window_minutes": 721}, ["open for 1 to 720 minutes, not 721"]),
    "users": ({"cwagent_onprem_users": "everyone"}, ["everyone", "per_host"]),
}


@pytest.mark.parametrize("case", VARIABLES)
def test_variables(site: Site, case: str) -> None:
    variables, words = VARIABLES[case]
    folder = variables.get("cwagent_credentials_dir")
    given = {**variables, **({"cwagent_credentials_dir": str(site.at.home / folder)} if folder else {})}
    one_clear_error(site, site.play(site.groups(), **given), words)


def one_clear_error(site: Site, play: Play, words: list[str]) -> None:
    play.failed()
    assert len(play.failures) == 1, play.output
    assert [word for word in words if word not in play.message] == [], play.message
    assert play.writes == []
    assert not site.at.credentials.exists()


def spoiled(site: Site, case: str) -> tuple[dict[str, dict[str, Any]], list[str]]:
    groups = site.groups()
    server, admin = groups["ec2_servers"]["web1"], groups["ec2_admin"]["admin1"]
    [terminated] = site.at.aws.instances(1)
    site.at.aws.client("ec2").terminate_instances(InstanceIds=[terminated])  # EC2 forgets them after a while
    cases: dict[str, tuple[dict[str, dict[str, Any]], list[str]]] = {
        "no admin": ({"ec2_admin": {}}, ["cwagent_ec2_admin needs exactly one host", "and has none"]),
        "two admins": (
            {"ec2_admin": {"admin1": admin, "web1": server}},
            ["cwagent_ec2_admin needs exactly one host", "and has admin1, web1"],
        ),
        "two on-premises admins": ({"onprem_admin": {"ops1": {}, "ops2": {}}}, ["one host at most", "ops1, ops2"]),
        "unknown": (
            {"ec2_servers": {"web1": {**server, "instance_id": "i-00000000000000000"}}},
            ["Instance i-00000000000000000 does not exist"],
        ),
        "malformed": (
            {"ec2_servers": {"web1": {**server, "instance_id": "i-xyz"}}},
            ["'i-xyz' is no EC2 instance id"],
        ),
        "terminated": (
            {"ec2_servers": {"web1": {**server, "instance_id": terminated}}},
            [f"Instance {terminated} is terminated"],
        ),
        "no id": ({"ec2_servers": {"web1": {"cwagent_region": "eu-central-1"}}}, ["web1", "instance_id"]),
        "user name": ({"onprem_servers": {"db1": {"cwagent_user_name": "a b"}}}, ["'a b' is no valid user name"]),
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
def test_hosts(site: Site, case: str) -> None:
    groups, words = spoiled(site, case)
    one_clear_error(site, site.play(groups), words)


def test_no_credentials(site: Site) -> None:
    env = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_EC2_METADATA_SERVICE_ENDPOINT": NOWHERE}
    one_clear_error(site, site.play(site.groups(), env=env), ["no AWS credentials were found", "AWS_PROFILE"])


def test_no_region(site: Site) -> None:
    groups = site.groups()
    for hosts in groups.values():
        for variables in hosts.values():
            variables.pop("cwagent_region", None)
    play = site.play(groups, env={"AWS_REGION": "", "AWS_DEFAULT_REGION": ""})
    one_clear_error(site, play, ["requires a region and none was found", "environment variables"])


def test_wrong_credentials(site: Site) -> None:
    play = site.play(site.groups(), env={"AWS_ACCESS_KEY_ID": "AKIAUNKNOWN"})
    one_clear_error(site, play, ["AWS did not accept the credentials in use"])


def test_unknown_access(site: Site) -> None:
    """Nothing that site.yml asks for; for who uses the module or a role alone."""
    playbook = [
        {
            "hosts": "localhost",
            "gather_facts": False,
            "tasks": [{"cwagent.iam.cwagent_iam_role": {"name": "R", "access": "root"}}],
        }
    ]
    play = site.at.play(site.at.inventory({}), site.at.file("access.yml", playbook))
    one_clear_error(site, play, ["value of access must be one of: server, admin", "root"])


def test_answers_of_a_survey_are_strings_and_blanks(site: Site) -> None:
    """Last, as the only one that writes."""
    blank = ("ssm_policy", "parameter_name", "permissions_boundary", "iam_path", "server_role_name", "configs")
    answers = {f"cwagent_{name}": "" for name in blank}
    play = site.play(
        site.groups(),
        **answers,
        cwagent_tags="team=ops,stage=test",
        cwagent_replace_instance_profile="true",
        cwagent_onprem_users="",
    ).succeeded()
    assert play.changes
    held = account(site.at.aws)
    assert held["roles"]["CloudWatchAgentServerRole"]["tags"] == {"team": "ops", "stage": "test"}
    assert held["users"]["CloudWatchAgentServerUser-db1"]["tags"] == {"team": "ops", "stage": "test"}
    assert held["parameters"][site.at.aws.region] == {"AmazonCloudWatch-linux": {"agent": {}}}
