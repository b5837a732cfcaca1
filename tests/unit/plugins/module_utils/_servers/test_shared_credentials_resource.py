from __future__ import annotations

import os
import pwd
import stat
import tempfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._ground import files
from ansible_collections.cwagent.iam.plugins.module_utils._ground.converge import converge
from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import CwagentError
from ansible_collections.cwagent.iam.plugins.module_utils._ground.wait import Deadline
from ansible_collections.cwagent.iam.plugins.module_utils._servers import shared_credentials as resource_file
from ansible_collections.cwagent.iam.plugins.module_utils._servers.shared_credentials import SharedCredentialsResource
from ansible_collections.cwagent.iam.plugins.module_utils._servers.shared_credentials_plan import COMMENT, Desired

KEYS = b"aws_access_key_id = A\naws_secret_access_key = Se/CrEt\naws_session_token = T\n"
SHARED = b"# caf\xe9\n[default]\n" + KEYS
LINE = f"{COMMENT}\nregion = eu-west-1\n".encode()
WITH_REGION = b"# caf\xe9\n[default]\n" + LINE + KEYS
PROXY = b'[proxy]\r\nhttp_proxy = "http://proxy"\r\n'
OTHER_SETTINGS = '[credentials]\nshared_credential_file = "/key"\n'
ME = pwd.getpwuid(os.geteuid()).pw_name
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.fixture
def host(tmp_path):
    """A host whose SSM agent has written credentials."""
    file, etc = tmp_path / ".aws" / "credentials", tmp_path / "etc"
    file.parent.mkdir()
    etc.mkdir()
    file.write_bytes(SHARED)
    file.chmod(0o600)
    config = etc / "common-config.toml"
    desired = Desired("eu-west-1", str(file), str(config), "default", is_present=True)
    return SimpleNamespace(root=tmp_path, file=file, etc=etc, config=config, desired=desired)


def manage(desired, check_mode=False):
    return converge(SharedCredentialsResource(desired), check_mode, None)


def content(host):
    return {path: path.read_bytes() for path in host.root.rglob("*") if path.is_file()}


def run_as(host, user, *configs):
    (host.etc / "amazon-cloudwatch-agent.toml").write_text(f'[agent]\n  run_as_user = "{user}"\n[[inputs.cpu]]\n')
    (host.etc / "amazon-cloudwatch-agent.d").mkdir(exist_ok=True)
    for name in configs:
        (host.etc / "amazon-cloudwatch-agent.d" / name).write_text("{}")


def test_both_files_keep_their_bytes_and_modes_and_links_to_them(host):
    target = host.root / "target"
    target.write_bytes(PROXY)
    target.chmod(0o640)
    host.config.symlink_to(target)
    moved = host.root / "moved"
    host.file.rename(moved)
    moved.chmod(0o640)
    host.file.symlink_to(moved)
    manage(host.desired)
    assert host.config.is_symlink()
    assert host.file.is_symlink()
    assert moved.read_bytes() == WITH_REGION
    assert target.read_bytes().startswith(PROXY + b"\r\n[credentials]\r\n")
    assert [stat.S_IMODE(path.stat().st_mode) for path in (moved, target)] == [0o640, 0o640]
    manage(replace(host.desired, is_present=False))
    assert (moved.read_bytes(), target.read_bytes()) == (SHARED, PROXY)


@pytest.mark.parametrize("config", [b"[proxy\n", b"\xff", b"credentials = 1\n"])
@pytest.mark.parametrize("shared", [b"\xff", b"[default", SHARED])
def test_files_that_nobody_can_read_are_left_when_settings_are_removed(host, config, shared):
    host.config.write_bytes(config)
    host.file.write_bytes(shared)
    before = content(host)
    absent = replace(host.desired, is_present=False)
    for check_mode in (True, False):
        assert manage(absent, check_mode)["steps"] == []
    assert content(host) == before


def test_settings_are_removed_from_a_file_that_is_not_utf_8(host):
    manage(host.desired)
    host.config.write_bytes(b"# \xff\n" + host.config.read_bytes())
    with pytest.raises(CwagentError, match="is not UTF-8 text"):
        manage(host.desired)
    assert manage(replace(host.desired, is_present=False))["changed"]
    assert host.config.read_bytes() == b"# \xff\n"


