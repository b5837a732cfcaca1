# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads what a command is to store from a module's options."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils import _names
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter import plan as config_plan
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.options import known_state
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.plan import check_parameter_name
from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._store_command.model import Write
from ansible_collections.cwagent.iam.plugins.module_utils._store_command.plan import (
    MIN_SECONDS,
    SENT,
    DesiredCommand,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def desired_command(params: Mapping[str, Any]) -> DesiredCommand:
    """Return the desired command. :raises InvalidInput: an option is invalid."""
    desired = DesiredCommand(params["state"], params["instance_id"], params["run_id"])
    if params["state"] != SENT:
        return desired
    if params["timeout"] < 2 * MIN_SECONDS:
        raise InvalidInput(f"timeout must be at least {2 * MIN_SECONDS} seconds, not {params['timeout']}.")
    _names.check_name("role", params["admin_role"])
    return DesiredCommand(
        SENT,
        params["instance_id"],
        params["run_id"],
        params["admin_role"],
        tuple(write for given in params["configs"] for write in _writes(given, params)),
        params["timeout"],
        params["permission_timeout"],
    )


def _writes(given: Mapping[str, Any], params: Mapping[str, Any]) -> Iterator[Write]:
    """Return the parameters of a configuration that differ, by the result of the task that compared it."""
    try:
        name = next(iter(given["previous"]))
        config, known, region = json.loads(given["config"]), known_state(given["previous"], name) or {}, given["region"]
    except (AttributeError, KeyError, StopIteration, TypeError, ValueError):
        raise InvalidInput(
            "configs must be results of cwagent_config_parameter. Register its task, and use them as they are."
        ) from None
    check_parameter_name(name)
    _names.check_region(region)
    desired = config_plan.desired_config(
        name, config, params["tier"], can_be_split=params["split"], allow_recent=params["split_recent"]
    )
    for step in config_plan.plan(known, desired).all_steps:
        written, found = step.arguments, known.get(step.arguments["name"])
        version = found.version if found and found.version else 0
        yield Write(region, written["name"], written["value"], written["tier"], version, not params["tier"])
