# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the module of this name inside Ansible. In the role verify, finds the results of the servers."""

from __future__ import annotations

from typing import Any

from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.plugin_utils._connections.apply_batch import COLLECTED, READ
from ansible_collections.cwagent.iam.plugins.plugin_utils._connections.aws_action import AwsAction
from ansible_collections.cwagent.iam.plugins.plugin_utils._run.roles import validate_role
from ansible_collections.cwagent.iam.plugins.plugin_utils._run.settings import is_in_our_role


class ActionModule(AwsAction):
    """Does the work of the module of this name inside Ansible if that makes no difference."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Do the work. The servers on which Ansible has collected facts have registered them."""
        variables = task_vars or {}
        if not is_in_our_role(self._task):
            result: dict[str, Any] = super().run(tmp, variables)
            return result
        try:
            # A mistake in the inputs of the report is found before anything is read.
            validated = validate_role(self, variables, "report" if "checked" in self._task.args else "main")
        except InvalidInput as error:
            return error.to_result()
        checked, hostvars = self._task.args.get("checked"), variables["hostvars"]
        if checked is not None and "results" not in self._task.args:
            hosts = [each["host"] for each in checked if each["host"] in hostvars]
            found = {host: hostvars.raw_get(host).get(COLLECTED) for host in hosts}
            self._task.args = {**self._task.args, "results": {host: each for host, each in found.items() if each}}
        result = super().run(tmp, variables)
        return (
            result
            if checked is None or result.get("failed")
            else {**result, **_report(result, variables[READ], validated)}
        )


def _report(result: dict[str, Any], read: dict[str, Any], validated: dict[str, Any]) -> dict[str, Any]:
    """Return the files of the report, and the counts for other jobs."""
    counts = {"servers": len(result["servers"]), "failed_servers": len(result["failed_hosts"])}
    return {
        "unread": [*read["unread"], *result["unread"]],
        "report_files": validated["report_files"]["json"],
        "ansible_stats": {"data": {"cloudwatch_agent": counts}, "per_host": False, "aggregate": False},
    }


ActionModule.preload("cwagent_server_info", "ec2", "iam", "ssm", "cloudwatch", "logs")
