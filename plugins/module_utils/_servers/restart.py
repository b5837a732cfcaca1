# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restarts the agent of the host that this runs on when its files were changed.

A file beside the agent's files marks that a restart is due. It exists from before the first change until the agent has
been restarted. So a run that fails or is killed in between leaves the restart to the next run, which would find nothing
else to do.
"""

from __future__ import annotations

import os
import re
from abc import abstractmethod
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from .._ground.converge import Resource
from .._ground.errors import CwagentError, root_advice
from .._ground.files import create_empty_file, create_folder, delete_file, edit_file, is_file
from .._ground.plan import Kind, Plan, Step, apply, count_kinds
from .credentials_plan import CREATE_FOLDER, DELETE, ITEM, RESTART_SUMMARY

if TYPE_CHECKING:
    from collections.abc import Callable

    RunCommand = Callable[[list[str]], tuple[int, str, str]]


S = TypeVar("S")

RESTART = "agent:Restart"
_RESTART_STEP = Step(Kind.UPDATE, RESTART, {}, RESTART_SUMMARY)
# Some versions of the control program also report another collector, under cwoc_status.
_RUNNING = re.compile(r'"status":\s*"running"')
_MAX_CHARACTERS = 500
FOLDER_MODE = 0o755


@dataclass(frozen=True)
class Agent:
    """The agent, as it was before any change.

    :param control: the path of its control program.
    :param due: the path of the file that exists while a restart is due.
    :param run_command: runs a program and returns its status and outputs: ``AnsibleModule.run_command``.
    """

    control: str
    due: Path
    run_command: RunCommand
    is_running: bool
    restart_is_due: bool

    def mark(self) -> None:
        """Note that a restart is due, if the agent runs. :raises CwagentError: that is not possible."""
        if not self.is_running or not self.due.parent.is_dir():
            return
        try:
            create_empty_file(self.due)
        except OSError as error:
            what = f"Could not write {self.due}, which marks that a restart of the agent is due"
            raise CwagentError(f"{what}: {error.strerror}.{root_advice(error)}") from error

    def restart(self) -> None:
        """Restart the agent. :raises CwagentError: its control program failed."""
        for action in ("stop", "start"):
            run_control(self.run_command, self.control, ["-a", action, "-m", "onPremise"], "restart the agent")
        delete_file(self.due)


def find_agent(control: str | None, file: str, run_command: RunCommand) -> Agent | None:
    """Return the agent of this host; ``None`` if it is not installed.

    :param control: the path of the agent's control program; ``None`` does not restart the agent.
    :param file: the path of a file that the agent reads. A restart that is due is noted beside it.
    :raises CwagentError: the status of the agent cannot be read.
    """
    due = Path(f"{file}.restart")
    try:
        if control is None or not Path(control).exists():
            return None
        is_due = is_file(due)
    except OSError as error:
        raise CwagentError(f"Could not look for the agent: {error}.{root_advice(error)}") from error
    if not os.access(control, os.X_OK) or Path(control).is_dir():
        raise CwagentError(f"Could not read the status of the agent: {control} is not a program. Check agent_ctl.")
    status = run_control(run_command, control, ["-a", "status"], "read the status of the agent")
    return Agent(control, due, run_command, bool(_RUNNING.search(status)), is_due)


def run_control(run_command: RunCommand, control: str, arguments: list[str], what: str) -> str:
    """Run the control program and return its output.

    :param what: its purpose, for the error.
    :raises CwagentError: it failed.
    """
    code, output, errors = run_command([control, *arguments])
    if code:
        said = " ".join(f"{output} {errors}".split())[-_MAX_CHARACTERS:]
        raise CwagentError(f"Could not {what}: {control} failed with status {code}: {said}")
    return output


def restart_after_failure(agent: Agent | None, error: CwagentError, check_mode: bool) -> None:
    """Make the restart that is due although a task has failed, and add it to what the error says was done.

    If this fails, too, the next run tries again.
    """
    restart, details = _RESTART_STEP.summary, error.details
    # The list of the failed step alone: the agent could not be restarted.
    if agent is None or details.get("not_done") == [restart] or not is_file(agent.due):
        return
    done: list[Step] = []
    with suppress(CwagentError):
        apply(Plan(None, None, {ITEM: [_RESTART_STEP]}), lambda _step: agent.restart(), check_mode, done)
    if done:
        counts = details.get("counts", count_kinds([]))
        details["counts"] = {**counts, Kind.UPDATE.value: counts[Kind.UPDATE.value] + 1}
        details["done"] = [*details.get("done", ()), restart]
        details["not_done"] = [step for step in details.get("not_done", ()) if step != restart]
        details["changed"] = True


class AgentFilesResource(Resource[S]):
    """Files of the agent. It is restarted after a change, if it was running."""

    def __init__(self, agent: Agent | None) -> None:
        self._agent = agent

    @abstractmethod
    def plan_files(self, current: S, /) -> Plan[S]:
        """Plan the steps from the current files to the desired ones."""

    def plan(self, current: S, /) -> Plan[S]:
        """Plan the steps to the desired files, and the restart of the agent."""
        plan, agent = self.plan_files(current), self._agent
        if agent is None or not (agent.restart_is_due or (agent.is_running and plan.has_changes)):
            return plan
        return replace(plan, steps={ITEM: [*plan.all_steps, _RESTART_STEP]})

    def execute(self, step: Step) -> None:
        """Take one step of the plan.

        :raises CwagentError: a file cannot be written or deleted, or the agent cannot be restarted.
        """
        try:
            if step.action == CREATE_FOLDER:
                create_folder(Path(step.arguments["path"]), FOLDER_MODE)
            elif self._agent and step.action == RESTART:
                self._agent.restart()
            else:
                if self._agent:
                    self._agent.mark()
                _change_file(step, Path(step.arguments["path"]))
        except OSError as error:
            raise CwagentError(f"Could not {step.summary}: {error.strerror}.{root_advice(error)}") from error


def _change_file(step: Step, path: Path) -> None:
    """Take one step with a file. :raises OSError: it cannot be taken."""
    if step.action == DELETE:
        delete_file(path)
    elif not edit_file(path, step.context):
        raise CwagentError(
            f"Could not {step.summary}: another program deleted it or writes it all the time. Run again."
        )
