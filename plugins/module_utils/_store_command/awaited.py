# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waits until a command on an instance has stored a configuration. Instances do not need the code that sends it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.resource import ParameterResource
from ansible_collections.cwagent.iam.plugins.module_utils._errors import CwagentError
from ansible_collections.cwagent.iam.plugins.module_utils._run_command import api
from ansible_collections.cwagent.iam.plugins.module_utils._store_command.model import GRACE_SECONDS, check_stored
from ansible_collections.cwagent.iam.plugins.module_utils._wait import Deadline

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws
    from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.plan import DesiredConfig
    from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.plan import State as Parameters
    from ansible_collections.cwagent.iam.plugins.module_utils._plan import Step

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
        invocation = api.invocation(self._command_aws, self._command["id"], self._command["instance_id"])
        found = self._read_parameter(step.arguments["name"])
        if found and found.value == step.arguments["value"]:
            return True
        if invocation.is_pending:
            return False
        check_stored(invocation, str(self._region), step.arguments["name"], step.summary)
        return True
