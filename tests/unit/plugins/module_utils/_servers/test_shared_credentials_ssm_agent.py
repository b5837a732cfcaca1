from __future__ import annotations

import os
import subprocess
import sys

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._ground import files
from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import CwagentError, InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._servers import shared_credentials
from ansible_collections.cwagent.iam.plugins.module_utils._servers.shared_credentials import (
    desired_files,
    find_configuration,
    find_shared_file,
)
from ansible_collections.cwagent.iam.plugins.module_utils._servers.shared_credentials_plan import Desired
from ansible_collections.cwagent.iam.plugins.module_utils._servers.ssm_agent import Configuration

NOT_FOUND = "LoadState=not-found\nMainPID=0\n"
NO_PROCESS = 2**22 + 1
"""More than a Linux system can have."""


class Systemd:
    """Answers ``systemctl show``. :param units: by name, their properties."""

    def __init__(self, **units):
        self.units = units
        self.asked = []

    def __call__(self, command):
        program, action, properties, name = command
        assert (program, action, properties.split("=")[0]) == ("/bin/systemctl", "show", "--property")
        self.asked.append(name)
        return 0, self.units.get(name.split(".")[0], NOT_FOUND), ""


@pytest.fixture
def process():
    """The environment of a process of the SSM agent, which it has from its start."""
    started = []

    def start(**environment):
        code = "print('', flush=True); input()"
        program = [sys.executable, "-c", code]
        started.append(
            subprocess.Popen(program, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        )
        started[-1].stdout.readline()
        return started[-1].pid

    yield start
    for each in started:
        each.communicate("\n")


def loaded(pid=0, *lines):
    return "\n".join(["LoadState=loaded", f"MainPID={pid}", *lines, ""])


def find(systemd):
    return find_shared_file("/bin/systemctl", systemd)


@pytest.mark.parametrize("unit", ["amazon-ssm-agent", "snap"])
def test_the_process_decides(process, unit):
    pid = process(AWS_SHARED_CREDENTIALS_FILE="/var/lib/shared", HOME="/h")
    assert find(Systemd(**{unit: loaded(pid, "Environment=AWS_SHARED_CREDENTIALS_FILE=/later")})) == "/var/lib/shared"
    assert find(Systemd(**{unit: loaded(process(HOME="/h"))})) == "/h/.aws/credentials"


@pytest.mark.parametrize("pid", [0, NO_PROCESS])
def test_the_unit_decides_without_a_process(tmp_path, pid):
    file = tmp_path / "environment"
    unit = loaded(pid, "Environment=AWS_SHARED_CREDENTIALS_FILE=/unit", f"EnvironmentFiles={file} (ignore_errors=yes)")
    assert find(Systemd(**{"amazon-ssm-agent": unit})) == "/unit"
    file.write_text("# comment\nAWS_SHARED_CREDENTIALS_FILE=/file\n")
    assert find(Systemd(**{"amazon-ssm-agent": unit})) == "/file"


def test_the_default_is_the_home_directory_of_root():
    systemd = Systemd()
    assert find(systemd) == "/root/.aws/credentials"
    assert systemd.asked == ["amazon-ssm-agent", "snap.amazon-ssm-agent.amazon-ssm-agent.service"]
    assert find_shared_file(None, systemd) == "/root/.aws/credentials"
    assert find(Systemd(**{"amazon-ssm-agent": loaded()})) == "/root/.aws/credentials"


def test_the_need_for_root_is_stated(monkeypatch):
    def refuse(_path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(shared_credentials.Path, "read_bytes", refuse)
    with pytest.raises(CwagentError, match=r"Could not read /proc/1/environ: Permission denied\. .* root"):
        find(Systemd(**{"amazon-ssm-agent": loaded(1)}))


def test_a_missing_configuration_is_the_default_one(tmp_path):
    path = tmp_path / "amazon-ssm-agent.json"
    assert find_configuration(str(path)) == Configuration("default", True, ())
    path.write_bytes(b'{"Profile": {"ShareProfile": "agent"}, "other": "\xff"}')
    assert find_configuration(str(path)) == Configuration("agent", True, ())


# -- Options --


def desired(tmp_path, settings="{}", **changes):
    config = tmp_path / "ssm.json"
    config.write_text(settings)
    options = {
        "region": "eu-west-1",
        "common_config": "/config",
        "agent_ctl": None,
        "ssm_agent_config": str(config),
        "credentials_file": None,
        "role": None,
        "state": "present",
    }
    return desired_files({**options, **changes}, lambda: "/found")


def test_the_file_and_the_profile_are_found(tmp_path):
    assert desired(tmp_path) == Desired("eu-west-1", "/found", "/config", "default", True)
    settings = '{"Profile": {"ShareProfile": "agent"}}'
    given = desired(tmp_path, settings, credentials_file="/given", role="path/Agent", state="absent")
    assert given == Desired("eu-west-1", "/given", "/config", "agent", False, "Agent")


def test_credentials_that_are_not_shared_are_refused_unless_nothing_is_to_be_used(tmp_path):
    settings = '{"Profile": {"ShareCreds": false}}'
    with pytest.raises(
        CwagentError, match=r"Profile\.ShareCreds is false in .*ssm\.json.*cwagent_onprem_identity: key"
    ):
        desired(tmp_path, settings)
    assert not desired(tmp_path, settings, state="absent").is_present


def test_an_invalid_configuration_matters_only_for_the_use_of_credentials(tmp_path):
    settings = '{"Profile": {"ShareProfile": 1}}'
    with pytest.raises(
        CwagentError, match=r"ssm\.json is not valid, so the SSM agent ignores it.*Nothing was changed\."
    ):
        desired(tmp_path, settings)
    assert desired(tmp_path, settings, state="absent").profile == "default"


@pytest.mark.parametrize("state", ["present", "absent"])
def test_a_configuration_that_this_process_cannot_read_is_an_error(tmp_path, monkeypatch, state):
    def refuse(_place, _errors):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(files, "_read", refuse)
    with pytest.raises(CwagentError, match=r"Could not read .*ssm\.json: Permission denied\."):
        desired(tmp_path, state=state)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"region": "eu-west-1\n[x]"}, "is not the name of an AWS region"),
        ({"common_config": "c"}, "common_config must be an absolute path on the host, not 'c'"),
        ({"credentials_file": "/a\0b"}, "credentials_file must be an absolute path"),
        ({"agent_ctl": "c"}, "agent_ctl must be an absolute path"),
        ({"ssm_agent_config": "c"}, "ssm_agent_config must be an absolute path"),
    ],
)
def test_invalid_options(tmp_path, options, message):
    with pytest.raises(InvalidInput) as error:
        desired(tmp_path, **options)
    assert message in str(error.value)


def test_the_environment_of_this_process_is_not_used(monkeypatch):
    monkeypatch.setitem(os.environ, "AWS_SHARED_CREDENTIALS_FILE", "/mine")
    assert find_shared_file(None, Systemd()) == "/root/.aws/credentials"
