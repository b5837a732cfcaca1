"""The environment of started programs has none of the developer's settings."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from emulator import environment

EXCLUDED = [
    *("AWS_PROFILE", "AWS_SESSION_TOKEN", "ANSIBLE_STDOUT_CALLBACK", "BOTO_CONFIG", "EC2_REGION", "PYTHONSTARTUP"),
    *("MOLECULE_DEBUG", "MOTO_ACCOUNT_ID", "MINISTACK_REGION", "http_proxy", "HTTPS_PROXY", "all_proxy", "no_proxy"),
]


@pytest.mark.parametrize("name", EXCLUDED)
def test_settings_of_the_developer_are_excluded(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "set by the developer")
    assert name not in environment.clean_environment()
    assert name not in environment.program_environment()


@pytest.mark.parametrize("name", ["HOME", "TERM", "LANG", "AWX_JOB"])
def test_other_variables_are_kept(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "value")
    assert environment.clean_environment()[name] == "value"


def test_no_account_can_be_found() -> None:
    variables = environment.clean_environment()
    assert variables["AWS_CONFIG_FILE"] == variables["AWS_SHARED_CREDENTIALS_FILE"] == os.devnull
    assert variables["AWS_EC2_METADATA_SERVICE_ENDPOINT"] == environment.NO_METADATA


def test_a_later_layer_overrides_and_an_empty_value_removes() -> None:
    variables = environment.program_environment({"A": "1", "B": "1"}, {"A": "2", "B": ""})
    assert (variables["A"], variables.get("B")) == ("2", None)


def test_programs_of_this_python_come_first() -> None:
    path = environment.program_environment()["PATH"]
    assert path.split(os.pathsep)[0] == str(Path(sys.executable).parent)


def test_the_command_runs_in_a_clean_environment() -> None:
    command = [sys.executable, "-I", environment.__file__, "env"]
    variables = {**os.environ, "AWS_PROFILE": "developer"}
    printed = subprocess.run(command, env=variables, check=True, capture_output=True, text=True).stdout
    assert "AWS_PROFILE" not in printed
    assert f"AWS_CONFIG_FILE={os.devnull}" in printed
