"""The host that stores, as Ansible connects to it. A saved key goes with the task that stores, and nowhere else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from emulator import Kind
from emulator.snapshot import configurations
from emulator.testing import wait_until
from harness import (
    ADMIN_ROLE,
    ADMIN_USER,
    COLLECTIONS,
    PARAMETER,
    SERVER_ROLE,
    SUDO,
    SUDO_WITH_TTY,
    SWAPPED,
    Controller,
    Play,
    assert_admin_user_closed,
    assert_complete_report,
    create_user,
    lost_after,
)
from states import States, after_site
from storing import Storing

CONFIG = {"agent": {"metrics_collection_interval": 30}}
MODULE = "cwagent.iam.cwagent_store_config"
MINIMUM_LOOKS = 3
"""How often the watching Python looks before the call that needs the secret succeeds, so that its evidence counts."""

# A Python of the host that looks for the secret while a module has it. It looks in all files of the home folder, which
# contains the temporary files too, and in the arguments and environments of all processes.
WATCHING_PYTHON = """\
#!{python}
import contextlib, json, os, pathlib, subprocess, sys
payload = b"" if sys.argv[1:] else sys.stdin.buffer.read()  # with pipelining, Python has no arguments
secrets = [path.read_bytes() for path in pathlib.Path({secrets!r}).glob("*")]
held = [secret for secret in secrets if secret in payload]
child = subprocess.Popen([{python!r}, *sys.argv[1:]], stdin=None if sys.argv[1:] else subprocess.PIPE)
if child.stdin:
    child.stdin.write(payload)
    child.stdin.close()
looks, seen = 0, set()
while held and (looks == 0 or child.poll() is None):
    looks += 1
    proc = [path for path in pathlib.Path("/proc").glob("[0-9]*/*") if path.name in ("cmdline", "environ")]
    for path in [*proc, *pathlib.Path({home!r}).rglob("*")]:
        if pathlib.Path({secrets!r}) in path.parents:
            continue
        with contextlib.suppress(OSError):
            seen |= {{str(path)}} if any(secret in path.read_bytes() for secret in held) else set()
    if looks == {minimum}:
        pathlib.Path({looked!r}).touch()
if held:
    with open({evidence!r}, "a") as file:
        file.write(json.dumps(sorted(seen)) + "\\n")
