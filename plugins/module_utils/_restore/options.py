# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the module cwagent_restore."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from ansible_collections.cwagent.iam.plugins.module_utils import _names
from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance.model import check_profiles
from ansible_collections.cwagent.iam.plugins.module_utils._credentials.stores import PLACE_SPEC
from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._options import read_options, spec_of
from ansible_collections.cwagent.iam.plugins.module_utils._restore.lookups import Inputs, fail_on_problems
from ansible_collections.cwagent.iam.plugins.module_utils._restore.resource import Leftovers
from ansible_collections.cwagent.iam.plugins.module_utils._restore.unlisted import key_directory, to_listed
from ansible_collections.cwagent.iam.plugins.module_utils._wait import WAIT_SPEC

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

T = TypeVar("T")
RESTORED, CHECKED = "restored", "checked"
NAMES: dict[str, Any] = {"type": "list", "elements": "str", "default": []}
# By state, the options that are refused with the other one.
OPTIONS_OF: dict[str, dict[str, Any]] = {RESTORED: spec_of(Leftovers), CHECKED: spec_of(Inputs)}
SPEC: dict[str, Any] = {
    "state": {"type": "str", "choices": [RESTORED, CHECKED], "default": RESTORED},
    "instances": {"type": "dict", "default": {}},
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


class Problems:
    """Collects the messages of failed checks, each once, because several options can have the same problem."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def check(self, check: Callable[..., T], *arguments: Any) -> T | None:
        """Return the check's result; ``None`` if it fails."""
        try:
            return check(*arguments)
        except InvalidInput as error:
            if str(error) not in self.messages:
                self.messages.append(str(error))
            return None

    def check_names(self, kind: str, names: Sequence[str]) -> None:
        """Check names of roles, users or instance profiles."""
        for name in names:
            self.check(_names.check_name, kind, name)
        self.check(_names.check_different, names)

    def check_lists(self, option: str, given: Mapping[str, Any]) -> dict[str, list[str]]:
        """Return the lists of an option by region."""
        each = (self.check(_names.names_by_region, option, {region: value}) for region, value in given.items())
        return {region: names for found in each for region, names in (found or {}).items()}

    def check_instances(self, given: Mapping[str, Any]) -> dict[str, list[str]]:
        """Return the IDs of instances by region."""
        instances = self.check_lists("instances", given)
        for instance_id in (each for ids in instances.values() for each in ids):
            self.check(_names.check_instance_id, instance_id)
        return instances


def to_leftovers(params: Mapping[str, Any]) -> Leftovers:
    """Return the places to check. :raises InvalidInput: an option is invalid. The message lists all problems."""
    role, profile, found = params["admin_role_name"], params["server_profile"], Problems()
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
    listed = to_listed(params, instances, [profile, *([role] if role else [])])
    return read_options(Leftovers, params, instances=instances, unlisted=listed)


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
    return read_options(
        Inputs,
        params,
        instances=instances,
        users_to_delete=users_to_delete,
        configs_to_delete=configs_to_delete,
        unlisted=to_listed(params, {}, []),
        directory=key_directory(params),
    )


def _check_options(params: Mapping[str, Any], state: str) -> None:
    """Check that the options of another state have their default values. :raises InvalidInput: one has another."""
    options = OPTIONS_OF[state]
    if given := [name for name, option in options.items() if params[name] != option.get("default")]:
        raise InvalidInput(f"{', '.join(given)}: only for state={state}.")
