"""Shows an Ansible run in a few lines: the steps that the modules report, warnings and failures."""

from __future__ import annotations

from typing import Any

from ansible import constants
from ansible.plugins.callback.default import CallbackModule as DefaultCallback

DOCUMENTATION = """
name: changes
type: stdout
short_description: Show only changes
description: Shows the plays, the steps of tasks that changed something, warnings and failures.
extends_documentation_fragment: [default_callback, result_format_callback]
"""


class CallbackModule(DefaultCallback):
    """Shows warnings and failures as the default callback does."""

    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "changes"

    def v2_playbook_on_play_start(self, play: Any) -> None:
        self._play = play
        self._display.display(f"  {play.get_name()}")

    def v2_runner_on_ok(self, result: Any) -> None:
        if result.task.loop is None:  # v2_runner_item_on_ok has shown the items of a loop
            self._show(result)

    def v2_runner_item_on_ok(self, result: Any) -> None:
        self._show(result)

    def v2_playbook_on_include(self, included_file: Any) -> None:
        pass

    def v2_playbook_on_stats(self, stats: Any) -> None:
        total = {word: sum(getattr(stats, word).values()) for word in ("changed", "failures", "dark")}
        words = f"tasks changed: {total['changed']}, failed: {total['failures']}, hosts unreachable: {total['dark']}"
        self._display.display(f"  => {words}")

    def _show(self, result: Any) -> None:
        self._handle_warnings_and_exception(result)
        if result.result.get("changed"):
            for step in result.result.get("steps") or [result.task.get_name()]:
                self._display.display(f"    {step}", color=constants.COLOR_CHANGED)
