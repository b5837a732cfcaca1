# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options about roles of applications, of the modules that attach the agent's policy to them and detach it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils import _names
from ansible_collections.cwagent.iam.plugins.module_utils._application_roles.plan import Attachments
from ansible_collections.cwagent.iam.plugins.module_utils._application_roles.resource import (
    AttachmentResource,
    DetachmentResource,
)
from ansible_collections.cwagent.iam.plugins.module_utils._call import gateways, new_fleet
from ansible_collections.cwagent.iam.plugins.module_utils._wait import WAIT_SPEC

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ansible_collections.cwagent.iam.plugins.module_utils._call import Call

DETACH_SPEC: dict[str, Any] = {
    "instances": {"type": "dict"},
    "remaining_instances": {"type": "dict", "default": {}},
    **WAIT_SPEC,
}
DETACH_RULES: dict[str, Any] = {}


def attachments(call: Call, associated: Iterable[Mapping[str, Any]]) -> AttachmentResource | None:
    """Return the roles of the instances that keep another profile; ``None`` where none does.

    :param associated: by region, what became of the associations.
    """
    params = call.params
    listed = params["instances"] or {"": params["instance_ids"]}
    used: dict[str, list[str]] = {}
    for each in (instance for found in associated for instance in found.get("instances", ())):
        if each["profile"] not in (None, params["name"]):
            used.setdefault(each["profile"], []).append(each["instance_id"])
    if not used:
        return None
    aws_in = gateways(call, listed)
    desired = Attachments(
        frozenset(params["attach_to_roles"]),
        used,
        [region or aws.region for region, aws in aws_in.items()],
        fails=params["fail_on_refused"],
    )
    return AttachmentResource(aws_in, desired, listed, check_mode=call.check_mode)


def detach(call: Call) -> dict[str, Any]:
    """Detach the agent's policy from the roles that no longer need it."""
    leaving, remaining = call.params["instances"], call.params["remaining_instances"]
    for instance_id in (each for found in (leaving or {}, remaining) for names in found.values() for each in names):
        _names.check_instance_id(instance_id)
    aws_in = gateways(call, dict.fromkeys(["", *(leaving or ()), *remaining]))
    fleet = new_fleet(call)
    fleet.converge(DetachmentResource(aws_in, leaving, remaining))
    return fleet.result(())
