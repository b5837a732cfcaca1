# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the desired parameter, and its known state, from a module's options."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.files import check_schema, read_config
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.plan import (
    DesiredParameter,
    Parameter,
    check_parameter_name,
    select_tier,
)
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.resource import KnownState

if TYPE_CHECKING:
    from collections.abc import Mapping


def desired_parameter(params: Mapping[str, Any]) -> DesiredParameter | None:
    """Return the parameter that the options declare; ``None`` where it is to be absent.

    :raises InvalidInput: the configuration or its name is not valid.
    """
    check_parameter_name(params["name"])
    if params["state"] == "absent":
        return None
    config = read_config(params["config"], params["src"])
    if params["schema"]:
        check_schema(config, params["schema"])
    desired = DesiredParameter(params["name"], config, params["tier"])
    select_tier(None, desired)  # a configuration that is too large fails before AWS is called
    return desired


def known_state(known_value: Mapping[str, Any] | None) -> KnownState | None:
    """Return the state that the option ``known_value`` describes; ``None`` where it is not given."""
    if known_value is None:
        return None
    return KnownState(None if known_value["value"] is None else Parameter(**known_value))
