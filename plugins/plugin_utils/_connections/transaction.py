# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lets a task that holds something give it back when the run is interrupted.

Ansible runs neither rescue nor always then. It kills its workers with SIGTERM after a while, or, since ansible-core
2.19, at once when its own process ends. So the worker handles the signals itself, but only while it holds something.

- The first signal raises ``Interrupted``, so that ``finally`` runs. All later ones are ignored.
- It is never raised in the middle of a call that writes to AWS, because AWS could apply the next call before it.
- On Linux, the end of Ansible's main process is a signal, too. Elsewhere a worker whose main process was killed goes on
  to its ordinary end.
- Afterwards nobody reads the result of the task, and the pipe for it can be full, so the worker ends with ``os._exit``.
- The time limit of a task (``timeout``) is a signal whose handler raises. It must not interrupt a write either.

Runs a transaction: an action that calls AWS in this process, and holds something while modules work on its host.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from contextlib import contextmanager
from functools import partial
from multiprocessing import parent_process
from typing import TYPE_CHECKING, Any

from ansible import constants
from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase

from .aws_action import AwsAction
from .guardian import Guardian
from .terminal import say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ...module_utils._ground.call import Call


# The signals that end a process and can be handled. In ansible-core 2.18, workers get the terminal's signals, too.
SIGNALS = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGALRM,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGVTALRM,
    signal.SIGPROF,
    signal.SIGXCPU,
)
# Of linux/prctl.h: the signal that a process gets when its parent ends, and whether the system may write its memory to
# a core file. A limit of 0 for the size of core files has no effect if the system pipes them to a program.
PR_SET_PDEATHSIG, PR_SET_DUMPABLE = 1, 4


class Interrupted(BaseException):
    """A signal asks the task to end."""


class Interruption:
    """The signals of a task that holds something.

    :param host: the name of the host of the task, for messages.
    """

    def __init__(self, host: str = "") -> None:
        self.guardian = Guardian(host, SIGNALS, self.silence)
        self._shields = 0
        self._waiting: int | None = None
        self._is_raised = False
        self._earlier: dict[int, Any] = {}

    @contextmanager
    def handled(self) -> Iterator[Interruption]:
        """Handle the signals, and restore the earlier handlers."""
        parent = parent_process()
        # With nohup, the end of the terminal is to be ignored; in the background of a script, Ctrl-C.
        numbers = [each for each in SIGNALS if each == signal.SIGTERM or signal.getsignal(each) != signal.SIG_IGN]
        self._earlier = {number: signal.signal(number, self._handle) for number in numbers}
        try:
            _set_process_option(PR_SET_PDEATHSIG, signal.SIGTERM)
            _set_process_option(PR_SET_DUMPABLE, 0)
            if parent and os.getppid() != parent.pid:  # it ended before
                self._handle(signal.SIGTERM, None)
            yield self
        finally:
            _set_process_option(PR_SET_DUMPABLE, 1)
            _set_process_option(PR_SET_PDEATHSIG, 0)
            for number, handler in self._earlier.items():
                signal.signal(number, handler)

    @contextmanager
    def shield(self) -> Iterator[None]:
        """Let nothing interrupt the body. A signal that came meanwhile interrupts at its end.

        Signals interrupt the main thread only.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self._shields += 1
        try:
            yield
        finally:
            self._shields -= 1
            if self._waiting is not None and not self._shields:  # even if the body failed and would be repeated
                self._raise(self._waiting)

    @property
    def has_come(self) -> bool:
        """Whether a signal has come."""
        return self._is_raised or self._waiting is not None

    def silence(self) -> None:
        """Show no more steps, as after a signal."""
        self._is_raised = True

    def _handle(self, number: int, _frame: Any) -> None:
        if self._is_raised or self._waiting is not None:
            return
        if self._shields:
            self._waiting = number
        else:
            self._raise(number)

    def _raise(self, number: int) -> None:
        self._waiting, self._is_raised = None, True
        if number == signal.SIGALRM and callable(self._earlier[number]):
            self._earlier[number](number, None)
        raise Interrupted


def _set_process_option(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value)


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
