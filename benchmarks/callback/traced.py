"""Writes the end time of every task and loop item, one JSON object a line, to the file in TRACED_TO."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: traced
type: notification
short_description: Writes when tasks ended
description: For the benchmarks, which assign AWS calls to tasks by their time.
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "traced"
    CALLBACK_NEEDS_ENABLED = True

    def _write(self, result: Any, *_: Any, **__: Any) -> None:
        fields = {"task": result._task.get_name(), "action": result._task.action, "ended": time.time()}
        with Path(os.environ["TRACED_TO"]).open("a") as file:
            file.write(json.dumps(fields) + "\n")

    v2_runner_on_ok = v2_runner_on_failed = v2_runner_on_skipped = v2_runner_on_unreachable = _write
    v2_runner_item_on_ok = v2_runner_item_on_failed = v2_runner_item_on_skipped = _write
