from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._preflight.unlisted import Listed
from ansible_collections.cwagent.iam.plugins.module_utils._restore.options import to_leftovers
from ansible_collections.cwagent.iam.plugins.module_utils._restore.resource import Leftovers

PARAMS: dict[str, Any] = {
    "admin_role": "R",
    "server_profile": "S",
    "window_state": "closed",
    "close_role_window": True,
    "admin_users": ["u"],
    "instances": {"eu-central-1": ["i-0123456789abcdef0"]},
    "check_instances": True,
    "adopt_existing": False,
    "users": ["u", "v"],
    "report_unlisted": False,
    "key_store_directory": None,
    "key_store": "parameter_store",
    "key_store_prefix": "/keys/",
    "key_store_regions": ["us-east-1"],
}


def test_where_to_look_follows_the_options() -> None:
    assert to_leftovers(PARAMS) == Leftovers("R", "S", "closed", True, ["u"], PARAMS["instances"], True, False)


@pytest.mark.parametrize(("role", "profiles"), [("R", ["S", "R"]), (None, ["S"])])
def test_the_contents_of_the_inventory_follow_the_options(role: str | None, profiles: list[str]) -> None:
    found = to_leftovers({**PARAMS, "admin_role": role, "report_unlisted": True})
    instances = frozenset({"i-0123456789abcdef0"})
    assert found.role == role
    assert found.unlisted == Listed(
        ["u", "v"], instances, profiles, None, "parameter_store", "/keys/", regions=["us-east-1"]
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"admin_role": "a b"}, "'a b' is not a valid role name"),
        ({"server_profile": "a b"}, "'a b' is not a valid instance profile name"),
        ({"server_profile": "R"}, "R"),
        ({"admin_users": ["a b"]}, "'a b' is not a valid user name"),
        ({"users": ["a b"]}, "'a b' is not a valid user name"),
        ({"users": ["a", "A"]}, "'a' and 'A' differ only by case"),
        ({"instances": {"": ["x"]}}, "'x' is not a valid EC2 instance ID"),
    ],
)
def test_an_invalid_option_is_an_error(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as caught:
        to_leftovers({**PARAMS, **options})
    assert str(caught.value).endswith(" Nothing was changed.")
    assert len(caught.value.details["problems"]) == 1


def test_all_invalid_options_are_reported_together() -> None:
    with pytest.raises(InvalidInput) as caught:
        to_leftovers({**PARAMS, "admin_role": "a b", "admin_users": ["c d"], "instances": {"": "x"}})
    assert len(caught.value.details["problems"]) == 3
