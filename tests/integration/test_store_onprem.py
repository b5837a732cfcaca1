"""store_config from an on-premises host: the saved key goes with the task that stores, and to no other place."""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from emulator import Behaviour, Fault, Kind
from emulator.snapshot import configurations
from emulator.testing import wait_until
from harness import (
    ADMIN_USER,
    COLLECTIONS,
    PARAMETER,
    SUDO_WITH_TTY,
    Controller,
    Play,
    assert_admin_user_closed,
    create_user,
)
from in_process import run_module

CONFIG = {"agent": {"metrics_collection_interval": 30}}
STORES = ["file", "parameter_store", "secrets_manager"]
MODULE = "cwagent.iam.cwagent_config_parameter"
OK = 200
HOUR = 3600
UNTIL_DISARMED = 1000
PATIENT: dict[str, Any] = {"cwagent_permission_timeout": 300}
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
        if pathlib.Path({secrets!r}) in path.parents or pathlib.Path({saved!r}) in path.parents:
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
class Site:
    """An on-premises admin host, whose user ``site.yml`` creates."""

    controller: Controller
    store: str = "file"

    def play(
        self,
        playbook: str = "site",
        *arguments: str,
        host: dict[str, Any] | None = None,
        env: dict[str, str] | None = None,
        **more: Any,
    ) -> Play:
        inventory = self.controller.inventory({"onprem_admin": {"ops1": host or {}}})
        variables = {
            "cwagent_store_config_from": "onprem",
            "cwagent_config_file": str(self.controller.file("agent.json", CONFIG)),
            "cwagent_key_store": self.store,
            "cwagent_key_store_directory": str(self.controller.credentials),
            **more,
        }
        return self.controller.play(inventory, playbook, *arguments, env=env, **variables)

    def create_user(self) -> str:
        """Create the admin user without storing a configuration. :returns: its secret."""
        self.play(cwagent_config_file="").assert_succeeded()
        return self.secret()

    def secret(self) -> str:
        """The secret of the saved key."""
        if self.store == "file":
            text = (self.controller.credentials / f"{ADMIN_USER}.credentials").read_text()
            return text.partition("aws_secret_access_key = ")[2].splitlines()[0]
        name, aws = f"/cwagent/credentials/{ADMIN_USER}", self.controller.aws
        if self.store == "parameter_store":
            text = aws.client("ssm").get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"]
        else:
            text = aws.client("secretsmanager").get_secret_value(SecretId=name)["SecretString"]
        return str(json.loads(text)["aws_secret_access_key"])


@dataclass(frozen=True)
class Watch:
    """A Python for the host that looks where the secrets are while a module has one."""

    home: Path

    @property
    def python(self) -> Path:
        return self.home / "watching-python"

    @classmethod
    def of(cls, controller: Controller, *secrets: str) -> Watch:
        watch = cls(controller.home)
        folder = controller.home / "secrets"
        folder.mkdir()
        for number, secret in enumerate(secrets):
            (folder / str(number)).write_text(secret)
        places = {"home": str(watch.home), "secrets": str(folder), "saved": str(controller.credentials)}
        results = {"evidence": str(watch.home / "evidence"), "looked": str(watch.looked)}
        watch.python.write_text(
            WATCHING_PYTHON.format(python=sys.executable, minimum=MINIMUM_LOOKS, **results, **places)
        )
        watch.python.chmod(0o755)
        return watch

    @property
    def looked(self) -> Path:
        """A file that is there as soon as the Python has looked often enough."""
        return self.home / "looked"

    def evidence(self) -> list[list[str]]:
        """By module that had a secret: where it was."""
        return [json.loads(line) for line in (self.home / "evidence").read_text().splitlines()]


def everything_shown(play: Play) -> str:
    return play.output + json.dumps([each.result for each in play.results])


@pytest.mark.parametrize("store", STORES)
def test_site_stores_from_on_premises_on_an_empty_account_in_one_run(controller: Controller, store: str) -> None:
    site = Site(controller, store)
    predicted = site.play("site", "--check", "--diff").assert_succeeded()
    assert predicted.writes == []
    done = site.play("site", "--diff", "-vvvv").assert_succeeded()
    assert predicted.outcomes == done.outcomes
    assert configurations(controller.aws) == {PARAMETER: CONFIG}
    [stored] = [call for call in done.calls if call.params.get("Name") == PARAMETER and call.write]
    assert stored.principal.endswith(f":user/{ADMIN_USER}")
    assert_admin_user_closed(site.controller.aws)
    assert site.secret() not in everything_shown(done)
    again = site.play().assert_succeeded()
    assert (again.changed_tasks, again.writes) == ([], [])


