# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configurations of the agent on this host, read from its files and changed with its control program."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._agent_config import plan as config_plan
from ansible_collections.cwagent.iam.plugins.module_utils._agent_config.plan import AgentFiles
from ansible_collections.cwagent.iam.plugins.module_utils._converge import Resource
from ansible_collections.cwagent.iam.plugins.module_utils._credentials_file.restart import run_control
from ansible_collections.cwagent.iam.plugins.module_utils._errors import CwagentError, root_advice

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ansible_collections.cwagent.iam.plugins.module_utils._plan import Plan, Step

# The agent saves a parameter in a file whose name begins with this.
_PREFIX = "ssm_"
# The files that the agent has before its first configuration, and while it gets one.
_IGNORED_NAME, _IGNORED_SUFFIX = "default", ".tmp"


class AgentConfigResource(Resource[AgentFiles]):
    """The configurations of the agent.

    :param desired: by name of the parameter, the digests of the desired configurations.
    :param control: the path of the agent's control program.
    :param mode: ``ec2`` or ``onPremise``.
    :param run_command: runs a program and returns its status and outputs: ``AnsibleModule.run_command``.
    """

    def __init__(
        self,
        desired: Mapping[str, str],
        control: str,
        mode: str,
        run_command: Callable[[list[str]], tuple[int, str, str]],
    ) -> None:
        self._run_command = run_command
        self._desired = desired
        self._control = control
        self._mode = mode

    def read(self) -> AgentFiles:
        """Read the files in the agent's folder. :raises CwagentError: it is not installed, or may not be read."""
        if not os.access(self._control, os.X_OK):
            raise CwagentError(
                f"There is no CloudWatch agent: {self._control} does not exist. Install it, or set agent_ctl."
            )
        folder = Path(self._control).resolve().parents[1] / "etc" / "amazon-cloudwatch-agent.d"
        try:
            files = {path.name: path.read_text(encoding="utf-8", errors="replace") for path in folder.glob("*")}
        except OSError as error:
            raise CwagentError(f"Could not read {folder}: {error.strerror}.{root_advice(error)}") from error
        shown = {
            name: text for name, text in files.items() if name != _IGNORED_NAME and not name.endswith(_IGNORED_SUFFIX)
        }
        return AgentFiles(
            {
                name[len(_PREFIX) :]: hashlib.sha256(text.rstrip("\n").encode()).hexdigest()
                for name, text in sorted(shown.items())
                if name.startswith(_PREFIX)
            },
            tuple(sorted(name for name in shown if not name.startswith(_PREFIX))),
        )

    def plan(self, current: AgentFiles, /) -> Plan[AgentFiles]:
        """Plan the calls of the control program."""
        return config_plan.plan(current, self._desired)

    def to_diff(self, state: AgentFiles, /) -> dict[str, Any]:
        """Render the digests of the configurations."""
        return dict(state.parameters)

    def to_result(self, plan: Plan[AgentFiles], final: AgentFiles, /) -> dict[str, Any]:
        """Return nothing, because the steps contain everything."""
        del plan, final
        return {}

    def execute(self, step: Step) -> None:
        """Call the control program. :raises CwagentError: it failed."""
        arguments = ["-a", step.action, "-m", self._mode, "-c", f"ssm:{step.arguments['name']}"]
        arguments += ["-s"] if step.arguments["restart"] else []
        run_control(self._run_command, self._control, arguments, step.summary)
