# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The work of a run in one account, and its failures. Pure.

The report on a run in one account or in many, its counts, and which accounts are skipped after failures.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any

from ansible.utils.helpers import pct_to_int

from ...module_utils._agents.data import NOT_KNOWN, Proof, describe_proofs
from ...module_utils._agents.watch import NOT_WATCHED, Watch, describe_watch
from ...module_utils._configuration.parts import part_name
from .._connections.apply_batch import APPLIED, ARRIVED, CHECKED, LEADER, RENAMED, WATCHED, server_failure
from .._run.given import ACCOUNTS, ADMIN_INSTANCE, APPLY, CONFIRMATION, REMOVAL, RESTORE, ROTATION, SERVERS
from .._run.hosts import HYBRID
from .._run.run import Run, read_run
from .lines import (
    KINDS,
    NOTHING_TO_DO,
    PHASES,
    count_changes,
    key_hosts,
    retirement_report,
    rotation_phases,
    rotation_report,
    run_report,
    wrap,
)
from .results import FAILURE, INPUTS, RESTORED, Record, account_records, failure_reason, read_records

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence


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
    reasons = {each["host"]: each["unproved"] for each in checked.get("servers", ())}
    good = {host: reasons.get(host, "") for host, each in watches.items() if not each.failure}
    described = [*describe_watch(watches), *describe_proofs(good, _proofs(account))]
    if (
        account.run
        and account.run.settings["apply_watch_seconds"] == 0
        and any(APPLIED in each for each in account.servers)
    ):
        described.append("Neither the logs nor the data were watched, because cwagent_apply_watch_seconds is 0.")
    return [*lines, *described, *checked.get("apply_notes", ())]


def _proofs(account: Account) -> dict[str, Proof]:
    """By server, its data after the restart. One server of each batch has the results of all."""
    results = [host[ARRIVED].get("data", {}) for host in account.servers if ARRIVED in host]
    return {host: Proof(**proof) for each in results for host, proof in each.items()}


def _watches(account: Account) -> dict[str, dict[str, Any]]:
    """By server, the result of watching its agent. One server has the results of all that Run Command reached."""
    results = [host[WATCHED] for host in account.servers if WATCHED in host]
    return {host: watch for each in results for host, watch in each.get("watches", {}).items()}


def unapplied(account: Account) -> list[str]:
    """The servers on which the configuration should have been applied and was not, or whose agent failed with it."""
    if account.run is None or APPLY not in account.requires or FAILURE in account.variables:
        return []  # another playbook, or the servers were not read
    of_host = {host["inventory_hostname"]: host for host in account.servers}
    watched = {name for name, watch in _watches(account).items() if watch["failure"]}
    watched |= {name for name, proof in _proofs(account).items() if proof.failure}
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
        if name in watched or reason.startswith((NOT_WATCHED, NOT_KNOWN))
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


@dataclass(frozen=True)
class Report:
    """The report on a run. :param failures: by account, all failures in one text, which is empty if there are none."""

    lines: Sequence[str]
    stats: Mapping[str, Any]
    failures: Mapping[str, str]


def run_stats(*accounts: Sequence[Record], check_mode: bool) -> dict[str, Any]:
    """The changes of a run, as counts only, so that they can be passed on to other jobs.

    :param accounts: for each account, the records. Users of two accounts can have the same name.
    :param check_mode: whether the changes were only predicted.
    """
    counts = count_changes([*chain.from_iterable(accounts)])
    keys = Counter(phase for records in accounts for phase in rotation_phases(records).values())
    return {
        "check_mode": check_mode,
        "changes": sum(counts.values()),
        **{KINDS[kind]: count for kind, count in counts.items()},
        "keys": {phase: keys[phase] for phase in (*PHASES, "current") if keys[phase]},
    }


