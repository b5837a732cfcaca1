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
    WantedWindow,
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

    :param refuse_open: whether one that is open already is an error.
    """

    def __init__(self, aws: Aws, want: WantedWindow, refuse_open: bool = False) -> None:
        super().__init__(aws)
        self._want = want
        self._refuse_open = refuse_open
        self._read_at: datetime | None = None
        # What IAM would show tells nothing where it is closed in any case; of a user, there are the keys.
        self._closes_unseen = want.force and want.state == CLOSED and want.kind == "role"

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
        kind, name = self._want.kind, self._want.name
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

    def refuse(self, now: State) -> None:
        """Refuse a window that is open, where that is wanted. :raises InvalidInput: it says until when."""
        if self._refuse_open:
            window_plan.refuse_open(now, self._want, self._time)

    def plan(self, now: State) -> Plan:
        """The steps that open or close it."""
        return window_plan.plan(now, self._want, self._time)

    def left(self, now: State) -> list[str]:
        """What is not to be seen yet."""
        return window_plan.plan(now, replace(self._want, force=False), self._time).summaries

    def after(self, now: State) -> State:
        """The window that the plan leads to."""
        if now is None:
            now = Window() if self._want.state == OPEN else None
        if now is None:
            return None
        switched = self._want.state != ABSENT or now.policy is not None
        keys = tuple(replace(key, active=self._want.state != CLOSED) for key in now.keys) if switched else now.keys
        return Window(window_plan.policy_after(now, self._want, self._time), keys)

    def render(self, state: State) -> dict[str, Any]:
        """The window for the diff."""
        return window_plan.report(state, self._time)

    def report(self, _now: State, then: State) -> dict[str, Any]:
        """The window for the result."""
        return {"window": window_plan.report(then, self._time)}

    def warnings(self, now: State) -> list[str]:
        """That the principal is not there."""
        missing = now is None and self._want.state == OPEN
        return [f"{self._want.kind} '{self._want.name}' does not exist yet"] if missing else []
