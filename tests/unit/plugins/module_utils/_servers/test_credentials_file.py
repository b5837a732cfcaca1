from __future__ import annotations

import os
import stat
from dataclasses import replace
from types import SimpleNamespace

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._ground import files
from ansible_collections.cwagent.iam.plugins.module_utils._ground.converge import converge
from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import CwagentError, InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._servers.credentials_file import (
    CredentialsFileResource,
    desired_files,
)
from ansible_collections.cwagent.iam.plugins.module_utils._servers.credentials_plan import Desired

TEXT = "[P]\naws_access_key_id = A\n"
PROXY = b'[proxy]\r\nhttp_proxy = "http://proxy"\r\n'


@pytest.fixture
def host(tmp_path):
    return SimpleNamespace(
        root=tmp_path,
        key=tmp_path / "etc" / "key",
        config=tmp_path / "etc" / "config.toml",
        unfinished=tmp_path / "etc" / ".key.new",
        desired=Desired(str(tmp_path / "etc" / "key"), str(tmp_path / "etc" / "config.toml"), "P", TEXT),
    )


def manage(desired, check_mode=False):
    return converge(CredentialsFileResource(desired), check_mode, None)


def test_the_configuration_keeps_its_bytes_and_its_mode_and_a_link_to_it(host):
    target = host.root / "target"
    target.write_bytes(PROXY)
    target.chmod(0o640)
    host.key.parent.mkdir()
    host.config.symlink_to(target)
    manage(host.desired)
    assert host.config.is_symlink()
    assert target.read_bytes().startswith(PROXY + b"\r\n[credentials]\r\n")
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


def test_an_unfinished_file_is_replaced_and_deleted(host):
    host.key.parent.mkdir()
    host.unfinished.write_text("half")
    manage(host.desired)
    assert not host.unfinished.exists()
    host.key.unlink()
    host.unfinished.write_text("half")
    assert manage(replace(host.desired, text=None))["changed"]
    assert not host.unfinished.exists()


def test_a_link_beside_the_file_is_not_followed(host):
    host.key.parent.mkdir()
    other = host.root / "other"
    host.unfinished.symlink_to(other)
    manage(host.desired)
    assert not other.exists()


@pytest.mark.parametrize("text", [b"\xff", b"other"])
def test_a_file_that_is_no_credentials_file_is_not_replaced(host, text):
    host.key.parent.mkdir()
    host.key.write_bytes(text)
    for desired in (host.desired, replace(host.desired, text=None)):
        with pytest.raises(CwagentError, match="has content that does not belong in a credentials file"):
            manage(desired)
    assert host.key.read_bytes() == text


def test_other_profiles_stay_byte_for_byte(host):
    theirs = b"# caf\xe9\r\n[default]\r\nAWS_Access_Key_Id=B\r\n"
    host.key.parent.mkdir()
    host.key.write_bytes(theirs)
    host.key.chmod(0o666)
    manage(host.desired)
    assert host.key.read_bytes() == theirs + b"\r\n" + TEXT.encode().replace(b"\n", b"\r\n")
    assert stat.S_IMODE(host.key.stat().st_mode) == 0o600
    assert not manage(host.desired)["changed"]
    assert manage(replace(host.desired, text=None))["changed"]
    assert host.key.read_bytes() == theirs


@pytest.mark.parametrize("name", ["key", "config"])
def test_a_change_of_another_program_in_between_is_kept(host, monkeypatch, name):
    host.key.parent.mkdir()
    host.key.write_text("[other]\nx = 1\n")
    host.config.write_bytes(PROXY)
    path, fsync = getattr(host, name), os.fsync
    events = [lambda: path.write_bytes(path.read_bytes() + b"# theirs\n")] * 2

    def change_during(file):
        fsync(file)
        if events:
            events.pop()()

    resource = CredentialsFileResource(host.desired)
    plan = resource.plan(resource.read())
    events.pop()()
    monkeypatch.setattr(files.os, "fsync", change_during)
    for step in plan.all_steps:
        if step.arguments["path"] == str(path):
            resource.execute(step)
    assert path.read_bytes().count(b"# theirs\n") == 2
    monkeypatch.undo()
    manage(host.desired)
    assert not manage(host.desired)["changed"]


def test_an_irregular_file_is_an_error(host):
    host.key.parent.mkdir()
    host.key.symlink_to(host.root / "other")
    with pytest.raises(CwagentError, match="is a symbolic link"):
        manage(host.desired)
    host.key.unlink()
    os.mkfifo(host.key)
    with pytest.raises(CwagentError, match="is not a regular file"):
        manage(host.desired)
    host.key.unlink()
    host.config.write_bytes(b"\xff")
    with pytest.raises(CwagentError, match="is not UTF-8 text"):
        manage(host.desired)
    assert not host.key.exists()


def test_a_file_that_cannot_be_read_or_written_is_an_error(host):
    (host.root / "etc").write_text("a file")
    with pytest.raises(CwagentError, match=r"Could not read .*: Not a directory\.$"):
        manage(host.desired)
    host.config.parent.unlink()
    host.unfinished.mkdir(parents=True)
    with pytest.raises(CwagentError, match=r"Could not write the access key to .*: Is a directory\. Not done") as error:
        manage(host.desired)
    assert error.value.details["done"] == []


def options(**changes):
    params = {"path": "/key", "common_config": None, "credentials_profile": "P", "content": "text", "state": "present"}
    return {**params, "agent_ctl": None, "owner": None, "group": None, **changes}


def test_owners_are_names_or_numbers():
    desired = desired_files(options(owner="root", group="0"), False)
    assert (desired.uid, desired.gid) == (0, 0)
    assert desired_files(options(owner="12345"), False).uid == 12345
    assert desired_files(options(owner="no such user", state="absent"), False) == Desired("/key", None, "P", None)
    with pytest.raises(InvalidInput, match="owner: there is no user 'no such user' on this host"):
        desired_files(options(owner="no such user"), False)
    with pytest.raises(InvalidInput, match="group: there is no group 'nobodies'"):
        desired_files(options(group="nobodies"), False)


def test_invalid_options():
    for path in ("key", "/a\0b"):
        with pytest.raises(InvalidInput, match="path must be an absolute path"):
            desired_files(options(path=path), False)
    with pytest.raises(InvalidInput, match="common_config must be an absolute path"):
        desired_files(options(common_config="c"), False)
    with pytest.raises(InvalidInput, match="There is no access key to write"):
        desired_files(options(content=""), False)
    assert desired_files(options(content=None), True).text == ""
