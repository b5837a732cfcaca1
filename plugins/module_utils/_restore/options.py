# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the module cwagent_restore."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance.model import check_profiles
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.plan import ABSENT, CLOSED
from ansible_collections.cwagent.iam.plugins.module_utils._credentials.stores import PLACE_SPEC
from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._restore.checks import Problems, fail_on_problems
from ansible_collections.cwagent.iam.plugins.module_utils._restore.lookups import Inputs
from ansible_collections.cwagent.iam.plugins.module_utils._restore.resource import KEEP, Leftovers
from ansible_collections.cwagent.iam.plugins.module_utils._restore.unlisted import key_directory, to_listed
from ansible_collections.cwagent.iam.plugins.module_utils._wait import WAIT_SPEC

if TYPE_CHECKING:
    from collections.abc import Mapping

RESTORED, CHECKED = "restored", "checked"
NAMES: dict[str, Any] = {"type": "list", "elements": "str", "default": []}
BY_NAME: dict[str, Any] = {"type": "dict", "default": {}}
# By state, the options that are refused with the other one.
OPTIONS_OF: dict[str, dict[str, Any]] = {
    RESTORED: {
        "admin_role": {"type": "str"},
        "server_profile": {"type": "str"},
        "window_state": {"type": "str", "choices": [CLOSED, ABSENT, KEEP], "default": CLOSED},
        "close_role_window": {"type": "bool", "default": True},
        "admin_users": NAMES,
        "check_instances": {"type": "bool", "default": False},
        "adopt_existing": {"type": "bool", "default": True},
    },
    CHECKED: {
        "profiles_to_delete": NAMES,
        "expected_instance_ids": NAMES,
        "users_to_delete": BY_NAME,
        "default_users": BY_NAME,
        "optional_users": NAMES,
        "saved_users": NAMES,
        "configs_to_delete": BY_NAME,
    },
}
SPEC: dict[str, Any] = {
    "state": {"type": "str", "choices": [RESTORED, CHECKED], "default": RESTORED},
    "instances": BY_NAME,
    "users": NAMES,
    "report_unlisted": {"type": "bool", "default": False},
    **PLACE_SPEC,
    "key_store_directory": {"type": "path"},
    "key_store_regions": {**NAMES, "no_log": False},
    **OPTIONS_OF[RESTORED],
    **OPTIONS_OF[CHECKED],
    **WAIT_SPEC,
}
RULES: dict[str, Any] = {"required_if": [("state", RESTORED, ["server_profile"])]}


def to_leftovers(params: Mapping[str, Any]) -> Leftovers:
    """Return the places to check. :raises InvalidInput: an option is invalid. The message lists all problems."""
    role, profile, found = params["admin_role"], params["server_profile"], Problems()
    found.check(_check_options, params, CHECKED)
    if profile is None:  # Ansible takes null as a value
        fail_on_problems(["server_profile is required."])
    found.check_names("instance profile", [profile])
    if role is not None:
        found.check_names("role", [role])
        found.check(check_profiles, role, profile)
    for option in ("admin_users", "users"):
        found.check_names("user", params[option])
    instances = found.check_instances(params["instances"])
    fail_on_problems(found.messages)
    return Leftovers(
        role,
        profile,
        params["window_state"],
        params["close_role_window"],
        params["admin_users"],
        instances,
        params["check_instances"],
        params["adopt_existing"],
        to_listed(params, instances, [profile, *([role] if role else [])]),
    )


def to_inputs(params: Mapping[str, Any]) -> Inputs:
    """Return what to look up. :raises InvalidInput: an option is invalid. The message lists all problems."""
    found = Problems()
    found.check(_check_options, params, RESTORED)
    for option in ("users", "saved_users"):
        found.check_names("user", params[option])
    found.check_names("user", [str(each) for each in params["default_users"].values()])
    instances = found.check_instances(params["instances"])
    users_to_delete, configs_to_delete = (
        found.check_lists(option, params[option]) for option in ("users_to_delete", "configs_to_delete")
    )
    fail_on_problems(found.messages)
    return Inputs(
        instances=instances,
        profiles_to_delete=params["profiles_to_delete"],
        expected_instance_ids=params["expected_instance_ids"],
        users_to_delete=users_to_delete,
        default_users=params["default_users"],
        optional_users=params["optional_users"],
        configs_to_delete=configs_to_delete,
        unlisted=to_listed(params, {}, []),
        saved_users=params["saved_users"],
        directory=key_directory(params),
    )


def _check_options(params: Mapping[str, Any], state: str) -> None:
    """Check that the options of another state have their default values. :raises InvalidInput: one has another."""
    options = OPTIONS_OF[state]
    if given := [name for name, option in options.items() if params[name] != option.get("default")]:
        raise InvalidInput(f"{', '.join(given)}: only for state={state}.")
