# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The names under which the tasks of playbooks and roles register their results for the report. Pure.

The report reads nothing else. A task that can change something registers its result under one of these names.

The records of the tasks of a run, from the results that they have registered, and why a task failed.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from .._run.ansible_core import warning_texts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass(frozen=True)
class Name:
    """A registered name.

    :param by: the playbooks, the tasks of playbooks and the roles that register it.
    :param of_server: whether a server of the account registers it, instead of the host of the account.
    :param adds_server: whether the report adds the server to its steps, which do not contain it.
    """

    name: str
    by: tuple[str, ...]
    of_server: bool = False
    adds_server: bool = False


NAMES = (
    # In the order of site.yml, then what only other playbooks register.
    Name("__cwagent_restored", ("tasks/begin.yml", "tasks/restore.yml")),
    Name("__store_config_compared", ("store_config",)),
    Name("__store_config_fitted", ("store_config",)),
    Name("__ec2_server_role_result", ("ec2_server",)),
    Name("__ec2_server_instances_result", ("ec2_server",)),
    Name("__ec2_server_detached", ("ec2_server",)),
    Name("__ec2_admin_role_result", ("ec2_admin",)),
    Name("__ec2_admin_window_result", ("ec2_admin",)),
    Name("__ec2_admin_instances_result", ("ec2_admin",)),
    Name("__onprem_server_result", ("onprem_server",)),
    Name("__onprem_admin_result", ("onprem_admin",)),
    Name("__onprem_admin_window_result", ("onprem_admin",)),
    Name("__hybrid_server_role_result", ("hybrid_server",)),
    Name("__store_config_result", ("store_config",)),
    Name("__hybrid_registration_node", ("hybrid_registration",), of_server=True),
    Name("__hybrid_registration_files", ("hybrid_registration",), of_server=True, adds_server=True),
    Name("__onprem_credentials_files", ("onprem_credentials",), of_server=True, adds_server=True),
    Name("__cwagent_retired", ("tasks/retire.yml",)),
    Name("__cwagent_search", ("tasks/unlisted.yml",)),
    Name("__cwagent_leaving", ("remove_servers.yml",)),
    Name("__cwagent_disassociated", ("remove_servers.yml",)),
    Name("__cwagent_detached", ("remove_servers.yml", "tasks/remove.yml")),
    Name("__cwagent_deleted_parameters", ("tasks/remove.yml",)),
    Name("__cwagent_deregistered", ("tasks/deregister.yml",)),
    Name("__cwagent_deleted_policies", ("tasks/fitted.yml",)),
    Name("__verify_applied", ("verify",), of_server=True, adds_server=True),
    Name("__verify_labelled", ("verify",)),
    Name("__verify_renamed", ("verify",), of_server=True, adds_server=True),
)


# The fact with the result of the task that failed. The task has registered the same result.
FAILURE = "__cwagent_failure"
# The registered results of the task that reads the inputs, and of the one that cleans up.
INPUTS, RESTORED = "__cwagent", "__cwagent_restored"
OF_ACCOUNT = frozenset(each.name for each in NAMES if not each.of_server)
ADDS_SERVER = {each.name: each.adds_server for each in NAMES if each.of_server}


@dataclass(frozen=True)
class Record:
    """A record of the work of a module in one call, or in check mode of the work that it planned.

    It has 14 fields, because the report reads that many keys of results, of which each module returns some.

    :param has_plan: whether the module has planned steps, even if there were none.
    :param steps: the steps that were done. After a failure, more were planned.
    :param not_done: the steps that a failure left.
    :param counts: how much was created, updated and deleted.
    :param notes: sentences for the report.
    :param configurations: the configurations that were stored, with their parameters.
    :param rotation: by user, how far the access key is replaced.
    :param retirement: by user, how far the user is retired.
    :param blockers: by user, why it is not retired.
    :param refused_roles: by application role, why it does not get the agent's policy although the user lists it.
    :param roles_without_access: the instances of each application role that nobody listed.
    :param unlisted: sentences about resources that no host of the inventory has.
    """

    has_plan: bool = False
    has_failed: bool = False
    steps: tuple[str, ...] = ()
    not_done: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    configurations: tuple[Mapping[str, Any], ...] = ()
    rotation: Mapping[str, str] = field(default_factory=dict)
    retirement: Mapping[str, str] = field(default_factory=dict)
    blockers: Mapping[str, list[str]] = field(default_factory=dict)
    refused_roles: Mapping[str, str] = field(default_factory=dict)
    roles_without_access: Mapping[str, list[str]] = field(default_factory=dict)
    unlisted: tuple[str, ...] = ()

    @classmethod
    def from_result(cls, result: Mapping[str, Any]) -> Record:
        """Read the result of one call of a module of this collection."""
        has_failed = bool(result.get("failed"))
        return cls(
            has_plan="steps" in result,
            has_failed=has_failed,
            steps=tuple(result.get("done", () if has_failed else result.get("steps", ()))),
            not_done=tuple(result.get("not_done") or ()),
            counts=result.get("counts") or {},
            warnings=tuple(warning_texts(result.get("warnings") or [])),
            notes=tuple(result.get("notes") or ()),
            configurations=tuple(result.get("configurations") or ()),
            rotation=result.get("rotation") or {},
            retirement=result.get("retirement") or {},
            # Modules for roles and policies return a list of them.
            blockers=(result.get("blockers") or {}) if result.get("retirement") else {},
            refused_roles=result.get("refused_roles") or {},
            roles_without_access=result.get("roles_without_access") or {},
            unlisted=tuple(result.get("unlisted") or ()),
        )

    def on(self, server: str) -> Record:
        """Return the record of a module on a server, with the server in each step."""
        steps, not_done = ([f"{step} on {server}" for step in each] for each in (self.steps, self.not_done))
        return replace(self, steps=tuple(steps), not_done=tuple(not_done))


def module_results(result: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The results of the module calls in one registered result."""
    if "results" in result:
        for each in result["results"]:
            yield from module_results(each)
    elif not result.get("skipped"):
        yield result


def read_records(result: Mapping[str, Any]) -> list[Record]:
    """Return the records of the module calls in one registered result; none for a task that was skipped."""
    return [Record.from_result(each) for each in module_results(result)]


def account_records(variables: Mapping[str, Any]) -> list[Record]:
    """Return the records of the tasks of an account, in the order in which they ran.

    :param variables: the variables of the account's host. Ansible keeps registered results in their order.
    """
    return [record for name in variables if name in OF_ACCOUNT for record in read_records(variables[name])]


def failure_reason(result: Mapping[str, Any]) -> str:
    """Why a task failed, in the words of its module, even if the task has a loop."""
    items = [each for each in module_results(result) if each.get("failed") and each.get("msg")]
    reasons = dict.fromkeys(str(each["msg"]) for each in items)
    return " ".join(reasons) or str(result.get("msg") or "A task failed without a message.")
