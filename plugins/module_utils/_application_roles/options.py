# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options for application roles in the modules that attach the agent's policy to them and detach it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils import _names
from ansible_collections.cwagent.iam.plugins.module_utils._application_roles.plan import Attachments, Departure
from ansible_collections.cwagent.iam.plugins.module_utils._application_roles.resource import (
    AttachmentResource,
    DetachmentResource,
)
from ansible_collections.cwagent.iam.plugins.module_utils._call import gateways
from ansible_collections.cwagent.iam.plugins.module_utils._instance_profile.resource import read_associations
from ansible_collections.cwagent.iam.plugins.module_utils._principal.options import with_policy_arns
from ansible_collections.cwagent.iam.plugins.module_utils._wait import WAIT_SPEC

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ansible_collections.cwagent.iam.plugins.module_utils._call import Call

DETACH_SPEC: dict[str, Any] = {
    "instances": {"type": "dict"},
    "remaining_instances": {"type": "dict"},
    "unused_roles": {"type": "bool", "default": False},
    "detach_from_roles": {"type": "list", "elements": "str", "default": []},
    **WAIT_SPEC,
}
DETACH_RULES: dict[str, Any] = {}


def chosen_policies(call: Call) -> dict[str, Any]:
    """Return the options of the module cwagent_instance_profile with the policies that application roles get."""
    region, aws = next(iter(gateways(call, call.params["instances"] or [""]).items()))
    return with_policy_arns(call.params, aws, region or call.region)


def attachments(call: Call, associated: Sequence[Mapping[str, Any]]) -> AttachmentResource | None:
    """Return the resource for the roles of the instances that keep another profile; ``None`` if no instance does.

    :param call: of the module cwagent_instance_profile.
    :param associated: by region, the results for the associations. A failed result does not have its instances.
    """
    params = call.params
    listed = params["instances"] or {"": params["instance_ids"]}
    aws_in = gateways(call, listed)
    used: dict[str, list[str]] = {}
    for region, found in zip(listed, associated):
        if "instances" in found:
            profiles = [(each["instance_id"], each["profile"]) for each in found["instances"]]
        else:
            associations = read_associations(aws_in[region], listed[region])
            profiles = [(name, each.profile) for name, of_one in associations.items() for each in of_one]
        for name, profile in profiles:
            if profile not in (None, params["name"]):
                used.setdefault(profile, []).append(name)
    if not used:
        return None
    region, aws = next(iter(aws_in.items()))
    policies = with_policy_arns(params, aws, region or call.region)["access_policies"]
    desired = Attachments(
        frozenset(params["attach_to_roles"]),
        used,
        params["name"],
        params["fail_on_refused"],
        frozenset(policies),
    )
    return AttachmentResource(aws_in, desired, listed, check_mode=call.check_mode)


def detachments(call: Call) -> DetachmentResource:
    """Return the resource for the roles that no longer need the policy. :raises InvalidInput: an ID is not valid."""
    leaving, remaining = call.params["instances"], call.params["remaining_instances"]
    given = [found for found in (leaving, remaining) if found]
    for instance_id in (each for found in given for names in found.values() for each in names):
        _names.check_instance_id(instance_id)
    aws_in = gateways(call, dict.fromkeys(region for found in given for region in found) or [""])
    departure = None
    if leaving is not None:
        of_leaving, of_remaining = (
            frozenset(name for names in (found or {}).values() for name in names) for found in (leaving, remaining)
        )
        named = frozenset(call.params["detach_from_roles"])
        departure = Departure(of_leaving, of_remaining, named, unused=call.params["unused_roles"])
    return DetachmentResource(aws_in, departure, remaining or {})
