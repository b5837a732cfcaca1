# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reports what a run did, or what an audit found. ``_run_report`` and ``_audit_report.py`` have the words."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.cwagent.iam.plugins.module_utils._access.model import ACCESS, PARTS
from ansible_collections.cwagent.iam.plugins.module_utils._findings import SEVERITIES
from ansible_collections.cwagent.iam.plugins.module_utils._text import join_first
from ansible_collections.cwagent.iam.plugins.plugin_utils._ansible_core import failed
from ansible_collections.cwagent.iam.plugins.plugin_utils._audit_report import merge_accounts, summarize
from ansible_collections.cwagent.iam.plugins.plugin_utils._inputs.given import ACCOUNTS
from ansible_collections.cwagent.iam.plugins.plugin_utils._inputs.run import read_run
from ansible_collections.cwagent.iam.plugins.plugin_utils._instance_hosts import hosts_of_instances
from ansible_collections.cwagent.iam.plugins.plugin_utils._run_report.account import Account
from ansible_collections.cwagent.iam.plugins.plugin_utils._run_report.accounts import report
from ansible_collections.cwagent.iam.plugins.plugin_utils._run_report.results import INPUTS
from ansible_collections.cwagent.iam.plugins.plugin_utils._terminal import is_for_people, show

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


# The options of the task; the module has their documentation.
TASK_OPTIONS: dict[str, Any] = {
    "lines": {"type": "list", "elements": "str"},
    "error": {"type": "str"},
    "audit_hosts": {"type": "list", "elements": "str"},
    "parts": {"type": "list", "elements": "str", "choices": list(PARTS), "default": list(PARTS)},
    "fail": {"type": "bool", "default": False},
    "fail_at": {"type": "str", "choices": ["none", *SEVERITIES], "default": "none"},
}
# Each of them makes the task do something else.
EXCLUSIVE = ("lines", "error", "audit_hosts")
MAX_NAMED = 5


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible comes without types
    """Reports what the tasks of all plays have registered, and provides the counts to other jobs."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Report on the accounts of the play, and fail if the inputs of none of them were validated."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validated, options = self.validate_argument_spec(TASK_OPTIONS, mutually_exclusive=[EXCLUSIVE])
        if options["lines"] is not None:
            return {**result, "changed": False, **_shown(options["lines"])}
        if options["error"] is not None:
            failure = failed(self._task, options["error"]) if options["error"] else {}
            return {**result, "changed": False, **failure}
        variables = task_vars or {}
        if options["audit_hosts"] is not None:
            return {**result, "changed": False, **self._audit(options, variables)}
        accounts = [_account(name, variables) for name in variables["ansible_play_hosts_all"]]
        if not any(INPUTS in each.variables for each in accounts):
            return {**result, **failed(self._task, _nothing_done(variables))}
        steps = [step for account in accounts for record in account.records for step in record.steps]
        hosts = hosts_of_instances(steps, variables)
        accounts = [replace(each, instance_hosts=hosts) for each in accounts]
        found = report(accounts, check_mode=self._task.check_mode)
        return {
            **result,
            "changed": False,
            **_shown(found.lines),
            "failures": found.failures,
            **_provided(found.stats),
        }

    def _audit(self, options: Mapping[str, Any], variables: Mapping[str, Any]) -> dict[str, Any]:
        """Return the merged results that the role audit has registered for the hosts, with a summary, or fail."""
        hosts, hostvars = options["audit_hosts"], variables["hostvars"]
        read = {host: hostvars.raw_get(host) for host in hosts if host in hostvars}
        if missing := [host for host in hosts if "__audit_access" not in read.get(host, {})]:
            raise AnsibleActionFail(f"The role audit has not read the accounts of {join_first(missing, MAX_NAMED)}.")
        results = [read[host]["__audit_access"] for host in hosts]
        sessions = [read[host].get("__audit_session", {}) for host in hosts]
        audit = merge_accounts(results, hosts, sessions, fail_at=options["fail_at"])
        if options["fail"]:
            return failed(self._task, audit["failure"]) if audit["failure"] else {}
        unread = sum("error" in each for each in audit["accounts"])
        # Like facts, it is too long to be shown.
        return {
            "audit": audit,
            "summary": summarize(audit, has_access=ACCESS in options["parts"]),
            "_ansible_verbose_override": True,
            **_provided({"findings": audit["counts"], "unread_accounts": unread}),
        }


def _shown(lines: Sequence[str]) -> dict[str, Any]:
    """Print lines for a person, and return them for a program, for which Ansible prints them."""
    show(lines)
    return {"msg": lines, "_ansible_verbose_always": not is_for_people()}


def _provided(counts: Mapping[str, Any]) -> dict[str, Any]:
    """Provide counts to other jobs.

    The name does not begin like an input, because AWX passes these on to the next jobs of a workflow.
    """
    return {"ansible_stats": {"data": {"cloudwatch_agent": counts}, "per_host": False, "aggregate": False}}


def _nothing_done(variables: Mapping[str, Any]) -> str:
    hosts = join_first(variables["groups"].get(ACCOUNTS) or ["localhost"], MAX_NAMED)
    return (
        f"Nothing was done: this run left out {hosts} or the task that validates the inputs. Run the playbook without "
        "a limit, and from its first task."
    )


def _account(name: str, variables: Mapping[str, Any]) -> Account:
    hostvars = variables["hostvars"]
    of_host = hostvars.raw_get(name)
    run = read_run(of_host.get(INPUTS, {}))
    servers = [*run.delivery_hosts, *(each["host"] for each in run.servers)] if run else []
    # Servers that filters found are not hosts.
    of_servers = [hostvars.raw_get(each) for each in dict.fromkeys(servers) if each in hostvars]
    return Account(name, of_host, of_servers, is_finished=name in variables["ansible_play_hosts"])
