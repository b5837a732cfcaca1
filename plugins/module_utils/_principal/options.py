# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options that roles and users have in common, for the modules that take them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible.module_utils.common.warnings import warn

from ansible_collections.cwagent.iam.plugins.module_utils import _names
from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._principal import policies
from ansible_collections.cwagent.iam.plugins.module_utils._principal.api import find_account, find_server_policy
from ansible_collections.cwagent.iam.plugins.module_utils._principal.plan import REMOVE_BOUNDARY, Declared
from ansible_collections.cwagent.iam.plugins.module_utils._wait import WAIT_SPEC

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws

ACCESS_POLICIES_SPEC: dict[str, Any] = {
    "access_policies": {"type": "list", "elements": "str", "default": []},
    "server_policy": {"type": "str", "choices": policies.SERVER_POLICIES},
}
PRINCIPAL_SPEC: dict[str, Any] = {
    "access": {"type": "str", "choices": list(policies.ACCESS_POLICIES)},
    **ACCESS_POLICIES_SPEC,
    "ssm_policy": {"type": "str", "choices": policies.SSM_CHOICES},
    "managed_policies": {"type": "list", "elements": "str", "default": []},
    "exclusive": {"type": "bool", "default": False},
    "iam_path": {"type": "str"},
    "permissions_boundary": {"type": "str"},
    "tags": {"type": "dict"},
    "purge_tags": {"type": "bool"},
    "admin_window": {"type": "bool", "default": False},
    "adopt_existing": {"type": "bool", "default": False},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    **WAIT_SPEC,
}


def with_policy_arns(params: Mapping[str, Any], aws: Aws, region: str | None) -> dict[str, Any]:
    """Return the options with the ARNs of the policies for the access. A name stands for a fitted policy.

    Without such policies, ``server_policy`` decides, or else the account. The result has this decision, so that calling
    this again reads nothing.

    :raises InvalidInput: neither the ARN of a policy of this partition nor the name of a fitted policy, or the account
        lacks a fitted policy.
    """
    if params.get("state") != "present":
        return {**params, "access_policies": []}
    given = params["access_policies"]
    if not given:
        return _with_policies_of_account(params, aws)
    partition = _names.partition_of(region)
    names = [each for each in given if ":" not in each]
    account = find_account(aws) if names else ""
    found = [_names.fitted_policy_arn(each, partition, account) if each in names else each for each in given]
    for arn in found:
        _names.check_policy_arn(arn, partition, "access_policies")
    wrong = next((each for each, arn in zip(given, found) if each in names and not _names.is_fitted_policy(arn)), None)
    if wrong is not None:
        raise InvalidInput(f"access_policies: '{wrong}' is neither an ARN nor the name of a fitted policy.")
    return {**params, "access_policies": found}


def _with_policies_of_account(params: Mapping[str, Any], aws: Aws) -> dict[str, Any]:
    chosen, arns = find_server_policy(aws, params["server_policy"])
    if chosen.notice:
        warn(chosen.notice)
    found = policies.fitted_for(params.get("access", "server"), arns) if chosen.name == policies.FITTED else []
    return {**params, "access_policies": found, "server_policy": chosen.name}


def declared_principal(params: Mapping[str, Any], region: str | None) -> Declared:
    """Return the properties of a principal that the options declare.

    :raises InvalidInput: AWS would refuse an option.
    """
    partition = _names.partition_of(region)
    check_principal(params, partition)
    further = frozenset(params["managed_policies"])
    attach, detach = policies.declared_policies(
        params["access"] or "server", params["ssm_policy"], partition, params["access_policies"]
    )
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
        needs_boundary=params["server_policy"] == policies.FITTED,
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
