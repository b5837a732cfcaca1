"""The CloudWatch agent of a registered server uses the credentials that the SSM agent keeps in a file."""

from __future__ import annotations

import json
import stat
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from harness import COLLECTIONS, Controller, Play

KEY_ID, SECRET, PROXY_PASSWORD = "ASIAEXAMPLE", "Se/CrEt+SsM", "Proxy-Pass"
KEYS = f"aws_access_key_id = {KEY_ID}\naws_secret_access_key = {SECRET}\naws_session_token = T{SECRET}\n"
OTHERS = "# theirs\n[other]\nregion = us-west-2\n"
SHARED = f"[default]\n{KEYS}\n{OTHERS}"
LINE = "# Set by the Ansible collection cwagent.iam\nregion = eu-west-1\n"
CONFIG = f'[proxy]\n   http_proxy = "http://user:{PROXY_PASSWORD}@proxy:3128"\n'
SYSTEMCTL = """\
#!/bin/sh
echo LoadState=loaded
echo MainPID=0
echo 'Environment="AWS_SHARED_CREDENTIALS_FILE={file}"'
"""
WRITER = """\
#!/bin/sh
# The SSM agent, which needs a moment
(sleep 1; printf '%s' '{content}' > '{file}') > /dev/null 2>&1 &
"""


@dataclass(frozen=True)
class Host:
    """A host that is a folder. The service of its SSM agent sets the file with the credentials."""

    controller: Controller
    root: Path

    @classmethod
    def with_credentials(cls, controller: Controller, text: str | None = SHARED) -> Host:
        host = cls(controller, controller.home / "host")
        for folder in ("etc", "bin", ".aws"):
            (host.root / folder).mkdir(parents=True)
        host.config.write_text(CONFIG)
        if text is not None:
            host.file.write_text(text)
            host.file.chmod(0o600)
        host.program("systemctl", SYSTEMCTL)
        return host

    @property
    def file(self) -> Path:
        return self.root / ".aws" / "credentials"

    @property
    def config(self) -> Path:
        return self.root / "etc" / "common-config.toml"

    @property
    def ssm_config(self) -> Path:
        return self.root / "etc" / "amazon-ssm-agent.json"

    def program(self, name: str, text: str, **values: str) -> Path:
        path = self.root / "bin" / name
        path.write_text(text.format(file=self.file, **values))
        path.chmod(0o755)
        return path

    def files(self) -> dict[Path, str]:
        return {path: path.read_text() for path in self.root.rglob("*") if path.is_file()}

    def use(self, *arguments: str, before: str = "", **options: Any) -> Play:
        """Run the module in a playbook. :param before: a program of the host that runs first."""
        paths = {"common_config": str(self.config), "ssm_agent_config": str(self.ssm_config)}
        tasks: list[dict[str, Any]] = [{"name": "Before", "ansible.builtin.command": before}] if before else []
        module = {"region": "eu-west-1", **paths, **options}
        tasks.append({"name": "Use", "cwagent.iam.cwagent_shared_credentials": module})
        play = {
            "hosts": "all",
            "gather_facts": False,
            "environment": {"PATH": f"{self.root}/bin:/usr/bin:/bin"},
            "tasks": tasks,
        }
        playbook = self.controller.file("playbook.yml", [play])
        inventory = self.controller.inventory({"fleet": {"db1": {}}})
        env = {"ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS)}
        return self.controller.play(inventory, playbook, *arguments, env=env)


def result(play: Play) -> dict[str, Any]:
    [found] = [each.result for each in play.results if each.task == "Use"]
    return dict(found)


def test_credentials_are_used_and_never_shown(controller: Controller) -> None:
    host = Host.with_credentials(controller)
    before = host.files()
    predicted = host.use("--check", "--diff").assert_succeeded()
    assert host.files() == before

    done = host.use("--diff", "-vvvv").assert_succeeded()
    assert result(done)["steps"] == result(predicted)["steps"]
    assert {"caller", "caller_error"}.isdisjoint(result(predicted))
    # The agent's proxy does not exist.
    assert result(done)["caller"] is None
    assert result(done)["caller_error"].startswith("STS did not answer: ")
    assert (result(done)["path"], result(done)["profile"]) == (str(host.file), "default")
    assert host.file.read_text() == f"[default]\n{LINE}{KEYS}\n{OTHERS}"
    assert stat.S_IMODE(host.file.stat().st_mode) == 0o600
    assert host.config.read_text().startswith(CONFIG)
    assert tomllib.loads(host.config.read_text())["credentials"] == {
        "shared_credential_profile": "default",
        "shared_credential_file": str(host.file),
    }
    assert "shared_credential_file" in done.output

    again = host.use("--diff").assert_succeeded()
    assert again.changed_tasks == []
    removed = host.use("--diff", state="absent").assert_succeeded()
    assert host.files() == before
    assert host.use(state="absent").assert_succeeded().changed_tasks == []
    for play in (predicted, done, again, removed):
        shown = play.output + json.dumps([each.result for each in play.results])
        assert [hidden for hidden in (KEY_ID, SECRET, PROXY_PASSWORD) if hidden in shown] == []


def test_credentials_that_the_ssm_agent_writes_later_are_awaited(controller: Controller) -> None:
    host = Host.with_credentials(controller, None)
    predicted = host.use("--check").assert_succeeded()
    writer = host.program("writer", WRITER, content=SHARED)
    done = host.use(before=str(writer)).assert_succeeded()
    assert result(done)["steps"] == result(predicted)["steps"]
    assert LINE in host.file.read_text()


def test_missing_credentials_are_an_error(controller: Controller) -> None:
    host = Host.with_credentials(controller, OTHERS)
    before = host.files()
    failed = host.use(wait_timeout=0).assert_failed()
    assert "has not written credentials to profile default" in failed.message
    assert (result(failed)["done"], len(result(failed)["not_done"])) == ([], 2)
    assert host.files() == before


def test_the_settings_of_the_ssm_agent_are_followed(controller: Controller) -> None:
    host = Host.with_credentials(controller, SHARED.replace("[default]", "[agent]"))
    host.ssm_config.write_text('{"Profile": {"ShareProfile": "agent"}}')
    assert result(host.use().assert_succeeded())["profile"] == "agent"
    assert host.file.read_text().startswith(f"[agent]\n{LINE}")
    host.ssm_config.write_text('{"Profile": {"ShareProfile": "agent", "ShareCreds": false}}')
    assert "Profile.ShareCreds is false" in host.use().assert_failed().message


@pytest.mark.parametrize("check", [[], ["--check"]])
def test_an_agent_that_cannot_read_the_file_is_refused(controller: Controller, check: list[str]) -> None:
    host = Host.with_credentials(controller)
    (host.root / "etc" / "amazon-cloudwatch-agent.toml").write_text('[agent]\n  run_as_user = "no-such-user"\n')
    before = host.files()
    message = host.use(*check).assert_failed().message
    assert "runs as user 'no-such-user'" in message
    assert "cwagent_onprem_identity: key" in message
    assert host.files() == before
