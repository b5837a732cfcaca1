# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configurations of agents on many servers, changed with Run Command of Systems Manager."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._agent_config.plan import APPEND, FETCH, REMOVE, Command
from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws
from ansible_collections.cwagent.iam.plugins.module_utils._converge import Resource
from ansible_collections.cwagent.iam.plugins.module_utils._errors import PartialFailure
from ansible_collections.cwagent.iam.plugins.module_utils._plan import (
    MAX_REPORTED_FAILURES,
    Kind,
    Plan,
    Step,
    run_in_parallel,
)
from ansible_collections.cwagent.iam.plugins.module_utils._run_command import fleet
from ansible_collections.cwagent.iam.plugins.module_utils._run_command.fleet import Document
from ansible_collections.cwagent.iam.plugins.module_utils._wait import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/installing-cloudwatch-agent-ssm.html
MANAGE_AGENT = "AmazonCloudWatch-ManageAgent"
_ACTIONS = {FETCH: "configure", APPEND: "configure (append)", REMOVE: "configure (remove)"}


@dataclass(frozen=True)
class Member:
    """An instance, or a node that is an on-premises server.

    :param mode: of the agent's control program: ``ec2`` or ``onPremise``.
    :param commands: the calls of the control program that give its agent the desired configurations.
    """

    host: str
    region: str
    instance_id: str
    mode: str
    commands: tuple[Command, ...]


class FleetConfigResource(Resource["tuple[Member, ...]"]):
    """The configurations of agents on instances whose facts another module has collected.

    :param client_factory: makes a boto3 client for a service: ``AnsibleAWSModule.client``.
    :param timeout: how long to wait for each command, in seconds.
    """

    def __init__(self, client_factory: Callable[..., Any], members: Sequence[Member], timeout: float) -> None:
        self._client_factory = client_factory
        self._members = tuple(members)
        self._timeout = timeout

    def read(self) -> tuple[Member, ...]:
        """Return the instances with something to do, as they were seen."""
        return tuple(each for each in self._members if each.commands)

    def plan(self, current: tuple[Member, ...], /) -> Plan[tuple[Member, ...]]:
        """Plan one step for all instances, which are changed together as far as they can be."""
        step = Step(Kind.UPDATE, "ssm:SendCommand", {}, _summary(current), context=current)
        return Plan(current, (), {"agents": [step] if current else []})

    def to_diff(self, state: tuple[Member, ...], /) -> dict[str, Any]:
        """Render the commands that are to be run."""
        return {each.host: [f"{one.action} {one.name}" for one in each.commands] for each in state}

    def to_result(self, plan: Plan[tuple[Member, ...]], final: tuple[Member, ...], /) -> dict[str, Any]:
        """Return the hosts, besides the steps."""
        del final
        return {"applied_hosts": [each.host for each in plan.current]}

    def execute(self, step: Step) -> None:
        """Run the commands. :raises PartialFailure: they failed on some instances; the others have run them."""
        members: Sequence[Member] = step.context
        groups: dict[tuple[str, str, tuple[Command, ...]], list[Member]] = {}
        for each in members:
            groups.setdefault((each.region, each.mode, each.commands), []).append(each)
        parts = run_in_parallel(lambda group: self._run(*group[0], group[1]), groups.items())
        failed = {host: problem for part in parts for host, problem in part.items()}
        if failed:
            listed = "; ".join(f"{host}: {problem}" for host, problem in list(failed.items())[:MAX_REPORTED_FAILURES])
            done = [each for each in members if each.host not in failed]
            raise PartialFailure(
                f"The configuration was not applied on {len(failed)} of {len(members)} servers: {listed}. Fix the "
                "cause, and run again.",
                _summary(done) if done else "",
                _summary([each for each in members if each.host in failed]),
                failed_hosts=failed,
                applied_hosts=[each.host for each in done],
            )

    def _run(self, region: str, mode: str, commands: Sequence[Command], members: Sequence[Member]) -> dict[str, str]:
        """Run commands one after the other, and return by host why one failed. The next commands skip that host."""
        aws = Aws(partial(self._client_factory, region=region))
        hosts = {each.instance_id: each.host for each in members}
        failed: dict[str, str] = {}
        for command in commands:
            waiting = [instance_id for instance_id, host in hosts.items() if host not in failed]
            answers = fleet.run(aws, waiting, _document(command, mode), Deadline(self._timeout)) if waiting else {}
            failed.update((hosts[key], answer.failure) for key, answer in answers.items() if answer.failure)
        return failed


def _summary(members: Sequence[Member]) -> str:
    return f"apply the configuration on {', '.join(each.host for each in members)}"


def _document(command: Command, mode: str) -> Document:
    parameters = {
        "action": [_ACTIONS[command.action]],
        "mode": [mode],
        "optionalConfigurationSource": ["ssm"],
        "optionalConfigurationLocation": [command.name],
        "optionalRestart": ["yes" if command.restart else "no"],
    }
    return Document(MANAGE_AGENT, parameters, f"cwagent.iam.apply: {command.action} {command.name}")
