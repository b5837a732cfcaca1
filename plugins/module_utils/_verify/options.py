# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads from a module's options which servers to check."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils import _names
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.plan import check_parameter_name
from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._verify.model import Target

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def targets(servers: Iterable[Mapping[str, Any]], region: str | None) -> list[Target]:
    """Return the servers. :param region: the region of the module. :raises InvalidInput: something is not valid."""
    found = [
        Target(
            each["host"],
            each.get("region") or region or "",
            each.get("instance_id") or "",
            each.get("user") or "",
            bool(each.get("hybrid")),
            tuple(each["configs"]),
        )
        for each in servers
    ]
    if not found:
        raise InvalidInput("servers is empty. Name the servers to check.")
    for target in found:
        if not target.region:
            raise InvalidInput(
                f"No AWS region is set for {target.host}. Set its region, the option region or AWS_REGION."
            )
        _names.check_region(target.region)
        if target.instance_id:
            _names.check_instance_id(target.instance_id)
        elif not target.is_hybrid:
            _names.check_name("user", target.user)
        for name in target.configs:
            check_parameter_name(name)
    return found
