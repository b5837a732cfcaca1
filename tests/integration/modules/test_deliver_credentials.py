"""The lookup that reads a saved access key, and the module that brings it to a host and restarts the agent."""

from __future__ import annotations

import json
import os
import stat
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from agent import AgentHost
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import lookup_loader
from ansible.template import Templar
from emulator import Behaviour, Emulator
from harness import create_user, execute_module
from in_process import aws_options, run_module

USER = "agent-db1"
NAME = f"/cwagent/credentials/{USER}"
SECTION = "AmazonCloudWatchAgent"
SHIPPED = """\
## Configuration for shared credential.
# [credentials]
#    shared_credential_profile = "{profile_name}"

[proxy]
   http_proxy = "http://user:Proxy-Pass@proxy:3128"
"""


def read_key(
    aws: Emulator, store: str, folder: Path, credentials: dict[str, str] | None = None, on_missing: str = "error"
) -> str:
    """The saved key of the user as the lookup returns it."""
    loader = DataLoader()
    lookup = lookup_loader.get("cwagent.iam.saved_credentials", loader=loader, templar=Templar(loader))
    source = {"key_store": store, "key_store_directory": str(folder), "on_missing": on_missing}
    [text] = lookup.run([USER], variables={}, **source, **aws_options(aws, credentials))
    return str(text)


@pytest.mark.parametrize(
    ("store", "place"),
    [
        ("file", f"profile {SECTION} of .*/{USER}.credentials"),
        ("parameter_store", f"parameter '{NAME}'"),
        ("secrets_manager", f"secret '{NAME}'"),
    ],
)
def test_a_saved_key_is_read_from_each_store(enforcing: Emulator, tmp_path: Path, store: str, place: str) -> None:
    missing = rf"There is no access key of user '{USER}' in {place}\. Run the playbook cwagent.iam.site"
    with pytest.raises(AnsibleError, match=missing):
        read_key(enforcing, store, tmp_path)
    assert read_key(enforcing, store, tmp_path, on_missing="skip") == ""
    saved_key = {"key_store": store, "key_store_directory": str(tmp_path)}
    run_module(enforcing, "cwagent_iam_user", name=[USER], access="server", saved_key=saved_key)
    text = read_key(enforcing, store, tmp_path)
    [key] = enforcing.client("iam").list_access_keys(UserName=USER)["AccessKeyMetadata"]
    assert text.startswith(f"[{SECTION}]\naws_access_key_id = {key['AccessKeyId']}\naws_secret_access_key = ")
    assert f"region = {enforcing.region}\n" in text


def test_a_secret_that_is_being_deleted_can_be_skipped(enforcing: Emulator, tmp_path: Path) -> None:
    user = create_user(enforcing, "controller", policy="AdministratorAccess")
    keys = {"AccessKeyId": user["AWS_ACCESS_KEY_ID"], "SecretAccessKey": user["AWS_SECRET_ACCESS_KEY"]}
    secrets = enforcing.client("secretsmanager", credentials=keys)
    secrets.create_secret(Name=NAME, SecretString="{}")
    enforcing.be_unkind(Behaviour.DELETED_SECRETS, seconds=3600)
    secrets.delete_secret(SecretId=NAME, ForceDeleteWithoutRecovery=True)
    assert read_key(enforcing, "secrets_manager", tmp_path, user, on_missing="skip") == ""
    with pytest.raises(AnsibleError, match=rf"\(aws secretsmanager restore-secret --secret-id {NAME}\)"):
        read_key(enforcing, "secrets_manager", tmp_path, user)


def test_a_key_that_cannot_be_read_is_an_error_without_its_secret(enforcing: Emulator, tmp_path: Path) -> None:
    (tmp_path / f"{USER}.credentials").write_text(f"[{SECTION}]\naws_access_key_id = a\nSe/CrEt\n")
    with pytest.raises(AnsibleError, match="There is no access key of user") as caught:
        read_key(enforcing, "file", tmp_path)
    assert "Se/CrEt" not in str(caught.value)
    enforcing.client("ssm").put_parameter(Name=NAME, Value="{}", Type="SecureString")
    with pytest.raises(AnsibleError, match="nobody lacks ssm:GetParameter"):
        read_key(enforcing, "parameter_store", tmp_path, create_user(enforcing, "nobody"))