@pytest.mark.parametrize(
    ("store", "connection"), [("file", "local"), ("parameter_store", "ssh"), ("secrets_manager", "local")]
)
def test_the_secret_reaches_no_disk_and_no_process_list(controller: Controller, store: str, connection: str) -> None:
    site = Site(controller, store)
    secret = site.create_user()
    watch = Watch.of(controller, secret)
    controller.aws.arm(Fault(Kind.DENY, action="PutParameter", times=UNTIL_DISARMED, message="not yet"))
    ssh = controller.program("ssh", '#!/bin/sh\nfor command; do :; done\nexec /bin/sh -c "$command"\n')
    host = {
        "ansible_connection": connection,
        "ansible_ssh_executable": str(ssh),
        "ansible_ssh_transfer_method": "piped",
        "ansible_python_interpreter": str(watch.python),
    }
    env = {"TMPDIR": str(controller.home)}
    with ThreadPoolExecutor(1) as background:
        running = background.submit(site.play, "store_config", "-vvvv", "--diff", host=host, env=env, **PATIENT)
        wait_until(watch.looked.exists)
        controller.aws.disarm()
        done = running.result().assert_succeeded()
    assert watch.evidence() == [[]]
    assert secret not in everything_shown(done)
    assert configurations(controller.aws) == {PARAMETER: CONFIG}


def test_the_watch_finds_a_secret_in_a_file(controller: Controller) -> None:
    secret = "Not/A/Real/Secret"
    watch = Watch.of(controller, secret)
    seen_file = controller.file("left-behind", secret)
    task = {"name": "Debug", "ansible.builtin.command": {"argv": ["sh", "-c", "cat >/dev/null"], "stdin": secret}}
    playbook = controller.file("watched.yml", [{"hosts": "all", "gather_facts": False, "tasks": [task]}])
    host = {"ansible_python_interpreter": str(watch.python), "ansible_pipelining": True}
    controller.play(controller.inventory({"fleet": {"ops1": host}}), playbook).assert_succeeded()
    assert [str(seen_file) in seen for seen in watch.evidence()] == [True]


