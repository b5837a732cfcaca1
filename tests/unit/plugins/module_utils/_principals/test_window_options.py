from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._principals.window import desired_window
from ansible_collections.cwagent.iam.plugins.module_utils._principals.window_plan import CLOSED, OPEN, DesiredWindow
from ansible_collections.cwagent.iam.plugins.module_utils._principals.window_policy import WindowParameter

INSTANCE = "i-0123456789abcdef0"
LINUX = {"name": "AmazonCloudWatch-linux", "region": "eu-central-1"}
WINDOWS = {"name": "AmazonCloudWatch-windows", "region": "eu-central-1"}
PARAMS: dict[str, Any] = {
    "role": "R",
    "user": None,
    "state": OPEN,
    "window_minutes": 15,
    "force": False,
    "managed_only": False,
    "instance_id": INSTANCE,
    "parameters": [],
}


def role_window(state: str = OPEN, minutes: int = 15, **more: Any) -> DesiredWindow:
    return DesiredWindow("role", "R", state, minutes, instance_id=INSTANCE, **more)


@pytest.mark.parametrize(
    ("params", "desired"),
    [
        ({}, role_window()),
        ({"window_minutes": 30}, role_window(minutes=30)),
        ({"role": None, "user": "U", "instance_id": None}, DesiredWindow("user", "U", OPEN)),
        ({"managed_only": True}, role_window(managed_only=True)),
        ({"state": CLOSED, "window_minutes": 0, "force": True}, role_window(CLOSED, 0, force=True)),
        ({"state": CLOSED, "instance_id": None}, DesiredWindow("role", "R", CLOSED)),
        (
            {"parameters": [WINDOWS, LINUX, WINDOWS]},
            role_window(parameters=(WindowParameter(**LINUX), WindowParameter(**WINDOWS))),
        ),
    ],
)
def test_the_desired_window_follows_the_options(params, desired):
    assert desired_window({**PARAMS, **params}) == desired


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"role": ""}, r"^One of role and user is required\.$"),
        ({"role": "a b"}, "'a b' is not a valid role name"),
        ({"role": None, "user": "a b"}, "'a b' is not a valid user name"),
        ({"window_minutes": 0}, "must be between 1 and 720 minutes, not 0"),
        ({"instance_id": None}, "window of role 'R' can be opened for one instance only: instance_id is required"),
        ({"instance_id": "i-*"}, r"'i-\*' is not a valid EC2 instance ID"),
        ({"parameters": [{**LINUX, "name": "x"}]}, "'x' does not begin with AmazonCloudWatch-"),
        ({"parameters": [{**LINUX, "name": "AmazonCloudWatch-*"}]}, r"'AmazonCloudWatch-\*': AWS allows"),
        ({"parameters": [{**LINUX, "region": "*"}]}, r"'\*' is not the name of an AWS region"),
    ],
)
def test_an_invalid_option_is_an_error(params, message):
    with pytest.raises(InvalidInput, match=message):
        desired_window({**PARAMS, **params})
