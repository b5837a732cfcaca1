# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a module on a managed server, and keeps of its answer only what the module returns."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action.normal import ActionModule as NormalAction

from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.plugin_utils._host_result import (
    HostAnswer,
    describe_failure,
    discovered_python,
    expect_result,
    printable_errors,
)


class HostAction(HostAnswer, NormalAction):  # type: ignore[misc]  # ansible comes without types
    """Runs the module of its name on the host."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run it as any module."""
        with printable_errors():
            result: dict[str, Any] = super().run(tmp, task_vars)
        if result.get("unreachable"):
            return {**result, "msg": describe_failure(result.get("msg", ""))}
        try:
            return {**expect_result(self._task.action, result), **discovered_python(self)}
        except InvalidInput as error:
            return {"failed": True, "changed": False, "msg": str(error)}
