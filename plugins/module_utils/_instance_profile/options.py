# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the module cwagent_instance_profile, and the associations that they describe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils import _names
from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._instance_profile.plan import (
    ATTACH,
    FAIL,
    KEEP,
    REPLACE,
    DesiredProfile,
)
from ansible_collections.cwagent.iam.plugins.module_utils._instance_profile.resource import AssociationResource
from ansible_collections.cwagent.iam.plugins.module_utils._planned import PLANNED_SPEC, Planned
from ansible_collections.cwagent.iam.plugins.module_utils._principal.options import (
    ACCESS_POLICIES_SPEC,
    with_policy_arns,
)
from ansible_collections.cwagent.iam.plugins.module_utils._wait import WAIT_SPEC

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws

SPEC: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "instance_ids": {"type": "list", "elements": "str"},
    "instances": {"type": "dict"},
    "on_other_profile": {"type": "str", "choices": [FAIL, KEEP, ATTACH, REPLACE], "default": FAIL},
    "attach_to_roles": {"type": "list", "elements": "str", "default": []},
    "fail_on_refused": {"type": "bool", "default": True},
    "fail_if_associated_elsewhere": {"type": "bool", "default": False},
    **ACCESS_POLICIES_SPEC,
    **PLANNED_SPEC,
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    **WAIT_SPEC,
}
RULES: dict[str, Any] = {
    "required_one_of": [("instance_ids", "instances")],
    "mutually_exclusive": [("instance_ids", "instances")],
}


def resource(params: Mapping[str, Any], aws: Aws, region: str | None) -> AssociationResource:
    """Return the associations of the module. :raises InvalidInput: an option is invalid."""
    _names.check_name("instance profile", params["name"])
    if params["on_other_profile"] == ATTACH and params["state"] == "present":
        _check_roles(params["attach_to_roles"])
        with_policy_arns(params, aws, region)
    for instance_id in params["instance_ids"]:
        _names.check_instance_id(instance_id)
    planned = Planned(params["planned"])
    policies = planned.policies_of(params["name"])
    desired = DesiredProfile(
        name=params["name"],
        present=params["state"] == "present",
        on_other_profile=params["on_other_profile"],
        role_policies=None if policies is None else frozenset(policies),
        profile_id=planned.profile_id(params["name"]),
        fail_if_associated_elsewhere=params["fail_if_associated_elsewhere"],
    )
    return AssociationResource(aws, params["instance_ids"], desired)


def _check_roles(names: Sequence[str]) -> None:
    """Check the names of the roles that may get the policy.

    :raises InvalidInput: a name is not valid, or there is no name, so that nothing would ever be attached.
    """
    if not names:
        raise InvalidInput("attach_to_roles: name at least one role, or set on_other_profile to keep.")
    for name in names:
        _names.check_name("role", name)
