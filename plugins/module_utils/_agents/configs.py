# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configurations of the agent on this host, read from its files and changed with its control program."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._ground.converge import Resource
from .._ground.errors import CwagentError, root_advice
from .._servers.restart import run_control
from . import configs_plan as config_plan
from .configs_plan import PREFIX, RENAME, AgentFiles, Wanted, file_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .._ground.plan import Plan, Step
    from .configs_plan import Command


# The files that the agent has before its first configuration, and while it gets one.
_IGNORED_NAME, _IGNORED_SUFFIX = "default", ".tmp"


class FilesResource(Resource[AgentFiles]):
    """The files of the agent.

    :param control: the path of the agent's control program.
    """

    def __init__(self, control: str) -> None:
        self._control = control

    @property
    def _folder(self) -> Path:
        return Path(self._control).resolve().parents[1] / "etc" / "amazon-cloudwatch-agent.d"

    def read(self) -> AgentFiles:
        """Read the files in the agent's folder. :raises CwagentError: it is not installed, or may not be read."""
        if not os.access(self._control, os.X_OK):
            raise CwagentError(
                f"There is no CloudWatch agent: {self._control} does not exist. Install it, or set agent_ctl."
            )
        folder = self._folder
        try:
            files = {path.name: path.read_text(encoding="utf-8", errors="replace") for path in folder.glob("*")}
        except OSError as error:
            raise CwagentError(f"Could not read {folder}: {error.strerror}.{root_advice(error)}") from error
        shown = {
            name: text for name, text in files.items() if name != _IGNORED_NAME and not name.endswith(_IGNORED_SUFFIX)
        }
        return AgentFiles(
            {
                name[len(PREFIX) :]: hashlib.sha256(text.rstrip("\n").encode()).hexdigest()
                for name, text in sorted(shown.items())
                if name.startswith(PREFIX)
            },
            tuple(sorted(name for name in shown if not name.startswith(PREFIX))),
        )

    def to_diff(self, state: AgentFiles, /) -> dict[str, Any]:
        """Render the digests of the configurations."""
        return dict(state.parameters)

    def to_result(self, plan: Plan[AgentFiles], final: AgentFiles, /) -> dict[str, Any]:
        """Return nothing, because the steps contain everything."""
        del plan, final
        return {}

    def execute(self, step: Step) -> None:
        """Rename a file. :raises CwagentError: it has another text than it had, or the system refuses that."""
        command: Command = step.context
        if command.digest and self.read().parameters.get(file_of(command.name)) != command.digest:
            raise CwagentError(f"Could not {step.summary}: something else has changed the file. Run again.")
        old, new = (self._folder / f"{PREFIX}{file_of(each)}" for each in (command.name, command.to))
        try:
            old.replace(new)
        except OSError as error:
            raise CwagentError(f"Could not {step.summary}: {error.strerror}.{root_advice(error)}") from error


class NamesResource(FilesResource):
    """The final names of the files of configurations that were proved.

    :param renames: the new names, from the checks before the configurations were applied.
    """

    def __init__(self, renames: Sequence[Command], control: str) -> None:
        super().__init__(control)
        self._renames = renames

    def plan(self, current: AgentFiles, /) -> Plan[AgentFiles]:
        """Plan the names that a file does not have yet. Check mode has not seen the files that are to be renamed."""
        return config_plan.plan_names(current, self._renames)


class AgentConfigResource(FilesResource):
    """The configurations of the agent.

    :param desired: the desired configurations.
    :param others: the names of other parameters, whose files can look like files of the configurations.
    :param is_refused: whether the agent failed with a version that is not proved.
    :param control: the path of the agent's control program.
    :param mode: ``ec2`` or ``onPremise``.
    :param run_command: runs a program and returns its status and outputs: ``AnsibleModule.run_command``.
    """

    def __init__(
        self,
        desired: Sequence[Wanted],
        others: Sequence[str],
        control: str,
        mode: str,
        run_command: Callable[[list[str]], tuple[int, str, str]],
        *,
        is_refused: bool = False,
    ) -> None:
        super().__init__(control)
        self._run_command = run_command
        self._desired = desired
        self._others = others
        self._is_refused = is_refused
        self._mode = mode

    def plan(self, current: AgentFiles, /) -> Plan[AgentFiles]:
        """Plan the calls of the control program."""
        calls = config_plan.commands(current, self._desired, self._others, is_refused=self._is_refused)
        return config_plan.plan(current, calls, self._desired)

    def execute(self, step: Step) -> None:
        """Call the control program, or rename a file. :raises CwagentError: it failed."""
        command: Command = step.context
        if command.action == RENAME:
            super().execute(step)
            return
        arguments = ["-a", command.action, "-m", self._mode, "-c", f"ssm:{command.name}"]
        arguments += ["-s"] if command.restart else []
        run_control(self._run_command, self._control, arguments, step.summary)
