from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance.options import desired_admin, desired_window
from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance.plan import (
    ACQUIRED,
    EXCLUSIVE,
    RELEASED,
    DesiredAdmin,
)
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.plan import CLOSED, OPEN, DesiredWindow
from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput

INSTANCE = "i-0123456789abcdef0"
PARAMS: dict[str, Any] = {
    "admin_profile": "admin",
    "server_profile": "server",
    "instance_ids": [INSTANCE],
    "state": ACQUIRED,
    "admin_role": "R",
    "window_minutes": 30,
    "fail_if_tagged": False,
    "assume_running": False,
    "assume_created": False,
    "skip_window_read": False,
    "keep_tag": False,
}


@pytest.mark.parametrize(
    ("params", "desired"),
    [
        ({}, DesiredAdmin(ACQUIRED, "admin", "server", (INSTANCE,))),
        ({"fail_if_tagged": True}, DesiredAdmin(ACQUIRED, "admin", "server", (INSTANCE,), fail_if_tagged=True)),
        ({"assume_running": True}, DesiredAdmin(ACQUIRED, "admin", "server", (INSTANCE,), assume_running=True)),
        ({"assume_created": True}, DesiredAdmin(ACQUIRED, "admin", "server", (INSTANCE,), assume_created=True)),
        ({"state": RELEASED, "keep_tag": True}, DesiredAdmin(RELEASED, "admin", "server", (INSTANCE,), keep_tag=True)),
        ({"state": RELEASED, "instance_ids": None}, DesiredAdmin(RELEASED, "admin", "server", None)),
        ({"state": RELEASED, "instance_ids": []}, DesiredAdmin(RELEASED, "admin", "server", ())),
    ],
)
def test_the_desired_admin_instance_follows_the_options(params, desired):
    assert desired_admin({**PARAMS, **params}) == desired


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"admin_profile": "a b"}, "'a b' is not a valid instance profile name"),
        ({"server_profile": "a b"}, "'a b' is not a valid instance profile name"),
        ({"server_profile": "admin"}, "'admin' is both the admin and the server profile"),
        ({"instance_ids": []}, "instance_ids is empty"),
        ({"instance_ids": ["web"]}, "'web' is not a valid EC2 instance ID"),
    ],
)
def test_an_invalid_option_of_the_admin_instance_is_an_error(params, message):
    with pytest.raises(InvalidInput, match=message):
        desired_admin({**PARAMS, **params})


@pytest.mark.parametrize(
    ("params", "window"),
    [
        ({}, DesiredWindow("role", "R", OPEN, 30)),
        ({"state": RELEASED}, DesiredWindow("role", "R", CLOSED)),
        ({"state": RELEASED, "skip_window_read": True}, DesiredWindow("role", "R", CLOSED, force=True)),
        ({"state": EXCLUSIVE}, None),
        ({"admin_role": None}, None),
    ],
)
def test_the_window_is_opened_and_closed_with_the_profile(params, window):
    assert desired_window({**PARAMS, **params}) == window


@pytest.mark.parametrize(
    ("params", "message"),
    [({"admin_role": "a b"}, "'a b' is not a valid role name"), ({"window_minutes": 0}, "not 0")],
)
def test_an_invalid_option_of_the_window_is_an_error(params, message):
    with pytest.raises(InvalidInput, match=message):
        desired_window({**PARAMS, **params})
