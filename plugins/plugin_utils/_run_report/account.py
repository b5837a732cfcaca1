# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The work of a run in one account, and its failures. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._agent_config.watch import NOT_WATCHED, Watch, describe_watch
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.parts import part_name
from ansible_collections.cwagent.iam.plugins.plugin_utils._apply_batch import (
    APPLIED,
    CHECKED,
    LEADER,
    RENAMED,
    WATCHED,
    server_failure,
)
from ansible_collections.cwagent.iam.plugins.plugin_utils._inputs.given import (
    ACCOUNTS,
    ADMIN_INSTANCE,
    APPLY,
    CONFIRMATION,
    REMOVAL,
    RESTORE,
    ROTATION,
    SERVERS,
)
from ansible_collections.cwagent.iam.plugins.plugin_utils._inputs.hosts import HYBRID
from ansible_collections.cwagent.iam.plugins.plugin_utils._inputs.run import Run, read_run
from ansible_collections.cwagent.iam.plugins.plugin_utils._run_report.keys import retirement_report, rotation_report
from ansible_collections.cwagent.iam.plugins.plugin_utils._run_report.results import (
    FAILURE,
    INPUTS,
    RESTORED,
    Record,
    account_records,
    failure_reason,
    read_records,
)
from ansible_collections.cwagent.iam.plugins.plugin_utils._run_report.servers import key_hosts
from ansible_collections.cwagent.iam.plugins.plugin_utils._run_report.steps import NOTHING_TO_DO, run_report

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

GO_BACK = (
    "To bring back the earlier version, run cwagent.iam.store_config with -e cwagent_config_version={}, and then "
    "cwagent.iam.apply."
)
CHECK_AGAIN = (
    "The check ended here, because the rest of the run depends on this clean-up. Run cwagent.iam.restore, then check "
    "again."
)
SERVERS_FAILED = "The work on a server failed, or a server was left out."
KEYS_FAILED = "The work on access keys failed."
ROTATION_FAILURES = "__cwagent_rotation_failures"
UNFINISHED = "It was not finished: a task failed, or the host was unreachable."


