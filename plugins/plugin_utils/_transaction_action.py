# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a transaction: an action that calls AWS in this process, and holds something while modules work on its host."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any

from ansible import constants
from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase

from ansible_collections.cwagent.iam.plugins.plugin_utils._aws_action import AwsAction
from ansible_collections.cwagent.iam.plugins.plugin_utils._interruption import Interrupted, Interruption
from ansible_collections.cwagent.iam.plugins.plugin_utils._terminal import say

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ansible_collections.cwagent.iam.plugins.module_utils._call import Call


# The line of a transaction that begins so tells how to interrupt it.
CTRL_C = "Ctrl-C "
ADVICE_IN_AWX = "if this job is canceled, AWX kills it: launch the job that restores then, or this one again"


class TransactionAction(AwsAction):
    """An action that holds something while it works. Signals interrupt it, and its worker ends at once then."""

    _supports_async = False

    def transact(
        self, variables: Mapping[str, Any], interruption: Interruption, tell: Callable[[str], None], call: Call
    ) -> dict[str, Any]:
        """Return the result of the transaction.

        :param interruption: handles signals while something is held.
        :param tell: shows a person the current step.
        :raises CwagentError: something failed.
        """
        raise NotImplementedError

    @staticmethod
    def predict_or_run(
        call: Call, interruption: Interruption, predict: Callable[[], dict[str, Any]], run: Callable[[], dict[str, Any]]
    ) -> dict[str, Any]:
        """Return the result of a transaction. This is the only place where check mode prevents one."""
        if call.check_mode:
            return predict()
        with interruption.handled():
            return run()

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Validate the options and run the transaction. Nothing reads the result of an interrupted run."""
        result: dict[str, Any] = ActionBase.run(self, tmp, task_vars)
        variables = task_vars or {}
        if problem := self.fill_options(variables):
            return {**result, "failed": True, "msg": problem}
        interruption = Interruption(self.host_name(variables))
        tell: Callable[[str], None] = partial(
            _say, self.host_name(variables), interruption, in_awx="awx_job_id" in variables
        )
        try:
            done = self.work_here(partial(self.transact, variables, interruption, tell), variables, tell)
        except Interrupted:
            interruption.guardian.leave()
            os._exit(1)
        interruption.guardian.leave()
        return {**result, **done}

    def host_name(self, variables: Mapping[str, Any]) -> str:
        """Return the name of the host of the task. A task delegated to the controller is for the host of the play."""
        delegate = self._task.delegate_to
        return str(delegate if delegate and delegate not in constants.LOCALHOST else variables["inventory_hostname"])

    def cleanup(self, force: bool = False) -> None:
        """Remove temporary files. A host that does not answer then must not replace the result."""
        try:
            super().cleanup(force)
        except AnsibleConnectionFailure:
            self._connection._shell.tmpdir = None


def _say(name: str, interruption: Interruption, text: str, *, in_awx: bool = False) -> None:
    """Print a line, unless the run is interrupted. A job of AWX has no terminal, so it gets other advice on Ctrl-C.

    Workers share a pipe for output. A worker that was killed, or that waits because nobody reads any more, never
    unlocks it.
    """
    if not interruption.has_come:
        say(name, ADVICE_IN_AWX if in_awx and text.startswith(CTRL_C) else text)
