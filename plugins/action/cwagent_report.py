# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reports what a run of a playbook did. ``plugin_utils/_run_report.py`` has the words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible.plugins.action import ActionBase

from ansible_collections.cwagent.iam.plugins.module_utils._text import join_first
from ansible_collections.cwagent.iam.plugins.plugin_utils._inputs.given import ACCOUNTS
from ansible_collections.cwagent.iam.plugins.plugin_utils._run_report import INPUTS, Account, report
from ansible_collections.cwagent.iam.plugins.plugin_utils._terminal import is_for_people, show

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


# The options of the task; the module has their documentation.
TASK_OPTIONS: dict[str, Any] = {"lines": {"type": "list", "elements": "str"}}
MAX_NAMED = 5


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible comes without types
    """Reports what the tasks of all plays have registered, and provides the counts to other jobs."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Report on the accounts of the play, and fail if the inputs of none of them were validated."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validated, options = self.validate_argument_spec(TASK_OPTIONS)
        if options["lines"] is not None:
            return {**result, "changed": False, **_shown(options["lines"])}
        variables = task_vars or {}
        accounts = [_account(name, variables) for name in variables["ansible_play_hosts_all"]]
        if not any(INPUTS in each.variables for each in accounts):
            hosts = join_first(variables["groups"].get(ACCOUNTS) or ["localhost"], MAX_NAMED)
            message = (
                f"Nothing was done: this run left out {hosts} or the task that validates the inputs. Run the playbook "
                "without a limit, and from its first task."
            )
            return {**result, "failed": True, "msg": message}
        found = report(accounts, check_mode=self._task.check_mode)
        return {
            **result,
            "changed": False,
            **_shown(found.lines),
            "failures": found.failures,
            # The name does not begin like an input, because AWX passes these on to the next jobs of a workflow.
            "ansible_stats": {"data": {"cloudwatch_agent": found.stats}, "per_host": False, "aggregate": False},
        }


def _shown(lines: Sequence[str]) -> dict[str, Any]:
    """Print lines for a person, and return them for a program, for which Ansible prints them."""
    show(lines)
    return {"msg": lines, "_ansible_verbose_always": not is_for_people()}


def _account(name: str, variables: Mapping[str, Any]) -> Account:
    hostvars = variables["hostvars"]
    of_host = hostvars.raw_get(name)
    inputs = of_host.get(INPUTS, {})
    servers = [
        *inputs.get("delivery_hosts", ()),
        *inputs.get("removal", {}).get("key_hosts", ()),
        *(each["host"] for each in inputs.get("servers", ())),
    ]
    # Servers that filters found are not hosts.
    of_servers = [hostvars.raw_get(each) for each in dict.fromkeys(servers) if each in hostvars]
    return Account(name, of_host, of_servers, is_finished=name in variables["ansible_play_hosts"])
