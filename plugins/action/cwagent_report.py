# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reports what a run did, or what an audit found. The files in ``_report/`` have the words."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ansible.plugins.action import ActionBase

from ansible_collections.cwagent.iam.plugins.module_utils._accounts.model import ACCESS, PARTS
from ansible_collections.cwagent.iam.plugins.module_utils._ground.findings import SEVERITIES
from ansible_collections.cwagent.iam.plugins.module_utils._ground.text import join_first
from ansible_collections.cwagent.iam.plugins.plugin_utils._connections.terminal import is_for_people, show
from ansible_collections.cwagent.iam.plugins.plugin_utils._report.accounts import Account, report
from ansible_collections.cwagent.iam.plugins.plugin_utils._report.audit import merge_accounts, summarize
from ansible_collections.cwagent.iam.plugins.plugin_utils._report.audit_files import report_content
from ansible_collections.cwagent.iam.plugins.plugin_utils._report.files import AUDIT_FORMATS, sort_by_format
from ansible_collections.cwagent.iam.plugins.plugin_utils._report.results import INPUTS
from ansible_collections.cwagent.iam.plugins.plugin_utils._run.ansible_core import failed
from ansible_collections.cwagent.iam.plugins.plugin_utils._run.given import ACCOUNTS
from ansible_collections.cwagent.iam.plugins.plugin_utils._run.run import read_run
from ansible_collections.cwagent.iam.plugins.plugin_utils._run.settings import fill_task
from ansible_collections.cwagent.iam.plugins.plugin_utils._run.task import hosts_of_instances
from ansible_collections.cwagent.iam.plugins.plugin_utils._run.values import Problems

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


FILES, REPORT, FAIL = "files", "report", "fail"
# The options of the task; the module has their documentation.
TASK_OPTIONS: dict[str, Any] = {
    "lines": {"type": "list", "elements": "str"},
    "error": {"type": "str"},
    "audit": {"type": "str", "choices": [FILES, REPORT, FAIL]},
    "parts": {"type": "list", "elements": "str", "choices": list(PARTS), "default": list(PARTS)},
    "report_files": {"type": "list", "elements": "str", "default": []},
    "fail_at": {"type": "str", "choices": ["none", *SEVERITIES], "default": "none"},
}
# Each of them makes the task do something else.
EXCLUSIVE = ("lines", "error", "audit")
# The name under which the role audit registers the account that it has read, and the playbook why it was not read.
READ = "__audit_access"
MAX_NAMED = 5


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible comes without types
    """Reports what the tasks of all plays have registered, and provides the counts to other jobs."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Report on the accounts of the play, and fail if the inputs of none of them were validated."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        if "audit" in self._task.args:
            return {**result, "changed": False, **self._report_audit(variables)}
        _validated, options = self.validate_argument_spec(TASK_OPTIONS, mutually_exclusive=[EXCLUSIVE])
        if options["lines"] is not None:
            return {**result, "changed": False, **_shown(options["lines"])}
        if options["error"] is not None:
            failure = failed(self._task, options["error"]) if options["error"] else {}
            return {**result, "changed": False, **failure}
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

    def _report_audit(self, variables: dict[str, Any]) -> dict[str, Any]:
        """Report on what the role audit has read, for all hosts of the play if the task runs once."""
        hosts = variables["ansible_play_hosts_all"] if self._task.run_once else [variables["inventory_hostname"]]
        of_hosts = {host: variables["hostvars"].raw_get(host) for host in hosts}
        results = {host: each[READ] for host, each in of_hosts.items() if READ in each}
        if not results:
            return failed(self._task, _nothing_done(variables))
        fill_task(self, variables, TASK_OPTIONS)
        _validated, options = self.validate_argument_spec(TASK_OPTIONS, mutually_exclusive=[EXCLUSIVE])
        document = merge_accounts(results.values(), results, fail_at=options["fail_at"])
        if options["audit"] == FILES:
            return self._write(document, options["report_files"], variables)
        if options["audit"] == FAIL:
            return failed(self._task, document["failure"]) if document["failure"] else {}
        unread = sum("error" in each for each in document["accounts"])
        return {
            **_shown(summarize(document, has_access=ACCESS in options["parts"])),
            **_provided({"findings": document["counts"], "unread_accounts": unread}),
        }

    def _write(self, document: Mapping[str, Any], paths: Sequence[str], variables: dict[str, Any]) -> dict[str, Any]:
        """Write each file as a task with ``ansible.builtin.copy`` would, which nobody else can read."""
        files, _notices = sort_by_format("report_files", paths, AUDIT_FORMATS, "", Problems())
        results = {
            path: self._copy({"content": report_content(document, kind), "dest": path, "mode": "0600"}, variables)
            for kind in files
            for path in files[kind]
        }
        if not results:
            return {"skipped": True, "skip_reason": "There is no file to write."}
        problems = [
            f"Could not write {path}: {each.get('msg')}" for path, each in results.items() if each.get("failed")
        ]
        return {
            "changed": any(each.get("changed") for each in results.values()),
            "files": [*results],
            "diff": [part for each in results.values() for part in _parts(each.get("diff"))],
            **(failed(self._task, " ".join(problems)) if problems else {}),
        }

    def _copy(self, options: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        task = self._task.copy()
        task.args = options
        action = self._shared_loader_obj.action_loader.get(
            "ansible.legacy.copy",
            task=task,
            connection=self._connection,
            play_context=self._play_context,
            loader=self._loader,
            templar=self._templar,
            shared_loader_obj=self._shared_loader_obj,
        )
        result: dict[str, Any] = action.run(task_vars=variables)
        return result


def _parts(diff: Any) -> Sequence[Any]:
    return diff if isinstance(diff, list) else [diff] if diff else []


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
