from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._restore.options import leftovers
from ansible_collections.cwagent.iam.plugins.module_utils._restore.resource import Leftovers

PARAMS: dict[str, Any] = {
    "admin_role": "R",
    "server_profile": "S",
    "window_state": "closed",
    "close_role_window": True,
    "users": ["u"],
    "instances": {"eu-central-1": ["i-0123456789abcdef0"]},
    "record_regions": None,
    "adopt_existing": False,
}


def test_where_to_look_follows_the_options() -> None:
    assert leftovers(PARAMS) == Leftovers(
        "R", "S", "closed", True, ["u"], PARAMS["instances"], record_regions=None, adopt_existing=False
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"admin_role": "a b"}, "'a b' is not a valid role name"),
        ({"server_profile": "a b"}, "'a b' is not a valid instance profile name"),
        ({"server_profile": "R"}, "R"),
        ({"users": ["a b"]}, "'a b' is not a valid user name"),
        ({"instances": {"": ["x"]}}, "'x' is not a valid EC2 instance ID"),
    ],
)
def test_an_invalid_option_is_an_error(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        leftovers({**PARAMS, **options})
