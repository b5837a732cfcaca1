"""Modules for AWS have the same effect and result inside Ansible as where Ansible starts a Python for each."""

from __future__ import annotations

import difflib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.vault import VaultLib, VaultSecret
from emulator import Fault, Kind, program_environment
from emulator.snapshot import snapshot
from emulator.testing import wait_until
from harness import (
    CHECKOUT,
    LOCAL_CONNECTION,
    PLAY_SECONDS,
    SERVER_POLICY,
    Controller,
    Play,
    allow,
    associate,
    create_role,
    create_user,
    playbook_command,
    trust,
)

pytestmark = pytest.mark.main_job

STARTED = "Using module file"
"""Ansible prints this with -vvv when it starts a Python for a module."""
DIFFERENT = {"ansible_facts", "exception", "module_stderr", "module_stdout"}
"""Where Ansible looks for a Python, and how it shows a traceback."""
AS_MODULES = {"ANSIBLE_KEEP_REMOTE_FILES": "1"}
"""The variable with which Ansible starts a Python for each module."""
TAGGED = re.compile(r'(?<!\\)"(!\S+) ([^"]*)"')
"""Text of JSON that begins with a tag of YAML."""

ROLE = {"name": "R", "access": "server"}
ADMIN = {"name": "A", "access": "admin", "admin_window": True}
USERS = {"name": ["u1", "u2"], "access": "server"}
CONFIG = {
    "agent": {"metrics_collection_interval": 60},
    "metrics": {"metrics_collected": {"mem": {"measurement": ["used"]}}},
}
PARAMETER: dict[str, Any] = {"name": "AmazonCloudWatch-x", "config": CONFIG}
SERVERS = [{"host": "web", "region": "@region", "instance_id": "@first"}]
Task = tuple[str, Mapping[str, Any]]
ATTACH = {"name": "R", "instance_ids": "@both", "on_other_profile": "attach"}
TASKS: list[Task] = [
    ("iam_role", ROLE),
    ("iam_role", {**ROLE, "description": "d", "tags": {"team": "ops"}}),
    ("iam_role", {**ROLE, "max_session_duration": 1}),  # AWS refuses it
    ("iam_role", {**ROLE, "name": "no/slash"}),
    ("iam_role", {**ROLE, "tags": "a=b"}),
    ("iam_role", {"name": "R"}),
    ("iam_role", {**ROLE, "nme": "x"}),
    ("iam_role", {**ROLE, "access": "other"}),
    ("iam_role", {**ROLE, "managed_policies": "ReadOnlyAccess"}),
    ("iam_role", {**ROLE, "managed_policies": "ReadOnlyAccess,PowerUserAccess"}),
    ("iam_role", {**ROLE, "permissions_boundary": "none", "exclusive": "yes"}),
    ("iam_role", {**ROLE, "access_key": "AKIA", "profile": "both"}),
    ("iam_role", {**ROLE, "profile": "nowhere"}),
    ("iam_role", {**ROLE, "aws_region": "eu-west-1"}),
    ("iam_role", {**ROLE, "debug_botocore_endpoint_logs": True}),
    ("iam_role", ADMIN),
    ("iam_user", {**USERS, "saved_key": {"key_store_directory": "@keys"}}),
    ("iam_user", {"name": ["u4"], "access": "server", "saved_key": {"key_store_directory": "beside"}}),  # the playbook
    ("iam_user", {**USERS, "name": "a,b"}),
    ("iam_user", {"name": ["u3"], "access": "server", "saved_key": {"key_store": "parameter_store"}}),
    ("instance_profile", {"name": "R", "instance_ids": "@both", "on_other_profile": "keep"}),
    ("instance_profile", {"name": "R", "instance_ids": "@both", "on_other_profile": "fail"}),
    ("instance_profile", {"name": "R", "instance_ids": ["i-0"], "region": "@region"}),
    ("instance_profile", {**ATTACH, "attach_to_roles": ["Other"]}),
    ("instance_profile", {**ATTACH, "attach_to_roles": []}),
    ("application_roles", {}),
    ("hybrid_nodes", {"nodes_by_region": {"": ["web"]}}),
    ("hybrid_nodes", {"nodes_by_region": {"": [""]}}),
    ("admin_window", {"role": "A", "state": "open", "instance_id": "@first", "window_minutes": 5}),
    ("admin_window", {"role": "A", "state": "closed"}),
    ("admin_instance", {"state": "acquired", "admin_profile": "A", "server_profile": "R", "instance_ids": "@list"}),
    ("admin_instance", {"state": "released", "admin_profile": "A", "server_profile": "R", "instance_ids": "@list"}),
    ("config_parameter", PARAMETER),
    ("config_parameter", {**PARAMETER, "state": "validated"}),
    ("config_parameter", {**PARAMETER, "config": {"agnet": {}}}),
    ("config_parameter", {"name": PARAMETER["name"], "state": "tagged", "tags": {"team": "ops"}}),
    ("access_info", {}),
    ("access_info", {"account_id": "999999999999"}),
    ("account_info", {"server_filters": {"instance-id": "@both"}}),
    ("server_info", {"servers": SERVERS}),
    ("server_check", {"servers": [], "from": "none"}),
    ("agent_command", {"servers": []}),
    ("config_parameter", {"name": PARAMETER["name"], "state": "absent"}),
    ("instance_profile", {"name": "R", "instance_ids": "@both", "state": "absent"}),
    ("iam_user", {"name": ["u1", "u2"], "state": "absent", "saved_key": {"key_store_directory": "@keys"}}),
    ("iam_role", {"name": "A", "state": "absent"}),
    ("iam_role", {"name": "R", "state": "absent"}),
]
"""Tasks in which each module creates, changes, deletes, and refuses."""


