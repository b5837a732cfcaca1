# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hosts and batches of each play, and options that only the run knows, from what tasks have registered. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ...module_utils._ground.errors import InvalidInput
from ...module_utils._ground.names import is_fitted_policy
from ...module_utils._ground.planned import Planned
from ...module_utils._principals.policies import FITTED
from ...module_utils._servers.node import REGISTERED
from .._connections.apply_batch import CHECKED, LABELLED
from .._report.results import FAILURE, INPUTS, RESTORED, failure_reason
from .given import ACCOUNTS, CONFIRMATION
from .hosts import HYBRID, flatten
from .run import Run, read_run

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


# The results of the task that replaces access keys, and of the first task on a server.
KEYS, REACHED = "__onprem_server_result", "__cwagent_reached"
# The result of the task that manages the role of the hybrid servers.
HYBRID_ROLE = "__hybrid_server_role_result"
# The result of the task that registers or deregisters a server on the server itself.
NODE = "__hybrid_registration_node"

# The results of the tasks that remove principals, or the agent's policies from them.
REMOVALS = (
    *("__ec2_server_role_result", "__ec2_admin_role_result", "__cwagent_detached", KEYS, "__onprem_admin_result"),
    HYBRID_ROLE,
)

# The lists that plays have.
LISTS = (
    *("accounts", "account_batches", "unfailed", "delivery", "retirement", "deregistration", "fitted", "report"),
    *("collect", "compared", "apply", "apply_batches", "unlisted", "rename"),
)


@dataclass(frozen=True)
class RunHosts:
    """The hosts of a run.

    :param groups: the hosts of the inventory by group.
    :param hostvars: the variables of all hosts, as Ansible has them. It has none when it only checks the syntax.
    """

    groups: Mapping[str, Sequence[str]]
    hostvars: Any

    @property
    def accounts(self) -> list[str]:
        """The hosts that stand for accounts. Without them, localhost is the account of the controller's credentials."""
        return [*self.groups.get(ACCOUNTS, ())] or ["localhost"]

    def account_of(self, host: str, named: str) -> str:
        """Return the host of the account that does the work for a host.

        :param named: the value of ``cwagent_account`` on the host.
        """
        accounts = self.accounts
        return next((each for each in (host, named.strip()) if each in accounts), accounts[0])

    @cached_property
    def _accounts(self) -> dict[str, Mapping[str, Any]]:
        return self._variables(self.accounts)

    @cached_property
    def _runs(self) -> dict[str, Run]:
        """By account whose input was validated, the input."""
        runs = {name: read_run(each.get(INPUTS, {})) for name, each in self._accounts.items()}
        return {name: run for name, run in runs.items() if run}

    @cached_property
    def _unfailed(self) -> dict[str, Run]:
        """By account that has not failed and in which no check has ended, its input."""
        return {
            name: run
            for name, run in self._runs.items()
            if FAILURE not in self._accounts[name] and "needs_restore" not in self._accounts[name].get(RESTORED, {})
        }

    @property
    def unfailed(self) -> list[str]:
        """The accounts that have not failed, and in which no check has ended."""
        return [*self._unfailed]

    @property
    def account_batches(self) -> list[str]:
        """The sizes of the batches of accounts."""
        return [size for run in [*self._unfailed.values()][:1] for size in run.account_batches]

    @property
    def delivery(self) -> list[str]:
        """The servers on premises whose credentials are managed, even if an account failed after replacing its keys."""
        delivering = [
            run for name, run in self._runs.items() if FAILURE in self._accounts[name] and KEYS in self._accounts[name]
        ]
        return [host for run in (*self._unfailed.values(), *delivering) for host in run.delivery_hosts]

    @property
    def reached(self) -> list[str]:
        """The servers of the delivery that Ansible has reached. They deregister themselves."""
        reached = {host: each.get(REACHED) for host, each in self._variables(self.delivery).items()}
        return [host for host, each in reached.items() if each and not (each.get("failed") or each.get("unreachable"))]

    @property
    def nodes(self) -> list[Mapping[str, Any]]:
        """The results of the servers of the delivery that have deregistered themselves, or would in check mode."""
        return [each[NODE] for each in self._variables(self.delivery).values() if NODE in each]

    @property
    def retirement(self) -> list[str]:
        """The accounts with servers that changed between access keys and registrations."""
        return [name for name, run in self._unfailed.items() if run.key_names or run.retired_users]

    @property
    def deregistration(self) -> list[str]:
        """The accounts with servers that leave and can have a registration."""
        return [name for name, run in self._unfailed.items() if run.leaving_nodes]

    @property
    def fitted(self) -> list[str]:
        """The accounts whose fitted policies are deleted. The account decides too, because its principals had them."""
        return [
            name
            for name, run in self._unfailed.items()
            if run.settings["server_policy"] == FITTED
            or any(is_fitted_policy(arn) for _kind, _name, arn in Planned(removals(self._accounts[name])).detached)
        ]

    @property
    def collect(self) -> list[str]:
        """The servers from which facts are collected. The servers of an account that was not read are left out."""
        return [host for run in self._unfailed.values() for host in run.collect_hosts]

    @property
    def compared(self) -> list[str]:
        """The accounts in which the running configurations were compared with the stored ones."""
        return [*self._compared]

    @property
    def apply(self) -> list[str]:
        """The servers that get the configuration, first one of each other configuration, region and account."""
        others = [host for checked in self._compared.values() for host in checked["apply_hosts"]]
        return [*dict.fromkeys([*self._first_servers, *others])]

    @property
    def apply_batches(self) -> list[Any]:
        """The sizes of the batches of servers. After one server, a batch has one of each other configuration."""
        sizes = [size for run in [*self._unfailed.values()][:1] for size in run.settings["batch_size"]]
        first = len(self._first_servers)
        return [*sizes[:1], *([first - 1] if sizes[:1] == ["1"] and first > 1 else []), *sizes[1:]]

    @property
    def unlisted(self) -> list[dict[str, str]]:
        """The servers that get the configuration and are not in the inventory, with the host of their account."""
        found = {host: name for name, checked in self._compared.items() for host in checked["apply_hosts"]}
        return [{"name": host, "account": found[host]} for host in self.apply if host not in self.hostvars]

    @property
    def rename(self) -> list[str]:
        """The servers on which the files of proved versions get their names."""
        results = [self._accounts[name].get(LABELLED, {}) for name in self._compared]
        return [host for each in results for host in each.get("rename_hosts", ())]

    @property
    def report(self) -> list[str]:
        """The accounts. If the run left them out, the last play reports that on the other hosts."""
        return self.accounts if any(INPUTS in each for each in self._accounts.values()) else ["all"]

    @cached_property
    def _compared(self) -> dict[str, Mapping[str, Any]]:
        checked = {name: each.get(CHECKED, {}) for name, each in self._accounts.items() if FAILURE not in each}
        return {name: each for name, each in checked.items() if "apply_hosts" in each}

    @cached_property
    def _first_servers(self) -> list[str]:
        return [host for checked in self._compared.values() for host in checked["first_hosts"]]

    def _variables(self, hosts: Iterable[str]) -> dict[str, Mapping[str, Any]]:
        """Return the variables of the hosts that Ansible knows."""
        return {host: self.hostvars.raw_get(host) for host in hosts if host in self.hostvars}