def report(accounts: Sequence[Account], *, check_mode: bool) -> Report:
    """The report on a run in the account of the controller's credentials, or in the accounts that are hosts."""
    stats = run_stats(*(account.records for account in accounts), check_mode=check_mode)
    lines = [line for account in accounts for line in _headed(account, account.lines(check_mode=check_mode))]
    if any(account.is_host for account in accounts):
        lines += account_table(accounts, check_mode=check_mode)
        stats["failed_accounts"] = sum(account.has_failed for account in accounts)
    checked = [
        found
        for account in accounts
        if APPLY not in account.requires and (found := account.variables.get("__verify_checked", {})).get("servers")
    ]
    if checked:
        stats["servers"] = sum(len(each["servers"]) for each in checked)
        stats["failed_servers"] = sum(len(each["failed_hosts"]) for each in checked)
    if accounts and ADMIN_INSTANCE in accounts[0].requires:
        stats["window_deadline"] = window_deadline(accounts[0])
    return Report(lines, stats, {account.name: " ".join(account.failures) for account in accounts})


def _headed(account: Account, lines: list[str]) -> list[str]:
    """The lines of an account with its name as a heading; nothing if a host's account had nothing to do."""
    if not account.is_host:
        return lines
    return [] if lines in ([], [NOTHING_TO_DO]) else [f"{account.name}:", *lines]


# The longest name of an account with which a line fits.
NAME_WIDTH = 24
COLUMNS = ("account", "regions", *KINDS.values(), "unchanged", "result")


def account_table(accounts: Sequence[Account], *, check_mode: bool = False) -> list[str]:
    """A table with a line for the work in each account, and the reasons why accounts failed.

    :param check_mode: whether the changes were only predicted.
    """
    rows = [(_shorten(each.name), *_account_cells(each), _outcome(each)) for each in accounts]
    failures = [f"{each.name}: {each.failure}" for each in accounts if each.failure]
    widths = [max(map(len, column)) for column in zip(COLUMNS, *rows)]
    is_text = [True, True, *(False for _kind in KINDS), False, True]

    def line(row: Iterable[str]) -> str:
        cells = (cell.ljust(width) if text else cell.rjust(width) for cell, width, text in zip(row, widths, is_text))
        return "  ".join(cells).rstrip()

    mode = ["Check mode: this is what a run would do."] if check_mode else []
    return [*mode, line(COLUMNS), *map(line, rows), *(part for each in failures for part in wrap(f"- {each}"))]


def _outcome(account: Account) -> str:
    if account.has_failed:
        return "FAILED"
    return "restore first" if account.needs_restore else "ok"


def _shorten(account: str) -> str:
    return account if len(account) <= NAME_WIDTH else f"{account[: NAME_WIDTH - 1]}…"


def _account_cells(account: Account) -> Iterator[str]:
    """The regions of an account, how much was created, updated and deleted, and how many calls had nothing to do."""
    # The steps of a playbook that applies configurations are on servers.
    records = account.records if APPLY in account.requires else account_records(account.variables)
    regions = account.run.regions if account.run else []
    yield "".join(regions[:1]) + (f" +{len(regions) - 1}" if len(regions) > 1 else "")
    yield from map(str, count_changes(records).values())
    yield str(sum(each.has_plan and not each.has_failed and not each.steps for each in records))


SKIPPED = "Skipped: "


def skip_reason(accounts: Sequence[Account], name: str) -> str:
    """Why an account is skipped, if too many accounts of its batch or of an earlier one failed; empty otherwise.

    Ansible's own keyword ignores failures that a playbook has rescued.

    The input of the account has the sizes of the batches, and the percentage of accounts in a batch that may fail.
    Skipped accounts do not count.

    :param accounts: all accounts, in the order of the batches.
    :param name: the name of the account that is about to start.
    """
    [run] = [each.run for each in accounts if each.run and each.name == name]
    max_fail_percentage, batch_sizes = run.settings["max_fail_percentage"], run.account_batches
    if not batch_sizes:
        return ""
    reasons = {account.name: account.interruption for account in accounts}
    names, sizes, begun = list(reasons), chain(batch_sizes, repeat(batch_sizes[-1])), 0
    while begun <= names.index(name):
        batch = names[begun : begun + pct_to_int(next(sizes), len(names))]
        begun += len(batch)
        failed = sum(bool(reasons[each]) and not reasons[each].startswith(SKIPPED) for each in batch)
        if 100 * failed > max_fail_percentage * len(batch):
            counts = f"{failed} of {len(batch)} accounts of a batch failed"
            return f"{SKIPPED}{counts} (cwagent_max_fail_percentage is {max_fail_percentage})."
    return ""