@pytest.mark.parametrize("name", ["file", "config"])
def test_a_file_that_this_process_cannot_read_is_an_error(host, monkeypatch, name):
    host.config.touch()
    refused, read = getattr(host, name), files._read

    def refuse(place, errors):
        if place.path == refused:
            raise PermissionError(13, "Permission denied")
        return read(place, errors)

    monkeypatch.setattr(files, "_read", refuse)
    with pytest.raises(CwagentError, match=f"Could not read {refused}: Permission denied"):
        manage(replace(host.desired, is_present=False))


@as_root
def test_the_owner_stays(host):
    os.chown(host.file, 12345, 12346)
    manage(host.desired)
    assert (host.file.stat().st_uid, host.file.stat().st_gid) == (12345, 12346)


def test_extended_attributes_stay(host):
    try:
        os.setxattr(host.file, "user.cwagent", b"x")
    except OSError:
        pytest.skip("this file system has no extended attributes")
    manage(host.desired)
    assert os.getxattr(host.file, "user.cwagent") == b"x"


def test_check_mode_does_not_need_the_credentials_file(host):
    done = [manage(host.desired, check_mode=True)]
    host.file.unlink()
    host.file.parent.rmdir()
    assert manage(host.desired, check_mode=True) == done[0]


def test_the_folder_of_the_common_configuration_is_created(host):
    desired = replace(host.desired, config=str(host.root / "a" / "b" / "common-config.toml"))
    assert [step for step in manage(desired)["steps"] if step.startswith("create folder")] == [
        f"create folder {host.root / 'a'}",
        f"create folder {host.root / 'a' / 'b'}",
    ]
    assert not manage(desired)["changed"]


def test_unfinished_files_are_deleted(host):
    manage(host.desired)
    for path in (host.file.with_name(".credentials.new"), host.etc / ".common-config.toml.new"):
        path.write_text("half")
        assert manage(host.desired)["steps"] == [f"delete unfinished file {path}"]
        assert not path.exists()


# -- The SSM agent writes the file at the same time --

RENEWED = SHARED.replace(b"= A", b"= B")


def test_renewed_credentials_are_not_overwritten(host, monkeypatch):
    """They are renewed once after the plan was made, and once immediately before the new file gets its name."""
    renewals = [SHARED.replace(b"= A", b"= C"), RENEWED]
    fsync = os.fsync

    def renew_during(file):
        fsync(file)
        if renewals:
            host.file.write_bytes(renewals.pop())

    monkeypatch.setattr(files.os, "fsync", renew_during)
    manage(host.desired)
    assert host.file.read_bytes() == WITH_REGION.replace(b"= A", b"= C")
    assert not host.file.with_name(".credentials.new").exists()


def test_a_file_that_is_written_all_the_time_is_an_error(host, monkeypatch):
    def renew(_file):
        host.file.write_bytes(host.file.read_bytes() + b"# more\n")

    monkeypatch.setattr(files.os, "fsync", renew)
    with pytest.raises(CwagentError, match=r"Could not set region.*another program .* writes it all the time") as error:
        manage(host.desired)
    assert error.value.details["done"] == []
    assert not host.config.exists()


def test_a_file_that_was_deleted_since_it_was_read_is_an_error(host):
    resource = SharedCredentialsResource(host.desired)
    [step, _config] = resource.plan(resource.read()).all_steps
    host.file.unlink()
    with pytest.raises(CwagentError, match="another program deleted it"):
        resource.execute(step)


def test_a_region_that_somebody_set_since_the_file_was_read_stays(host):
    resource = SharedCredentialsResource(host.desired)
    [step, _config] = resource.plan(resource.read()).all_steps
    host.file.write_bytes(WITH_REGION)
    resource.execute(step)
    assert host.file.read_bytes() == WITH_REGION


def test_a_file_that_cannot_be_written_is_an_error(host):
    host.file.with_name(".credentials.new").mkdir()
    resource = SharedCredentialsResource(host.desired)
    step = resource.plan(resource.read()).all_steps[-2]
    with pytest.raises(CwagentError, match=r"Could not set region eu-west-1 .*: Is a directory\.$"):
        resource.execute(step)


# -- Waiting --


def deadline(events):
    """A time limit of four seconds, in which one event happens per pause."""
    now = [0.0]

    def sleep(seconds):
        now[0] += seconds
        if events:
            events.pop(0)()

    return Deadline(4, clock=lambda: now[0], sleep=sleep)


def test_credentials_that_are_there_need_no_wait(host):
    SharedCredentialsResource(host.desired).wait_for_credentials(deadline([lambda: pytest.fail("it has waited")]))


