# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the module cwagent_iam_role, and the role that they describe."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils import _names
from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._principal.api import find_account
from ansible_collections.cwagent.iam.plugins.module_utils._principal.options import (
    PRINCIPAL_SPEC,
    declared_principal,
    with_policy_arns,
)
from ansible_collections.cwagent.iam.plugins.module_utils._role.plan import DesiredRole, check_settings
from ansible_collections.cwagent.iam.plugins.module_utils._role.policy import Ec2Trust, HybridTrust, ec2_service
from ansible_collections.cwagent.iam.plugins.module_utils._role.resource import RoleResource

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws

EC2, HYBRID = "ec2", "hybrid"
SPEC: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "trust": {"type": "str", "choices": [EC2, HYBRID], "default": EC2},
    "trust_regions": {"type": "list", "elements": "str", "default": []},
    "instance_profile": {"type": "str"},
    "description": {"type": "str"},
    "max_session_duration": {"type": "int"},
    **PRINCIPAL_SPEC,
}
# By trust and access, the description of a new role.
DESCRIPTIONS = {
    (EC2, "server"): "Lets EC2 instances run the CloudWatch agent",
    (EC2, "admin"): "Lets one EC2 instance store the CloudWatch agent's configuration",
    (HYBRID, "server"): "Lets hybrid servers run the CloudWatch agent",
    (HYBRID, "admin"): "Lets hybrid servers store the CloudWatch agent's configuration",
}
RULES: dict[str, Any] = {"required_if": [("state", "present", ["access"])]}


def desired_role(params: Mapping[str, Any], region: str | None) -> DesiredRole:
    """Return the role that the options describe, with trust in EC2.

    :raises InvalidInput: an option is invalid, or AWS would refuse it.
    """
    partition = _names.partition_of(region)
    profile = None if params["trust"] == HYBRID else params["instance_profile"] or params["name"]
    _names.check_name("role", params["name"])
    if profile is not None:
        _names.check_name("instance profile", profile)
    check_settings(params["description"], params["max_session_duration"])
    check_trust(params, partition)
    return DesiredRole(
        name=params["name"],
        declared=declared_principal(params, region),
        profile=profile,
        trust=Ec2Trust(ec2_service(partition)),
        description=params["description"],
        max_session_duration=params["max_session_duration"],
        new_description=DESCRIPTIONS[params["trust"], params["access"] or "server"],
    )


def check_trust(params: Mapping[str, Any], partition: str) -> None:
    """Check the options that only one kind of trust has. :raises InvalidInput: one is missing, invalid or surplus."""
    regions = params["trust_regions"]
    if params["trust"] == EC2:
        if regions:
            raise InvalidInput("trust_regions: only a role with trust hybrid has regions; remove the option.")
        return
    if params["instance_profile"]:
        raise InvalidInput("instance_profile: a role with trust hybrid has no instance profile; remove the option.")
    if not regions and params["state"] == "present":
        raise InvalidInput("trust_regions: a role with trust hybrid needs the regions of its servers.")
    for each in regions:
        _names.check_region(each)
        other = _names.partition_of(each)
        if other != partition:
            raise InvalidInput(
                f"trust_regions: '{each}' belongs to partition {other}, but the region in use is in {partition}."
            )


def resource(params: Mapping[str, Any], aws: Aws, region: str | None) -> RoleResource:
    """Return the role of the module.

    :raises InvalidInput: an option is invalid.
    :raises CwagentError: AWS did not answer which account this is.
    """
    check_trust(params, _names.partition_of(region))  # before the account is read
    params = with_policy_arns(params, aws, region)
    desired = desired_role(params, region)
    if params["trust"] == HYBRID:
        regions = frozenset(params["trust_regions"])
        desired = replace(desired, trust=HybridTrust(_names.partition_of(region), find_account(aws), regions))
    return RoleResource(aws, desired, present=params["state"] == "present")
