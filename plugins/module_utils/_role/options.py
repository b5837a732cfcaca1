# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the module cwagent_iam_role, and the role that they describe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils import _names
from ansible_collections.cwagent.iam.plugins.module_utils._principal.options import (
    PRINCIPAL_SPEC,
    declared_principal,
    without_planned_window,
)
from ansible_collections.cwagent.iam.plugins.module_utils._role.plan import DesiredRole, check_settings, ec2_service
from ansible_collections.cwagent.iam.plugins.module_utils._role.resource import RoleResource

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws

SPEC: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "instance_profile": {"type": "str"},
    "description": {"type": "str"},
    "max_session_duration": {"type": "int"},
    **PRINCIPAL_SPEC,
}
# By access, the description of a new role.
DESCRIPTIONS = {
    "server": "Lets EC2 instances run the CloudWatch agent",
    "admin": "Lets one EC2 instance store the CloudWatch agent's configuration",
}
RULES: dict[str, Any] = {"required_if": [("state", "present", ["access"])]}


def desired_role(params: Mapping[str, Any], region: str | None) -> DesiredRole:
    """Return the role that the options describe. :raises InvalidInput: AWS would refuse an option."""
    profile = params["instance_profile"] or params["name"]
    _names.check_name("role", params["name"])
    _names.check_name("instance profile", profile)
    check_settings(params["description"], params["max_session_duration"])
    return DesiredRole(
        name=params["name"],
        declared=declared_principal(params, region),
        profile=profile,
        service=ec2_service(_names.partition_of(region)),
        description=params["description"],
        max_session_duration=params["max_session_duration"],
        new_description=DESCRIPTIONS[params["access"] or "server"],
    )


def resource(params: Mapping[str, Any], aws: Aws, region: str | None, check_mode: bool) -> RoleResource:
    """Return the role of the module. :raises InvalidInput: an option is invalid."""
    params = without_planned_window(params, [params["name"]], check_mode=check_mode)
    return RoleResource(aws, desired_role(params, region), present=params["state"] == "present")
