from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance.options import desired_admin, desired_window
from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance.plan import (
    ACQUIRED,
    RELEASED,
    DesiredAdmin,
)
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.plan import CLOSED, OPEN, DesiredWindow
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.policy import WindowParameter
from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput

INSTANCE, OTHER = "i-0123456789abcdef0", "i-0123456789abcdef1"
LINUX = {"name": "AmazonCloudWatch-linux", "region": "eu-central-1"}
PARAMS: dict[str, Any] = {
    "admin_profile": "admin",
    "server_profile": "server",
    "instance_ids": [INSTANCE],
    "state": ACQUIRED,
    "fallback_instance_ids": [],
    "record_role": None,
    "admin_role": "R",
    "window_minutes": 30,
    "managed_only": False,
    "parameters": [],
}


def admin(state: str, **more: Any) -> DesiredAdmin:
    """The desired state, with the values of ``PARAMS`` as defaults."""
    named: dict[str, Any] = {"instance_ids": (INSTANCE,), "record_role": "R", "region": "eu-1", **more}
    named["fail_if_tagged"] = True
    return DesiredAdmin(state, "admin", "server", **named)


@pytest.mark.parametrize(
    ("params", "desired"),
    [
        ({}, admin(ACQUIRED)),
        ({"state": RELEASED, "instance_ids": None}, admin(RELEASED, instance_ids=None)),
        ({"state": RELEASED, "instance_ids": []}, admin(RELEASED, instance_ids=())),
        ({"fallback_instance_ids": [OTHER]}, admin(ACQUIRED, fallback_ids=frozenset({OTHER}))),
        ({"record_role": "Q"}, admin(ACQUIRED, record_role="Q")),
        ({"admin_role": None}, admin(ACQUIRED, record_role="admin")),
    ],
)
def test_the_desired_admin_instance_follows_the_options(params, desired):
    assert desired_admin({**PARAMS, **params}, "eu-1") == desired


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"admin_profile": "a b"}, "'a b' is not a valid instance profile name"),
        ({"server_profile": "a b"}, "'a b' is not a valid instance profile name"),
        ({"server_profile": "admin"}, "'admin' is both the admin and the server profile"),
        ({"instance_ids": []}, "instance_ids is empty"),
        ({"instance_ids": ["web"]}, "'web' is not a valid EC2 instance ID"),
        ({"fallback_instance_ids": ["web"]}, "'web' is not a valid EC2 instance ID"),
        ({"record_role": "a b"}, "'a b' is not a valid role name"),
    ],
)
def test_an_invalid_option_of_the_admin_instance_is_an_error(params, message):
    with pytest.raises(InvalidInput, match=message):
        desired_admin({**PARAMS, **params}, "eu-1")


@pytest.mark.parametrize(
    ("params", "window"),
    [
        ({"managed_only": True}, DesiredWindow("role", "R", OPEN, 30, managed_only=True, instance_id=INSTANCE)),
        ({"state": RELEASED, "managed_only": True}, DesiredWindow("role", "R", CLOSED)),
        ({}, DesiredWindow("role", "R", OPEN, 30, instance_id=INSTANCE)),
        (
            {"parameters": [LINUX]},
            DesiredWindow("role", "R", OPEN, 30, instance_id=INSTANCE, parameters=(WindowParameter(**LINUX),)),
        ),
        ({"state": RELEASED}, DesiredWindow("role", "R", CLOSED)),
        ({"admin_role": None}, None),
    ],
)
def test_the_window_is_opened_and_closed_with_the_profile(params, window):
    assert desired_window({**PARAMS, **params}) == window


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"admin_role": "a b"}, "'a b' is not a valid role name"),
        ({"window_minutes": 0}, "not 0"),
        ({"parameters": [{**LINUX, "region": "*"}]}, r"'\*' is not the name of an AWS region"),
        (
            {"parameters": [{**LINUX, "name": f"{LINUX['name']}-{number}"} for number in range(200)]},
            "characters \\(parameters: 200\\)",
        ),
    ],
)
def test_an_invalid_option_of_the_window_is_an_error(params, message):
    with pytest.raises(InvalidInput, match=message):
        desired_window({**PARAMS, **params})