@dataclass(frozen=True)
class Host(AgentHost):
    """:param aws: only the process of the module needs it."""

    aws: Emulator

    def owner(self) -> tuple[int, int, int]:
        found = self.file.stat()
        return found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)

    def files(self) -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in self.root.rglob("*") if path.is_file()}

    def deliver(self, key: str | None = "AKIA1", check: bool = False, **more: Any) -> dict[str, Any]:
        """Run the module as the controller does. :param key: ``None`` removes the key."""
        text = f"[{SECTION}]\naws_access_key_id = {key}\naws_secret_access_key = Se/CrEt\n"
        content = {"state": "present", "content": text} if key else {"state": "absent"}
        paths = {"path": self.file, "common_config": self.config, "agent_ctl": self.agent.control}
        options = {**{name: str(path) for name, path in paths.items()}, **content, "_ansible_check_mode": check, **more}
        result = execute_module(self.aws, "cwagent_credentials_file", options)
        shown = json.dumps({name: value for name, value in result.items() if name != "invocation"})
        assert [secret for secret in ("Se/CrEt", "Proxy-Pass") if secret in shown] == []
        return result


@pytest.fixture
def host(enforcing: Emulator, tmp_path: Path) -> Host:
    host = Host(tmp_path / "host", enforcing)
    host.install(SHIPPED)
    return host


def test_a_key_is_written_replaced_and_removed_again(host: Host) -> None:
    before = host.files()
    predicted = host.deliver(check=True)
    assert host.agent.actions() == []
    assert host.files() == before
    done = host.deliver()
    assert done["steps"] == predicted["steps"]
    assert host.owner()[2] == 0o600
    assert host.config.read_text().startswith(SHIPPED)
    credentials = {"shared_credential_profile": SECTION, "shared_credential_file": str(host.file)}
    assert tomllib.loads(host.config.read_text())["credentials"] == credentials
    assert host.agent.actions() == ["stop", "start"]
    assert not host.deliver()["changed"]
    assert host.agent.actions() == []
    assert host.deliver("AKIA2")["changed"]
    assert "AKIA2" in host.file.read_text()
    assert host.agent.actions() == ["stop", "start"]
    assert host.deliver(None)["changed"]
    assert (host.file.exists(), host.config.read_text()) == (False, SHIPPED)
    assert host.agent.actions() == ["stop", "start"]
    assert not host.deliver(None)["changed"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_the_owner_that_the_agent_has_set_is_no_reason_to_restart_it(host: Host) -> None:
    """Neither for the same key nor after a new one, which only its user can read at once."""
    (host.root / "run_as").write_text("12345:12346")
    host.deliver()
    assert (host.owner(), host.agent.actions()) == ((12345, 12346, 0o600), ["stop", "start"])
    assert not host.deliver()["changed"]
    assert (host.owner(), host.agent.actions()) == ((12345, 12346, 0o600), [])
    (host.root / "run_as").unlink()
    assert host.deliver("AKIA2")["changed"]
    assert (host.owner(), host.agent.actions()) == ((12345, 12346, 0o600), ["stop", "start"])
    assert host.deliver("AKIA2", owner="12347", group="12348")["changed"]
    assert host.owner() == (12347, 12348, 0o600)
    assert "no such owner" in host.deliver("AKIA2", owner="no such owner")["msg"]


def test_a_key_is_delivered_to_a_host_without_the_agent(enforcing: Emulator, tmp_path: Path) -> None:
    host = Host(tmp_path / "bare", enforcing)
    assert host.deliver(check=True)["changed"]
    assert not host.root.exists()
    assert host.deliver()["changed"]
    assert stat.S_IMODE(host.config.stat().st_mode) == 0o644
    assert not host.deliver()["changed"]