@dataclass(frozen=True)
class Account:
    """An account, with the results of a run's tasks.

    :param name: the name of the host that stands for it.
    :param variables: the variables of that host, with the results that tasks have registered.
    :param servers: the variables of its servers, for the playbooks that do something on them.
    :param is_finished: whether no task has left the host unreachable or failed.
    :param instance_hosts: by ID of an instance, its host in the inventory.
    """

    name: str
    variables: Mapping[str, Any]
    servers: Sequence[Mapping[str, Any]] = ()
    is_finished: bool = True
    instance_hosts: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def run(self) -> Run | None:
        """The interpreted input; ``None`` where it was refused."""
        return read_run(self.variables.get(INPUTS, {}))

    @property
    def is_host(self) -> bool:
        """Whether a host of the inventory stands for it, instead of localhost with the controller's credentials."""
        return self.name in self.variables.get("groups", {}).get(ACCOUNTS, ())

    @property
    def requires(self) -> Collection[str]:
        """The requirements of the playbook, which identify its work."""
        return self.run.requires if self.run else ()

    @cached_property
    def access_keys(self) -> dict[str, Any]:
        """The outcome for the credentials on its servers."""
        is_removal = bool({CONFIRMATION, REMOVAL} & {*self.requires})
        hosts = self.run.onprem_hosts if self.run else {}
        hybrid = [name for name, each in hosts.items() if each.identity == HYBRID]
        # A server that leaves can be off.
        return key_hosts(self.servers, hybrid, is_removal=is_removal, accepts_unreachable=REMOVAL in self.requires)

    @cached_property
    def records(self) -> list[Record]:
        """The records of all tasks, first of those on the account's host."""
        # One server has sent the commands for others, which the steps name.
        applied = [
            record if LEADER in each[APPLIED] else record.on(each["inventory_hostname"])
            for each in self.servers
            if APPLIED in each
            for record in read_records(each[APPLIED])
        ]
        # The report has a server that proved its version already, so it leaves out the new name of the file there.
        renamed = [
            record.on(each["inventory_hostname"])
            for each in self.servers
            if RENAMED in each and each["inventory_hostname"] not in self._tried
            for record in read_records(each[RENAMED])
        ]
        return [*account_records(self.variables), *self.access_keys["records"], *applied, *renamed]

    @property
    def _tried(self) -> Collection[str]:
        """The servers that had to prove a version."""
        tried: Collection[str] = (self.variables.get(CHECKED) or {}).get("apply_hosts", ())
        return tried

    @property
    def needs_restore(self) -> bool:
        """Whether a check ended after the clean-up, because the rest depends on it."""
        return RESTORE not in self.requires and "needs_restore" in self.variables.get(RESTORED, {})

    @property
    def failure(self) -> str:
        """Why the work failed; empty if it did not."""
        refused = {role: why for each in self.records for role, why in each.refused_roles.items()}
        return " ".join([each for each in (self.interruption, *refused.values()) if each])

    @property
    def has_failed(self) -> bool:
        """Whether the work failed, or the agent of a server did not get the configuration or failed with it."""
        return bool(self.failure or unapplied(self))

    @property
    def interruption(self) -> str:
        """Why the work ended before its last task; empty if it did not."""
        return account_failure(self.variables) or ("" if self.is_finished else UNFINISHED)

    @property
    def failures(self) -> list[str]:
        """All failures in short. The output has their reasons already."""
        refused = self.run.problems if self.run else ()
        left = [f"{' '.join(refused)} What this concerns may not have been cleaned up."] if refused else []
        servers = [SERVERS_FAILED] if self.access_keys["problems"] or unapplied(self) else []
        return [*self._failures_of_work, *left, *servers]

    @property
    def _failures_of_work(self) -> list[str]:
        if not self.failure:
            return []
        if self.is_host:
            return [f"The work in account {self.name} failed."]
        task = self.variables.get("__cwagent_failed_task")
        if task:
            return [f"The task '{task}' failed."]
        return [KEYS_FAILED if ROTATION_FAILURES in self.variables else self.failure]

    def lines(self, *, check_mode: bool) -> list[str]:
        """The steps that were done, and notes for a person, or what a playbook found that only checks servers."""
        if SERVERS in self.requires and APPLY not in self.requires:
            return [*(self.variables.get(CHECKED) or {}).get("lines", ())]
        notes = [
            *([CHECK_AGAIN] if self.needs_restore else []),
            *(self.run.notes if self.run else ()),
            *_without_access(self.records),
            *_unlisted(self),
            *_window_notes(self, check_mode),
            *self.access_keys["notes"],
            *_apply_notes(self),
        ]
        lines = run_report(self.records, check_mode=check_mode, notes=notes, hosts=self.instance_hosts)
        if self.failures and lines[0] == NOTHING_TO_DO:
            lines[0] = "Nothing was changed."
        if ROTATION in self.requires:
            lines += rotation_report(self.records, self._is_delivered, check_mode=check_mode)
        days = self.run.settings["key_delete_after_days"] if self.run else 0
        return lines + retirement_report(self.records, check_mode=check_mode, key_delete_after_days=days)

    @property
    def _is_delivered(self) -> dict[str, bool]:
        """By user of servers with access keys, whether the new key is on each of them."""
        hosts = self.run.onprem_hosts if self.run else {}
        users = {name: each.user for name, each in hosts.items() if each.identity != HYBRID}
        missing = {user for name, user in users.items() if name not in self.access_keys["done"]}
        return {user: user not in missing for user in users.values()}


def _without_access(records: Iterable[Record]) -> list[str]:
    """The variable to set so that servers with a role of their application can run the agent."""
    names = ", ".join(sorted({role for each in records for role in each.roles_without_access}))
    remedy = f"To let servers with other roles run the agent, add the roles to cwagent_attach_to_roles: {names}."
    return [remedy] if names else []


def _unlisted(account: Account) -> list[str]:
    """The resources of this collection that no host of the inventory has."""
    found = [each.unlisted for each in account.records if each.unlisted]
    lines = list(found[-1]) if found else []
    if account.is_host and any("remove_servers" in line for line in lines):
        lines.append(
            "cwagent.iam.remove_servers runs without the group cwagent_accounts, with the credentials of the account."
        )
    return lines


def window_deadline(account: Account) -> str:
    opened = account.variables.get("__store_config_result") or {}
    return str((opened.get("window") or {}).get("deadline") or "")


def _window_notes(account: Account, check_mode: bool) -> list[str]:
    """The deadline until which a person can write, and how to close the window early."""
    run, deadline = account.run, window_deadline(account)
    if run is None or ADMIN_INSTANCE not in run.requires or account.failure or not run.stores:
        return []
    host = run.instance_id if account.is_host else run.storing_host
    until = f"{deadline} (UTC)" if deadline else "its instance profile is restored"
    return [
        f"{host} {'could' if check_mode else 'can'} write to Parameter Store until {until}.",
        "To close the window early, run cwagent.iam.restore with the same inventory.",
    ]


