# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hands the endpoint of STS to the module of this name, and keeps only its result."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.plugin_utils._connections import aws_action
from ansible_collections.cwagent.iam.plugins.plugin_utils._connections.host_result import HostAction
from ansible_collections.cwagent.iam.plugins.plugin_utils._run.settings import fill_task


class ActionModule(HostAction):
    """Runs the module on the host."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run it as any module. Without boto3 here, or with an invalid region, it gets no endpoint and reports that."""
        try:
            fill_task(self, task_vars or {})
        except InvalidInput as error:
            return {"failed": True, "changed": False, "msg": f"{error} Nothing was changed."}
        self._task.args.pop("endpoint", None)
        with suppress(Exception):
            self._task.args["endpoint"] = aws_action.find_endpoint("sts", str(self._task.args["region"]))
        return super().run(tmp, task_vars)
