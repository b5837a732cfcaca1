# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the module cwagent_iam_user, and the users that they describe."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils import _names
from ansible_collections.cwagent.iam.plugins.module_utils._access_keys.rotation import key_rules
from ansible_collections.cwagent.iam.plugins.module_utils._credentials.file_store import FileStore
from ansible_collections.cwagent.iam.plugins.module_utils._credentials.stores import (
    PLACE_SPEC,
    PROFILE_SPEC,
    open_store,
)
from ansible_collections.cwagent.iam.plugins.module_utils._principal.options import (
    PRINCIPAL_SPEC,
    declared_principal,
    with_policy_arns,
)
from ansible_collections.cwagent.iam.plugins.module_utils._user.resource import UserResource

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws

SPEC: dict[str, Any] = {
    "name": {"type": "list", "elements": "str"},
    "users_by_region": {"type": "dict"},
    "saved_key": {
        "type": "dict",
        "no_log": False,
        "options": {
            **PLACE_SPEC,
            "key_store_directory": {"type": "path"},  # nothing is saved to a folder that was not chosen
            **PROFILE_SPEC,
            "key_store_kms_key_id": {"type": "str"},
            "evict_unmanaged_key": {"type": "bool", "default": False},
            "key_store_allow_ephemeral": {"type": "bool", "default": False},
        },
        "required_if": [("key_store", FileStore.NAME, [FileStore.OPTION])],
    },
    "key_max_age_days": {"type": "int", "no_log": False},
    "rotate_now": {"type": "bool", "default": False},
    "key_delete_after_days": {"type": "int", "no_log": False, "default": 7},
    "revoke_old": {"type": "bool", "default": False},
    "hold": {"type": "dict", "default": {}},
    **PRINCIPAL_SPEC,
    "state": {"type": "str", "choices": ["present", "absent", "retired"], "default": "present"},
}
RULES: dict[str, Any] = {
    "required_one_of": [("name", "users_by_region")],
    "mutually_exclusive": [("name", "users_by_region")],
    "required_if": [
        ("state", "present", ["access"]),
        ("state", "retired", ["saved_key"]),
        ("rotate_now", True, ["saved_key"]),
    ],
    "required_by": {"key_max_age_days": ["saved_key"]},
}


def resource(params: Mapping[str, Any], aws: Aws, region: str | None) -> UserResource:
    """Return the users of the module. :raises InvalidInput: an option is invalid."""
    params = with_policy_arns(params, aws, region)
    for name in params["name"]:
        _names.check_name("user", name)
    _names.check_different(params["name"])
    desired, state, saved_key = declared_principal(params, region), params["state"], params["saved_key"]
    store = None
    if saved_key is not None:
        allowed = saved_key["key_store_allow_ephemeral"] or state != "present"
        store = open_store({**saved_key, "key_store_allow_ephemeral": allowed}, params["name"], aws, region)
    return UserResource(
        aws,
        params["name"],
        desired,
        store=store,
        present=state == "present",
        rules=replace(key_rules(params), retires=state == "retired"),
        hold=params["hold"],
    )
