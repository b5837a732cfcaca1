"""Invalid input of site.yml is reported in one clear error, before the first write."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from emulator import NO_METADATA
from emulator.snapshot import snapshot
from guide import playbook_options
from harness import (
    Controller,
    Play,
)

from ansible_collections.cwagent.iam.plugins.plugin_utils._inputs.accounts import ACCOUNT_VARIABLES

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

    def play(
        self, groups: dict[str, dict[str, Any]], *arguments: str, env: dict[str, str] | None = None, **variables: Any
    ) -> Play:
        valid = {"cwagent_config_file": "agent.json", "cwagent_key_store_directory": str(self.controller.credentials)}
        inventory = self.controller.inventory(groups)
        return self.controller.play(inventory, "site", *arguments, env=env, **{**valid, **variables})


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
    bare = shared_controller.program("bare-python", f'#!/bin/sh\nexec "{sys.executable}" -S "$@"\n')
    return Site(shared_controller, [first, second], bare)


FILES: dict[str, tuple[str, list[str]]] = {
    "invalid JSON": ("text.json", ["1:2 "]),
    "not an object": ("list.json", ["1:1 $: ", "a list without entries, not an object"]),
    "unknown section": ("section.json", ["unknown section", "did you mean 'agent'"]),
    "over 8 KB": ("large.json", ["bytes when minified", "8192"]),
}


@pytest.mark.parametrize("case", FILES)
def test_invalid_configuration(site: Site, case: str) -> None:
    file, words = FILES[case]
    play = site.play(site.groups(), cwagent_config_file=file)
    refusal = ["AmazonCloudWatch-linux is not valid: ", f"/{file}: ", "Nothing was changed."]
    assert_one_error(site, play, [*refusal, *words])
    assert [word for word in words if play.words.count(word) < 2] == [], "they are in the lines above the message, too"
    [count] = re.findall(rf"/{file}: (\d+) problem", play.output)
    assert re.findall(r"There (?:is|are) (\d+) more", play.message) == ([str(int(count) - 1)] if count != "1" else [])


OPTIONS = playbook_options()
HOST_OF = {
    "cwagent_region": "web1",
    "cwagent_user_name": "db1",
    "cwagent_deliver_keys": "db2",
    "cwagent_admin_user_name": "ops1",
    "instance_id": "web1",
    "placement": "admin1",
    "cwagent_account": "web1",
    "cwagent_environment": "admin1",
    "cwagent_key_file_owner": "db1",
    "cwagent_key_file_group": "db2",
    **dict.fromkeys(ACCOUNT_VARIABLES, "shop"),
}
"""By variable that each host has for itself, the host that has an invalid value."""
TYPED = {name: option["type"] for name, option in OPTIONS.items()} | {"instance_id": "str", "placement": "dict"}
OF_TYPE = {kind: {name for name, each in TYPED.items() if each == kind} for kind in ("str", "dict")}
ACCOUNT = {"cwagent_account", "cwagent_account_aws_profile", "cwagent_account_external_id"}
ANY_TEXT = {
    *("cwagent_key_store_directory", "cwagent_key_store_kms_key_id", "cwagent_key_store_prefix"),
    *("cwagent_agent_schema", "cwagent_key_file_owner", "cwagent_key_file_group"),
    *ACCOUNT,
}
"""Variables that may have any text, as long as keys are saved in files."""
NAMES = {
    *("cwagent_server_role_name", "cwagent_admin_role_name", "cwagent_hybrid_role_name"),
    *("cwagent_user_name", "cwagent_admin_user_name"),
}
INVALID: dict[str, tuple[Any, set[str]]] = {
    "list": (["a"], {"placement", "cwagent_remove_servers", "cwagent_attach_to_roles"}),
    "mapping": ({"a": "b"}, OF_TYPE["dict"]),
    "number": (7.5, {*ANY_TEXT, *NAMES, "placement", "cwagent_account_session_name", "cwagent_attach_to_roles"}),
    "text": ("a b", {*ANY_TEXT, "placement"}),
    "list as text": ("[a, b]", {*ANY_TEXT, "placement", "cwagent_remove_servers", "cwagent_attach_to_roles"}),
    "unicode": ("größe", {*ANY_TEXT, "placement"}),
    "65 characters": ("x" * 65, {*ANY_TEXT, "placement"}),
    "undefined": ("{{ nope }}", set()),
    "undefined inside": (["{{ nope }}"], set()),
}
"""By kind, an invalid value, and the variables for which it is valid."""


@dataclass(frozen=True)
class Refused:
    """Runs in which every variable had an invalid value. The second run tests the variables of an account."""

    plays: tuple[Play, Play]

    @property
    def sentences(self) -> list[str]:
        message = " ".join(play.message for play in self.plays)
        return re.split(r"(?<=[.?]) (?=Host |cwagent_|There |No |The |'|Nothing )", message)


@pytest.fixture(scope="module")
def refused(site: Site) -> Callable[[str], Refused]:
    """The run with a kind of invalid value. All problems are reported at once, so that one run has all variables."""

    @cache
    def run(kind: str) -> Refused:
        value, valid = INVALID[kind]
        groups = {**site.groups(), "onprem_admin": {"ops1": {}}}
        groups["onprem_servers"]["db2"] = {}
        del groups["ec2_admin"]["admin1"]["cwagent_region"]  # it comes before placement
        hosts = {name: variables for members in groups.values() for name, variables in members.items()}
        invalid = {name: value for name in TYPED if name not in valid}
        if isinstance(value, str):
            invalid["cwagent_admin_role_name"] = f"{value}."  # differs from the other role's name
        account = {name: invalid.pop(name) for name in ACCOUNT_VARIABLES if name in invalid}
        for name in HOST_OF.keys() & invalid.keys():
            hosts[HOST_OF[name]][name] = invalid.pop(name)
        own = {"accounts": {"shop": account}, "onprem_servers": {"db1": {"cwagent_account": "shop"}}}
        return Refused((site.play(groups, **invalid), site.play(own, cwagent_config_file="")))

    return run


@pytest.mark.parametrize("kind", INVALID)
def test_all_invalid_variables_are_one_error_before_the_first_call(
    site: Site, refused: Callable[[str], Refused], kind: str
) -> None:
    for play in refused(kind).plays:
        assert_one_error(site, play, ["Nothing was changed."])
        assert play.calls == []


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, (_, valid) in INVALID.items() for name in TYPED if name not in valid]
)
def test_one_sentence_names_an_invalid_variable(refused: Callable[[str], Refused], kind: str, name: str) -> None:
    sentences = refused(kind).sentences
    found = [sentence for sentence in sentences if re.search(rf"\b{name}\b", sentence)]
    assert len(found) == 1, sentences
    assert name not in HOST_OF or found[0].startswith(f"Host {HOST_OF[name]}: ")
    if kind.startswith("undefined"):
        assert "nope" in found[0]


VALUES: dict[str, tuple[Any, list[str]]] = {
    "cwagent_ssm_policy": ("AdministratorAccess", ["AmazonSSMManagedInstanceCore", "AdministratorAccess"]),
    "cwagent_parameter_name": ("linux", ["'linux'", "AmazonCloudWatch-"]),
    "cwagent_config_file": ("nothing.json", ["there is no file nothing.json"]),
    "cwagent_server_role_name": ("a b", ["'a b' is not a valid role name"]),
    "cwagent_iam_path": ("monitoring", ["'monitoring' is not a valid IAM path"]),
    "cwagent_permissions_boundary": ("arn:aws-cn:iam::aws:policy/ReadOnlyAccess", ["belongs to partition aws-cn"]),
    "cwagent_tags": ({"aws:x": "y"}, ["tag 'aws:x'"]),
    "cwagent_key_store_directory": ("{home}/a file/in it", ["a file is not a folder"]),
    "cwagent_admin_window_minutes": (721, ["must be between 1 and 720 minutes, not 721"]),
    "cwagent_onprem_users": ("everyone", ["everyone", "per_host"]),
    "cwagent_key_max_age_days": (-1, ["cwagent_key_max_age_days", "-1"]),
    "cwagent_config_fil": ("agent.json", ["cwagent_config_fil is not a variable", "did you mean cwagent_config_file?"]),
}
HOST_VALUES: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    "no id": ("web1", {"instance_id": None}, ["Host web1: instance_id is not set"]),
    "number": ("web2", {"instance_id": 7}, ["Host web2: instance_id: '7' is not a valid EC2 instance ID"]),
    "malformed": ("web3", {"instance_id": "i-xyz"}, ["Host web3: instance_id: 'i-xyz' is not a valid EC2 instance ID"]),
    "empty": ("web4", {"instance_id": ""}, ["Host web4: instance_id is not set"]),
    "region": ("web5", {"cwagent_region": "Frankfurt"}, ["Host web5: cwagent_region: 'Frankfurt'", "eu-central-1"]),
    "user name": ("db2", {"cwagent_user_name": "a b"}, ["'a b' is not a valid user name", "cwagent_user_name"]),
    "long name": (
        "ip-10-0-12-34.eu-central-1.compute.internal",
        {},
        ["Host ip-10-0-12-34.eu-central-1.compute.internal: ", "64 characters", "Set cwagent_user_name"],
    ),
}


@pytest.fixture(scope="module")
def everything_wrong(site: Site) -> Play:
    """One run with all of ``VALUES`` and ``HOST_VALUES``, and two hosts that may store the configuration."""
    groups = site.groups()
    server, admin = groups["ec2_servers"]["web1"], groups["ec2_admin"]["admin1"]
    for host, variables, _ in HOST_VALUES.values():
        is_ec2 = host.startswith("web")
        groups["ec2_servers" if is_ec2 else "onprem_servers"][host] = {**(server if is_ec2 else {}), **variables}
    groups["ec2_admin"]["admin2"] = admin
    groups["onprem_admin"] = {"ops1": {}, "ops2": {}}
    home = str(site.controller.home)
    wrong: dict[str, Any] = {
        name: value.format(home=home) if isinstance(value, str) else value for name, (value, _) in VALUES.items()
    }
    return site.play(
        groups,
        **wrong,
    )


def test_all_that_is_wrong_is_one_error(site: Site, everything_wrong: Play) -> None:
    groups = ["cwagent_ec2_admin must have exactly one host", "has admin1, admin2", "at most one host", "ops1, ops2"]
    assert_one_error(site, everything_wrong, groups)
    assert everything_wrong.calls == []


@pytest.mark.parametrize("words", [words for _, words in VALUES.values()], ids=VALUES.keys())
def test_invalid_variable(everything_wrong: Play, words: list[str]) -> None:
    assert [word for word in words if word not in everything_wrong.message] == []


@pytest.mark.parametrize("words", [words for *_, words in HOST_VALUES.values()], ids=HOST_VALUES.keys())
def test_invalid_host_variable(everything_wrong: Play, words: list[str]) -> None:
    assert [word for word in words if word not in everything_wrong.message] == []


def test_an_account_repeats_the_first_problem_that_all_accounts_have(site: Site) -> None:
    account = {"cwagent_account_aws_profile": "x", "cwagent_account_server_filters": {"tag:agent": "yes"}}
    wrong: dict[str, Any] = {"cwagent_iam_path": "monitoring", "cwagent_key_max_age_days": -1}
    play = site.play({"accounts": {"shop": account, "blog": account}}, cwagent_config_file="", **wrong)
    messages = {each.host: each.result["msg"] for each in play.assert_failed().failures}
    problem, others = re.split(r"(?<=\.) (?=cwagent_)", messages["shop"])
    assert others.endswith(" Nothing was changed.")
    repeated = f"The same as for shop: {problem} There is 1 more problem. Nothing was changed."
    assert messages == {"shop": messages["shop"], "blog": repeated}


MORE_VALUES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "parameter characters": ({"cwagent_parameter_name": "AmazonCloudWatch-a b"}, ["'AmazonCloudWatch-a b'"]),
    "boundary": ({"cwagent_permissions_boundary": "not an arn"}, ["permissions_boundary: 'not an arn'"]),
    "prefix": (
        {"cwagent_key_store": "parameter_store", "cwagent_key_store_prefix": "a b"},
        ["cwagent_key_store_prefix: ", "'a bCloudWatch"],
    ),
    "keys that servers can read": (
        {"cwagent_ssm_policy": "AmazonSSMManagedInstanceCore"},
        ["Set cwagent_key_store_kms_key_id to a KMS key that the servers cannot use."],
    ),
}


def test_other_values_of_the_same_variables(site: Site) -> None:
    values = {name: value for variables, _ in MORE_VALUES.values() for name, value in variables.items()}
    assert_one_error(
        site, site.play(site.groups(), **values), [word for _, words in MORE_VALUES.values() for word in words]
    )


def test_a_file_on_the_command_line_is_not_dropped_beside_listed_configurations(site: Site) -> None:
    groups = site.groups()
    groups["ec2_servers"]["web1"]["cwagent_configs"] = [{"name": "AmazonCloudWatch-x", "file": "agent.json"}]
    play = site.play(groups)
    both = "cwagent_config_file (the controller) and cwagent_configs (host web1) are both set, "
    assert_one_error(site, play, [both, "Set only one"])
    assert play.calls == []


CUT: dict[str, tuple[list[str], list[str]]] = {
    "no controller": (["--limit", "web1"], ["Nothing was done", "left out localhost", "Run the playbook without"]),
    "no storing host": (["--limit", "localhost,web1"], ["The limit leaves out host admin1, which stores"]),
    "tags": (["--tags", "store"], ["without tags and skipped tags"]),
    "skipped tags": (["--skip-tags", "untagged"], ["without tags and skipped tags"]),
}
"""Arguments with which a run would do only a part of the work."""


@pytest.mark.parametrize("case", CUT)
def test_a_run_that_is_cut_in_two_reports_it(site: Site, case: str) -> None:
    arguments, words = CUT[case]
    play = site.play(site.groups(), *arguments)
    assert_one_error(site, play, words)
    assert play.calls == []


@pytest.mark.parametrize(
    "task", ["Manage the admin role and its instance profile", "Manage the server users and their access keys"]
)
def test_a_run_from_a_later_task_does_nothing(site: Site, task: str) -> None:
    play = site.play(site.groups(), "--start-at-task", task).assert_failed()
    assert all("Nothing was done: this run left out" in each.result["msg"] for each in play.failures)
    assert all("from its first task" in each.result["msg"] for each in play.failures)
    assert play.calls == []


def test_restore_with_a_mistyped_group_fails(site: Site) -> None:
    play = site.controller.play(site.controller.inventory({"ec2_admins": site.groups()["ec2_admin"]}), "restore")
    assert_one_error(site, play, ["No host of the inventory is in one of the groups", "cwagent_ec2_admin"])


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
        "unknown": (
            {"ec2_servers": {"web1": {**server, "instance_id": "i-00000000000000000"}}},
            ["Instance i-00000000000000000 does not exist"],
        ),
        "terminated": (
            {"ec2_servers": {"web1": {**server, "instance_id": terminated}}},
            [f"Instance {terminated} is terminated"],
        ),
        "no boto3 on the instance": (
            {"ec2_admin": {"admin1": {**admin, "ansible_python_interpreter": str(site.bare_python)}}},
            ["boto3 is not installed for", "on this host", "pip install boto3", "ansible_python_interpreter"],
        ),
    }
    changed, words = cases[case]
    return {**groups, **changed}, words


@pytest.mark.parametrize("case", ["no admin", "unknown", "terminated", "no boto3 on the instance"])
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
    assert_one_error(site, play, ["There is no AWS region", "cwagent_region", "AWS_REGION", "profile"])


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
    answers: dict[str, Any] = {f"cwagent_{name}": "" for name in blank}
    play = site.play(
        site.groups(),
        **answers,
        cwagent_tags="team=ops,stage=test",
        cwagent_admin_window="true",
        cwagent_on_other_profile="replace",
        cwagent_onprem_users="",
    ).assert_succeeded()
    assert play.changed_tasks
    after = snapshot(site.controller.aws)
    tags = {"team": "ops", "stage": "test", "cwagent:managed": "created"}
    assert after["roles"]["CloudWatchAgentServerRole"]["tags"] == tags
    assert after["users"]["CloudWatchAgentServerUser-db1"]["tags"] == tags
    assert after["parameters"][site.controller.aws.region] == {"AmazonCloudWatch-linux": {"agent": {}}}
