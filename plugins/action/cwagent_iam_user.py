# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the module of this name inside Ansible. In a playbook of this collection, finds the users that must stay."""

from __future__ import annotations

from typing import Any

from ansible_collections.cwagent.iam.plugins.plugin_utils._connections.aws_action import AwsAction
from ansible_collections.cwagent.iam.plugins.plugin_utils._report.results import INPUTS
from ansible_collections.cwagent.iam.plugins.plugin_utils._run.plays import users_on_hold
from ansible_collections.cwagent.iam.plugins.plugin_utils._run.run import read_run


class ActionModule(AwsAction):
    """Does the work of the module of this name inside Ansible if that makes no difference."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Do the work. In a playbook, only this run knows which servers have credentials that work."""
        variables, options = task_vars or {}, self._task.args
        if options.get("state") == "retired" and "hold" not in options and "hostvars" in variables:
            hostvars = variables["hostvars"]
            run = read_run(hostvars.raw_get(variables["inventory_hostname"]).get(INPUTS, {}))
            if run and run.onprem_hosts:
                hosts = {host: hostvars.raw_get(host) for host in run.onprem_hosts}
                self._task.args = {**options, "hold": users_on_hold(run, hosts)}
        result: dict[str, Any] = super().run(tmp, task_vars)
        return result


ActionModule.preload("cwagent_iam_user", "iam")
