# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The work of the tasks of ``apply.yml`` on one server, which can be one of a batch.

A server that Ansible reaches gets the configuration with Ansible. The first one of the others of its account sends the
commands for all of them, so that the number of commands depends on the number of batches. It fails with none of them:
each server finds its own failure in the result of the first one.

Servers are mappings, as results have them, because each server of a batch looks at all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...module_utils._agents.data import NOT_KNOWN, Trial
from ...module_utils._agents.server import ANSIBLE, RUN_COMMAND, Series
from ...module_utils._agents.watch import NOT_WATCHED
from ...module_utils._ground.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence


COLLECT, APPLY, WATCH, DATA, CHECK, RENAME = OF_SERVER = ("collect", "apply", "watch", "data", "check", "rename")
# The part of one host of a batch, and the part of the host that has checked the servers of an account, after them.
STOP, LABEL = "stop", "label"
PARTS = (*OF_SERVER, STOP, LABEL)
# The results of the host that has checked the servers, and the results of each server.
READ, CHECKED, LABELLED = "__verify_read", "__verify_checked", "__verify_labelled"
COLLECTED, APPLIED, WATCHED = "__verify_collected", "__verify_applied", "__verify_watched"
ARRIVED, PROVED, RENAMED = "__verify_arrived", "__verify_proved", "__verify_renamed"
# The results of the tasks of apply.yml on a server, in their order.
OF_TRIAL = (APPLIED, WATCHED, ARRIVED, PROVED, RENAMED)
# The key of a result with the server that sends the commands.
LEADER = "leader"


@dataclass(frozen=True)
class Work:
    """The work of a task. Without servers and without options, there is nothing to do.

    :param failure: the reason why the server fails.
    :param servers: the servers to reach with Run Command.
    :param options: the options of the module on the server itself.
    :param leader: the server that sends the commands for this one.
    :param trials: by server, the data to wait for. ``None`` if this server does not wait.
    """

    failure: str = ""
    servers: Sequence[Mapping[str, Any]] = ()
    options: Mapping[str, Any] | None = None
    leader: str = ""
    trials: Mapping[str, Trial] | None = None