def _apply_notes(account: Account) -> list[str]:
    """The servers whose agent did not get the configuration, and what was seen of the agents that did."""
    checked = account.variables.get(CHECKED) or {}
    watches = {host: Watch(**each) for host, each in _watches(account).items()}
    lines = unapplied(account)
    for each in account.records:
        lines += [*each.notes, *(warning for warning in each.warnings if "not narrowed" in warning)]
    return [*lines, *describe_watch(watches), *checked.get("apply_notes", ())]


def _watches(account: Account) -> dict[str, dict[str, Any]]:
    """By server, the result of watching its agent. One server has the results of all that Run Command reached."""
    results = [host[WATCHED] for host in account.servers if WATCHED in host]
    return {host: watch for each in results for host, watch in each.get("watches", {}).items()}


def unapplied(account: Account) -> list[str]:
    """The servers on which the configuration should have been applied and was not, or whose agent failed with it."""
    if account.run is None or APPLY not in account.requires or FAILURE in account.variables:
        return []  # another playbook, or the servers were not read
    of_host = {host["inventory_hostname"]: host for host in account.servers}
    watched = {name: watch["failure"] for name, watch in _watches(account).items() if watch["failure"]}
    failed = {name: server_failure(host) for name, host in of_host.items()}
    failures = {name: failure_reason(result) for name, result in failed.items() if result}
    names = (account.variables.get(CHECKED) or {}).get("apply_hosts", ())
    skipped = [name for name in names if name not in failures and APPLIED not in of_host.get(name, {})]
    # Ansible leaves hosts that were added during the run out of a limit that does not match their names.
    is_limited = account.variables.get("ansible_limit")
    limited = [name for name in skipped if is_limited and of_host.get(name, {}).get("__cwagent_is_added")]
    skipped = [name for name in skipped if name not in limited]
    lines = [
        f"The agent failed with the configuration on {name}: {reason}"
        if name in watched or reason.startswith(NOT_WATCHED)
        else f"The configuration was not applied on {name}: {reason}"
        for name, reason in failures.items()
    ]
    if limited:
        lines.append(f"Skipped, because --limit leaves them out: {', '.join(limited)}. Add i-* to it.")
    if skipped:
        lines.append(
            "Skipped, because more servers of a batch failed than cwagent_max_fail_percentage allows "
            f"({account.run.settings['max_fail_percentage']} %): {', '.join(skipped)}."
        )
    refused = [name for name, host in of_host.items() if name in watched or _is_refused(host)]
    return [*lines, *([GO_BACK.format(_earlier_versions(account, refused))] if refused else [])]


def _earlier_versions(account: Account, hosts: Collection[str]) -> str:
    """The option that brings back only the configurations that the agents of some hosts fetched."""
    servers = (account.variables.get(CHECKED) or {}).get("servers", ())
    fetched = {name for server in servers if server["host"] in hosts for name in _fetched(server)}
    return ",".join(f"{name}=previous" for name in sorted(fetched)) or "previous"


def _fetched(server: Mapping[str, Any]) -> set[str]:
    """The configurations that an agent fetched, as a whole. Commands can contain names of files, which are no names."""
    names = {each["name"] for each in server["runs"]}
    wholes = {part_name(name, number): name for name in names for number in range(2, len(names) + 1)}
    found = names & {each["name"].partition(":")[0] for each in server["commands"]}
    return {wholes.get(name, name) for name in found or names}


def _is_refused(host: Mapping[str, Any]) -> bool:
    """Whether a command with the configuration failed on a server, or on another one of the same result."""
    applied = host.get(APPLIED, {})
    return bool(applied.get("not_done") or applied.get("failed_hosts"))


def account_failure(variables: Mapping[str, Any]) -> str:
    """Why the work in an account failed, according to the variables of its host; empty if it did not."""
    if FAILURE in variables:
        return failure_reason(variables[FAILURE])
    if ROTATION_FAILURES in variables:
        return " ".join(failure_reason(each) for each in variables[ROTATION_FAILURES])
    inputs = variables.get(INPUTS, {})
    return "" if read_run(inputs) else str(inputs.get("msg") or "It was not started.")
