"""Writes the result of every task of a playbook run, one JSON object a line, to the file in RECORDED_TO."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: recorded
type: notification
short_description: Writes results to a file
description: For tests, which check the results in addition to the output.
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "recorded"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self):
        super().__init__()
        self._started = {}

    def _write(self, outcome, result):
        fields = {
            "outcome": outcome,
            "task": result._task.get_name(),
            "action": result._task.action,
            "host": result._host.get_name(),
            "result": result._result,
            "seconds": time.monotonic() - self._started[result._host.get_name(), result._task._uuid],
        }
        with Path(os.environ["RECORDED_TO"]).open("a") as file:
            file.write(json.dumps(fields, default=str) + "\n")

    @staticmethod
    def _record_reach(each):
        if "reach" in sys.modules:  # mutants/reach.py
            sys.modules["reach"].record_path(each.get_path())

    def v2_runner_on_start(self, host, task):
        self._started[host.get_name(), task._uuid] = time.monotonic()
        self._record_reach(task)

    def v2_playbook_on_play_start(self, play):
        self._record_reach(play)  # a play can have only tasks of other files

    def v2_runner_on_ok(self, result):
        self._write("ok", result)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self._write("ignored" if ignore_errors else "failed", result)

    def v2_runner_on_unreachable(self, result):
        self._write("unreachable", result)

    def v2_runner_on_skipped(self, result):
        self._write("skipped", result)