MODULES = {module for module, _options in TASKS}
UNUSUAL = 8
"""How many of the tasks have options that only the module reads: unknown, invalid, aliased, or text for a list."""
SHORT = {
    module: {"wait_timeout": 5}
    for module in (
        "iam_role",
        "iam_user",
        "instance_profile",
        "application_roles",
        "admin_window",
        "admin_instance",
        "hybrid_nodes",
    )
}
"""The options that end waits early."""


class Account:
    """An account with two instances, of which the second has the profile of an application."""

    def __init__(self, controller: Controller) -> None:
        self.controller, self.aws = controller, controller.aws
        self.aws.reset()
        for folder in ("keys", "beside"):
            shutil.rmtree(controller.home / folder, ignore_errors=True)
        self.instances = sorted(self.aws.instances(2))  # modules sort by their random ids
        create_role(self.aws, "Other", SERVER_POLICY)
        associate(self.aws, self.instances[1], "Other")

    def fill(self, value: Any) -> Any:
        """Replace placeholders."""
        places = {
            "@first": self.instances[0],
            "@list": self.instances[:1],
            "@both": self.instances,
            "@region": self.aws.region,
            "@keys": str(self.controller.home / "keys"),
        }
        if isinstance(value, Mapping):
            return {key: self.fill(each) for key, each in value.items()}
        if isinstance(value, list):
            return [self.fill(each) for each in value]
        return places.get(value, value) if isinstance(value, str) else value

    def play(self, tasks: Sequence[Mapping[str, Any]], *arguments: str, **how: Any) -> Play:
        """Run tasks on the controller, each whatever became of the others.

        :param how: ``env``, and keywords of the play.
        """
        env = how.pop("env", {})
        return self.controller.play(*self.files(tasks, **how), *arguments, env=env)

    def files(self, tasks: Sequence[Mapping[str, Any]], **how: Any) -> tuple[Path, Path]:
        """Write an inventory and a playbook. Text in it can begin with a tag of YAML."""
        keywords = {"hosts": "localhost", "gather_facts": False, "ignore_errors": True, **how}
        text = json.dumps([{**keywords, "tasks": self.fill(list(tasks))}])
        inventory = self.controller.file("hosts.yml", {"all": {"hosts": {"localhost": LOCAL_CONNECTION}}})
        return inventory, self.controller.file("tasks.yml", TAGGED.sub(r'\1 "\2"', text))

    def comparable(self, text: str) -> str:
        """Text without the parts that differ from one account or run to the next."""
        for number, each in enumerate(self.instances):
            text = text.replace(each, f"INSTANCE{number}")
        text = text.replace(str(self.controller.home), "HOME")
        text = re.sub(r'"secret": "\w+"', "", text)
        text = re.sub(r"__omit_place_holder__\w+", "OMIT", text)  # in the name of a task before ansible-core 2.19
        text = re.sub(r"\b(AKIA|ASIA|AROA|AIDA|AIPA|iip-assoc-)[A-Za-z0-9]{8,}", r"\1", text)
        return re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+(Z|\+00:00)?", "TIME", text)

    def results(self, play: Play) -> list[str]:
        """The result of each task, in lines."""
        found = [
            [each.task, each.outcome, {key: value for key, value in each.result.items() if key not in DIFFERENT}]
            for each in play.results
        ]
        return self.comparable(json.dumps(found, sort_keys=True, indent=1)).splitlines()

    def calls(self, play: Play) -> list[str]:
        """The calls of a run, without the order in which threads make them."""
        made = [f"{each.principal} {each.action} {json.dumps(each.params, sort_keys=True)}" for each in play.calls]
        return sorted(map(self.comparable, made))


