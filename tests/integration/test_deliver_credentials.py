"""A host gets its access key from each store; the agent is configured to use it and restarted."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from agent import Agent
from emulator import Behaviour, program_environment
from harness import (
    COLLECTIONS,
    PARAMETER,
    SERVER_USER,
    SUDO_WITH_TTY,
    UNREACHABLE,
    Controller,
    Play,
    assert_complete_report,
    create_user,
)

STORES = ["file", "parameter_store", "secrets_manager"]
SECTION = "AmazonCloudWatchAgent"
USER = "agent-db1"
ROLE = "cwagent.iam.onprem_credentials"
MANAGE = f"{ROLE} : Manage the access key on the host and the agent's settings"
RESTART = "restart the agent"
SHIPPED = """\
## Configuration for shared credential.
# [credentials]
#    shared_credential_profile = "{profile_name}"

[proxy]
   http_proxy = "http://user:Proxy-Pass@proxy:3128"
"""
PROXY_PASSWORD = "Proxy-Pass"
# A Python of the host that notes where the secret is while a module has it, and kills the module at its first write.
WATCHING_PYTHON = """\
#!{python}
import contextlib, json, os, pathlib, subprocess, sys
payload = sys.stdin.buffer.read()
environ = dict(os.environ)
if {secret!r} in payload:
    seen = []
    for path in pathlib.Path("/proc").glob("[0-9]*/*"):
        if path.name in ("cmdline", "environ"):
            with contextlib.suppress(OSError):
                seen += [str(path)] if {secret!r} in path.read_bytes() else []
    pathlib.Path({evidence!r}).write_text(json.dumps(seen))
    environ["PYTHONPATH"] = {folder!r}
