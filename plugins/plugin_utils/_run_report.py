# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report on a run, in lines for a person and as counts for a program, from the results of its modules."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any

from ansible.utils.helpers import pct_to_int

from ansible_collections.cwagent.iam.plugins.module_utils._agent_config.watch import NOT_WATCHED, Watch, describe_watch
from ansible_collections.cwagent.iam.plugins.module_utils._credentials_file.plan import RESTART_SUMMARY
from ansible_collections.cwagent.iam.plugins.module_utils._text import count_noun
from ansible_collections.cwagent.iam.plugins.plugin_utils._inputs.given import (
    ACCOUNTS,
    ADMIN_INSTANCE,
    APPLY,
    CONFIRMATION,
    REMOVAL,
    ROTATION,
    SERVERS,
)
from ansible_collections.cwagent.iam.plugins.plugin_utils._inputs.hosts import HYBRID

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

# Ansible prints each line in quotes, indented by eight columns; together they fit a terminal of 100 columns.
WIDTH = 88
RUN_AGAIN_ONLY = "Run this playbook again when this is fixed."
RUN_AGAIN = f"{RUN_AGAIN_ONLY} An agent whose earlier access key was revoked cannot send until then."
# The fact with the result of the task that failed. The task has registered the same result.
FAILURE = "__cwagent_failure"
# The registered result of the task that reads the inputs.
INPUTS = "__cwagent"
NOTHING_TO_DO = "Nothing to do."
GO_BACK = (
    "To bring back the earlier version, run cwagent.iam.store_config with -e cwagent_config_version=previous, and then "
    "cwagent.iam.apply."
)
KINDS = {"create": "created", "update": "updated", "delete": "deleted"}


def run_report(
    results: Iterable[Mapping[str, Any]], *, check_mode: bool = False, notes: Iterable[str] = ()
) -> list[str]:
    """The steps of a run with their counts, or that there was nothing to do.

    :param results: the registered results of the tasks, including loops. Results without steps do not count.
    :param check_mode: whether the steps were only predicted.
    :param notes: further sentences, such as a note on work that was not requested.
    """
    found = [each for result in results for each in _module_results(result)]
    # A module that failed has planned more steps than it has done, whatever its task made of the failure.
    steps = [step for each in found for step in each.get("done", () if each.get("failed") else each.get("steps", ()))]
    counts = _counts(found)
    would = "would be " if check_mode else ""
    summary = ", ".join(f"{count} {would}{KINDS[kind]}" for kind, count in counts.items() if count)
    lines = [f"{summary}:", *(f"- {step}" for step in steps)] if steps else [NOTHING_TO_DO]
    return [part for line in [*lines, *_parts(found), *notes] for part in _wrap(line)]


def _counts(found: Collection[Mapping[str, Any]]) -> dict[str, int]:
    """How much was created, updated and deleted."""
    return {kind: sum(each.get("counts", {}).get(kind, 0) for each in found) for kind in KINDS}


def run_stats(*accounts: Iterable[Mapping[str, Any]], check_mode: bool) -> dict[str, Any]:
    """The changes of a run, as counts only, so that they can be passed on to other jobs.

    :param accounts: for each account, the results as for ``run_report``. Users of two accounts can have the same name.
    :param check_mode: whether the changes were only predicted.
    """
    found = [[each for result in results for each in _module_results(result)] for results in accounts]
    counts = _counts([*chain.from_iterable(found)])
    keys = Counter(phase for results in found for phase in _phases(results, "rotation").values())
    return {
        "check_mode": check_mode,
        "changes": sum(counts.values()),
        **{KINDS[kind]: count for kind, count in counts.items()},
        "keys": {phase: keys[phase] for phase in (*PHASES, "current") if keys[phase]},
    }