def task(module: str, options: Mapping[str, Any], **keywords: Any) -> dict[str, Any]:
    return {"name": f"{module} {json.dumps(options)}", f"cwagent.iam.cwagent_{module}": dict(options), **keywords}


def nothing(account: Account) -> dict[str, Any]:
    """Prepare nothing. :returns: how to run the tasks."""
    return {}


def run_both_ways(
    controller: Controller,
    tasks: Sequence[Mapping[str, Any]],
    *arguments: str,
    prepare: Callable[[Account], dict[str, Any]] = nothing,
) -> Play:
    """Run tasks on equal accounts, and assert that nothing differs that a user can see.

    :param prepare: prepares an account and returns how to run the tasks in it.
    :returns: the run inside Ansible.
    """
    found = []
    for way in ({}, AS_MODULES):
        account = Account(controller)
        how = prepare(account)
        play = account.play(tasks, "-vvv", *arguments, **{**how, "env": {**how.get("env", {}), **way}})
        account.aws.disarm()
        left = account.comparable(json.dumps(snapshot(account.aws), sort_keys=True, indent=1, default=str))
        found.append((play, account.results(play), account.calls(play), left.splitlines()))
    (inside, *here), (apart, *expected) = found
    for ours, theirs in zip(here, expected, strict=True):
        # All lines of both would hide the few that differ.
        differences = difflib.unified_diff(theirs, ours, "a module", "inside Ansible", lineterm="")
        assert ours == theirs, "\n".join(differences)
    assert STARTED in apart.output
    return inside


ALL = [task(module, options) for module, options in TASKS]


def test_all_modules_do_the_same_inside_ansible(controller: Controller) -> None:
    inside = run_both_ways(controller, [each for each in ALL for _twice in range(2)], "--diff")
    changed = {(each.task, each.outcome, each.changed) for each in inside.results}
    assert len([each for each in changed if each[1:] == ("ok", True)]) > len(MODULES)
    refused = [each for each in inside.results if each.outcome == "ignored"]
    assert len(refused) > len(MODULES)
    assert inside.output.count(STARTED) == 2 * UNUSUAL


def test_check_mode_predicts_the_same_inside_ansible(controller: Controller) -> None:
    inside = run_both_ways(controller, ALL, "--check", "--diff")
    assert inside.writes == []
    assert any(each.changed for each in inside.results)


def without_permissions(account: Account) -> dict[str, Any]:
    return {"env": create_user(account.aws, "nobody", allow("sts:GetCallerIdentity"))}


def throttled(account: Account) -> dict[str, Any]:
    account.aws.arm(Fault(Kind.THROTTLE, times=3))
    return {}


def unreachable(account: Account) -> dict[str, Any]:
    """Let AWS answer nothing that is in its format, which ends each call at its first try."""
    account.aws.arm(Fault(Kind.ERROR, code="Unavailable", message="down", status=400, times=1000))
    return {}


def without_region(account: Account) -> dict[str, Any]:
    return {"env": {"AWS_REGION": "", "AWS_DEFAULT_REGION": ""}}


@pytest.mark.parametrize("prepare", [without_permissions, throttled, unreachable, without_region])
def test_failures_are_the_same_inside_ansible(controller: Controller, prepare: Any) -> None:
    each_module = {module: task(module, {**options, **SHORT.get(module, {})}) for module, options in reversed(TASKS)}
    inside = run_both_ways(controller, list(each_module.values()), prepare=prepare)
    assert {each.action.removeprefix("cwagent.iam.cwagent_") for each in inside.results} == MODULES
    assert "Traceback" not in inside.output


