# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Applies configurations with Run Command here, or with the module of this name on the host, which has no boto3."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ansible.errors import AnsibleConnectionFailure
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase

from ansible_collections.cwagent.iam.plugins.module_utils._agent_config.watch import (
    NOT_WATCHED,
    Watch,
    check_seconds,
    judge,
)
from ansible_collections.cwagent.iam.plugins.module_utils._converge import converge
from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._names import APPLIED_LABEL, check_label
from ansible_collections.cwagent.iam.plugins.module_utils._verify.fact_checks import RUNNING
from ansible_collections.cwagent.iam.plugins.module_utils._verify.model import RUN_COMMAND, Server
from ansible_collections.cwagent.iam.plugins.module_utils._verify.proof import judge_proof
from ansible_collections.cwagent.iam.plugins.modules.cwagent_agent_config import SPEC
from ansible_collections.cwagent.iam.plugins.plugin_utils._apply_batch import (
    CHECKED,
    COLLECT,
    LABEL,
    LEADER,
    RENAME,
    WATCH,
    Batch,
    has_proved,
)
from ansible_collections.cwagent.iam.plugins.plugin_utils._aws_action import AwsAction, name_hosts
from ansible_collections.cwagent.iam.plugins.plugin_utils._host_action import HostAction
from ansible_collections.cwagent.iam.plugins.plugin_utils._inputs.run import read_run
from ansible_collections.cwagent.iam.plugins.plugin_utils._run_report.results import INPUTS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from ansible_collections.cwagent.iam.plugins.module_utils._call import Call

# The AWS options and their aliases, without amazon.aws unknown. The action group gives some to tasks with a host, too.
AWS_OPTIONS: set[str] = set()
# The options that only a task on a host has.
OF_HOST = ("agent_ctl", "environment")
# A task with a host needs neither boto3 nor amazon.aws.
with suppress(Exception):  # an import can raise anything
    from ansible_collections.cwagent.iam.plugins.module_utils import _module
    from ansible_collections.cwagent.iam.plugins.module_utils._agent_config.fleet import FleetConfigResource, Member
    from ansible_collections.cwagent.iam.plugins.module_utils._agent_config.label import LabelResource
    from ansible_collections.cwagent.iam.plugins.module_utils._verify.collect import watch

    AWS_OPTIONS |= {name for key, each in _module.complete_spec({}).items() for name in (key, *each.get("aliases", ()))}


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
    if (params["config_label"] or params["fitted"]) and not params["rename"]:
        return _label(call, servers)
    reached = [each for each in servers if each.managed_id and (each.seen_by == RUN_COMMAND or not params["rename"])]
    members = [_member(each, renames=params["rename"]) for each in reached]
    result = converge(FleetConfigResource(call.client, members, params["wait_timeout"]), call.check_mode, None)
    others = [each.host for each in servers if params["rename"] and each.renames and each.seen_by != RUN_COMMAND]
    return {**result, "rename_hosts": others}


def _label(call: Call, servers: Sequence[Server]) -> dict[str, Any]:
    """Label the versions that servers run. The last label means that no server can run an earlier version."""
    params, own = call.params, call.params["config_label"]
    if own:
        check_label(own)
    proved = [each for each in servers if each.agent == RUNNING or each.needs_trial]
    versions = {(server.region, each.name): each.number for server in proved for each in server.runs}
    labels = [*([own] if own else []), *([APPLIED_LABEL] if params["fitted"] else [])]
    return converge(LabelResource(call.client, versions, labels, params["wait_timeout"]), call.check_mode, None)


def _member(each: Server, *, renames: bool) -> Member:
    commands = each.renames if renames else each.commands
    return Member(each.host, each.region, each.managed_id, each.mode, commands, each.needs_trial and not renames)


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
            if options.get("part") == LABEL:
                return self._label(options, variables)
            if "part" in options:
                return self._in_batch(options, variables)
            return self._by_command(options, variables) if "servers" in options else self._on_host(options, variables)
        except InvalidInput as error:
            return error.to_result()

    def _by_command(self, options: dict[str, Any], variables: Mapping[str, Any]) -> dict[str, Any]:
        self._task.args = options
        _check_times(options)
        self._supports_async = False
        result: dict[str, Any] = ActionBase.run(self, None, variables)
        return {**result, **name_hosts(self.work_here(work, variables), variables)}

    def _on_host(self, options: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        self._task.args = options_for_host(options, AWS_OPTIONS)
        _check_times(options)
        result: dict[str, Any] = HostAction.run(self, None, variables)
        return judge_result(result, variables["inventory_hostname"]) if options.get("watch") else result

    def _in_batch(self, options: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        """Do the part of a batch's work that is for this host, or that this host does for others."""
        given = {name: options.pop(name, None) for name in ("part", "controller", "apply_watch_seconds")}
        host, check_mode = variables["inventory_hostname"], self._task.check_mode
        planned = Batch(host, variables["hostvars"], given["controller"]).work(
            given["part"],
            hosts=variables["ansible_play_batch"],
            watch_seconds=None if given["apply_watch_seconds"] in (None, "") else int(given["apply_watch_seconds"]),
            check_mode=check_mode,
        )
        if given["part"] in (COLLECT, RENAME):
            more_options = planned.options
            skipped = {"changed": False, "skipped": True}
            return skipped if more_options is None else self._on_host({**options, **more_options}, variables)
        result: dict[str, Any] = {"changed": False, **({LEADER: planned.leader} if planned.leader else {})}
        if planned.failure:
            return {**result, "failed": True, "msg": planned.failure}
        if planned.servers:
            # One host does this for others, which then fail by themselves.
            kept = {name: value for name, value in options.items() if name not in OF_HOST}
            more = {"servers": [*planned.servers], "watch": given["part"] == WATCH}
            return {**result, **self._by_command({**kept, **more}, variables), "failed": False}
        if planned.options is None:
            return result
        return self._for_host(planned.options, options, variables)

    def _label(self, options: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        """Move labels to the versions that the servers of an account have proved, and return what else follows."""
        hostvars, controller = variables["hostvars"], options.pop("controller")
        of_run = hostvars.raw_get(controller)
        run, given = read_run(of_run.get(INPUTS, {})), of_run[CHECKED]["servers"]
        servers = [Server.from_dict(each) for each in given]
        proof = judge_proof(
            servers,
            {each.host for each in servers if each.host in hostvars and has_proved(hostvars.raw_get(each.host))},
            label=options.get("config_label") or "",
            is_fitted=boolean(options.get("fitted", False)),
            is_complete=run.moves_label if run else True,
        )
        renamed = {each.host for each in proof.renames}
        result = {
            "changed": False,
            "narrows": proof.narrows,
            "renames": [each for each in given if each["host"] in renamed],
            "notes": [*proof.notes],
        }
        if not (proof.label or proof.narrows):
            return result
        del options["part"]
        more = {"servers": given, "config_label": proof.label, "fitted": proof.narrows}
        return {**result, **self._by_command({**options, **more}, variables)}

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
