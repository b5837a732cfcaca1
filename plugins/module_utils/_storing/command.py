# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An instance stores with its own credentials, through a command of Systems Manager.

The command is sent before the profile is changed, since the SSM agent may be silent for half an hour afterwards. It
waits for the admin identity, and then stores at once. This run does not ask the instance for its identity, but relies
on the association that EC2 reports.
"""

from __future__ import annotations

import uuid
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .._accounts.principals import Attempts, Principals
from .._configuration.parameter import READ_BACK_SECONDS, ParameterResource
from .._ground.aws import Aws
from .._ground.converge import Resource, converge
from .._ground.errors import CwagentError, InvalidInput
from .._ground.wait import Deadline
from .._principals.policies import SSM_POLICIES
from .._servers import run_command
from . import command_plan
from .base import check_agent, checked_instance_id, refusal
from .command_plan import CANCEL, CANCELLED, GRACE_SECONDS, MIN_SECONDS, SENT, DesiredCommand, Sending, State, Write
from .instance import AdminProfile, ProfileWay
from .transaction import Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from .._configuration.parameter_plan import DesiredConfig
    from .._configuration.parameter_plan import State as Parameters
    from .._ground.plan import Plan, Step
    from .instance import Admin
    from .transaction import Comparison, Configuration, Report, Source


# How long the command that checks an instance may take. It makes one call for each region.
CHECK_SECONDS = 60
# How often the result of the command and the parameter are read.
POLL_SECONDS = 3.0


def writes(configuration: Configuration, *, can_change_tier: bool) -> Iterator[Write]:
    """Return the parameters of a configuration that differ, as a command stores them."""
    for step in configuration.plan_without_tags.all_steps:
        written, found = step.arguments, configuration.known.get(step.arguments["name"])
        version = found.version if found and found.version else 0
        yield Write(
            configuration.region,
            written["name"],
            written["value"],
            written["tier"],
            version,
            can_change_tier,
            written.get("description", ""),
        )


class CommandWay(ProfileWay):
    """An instance that Ansible does not have to reach."""

    def reach(self) -> None:
        """Refuse an instance that no command ever reaches. Its agent may come online when the roles were created."""
        self._instance.agent_problem()

    def read_schema(self) -> str:
        """The command that checks the instance reads it later."""
        return ""

    def check_again(self, to_store: Sequence[Configuration]) -> str:
        """Check that the instance can store through a command, with the admin role."""
        options, wiring = self._options, self._wiring
        aws, instance_id, is_new = Aws(wiring.client), checked_instance_id(options.admin), self._has_new_principal()
        gets_online = options.planned.gives_policy(instance_id, SSM_POLICIES.keys())
        try:
            waits = is_new and not wiring.check_mode
            check_agent(aws, instance_id, Deadline(options.waits.wait_timeout if waits else 0))
            gets_online = False
            check_role(aws, options.admin.admin_role_name)
            regions = sorted({each.region for each in to_store})
            return "" if wiring.check_mode else check_instance(aws, instance_id, regions)
        except InvalidInput:
            raise  # no earlier task changes that
        except CwagentError as error:
            if stopped := self._instance.state_problem():
                raise CwagentError(f"{stopped}, then run again. Nothing was opened.") from error
            if not (is_new and wiring.check_mode):
                raise
            # The run waits until an instance that gets the policy for its SSM agent is online.
            if not gets_online:
                wiring.report.warnings.append(str(error))
            return ""

    def source(self, comparison: Comparison) -> Source:
        """Return the instance, with the command for it."""
        options, aws = self._options, self.aws_in()
        admin = self._admin(comparison, aws)
        can_change_tier = not options.handling.parameter_tier
        command = DesiredCommand(
            SENT,
            options.admin.instance_id,
            str(uuid.uuid4()),
            options.admin.admin_role_name,
            tuple(write for each in comparison.to_store for write in writes(each, can_change_tier=can_change_tier)),
            self._seconds(),
            options.waits.permission_timeout,
        )
        return CommandSource(self._wiring.report, aws, admin, command, self.aws_in)

    def _seconds(self) -> int:
        """Return how long the command may live, which is as long as the waits of the run, within the window."""
        waits = self._options.waits
        seconds = waits.wait_timeout + waits.identity_timeout + waits.permission_timeout
        return int(min(self._options.admin.admin_window_minutes * 60, max(2 * MIN_SECONDS, seconds)))


def check_role(aws: Aws, name: str) -> None:
    """Check that the SSM agent of an instance with the admin role would work.

    :raises CwagentError: it would not. A role that does not exist, or that may not be read, is no error.
    """
    role = Principals(aws, Attempts()).read_role(name, unless=command_plan.has_ssm_policy)
    problem = command_plan.agent_access_problem(role, aws.now) if role else ""
    if problem:
        raise CwagentError(refusal(problem))


def check_instance(aws: Aws, instance_id: str, regions: Sequence[str]) -> str:
    """Run the command that checks an instance.

    :returns: the agent's schema, empty if the instance has none.
    :raises CwagentError: the instance could not store.
    """
    command = run_command.send(
        aws,
        [instance_id],
        command_plan.check_script(regions),
        f"cwagent.iam check {uuid.uuid4()}",
        delivery_seconds=CHECK_SECONDS,
        execution_seconds=CHECK_SECONDS,
    )
    invocation = run_command.wait(aws, command, instance_id, Deadline(2 * CHECK_SECONDS + GRACE_SECONDS))
    if invocation.is_pending:
        run_command.cancel(aws, command)
    problems = command_plan.check_problems(instance_id, invocation)
    if problems:
        raise CwagentError(refusal(problems[0]))
    return command_plan.unpack_schema(invocation)


class CommandSource(AdminProfile):
    """An instance that stores with the admin profile, through a command.

    :param command: the command, as it is sent.
    :param aws_in: makes the gateway to AWS in a region.
    """

    def __init__(
        self, report: Report, aws: Aws, admin: Admin, command: DesiredCommand, aws_in: Callable[[str], Aws]
    ) -> None:
        super().__init__(report, aws, admin)
        self._desired_command = command
        self._aws_in = aws_in
        self._sent: Mapping[str, Any] = {}
        self._is_sending = False

    def planned(self) -> tuple[list[Phase], list[Phase]]:
        """Return the phases, with the command before them."""
        before, after = super().planned()
        if not self._desired_command.writes:
            return before, after
        command = CommandResource(self._aws, self._desired_command)
        return [Phase.of("sent", command, command.plan(command.read())), *before], after

    def acquire(self) -> None:
        """Send the command, if there is something to store, and acquire the profile."""
        if self._desired_command.writes:
            self._send()
        super().acquire()
        self.check_exclusive()

    def _send(self) -> None:
        check_agent(self._aws, self._admin.instance_id, Deadline(0))
        self._is_sending = True
        sent = self.report.take("sent", lambda: self._converge_command(self._desired_command))
        self._sent = sent["command"]

    def _converge_command(self, desired: DesiredCommand) -> dict[str, Any]:
        return converge(CommandResource(self._aws, desired), False, self._admin.wait_timeout)

    def store(self, configuration: Configuration) -> Mapping[str, Any]:
        """Wait until the instance has stored a configuration."""
        awaited = AwaitedParameterResource(
            self._aws_in(configuration.region),
            configuration.untagged,
            configuration.region,
            configuration.known,
            command=self._sent,
            command_aws=self._aws,
        )
        return converge(awaited, False, READ_BACK_SECONDS)

    def take_over(self) -> None:
        """Prepare to release instead of a process that was killed, and to cancel its command."""
        self._is_sending = bool(self._desired_command.writes)
        super().take_over()

    def cancel(self) -> None:
        """Cancel the command; if that fails, it ends by itself before the deadline of the window."""
        if self._is_sending:
            with suppress(CwagentError):
                cancelled = replace(self._desired_command, state=CANCELLED)
                self.report.take("cancelled", lambda: self._converge_command(cancelled))

    def finish(self, failure: CwagentError | None) -> None:
        """Remove the restore tag."""
        if self.report.is_released:
            self.untag()
        super().finish(failure)


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
                "deadline": command_plan.deadline_of(final.own),
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
        command_plan.check_stored(invocation, str(self._region), step.arguments["name"], step.summary)
        return True
