# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Applies configurations with Run Command here, or with the module of this name on the host, which has no boto3."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

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
from ansible_collections.cwagent.iam.plugins.module_utils._verify.model import Server
from ansible_collections.cwagent.iam.plugins.modules.cwagent_agent_config import SPEC
from ansible_collections.cwagent.iam.plugins.plugin_utils._aws_action import AwsAction, name_hosts
from ansible_collections.cwagent.iam.plugins.plugin_utils._host_action import HostAction

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from ansible_collections.cwagent.iam.plugins.module_utils._call import Call

# The AWS options and their aliases, without amazon.aws unknown. The action group gives some to tasks with a host, too.
AWS_OPTIONS: set[str] = set()
# A task with a host needs neither boto3 nor amazon.aws.
with suppress(Exception):  # an import can raise anything
    from ansible_collections.cwagent.iam.plugins.module_utils import _module
    from ansible_collections.cwagent.iam.plugins.module_utils._agent_config.fleet import FleetConfigResource, Member
    from ansible_collections.cwagent.iam.plugins.module_utils._agent_config.label import LabelResource
    from ansible_collections.cwagent.iam.plugins.module_utils._verify.collect import RUN_COMMAND, watch

    AWS_OPTIONS |= {name for key, each in _module.complete_spec({}).items() for name in (key, *each.get("aliases", ()))}


def options_for_host(options: Mapping[str, Any], of_aws: Collection[str]) -> dict[str, Any]:
    """Return the options of a host. If no option of AWS is known, only the options of the module are left."""
    return {name: value for name, value in options.items() if (name not in of_aws if of_aws else name in SPEC)}


def _check_times(options: Mapping[str, Any]) -> None:
    """Check how long to watch the servers. :raises InvalidInput: it is out of range."""
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
    earlier = [each.host for each in servers if each.can_run_earlier]
    labels = [*([own] if own else []), *([APPLIED_LABEL] if params["fitted"] and not earlier else [])]
    resource = LabelResource(call.client, versions, labels, params["wait_timeout"])
    return {**converge(resource, call.check_mode, None), "earlier_hosts": earlier}


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
        options = {name: value for name, value in self._task.args.items() if value is not None}
        has_servers, variables = "servers" in options, task_vars or {}
        if options.get("watch"):
            try:
                _check_times(options)
            except InvalidInput as error:
                return error.to_result()
        self._task.args = options if has_servers else options_for_host(options, AWS_OPTIONS)
        if not has_servers:
            on_host: dict[str, Any] = HostAction.run(self, tmp, task_vars)
            return judge_result(on_host, variables["inventory_hostname"]) if options.get("watch") else on_host
        self._supports_async = False
        result: dict[str, Any] = ActionBase.run(self, tmp, task_vars)
        return {**result, **name_hosts(self.work_here(work, variables), variables)}


ActionModule.preload("cwagent_agent_config", "ssm")