def test_the_ssm_agent_can_write_the_credentials_later(host):
    host.file.unlink()
    events = [lambda: host.file.write_bytes(b""), lambda: host.file.write_bytes(SHARED)]
    SharedCredentialsResource(host.desired).wait_for_credentials(deadline(events))
    assert events == []


@pytest.mark.parametrize("answers", [[("arn", None)], [(None, "STS did not answer."), ("arn", None)]])
def test_an_agent_with_other_credentials_waits_until_these_work(host, monkeypatch, answers):
    host.config.write_text(OTHER_SETTINGS)
    monkeypatch.setattr(resource_file, "find_caller", lambda *_arguments: answers.pop(0))
    SharedCredentialsResource(host.desired).wait_for_credentials(deadline([]))
    assert answers == []


def test_files_that_cannot_be_changed_are_an_error_without_a_wait(host):
    host.file.unlink()
    host.config.write_text("[proxy\n")
    with pytest.raises(CwagentError, match="Line 1: Every value"):
        SharedCredentialsResource(host.desired).wait_for_credentials(deadline([lambda: pytest.fail("it has waited")]))


# -- The user that the CloudWatch agent runs as --


@pytest.mark.parametrize("user", ["", "root", ME])
def test_a_user_that_can_read_the_file_is_accepted(host, user):
    run_as(host, user, "ssm_AmazonCloudWatch-linux")
    assert manage(host.desired)["changed"]


@pytest.mark.parametrize("user", [pytest.param("nobody", marks=as_root), "no-such-user"])
@pytest.mark.parametrize("configs", [["ssm_AmazonCloudWatch-linux"], ["default", "file_config.json"], []])
def test_a_user_that_cannot_read_the_file_is_refused(host, user, configs):
    run_as(host, user, *configs)
    before = content(host)
    for check_mode in (False, True):
        with pytest.raises(CwagentError, match=f"runs as user '{user}' .*three ways out.*Nothing was changed"):
            manage(host.desired, check_mode)
    assert content(host) == before
    assert not manage(replace(host.desired, is_present=False))["changed"]


@as_root
def test_a_user_cannot_read_a_file_that_does_not_exist_yet(host):
    """The SSM agent creates it for root alone."""
    run_as(host, "nobody")
    host.file.unlink()
    with pytest.raises(CwagentError, match="three ways out"):
        manage(host.desired, check_mode=True)


def test_the_user_of_the_agents_default_configuration_does_not_count(host):
    run_as(host, "no-such-user", "default", "ssm_new.tmp")
    assert manage(host.desired)["changed"]


def test_a_configuration_that_the_agent_cannot_read_does_not_count(host):
    (host.etc / "amazon-cloudwatch-agent.toml").write_text("[agent\n")
    assert manage(host.desired)["changed"]


@as_root
@pytest.mark.parametrize(
    ("folder_mode", "file_mode", "is_readable"), [(0o755, 0o640, True), (0o700, 0o640, False), (0o755, 0o600, False)]
)
def test_groups_and_folders_decide_who_can_read(folder_mode, file_mode, is_readable):
    """The folders of pytest belong to their user alone."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "credentials"
        file.write_bytes(SHARED)
        os.chown(file, 0, pwd.getpwnam("nobody").pw_gid)
        file.chmod(file_mode)
        Path(folder).chmod(folder_mode)
        assert resource_file.can_read("nobody", str(file)) == is_readable


def test_the_need_for_root_is_stated(host, monkeypatch):
    other = pwd.struct_passwd(("other", "x", os.geteuid() + 1, 1, "", "/", "/bin/sh"))
    monkeypatch.setattr(resource_file.pwd, "getpwnam", lambda _name: other)

    def refuse(*_args, **_options):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(resource_file.subprocess, "run", refuse)
    with pytest.raises(CwagentError, match=r"Could not check whether user other can read .* root"):
        resource_file.can_read("other", str(host.file))


# -- The identity of the credentials --


@pytest.mark.parametrize("change", [lambda file: file.unlink(), lambda file: file.write_text("[other]\n")])
def test_credentials_that_have_gone_are_no_failure(host, change):
    change(host.file)
    found = SharedCredentialsResource(host.desired).find_caller()
    assert found == {"caller": None, "caller_error": "The credentials file has no credentials at the moment."}


def test_files_that_have_become_invalid_are_no_failure(host):
    host.config.write_text("[proxy\n")
    found = SharedCredentialsResource(host.desired).find_caller()
    assert found["caller"] is None
    assert "Line 1: Every value of common-config.toml" in str(found["caller_error"])
