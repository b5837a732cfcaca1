# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the admin window of a principal from IAM and executes the steps of the plan."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._access_keys.api import access_keys
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window import plan as window_plan
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.plan import (
    CLOSED,
    OPEN,
    DesiredWindow,
    Window,
)
from ansible_collections.cwagent.iam.plugins.module_utils._converge import Resource
from ansible_collections.cwagent.iam.plugins.module_utils._names import WINDOW_POLICY

if TYPE_CHECKING:
    from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws
    from ansible_collections.cwagent.iam.plugins.module_utils._plan import Plan


class WindowResource(Resource[Window]):
    """The admin window of a role or a user.

    :param fail_if_open: whether a window that is open already is an error.
    """

    def __init__(self, aws: Aws, desired: DesiredWindow, fail_if_open: bool = False) -> None:
        super().__init__(aws)
        self._desired = desired
        self._fail_if_open = fail_if_open
        # The policy is written in any case, so reading it would be of no use. A user's keys must be known.
        self._skip_read = desired.force and desired.state == CLOSED and desired.kind == "role"

    def read(self) -> Window:
        """Read the window from IAM, unless reading it would be of no use."""
        return Window(self._aws.now, is_known=False) if self._skip_read else self.read_again()

    def read_again(self) -> Window:
        """Read the window from IAM."""
        kind, name = self._desired.kind, self._desired.name
        identity = {f"{kind.title()}Name": name}
        answer = self._aws.find(
            f"iam:Get{kind.title()}Policy",
            f"read the admin window of {kind} '{name}'",
            absent="NoSuchEntity",
            PolicyName=WINDOW_POLICY,
            **identity,
        )
        # IAM answers with the same error whether the principal or the policy is missing.
        exists = answer or self._aws.find(
            f"iam:Get{kind.title()}", f"read {kind} '{name}'", absent="NoSuchEntity", **identity
        )
        if not exists:
            return Window(self._aws.now, exists=False)
        keys = access_keys(self._aws, name) if kind == "user" else ()
        return Window(self._aws.now, answer["PolicyDocument"] if answer else None, keys)

    def check_preconditions(self, current: Window) -> None:
        """Refuse a window that is open already, if the user wants that.

        :raises ContentionError: it says until when the window is open.
        """
        if self._fail_if_open:
            window_plan.check_not_open(current, self._desired)

    def plan(self, current: Window) -> Plan[Window]:
        """Plan how to open, close or remove the window."""
        return window_plan.plan(current, self._desired)

    def remaining(self, plan: Plan[Window], state: Window) -> list[str]:
        """List what IAM does not show yet."""
        if state.error and not plan.current.is_known:
            return []  # IAM accepted the write, and it may never let this caller read the window
        if state.error:
            return [str(state.error)]
        # With the time of the plan, so that waiting does not make the deadline look too early.
        shown = replace(state, read_at=plan.current.read_at)
        return window_plan.plan(shown, replace(self._desired, force=False)).summaries

    def to_diff(self, state: Window) -> dict[str, Any]:
        """Render the window for the diff."""
        return window_plan.to_diff(state)

    def to_result(self, plan: Plan[Window], final: Window) -> dict[str, Any]:
        """Render the window for the result."""
        return {"window": window_plan.to_dict(replace(final, read_at=plan.current.read_at))}

    def warnings(self, plan: Plan[Window]) -> list[str]:
        """Warn if the window cannot be read."""
        error = plan.current.error
        return [f"{error} The window is closed anyway; its earlier state is unknown."] if error else []

    def check_mode_warnings(self, plan: Plan[Window]) -> list[str]:
        """Warn if the principal does not exist, so that its window cannot be opened."""
        is_missing = not plan.current.exists and self._desired.state == OPEN
        return [f"{self._desired.kind} '{self._desired.name}' does not exist yet"] if is_missing else []
