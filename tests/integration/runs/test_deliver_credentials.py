"""The role that brings an access key to its host, alone in another playbook: where the key goes, and where it does not.

Pipelining is off as by default, and the role turns it on.
"""

from __future__ import annotations

import json
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import botocore.session
from agent import AgentHost
from harness import COLLECTIONS, SUDO_WITH_TTY, Controller, Play, create_user
from secret_watch import Watch

SECTION = "AmazonCloudWatchAgent"
ROLE = "cwagent.iam.onprem_credentials"
MANAGE = f"{ROLE} : Manage the access key on the host and the agent's settings"
STORES = {"db1": "file", "db2": "parameter_store", "db3": "secrets_manager"}
"""By host, the store of its key."""
CONFIGS = {
    "db1": '[proxy]\n   http_proxy = "http://user:Proxy-Pass@proxy:3128"\n',
    "db2": "[ssl]\r\n",  # begins with a bracket, like a list, and has Windows line ends
    "db3": "## empty\n",
}
# Kills a module at its first write.
KILLING = "import os, signal\nos.fsync = lambda _file: os.kill(os.getpid(), signal.SIGKILL)\n"


@dataclass(frozen=True)
class Host(AgentHost):
    """With a user and a saved key. :param name: in the inventory."""

    controller: Controller
    name: str

    @classmethod
    def create(cls, controller: Controller, name: str) -> Host:
        host = cls(controller.home / name, controller, name)
        host.install(CONFIGS[name])
        return host

    @property
    def variables(self) -> dict[str, Any]:
        return {
            "onprem_credentials_user_name": f"agent-{self.name}",
            "onprem_credentials_key_store": STORES[self.name],
            "onprem_credentials_key_store_directory": str(self.controller.credentials),
            "onprem_credentials_file": str(self.file),
            "onprem_credentials_common_config": str(self.config),
            "onprem_credentials_agent_ctl": str(self.agent.control),
            "ansible_become": False,
        }

    def save_key(self, user: str) -> str:
        """Save the key of a new user as ``cwagent_iam_user`` does, and return its secret."""
        keys, name = create_user(self.controller.aws, user), f"/cwagent/credentials/agent-{self.name}"
        saved = {key.lower(): value for key, value in keys.items()} | {"region": self.controller.aws.region}
        if STORES[self.name] == "file":
            self.controller.credentials.mkdir(exist_ok=True)
            text = "\n".join([f"[{SECTION}]", *(f"{key} = {value}" for key, value in saved.items()), ""])
            self.controller.file(f"credentials/agent-{self.name}.credentials", text)
        elif STORES[self.name] == "parameter_store":
            text = json.dumps({**saved, "keys_before": []})
            self.controller.aws.client("ssm").put_parameter(Name=name, Value=text, Type="SecureString", Overwrite=True)
        else:
            self.controller.aws.client("secretsmanager").create_secret(Name=name, SecretString=json.dumps(saved))
        return keys["AWS_SECRET_ACCESS_KEY"]

    def caller(self) -> str:
        """The user whose key is the only one in the file."""
        session = botocore.session.Session(profile=SECTION)
        session.set_config_variable("credentials_file", str(self.file))
        aws = self.controller.aws
        client = session.create_client("sts", region_name=aws.region, endpoint_url=aws.endpoint)
        return str(client.get_caller_identity()["Arn"]).rpartition("/")[2]


