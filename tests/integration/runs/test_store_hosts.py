"""The host that stores, as Ansible connects to it. A saved key goes with the task that stores, and nowhere else."""

from __future__ import annotations

import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
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
    SWAPPED,
    Controller,
    Play,
    assert_admin_user_closed,
    assert_complete_report,
    lost_after,
)
from secret_watch import Watch
from states import States, after_site
from storing import Storing

CONFIG = {"agent": {"metrics_collection_interval": 30}}
MODULE = "cwagent.iam.cwagent_store_config"


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


def test_a_key_that_cannot_be_sent_is_refused_before_it_is_created(unpipelined: Controller) -> None:
    """``test_deliver_credentials.py`` has other connections."""
    su: dict[str, Any] = {"ansible_become": True, "ansible_become_method": "su", "ansible_become_user": "nobody"}
    refused = onprem(unpipelined, **su).play("site").assert_failed()
    assert "the become method su cannot work with pipelining" in refused.message
    assert refused.writes == []


def test_a_task_in_the_background_is_refused(controller: Controller) -> None:
    """Nothing would give back what it holds."""
    task = {MODULE: onprem_options(controller), "async": 10, "poll": 1}
    playbook = controller.file("background.yml", [{"hosts": "all", "gather_facts": False, "tasks": [task]}])
    refused = controller.play(controller.inventory({"fleet": {"ops1": {}}}), playbook).assert_failed()
    assert "does not support async" in refused.message
    assert refused.calls == []


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
