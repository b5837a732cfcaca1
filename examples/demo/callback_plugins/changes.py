"""Shows an Ansible run in a few lines: the steps that the modules report, warnings and failures."""

from __future__ import annotations

from pathlib import Path
from textwrap import wrap
from typing import Any

from ansible import constants
from ansible.plugins.callback.default import CallbackModule as DefaultCallback

DOCUMENTATION = """
name: changes
type: stdout
short_description: Show only changes
description: Shows the steps of tasks that changed something, with their play, and warnings and failures.
extends_documentation_fragment: [default_callback, result_format_callback]
"""


WIDTH = 100
# By playbook, the task whose message is shown. The report of a playbook that changes something repeats its steps.
SHOWN_MESSAGES = {"audit": "Report the problems", "verify": "Report what was done"}
# The tasks that fail because of something that this message contains.
REPORTED = ("Fail if a server lacks something", "Fail if something was not done")


class CallbackModule(DefaultCallback):
    """Shows failures as the default callback does, except those that a message contains."""

    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "changes"

    def v2_playbook_on_start(self, playbook: Any) -> None:
        self._shown_message = SHOWN_MESSAGES.get(Path(playbook._file_name).stem)

    def v2_playbook_on_play_start(self, play: Any) -> None:
        self._play = play
        self._heading: str | None = play.get_name()

    def v2_runner_on_ok(self, result: Any) -> None:
        if result.task.loop is None:  # v2_runner_item_on_ok has shown the items of a loop
            self._show(result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        if result.task.name not in REPORTED:
            super().v2_runner_on_failed(result, ignore_errors)

    def v2_runner_item_on_ok(self, result: Any) -> None:
        self._show(result)

    def v2_playbook_on_no_hosts_matched(self) -> None:
        """Show nothing of a play for hosts that this run does not need."""

    def v2_playbook_on_include(self, included_file: Any) -> None:
        pass

    def v2_playbook_on_stats(self, stats: Any) -> None:
        total = {word: sum(getattr(stats, word).values()) for word in ("changed", "failures", "dark")}
        words = f"tasks changed: {total['changed']}, failed: {total['failures']}, hosts unreachable: {total['dark']}"
        self._display.display(f"  => {words}")

    def _show(self, result: Any) -> None:
        self._handle_warnings_and_exception(result)
        if result.task.name == self._shown_message:
            for line in result.result["msg"]:
                self._show_line(line, constants.COLOR_OK)
        if result.result.get("changed"):
            name = result.task.name  # for a module that reports no steps, such as the modules of Ansible
            for step in result.result.get("steps") or [name[:1].lower() + name[1:]]:
                self._show_line(step, constants.COLOR_CHANGED)

    def _handle_warnings(self, res: Any) -> None:
        for warning in res.pop("warnings", None) or ():
            self._show_line(f"warning: {warning}", constants.COLOR_WARN)

    def _show_line(self, text: str, color: str) -> None:
        """Show a line of the current play, below its name. A play without lines is not shown."""
        if self._heading:
            self._display.display(f"  {self._heading}")
            self._heading = None
        # Without the folder in which the run started, because the reader does not know it.
        text = text.replace(f"{Path.cwd()}/", "")
        lines = wrap(text, WIDTH, break_on_hyphens=False, initial_indent="    ", subsequent_indent=" " * 8)
        self._display.display("\n".join(lines), color=color)
