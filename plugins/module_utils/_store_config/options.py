# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the module cwagent_store_config."""

from __future__ import annotations

from typing import Any

from ansible_collections.cwagent.iam.plugins.module_utils import _environment
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.options import OFF, STRICT, WARN
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.plan import LIMITS
from ansible_collections.cwagent.iam.plugins.module_utils._credentials.source import SOURCE_SPEC
from ansible_collections.cwagent.iam.plugins.module_utils._planned import PLANNED_SPEC

INSTANCE, RUN_COMMAND, AUTO = "instance", "run_command", "auto"
ONPREM, CONTROLLER = "onprem", "controller"
VALIDATED, COMPARED, STORED, OPENED = "validated", "compared", "stored", "opened"

SPEC: dict[str, Any] = {
    "state": {"type": "str", "choices": [VALIDATED, COMPARED, STORED, OPENED], "default": STORED},
    "from": {"type": "str", "choices": [INSTANCE, RUN_COMMAND, AUTO, ONPREM, CONTROLLER], "default": INSTANCE},
    "configs": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "name": {"type": "str", "required": True},
            "file": {"type": "str", "required": True},
            "regions": {"type": "list", "elements": "str", "default": []},
        },
    },
    "regions": {"type": "list", "elements": "str", "default": [""]},
    "schema": {"type": "str", "default": ""},
    "agent_schema_path": {"type": "str", "default": ""},
    "validation": {"type": "str", "choices": [STRICT, WARN, OFF], "default": STRICT},
    "has_onprem": {"type": "bool", "default": False},
    "compared": {"type": "dict"},
    "split": {"type": "bool", "default": False},
    "split_recent": {"type": "bool", "default": False},
    "tier": {"type": "str", "choices": ["", *LIMITS], "default": ""},
    "parameter_tags": {"type": "dict", "default": {}},
    "remove_surplus": {"type": "bool", "default": False},
    "instance_id": {"type": "str", "default": ""},
    "admin_profile": {"type": "str", "default": "CloudWatchAgentAdminRole"},
    "admin_role": {"type": "str", "default": "CloudWatchAgentAdminRole"},
    "server_profile": {"type": "str", "default": "CloudWatchAgentServerRole"},
    "admin_user": {"type": "str", "default": "CloudWatchAgentAdminUser"},
    "credentials_file": {"type": "str", "default": ""},
    **{name: option for name, option in SOURCE_SPEC.items() if name != "region"},  # the task has its own region
    "admin_window": {"type": "bool", "default": True},
    "admin_window_minutes": {"type": "int", "default": 15},
    **PLANNED_SPEC,
    "wait_timeout": {"type": "int", "default": 180},
    "identity_timeout": {"type": "int", "default": 300},
    "permission_timeout": {"type": "int", "default": 180},
    **_environment.ENVIRONMENT_SPEC,
}
RULES: dict[str, Any] = {}