def node_options(run: Run, hosts: RunHosts, *, deregisters: bool) -> dict[str, Any]:
    """Return the options of ``cwagent_hybrid_nodes`` in a playbook, which only the run knows.

    :param deregisters: whether the task deregisters nodes, instead of only looking for them.
    """
    return {
        "reached_hosts": hosts.reached,
        "keep_nodes": run.settings["keep_nodes"],
        "planned": hosts.nodes,
        # A teardown removes the role too.
        "role": run.settings["hybrid_role_name"] if deregisters and CONFIRMATION in run.requires else "",
    }


def removals(variables: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the results of the tasks that removed principals of an account, or policies from them."""
    return [variables[name] for name in REMOVALS if name in variables]


def registration_options(variables: Mapping[str, Any], name: str, state: str) -> dict[str, Any]:
    """Return the options of ``cwagent_hybrid_node`` in a playbook.

    :param variables: the variables of the host of the account.
    :param name: the name of the role of the hybrid servers.
    :raises InvalidInput: the role of a server that is registered was not managed.
    """
    result = variables.get(HYBRID_ROLE, {"failed": True})
    if state == REGISTERED and result.get("failed"):
        raise InvalidInput(f"The server keeps the credentials that it has, because the role {name} was not managed.")
    # Systems Manager takes the role with its path.
    path = (result.get("role") or {}).get("path", "/")
    return {"role": f"{path[1:]}{name}", "planned": [result]}


def users_on_hold(run: Run, hostvars: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return by user of hybrid servers why it must stay as it is; nothing for a user that no server needs any more.

    :param hostvars: the variables of the hosts, with the results that the role hybrid_registration has registered.
    """
    retired = flatten(run.retired_users)
    found: dict[str, list[str]] = {}
    for host, each in run.onprem_hosts.items():
        if each.identity == HYBRID and each.user in retired:
            reason = _explain_hold(host, hostvars[host], run.settings["hybrid_role_name"])
            found.setdefault(each.user, []).extend([reason] if reason else [])
    return {user: " ".join(reasons) for user, reasons in found.items() if reasons}


def _explain_hold(host: str, variables: Mapping[str, Any], role: str) -> str:
    """Return why it is not known that the agent of a host uses the credentials of its node; empty if it does."""
    reached = variables.get("__cwagent_reached")
    if reached is None:
        return f"The limit leaves out {host}."
    if reached.get("unreachable"):
        return f"{host} could not be reached."
    failure = variables.get("__cwagent_key_failure", reached if reached.get("failed") else None)
    if failure is not None:
        return f"A task on {host} failed: {failure_reason(failure)}"
    node = (variables.get("__hybrid_registration_node") or {}).get("node") or {}
    files = variables.get("__hybrid_registration_files") or {}
    if not node.get("id"):
        return f"{host} is not registered yet."
    caller = files.get("caller") or ""
    if caller.endswith(f":assumed-role/{role}/{node['id']}"):
        return ""
    reason = files.get("caller_error") or (f"the caller is {caller}" if caller else "the caller is not known")
    return f"{host} does not have working credentials of node {node['id']} yet: {reason.rstrip('.')}."
