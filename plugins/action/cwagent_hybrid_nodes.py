# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the module of this name inside Ansible. In a playbook of this collection, finds the servers
that deregister themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.plugin_utils._connections.aws_action import AwsAction
from ansible_collections.cwagent.iam.plugins.plugin_utils._report.results import INPUTS
from ansible_collections.cwagent.iam.plugins.plugin_utils._run.plays import RunHosts, node_options
from ansible_collections.cwagent.iam.plugins.plugin_utils._run.run import read_run

if TYPE_CHECKING:
    from collections.abc import Mapping


class ActionModule(AwsAction):
    """Does the work of the module of this name inside Ansible if that makes no difference."""

    def fill_options(self, variables: Mapping[str, Any]) -> str:
        """Add the options that only the run knows."""
        given, hostvars = self._task.args, variables.get("hostvars")
        if hostvars is not None:
            run = read_run(hostvars.raw_get(variables["inventory_hostname"]).get(INPUTS, {}))
            if run:
                hosts = RunHosts(variables["groups"], hostvars)
                self._task.args = {**node_options(run, hosts, deregisters=given.get("deregister", True)), **given}
        return super().fill_options(variables)


ActionModule.preload("cwagent_hybrid_nodes", "iam", "ssm")