sys.exit(child.wait())
"""


@dataclass(frozen=True)
class Watch:
    """A Python for the host that looks where a secret is while a module has it."""

    home: Path

    @property
    def python(self) -> Path:
        return self.home / "watching-python"

    @classmethod
    def of(cls, controller: Controller, secret: str) -> Watch:
        watch = cls(controller.home)
        folder = controller.home / "secrets"
        folder.mkdir()
        (folder / "0").write_text(secret)
        places = {"home": str(watch.home), "secrets": str(folder)}
        results = {"evidence": str(watch.home / "evidence"), "looked": str(watch.looked)}
        text = WATCHING_PYTHON.format(python=sys.executable, minimum=MINIMUM_LOOKS, **results, **places)
        controller.program(watch.python.name, text)
        return watch

    @property
    def looked(self) -> Path:
        """A file that is there as soon as the Python has looked often enough."""
        return self.home / "looked"

    def evidence(self) -> list[list[str]]:
        """By module that had a secret: where it was."""
        return [json.loads(line) for line in (self.home / "evidence").read_text().splitlines()]


@pytest.fixture
def unpipelined(controller: Controller) -> Controller:
    """A controller on which Ansible writes modules to files, as by default."""
    return replace(controller, pipelining=False)


def onprem(controller: Controller, store: str = "file", **host: Any) -> Storing:
    """An on-premises admin host."""
    fleet = Storing(controller)
    fleet.add_host("ops1", group="onprem_admin", **host)
    fleet.configure(CONFIG)
    fleet.variables |= {"cwagent_store_config_from": "onprem", "cwagent_key_store": store}
    return fleet


def everything_shown(play: Play) -> str:
    return play.output + json.dumps([each.result for each in play.results])


def onprem_options(controller: Controller, **more: Any) -> dict[str, Any]:
    """The options of a task that stores from an on-premises host."""
    configs = [{"name": PARAMETER, "file": str(controller.file("config.json", CONFIG))}]
    return {"from": "onprem", "configs": configs, **more}


def test_the_secret_reaches_no_disk_and_no_process_list(unpipelined: Controller) -> None:
    """With a local connection, ``test_deliver_credentials.py`` looks where a secret goes."""
    secret = Storing(unpipelined).create_admin_user("parameter_store")
    watch = Watch.of(unpipelined, secret)
    ssh = unpipelined.program("ssh", '#!/bin/sh\nfor command; do :; done\nexec /bin/sh -c "$command"\n')
    host = {
        "ansible_connection": "ssh",
        "ansible_ssh_executable": str(ssh),
        "ansible_ssh_transfer_method": "piped",
        "ansible_python_interpreter": str(watch.python),
    }
    fleet = onprem(unpipelined, "parameter_store", **host)
    env = {"TMPDIR": str(unpipelined.home)}
    with ThreadPoolExecutor(1) as background:
        with fleet.blocked_at("PutParameter", Kind.DENY, text=PARAMETER):
            running = background.submit(fleet.play, "site", "-vvvv", "--diff", env=env)
            wait_until(watch.looked.exists)
        done = running.result().assert_succeeded()
    assert watch.evidence() == [[]]
    assert secret not in everything_shown(done)
    assert configurations(unpipelined.aws) == {PARAMETER: CONFIG}
    assert_admin_user_closed(unpipelined.aws)


def test_the_watch_finds_a_secret_in_a_file(controller: Controller) -> None:
    secret = "Not/A/Real/Secret"
    watch = Watch.of(controller, secret)
    seen_file = controller.file("left-behind", secret)
    subprocess.run([watch.python], input=f"# {secret}\n", text=True, check=True, timeout=60)
    assert [str(seen_file) in seen for seen in watch.evidence()] == [True]


def test_a_key_that_cannot_be_sent_is_refused(unpipelined: Controller) -> None:
    """The last of the cases is a run that would create the key first."""
    keys = create_user(unpipelined.aws, "agent")
    unpipelined.credentials.mkdir(mode=0o700)
    lines = ["[AmazonCloudWatchAgent]", *(f"{name.lower()} = {value}" for name, value in keys.items()), ""]
    unpipelined.file("credentials/agent.credentials", "\n".join(lines))
    sudo = unpipelined.program("sudo", SUDO_WITH_TTY)
    options = onprem_options(unpipelined, admin_user="agent", key_store_directory=str(unpipelined.credentials))
    become = {"ansible_become": True, "ansible_become_user": "nobody"}
    new = {"admin_user": "new"}
    cases: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
        "become method su": ({}, {**become, "ansible_become_method": "su"}, {}),
        "requiretty": ({}, {**become, "ansible_become_method": "sudo", "ansible_become_exe": str(sudo)}, {}),
        "does not support async": ({}, {}, {"async": 10, "poll": 1}),
        "must be one of: file, parameter_store, secrets_manager": ({"key_store": "vault"}, {}, {}),
        "no access key of user 'new'": (new, {}, {}),
        "access key of user 'new'": (new, {}, {"check_mode": True}),
    }
    tasks = [
        {"name": name, MODULE: options | more, "vars": variables, "ignore_errors": True, **keywords}
        for name, (more, variables, keywords) in cases.items()
    ]
    playbook = unpipelined.file("refused.yml", [{"hosts": "all", "gather_facts": False, "tasks": tasks}])
    inventory = unpipelined.inventory({"fleet": {"ops1": {}}})
    refused = unpipelined.play(inventory, playbook, "-vvvv", env={"ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS)})
    assert {each.task: each.outcome for each in refused.assert_succeeded().results} == dict.fromkeys(cases, "ignored")
    messages = {each.task: each.result["msg"] for each in refused.results}
    assert [name for name, message in messages.items() if name not in message] == []
    assert keys["AWS_SECRET_ACCESS_KEY"] not in everything_shown(refused)
    assert refused.writes == []

    su: dict[str, Any] = {"ansible_become": True, "ansible_become_method": "su", "ansible_become_user": "nobody"}
    early = onprem(unpipelined, **su).play("site").assert_failed()
    assert "the become method su cannot work with pipelining" in early.message
    assert early.writes == []


def test_only_the_saved_key_is_used(unpipelined: Controller) -> None:
    """Neither the profile nor the keys of the host, nor the controller's credentials.

    These read the saved key, and what is stored, before and afterwards.
    """
    aws = unpipelined.aws
    Storing(unpipelined).create_admin_user("parameter_store")
    environment = {"AWS_PROFILE": "missing", "AWS_ACCESS_KEY_ID": "AKIAMISSING", "AWS_SESSION_TOKEN": "missing"}
    key = aws.env()
    defaults = {"access_key": key["AWS_ACCESS_KEY_ID"], "aws_secret_key": key["AWS_SECRET_ACCESS_KEY"]}
    options = onprem_options(unpipelined, key_store="parameter_store", region=aws.region, environment=environment)
    task = {"name": "Store", MODULE: options}
    play = {"hosts": "all", "gather_facts": False, "module_defaults": {"group/cwagent.iam.aws": defaults}}
    playbook = unpipelined.file("defaults.yml", [{**play, "tasks": [task]}])
    nothing = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    settings = {"ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS), **nothing}
    done = unpipelined.play(unpipelined.inventory({"fleet": {"ops1": {}}}), playbook, env=settings).assert_succeeded()
    calls = [(call.action, call.params.get("Name"), call.principal.rpartition(":")[2]) for call in done.calls]

    def callers(action: str, name: str) -> list[str]:
        return [who for made, what, who in calls if (made, what) == (action, name)]

    assert callers("PutParameter", PARAMETER) == [f"user/{ADMIN_USER}"]
    assert callers("GetParameter", PARAMETER) == ["root", f"user/{ADMIN_USER}", "root"]
    assert {*callers("GetParameter", f"/cwagent/credentials/{ADMIN_USER}")} == {"root"}


def oldest_python() -> str:
    """The oldest Python that hosts can have, if this machine has it, or else the oldest that runs Ansible here."""
    find_python = Path(__file__).parents[3] / "requirements/find-python"
    found = subprocess.run([find_python, "3.9", "3.9"], capture_output=True, text=True, check=False)
    return found.stdout.strip() or f"{os.environ['OLDEST']}/bin/python"


def test_a_host_needs_only_a_python(controller: Controller) -> None:
    """Without the packages that are installed for it, such as boto3."""
    bare = controller.program("bare-python", f'#!/bin/sh\nexec "{oldest_python()}" -S "$@"\n')
    onprem(controller, ansible_python_interpreter=str(bare)).play("site").assert_succeeded()
    assert configurations(controller.aws) == {PARAMETER: CONFIG}


def test_an_instance_that_becomes_unreachable_after_the_swap_is_restored(states: States) -> None:
    fleet = Storing(**vars(states.begin(after_site)))
    fleet.configure(CONFIG)
    unpipelined = replace(fleet.controller, pipelining=False)
    host, env = lost_after(unpipelined, ADMIN_ROLE)
    fleet.set("admin1", **host)
    play = unpipelined.play(fleet.inventory, "store_config", env=env, **fleet.variables).assert_failed()
    assert f"admin1 ({fleet.instances['admin1']}) could not be reached" in play.message
    assert f"It has {SERVER_ROLE} again" in play.message
    assert play.associated == SWAPPED
    fleet.assert_clean()


def test_only_tasks_that_store_use_the_connection_and_become_of_their_host(controller: Controller) -> None:
    """The tasks for AWS and those on the storing host are in one play, whose variables would outrank the host's.

    Ansible looks for the host's Python itself, and warns of the one that it finds. A localhost of the inventory has no
    connection variable, so Ansible would use ssh. ``test_role_includes.py`` has hosts whose variables enable become.
    """
    fleet = Storing(controller)
    sudo = controller.program("sudo", SUDO)
    host: dict[str, Any] = {"ansible_become_exe": str(sudo), "ansible_python_interpreter": "auto"}
    fleet.add_instance("admin1", group="ec2_admin", **host)
    fleet.configure(CONFIG)
    inventory = yaml.safe_load(fleet.inventory.read_text())
    local = inventory["all"].pop("vars")
    for group in inventory["all"]["children"].values():
        group["vars"] = local
    inventory["all"]["hosts"] = {"localhost": {"ansible_ssh_executable": "/nonexistent"}}
    env = {
        "ANSIBLE_BECOME_EXE": str(controller.home / "no-sudo"),
        "ANSIBLE_BECOME_ALLOW_SAME_USER": "true",
        "ANSIBLE_STRATEGY": "free",
    }
    file = controller.file("with-localhost.yml", inventory)
    done = controller.play(file, "site", "--become", env=env, **fleet.variables).assert_succeeded()
    assert "discovered Python interpreter" in done.words
    assert [call.status for call in done.calls if call.action == "PutParameter"] == [200]
    assert "BECOME-SUCCESS" in (controller.home / "commands").read_text()
    assert configurations(controller.aws) == {PARAMETER: CONFIG}
    assert_complete_report(done)
    fleet.assert_clean()
