from __future__ import annotations

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._accounts.inventory import runs_windows


@pytest.mark.parametrize(
    ("described", "expected"),
    [
        ({}, False),
        ({"Platform": ""}, False),
        ({"PlatformDetails": "Linux/UNIX"}, False),
        ({"PlatformDetails": "Red Hat Enterprise Linux with SQL Server Standard"}, False),
        ({"Platform": "windows"}, True),
        ({"Platform": "Windows", "PlatformDetails": "Windows"}, True),
        ({"PlatformDetails": "Windows BYOL"}, True),
        ({"PlatformDetails": "Windows with SQL Server Standard"}, True),
    ],
)
def test_ec2_describes_which_instances_run_windows(described: dict[str, str], expected: bool) -> None:
    assert runs_windows(described) is expected
