# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads the admin window of a principal from IAM and takes the steps of the plan."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.cwagent.iam.plugins.module_utils._access_keys.api import access_keys
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window import plan as window_plan
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.plan import (
    ABSENT,
    CLOSED,
    OPEN,
    DesiredWindow,
    Window,
)
from ansible_collections.cwagent.iam.plugins.module_utils._converge import Resource
from ansible_collections.cwagent.iam.plugins.module_utils._names import WINDOW_POLICY

if TYPE_CHECKING:
    from datetime import datetime

    from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws
    from ansible_collections.cwagent.iam.plugins.module_utils._plan import Plan

State = Optional[Window]


class WindowResource(Resource[State]):
    """The admin window of a role or a user.

    :param check_not_open: whether one that is open already is an error.
    """

    def __init__(self, aws: Aws, desired: DesiredWindow, check_not_open: bool = False) -> None:
        super().__init__(aws)
        self._desired = desired
        self._refuse_open = check_not_open
        self._read_at: datetime | None = None
        # What IAM would show tells nothing where it is closed in any case; of a user, there are the keys.
        self._closes_unseen = desired.force and desired.state == CLOSED and desired.kind == "role"

    @property
    def _time(self) -> datetime:
        """The present, in UTC: of the first read, so that plan and result agree."""
        return self._read_at or self._aws.time

    def read(self) -> State:
        """The window as IAM shows it; ``None`` where the principal does not exist."""
        is_first = self._read_at is None
        window = Window(seen=False) if is_first and self._closes_unseen else self._read()
        self._read_at = self._time
        return window

    def _read(self) -> State:
        kind, name = self._desired.kind, self._desired.name
        named = {f"{kind.title()}Name": name}
        answer = self._aws.find(
            f"iam:Get{kind.title()}Policy",
            f"read the admin window of {kind} '{name}'",
            absent="NoSuchEntity",
            PolicyName=WINDOW_POLICY,
            **named,
        )
        # A missing principal and a missing policy are the same error.
        exists = answer or self._aws.find(
            f"iam:Get{kind.title()}", f"read {kind} '{name}'", absent="NoSuchEntity", **named
        )
        if not exists:
            return None
        keys = access_keys(self._aws, name) if kind == "user" else ()
        return Window(answer["PolicyDocument"] if answer else None, keys)

    def refuse(self, current: State) -> None:
        """Refuse a window that is open, where that is wanted. :raises InvalidInput: it says until when."""
        if self._refuse_open:
            window_plan.check_not_open(current, self._desired, self._time)

    def plan(self, current: State) -> Plan:
        """The steps that open or close it."""
        return window_plan.plan(current, self._desired, self._time)

    def left(self, current: State) -> list[str]:
        """What is not to be seen yet."""
        return window_plan.plan(current, replace(self._desired, force=False), self._time).summaries

    def after(self, current: State) -> State:
        """The window that the plan leads to."""
        if current is None:
            current = Window() if self._desired.state == OPEN else None
        if current is None:
            return None
        switched = self._desired.state != ABSENT or current.policy is not None
        keys = (
            tuple(replace(key, active=self._desired.state != CLOSED) for key in current.keys)
            if switched
            else current.keys
        )
        return Window(window_plan.planned_policy(current, self._desired, self._time), keys)

    def render(self, state: State) -> dict[str, Any]:
        """The window for the diff."""
        return window_plan.report(state, self._time)

    def report(self, _now: State, planned: State) -> dict[str, Any]:
        """The window for the result."""
        return {"window": window_plan.report(planned, self._time)}

    def warnings(self, current: State) -> list[str]:
        """That the principal is not there."""
        missing = current is None and self._desired.state == OPEN
        return [f"{self._desired.kind} '{self._desired.name}' does not exist yet"] if missing else []
