"""A host gets its access key from each place where one can be saved; the agent is pointed to it and restarted."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from harness import COLLECTIONS, SERVER_USER, Play, Workplace, environment, make_user

STORES = ["file", "ssm", "secretsmanager"]
PROFILE = "AmazonCloudWatchAgent"
USER = "agent-db1"
SHIPPED = """\
## Configuration for shared credential.
# [credentials]
#    shared_credential_profile = "{profile_name}"

[proxy]
   http_proxy = "http://proxy:3128"
"""
# Answers as the agent's control program does, and writes down what it was asked to do.
CONTROL = """\
#!/bin/sh
echo "$@" >> {log}
test "$2" != status || cat {status}
"""
# Runs in a process of its own, as another program with nothing but the file would.
WHO = "import boto3; print(boto3.client('sts').get_caller_identity()['Arn'])"


@dataclass(frozen=True)
class Host:
    """A host that is a folder, with an agent."""

    at: Workplace
    root: Path

    @classmethod
    def with_agent(cls, at: Workplace, status: str = "running", config: str | None = SHIPPED) -> Host:
        host = cls(at, at.home / "host")
        (host.root / "etc").mkdir(parents=True)
        if config is not None:
            host.config.write_text(config)
        host.runs(status)
        control = host.root / "ctl"
        control.write_text(CONTROL.format(log=host.root / "asked", status=host.root / "status"))
        control.chmod(0o755)
        return host

    def runs(self, status: str) -> None:
        told = {"status": status, "starttime": "2030-01-01T00:00:00+0000", "cwoc_status": "running"}
        (self.root / "status").write_text(json.dumps(told, indent=2))

    @property
    def file(self) -> Path:
        return self.root / "etc" / "cwagent.credentials"

    @property
    def config(self) -> Path:
        return self.root / "etc" / "common-config.toml"

    @property
    def variables(self) -> dict[str, Any]:
        """Where things are; who owns them is left alone, since tests need not run as root."""
        return {
            "onprem_credentials_file": str(self.file),
            "onprem_credentials_common_config": str(self.config),
            "onprem_credentials_agent_ctl": str(self.root / "ctl"),
            "onprem_credentials_owner": "",
            "onprem_credentials_group": "",
            "ansible_become": False,
        }

    def asked(self) -> list[str]:
        """What the agent was asked to do since the last time, but for its status."""
        log = self.root / "asked"
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return [line.split()[1] for line in lines if "status" not in line]

    def caller(self) -> str:
        """Who AWS says the caller is, with the file alone."""
        keys = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
        env = environment(self.at.aws, {**keys, "AWS_SHARED_CREDENTIALS_FILE": str(self.file), "AWS_PROFILE": PROFILE})
        return subprocess.check_output([sys.executable, "-c", WHO], env=env, text=True).strip()

    def files(self) -> dict[str, str]:
        return {str(path): path.read_text() for path in self.root.rglob("*") if path.is_file() and path.name != "asked"}


def save(at: Workplace, store: str, user: str, keys: dict[str, str], region: str | None = None) -> None:
    """Save an access key as ``cwagent_iam_user`` does."""
    saved = {key.lower(): value for key, value in keys.items()} | {"region": region or at.aws.region}
    name = f"/cwagent/credentials/{user}"
    if store == "file":
        at.credentials.mkdir(exist_ok=True)
        lines = [f"{key} = {value}" for key, value in saved.items()]
        at.file(f"credentials/{user}.credentials", "\n".join([f"[{PROFILE}]", *lines, ""]))
    elif store == "ssm":
        text = json.dumps({**saved, "keys_before": []})
        at.aws.client("ssm", region).put_parameter(Name=name, Value=text, Type="SecureString", Overwrite=True)
    else:
        at.aws.client("secretsmanager", region).create_secret(Name=name, SecretString=json.dumps(saved))


def deliver(host: Host, store: str, *arguments: str, env: dict[str, str] | None = None, **variables: Any) -> Play:
    """Run the role alone from somebody else's playbook, which shows all that it knows of the host afterwards."""
    given = {"onprem_credentials_user": USER, "onprem_credentials_store": store}
    given |= {"onprem_credentials_directory": str(host.at.credentials), **variables}
    shown = [{"name": "Show", "ansible.builtin.debug": {"msg": "{{ hostvars[inventory_hostname] }}"}}]
    role = {"role": "cwagent.iam.onprem_credentials", **given}
    play = {"hosts": "all", "gather_facts": False, "roles": [role], "tasks": shown}
    playbook = host.at.file("theirs.yml", [play])
    inventory = host.at.inventory({"fleet": {"db1": host.variables}})
    settings = {"ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS), **(env or {})}
    return host.at.play(inventory, playbook, *arguments, env=settings)


@pytest.mark.parametrize("store", STORES)
def test_a_key_is_brought_to_its_host_and_shown_nowhere(workplace: Workplace, store: str) -> None:
    host = Host.with_agent(workplace)
    keys = make_user(workplace.aws, USER)
    save(workplace, store, USER, keys)
    before = host.files()

    foretold = deliver(host, store, "--check", "--diff").succeeded()
    assert host.files() == before
    assert host.asked() == []

    done = deliver(host, store, "--diff", "-vvvv").succeeded()
    assert [(each.task, each.changed) for each in done.results] == [
        (each.task, each.changed) for each in foretold.results
    ]
    assert stat.S_IMODE(host.file.stat().st_mode) == 0o600
    assert host.config.read_text().startswith(SHIPPED)
    assert tomllib.loads(host.config.read_text()) == {
        "proxy": {"http_proxy": "http://proxy:3128"},
        "credentials": {"shared_credential_profile": PROFILE, "shared_credential_file": str(host.file)},
    }
    assert host.asked() == ["stop", "start"]
    assert host.caller().endswith(f":user/{USER}")
    assert "shared_credential_profile" in done.output  # the diff of what is no secret

    again = deliver(host, store, "--diff").succeeded()
    assert again.changes == []
    assert host.asked() == []

    secret = keys["AWS_SECRET_ACCESS_KEY"]
    for play in (foretold, done, again):
        assert secret not in play.output
        assert secret not in json.dumps([each.result for each in play.results])
    own = {host.file, *workplace.credentials.rglob("*")}
    left = [path for path in workplace.home.rglob("*") if path.is_file() and path not in own]
    assert [path for path in left if secret in path.read_text(errors="replace")] == []


def test_removal_takes_off_what_was_put_there(workplace: Workplace) -> None:
    host = Host.with_agent(workplace)
    save(workplace, "file", USER, make_user(workplace.aws, USER))
    deliver(host, "file").succeeded()
    host.asked()
    assert len(deliver(host, "file", onprem_credentials_state="absent").succeeded().changes) == 3
    assert not host.file.exists()
    assert host.config.read_text() == SHIPPED
    assert host.asked() == ["stop", "start"]
    assert deliver(host, "file", onprem_credentials_state="absent").succeeded().changes == []


@pytest.mark.parametrize("native", ["True", "False"])
def test_a_new_key_with_any_kind_of_templating(workplace: Workplace, native: str) -> None:
    """And with a common configuration that begins as a list would, with the line ends of Windows."""
    host = Host.with_agent(workplace, config="[ssl]\r\n")
    save(workplace, "file", USER, make_user(workplace.aws, "earlier"))
    deliver(host, "file", env={"ANSIBLE_JINJA2_NATIVE": native}).succeeded()
    assert host.config.read_bytes().startswith(b"[ssl]\r\n\r\n[credentials]\r\n")
    save(workplace, "file", USER, make_user(workplace.aws, USER))
    host.asked()
    renewed = deliver(host, "file", env={"ANSIBLE_JINJA2_NATIVE": native}).succeeded()
    assert renewed.changes == [
        "cwagent.iam.onprem_credentials : Save the access key on the host",
        "cwagent.iam.onprem_credentials : Restart the agent",
    ]
    assert host.caller().endswith(f":user/{USER}")
    assert host.asked() == ["stop", "start"]


def test_an_agent_that_is_stopped_stays_so(workplace: Workplace) -> None:
    host = Host.with_agent(workplace, "stopped")
    save(workplace, "file", USER, make_user(workplace.aws, USER))
    deliver(host, "file").succeeded()
    assert host.asked() == []


def test_a_host_without_the_agent(workplace: Workplace) -> None:
    host = Host(workplace, workplace.home / "bare")
    save(workplace, "file", USER, make_user(workplace.aws, USER))
    deliver(host, "file", "--check").succeeded()
    assert not host.root.exists()
    deliver(host, "file").succeeded()
    assert host.caller().endswith(f":user/{USER}")
    assert stat.S_IMODE(host.config.stat().st_mode) == 0o644
    assert deliver(host, "file").succeeded().changes == []


@pytest.mark.parametrize("store", STORES)
def test_a_key_that_is_not_saved(workplace: Workplace, store: str) -> None:
    host = Host.with_agent(workplace)
    before = host.files()
    play = deliver(host, store, "-vvvv").failed()
    assert f"There is no access key of user '{USER}' in " in play.message
    assert "cwagent.iam.site" in play.message
    assert host.files() == before
    assert host.asked() == []


def test_a_file_that_is_spoiled_is_quoted_nowhere(workplace: Workplace) -> None:
    host = Host.with_agent(workplace)
    workplace.credentials.mkdir()
    workplace.file(f"credentials/{USER}.credentials", f"[{PROFILE}]\naws_access_key_id = a\nSe/CrEt\n")
    play = deliver(host, "file", "-vvvv").failed()
    assert "There is no access key of user" in play.message
    assert "Se/CrEt" not in play.output


def test_a_caller_that_may_not_read_is_told_what_it_lacks(workplace: Workplace) -> None:
    host = Host.with_agent(workplace)
    save(workplace, "ssm", USER, make_user(workplace.aws, USER))
    nobody = make_user(workplace.aws, "nobody")
    assert "nobody lacks ssm:GetParameter" in deliver(host, "ssm", env=nobody).failed().message


def test_why_the_file_cannot_be_written_is_said(workplace: Workplace) -> None:
    host = Host.with_agent(workplace)
    keys = make_user(workplace.aws, USER)
    save(workplace, "file", USER, keys)
    play = deliver(host, "file", "-vvvv", onprem_credentials_owner="no such owner").failed()
    assert "no such owner" in play.message
    assert keys["AWS_SECRET_ACCESS_KEY"] not in play.output


def test_a_common_configuration_that_the_agent_cannot_read(workplace: Workplace) -> None:
    """The access key is there by then, and the agent is restarted for it."""
    host = Host.with_agent(workplace, config="[proxy\n")
    save(workplace, "file", USER, make_user(workplace.aws, USER))
    assert "common-config.toml is no TOML" in deliver(host, "file").failed().message
    assert host.config.read_text() == "[proxy\n"
    assert host.asked() == ["stop", "start"]


def test_settings_of_others_stay_when_ours_are_removed(workplace: Workplace) -> None:
    theirs = '[credentials]\nshared_credential_profile = "theirs"\nshared_credential_file = "/theirs"\n'
    host = Host.with_agent(workplace, config=theirs)
    assert deliver(host, "file", onprem_credentials_state="absent").succeeded().changes == []
    assert host.config.read_text() == theirs


class TestSite:
    """``site.yml`` brings every host the key of its own user."""

    def play(self, host: Host, playbook: str = "site", *arguments: str, **variables: Any) -> Play:
        second = {key: str(value).replace("/host/", "/second/") for key, value in host.variables.items()}
        groups = {"onprem_servers": {"db1": host.variables, "db2": {**second, "cwagent_user_name": "mine"}}}
        given = {"cwagent_credentials_dir": str(host.at.credentials), **variables}
        return host.at.play(host.at.inventory(groups), playbook, *arguments, **given)

    def test_the_whole_job(self, workplace: Workplace) -> None:
        host = Host.with_agent(workplace)
        second = Host(workplace, workplace.home / "second")
        foretold = self.play(host, "site", "--check", cwagent_deliver_credentials="true").succeeded()
        # Though the access key is yet to be made.
        assert "cwagent.iam.onprem_credentials : Save the access key on the host" in foretold.changes
        assert not host.file.exists()
        blank = {"cwagent_credentials_store": "", "cwagent_credentials_prefix": ""}
        self.play(host, cwagent_deliver_credentials="false", **blank).succeeded()
        assert workplace.credentials.exists()
        assert not host.file.exists()
        self.play(host, cwagent_deliver_credentials="true").succeeded()
        assert host.caller().endswith(f":user/{SERVER_USER}-db1")
        assert second.caller().endswith(":user/mine")
        again = self.play(host, cwagent_deliver_credentials="true").succeeded()
        assert (again.changes, again.writes) == ([], [])
        down = {"cwagent_teardown": True, "cwagent_deliver_credentials": True}
        self.play(host, "teardown", **down).succeeded()
        assert not host.file.exists()
        assert not second.file.exists()
        assert host.config.read_text() == SHIPPED

    @pytest.mark.parametrize(
        ("variables", "words"),
        [
            ({"cwagent_deliver_credentials": "perhaps"}, "cwagent_deliver_credentials is 'perhaps'"),
            (
                {"cwagent_credentials_store": "vault"},
                "cwagent_credentials_store is 'vault'; it can be one of file, ssm,",
            ),
        ],
    )
    def test_what_is_refused(self, workplace: Workplace, variables: dict[str, Any], words: str) -> None:
        play = self.play(Host.with_agent(workplace), **variables).failed()
        assert words in play.message
        assert play.writes == []


def test_servers_that_get_no_key_cost_no_task(workplace: Workplace) -> None:
    """Each of a fleet would be skipped by itself otherwise. One that is to get its key gets it among others."""
    host = Host.with_agent(workplace)
    hosts: dict[str, Any] = {"db1": {**host.variables, "cwagent_deliver_credentials": False}, "db2": {}}
    inventory = workplace.inventory({"onprem_servers": hosts})
    keys = {"cwagent_credentials_dir": str(workplace.credentials)}
    made = workplace.play(inventory, "site", **keys).succeeded()
    assert {each.host for each in made.results} == {"localhost"}
    hosts["db1"]["cwagent_deliver_credentials"] = True
    delivered = workplace.play(workplace.inventory({"onprem_servers": hosts}), "site", **keys).succeeded()
    assert "db1" in {each.host for each in delivered.results if each.changed}
    assert host.caller().endswith(f"user/{SERVER_USER}-db1")