@dataclass(frozen=True)
class Batch:
    """A server with the others of its account.

    :param host: the name of the server.
    :param hostvars: the variables of all hosts, as Ansible has them.
    :param controller: the host that has checked the servers of the account.
    """

    host: str
    hostvars: Any
    controller: str

    @property
    def _servers(self) -> Sequence[Mapping[str, Any]]:
        return self._servers_in(CHECKED)

    def _servers_in(self, name: str) -> Sequence[Mapping[str, Any]]:
        found: Sequence[Mapping[str, Any]] = self._registered(self.controller, name).get("servers", ())
        return found

    @property
    def _server(self) -> Mapping[str, Any]:
        return self._server_in(CHECKED)

    def _server_in(self, name: str) -> Mapping[str, Any]:
        """Return the server in a result of the controller. :raises InvalidInput: it is in none."""
        found = next((each for each in self._servers_in(name) if each["host"] == self.host), None)
        if found is None:
            raise InvalidInput(
                f"{self.controller} has not checked {self.host}. Run the role cwagent.iam.verify there first, with "
                "this server in verify_servers."
            )
        return found

    def work(self, part: str, *, hosts: Collection[str], watch_seconds: int | None, check_mode: bool) -> Work:
        """Return the work of a task.

        :param hosts: the hosts of the batch that have not failed.
        :param watch_seconds: how long to watch the agents, unless their configurations decide.
        """
        if part == COLLECT:
            return self._collect()
        if part == RENAME:
            return Work(options={"server": self._server, "rename": True})
        if part == APPLY:
            return self._apply({*hosts})
        time = {} if watch_seconds is None else {"watch_seconds": watch_seconds}
        if part == WATCH:
            return self._watch(time, check_mode=check_mode)
        if part == DATA:
            return Work() if check_mode or not self._server["needs_trial"] else self._wait({*hosts})
        return Work() if check_mode else self._check()

    def _collect(self) -> Work:
        server = self._server_in(READ)
        return Work(options={"server": server} if server["is_running"] and not server["is_windows"] else None)

    def _apply(self, hosts: set[str]) -> Work:
        server = self._server
        if server["apply_failure"] or server["seen_by"] not in (ANSIBLE, RUN_COMMAND):
            return Work(failure=server["apply_failure"])
        if server["seen_by"] == RUN_COMMAND:
            others = [each for each in self._servers if each["host"] in hosts and _is_commanded(each)]
            leader = min(each["host"] for each in others)
            return Work(servers=others if leader == self.host else (), leader=leader)
        if not server["commands"]:
            return Work()
        return Work(
            options={
                "configs": server["runs"],
                "other_names": server["similar"],
                "retry": server["is_refused"],
                "mode": "ec2" if server["instance_id"] else "onPremise",
            }
        )

    def _watch(self, time: Mapping[str, Any], *, check_mode: bool) -> Work:
        server = {**self._server, **time}
        if not _is_commanded(server):
            is_tried = server["needs_trial"] and server["seen_by"] == ANSIBLE
            is_watched = is_tried and server["watch_seconds"] > 0 and not check_mode
            return Work(options={"server": server, "watch": True} if is_watched else None)
        if failure := self._command_failure(server):
            return Work(failure=failure)
        applied = self._commanded
        watched = [{**each, **time} for each in self._servers if each["host"] in applied]
        return Work(servers=watched if self.host == self._watcher else ())

    def _wait(self, hosts: Collection[str]) -> Work:
        """Let one host of the batch wait for the data of all whose agents have not failed."""
        probed = [each for each in self._servers if each["host"] in hosts and each["needs_trial"] and each["probe"]]
        leader = min((each["host"] for each in probed), default="")
        if leader != self.host:
            return Work(leader=leader)
        watches = {
            host: watch
            for each in hosts
            for host, watch in self._registered(each, WATCHED).get("watches", {}).items()
            if host in hosts and not watch["failure"] and watch["started"]
        }
        trials = {
            each["host"]: Trial(Series.from_dict(each["probe"]), watch["started"], each["newest"], watch["seconds"])
            for each in probed
            if (watch := watches.get(each["host"]))
        }
        return Work(leader=leader, trials=trials)

    def _check(self) -> Work:
        if (failure := self._watch_failure()) or not self._server["needs_trial"]:
            return Work(failure=failure)
        leader = self._registered(self.host, ARRIVED).get(LEADER)
        if not leader or not self._server["probe"]:
            return Work()
        result = self._registered(leader, ARRIVED)
        if "data" not in result:
            return Work(failure=f"{NOT_KNOWN}{result.get('msg') or f'{leader} did not wait for it.'}")
        if self.host not in result["data"] and self._registered(self.host, WATCHED).get("watches"):
            return Work(failure=f"{NOT_KNOWN}{leader} did not wait for it.")
        return Work(failure=result["data"].get(self.host, {}).get("failure", ""))

    def _watch_failure(self) -> str:
        server = self._server
        if not _is_commanded(server):
            return ""  # it has failed already
        result = self._registered(self._watcher, WATCHED)
        if "watches" in result:
            return str(result["watches"].get(self.host, {}).get("failure", ""))
        reason = result.get("msg") or "It could not be reached."
        return f"{NOT_WATCHED}{reason}" if server["needs_trial"] else ""

    def _command_failure(self, server: Mapping[str, Any]) -> str:
        """Return why Run Command did not apply the configuration. Without lists of hosts, it did so on none."""
        result = self._sent
        if "failed_hosts" in result:
            return str(result["failed_hosts"].get(self.host, ""))
        return str(result.get("msg", "")) if server["needs_trial"] else ""

    @property
    def _sent(self) -> Mapping[str, Any]:
        """The result of the server that sent the commands."""
        return self._registered(self._registered(self.host, APPLIED).get(LEADER, self.host), APPLIED)

    @property
    def _commanded(self) -> Sequence[str]:
        applied: Sequence[str] = self._sent.get("applied_hosts", ())
        return applied

    @property
    def _watcher(self) -> str:
        """The server that watches all that got the configuration. It has not failed."""
        return next(iter(self._commanded), self.host)

    def _registered(self, host: str, name: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.hostvars.raw_get(host).get(name, {})
        return found


def server_failure(variables: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the result of the task of ``apply.yml`` that failed on a server; ``None`` if none did."""
    results: list[Mapping[str, Any]] = [variables[name] for name in OF_TRIAL if name in variables]
    return next((each for each in results if each.get("failed") or each.get("unreachable")), None)


def has_proved(variables: Mapping[str, Any]) -> bool:
    """Return whether a server got the configuration, and its agent did not fail with it."""
    return PROVED in variables and server_failure(variables) is None


def has_too_many_failures(hosts: Collection[str], hostvars: Any, max_fail_percentage: int) -> bool:
    """Return whether more servers of a batch failed than may fail. :param hosts: the hosts of the batch."""
    failed = sum(server_failure(hostvars.raw_get(each)) is not None for each in hosts)
    return 100 * failed > max_fail_percentage * len(hosts)


def _is_commanded(server: Mapping[str, Any]) -> bool:
    """Whether Run Command applies the configuration on a server."""
    return bool(server["seen_by"] == RUN_COMMAND and not server["apply_failure"])
