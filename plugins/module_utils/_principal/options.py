# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options that roles and users have in common, for the modules that take them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible.module_utils.common.warnings import warn

from ansible_collections.cwagent.iam.plugins.module_utils import _names
from ansible_collections.cwagent.iam.plugins.module_utils._planned import PLANNED_SPEC, Planned
from ansible_collections.cwagent.iam.plugins.module_utils._principal import policies
from ansible_collections.cwagent.iam.plugins.module_utils._principal.plan import REMOVE_BOUNDARY, Declared
from ansible_collections.cwagent.iam.plugins.module_utils._wait import WAIT_SPEC

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PRINCIPAL_SPEC: dict[str, Any] = {
    "access": {"type": "str", "choices": list(policies.ACCESS_POLICIES)},
    "ssm_policy": {"type": "str", "choices": policies.SSM_CHOICES},
    "managed_policies": {"type": "list", "elements": "str", "default": []},
    "exclusive": {"type": "bool", "default": False},
    "iam_path": {"type": "str"},
    "permissions_boundary": {"type": "str"},
    "tags": {"type": "dict"},
    "purge_tags": {"type": "bool"},
    "admin_window": {"type": "bool", "default": False},
    "adopt_existing": {"type": "bool", "default": False},
    **PLANNED_SPEC,
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    **WAIT_SPEC,
}


def without_planned_window(params: Mapping[str, Any], names: Iterable[str], *, check_mode: bool) -> dict[str, Any]:
    """Return the options without the admin window if an earlier task planned in check mode to close it."""
    is_closed = check_mode and bool(Planned(params["planned"]).closed.intersection(names))
    return {**params, "admin_window": params["admin_window"] and not is_closed}


def declared_principal(params: Mapping[str, Any], region: str | None) -> Declared:
    """Return the properties of a principal that the options declare.

    :raises InvalidInput: AWS would refuse an option.
    """
    partition = _names.partition_of(region)
    check_principal(params, partition)
    further = frozenset(params["managed_policies"])
    attach, detach = policies.declared_policies(params["access"] or "server", params["ssm_policy"], partition)
    if params["ssm_policy"] == policies.DEPRECATED_SSM_POLICY and params["state"] == "present":
        warn(
            f"{policies.DEPRECATED_SSM_POLICY} is deprecated by AWS because it lets the instance read and write all of "
            f"S3; {policies.SSM_SUCCESSOR} is its successor."
        )
    return Declared(
        attach=attach | further,
        detach=detach,
        managed=policies.agent_policies(partition) | further,
        exclusive=params["exclusive"],
        path=params["iam_path"],
        boundary=params["permissions_boundary"],
        tags=_tags(params),
        admin_window=params["admin_window"],
        adopt=params["adopt_existing"],
        purge_tags=params["exclusive"] if params["purge_tags"] is None else params["purge_tags"],
    )


def check_principal(params: Mapping[str, Any], partition: str) -> None:
    """Check that IAM accepts these options. :raises InvalidInput: it does not. The message contains the option."""
    for arn in params.get("managed_policies", []):
        _names.check_policy_arn(arn, partition, "managed_policies")
    boundary = params["permissions_boundary"]
    if boundary is not None and boundary != REMOVE_BOUNDARY:
        _names.check_policy_arn(boundary, partition, "permissions_boundary")
    _names.check_path(params["iam_path"])
    _names.check_tags(_tags(params))


def _tags(params: Mapping[str, Any]) -> dict[str, str] | None:
    return None if params["tags"] is None else _names.tags_as_text(params["tags"])
