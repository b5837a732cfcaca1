# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the nodes and activations of Systems Manager in a region."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible_collections.cwagent.iam.plugins.module_utils._access.model import ActivationUse, NodeUse
from ansible_collections.cwagent.iam.plugins.module_utils._hybrid.api import (
    CREATED_NODES,
    HYBRID_NODES,
    describe_activations,
    describe_nodes,
)
from ansible_collections.cwagent.iam.plugins.module_utils._names import is_created, name_of
from ansible_collections.cwagent.iam.plugins.module_utils._principal.api import tags
from ansible_collections.cwagent.iam.plugins.module_utils._run_command.model import WINDOWS

if TYPE_CHECKING:
    from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws


def read_nodes(aws: Aws, region: str) -> tuple[NodeUse, ...]:
    """Return the nodes, without instances.

    The description of a node has no tags, so a second list shows the nodes with the tag. Without nodes, there is none.
    """
    found = list(describe_nodes(aws, *HYBRID_NODES))
    ours = {each["InstanceId"] for each in (describe_nodes(aws, *CREATED_NODES) if found else ())}
    return tuple(
        NodeUse(
            each["InstanceId"],
            region,
            each.get("Name", ""),
            name_of(each.get("IamRole", "")),
            each.get("PingStatus", ""),
            each.get("PlatformType") == WINDOWS,
            each["InstanceId"] in ours,
        )
        for each in sorted(found, key=lambda each: str(each["InstanceId"]))
    )


def read_activations(aws: Aws, region: str) -> tuple[ActivationUse, ...]:
    """Return the activations that have not expired."""
    return tuple(
        ActivationUse(
            each["ActivationId"],
            region,
            each.get("DefaultInstanceName", ""),
            name_of(each.get("IamRole", "")),
            each["ExpirationDate"],
            max(each.get("RegistrationLimit", 1) - each.get("RegistrationsCount", 0), 0),
            is_created(tags(each)),
        )
        for each in describe_activations(aws)
        if not each.get("Expired")
    )