IDENTITY = "cwagent.iam.cwagent_access_info"
KEY = {"AWS_ACCESS_KEY_ID": "{{ item.key }}", "AWS_SECRET_ACCESS_KEY": "{{ item.secret }}"}


def test_the_environment_of_a_task_and_of_an_item_is_its_own(controller: Controller) -> None:
    def prepare(account: Account) -> dict[str, Any]:
        keys = [create_user(account.aws, name, allow("iam:*", "sts:*")) for name in ("one", "two")]
        items = [{"key": each["AWS_ACCESS_KEY_ID"], "secret": each["AWS_SECRET_ACCESS_KEY"]} for each in keys]
        return {"vars": {"items": items}}

    role = {"name": "R", "access": "server", "wait": False}
    tasks = [
        task("iam_role", role, environment=KEY, loop="{{ items }}"),
        task("iam_role", {**role, "name": "S"}),
        task("iam_role", {"access": "server"}, module_defaults={"cwagent.iam.cwagent_iam_role": {"name": "T"}}),
        task("iam_role", {"name": "U", "access": "server"}, module_defaults={"group/cwagent.iam.aws": {"region": "x"}}),
        task("iam_role", {"name": "V", "access": "server", "description": "{{ omit }}"}),
        task("iam_role", {"name": "R", "access": "server"}, no_log=True),
        task("iam_role", {"name": "no/slash", "access": "server"}, failed_when=False),
        task(
            "iam_role",
            {"name": "R", "access": "server"},
            until="done.role.name == 'S'",
            retries=1,
            delay=0,
            register="done",
        ),
        task("iam_role", {"name": "R", "access": "server"}, delegate_to="localhost", run_once=True),
        task("iam_role", {"name": "R", "access": "server"}, check_mode=True, diff=False),
    ]
    inside = run_both_ways(controller, tasks, prepare=prepare)
    principals = [each.principal.rpartition("/")[2] for each in inside.calls]
    assert list(dict.fromkeys(principals)) == ["one", "two", "arn:aws:iam::123456789012:root"]
    assert STARTED not in inside.output


def test_a_module_runs_as_any_other_where_that_is_not_the_same(controller: Controller) -> None:
    account = Account(controller)
    keywords: list[dict[str, Any]] = [
        {"timeout": 60},
        {"async": 60, "poll": 1},
        {"environment": {"PYTHONHASHSEED": "1"}},
        {"vars": {"ansible_python_interpreter": f"{Path(sys.executable).with_name('python3')}"}},
    ]
    jobs = {"ANSIBLE_ASYNC_DIR": str(controller.home / "jobs")}
    play = account.play([task("iam_role", ROLE, **each) for each in keywords], "-vvv", env=jobs)
    assert [(each.outcome, each.changed) for each in play.results] == [("ok", True), *[("ok", False)] * 3]
    assert len(re.findall(f"{STARTED} .*/cwagent_iam_role.py", play.output)) == len(keywords)


def vaulted(text: str) -> str:
    secret = VaultSecret(b"password")
    return "!vault " + VaultLib([("default", secret)]).encrypt(text, secret).decode()


SHORT_ROLE = {**ROLE, "wait": False}
VALUES = [
    *("{{ own.text }}", vaulted("d {{ own.text }}"), "!unsafe d {{ own.text }}", "{{ omit }}"),
    *("!!timestamp 2026-01-02", "!!binary aGVsbG8=", None, True, 1.50, ["{{ own.text }}"], {"a": "{{ own.text }}"}),
]
"""Descriptions: every kind of value that YAML has. Ansible cannot hand the binary one to a module."""
NO_VARIABLES = [{"A=B": "x"}, {"A B": "x"}, {"3": "x"}]
"""The environments of tasks that a shell does not take for variables."""


