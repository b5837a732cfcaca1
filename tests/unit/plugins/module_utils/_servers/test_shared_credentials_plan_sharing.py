from __future__ import annotations

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import CwagentError
from ansible_collections.cwagent.iam.plugins.module_utils._servers.shared_credentials_plan import (
    parse_environment,
    parse_unit,
    shared_file,
)


@pytest.mark.parametrize(
    ("environment", "path"),
    [
        ({}, "/root/.aws/credentials"),
        ({"HOME": ""}, "/root/.aws/credentials"),
        ({"HOME": "/home/ssm"}, "/home/ssm/.aws/credentials"),
        ({"AWS_SHARED_CREDENTIALS_FILE": "", "HOME": "/h"}, "/h/.aws/credentials"),
        ({"AWS_SHARED_CREDENTIALS_FILE": "/var/lib/shared", "HOME": "/h"}, "/var/lib/shared"),
    ],
)
def test_the_file_depends_on_the_environment_of_the_ssm_agent(environment, path):
    assert shared_file(environment, "/root") == path


def test_a_relative_file_is_an_error():
    with pytest.raises(CwagentError, match="AWS_SHARED_CREDENTIALS_FILE of the SSM agent is not an absolute path: 'x'"):
        shared_file({"AWS_SHARED_CREDENTIALS_FILE": "x"}, "/root")


@pytest.mark.parametrize(
    ("text", "environment"),
    [
        ("", {}),
        ("A=1\0B=x=y z\0\0C\0", {"A": "1", "B": "x=y z"}),
        (
            "# a comment\n; another\n\nA=1\n B = 'x y' \nC=\"z\"\nexport\nD='\nE='x\"\n",
            {"A": "1", "B": "x y", "C": "z", "D": "'", "E": "'x\""},
        ),
    ],
)
def test_environments_are_read_from_processes_and_files(text, environment):
    assert parse_environment(text) == environment


UNIT = """\
MainPID=0
LoadState=loaded
Environment=A=1 "B=x y"
EnvironmentFiles=/etc/a (ignore_errors=yes)
EnvironmentFiles=/etc/b c (ignore_errors=no)
"""


@pytest.mark.parametrize(
    ("output", "unit"),
    [
        ("", (False, 0, {}, [])),
        ("LoadState=not-found\nMainPID=0\n", (False, 0, {}, [])),
        ("LoadState=loaded\nMainPID=12\nEnvironment=\n", (True, 12, {}, [])),
        (UNIT, (True, 0, {"A": "1", "B": "x y"}, ["/etc/a", "/etc/b c"])),
        ("LoadState=loaded\nEnvironment=A='\n", (True, 0, {}, [])),
    ],
)
def test_units_of_systemd_are_read(output, unit):
    found = parse_unit(output)
    assert (found.is_loaded, found.process, found.environment, found.files) == unit
