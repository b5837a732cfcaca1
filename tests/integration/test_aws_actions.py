"""Modules for AWS have the same effect and result inside Ansible as where Ansible starts a Python for each."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from emulator import Fault, Kind
from emulator.snapshot import snapshot
from harness import (
    LOCAL_CONNECTION,
    SERVER_POLICY,
    Controller,
    Play,
    allow,
    associate,
    create_role,
    create_user,
    trust,
)

pytestmark = pytest.mark.main_job

STARTED = "Using module file"
"""What Ansible prints with -vvv where it starts a Python for a module."""
DIFFERENT = {"ansible_facts", "exception", "module_stderr", "module_stdout"}
"""Where Ansible looks for a Python, and how it shows a traceback."""
AS_MODULES = {"ANSIBLE_KEEP_REMOTE_FILES": "1"}
"""The variable with which Ansible starts a Python for each module."""

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
"""What every module does: create, change, delete, and refuse."""


MODULES = {module for module, _options in TASKS}
UNUSUAL = 8
"""How many of the tasks have options that only the module reads: unknown, invalid, aliased, or text for a list."""
SHORT = {
    module: {"wait_timeout": 5}
    for module in ("iam_role", "iam_user", "instance_profile", "admin_window", "admin_instance")
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
        keywords = {"hosts": "localhost", "gather_facts": False, "ignore_errors": True, **how}
        playbook = self.controller.file("tasks.yml", [{**keywords, "tasks": self.fill(list(tasks))}])
        inventory = self.controller.file("hosts.yml", {"all": {"hosts": {"localhost": LOCAL_CONNECTION}}})
        return self.controller.play(inventory, playbook, *arguments, env=env)

    def comparable(self, text: str) -> str:
        """Text without what differs from one account or run to the next."""
        for number, each in enumerate(self.instances):
            text = text.replace(each, f"INSTANCE{number}")
        text = text.replace(str(self.controller.home), "HOME")
        text = re.sub(r'"secret": "\w+"', "", text)
        text = re.sub(r"__omit_place_holder__\w+", "OMIT", text)  # in the name of a task before ansible-core 2.19
        text = re.sub(r"\b(AKIA|ASIA|AROA|AIDA|AIPA|iip-assoc-)[A-Za-z0-9]{8,}", r"\1", text)
        return re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+(Z|\+00:00)?", "TIME", text)

    def results(self, play: Play) -> list[str]:
        """What each task returned, in lines."""
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
    del account
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
        found.append((account.results(play), account.calls(play), left.splitlines(), play))
    (*here, inside), (*expected, apart) = found
    assert here == expected
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
    del account
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


@pytest.mark.parametrize(
    "keywords",
    [
        {"timeout": 60},
        {"environment": {"PYTHONHASHSEED": "1"}},
        {"vars": {"ansible_python_interpreter": f"{Path(sys.executable).with_name('python3')}"}},
    ],
    ids=["timeout", "PYTHON variables", "another Python"],
)
def test_a_module_runs_as_any_other_where_that_is_not_the_same(
    controller: Controller, keywords: dict[str, Any]
) -> None:
    play = Account(controller).play([task("iam_role", ROLE, **keywords)], "-vvv")
    assert [each.outcome for each in play.results] == ["ok"]
    assert STARTED in play.output


def test_what_aws_returns_is_never_evaluated(controller: Controller) -> None:
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
    play = account.play([task("iam_role", options, name="Fail")], "-vvvv")
    assert "lacks iam:" in str(play.results[0].result["msg"])
    for secret in key.values():
        assert secret not in play.output
        assert secret not in json.dumps([each.result for each in play.results])
