"""Every module in the Python that Ansible starts for it, and modules for AWS inside Ansible, with the same effect."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import inspect
import json
import os
import re
import shutil
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.vault import VaultLib, VaultSecret
from emulator import Fault, Kind
from emulator.machines import AGENT_CONTROL, AGENT_FOLDER
from emulator.snapshot import snapshot
from emulator.testing import wait_until
from harness import (
    CHECKOUT,
    HYBRID_ROLE,
    LOCAL_CONNECTION,
    PLAY_SECONDS,
    SERVER_POLICY,
    SSM_POLICY,
    TIME,
    Controller,
    Play,
    TaskResult,
    allow,
    associate,
    create_hybrid_role,
    create_role,
    create_user,
    onprem_host,
    trust,
)
from in_process import COLLECTION, run_module

from ansible_collections.cwagent.iam.plugins.module_utils._agents.server import Server as CheckedServer

STARTED = "Using module file"
"""Ansible prints this with -vvv when it starts a Python for a module."""
DIFFERENT = {"ansible_facts", "exception", "module_stderr", "module_stdout"}
"""Where Ansible looks for a Python, and how it shows a traceback."""
AS_MODULE = {"PYTHONHASHSEED": "1"}
"""The variable in the environment of a task with which Ansible starts a Python for a module."""
TAGGED = re.compile(r'(?<!\\)"(!\S+) ([^"]*)"')
"""Text of JSON that begins with a tag of YAML."""

ROLE = {"name": "R", "access": "server"}
ADMIN = {"name": "A", "access": "admin", "admin_window": True}
USERS = {"name": ["u1", "u2"], "access": "server"}
KEYS = {"saved_key": {"key_store_directory": "@keys"}}
ON_BOTH = {"name": "R", "instance_ids": "@both"}
OPEN = {"role": "A", "state": "open", "instance_id": "@first", "window_minutes": 5}
CONFIG = {
    "agent": {"metrics_collection_interval": 60},
    "metrics": {"metrics_collected": {"mem": {"measurement": ["used"]}}},
}
PARAMETER: dict[str, Any] = {"name": "AmazonCloudWatch-x", "config": CONFIG}
SERVERS = [{"host": "web", "region": "@region", "instance_id": "@first"}]
OURS = [{"Key": "cwagent:managed", "Value": "created"}]
Task = tuple[str, Mapping[str, Any]]
LIVES: list[Task] = [
    ("iam_role", {**ROLE, "description": "d", "tags": {"team": "ops"}}),
    ("iam_role", ADMIN),
    ("iam_user", {**USERS, **KEYS}),
    ("instance_profile", {**ON_BOTH, "on_other_profile": "keep"}),
    ("instance_profile", {**ON_BOTH, "on_other_profile": "attach", "attach_to_roles": ["Other"]}),
    ("application_roles", {}),
    ("hybrid_nodes", {"nodes_by_region": {"": ["web"]}}),
    ("admin_window", OPEN),
    ("admin_window", {"role": "A", "state": "closed"}),
    ("config_parameter", PARAMETER),
    ("config_parameter", {"name": PARAMETER["name"], "state": "tagged", "tags": {"team": "ops"}}),
    ("fitted_policy", {"read_regions": ["@region"]}),
]
"""Tasks that create or change something: the first of each module in check mode, for real, and again."""
ONCE: list[Task] = [
    ("access_info", {}),
    ("account_info", {"server_filters": {"instance-id": "@both"}}),
    ("server_info", {"servers": SERVERS}),
    ("agent_config", {"servers": []}),
    (
        "restore",
        {
            "state": "checked",
            "instances": {"": "@both"},
            "profiles_to_delete": ["R"],
            "expected_instance_ids": "@both",
        },
    ),
    ("iam_user", {"name": ["u3"], "access": "server", "saved_key": {"key_store_directory": "beside"}}),  # the playbook
]
"""Tasks that succeed."""
REFUSED: list[Task] = [
    ("iam_role", {**ROLE, "max_session_duration": 1}),  # AWS refuses it
    ("iam_role", {**ROLE, "access_key": "AKIA", "profile": "both"}),
    ("instance_profile", {"name": "R", "instance_ids": ["i-0"], "region": "@region"}),
    ("hybrid_nodes", {"nodes_by_region": {"": [""]}}),
    ("access_info", {"account_id": "999999999999"}),
]
"""Tasks that fail."""
ENDS: list[Task] = [
    ("restore", {"admin_role_name": "A", "server_profile": "R", "instances": {"": "@list"}, "check_instances": True}),
    ("config_parameter", {"name": PARAMETER["name"], "state": "absent"}),
    ("instance_profile", {**ON_BOTH, "state": "absent"}),
    ("iam_user", {"name": ["u1", "u2"], "state": "absent", **KEYS}),
    ("iam_role", {"name": "A", "state": "absent"}),
    ("iam_role", {"name": "R", "state": "absent"}),
    ("fitted_policy", {"state": "absent"}),
]
"""Tasks that remove something."""
UNUSUAL: list[tuple[str, Mapping[str, Any], str]] = [
    ("iam_role", {**ROLE, "aws_region": "eu-west-1"}, ""),
    ("iam_role", {**ROLE, "nme": "x"}, "Unsupported parameters for (cwagent.iam.cwagent_iam_role) module: nme"),
    ("iam_user", {**USERS, "name": "a,b"}, "would split the text 'a,b' at its commas"),
]
"""Tasks with options that only the module reads. Words of the message. ``test_aws_action.py`` has all of them."""
ON_HOSTS = {"agent_config", "credentials_file", "shared_credentials", "ssm_agent", "store_host"}
"""The modules that run on servers."""


class Account:
    """An account with two instances, of which the second has the profile of an application."""

    def __init__(self, controller: Controller) -> None:
        self.controller, self.aws = controller, controller.aws
        self.aws.reset()
        for folder in ("keys", "beside", "web"):
            shutil.rmtree(controller.home / folder, ignore_errors=True)
        self.instances = sorted(self.aws.instances(2))  # modules sort by their random ids
        create_role(self.aws, "Other")
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
        text = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UUID", text)
        text = re.sub(r"\b(AKIA|ASIA|AROA|AIDA|AIPA|iip-assoc-|mi-)[A-Za-z0-9]{8,}", r"\1", text)
        text = re.sub(r"\bip-10(-\d+){3}|\b10(\.\d+){3}", "ADDRESS", text)
        text = re.sub(r'"launched": [\d.]+', '"launched": TIME', text)
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


def predicted(tasks: Sequence[Task], again: bool = False) -> list[dict[str, Any]]:
    """Each task in check mode and for real. :param again: whether it is done once more."""
    done = [task(module, options) for module, options in tasks]
    return [each for found in done for each in ({**found, "check_mode": True}, found, *([found] if again else []))]


def lives(tasks: Sequence[Task]) -> list[dict[str, Any]]:
    """The first task of each module in check mode, for real, and again. The others only for real."""
    names = [module for module, _options in tasks]
    found = [
        predicted([each], again=True) if names.index(each[0]) == number else [task(*each)]
        for number, each in enumerate(tasks)
    ]
    return [each for part in found for each in part]


def assert_predicted(*results: TaskResult) -> None:
    """Assert that a task changed something; of three, that check mode predicted it and nothing was left to do."""
    done = results[len(results) // 2]
    assert (done.outcome, done.changed) == ("ok", True), done
    if len(results) > 1:
        predicted, _done, again = results
        assert (predicted.outcome, predicted.changed) == ("ok", True), predicted
        planned, taken = ([re.sub(TIME, "TIME", step) for step in each.result["steps"]] for each in (predicted, done))
        assert planned == taken != []
        assert (again.outcome, again.changed, again.result["steps"]) == ("ok", False, []), again


def run_both_ways(
    controller: Controller,
    tasks: Sequence[Mapping[str, Any]],
    *arguments: str,
    prepare: Callable[[Account], dict[str, Any]],
) -> Play:
    """Run tasks on equal accounts, and assert that nothing differs that a user can see.

    :param prepare: prepares an account and returns how to run the tasks in it.
    :returns: the run inside Ansible.
    """
    found = []
    for environment in ({}, AS_MODULE):
        account = Account(controller)
        how = prepare(account)
        play = account.play(tasks, "-vvv", *arguments, environment=environment, **how)
        left = account.comparable(json.dumps(snapshot(account.aws), sort_keys=True, indent=1, default=str))
        found.append((play, account.results(play), account.calls(play), left.splitlines()))
    (inside, *here), (apart, *expected) = found
    for ours, theirs in zip(here, expected, strict=True):
        # All lines of both would hide the few that differ.
        differences = difflib.unified_diff(theirs, ours, "a module", "inside Ansible", lineterm="")
        assert ours == theirs, "\n".join(differences)
    assert apart.output.count(STARTED) > inside.output.count(STARTED)
    assert "Traceback" not in inside.output
    return inside


def with_a_node(account: Account) -> dict[str, Any]:
    """Register a server, and create a user who may do nothing."""
    aws = account.aws
    create_hybrid_role(aws, SSM_POLICY)
    activation = aws.client("ssm").create_activation(IamRole=HYBRID_ROLE, DefaultInstanceName="web", Tags=OURS)
    aws.host(account.controller.home / "web").register(activation, aws.region)
    return {"vars": {"nobody": create_user(aws, "nobody", allow("sts:GetCallerIdentity"))}}


def test_modules_do_the_same_inside_ansible(controller: Controller) -> None:
    """Each from nothing until it is absent, with tasks that are refused and one whose calls are denied."""
    refused = [*(task(*each) for each in REFUSED), task("iam_role", ROLE, environment="{{ nobody }}")]
    once, ends = ([task(*each) for each in found] for found in (ONCE, ENDS))
    parts = [lives(LIVES), once, refused, ends]
    inside = run_both_ways(controller, [each for part in parts for each in part], "--diff", prepare=with_a_node)
    results = iter(inside.results)
    found_lived, found_once, found_refused, found_ends = ([next(results) for _ in part] for part in parts)
    for _name, found in groupby(found_lived, lambda each: each.task):
        assert_predicted(*found)
    assert [each for each in (*found_once, *found_ends) if each.outcome != "ok"] == []
    assert {each.outcome for each in found_refused} == {"ignored"}
    assert "lacks iam:" in found_refused[-1].result["msg"]
    assert STARTED not in inside.output


def test_every_module_that_can_run_as_one_is_tested_here() -> None:
    """Others do not work outside of Ansible: they have no ``main``, or one that refuses everything."""
    modules = {path.stem for path in (CHECKOUT / "plugins/modules").glob("*.py")}
    imported = {each: importlib.import_module(f"{COLLECTION}.modules.{each}") for each in modules}
    can_run = {each for each, module in imported.items() if hasattr(module, "main")}
    refusing = {each for each in can_run if "runs inside Ansible only" in inspect.getsource(imported[each])}
    tested = {module for module, _options in (*LIVES, *ONCE, *ENDS)} | ON_HOSTS
    assert {f"cwagent_{each}" for each in tested} == can_run - refusing


KEY = {"AWS_ACCESS_KEY_ID": "{{ item.key }}", "AWS_SECRET_ACCESS_KEY": "{{ item.secret }}"}


def vaulted(text: str) -> str:
    secret = VaultSecret(b"password")
    return "!vault " + VaultLib([("default", secret)]).encrypt(text, secret).decode()


SHORT_ROLE = {**ROLE, "wait": False}
KEYWORDS = [
    task("iam_role", SHORT_ROLE, environment=KEY, loop="{{ items }}"),
    task("iam_role", {**SHORT_ROLE, "name": "S"}),
    task("iam_role", {"access": "server"}, module_defaults={"cwagent.iam.cwagent_iam_role": {"name": "T"}}),
    task("iam_role", {"name": "U", "access": "server"}, module_defaults={"group/cwagent.iam.aws": {"region": "x"}}),
    task("iam_role", {"name": "V", "access": "server", "description": "{{ omit }}"}),
    task("iam_role", ROLE, no_log=True),
    task("iam_role", {**ROLE, "name": "no/slash"}, failed_when=False),
    task("iam_role", ROLE, until="done.role.name == 'S'", retries=1, delay=0, register="done"),
    task("iam_role", ROLE, delegate_to="localhost", run_once=True),
    task("iam_role", ROLE, check_mode=True, diff=False),
]
"""Tasks with keywords of Ansible. The environment of a task, and of an item, is its own."""
VALUES = [
    *("{{ own.text }}", vaulted("d {{ own.text }}"), "!unsafe d {{ own.text }}", "{{ omit }}"),
    *("!!binary aGVsbG8=", True, 1.50, ["{{ own.text }}"], {"a": "{{ own.text }}"}),
]
"""Descriptions: kinds of values that YAML has. Ansible cannot hand the binary one to a module."""
NO_VARIABLES = [{"A=B": "x"}, {"A B": "x"}, {"3": "x"}]
"""The environments of tasks that a shell does not take for variables."""
TEXT = "{{ 6 * 7 }} {{ lookup('env', 'HOME') }}"


@pytest.mark.main_job
def test_the_language_of_ansible_means_the_same_inside_ansible(controller: Controller) -> None:
    password, log = controller.file("password", "password"), controller.home / "ansible.log"
    secrets: list[str] = []

    def prepare(account: Account) -> dict[str, Any]:
        keys = [create_user(account.aws, name, allow("iam:*", "sts:*")) for name in ("one", "two", "own")]
        keys += [create_user(account.aws, "reader", allow("iam:GetRole"))]
        found = [{"key": each["AWS_ACCESS_KEY_ID"], "secret": each["AWS_SECRET_ACCESS_KEY"]} for each in keys]
        secrets.extend(text for each in keys[2:] for text in each.values())
        own = {"text": "text", "no": "no", **found[2]}
        account.aws.client("iam").create_role(
            RoleName="X", AssumeRolePolicyDocument=trust("ec2.amazonaws.com"), Description=TEXT
        )
        variables = {
            "items": found[:2],
            "own": {name: vaulted(each) for name, each in own.items()},
            "reader": found[3],
            "team": "ops",
        }
        return {"vars": variables, "env": {"ANSIBLE_LOG_PATH": str(log)}}

    options = {**SHORT_ROLE, "wait": "{{ own.no }}", "access_key": "{{ own.key }}", "secret_key": "{{ own.secret }}"}
    tags = {"team": "{{ team }}", "date": "!!timestamp 2026-01-02", "number": 5, "empty": None}
    of_reader = {**ROLE, "access_key": "{{ reader.key }}", "secret_key": "{{ reader.secret }}"}
    tasks = [
        *KEYWORDS,
        # A name with the options would be evaluated with them.
        *(task("iam_role", {**options, "description": each}, name="described") for each in VALUES),
        task("iam_role", {**options, "description": "!!timestamp 2026-01-02", "tags": tags}, name="tagged"),
        task("iam_role", {**options, "description": None, "name": "no/{{ own.secret }}"}, name="refused"),
        *(task("iam_role", SHORT_ROLE, environment=each) for each in NO_VARIABLES),
        task("iam_role", {**ROLE, "name": "X"}, register="found"),
        {"name": "shown", "ansible.builtin.debug": {"msg": "{{ found.role.description }}"}},
        task("iam_role", of_reader, name="denied"),
    ]
    inside = run_both_ways(controller, tasks, "-vvvv", f"--vault-password-file={password}", prepare=prepare)
    principals = [each.principal.rpartition("/")[2] for each in inside.calls]
    assert list(dict.fromkeys(principals)) == ["one", "two", "arn:aws:iam::123456789012:root", "own", "reader"]
    assert inside.output.count(STARTED) <= len(NO_VARIABLES) + 1
    [shown, denied] = [each.result["msg"] for each in inside.results if each.task in ("shown", "denied")]
    assert shown == TEXT, "an answer of AWS was evaluated"
    assert "lacks iam:" in denied
    for place in (inside.output, log.read_text(), json.dumps([each.result for each in inside.results])):
        assert "lacks iam:" in place
        assert [text for text in (*secrets, "n=botocore") if text in place] == []


WAYS: list[dict[str, Any]] = [{"timeout": 60}, {"async": 60, "poll": 1}]
"""Keywords with which a module runs as any other, because the other way is not the same."""


@dataclass(frozen=True)
class Server:
    """An on-premises server that is registered, whose other access key is saved, and a stored configuration."""

    controller: Controller
    variables: dict[str, Any]
    folder: Path
    digest: str

    @classmethod
    def registered(cls, controller: Controller) -> Server:
        aws = controller.aws
        machine = aws.host(controller.home / "db1", cloudwatch_agent=True)
        create_hybrid_role(aws, SSM_POLICY, SERVER_POLICY)
        machine.register(aws.client("ssm").create_activation(IamRole=HYBRID_ROLE), aws.region)
        machine.restart()
        (machine.root / "usr/bin/aws").symlink_to(os.environ["AWS_CLI"])  # the agent's control program calls it
        stored = run_module(aws, "cwagent_config_parameter", **PARAMETER)
        key = {"key_store_directory": str(controller.credentials)}
        run_module(aws, "cwagent_iam_user", name=["db1"], access="server", saved_key=key)
        value = aws.client("ssm").get_parameter(Name=stored["parameters"][0]["name"])["Parameter"]["Value"]
        digest = hashlib.sha256(value.encode()).hexdigest()
        return cls(controller, onprem_host(machine), machine.root / AGENT_FOLDER, digest)

    @property
    def lives(self) -> list[Task]:
        """Tasks that change something on the server."""
        control, config = (str(self.folder / each) for each in (f"bin/{AGENT_CONTROL}", "etc/common-config.toml"))
        region, names = self.controller.aws.region, ("ssm_agent_config", "credentials_file")
        shared = {name: self.variables[f"hybrid_registration_{name}"] for name in names}
        agent = {"common_config": config, "agent_ctl": control}
        key = {"path": str(self.folder / "etc/key"), **agent}
        saved = {"user_name": "db1", "key_store": "file", "key_store_directory": str(self.controller.credentials)}
        configs = [{"name": PARAMETER["name"], "digest": self.digest}]
        return [
            ("shared_credentials", {"region": region, **shared, **agent}),
            ("agent_config", {"configs": configs, "mode": "onPremise", "agent_ctl": control}),
            ("shared_credentials", {"region": region, "state": "absent", **shared, **agent}),
            ("credentials_file", {**saved, **key}),
            ("credentials_file", {"state": "absent", **key}),
        ]

    @property
    def deregistration(self) -> list[dict[str, Any]]:
        """The tasks that clear the SSM agent, in check mode, which only reads, and for real."""
        names = ("ssm_agent", "ssm_agent_config", "registration")
        agent = {name: self.variables[f"hybrid_registration_{name}"] for name in names}
        return predicted([("ssm_agent", {"state": "deregistered", **agent})])


@pytest.mark.main_job
def test_modules_run_as_any_other_on_servers_and_where_that_is_not_the_same(controller: Controller) -> None:
    """On a server, they have only its files, metadata and standard library."""
    account = Account(controller)
    server = Server.registered(controller)
    metadata = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": account.aws.metadata_endpoint(account.instances[1])}
    ways = [task("iam_role", ROLE, **each) for each in WAYS]
    unusual = [task(module, options) for module, options, _words in UNUSUAL]
    identity = task("store_host", {"instance_id": account.instances[1]}, environment={**metadata, **AS_MODULE})
    lives = predicted(server.lives, again=True)
    here = {"hosts": "localhost", "ignore_errors": True, "tasks": [*ways, *unusual, identity]}
    facts = task("agent_config", {"server": CheckedServer("db1", account.aws.region, user="db1").to_dict()})
    there = {"hosts": "db1", "tasks": [facts, *lives, *server.deregistration]}
    playbook = controller.file("as-modules.yml", [{"gather_facts": False, **each} for each in (here, there)])
    inventory = controller.inventory({"onprem_servers": {"db1": server.variables}})
    jobs = {"ANSIBLE_ASYNC_DIR": str(controller.home / "jobs")}
    play = controller.play(inventory, playbook, "-vvv", env=jobs).assert_succeeded()
    results = iter(play.results)
    assert [next(results).changed for _ in ways] == [True, *[False] * (len(ways) - 1)]
    for (_module, _options, words), each in zip(UNUSUAL, [next(results) for _ in unusual], strict=True):
        assert (each.outcome, each.changed) == ("ignored" if words else "ok", False)
        assert words in each.result.get("msg", "")
    assert len(re.findall(f"{STARTED} .*/cwagent_iam_(role|user).py", play.output)) == len(ways) + len(unusual)
    assert next(results).result["identity"] == {"instance_profile": "Other", "role": "Other"}
    assert "end" in next(results).result["stdout"].splitlines()
    for _name, found in groupby([next(results) for _ in lives], lambda each: each.task):
        assert_predicted(*found)
    read, cleared = results
    assert (read.changed, read.result["registration"]["region"]) == (False, account.aws.region)
    assert (cleared.changed, cleared.result["registration"]) == (True, None)
    assert {each.action.removeprefix("cwagent.iam.cwagent_") for each in play.results} == {
        *("iam_role", "iam_user"),
        *ON_HOSTS,
    }
    assert not (server.folder / "etc/key").exists()


@pytest.mark.main_job
def test_the_next_run_replaces_a_key_that_was_not_yet_saved(controller: Controller) -> None:
    """``test_access_keys.py`` kills the module. Here, a person presses Ctrl-C when the key has been created."""
    account = Account(controller)
    aws, iam = account.aws, account.aws.client("iam")
    options: dict[str, Any] = {"name": ["u"], "access": "server", "saved_key": {"key_store": "parameter_store"}}
    # The first parameter is the claim, and the second one has the key.
    aws.arm(Fault(Kind.THROTTLE, action="PutParameter", nth=2, times=1000))
    since = aws.mark()
    run = controller.start(*account.files([task("iam_user", options)]))
    wait_until(lambda: [each.action for each in aws.writes(since)].count("PutParameter") > 1)
    os.killpg(run.pid, signal.SIGINT)
    assert run.wait(PLAY_SECONDS) != 0
    aws.disarm()
    [lost] = iam.list_access_keys(UserName="u")["AccessKeyMetadata"]
    aws.shift_clock(60)  # the claim has ended
    done = run_module(aws, "cwagent_iam_user", **options)
    [kept] = iam.list_access_keys(UserName="u")["AccessKeyMetadata"]
    assert f"delete access key {lost['AccessKeyId']}" in done["steps"][0]
    saved = aws.client("ssm").get_parameter(Name="/cwagent/credentials/u", WithDecryption=True)
    assert kept["AccessKeyId"] in saved["Parameter"]["Value"]
