# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads from a module's options which parts of an account to read, and the rules for it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from .._configuration.plan import check_parameter_name
from .._ground import names as _names
from .._ground.errors import InvalidInput
from .._ground.options import read_options, spec_of
from .._keys.key_rotation import check_days
from .._keys.stores import KEY_STORES, PLACE_SPEC
from .case import Choices
from .model import ACCESS, HISTORY, PARTS, ROLE, USER, Scope

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


SPEC: dict[str, Any] = {
    "roles": {"type": "list", "elements": "str"},
    "users": {"type": "list", "elements": "str"},
    "regions": {"type": "list", "elements": "str", "default": []},
    "instances": {"type": "dict", "default": {}},
    "account_id": {"type": "str"},
    "label": {"type": "str", "default": "controller"},
    "key_stores": {"type": "list", "elements": "str", "choices": list(KEY_STORES), "default": list(KEY_STORES)},
    "key_store_prefix": PLACE_SPEC["key_store_prefix"],
    "key_max_age_days": {"type": "int", "default": 90, "no_log": False},
    **spec_of(Choices),
    "simulate": {"type": "bool", "default": False},
    "parts": {"type": "list", "elements": "str", "choices": list(PARTS), "default": list(PARTS)},
    "configs_by_region": {"type": "dict", "default": {}},
}


def scope(params: Mapping[str, Any], region: str | None) -> Scope:
    """Return the parts to read. :param region: the region of the module. :raises InvalidInput: a name is not valid."""
    instances = _by_region(params, "instances", region, _names.check_instance_id)
    configurations = _by_region(params, "configs_by_region", region, check_parameter_name)
    regions = tuple(dict.fromkeys(params["regions"] or [region, *instances, *configurations]))
    if not all(regions):
        raise InvalidInput("No AWS region is set. Set the option regions or region, or AWS_REGION.")
    for each in (*regions, *instances, *configurations):
        _names.check_region(each)
    names = {ROLE: params["roles"], USER: params["users"]}
    for kind, of_kind in names.items():
        for name in of_kind or ():
            _names.check_name(kind, name)
    has_access = ACCESS in params["parts"]
    is_named = any(each is not None for each in names.values())
    return Scope(
        params["label"],
        regions,
        {kind: of_kind or [] for kind, of_kind in names.items()} if is_named else None,
        instances if has_access else {},
        tuple(params["key_stores"]),
        params["key_store_prefix"],
        params["account_id"],
        has_nodes=True,
        has_activations=True,
        has_access=has_access,
        configurations=configurations if HISTORY in params["parts"] else {},
    )


def _by_region(
    params: Mapping[str, Any], option: str, default: str | None, check: Callable[[str], None]
) -> dict[str, list[str]]:
    """Return the checked names of an option by region. :param default: the region that the empty name stands for."""
    given = _names.names_by_region(option, params[option])
    for names in given.values():
        for each in names:
            check(each)
    return {region or default or "": names for region, names in given.items()}


def choices(params: Mapping[str, Any]) -> Choices:
    """Return the rules. :raises InvalidInput: an option is not valid."""
    check_days("key_max_age_days", params["key_max_age_days"], minimum=0)
    _names.check_name("instance profile", params["server_profile"])
    _names.check_name("role", params["hybrid_role_name"])
    _names.check_name("role", params["admin_role_name"])
    _names.check_name("user", params["admin_user_name"])
    days, users, roles = params["key_max_age_days"], params["inventory_users"], params["attach_to_roles"]
    return read_options(
        Choices,
        params,
        key_max_age_days=timedelta(days=days) if days else None,
        inventory_users=None if users is None else frozenset(users),
        attach_to_roles=None if roles is None else frozenset(roles),
    )
