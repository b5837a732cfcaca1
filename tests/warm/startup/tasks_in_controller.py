"""Runs tasks in the controller, which Ansible would fork for each of them. A fork takes longer than most tasks.

Where there are several hosts, programs run side by side, so the tasks that start one are forked.
"""

from __future__ import annotations

import copy
import multiprocessing
from contextlib import contextmanager

from ansible._internal import _task
from ansible.executor.process.worker import WorkerProcess
from ansible.executor.task_executor import TaskExecutor

STARTING_NO_PROGRAM = {
    *(f"ansible.builtin.{name}" for name in ("assert", "debug", "fail", "include_role", "include_tasks", "set_fact")),
    *("ansible.builtin.set_stats", "ansible.builtin.validate_argument_spec"),
    *("cwagent.iam.cwagent_inputs", "cwagent.iam.cwagent_role_inputs", "cwagent.iam.cwagent_role_tasks"),
}
"""Actions that start no program and wait for nothing."""
ASKING_THE_CONTROLLER = {f"ansible.builtin.{name}" for name in ("add_host", "group_by", "pause")}
"""Actions that wait for an answer of the controller, which cannot give it while it runs them."""


class NeedsWorkerError(BaseException):
    """The task is not skipped and may start a program. No handler of task failures may see this."""


class SkippingExecutor(TaskExecutor):
    """Executes a task as far as to know whether it is skipped."""

    def _run_loop(self, items):
        raise NeedsWorkerError

    def _get_connection(self, *args, **kwargs):
        raise NeedsWorkerError


@contextmanager
def as_in_worker():
    """Let the actions for AWS, which look whether they are in a worker, do what they do there."""
    parent_process = multiprocessing.parent_process
    multiprocessing.parent_process = multiprocessing.current_process
    try:
        yield
    finally:
        multiprocessing.parent_process = parent_process


def run_in_controller(worker):
    """Do what a worker does in its process, with copies of what it changes there."""
    task, host = worker._task.copy(exclude_parent=True), copy.copy(worker._host)
    task._parent = worker._task._parent
    is_alone = len(worker._task_vars["ansible_play_batch"]) == 1 and task.resolved_action not in ASKING_THE_CONTROLLER
    is_whole = is_alone or task.resolved_action in STARTING_NO_PROGRAM
    if not (is_whole or task.when or task.loop):
        raise NeedsWorkerError
    executor_class = TaskExecutor if is_whole else SkippingExecutor
    with as_in_worker(), _task.TaskContext.create(task=task, task_vars=dict(worker._task_vars), host_name=host.name):
        task.squash()
        executor = executor_class(
            host,
            worker._play_context,
            worker._loader,
            worker._shared_loader_obj,
            worker._final_q,
            worker._variable_manager,
        )
        result = executor.run()
        result.finalize_registered_values()
    host.vars, host.groups = {}, []
    task.ignore_errors, task.ignore_unreachable = result.ignore_errors, result.ignore_unreachable
    worker._final_q.send_task_result(host, task, result)


def run_tasks_in_controller():
    """Let the controller run what needs no worker, from now on."""
    start = WorkerProcess.start

    def start_or_run(worker):
        try:
            run_in_controller(worker)
        except NeedsWorkerError:
            start(worker)

    WorkerProcess.start = start_or_run
