# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks whether an instance can store with Run Command, sends and cancels commands, and waits for what they store."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from .._accounts.principals import Attempts, Principals
from .._configuration.resource import ParameterResource
from .._ground.converge import Resource
from .._ground.errors import CwagentError, InvalidInput
from .._ground.wait import Deadline
from .._servers import run_command
from .._servers.commands import platform_problem, unreachable_reason
from . import command_plan
from .command_plan import (
    CANCEL,
    GRACE_SECONDS,
    DesiredCommand,
    Sending,
    State,
    check_problems,
    check_script,
    check_stored,
    deadline_of,
    unpack_schema,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .._configuration.plan import DesiredConfig
    from .._configuration.plan import State as Parameters
    from .._ground.aws import Aws
    from .._ground.plan import Plan, Step


# How long the command that checks an instance may take. It makes one call for each region.
CHECK_SECONDS = 60
_OTHER_WAYS = (
    "Choose a Linux instance as the admin instance, or set cwagent_store_config_from to controller, or to onprem in a "
    "run without cwagent_accounts"
)


def check_agent(aws: Aws, instance_id: str, deadline: Deadline) -> None:
    """Check that commands reach an instance.

    :raises InvalidInput: it does not run Linux.
    :raises CwagentError: its SSM agent is not online before the deadline.
    """
    while True:
        agent = run_command.find_agents(aws, [instance_id]).get(instance_id)
        problem = unreachable_reason(instance_id, agent)
        if not problem:
            return
        if agent and platform_problem(agent):
            raise InvalidInput(_refusal(f"{problem}. {_OTHER_WAYS}"))
        if not deadline.pause():
            raise CwagentError(_refusal(problem))


def check_role(aws: Aws, name: str) -> None:
    """Check that the SSM agent of an instance with the admin role would work.

    :raises CwagentError: it would not. A role that does not exist, or that may not be read, is no error.
    """
    role = Principals(aws, Attempts()).read_role(name, unless=command_plan.has_ssm_policy)
    problem = command_plan.agent_access_problem(role, aws.now) if role else ""
    if problem:
        raise CwagentError(_refusal(problem))


def _refusal(problem: str) -> str:
    return f"The configuration cannot be stored by Systems Manager: {problem}. Nothing was opened."


def check_instance(aws: Aws, instance_id: str, regions: Sequence[str]) -> str:
    """Run the command that checks an instance.

    :returns: the agent's schema, empty if the instance has none.
    :raises CwagentError: the instance could not store.
    """
    command = run_command.send(
        aws,
        [instance_id],
        check_script(regions),
        f"cwagent.iam check {uuid.uuid4()}",
        delivery_seconds=CHECK_SECONDS,
        execution_seconds=CHECK_SECONDS,
    )
    invocation = run_command.wait(aws, command, instance_id, Deadline(2 * CHECK_SECONDS + GRACE_SECONDS))
    if invocation.is_pending:
        run_command.cancel(aws, command)
    problems = check_problems(instance_id, invocation)
    if problems:
        raise CwagentError(_refusal(problems[0]))
    return unpack_schema(invocation)


class CommandResource(Resource[State]):
    """The command that stores configurations from an instance."""

    _aws: Aws

    def __init__(self, aws: Aws, desired: DesiredCommand) -> None:
        super().__init__(aws)
        self._desired = desired

    def read(self) -> State:
        """Read which commands were sent to the instance."""
        listed = list(run_command.commands(self._aws, self._desired.instance_id))
        return command_plan.state_of(listed, self._desired, self._aws.now)

    def plan(self, current: State) -> Plan[State]:
        """Plan which commands to cancel and to send."""
        return command_plan.plan(current, self._desired)

    def to_diff(self, state: State) -> dict[str, Any]:
        """Render the commands for the diff."""
        return command_plan.to_diff(state)

    def to_result(self, plan: Plan[State], final: State) -> dict[str, Any]:
        """Render the command of this run; empty if none was sent."""
        del plan
        if not (final.own and final.own.id):
            return {"command": {}}
        return {
            "command": {
                "id": final.own.id,
                "instance_id": self._desired.instance_id,
                "region": self._aws.region,
                "deadline": deadline_of(final.own),
            }
        }

    def execute(self, step: Step) -> None:
        """Send a command or cancel one."""
        if step.action == CANCEL:
            self._cancel(step)
            return
        sending: Sending = step.context
        run_command.send(
            self._aws,
            [self._desired.instance_id],
            sending.script,
            sending.comment,
            delivery_seconds=sending.delivery_seconds,
            execution_seconds=sending.execution_seconds,
        )

    def _cancel(self, step: Step) -> None:
        self._aws.execute(step)
        command_id, instance_id = step.arguments["command_id"], self._desired.instance_id
        if step.context and run_command.wait(self._aws, command_id, instance_id, self._aws.deadline()).is_pending:
            raise CwagentError(
                f"Command {command_id} of an interrupted run was cancelled, but instance {instance_id} did not confirm "
                "it. It could store an older configuration. Run again when it has ended. Nothing was opened."
            )


# How often the result of the command and the parameter are read.
POLL_SECONDS = 3.0


class AwaitedParameterResource(ParameterResource):
    """A configuration that a command on an instance stores.

    :param command: the ``command`` in the result of ``CommandResource``.
    :param command_aws: the gateway to AWS in the region of the instance.
    """

    def __init__(
        self,
        aws: Aws,
        desired: DesiredConfig,
        region: str | None,
        known: Parameters | None,
        *,
        command: Mapping[str, Any],
        command_aws: Aws,
    ) -> None:
        super().__init__(aws, desired, region, known)
        self._command = command
        self._command_aws = command_aws

    def execute(self, step: Step) -> None:
        """Wait until a parameter is stored.

        After its profile was changed, the agent may be silent for half an hour, so Parameter Store is read as well.

        :raises CwagentError: the command did not store it, or not in time.
        """
        deadline: Deadline | None = None
        while not self._is_stored(step):
            # According to the clock of AWS, as of the first answer.
            remaining = self._command["deadline"] - self._command_aws.now.timestamp()
            deadline = deadline or Deadline(remaining + GRACE_SECONDS)
            if not deadline.pause(POLL_SECONDS):
                raise CwagentError(
                    f"Could not {step.summary}: command {self._command['id']} on instance "
                    f"{self._command['instance_id']} did not do it in time, and the SSM agent reported no reason. Run "
                    "again; if it fails again, look at the log of the agent on the instance, "
                    "/var/log/amazon/ssm/amazon-ssm-agent.log."
                )

    def _is_stored(self, step: Step) -> bool:
        invocation = run_command.invocation(self._command_aws, self._command["id"], self._command["instance_id"])
        found = self._read_parameter(step.arguments["name"])
        if found and found.value == step.arguments["value"]:
            return True
        if invocation.is_pending:
            return False
        check_stored(invocation, str(self._region), step.arguments["name"], step.summary)
        return True
