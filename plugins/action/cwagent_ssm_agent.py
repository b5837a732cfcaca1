# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the module of this name on the host, and sends an activation code without a temporary file."""

from __future__ import annotations

from typing import Any

from ansible_collections.cwagent.iam.plugins.module_utils._errors import CwagentError
from ansible_collections.cwagent.iam.plugins.modules.cwagent_ssm_agent import SPEC
from ansible_collections.cwagent.iam.plugins.plugin_utils._secret_delivery import SecretDelivery

MODULE = "cwagent.iam.cwagent_ssm_agent"
TASK_OPTIONS = SPEC


class ActionModule(SecretDelivery):
    """Runs the module, and refuses settings that would write an activation code anywhere else."""

    SECRET = "activation code"  # noqa: S105  words for messages
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the module."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        options = self.validate_argument_spec(TASK_OPTIONS)[1]
        try:
            if options["activation_code"]:
                self.check_connection()
            given = {name: value for name, value in options.items() if value is not None}
            return {**result, **self.send(MODULE, given, task_vars or {})}
        except CwagentError as error:
            return {**result, "failed": True, "changed": False, "msg": str(error)}