def _parts(found: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """How servers get a configuration that was stored in several parameters."""
    for each in chain.from_iterable(each.get("configurations", ()) for each in found):
        first, *others = [parameter["name"] for parameter in each["parameters"]]
        if others:
            yield f"Servers in {each['region']} fetch {first}, then append {', '.join(others)}, in this order."


# The meaning of each phase of a replacement for its user, in the order of the report.
PHASES = {
    "blocked": "blocked: a key that is not saved takes the slot of the new one",
    "due": "a new access key {was} created and saved",
    "waiting_for_use": "waiting until the server uses the new access key, and it alone",
    "deactivating": "the old access key {was} deactivated",
    "grace_period": "the old access key is kept, deactivated, for the grace period",
    "deleting": "the old access key {was} deleted",
}
# The same for the retirement of a user.
RETIREMENT_PHASES = {
    "blocked": "blocked: {reasons}",
    "waiting": "the access key is kept until all servers are ready: {reasons}",
    "in_use": "waiting until the access key was unused for five hours",
    "deactivating": (
        "the access key {was} deactivated, because its servers are registered with Systems Manager; {later}"
    ),
    "grace_period": "the access key is kept, deactivated, for the grace period; {later}",
    "deleting": "the user {was} deleted with its access key",
}
DELETED_LATER = "the user is deleted {} after the last use"
KEPT = "the user is kept without an access key: {reasons}"


DELIVERED = "a new access key {was} created, saved and delivered to the server"
TO_DELIVER = f"{PHASES['due']}; deliver it to the server"


def rotation_report(
    results: Iterable[Mapping[str, Any]], is_delivered: Mapping[str, bool], *, check_mode: bool
) -> list[str]:
    """How far the access keys of all users are replaced: a line for each user whose key is not current, and counts.

    :param results: of the module cwagent_iam_user, with ``rotation``.
    :param is_delivered: by user of servers, whether the new key is on all of these servers.
    :param check_mode: whether the changes were only predicted.
    """
    phase_of = _phases((each for result in results for each in _module_results(result)), "rotation")
    due = {user: DELIVERED if is_on_servers else TO_DELIVER for user, is_on_servers in is_delivered.items()}
    was = "would be" if check_mode else "was"
    described = [
        f"{user}: {(due.get(user, text) if phase == 'due' else text).format(was=was)}"
        for phase, text in PHASES.items()
        for user, of in phase_of.items()
        if of == phase
    ]
    words = {"current": "current", "due": "would be replaced" if check_mode else "replaced", "blocked": "blocked"}
    # In all other phases, the old key still exists.
    counts = Counter(words.get(phase, "being replaced") for phase in phase_of.values())
    shown = [f"{counts[each]} {each}" for each in (*words.values(), "being replaced") if counts[each]]
    lines = [*described, *([f"Access keys: {', '.join(shown)}."] if shown else [])]
    return [part for line in lines for part in _wrap(line)]


def retirement_report(
    results: Iterable[Mapping[str, Any]], *, check_mode: bool, key_delete_after_days: int
) -> list[str]:
    """How far the users of servers that no longer need access keys are retired, a line for each user.

    :param results: of the module cwagent_iam_user, with ``retirement``.
    :param check_mode: whether the changes were only predicted.
    :param key_delete_after_days: how long a user is kept after the last use of its access key.
    """
    found = [each for result in results for each in _module_results(result) if each.get("retirement")]
    later = DELETED_LATER.format(count_noun(key_delete_after_days, "day"))
    reasons = {user: ", ".join(of) for each in found for user, of in each.get("blockers", {}).items()}
    phase_of = _phases(found, "retirement")
    lines = [
        f"{user}: "
        + (KEPT if of == "deleting" and user in reasons else text).format(
            was="would be" if check_mode else "was", later=later, reasons=reasons.get(user, "")
        )
        for phase, text in RETIREMENT_PHASES.items()
        for user, of in phase_of.items()
        if of == phase
    ]
    return [part for line in lines for part in _wrap(line)]


def _phases(found: Iterable[Mapping[str, Any]], kind: str) -> dict[str, str]:
    """By user, how far the access key is replaced or the user retired. :param kind: the key of the results."""
    return {user: of for each in found for user, of in each.get(kind, {}).items()}


def _module_results(result: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The results of the module calls in one registered result."""
    if "results" in result:
        for each in result["results"]:
            yield from _module_results(each)
    elif not result.get("skipped"):
        yield result


def _wrap(line: str) -> list[str]:
    indent = "  " if line.startswith("- ") else ""
    return textwrap.wrap(line, WIDTH, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False) or [""]


def registered_results(variables: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The results that tasks have registered on a host, in the order in which they ran, without a list of their names.

    :param variables: the variables of the host. The names of registered results begin with two underscores.
    """
    return [
        value
        for name, value in variables.items()
        if name.startswith("__")
        and name != FAILURE
        and isinstance(value, Mapping)
        and value.keys() & {"steps", "results"}
    ]


# The results of modules on a server, each with whether their steps name the server already.
SERVER_RESULTS = {
    "__onprem_credentials_files": False,
    "__hybrid_registration_node": True,
    "__hybrid_registration_files": False,
}


def key_hosts(
    hosts: Iterable[Mapping[str, Any]],
    hybrid: Collection[str] = (),
    is_removal: bool = False,
    accepts_unreachable: bool = False,
) -> dict[str, Any]:
    """The outcome for credentials on servers, from the variables that ``playbooks/tasks/credentials.yml`` sets.

    :param hosts: the variables of the servers. A server on which the tasks did not start is left out.
    :param hybrid: the names of the hybrid servers. The others have access keys.
    :param is_removal: whether the tasks remove the credentials.
    :param accepts_unreachable: whether an unreachable server is accepted, instead of a problem.
    :returns: the names of servers that are ``done`` or ``unreachable``, by server the reasons of other ``failures``,
        the ``results`` of the modules with the server in each step, ``notes`` for a person, and ``problems``.
    """
    found: dict[str, Any] = {"done": [], "unreachable": [], "failures": {}, "results": []}
    delivered: list[str] = []
    for host in hosts:
        reached, name = host.get("__cwagent_reached"), host["inventory_hostname"]
        if reached is None:
            continue
        # In the order in which the tasks ran. Without steps where the connection was lost, or where a task was skipped.
        results = {each: host[each] for each in host if each in SERVER_RESULTS and "steps" in (host[each] or {})}
        if "__cwagent_key_failure" in host:
            found["failures"][name] = failure_reason(host["__cwagent_key_failure"])
        elif reached.get("failed") and not reached.get("unreachable"):
            found["failures"][name] = failure_reason(reached)
        else:
            is_lost = any(host.get(each, {}).get("unreachable", False) for each in SERVER_RESULTS)
            found["done" if results and not is_lost else "unreachable"].append(name)
        if not is_removal and _has_credentials(results, is_hybrid=name in hybrid):
            delivered.append(name)
        for each, result in results.items():
            found["results"].append(result if SERVER_RESULTS[each] else _on_server(result, name))
    missed = [*_unreached(found["unreachable"], hybrid, is_removal=is_removal)]
    failures = [
        _server_failure(name, reason, is_hybrid=name in hybrid, is_removal=is_removal, is_delivered=name in delivered)
        for name, reason in found["failures"].items()
    ]
    found["problems"] = failures if accepts_unreachable else missed + failures
    with_keys = [name for name in (*found["unreachable"], *found["failures"]) if name not in hybrid]
    again = [] if is_removal or not (missed or failures) else [RUN_AGAIN if with_keys else RUN_AGAIN_ONLY]
    found["notes"] = missed + failures + again
    return found


def _on_server(result: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The result of a module on a server, with the server in each step."""
    lists = ("steps", "done", "not_done")
    return {**result, **{key: [f"{step} on {name}" for step in result[key]] for key in lists if key in result}}


def _has_credentials(results: Mapping[str, Mapping[str, Any]], *, is_hybrid: bool) -> bool:
    """Whether a server is registered, or has its access key. The restart of the agent is the last step."""
    result = results.get("__hybrid_registration_node" if is_hybrid else "__onprem_credentials_files")
    return result is not None and (not result.get("failed") or result.get("not_done") == [RESTART_SUMMARY])


def _unreached(names: Iterable[str], hybrid: Collection[str], *, is_removal: bool) -> Iterator[str]:
    """The servers that were not reached, in sentences."""
    with_keys = ", ".join(name for name in names if name not in hybrid)
    others = ", ".join(name for name in names if name in hybrid)
    if with_keys:
        unreached = "is still on" if is_removal else "was not delivered to"
        yield f"The access key {unreached} {with_keys}, which could not be reached."
    if others:
        unreached = "The agent's settings are still on" if is_removal else "The registration was not completed on"
        yield f"{unreached} {others}, which could not be reached."


def _server_failure(name: str, reason: str, *, is_hybrid: bool, is_removal: bool, is_delivered: bool) -> str:
    """The failure on a server, in a sentence."""
    if is_removal:
        credentials = "registration" if is_hybrid else "access key"
        return f"The {credentials} was not removed from {name}: {reason}"
    if is_delivered:
        done = f"{name} was registered" if is_hybrid else f"The access key was delivered to {name}"
        return f"{done}, but a later task failed: {reason}"
    return (
        f"The registration of {name} was not managed: {reason}"
        if is_hybrid
        else (f"The access key was not delivered to {name}: {reason}")
    )


def failure_reason(result: Mapping[str, Any]) -> str:
    """Why a task failed, in the words of its module, even if the task has a loop."""
    items = [each for each in _module_results(result) if each.get("failed") and each.get("msg")]
    reasons = dict.fromkeys(str(each["msg"]) for each in items)
    return " ".join(reasons) or str(result.get("msg") or "A task failed without a message.")


@dataclass(frozen=True)
class Account:
    """An account, with the results of a run's tasks.

    :param name: the name of the host that stands for it.
    :param variables: the variables of that host, with the results that tasks have registered.
    :param servers: the variables of its servers, for the playbooks that do something on them.
    :param is_finished: whether no task has left the host unreachable or failed.
    """

    name: str
    variables: Mapping[str, Any]
    servers: Sequence[Mapping[str, Any]] = ()
    is_finished: bool = True

    @property
    def inputs(self) -> Mapping[str, Any]:
        """The input of the run; empty where it was refused."""
        found: Mapping[str, Any] = self.variables.get(INPUTS, {})
        return found if "requires" in found else {}  # a task that failed or was skipped has another result

    @property
    def is_host(self) -> bool:
        """Whether a host of the inventory stands for it, instead of localhost with the controller's credentials."""
        return self.name in self.variables.get("groups", {}).get(ACCOUNTS, ())

    @property
    def requires(self) -> Collection[str]:
        """The requirements of the playbook, which identify its work."""
        requires: Collection[str] = self.inputs.get("requires", ())
        return requires

    @cached_property
    def access_keys(self) -> dict[str, Any]:
        """The outcome for the credentials on its servers."""
        is_removal = bool({CONFIRMATION, REMOVAL} & {*self.requires})
        hosts = self.inputs.get("onprem_hosts", {})
        hybrid = [name for name, each in hosts.items() if each["identity"] == HYBRID]
        # A server that leaves can be off.
        return key_hosts(self.servers, hybrid, is_removal=is_removal, accepts_unreachable=REMOVAL in self.requires)

    @cached_property
    def results(self) -> list[Mapping[str, Any]]:
        """The results of all tasks, first the results on the account's host."""
        by_command = [
            each["__verify_applied_by_command"] for each in self.servers if "__verify_applied_by_command" in each
        ]
        applied = [
            _on_server(each["__verify_applied"], each["inventory_hostname"])
            for each in self.servers
            if "__verify_applied" in each
        ]
        # The result of a command that ran once for several servers is registered on each of them.
        unique = [each for number, each in enumerate(by_command) if each not in by_command[:number]]
        return [*registered_results(self.variables), *self.access_keys["results"], *applied, *unique]

    @property
    def failure(self) -> str:
        """Why the work failed; empty if it did not."""
        refused = _join_results(self.results, "refused_roles").values()
        return " ".join([each for each in (self.interruption, *refused) if each])

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
        """All failures of the work itself, on servers, and of inputs that were left alone."""
        refused = self.inputs.get("problems", ())
        left = [f"{' '.join(refused)} What this concerns may not have been cleaned up."] if refused else []
        return [*self._failures_of_work, *left, *self.access_keys["problems"], *unapplied(self)]

    @property
    def _failures_of_work(self) -> list[str]:
        if not self.failure:
            return []
        if self.is_host:
            return [f"The work in account {self.name} failed: {self.failure}"]
        task = self.variables.get("__cwagent_failed_task")
        return [f"The task '{task}' failed: {self.failure}" if task else self.failure]

    def lines(self, *, check_mode: bool) -> list[str]:
        """The steps that were done, and notes for a person, or what a playbook found that only checks servers."""
        if SERVERS in self.requires and APPLY not in self.requires:
            return [*(self.variables.get("__verify_checked") or {}).get("lines", ())]
        notes = [
            *self.inputs.get("notes", ()),
            *_without_access(self.results),
            *_unlisted(self),
            *_window_notes(self, check_mode),
            *self.access_keys["notes"],
            *_apply_notes(self),
        ]
        lines = run_report(self.results, check_mode=check_mode, notes=notes)
        if self.failures and lines[0] == NOTHING_TO_DO:
            lines[0] = "Nothing was changed."
        if ROTATION in self.requires:
            lines += rotation_report(self.results, self._is_delivered, check_mode=check_mode)
        days = self.inputs.get("key_delete_after_days", 0)
        return lines + retirement_report(self.results, check_mode=check_mode, key_delete_after_days=days)

    @property
    def _is_delivered(self) -> dict[str, bool]:
        """By user of servers with access keys, whether the new key is on each of them."""
        users = {name: each["user"] for name, each in self.inputs["onprem_hosts"].items() if each["identity"] != HYBRID}
        missing = {user for name, user in users.items() if name not in self.access_keys["done"]}
        return {user: user not in missing for user in users.values()}


@dataclass(frozen=True)
class Report:
    """The report on a run. :param failures: by account, all failures in one text, which is empty if there are none."""

    lines: Sequence[str]
    stats: Mapping[str, Any]
    failures: Mapping[str, str]


def report(accounts: Sequence[Account], *, check_mode: bool) -> Report:
    """The report on a run in the account of the controller's credentials, or in the accounts that are hosts."""
    stats = run_stats(*(account.results for account in accounts), check_mode=check_mode)
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
        stats["window_deadline"] = _deadline(accounts[0])
    return Report(lines, stats, {account.name: " ".join(account.failures) for account in accounts})


def _headed(account: Account, lines: list[str]) -> list[str]:
    """The lines of an account with its name as a heading; nothing if a host's account had nothing to do."""
    if not account.is_host:
        return lines
    return [] if lines in ([], [NOTHING_TO_DO]) else [f"{account.name}:", *lines]


def _without_access(results: Iterable[Mapping[str, Any]]) -> list[str]:
    """The variable to set so that servers with a role of their application can run the agent."""
    names = ", ".join(sorted(_join_results(results, "roles_without_access")))
    remedy = f"To let servers with other roles run the agent, add the roles to cwagent_attach_to_roles: {names}."
    return [remedy] if names else []


def _join_results(results: Iterable[Mapping[str, Any]], key: str) -> dict[str, Any]:
    """The values that the module calls returned under a key, joined."""
    found = [each.get(key) or {} for result in results for each in _module_results(result)]
    return {name: value for each in found for name, value in each.items()}


def _unlisted(account: Account) -> list[str]:
    """The resources of this collection that no host of the inventory has."""
    found = [
        each["unlisted"] for each in account.variables.values() if isinstance(each, Mapping) and each.get("unlisted")
    ]
    lines = list(found[-1]) if found else []
    if account.is_host and any("remove_servers" in line for line in lines):
        lines.append(
            "cwagent.iam.remove_servers runs without the group cwagent_accounts, with the credentials of the account."
        )
    return lines


def _deadline(account: Account) -> str:
    opened = account.variables.get("__store_config_result") or {}
    return str((opened.get("window") or {}).get("deadline") or "")


def _window_notes(account: Account, check_mode: bool) -> list[str]:
    """The deadline until which a person can write, and how to close the window early."""
    is_opened = ADMIN_INSTANCE in account.requires and not account.failure and account.inputs["stores"]
    if not is_opened:
        return []
    inputs, deadline = account.inputs, _deadline(account)
    host = inputs["admin_instance"] if account.is_host else inputs["storing_host"]
    until = f"{deadline} (UTC)" if deadline else "its instance profile is restored"
    return [
        f"{host} {'could' if check_mode else 'can'} write to Parameter Store until {until}.",
        "To close the window early, run cwagent.iam.restore with the same inventory.",
    ]


def _apply_notes(account: Account) -> list[str]:
    """The servers whose agent did not get the configuration, and what was seen of the agents that did."""
    checked = account.variables.get("__verify_checked") or {}
    watches = {host: Watch(**each) for host, each in _watches(account).items()}
    return [*unapplied(account), *describe_watch(watches), *checked.get("apply_notes", ())]


def _watches(account: Account) -> dict[str, dict[str, Any]]:
    """By server, the result of watching its agent. One server has the results of all that Run Command reached."""
    results = [
        host[name]
        for host in account.servers
        for name in ("__verify_watched", "__verify_watched_by_command")
        if name in host
    ]
    return {host: watch for each in results for host, watch in each.get("watches", {}).items()}


def unapplied(account: Account) -> list[str]:
    """The servers on which the configuration should have been applied and was not, or whose agent failed with it."""
    if APPLY not in account.requires or FAILURE in account.variables:
        return []  # another playbook, or the servers were not read
    of_host = {host["inventory_hostname"]: host for host in account.servers}
    watched = {name: watch["failure"] for name, watch in _watches(account).items() if watch["failure"]}
    failures = {
        name: failure_reason(host["__cwagent_apply_failure"])
        for name, host in of_host.items()
        if "__cwagent_apply_failure" in host
    }
    names = (account.variables.get("__verify_checked") or {}).get("apply_hosts", ())
    skipped = [name for name in names if name not in failures and "__verify_applied" not in of_host.get(name, {})]
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
            f"({account.inputs['max_fail_percentage']} %): {', '.join(skipped)}."
        )
    return [*lines, *([GO_BACK] if watched or any(map(_is_refused, of_host.values())) else [])]


def _is_refused(host: Mapping[str, Any]) -> bool:
    """Whether a command with the configuration failed on a server, or on another one of the same result."""
    applied, by_command = (host.get(name, {}) for name in ("__verify_applied", "__verify_applied_by_command"))
    return bool(applied.get("not_done") or by_command.get("failed_hosts"))


# The longest name of an account with which a line fits.
NAME_WIDTH = 24
COLUMNS = ("account", "regions", *KINDS.values(), "unchanged", "result")


def account_table(accounts: Sequence[Account], *, check_mode: bool = False) -> list[str]:
    """A table with a line for the work in each account, and the reasons why accounts failed.

    :param check_mode: whether the changes were only predicted.
    """
    rows = [(_shorten(each.name), *_account_cells(each), "FAILED" if each.has_failed else "ok") for each in accounts]
    failures = [f"{each.name}: {each.failure}" for each in accounts if each.failure]
    widths = [max(map(len, column)) for column in zip(COLUMNS, *rows)]
    is_text = [True, True, *(False for _kind in KINDS), False, True]

    def line(row: Iterable[str]) -> str:
        cells = (cell.ljust(width) if text else cell.rjust(width) for cell, width, text in zip(row, widths, is_text))
        return "  ".join(cells).rstrip()

    mode = ["Check mode: this is what a run would do."] if check_mode else []
    return [*mode, line(COLUMNS), *map(line, rows), *(part for each in failures for part in _wrap(f"- {each}"))]


def _shorten(account: str) -> str:
    return account if len(account) <= NAME_WIDTH else f"{account[: NAME_WIDTH - 1]}…"


def _account_cells(account: Account) -> Iterator[str]:
    """The regions of an account, how much was created, updated and deleted, and how many results had nothing to do."""
    # The steps of a playbook that applies configurations are on servers.
    results = account.results if APPLY in account.requires else registered_results(account.variables)
    found = [each for result in results for each in _module_results(result)]
    regions = account.inputs.get("regions", [])
    yield "".join(regions[:1]) + (f" +{len(regions) - 1}" if len(regions) > 1 else "")
    yield from map(str, _counts(found).values())
    yield str(sum(not each["steps"] for each in found if "steps" in each and not each.get("failed")))


def account_failure(variables: Mapping[str, Any]) -> str:
    """Why the work in an account failed, according to the variables of its host; empty if it did not."""
    if FAILURE in variables:
        return failure_reason(variables[FAILURE])
    if "__cwagent_rotation_failures" in variables:
        return " ".join(failure_reason(each) for each in variables["__cwagent_rotation_failures"])
    inputs = variables.get(INPUTS, {})
    return "" if "requires" in inputs else str(inputs.get("msg") or "It was not started.")


UNFINISHED = "It was not finished: a task failed, or the host was unreachable."
SKIPPED = "Skipped: "


def skip_reason(accounts: Sequence[Account], name: str, batch_sizes: Sequence[str]) -> str:
    """Why an account is skipped, if too many accounts of its batch or of an earlier one failed; empty otherwise.

    Ansible's own keyword ignores failures that a playbook has rescued.

    The input of the account has the percentage of accounts in a batch that may fail. Skipped accounts do not count.

    :param accounts: all accounts, in the order of the batches.
    :param name: the name of the account that is about to start.
    :param batch_sizes: as for ``serial``.
    """
    [max_fail_percentage] = [each.inputs["max_fail_percentage"] for each in accounts if each.name == name]
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
