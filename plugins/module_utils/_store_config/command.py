# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An instance stores with its own credentials, through a command of Systems Manager.

The command is sent before the profile is changed, since the SSM agent may be silent for half an hour afterwards. It
waits for the admin identity, and then stores at once. This run does not ask the instance for its identity, but relies
on the association that EC2 reports.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._converge import converge
from ansible_collections.cwagent.iam.plugins.module_utils._errors import CwagentError
from ansible_collections.cwagent.iam.plugins.module_utils._store_command.awaited import AwaitedParameterResource
from ansible_collections.cwagent.iam.plugins.module_utils._store_command.model import Write
from ansible_collections.cwagent.iam.plugins.module_utils._store_command.plan import CANCELLED
from ansible_collections.cwagent.iam.plugins.module_utils._store_command.resource import CommandResource, check_agent
from ansible_collections.cwagent.iam.plugins.module_utils._store_config.admin_profile import AdminProfile
from ansible_collections.cwagent.iam.plugins.module_utils._store_config.transaction import Phase
from ansible_collections.cwagent.iam.plugins.module_utils._wait import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws
    from ansible_collections.cwagent.iam.plugins.module_utils._store_command.plan import DesiredCommand
    from ansible_collections.cwagent.iam.plugins.module_utils._store_config.admin_profile import Admin
    from ansible_collections.cwagent.iam.plugins.module_utils._store_config.configuration import Configuration
    from ansible_collections.cwagent.iam.plugins.module_utils._store_config.transaction import Report

# How long to wait at least until Parameter Store shows a new value.
READ_BACK_SECONDS = 15


def writes(configuration: Configuration, *, can_change_tier: bool) -> Iterator[Write]:
    """Return the parameters of a configuration that differ, as a command stores them."""
    for step in configuration.plan_without_tags.all_steps:
        written, found = step.arguments, configuration.known.get(step.arguments["name"])
        version = found.version if found and found.version else 0
        yield Write(configuration.region, written["name"], written["value"], written["tier"], version, can_change_tier)


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
