# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Applies configurations with Run Command here, or with the module of this name on the host, which has no boto3."""

from __future__ import annotations

import time
from contextlib import suppress
from copy import copy
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from ansible.errors import AnsibleConnectionFailure
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase

from ansible_collections.cwagent.iam.plugins.module_utils._agents.fact_checks import RUNNING
from ansible_collections.cwagent.iam.plugins.module_utils._agents.label_and_narrowing import judge_proof
from ansible_collections.cwagent.iam.plugins.module_utils._agents.server import RUN_COMMAND, Server
from ansible_collections.cwagent.iam.plugins.module_utils._agents.watch import NOT_WATCHED, Watch, check_seconds, judge
from ansible_collections.cwagent.iam.plugins.module_utils._ground.call import join_results
from ansible_collections.cwagent.iam.plugins.module_utils._ground.converge import converge
from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import CwagentError, InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._ground.names import APPLIED_LABEL, check_label
from ansible_collections.cwagent.iam.plugins.module_utils._principals.policies import FITTED
from ansible_collections.cwagent.iam.plugins.modules.cwagent_agent_config import SPEC
from ansible_collections.cwagent.iam.plugins.plugin_utils._connections.apply_batch import (
    APPLY,
    CHECK,
    CHECKED,
    COLLECT,
    DATA,
    LABEL,
    LEADER,
    RENAME,
    STOP,
    WATCH,
    Batch,
    has_proved,
    has_too_many_failures,
)
from ansible_collections.cwagent.iam.plugins.plugin_utils._connections.aws_action import AwsAction, name_hosts
from ansible_collections.cwagent.iam.plugins.plugin_utils._connections.host_result import HostAction
from ansible_collections.cwagent.iam.plugins.plugin_utils._report.results import INPUTS
from ansible_collections.cwagent.iam.plugins.plugin_utils._run.roles import validate_role
from ansible_collections.cwagent.iam.plugins.plugin_utils._run.run import read_run
from ansible_collections.cwagent.iam.plugins.plugin_utils._run.settings import (
    IN_OUR_PLAY,
    ROLES,
    fill_options,
    find_value,
    is_in_our_role,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from ansible_collections.cwagent.iam.plugins.module_utils._agents.data import Trial
    from ansible_collections.cwagent.iam.plugins.module_utils._ground.call import Call

# The AWS options and their aliases, without amazon.aws unknown. The action group gives some to tasks with a host, too.
AWS_OPTIONS: set[str] = set()
# The options that only a task on a host has.
OF_HOST = ("agent_ctl", "environment")
# By part, the options that it takes besides the AWS options. A part that is an entry point of the role validates its
# variables first.
OPTIONS_OF = {
    COLLECT: ("environment",),
    APPLY: ("agent_ctl", "environment", "wait_timeout"),
    WATCH: ("apply_watch_seconds", "environment", "wait_timeout"),
    DATA: (),
    CHECK: (),
    RENAME: ("agent_ctl", "environment"),
    LABEL: ("config_label", "wait_timeout"),
}
ENTRY_POINTS = (COLLECT, APPLY, RENAME, LABEL)
# The host that has checked the servers, in a play that is not ours.
CONTROLLER = "localhost"
# A task with a host needs neither boto3 nor amazon.aws.
with suppress(Exception):  # an import can raise anything
    from ansible_collections.cwagent.iam.plugins.module_utils._agents.arrival import wait_for_data
    from ansible_collections.cwagent.iam.plugins.module_utils._agents.label import LabelResource
    from ansible_collections.cwagent.iam.plugins.module_utils._agents.through_run_command import (
        Member,
        RemoteConfigResource,
        watch,
    )
    from ansible_collections.cwagent.iam.plugins.module_utils._fitting.fitted_policy import SPEC as FITTED_SPEC
    from ansible_collections.cwagent.iam.plugins.module_utils._ground.aws import Aws
    from ansible_collections.cwagent.iam.plugins.module_utils._ground.call import complete_spec
    from ansible_collections.cwagent.iam.plugins.module_utils._principals.principal import find_server_policy
    from ansible_collections.cwagent.iam.plugins.modules import cwagent_fitted_policy

    AWS_OPTIONS |= {name for key, each in complete_spec({}).items() for name in (key, *each.get("aliases", ()))}


def options_for_host(options: Mapping[str, Any], of_aws: Collection[str]) -> dict[str, Any]:
    """Return the options of a host. If no option of AWS is known, only the options of the module are left."""
    return {name: value for name, value in options.items() if (name not in of_aws if of_aws else name in SPEC)}


def _check_times(options: Mapping[str, Any]) -> None:
    """Check how long to watch the servers, in a task that does. :raises InvalidInput: it is out of range."""
    if not options.get("watch"):
        return
    for each in [*options.get("servers", ()), options.get("server")]:
        seconds = each.get("watch_seconds") if isinstance(each, dict) else None
        if isinstance(seconds, int):
            check_seconds("apply_watch_seconds", seconds)


def work(call: Call) -> dict[str, Any]:
    """Make the agents of servers run stored configurations, watch them, or end their trial."""
    params = call.params
    servers = [Server.from_dict(each) for each in params["servers"]]
    if params["watch"]:
        tried = [each for each in servers if each.managed_id and each.needs_trial and each.watch_seconds]
        is_idle = call.check_mode or not tried
        return to_result({} if is_idle else watch(call.client, tried, params["wait_timeout"]))
    if params["rename"]:
        return {**_rename(call, servers), "rename_hosts": _renamed_by_ansible(servers)}
    if params["config_label"] or params["fitted"]:
        return _label(call, servers, params["config_label"], is_fitted=params["fitted"])
    members = [
        Member(each.host, each.region, each.managed_id, each.mode, each.commands, each.needs_trial)
        for each in servers
        if each.managed_id
    ]
    return converge(RemoteConfigResource(call.client, members, params["wait_timeout"]), call.check_mode, None)


def _wait(trials: Mapping[str, Trial], call: Call) -> dict[str, Any]:
    """Wait for the data of agents. Each server finds its own failure in the result."""
    proofs = wait_for_data(call.client, trials)
    return {"changed": False, "data": {host: asdict(each) for host, each in proofs.items()}}


def _label(call: Call, servers: Sequence[Server], own: str | None, *, is_fitted: bool) -> dict[str, Any]:
    """Label the versions that servers run. The last label means that no server can run an earlier version."""
    if own:
        check_label(own)
    proved = [each for each in servers if each.agent == RUNNING or each.needs_trial]
    versions = {(server.region, each.name): each.number for server in proved for each in server.runs}
    labels = [*([own] if own else []), *([APPLIED_LABEL] if is_fitted else [])]
    resource = LabelResource(call.client, versions, labels, call.params["wait_timeout"])
    return converge(resource, call.check_mode, None)


def _rename(call: Call, servers: Iterable[Server]) -> dict[str, Any]:
    """Give files their final names, on the servers that Run Command has read."""
    members = [
        Member(each.host, each.region, each.managed_id, each.mode, each.renames)
        for each in servers
        if each.managed_id and each.seen_by == RUN_COMMAND
    ]
    return converge(RemoteConfigResource(call.client, members, call.params["wait_timeout"]), call.check_mode, None)


def _renamed_by_ansible(servers: Iterable[Server]) -> list[str]:
    return [each.host for each in servers if each.renames and each.seen_by != RUN_COMMAND]


@dataclass(frozen=True)
class Proved:
    """The servers of an account, after a version was applied to some of them.

    :param servers: as they were before.
    :param hosts: those that have proved the version.
    :param server_policy: the user's choice; ``None`` if the account decides.
    :param is_complete: whether the run has all servers.
    :param narrowing: the options of ``cwagent_fitted_policy``.
    """

    servers: Sequence[Server]
    hosts: Collection[str]
    server_policy: str | None
    is_complete: bool
    narrowing: Mapping[str, Any]

    def work(self, call: Call) -> dict[str, Any]:
        """Move labels, narrow the fitted policies and rename files, as far as the servers allow it.

        :returns: one result for all of them.
        """
        label, results = call.params["config_label"] or "", list[dict[str, Any]]()
        try:
            is_fitted, warnings = self._is_fitted(call)
            proof = judge_proof(
                self.servers, self.hosts, label=label, is_fitted=is_fitted, is_complete=self.is_complete
            )
            results.append({"notes": [*proof.notes], "warnings": warnings})
            if proof.label or proof.narrows:
                results.append(_label(call, self.servers, proof.label, is_fitted=proof.narrows))
            if proof.narrows:
                results.append(self._narrow(call, results[-1]))
            if proof.renames:
                results.append(self._news(_rename(call, proof.renames)))
        except CwagentError as error:
            error.details.update(join_results([*results, error.to_result()], ["notes"]))
            raise
        return {**join_results(results, ["notes"]), "rename_hosts": _renamed_by_ansible(proof.renames)}

    def _news(self, renamed: dict[str, Any]) -> dict[str, Any]:
        """Return the result of renaming files, without steps if all of them belong to versions of this run.

        The steps of these versions are in other results.
        """
        tried = {each.host for each in self.servers if each.is_applied_to}
        is_news = not tried.issuperset(renamed["applied_hosts"])
        return renamed if is_news else {"changed": renamed["changed"], "diff": renamed["diff"]}

    def _is_fitted(self, call: Call) -> tuple[bool, list[str]]:
        """Return whether the servers have fitted policies, with warnings."""
        if self.server_policy or not self.servers:
            return self.server_policy == FITTED, []
        chosen, _arns = find_server_policy(Aws(call.client), None)
        return chosen.name == FITTED, [chosen.notice] * bool(chosen.notice)

    def _narrow(self, call: Call, labelled: Mapping[str, Any]) -> dict[str, Any]:
        """Narrow the fitted policies to the versions since the label, as the module for them does it."""
        given = {name: value for name, value in call.params.items() if name not in SPEC}
        options = {**given, **self.narrowing, "narrow": True, "planned": [labelled]}
        validated = ArgumentSpecValidator(complete_spec(FITTED_SPEC)).validate(options)
        if validated.error_messages:
            raise InvalidInput(f"{'. '.join(validated.error_messages)}.")
        narrower: Any = copy(call)
        narrower.params = validated.validated_parameters
        return cwagent_fitted_policy.work(narrower)


def to_result(watches: Mapping[str, Watch]) -> dict[str, Any]:
    """Return the result of a task that watches agents."""
    return {"changed": False, "watches": {host: asdict(each) for host, each in watches.items()}}


def judge_result(result: Mapping[str, Any], host: str) -> dict[str, Any]:
    """Return the result of a task that watched the agent of its host, without the text from the host."""
    if result.get("unreachable"):
        return {**result}
    output = str(result.get("stdout") or "")
    problem = str(result.get("msg") or "it printed nothing").rstrip(".")
    found = judge(output) if output else Watch(failure=f"{NOT_WATCHED}{problem}.")
    kept = {key: result[key] for key in ("warnings", "ansible_facts") if key in result}
    return {**kept, **to_result({host: found})}


class ActionModule(AwsAction, HostAction):
    """Runs the commands of a task with servers here, and any other task on its host."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Do the work of the task. The host never gets the AWS options, which can contain secrets."""
        del tmp
        options = {name: value for name, value in self._task.args.items() if value is not None}
        variables = task_vars or {}
        try:
            if "part" in options:
                return self._do_part(options["part"], variables)
            return self._by_command(options, variables) if "servers" in options else self._on_host(options, variables)
        except InvalidInput as error:
            return error.to_result()

    def _by_command(
        self,
        options: dict[str, Any],
        variables: Mapping[str, Any],
        work: Callable[[Call], dict[str, Any]] = work,
    ) -> dict[str, Any]:
        self._task.args = options
        _check_times(options)
        self._supports_async = False
        result: dict[str, Any] = ActionBase.run(self, None, variables)
        return {**result, **name_hosts(self.work_here(work, variables), variables)}

    def _on_host(self, options: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        self._task.args = options_for_host(options, AWS_OPTIONS)
        _check_times(options)
        result: dict[str, Any] = HostAction.run(self, None, variables)
        if "stdout" in result:  # the facts, with the time of the host, which is compared with this one
            result["read_at"] = int(time.time())
        return judge_result(result, variables["inventory_hostname"]) if options.get("watch") else result

    def _do_part(self, part: str, variables: dict[str, Any]) -> dict[str, Any]:
        """Do a part of the work of ``apply.yml``, with the options that variables of the role give."""
        host, hostvars = variables["inventory_hostname"], variables["hostvars"]
        controller = CONTROLLER
        if part == LABEL:
            controller = host
        elif IN_OUR_PLAY in variables:
            controller = self._templar.template(variables["__cwagent_controller"])
        if part == STOP:
            run = read_run(hostvars.raw_get(controller).get(INPUTS, {}))
            allowed = run.settings["max_fail_percentage"] if run else 0
            return {
                "changed": False,
                "stops": has_too_many_failures(variables["ansible_play_batch"], hostvars, allowed),
            }
        if part in ENTRY_POINTS and is_in_our_role(self._task):
            validate_role(self, variables, part)
        if problem := self.fill_options(variables):
            raise InvalidInput(problem)
        given = self._task.args
        options = {name: given[name] for name in given if name not in SPEC or name in OPTIONS_OF[part]}
        if part == LABEL:
            return self._label(options, variables)
        seconds = options.pop("apply_watch_seconds", None)
        planned = Batch(host, hostvars, controller).work(
            part,
            hosts=variables["ansible_play_batch"],
            watch_seconds=None if seconds is None else int(seconds),
            check_mode=self._task.check_mode,
        )
        if part in (COLLECT, RENAME):
            more_options = planned.options
            skipped = {"changed": False, "skipped": True}
            return skipped if more_options is None else self._on_host({**options, **more_options}, variables)
        result: dict[str, Any] = {"changed": False, **({LEADER: planned.leader} if planned.leader else {})}
        if planned.failure:
            return {**result, "failed": True, "msg": planned.failure}
        if planned.trials is not None:
            kept = {name: value for name, value in options.items() if name not in OF_HOST}
            found = self._by_command({**kept, "servers": []}, variables, partial(_wait, planned.trials))
            return {**result, **found, "failed": False}
        if planned.servers:
            # One host does this for others, which then fail by themselves.
            kept = {name: value for name, value in options.items() if name not in OF_HOST}
            more = {"servers": [*planned.servers], "watch": part == WATCH}
            return {**result, **self._by_command({**kept, **more}, variables), "failed": False}
        if planned.options is None:
            return result
        return self._for_host(planned.options, options, variables)

    def _label(self, options: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        """Move labels to the versions that the servers of an account have proved, and do what follows from that."""
        hostvars = variables["hostvars"]
        of_run, template = hostvars.raw_get(variables["inventory_hostname"]), self._templar.template
        run, role = read_run(of_run.get(INPUTS, {})), ROLES / "verify"
        servers = [Server.from_dict(each) for each in of_run[CHECKED]["servers"]]
        narrowing = fill_options({}, FITTED_SPEC, role, variables, template) if self.MODULE else {}
        narrowing.pop("wait_timeout", None)  # the time of the role is for Run Command
        proved = Proved(
            servers,
            {each.host for each in servers if each.host in hostvars and has_proved(hostvars.raw_get(each.host))},
            find_value(role.name, f"{role.name}_server_policy", variables, template),
            is_complete=run.moves_label if run else True,
            narrowing=narrowing,
        )
        region = {"region": servers[0].region} if servers else {}
        return self._by_command({**options, **region, "servers": []}, variables, proved.work)

    def _for_host(
        self, planned: Mapping[str, Any], options: Mapping[str, Any], variables: dict[str, Any]
    ) -> dict[str, Any]:
        """Do the work on this host. A host that is lost fails, since the report lists it among the failures."""
        host = variables["inventory_hostname"]
        try:
            found = self._on_host({**options, **planned}, variables)
        except AnsibleConnectionFailure:
            found = {"unreachable": True}
        if found.get("unreachable"):
            lost = f"{host} could not be reached."
            return {"changed": False, "failed": True, "msg": f"{NOT_WATCHED}{lost}" if "watch" in planned else lost}
        failure = found.get("watches", {}).get(host, {}).get("failure")
        return {**found, **({"failed": True, "msg": failure} if failure else {})}


ActionModule.preload("cwagent_agent_config", "ssm")