def test_values_of_yaml_and_of_vaults_are_the_same_inside_ansible(controller: Controller) -> None:
    password = controller.file("password", "password")
    secrets = []

    def prepare(account: Account) -> dict[str, Any]:
        key = create_user(account.aws, "own", allow("iam:*"))
        secrets.extend(key.values())
        own = {"text": "text", "no": "no", "id": key["AWS_ACCESS_KEY_ID"], "secret": key["AWS_SECRET_ACCESS_KEY"]}
        return {"vars": {"own": {name: vaulted(each) for name, each in own.items()}, "team": "ops"}}

    options = {**SHORT_ROLE, "wait": "{{ own.no }}", "access_key": "{{ own.id }}", "secret_key": "{{ own.secret }}"}
    tags = {"team": "{{ team }}", "date": "!!timestamp 2026-01-02", "number": 5, "empty": None}
    tasks = [
        # A name with the options would be evaluated with them.
        *(task("iam_role", {**options, "description": each}, name="described") for each in VALUES),
        task("iam_role", {**options, "tags": tags}, name="tagged"),
        task("iam_role", {**options, "name": "no/{{ own.secret }}"}, name="refused"),
        *(task("iam_role", SHORT_ROLE, environment=each) for each in NO_VARIABLES),
    ]
    inside = run_both_ways(controller, tasks, f"--vault-password-file={password}", prepare=prepare)
    assert inside.output.count(STARTED) <= len(NO_VARIABLES) + 1
    for secret in secrets:
        assert secret not in inside.output


def test_answers_of_aws_are_never_evaluated(controller: Controller) -> None:
    account = Account(controller)
    text = "{{ 6 * 7 }} {{ lookup('env', 'HOME') }}"
    account.aws.client("iam").create_role(
        RoleName="R", AssumeRolePolicyDocument=trust("ec2.amazonaws.com"), Description=text
    )
    shown = {"name": "Show", "ansible.builtin.debug": {"msg": "{{ found.role.description }}"}}
    play = account.play([task("iam_role", ROLE, register="found"), shown]).assert_succeeded()
    assert play.results[-1].result["msg"] == text


def test_no_secret_option_is_in_the_output(controller: Controller) -> None:
    account = Account(controller)
    key = create_user(account.aws, "own", allow("iam:GetRole"))
    options = {**ROLE, "access_key": key["AWS_ACCESS_KEY_ID"], "secret_key": key["AWS_SECRET_ACCESS_KEY"]}
    log = controller.home / "ansible.log"
    play = account.play([task("iam_role", options, name="Fail")], "-vvvv", env={"ANSIBLE_LOG_PATH": str(log)})
    assert "lacks iam:" in str(play.results[0].result["msg"])
    assert "lacks iam:" in log.read_text()
    for text in (*key.values(), "n=botocore"):
        assert text not in log.read_text()
        assert text not in play.output
        assert text not in json.dumps([each.result for each in play.results])


@pytest.mark.parametrize("way", [{}, AS_MODULES], ids=["inside", "module"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_next_run_replaces_a_key_that_was_not_yet_saved(
    controller: Controller, way: dict[str, str], number: signal.Signals
) -> None:
    account = Account(controller)
    iam, options = account.aws.client("iam"), {"name": "u", "access": "server"}
    tasks = [task("iam_user", {**options, "saved_key": {"key_store": "parameter_store"}})]
    command = playbook_command(*account.files(tasks))
    environ = program_environment(account.aws.env(), {"HOME": str(controller.home)}, way)
    # The first parameter is the claim, and the second one has the key.
    account.aws.arm(Fault(Kind.THROTTLE, action="PutParameter", nth=2, times=1000))
    since = account.aws.mark()
    # A program that is started in the background ignores SIGINT, so restore its default action.
    command = ["env", "--default-signal=INT", *command]
    with subprocess.Popen(
        command, cwd=CHECKOUT, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, process_group=0
    ) as process:
        wait_until(lambda: [each.action for each in account.aws.writes(since)].count("PutParameter") > 1)
        os.killpg(process.pid, number)
        assert process.wait(PLAY_SECONDS) != 0
    account.aws.disarm()
    [lost] = iam.list_access_keys(UserName="u")["AccessKeyMetadata"]
    account.aws.shift_clock(60)  # the claim has ended
    play = account.play(tasks, env=way).assert_succeeded()
    [kept] = iam.list_access_keys(UserName="u")["AccessKeyMetadata"]
    assert f"delete access key {lost['AccessKeyId']}" in play.results[0].result["steps"][0]
    saved = account.aws.client("ssm").get_parameter(Name="/cwagent/credentials/u", WithDecryption=True)
    assert kept["AccessKeyId"] in saved["Parameter"]["Value"]