def test_a_key_that_cannot_be_sent_is_refused(controller: Controller) -> None:
    keys = create_user(controller.aws, "agent")
    controller.credentials.mkdir()
    lines = ["[AmazonCloudWatchAgent]", *(f"{name.lower()} = {value}" for name, value in keys.items()), ""]
    controller.file("credentials/agent.credentials", "\n".join(lines))
    sudo = controller.program("sudo", SUDO_WITH_TTY)
    key = {"user": "agent", "key_store_directory": str(controller.credentials)}
    options = {"name": PARAMETER, "config": CONFIG, "saved_key": key}
    become = {"ansible_become": True, "ansible_become_user": "nobody"}
    cases: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
        "become method su": ({}, {**become, "ansible_become_method": "su"}, {}),
        "requiretty": ({}, {**become, "ansible_become_method": "sudo", "ansible_become_exe": str(sudo)}, {}),
        "does not support async": ({}, {}, {"async": 10, "poll": 1}),
        "missing required arguments: user": ({"saved_key": {}}, {}, {}),
        "saved_key.secret_key": ({"saved_key": {**key, "secret_key": "text"}}, {}, {}),
        "must be one of: file, parameter_store, secrets_manager": (
            {"saved_key": {**key, "key_store": "vault"}},
            {},
            {},
        ),
        "no access key of user 'nobody'": ({"saved_key": {**key, "user": "nobody"}}, {}, {}),
        "mutually exclusive": ({"use_instance_credentials": True}, {}, {}),
    }
    tasks = [
        {"name": name, MODULE: options | more, "vars": variables, "ignore_errors": True, **keywords}
        for name, (more, variables, keywords) in cases.items()
    ]
    playbook = controller.file("refused.yml", [{"hosts": "all", "gather_facts": False, "tasks": tasks}])
    inventory = controller.inventory({"fleet": {"ops1": {}}})
    collections = {"ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS)}
    refused = controller.play(inventory, playbook, "-vvvv", env=collections).assert_succeeded()
    assert {each.task: each.outcome for each in refused.results} == dict.fromkeys(cases, "ignored")
    messages = {each.task: each.result["msg"] for each in refused.results}
    assert [name for name, message in messages.items() if name not in message] == []
    assert keys["AWS_SECRET_ACCESS_KEY"] not in everything_shown(refused)
    [play] = json.loads(playbook.read_text())
    play["tasks"] = [{"name": "Store", MODULE: options}]
    playbook.write_text(json.dumps([play]))
    for setting in ("ANSIBLE_KEEP_REMOTE_FILES", "ANSIBLE_DEBUG"):
        kept = controller.play(inventory, playbook, env={**collections, setting: "1"}).assert_failed()
        assert f"Unset {setting}" in kept.words
        assert keys["AWS_SECRET_ACCESS_KEY"] not in everything_shown(kept)
    assert configurations(controller.aws) == {}


def test_a_host_that_cannot_get_the_key_is_refused_before_anything_is_created(controller: Controller) -> None:
    su = {"ansible_become": True, "ansible_become_method": "su", "ansible_become_user": "nobody"}
    refused = Site(controller).play(host=su).assert_failed()
    assert "the become method su cannot work with pipelining" in refused.message
    assert refused.writes == []


@pytest.mark.parametrize("mode", ["--check", "--diff"])
@pytest.mark.parametrize("store", STORES)
def test_a_missing_key_is_an_error_before_the_window_is_opened(controller: Controller, store: str, mode: str) -> None:
    """store_config.yml creates no key."""
    refused = Site(controller, store).play("store_config", mode).assert_failed()
    assert f"There is no access key of user '{ADMIN_USER}' in " in refused.message
    assert "cwagent.iam.site" in refused.message
    assert refused.writes == []


def test_the_missing_permission_to_read_the_key_is_found_before_anything_is_created(controller: Controller) -> None:
    controller.aws.arm(Fault(Kind.DENY, action="GetSecretValue", times=UNTIL_DISARMED))
    refused = Site(controller, "secrets_manager").play().assert_failed()
    assert "secretsmanager:GetSecretValue" in refused.message
    assert refused.writes == []


def test_only_the_saved_key_is_used(controller: Controller) -> None:
    """Neither the profile nor the keys of the host, nor the controller's credentials, which read the saved key."""
    site = Site(controller, "parameter_store")
    site.create_user()
    environment = {"AWS_PROFILE": "missing", "AWS_ACCESS_KEY_ID": "AKIAMISSING", "AWS_SESSION_TOKEN": "missing"}
    keyword = {"AWS_DEFAULT_PROFILE": "missing", "AWS_SECURITY_TOKEN": "missing"}
    key = controller.aws.env()
    defaults = {"access_key": key["AWS_ACCESS_KEY_ID"], "aws_secret_key": key["AWS_SECRET_ACCESS_KEY"]}
    options = {"name": PARAMETER, "config": CONFIG, "region": controller.aws.region, "environment": environment}
    saved = {"user": ADMIN_USER, "key_store": "parameter_store", "region": controller.aws.region}
    task = {"name": "Store", MODULE: {**options, "saved_key": saved}, "environment": keyword}
    play = {"hosts": "all", "gather_facts": False, "module_defaults": {"group/cwagent.iam.aws": defaults}}
    playbook = controller.file("defaults.yml", [{**play, "tasks": [task]}])
    assert not run_module(controller.aws, "cwagent_admin_window", user=ADMIN_USER, state="open")["failed"]
    nothing = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    settings = {"ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS), **nothing}
    done = controller.play(controller.inventory({"fleet": {"ops1": {}}}), playbook, env=settings).assert_succeeded()
    calls = {(call.action, call.params.get("Name")): call.principal.rpartition(":")[2] for call in done.calls}
    assert calls["PutParameter", PARAMETER] == calls["GetParameter", PARAMETER] == f"user/{ADMIN_USER}"
    assert calls["GetParameter", f"/cwagent/credentials/{ADMIN_USER}"] == "root"


@pytest.mark.parametrize("mode", [[], ["--check"]])
def test_a_saved_key_that_does_not_exist_is_an_error(controller: Controller, mode: list[str]) -> None:
    task = {MODULE: {"name": PARAMETER, "config": CONFIG, "saved_key": {"user": "new"}}}
    playbook = controller.file("new.yml", [{"hosts": "all", "gather_facts": False, "tasks": [task]}])
    inventory = controller.inventory({"fleet": {"ops1": {}}})
    env = {"ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS)}
    play = controller.play(inventory, playbook, *mode, env=env).assert_failed()
    assert "'new'" in play.message
    assert play.writes == []


def test_a_run_waits_until_a_new_key_is_known_everywhere(controller: Controller) -> None:
    env = create_user(controller.aws, "controller", policy="AdministratorAccess")  # the root user is never refused
    controller.aws.be_unkind(Behaviour.NEW_KEYS, seconds=HOUR, chance=1)
    site = Site(controller)
    with ThreadPoolExecutor(1) as background:
        running = background.submit(site.play, env=env, **PATIENT)
        wait_until(lambda: any(call.action == "PutParameter" for call in controller.aws.calls()))
        controller.aws.be_unkind()  # the key is known everywhere
        done = running.result().assert_succeeded()
    *refused, stored = [call for call in done.calls if call.action == "PutParameter"]
    assert {call.unkind for call in refused} == {Behaviour.NEW_KEYS}
    assert stored.status == OK
    assert_admin_user_closed(site.controller.aws)


def test_the_window_is_closed_after_a_failure(controller: Controller) -> None:
    site = Site(controller)
    site.create_user()
    controller.aws.arm(Fault(Kind.DENY, action="PutParameter", times=UNTIL_DISARMED))
    failed = site.play(cwagent_permission_timeout=1).assert_failed()
    controller.aws.disarm()
    assert f"user/{ADMIN_USER} lacks ssm:PutParameter" in failed.message
    assert site.secret() not in everything_shown(failed)
    assert configurations(controller.aws) == {}
    assert_admin_user_closed(site.controller.aws)
    site.play().assert_succeeded()
    assert configurations(controller.aws) == {PARAMETER: CONFIG}