def deliver(*hosts: Host, arguments: tuple[str, ...] = (), env: dict[str, str] | None = None) -> Play:
    """Run the role in a playbook that then prints all variables of the hosts."""
    controller = hosts[0].controller
    shown = [{"name": "Show", "ansible.builtin.debug": {"msg": "{{ hostvars[inventory_hostname] }}"}}]
    play = {"hosts": "all", "gather_facts": False, "roles": [{"role": ROLE}], "tasks": shown}
    inventory = controller.inventory({"fleet": {host.name: host.variables for host in hosts}})
    settings = {"ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS), **(env or {})}
    return controller.play(inventory, controller.file("playbook.yml", [play]), *arguments, env=settings)


def files_with(secret: str, controller: Controller) -> dict[Path, int]:
    """The files below the home directory that have a secret, with their modes, without those where it is saved."""
    files = [path for path in controller.home.rglob("*") if path.is_file()]
    found = [path for path in files if secret in path.read_text(errors="replace")]
    return {path: stat.S_IMODE(path.stat().st_mode) for path in found if controller.credentials not in path.parents}


def test_keys_are_delivered_from_each_store_and_never_shown(controller: Controller) -> None:
    hosts = [Host.create(controller, name) for name in STORES]
    secrets = [host.save_key(f"agent-{host.name}") for host in hosts]
    predicted = deliver(*hosts, arguments=("--check", "--diff")).assert_succeeded()
    assert [host.agent.actions() for host in hosts] == [[], [], []]
    assert [host.file.exists() for host in hosts] == [False] * 3
    assert [host.config.read_bytes().decode() for host in hosts] == [*CONFIGS.values()]
    native = {"ANSIBLE_JINJA2_NATIVE": "True"}
    done = deliver(*hosts, arguments=("--diff", "-vvvv"), env=native).assert_succeeded()
    assert sorted(done.outcomes) == sorted(predicted.outcomes)
    assert "shared_credential_profile" in done.output  # the diff of the agent's configuration has no secret
    for host, secret in zip(hosts, secrets, strict=True):
        assert files_with(secret, controller) == {host.file: 0o600}
        text = host.config.read_bytes().decode()
        assert text.startswith(CONFIGS[host.name])
        assert ("\r\n\r\n[credentials]\r\n" in text) == (host.name == "db2")
        assert host.agent.actions() == ["stop", "start"]
        assert host.caller() == f"agent-{host.name}"

    # Only the host with another key is changed.
    secrets.append(hosts[0].save_key("another"))
    replaced = deliver(*hosts, arguments=("--diff",), env={"ANSIBLE_JINJA2_NATIVE": "False"}).assert_succeeded()
    assert [(each.host, each.task) for each in replaced.results if each.changed] == [("db1", MANAGE)]
    assert [host.agent.actions() for host in hosts] == [["stop", "start"], [], []]
    assert hosts[0].caller() == "another"
    for play in (predicted, done, replaced):
        shown = play.output + json.dumps([each.result for each in play.results])
        assert [secret for secret in (*secrets, "Proxy-Pass") if secret in shown] == []


def test_a_module_that_is_killed_leaves_the_key_nowhere_but_in_an_unfinished_file(controller: Controller) -> None:
    host = Host.create(controller, "db2")
    secret, unfinished = host.save_key("agent-db2"), host.root / "etc" / ".cwagent.credentials.new"
    controller.file("sitecustomize.py", KILLING)
    watch = Watch.of(controller, secret, PYTHONPATH=str(controller.home))
    arguments = ("-vvvv", "-e", f"ansible_python_interpreter={watch.python}")
    killed = deliver(host, arguments=arguments, env={"TMPDIR": str(controller.home)}).assert_failed()
    [seen] = watch.evidence()
    assert {*seen} <= {str(unfinished)}
    shutil.rmtree(watch.secrets)
    assert files_with(secret, controller) == {unfinished: 0o600}
    assert secret not in killed.output
    deliver(host).assert_succeeded()
    assert files_with(secret, controller) == {host.file: 0o600}


def test_a_key_that_would_be_written_to_a_temporary_file_is_refused(controller: Controller) -> None:
    host = Host.create(controller, "db1")
    secret = host.save_key("agent-db1")
    sudo = controller.program("sudo", SUDO_WITH_TTY)
    options = {"user_name": "agent-db1", "key_store_directory": str(controller.credentials), "path": str(host.file)}
    on = {"ansible_pipelining": True}
    become = {**on, "ansible_become": True, "ansible_become_user": "nobody"}
    cases: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "pipelining is off": ({}, {}),
        "become method su": ({}, {**become, "ansible_become_method": "su"}),
        "requiretty": ({}, {**become, "ansible_become_method": "sudo", "ansible_become_exe": str(sudo)}),
        "content is set by the controller": ({"content": "text"}, on),
        "user_name is required": ({"user_name": ""}, on),
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
    [off] = [each.result["msg"] for each in refused.results if each.task == "pipelining is off"]
    assert "ansible_pipelining" in off
    assert "pipelining = true" in off
    assert secret not in refused.output
    assert not host.file.exists()
