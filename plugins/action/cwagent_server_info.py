# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the module of this name inside Ansible. In the role verify, finds the results of the servers."""

from __future__ import annotations

from typing import Any

from ansible_collections.cwagent.iam.plugins.plugin_utils._apply_batch import COLLECTED
from ansible_collections.cwagent.iam.plugins.plugin_utils._aws_action import AwsAction


class ActionModule(AwsAction):
    """Does the work of the module of this name inside Ansible if that makes no difference."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Do the work. The servers on which Ansible has collected facts have registered them."""
        variables, options = task_vars or {}, self._task.args
        if self._task._role and options.get("checked") and "results" not in options:
            hostvars = variables["hostvars"]
            hosts = [each["host"] for each in options["checked"] if each["host"] in hostvars]
            found = {host: hostvars.raw_get(host).get(COLLECTED) for host in hosts}
            self._task.args = {**options, "results": {host: each for host, each in found.items() if each}}
        result: dict[str, Any] = super().run(tmp, task_vars)
        return result


ActionModule.preload("cwagent_server_info", "ec2", "iam", "ssm")
