# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the module of this name inside Ansible, with the files that its options name, and with results of the run."""

from __future__ import annotations

from typing import Any

from ansible_collections.cwagent.iam.plugins.plugin_utils._connections.aws_action import AwsAction
from ansible_collections.cwagent.iam.plugins.plugin_utils._report.results import INPUTS
from ansible_collections.cwagent.iam.plugins.plugin_utils._run.plays import removals
from ansible_collections.cwagent.iam.plugins.plugin_utils._run.task import find_all, search_folders


class ActionModule(AwsAction):
    """Does the work of the module of this name inside Ansible if that makes no difference."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Find the files, then do the work."""
        if problem := self.fill_options(task_vars or {}):
            return {"failed": True, "msg": problem}
        if "configs" in self._task.args:
            configs = find_all(search_folders(task_vars or {}), self._task.args["configs"])
            self._task.args = {**self._task.args, "configs": configs}
        elif self._task.args.get("state") == "absent" and INPUTS in (task_vars or {}):
            self._task.args = {"planned": removals(task_vars or {}), **self._task.args}
        return super().run(tmp, task_vars)


ActionModule.preload("cwagent_fitted_policy", "ec2", "iam", "ssm", "sts")