sys.exit(subprocess.run([sys.executable, *sys.argv[1:]], input=payload, env=environ).returncode)
"""
KILLING = "import os, signal\nos.fsync = lambda _file: os.kill(os.getpid(), signal.SIGKILL)\n"
CONFIG: dict[str, Any] = {"metrics": {"metrics_collected": {"mem": {"measurement": ["mem_used_percent"]}}}}
LEAK = {"cwagent_rotate_now": "true", "cwagent_revoke_old": "true"}
RUN_AGAIN = (
    "Run this playbook again when this is fixed. An agent whose earlier access key was revoked cannot send until then."
)
CREATED = "a new access key was created"
# Runs in its own process, like another program that has only the file.
PRINT_CALLER = "import boto3; print(boto3.client('sts').get_caller_identity()['Arn'])"


@dataclass(frozen=True)
class Host:
    """A host that is a folder, with an emulated agent."""

    controller: Controller
    root: Path

    @classmethod
    def with_agent(cls, controller: Controller, status: str = "running", config: str | None = SHIPPED) -> Host:
        host = cls(controller, controller.home / "host")
        (host.root / "etc").mkdir(parents=True)
        if config is not None:
            host.config.write_text(config)
        host.agent.install(status)
        return host

    @property
    def agent(self) -> Agent:
        return Agent(self.root)

    @property
    def file(self) -> Path:
        return self.root / "etc" / "cwagent.credentials"

    @property
    def config(self) -> Path:
        return self.root / "etc" / "common-config.toml"

    @property
    def variables(self) -> dict[str, Any]:
        """The paths on the host."""
        return {
            "onprem_credentials_file": str(self.file),
            "onprem_credentials_common_config": str(self.config),
            "onprem_credentials_agent_ctl": str(self.agent.control),
            "ansible_become": False,
        }

    def caller(self) -> str:
        """The ARN of the caller whose only credentials are in the file."""
        without_keys = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
        file = {"AWS_SHARED_CREDENTIALS_FILE": str(self.file), "AWS_PROFILE": SECTION}
        env = program_environment(self.controller.aws.env(), without_keys, file)
        return subprocess.check_output([sys.executable, "-c", PRINT_CALLER], env=env, text=True).strip()

    def files(self) -> dict[str, str]:
        return {
            str(path): path.read_text() for path in self.root.rglob("*") if path.is_file() and path.name != "actions"
        }


def save_key(controller: Controller, store: str, user: str, keys: dict[str, str]) -> None:
    """Save an access key as ``cwagent_iam_user`` does."""
    saved = {key.lower(): value for key, value in keys.items()} | {"region": controller.aws.region}
    name = f"/cwagent/credentials/{user}"
    if store == "file":
        controller.credentials.mkdir(exist_ok=True)
        lines = [f"{key} = {value}" for key, value in saved.items()]
        controller.file(f"credentials/{user}.credentials", "\n".join([f"[{SECTION}]", *lines, ""]))
    elif store == "parameter_store":
        text = json.dumps({**saved, "keys_before": []})
        controller.aws.client("ssm").put_parameter(Name=name, Value=text, Type="SecureString", Overwrite=True)
    else:
        controller.aws.client("secretsmanager").create_secret(Name=name, SecretString=json.dumps(saved))


def reported(play: Play) -> str:
    """The report with each step on one line."""
    return " ".join(line.strip() for line in play.report)


def deliver(host: Host, store: str, *arguments: str, env: dict[str, str] | None = None, **variables: Any) -> Play:
    """Run the role alone in another playbook, which then prints all variables of the host."""
    role_variables = {"onprem_credentials_user": USER, "onprem_credentials_key_store": store}
    role_variables |= {"onprem_credentials_key_store_directory": str(host.controller.credentials), **variables}
    shown = [{"name": "Show", "ansible.builtin.debug": {"msg": "{{ hostvars[inventory_hostname] }}"}}]
    role = {"role": "cwagent.iam.onprem_credentials", **role_variables}
    play = {"hosts": "all", "gather_facts": False, "roles": [role], "tasks": shown}
    playbook = host.controller.file("playbook.yml", [play])
    inventory = host.controller.inventory({"fleet": {"db1": host.variables}})
    settings = {"ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS), **(env or {})}
    return host.controller.play(inventory, playbook, *arguments, env=settings)


@pytest.mark.parametrize("store", STORES)
def test_a_key_is_delivered_and_never_shown(controller: Controller, store: str) -> None:
    host = Host.with_agent(controller)
    keys = create_user(controller.aws, USER)
    save_key(controller, store, USER, keys)
    before = host.files()

    predicted = deliver(host, store, "--check", "--diff").assert_succeeded()
    assert host.files() == before
    assert host.agent.actions() == []

    done = deliver(host, store, "--diff", "-vvvv").assert_succeeded()
    assert [(each.task, each.changed) for each in done.results] == [
        (each.task, each.changed) for each in predicted.results
    ]
    assert stat.S_IMODE(host.file.stat().st_mode) == 0o600
    assert host.config.read_text().startswith(SHIPPED)
    assert tomllib.loads(host.config.read_text()) == {
        "proxy": {"http_proxy": "http://user:Proxy-Pass@proxy:3128"},
        "credentials": {"shared_credential_profile": SECTION, "shared_credential_file": str(host.file)},
    }
    assert host.agent.actions() == ["stop", "start"]
    assert host.caller().endswith(f":user/{USER}")
    assert "shared_credential_profile" in done.output  # the diff of the agent's configuration has no secret

    again = deliver(host, store, "--diff").assert_succeeded()
    assert again.changed_tasks == []
    assert host.agent.actions() == []

    secret = keys["AWS_SECRET_ACCESS_KEY"]
    for play in (predicted, done, again):
        shown = play.output + json.dumps([each.result for each in play.results])
        assert [hidden for hidden in (secret, PROXY_PASSWORD) if hidden in shown] == []
    key_files = {host.file, *controller.credentials.rglob("*")}
    other_files = [path for path in controller.home.rglob("*") if path.is_file() and path not in key_files]
    assert [path for path in other_files if secret in path.read_text(errors="replace")] == []


def files_with(secret: str, controller: Controller) -> dict[Path, int]:
    """The files below the home directory that have a secret, with their modes, without those where it is saved."""
    files = [
        path for path in controller.home.rglob("*") if path.is_file() and controller.credentials not in path.parents
    ]
    return {path: stat.S_IMODE(path.stat().st_mode) for path in files if secret in path.read_text(errors="replace")}


def test_a_module_that_is_killed_leaves_the_key_nowhere_but_in_an_unfinished_file(controller: Controller) -> None:
    host = Host.with_agent(controller)
    keys = create_user(controller.aws, USER)
    secret = keys["AWS_SECRET_ACCESS_KEY"]
    save_key(controller, "parameter_store", USER, keys)
    evidence = controller.home / "evidence"
    controller.file("sitecustomize.py", KILLING)
    places = {"evidence": str(evidence), "folder": str(controller.home)}
    text = WATCHING_PYTHON.format(python=sys.executable, secret=secret.encode(), **places)
    python = controller.program("python", text)
    killed = deliver(
        host,
        "parameter_store",
        "-vvvv",
        "-e",
        f"ansible_python_interpreter={python}",
        env={"TMPDIR": str(controller.home)},
    ).assert_failed()
    assert json.loads(evidence.read_text()) == []
    python.unlink()
    assert files_with(secret, controller) == {host.root / "etc" / ".cwagent.credentials.new": 0o600}
    assert secret not in killed.output
    deliver(host, "parameter_store").assert_succeeded()
    assert files_with(secret, controller) == {host.file: 0o600}


def test_a_key_that_would_be_written_to_a_temporary_file_is_refused(controller: Controller) -> None:
    host = Host.with_agent(controller)
    keys = create_user(controller.aws, USER)
    save_key(controller, "file", USER, keys)
    sudo = controller.program("sudo", SUDO_WITH_TTY)
    options = {"user": USER, "key_store_directory": str(controller.credentials), "path": str(host.file)}
    on = {"ansible_pipelining": True}
    become = {**on, "ansible_become": True, "ansible_become_user": "nobody"}
    cases: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "pipelining is off": ({}, {}),
        "become method su": ({}, {**become, "ansible_become_method": "su"}),
        "requiretty": ({}, {**become, "ansible_become_method": "sudo", "ansible_become_exe": str(sudo)}),
        "content is set by the controller": ({"content": "text"}, on),
        "user is required": ({"user": ""}, on),
    }
    module = "cwagent.iam.cwagent_credentials_file"
    tasks = [
        {"name": name, module: options | more, "vars": variables, "ignore_errors": True}
        for name, (more, variables) in cases.items()
    ]
    playbook = controller.file("refused.yml", [{"hosts": "all", "gather_facts": False, "tasks": tasks}])
    inventory = controller.inventory({"fleet": {"db1": {}}})
    env = {"ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS)}
    refused = controller.play(inventory, playbook, env=env).assert_succeeded()
    assert {each.task: each.outcome for each in refused.results} == dict.fromkeys(cases, "ignored")
    assert [each.task for each in refused.results if each.task not in each.result["msg"]] == []
    messages = {each.task: each.result["msg"] for each in refused.results}
    assert "ansible_pipelining" in messages["pipelining is off"]
    assert "pipelining = true" in messages["pipelining is off"]
    for setting in ("ANSIBLE_KEEP_REMOTE_FILES", "ANSIBLE_DEBUG"):
        kept = deliver(host, "file", env={setting: "1"}).assert_failed()
        assert f"Unset {setting}" in kept.words
        assert keys["AWS_SECRET_ACCESS_KEY"] not in kept.output
    assert "pipelining is off" in deliver(host, "file", "-e", "ansible_pipelining=false").assert_failed().message
    assert not host.file.exists()


def test_state_absent_removes_the_key_and_the_configuration(controller: Controller) -> None:
    host = Host.with_agent(controller)
    save_key(controller, "file", USER, create_user(controller.aws, USER))
    deliver(host, "file").assert_succeeded()
    host.agent.actions()
    assert deliver(host, "file", onprem_credentials_state="absent").assert_succeeded().changed_tasks == [MANAGE]
    assert not host.file.exists()
    assert host.config.read_text() == SHIPPED
    assert host.agent.actions() == ["stop", "start"]
    assert deliver(host, "file", onprem_credentials_state="absent").assert_succeeded().changed_tasks == []


@pytest.mark.parametrize("native", ["True", "False"])
def test_a_new_key_is_delivered_with_and_without_native_jinja(controller: Controller, native: str) -> None:
    """The common configuration begins with a bracket, like a list, and has Windows line ends."""
    host = Host.with_agent(controller, config="[ssl]\r\n")
    save_key(controller, "file", USER, create_user(controller.aws, "earlier"))
    deliver(host, "file", env={"ANSIBLE_JINJA2_NATIVE": native}).assert_succeeded()
    assert host.config.read_bytes().startswith(b"[ssl]\r\n\r\n[credentials]\r\n")
    save_key(controller, "file", USER, create_user(controller.aws, USER))
    host.agent.actions()
    replaced = deliver(host, "file", env={"ANSIBLE_JINJA2_NATIVE": native}).assert_succeeded()
    assert replaced.changed_tasks == [MANAGE]
    assert host.caller().endswith(f":user/{USER}")
    assert host.agent.actions() == ["stop", "start"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
@pytest.mark.parametrize("action", ["stop", "start"])
def test_a_restart_that_failed_is_finished_by_the_next_run(controller: Controller, action: str) -> None:
    """The agent has stopped, or has its earlier key."""
    host = Host.with_agent(controller)
    save_key(controller, "file", USER, create_user(controller.aws, USER))
    (host.root / "failing").write_text(action)
    failed = deliver(host, "file").assert_failed()
    assert failed.failures[-1].result["not_done"] == [RESTART]
    host.agent.set_status("stopped" if action == "start" else "running")
    host.agent.actions()

    (host.root / "failing").unlink()
    [restarted] = [each.result for each in deliver(host, "file").assert_succeeded().results if each.task == MANAGE]
    assert restarted["steps"] == [RESTART]
    assert host.agent.actions() == ["stop", "start"]
    host.agent.set_status("running")
    assert deliver(host, "file").assert_succeeded().changed_tasks == []
    assert host.agent.actions() == []
    assert not host.config.with_name(f"{host.config.name}.restart").exists()


def test_the_owner_that_the_agent_has_set_is_no_reason_to_restart_it(controller: Controller) -> None:
    """Neither for the same key nor after a new one, which only its user can read at once."""
    host = Host.with_agent(controller)
    (host.root / "run_as").write_text("12345:12346")
    save_key(controller, "file", USER, create_user(controller.aws, "earlier"))
    deliver(host, "file").assert_succeeded()

    def owner() -> tuple[int, int, int]:
        found = host.file.stat()
        return found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)

    assert (owner(), host.agent.actions()) == ((12345, 12346, 0o600), ["stop", "start"])
    assert deliver(host, "file").assert_succeeded().changed_tasks == []
    assert (owner(), host.agent.actions()) == ((12345, 12346, 0o600), [])

    (host.root / "run_as").unlink()
    save_key(controller, "file", USER, create_user(controller.aws, USER))
    assert deliver(host, "file").assert_succeeded().changed_tasks == [MANAGE]
    assert (owner(), host.agent.actions()) == ((12345, 12346, 0o600), ["stop", "start"])

    named: dict[str, Any] = {"onprem_credentials_owner": "12347", "onprem_credentials_group": "12348"}
    assert deliver(host, "file", **named).assert_succeeded().changed_tasks == [MANAGE]
    assert owner() == (12347, 12348, 0o600)


def test_a_stopped_agent_is_not_started(controller: Controller) -> None:
    host = Host.with_agent(controller, "stopped")
    save_key(controller, "file", USER, create_user(controller.aws, USER))
    deliver(host, "file").assert_succeeded()
    assert host.agent.actions() == []


def test_a_key_is_delivered_to_a_host_without_the_agent(controller: Controller) -> None:
    host = Host(controller, controller.home / "bare")
    save_key(controller, "file", USER, create_user(controller.aws, USER))
    deliver(host, "file", "--check").assert_succeeded()
    assert not host.root.exists()
    deliver(host, "file").assert_succeeded()
    assert host.caller().endswith(f":user/{USER}")
    assert stat.S_IMODE(host.config.stat().st_mode) == 0o644
    assert deliver(host, "file").assert_succeeded().changed_tasks == []


@pytest.mark.parametrize("store", STORES)
def test_a_missing_saved_key_is_an_error(controller: Controller, store: str) -> None:
    host = Host.with_agent(controller)
    before = host.files()
    play = deliver(host, store, "-vvvv").assert_failed()
    assert f"There is no access key of user '{USER}' in " in play.message
    assert "cwagent.iam.site" in play.message
    assert host.files() == before
    assert host.agent.actions() == []


def test_the_lookup_can_skip_a_secret_that_is_being_deleted(controller: Controller) -> None:
    aws, name = controller.aws, f"/cwagent/credentials/{USER}"
    user = create_user(aws, "controller", policy="AdministratorAccess")
    keys = {"AccessKeyId": user["AWS_ACCESS_KEY_ID"], "SecretAccessKey": user["AWS_SECRET_ACCESS_KEY"]}
    secrets = aws.client("secretsmanager", credentials=keys)
    secrets.create_secret(Name=name, SecretString="{}")
    aws.be_unkind(Behaviour.DELETED_SECRETS, seconds=3600)
    secrets.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)

    def read(on_missing: str) -> Play:
        options = f"key_store='secrets_manager', on_missing='{on_missing}'"
        that = f"lookup('cwagent.iam.saved_credentials', '{USER}', {options}) == ''"
        tasks = [{"ansible.builtin.assert": {"that": that}}]
        playbook = controller.file("read.yml", [{"hosts": "localhost", "gather_facts": False, "tasks": tasks}])
        return controller.play(controller.inventory({}), playbook, env=user)

    read("skip").assert_succeeded()
    assert f"restore it (aws secretsmanager restore-secret --secret-id {name})" in read("error").assert_failed().message


def test_an_invalid_file_is_not_shown(controller: Controller) -> None:
    host = Host.with_agent(controller)
    controller.credentials.mkdir()
    controller.file(f"credentials/{USER}.credentials", f"[{SECTION}]\naws_access_key_id = a\nSe/CrEt\n")
    play = deliver(host, "file", "-vvvv").assert_failed()
    assert "There is no access key of user" in play.message
    assert "Se/CrEt" not in play.output


def test_the_missing_permission_to_read_a_key_is_named(controller: Controller) -> None:
    host = Host.with_agent(controller)
    save_key(controller, "parameter_store", USER, create_user(controller.aws, USER))
    nobody = create_user(controller.aws, "nobody")
    assert "nobody lacks ssm:GetParameter" in deliver(host, "parameter_store", env=nobody).assert_failed().message


def test_the_reason_why_the_file_cannot_be_written_is_shown(controller: Controller) -> None:
    host = Host.with_agent(controller)
    keys = create_user(controller.aws, USER)
    save_key(controller, "file", USER, keys)
    play = deliver(host, "file", "-vvvv", onprem_credentials_owner="no such owner").assert_failed()
    assert "no such owner" in play.message
    assert keys["AWS_SECRET_ACCESS_KEY"] not in play.output


def test_an_invalid_common_configuration_is_an_error_and_is_kept(controller: Controller) -> None:
    """It is found before the access key is delivered."""
    host = Host.with_agent(controller, config="[proxy\n")
    save_key(controller, "file", USER, create_user(controller.aws, USER))
    message = deliver(host, "file").assert_failed().message
    assert f"{host.config} cannot be changed: It is not valid TOML" in message
    assert host.config.read_text() == "[proxy\n"
    assert not host.file.exists()
    assert host.agent.actions() == []


def test_other_credentials_settings_are_kept_with_state_absent(controller: Controller) -> None:
    settings = '[credentials]\nshared_credential_profile = "other"\nshared_credential_file = "/other"\n'
    host = Host.with_agent(controller, config=settings)
    assert deliver(host, "file", onprem_credentials_state="absent").assert_succeeded().changed_tasks == []
    assert host.config.read_text() == settings


class TestSite:
    """``site.yml`` delivers to every host the access key of that host's user."""

    def play(self, host: Host, playbook: str = "site", *arguments: str, **variables: Any) -> Play:
        return self.play_with(host, {}, {}, playbook, *arguments, **variables)

    def play_with(
        self, host: Host, db1: dict[str, Any], db2: dict[str, Any], playbook: str, *arguments: str, **variables: Any
    ) -> Play:
        """Run a playbook with further variables of the two hosts."""
        second = {key: str(value).replace("/host/", "/second/") for key, value in host.variables.items()}
        hosts = {"db1": {**host.variables, **db1}, "db2": {**second, "cwagent_user_name": "mine", **db2}}
        groups: dict[str, dict[str, Any]] = {"onprem_servers": hosts, "onprem_admin": {"ops1": {}}}
        values = {"cwagent_key_store_directory": str(host.controller.credentials), **variables}
        return host.controller.play(host.controller.inventory(groups), playbook, *arguments, **values)

    def test_site_delivers_and_teardown_removes(self, controller: Controller) -> None:
        host = Host.with_agent(controller)
        second = Host(controller, controller.home / "second")
        predicted = self.play(host, "site", "--check", cwagent_deliver_keys="true").assert_succeeded()
        # Although the access key does not exist yet.
        assert MANAGE in predicted.changed_tasks
        assert f"- write the access key to {host.file} on db1" in reported(predicted)
        assert not host.file.exists()
        blank = {"cwagent_key_store": "", "cwagent_key_store_prefix": ""}
        self.play(host, cwagent_deliver_keys="false", **blank).assert_succeeded()
        assert controller.credentials.exists()
        assert not host.file.exists()
        delivered = self.play(host, cwagent_deliver_keys="true").assert_succeeded()
        assert_complete_report(delivered)
        assert f"- write the access key to {second.file} on db2" in reported(delivered)
        assert host.caller().endswith(f":user/{SERVER_USER}-db1")
        assert second.caller().endswith(":user/mine")
        again = self.play(host, cwagent_deliver_keys="true").assert_succeeded()
        assert (again.changed_tasks, again.writes) == ([], [])
        down = {"cwagent_confirm": "teardown", "cwagent_deliver_keys": True}
        removed = self.play(host, "teardown", **down).assert_succeeded()
        assert_complete_report(removed)
        assert f"- delete {host.file} on db1" in reported(removed)
        assert not host.file.exists()
        assert not second.file.exists()
        assert host.config.read_text() == SHIPPED

    def test_a_run_goes_on_where_hosts_cannot_be_reached(self, controller: Controller) -> None:
        """It stores the configuration, reports and fails at its end; the next run delivers."""
        host, config = Host.with_agent(controller), controller.file("config.json", CONFIG)
        second = Host(controller, controller.home / "second")
        on: dict[str, Any] = {"cwagent_deliver_keys": True}
        stored = {**on, "cwagent_config_file": str(config), "cwagent_store_config_from": "onprem"}
        none = self.play_with(host, UNREACHABLE, UNREACHABLE, "site", **stored).assert_failed()
        assert controller.aws.client("ssm").get_parameter(Name=PARAMETER)["Parameter"]["Value"]
        missed = "The access key was not delivered to db1, db2, which could not be reached."
        assert f"{missed} {RUN_AGAIN}" in " ".join(none.report)
        assert missed in none.message

        one = self.play_with(host, UNREACHABLE, {}, "rotate_keys", **on, **LEAK).assert_failed()
        missed = "The access key was not delivered to db1, which could not be reached."
        assert f"{missed} {RUN_AGAIN}" in " ".join(one.report)
        assert f"- write the access key to {second.file} on db2" in reported(one)
        phases = " ".join(one.report)
        assert f"{SERVER_USER}-db1: {CREATED} and saved; deliver it to the server" in phases
        assert f"mine: {CREATED}, saved and delivered to the server" in phases

        sudo = controller.program("sudo", "#!/bin/sh\necho 'sudo: not allowed' >&2\nexit 1\n")
        become = {"ansible_become": True, "ansible_become_user": "nobody", "ansible_become_exe": str(sudo)}
        owner = {"cwagent_key_file_owner": "nobody-here"}
        failed = self.play_with(host, become, owner, "rotate_keys", "--check", **on, **LEAK).assert_failed()
        for reason in ("not delivered to db1: ", "not delivered to db2: owner: there is no user 'nobody-here'"):
            assert f"The access key was {reason}" in " ".join(failed.report)
        assert RUN_AGAIN in " ".join(failed.report)

        down = self.play_with(host, UNREACHABLE, {}, "teardown", cwagent_confirm="teardown", **on).assert_failed()
        assert "The access key is still on db1, which could not be reached." in " ".join(down.report)
        assert not second.file.exists()

    @pytest.mark.parametrize(
        ("variables", "words"),
        [
            (
                {"cwagent_deliver_keys": "perhaps"},
                "cwagent_deliver_keys must be true or false, not 'perhaps'",
            ),
            (
                {"cwagent_key_store": "vault"},
                "cwagent_key_store must be one of file, parameter_store,",
            ),
        ],
    )
    def test_invalid_variables(self, controller: Controller, variables: dict[str, Any], words: str) -> None:
        play = self.play(Host.with_agent(controller), **variables).assert_failed()
        assert words in play.message
        assert play.writes == []


def test_servers_that_get_no_key_run_no_tasks(controller: Controller) -> None:
    """Otherwise every server of a fleet would skip the tasks. A server that gets its key is not affected by others."""
    host = Host.with_agent(controller)
    hosts: dict[str, Any] = {"db1": {**host.variables, "cwagent_deliver_keys": False}, "db2": {}}
    inventory = controller.inventory({"onprem_servers": hosts})
    keys: dict[str, Any] = {"cwagent_key_store_directory": str(controller.credentials)}
    first = controller.play(inventory, "site", **keys).assert_succeeded()
    assert {each.host for each in first.results} == {"localhost"}
    hosts["db1"]["cwagent_deliver_keys"] = True
    delivered = controller.play(controller.inventory({"onprem_servers": hosts}), "site", **keys).assert_succeeded()
    assert "db1" in {each.host for each in delivered.results if each.changed}
    assert host.caller().endswith(f"user/{SERVER_USER}-db1")
