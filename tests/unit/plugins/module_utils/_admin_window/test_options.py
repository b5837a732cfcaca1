from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.options import desired_window
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.plan import CLOSED, OPEN, DesiredWindow
from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput

PARAMS: dict[str, Any] = {
    "role": "R",
    "user": None,
    "state": OPEN,
    "minutes": 15,
    "force": False,
    "managed_only": False,
    "assume_closed": False,
}


@pytest.mark.parametrize(
    ("params", "desired"),
    [
        ({}, DesiredWindow("role", "R", OPEN)),
        ({"minutes": 30}, DesiredWindow("role", "R", OPEN, 30)),
        ({"role": None, "user": "U"}, DesiredWindow("user", "U", OPEN)),
        ({"managed_only": True}, DesiredWindow("role", "R", OPEN, managed_only=True)),
        ({"state": CLOSED, "minutes": 0, "force": True}, DesiredWindow("role", "R", CLOSED, 0, force=True)),
    ],
)
def test_the_desired_window_follows_the_options(params, desired):
    assert desired_window({**PARAMS, **params}, check_mode=False) == desired


@pytest.mark.parametrize("check_mode", [False, True])
def test_what_is_assumed_matters_in_check_mode_only(check_mode):
    assert desired_window({**PARAMS, "assume_closed": True}, check_mode=check_mode).assume_closed == check_mode


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"role": ""}, r"^One of role and user is required\.$"),
        ({"role": "a b"}, "'a b' is not a valid role name"),
        ({"role": None, "user": "a b"}, "'a b' is not a valid user name"),
        ({"minutes": 0}, "must be between 1 and 720 minutes, not 0"),
    ],
)
def test_an_invalid_option_is_an_error(params, message):
    with pytest.raises(InvalidInput, match=message):
        desired_window({**PARAMS, **params}, check_mode=False)
