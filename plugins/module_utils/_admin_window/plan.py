# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The admin window: the time in which an admin principal may write to Parameter Store. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._access_keys.model import AccessKey, set_key_status
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.policy import (
    TIME_FORMAT,
    closed_policy,
    deadline_of,
    open_policy,
    put_policy,
)
from ansible_collections.cwagent.iam.plugins.module_utils._errors import ContentionError, CwagentError, InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._names import WINDOW_POLICY
from ansible_collections.cwagent.iam.plugins.module_utils._plan import NOT_FOUND_CODES, Kind, Plan, Step

if TYPE_CHECKING:
    from collections.abc import Mapping

# A session of a role lasts 12 hours at most, so no window needs to be open for longer.
MAX_MINUTES = 720
# A second run that asks for the same minutes a moment later must not change anything.
TOLERANCE = timedelta(minutes=1)

OPEN, CLOSED, ABSENT = "open", "closed", "absent"
EXPIRED, MODIFIED, UNKNOWN = "expired", "modified", "unknown"


@dataclass(frozen=True)
class Window:
    """The admin window of a principal.

    :param read_at: when it was read, by the clock of AWS. Plan, diff and result compare the deadline with this time, so
        that they agree.
    :param policy: the inline policy, if there is one.
    :param keys: the access keys, if the principal is a user.
    :param exists: whether the principal exists.
    :param is_known: whether the policy was read. If not, ``policy`` is ``None``, so that a plan writes it.
    :param error: why the policy could not be read.
    """

    read_at: datetime
    policy: Mapping[str, Any] | None = None
    keys: tuple[AccessKey, ...] = ()
    exists: bool = True
    is_known: bool = True
    error: CwagentError | None = None


@dataclass(frozen=True)
class DesiredWindow:
    """What the user wants.

    :param kind: ``role`` or ``user``.
    :param state: one of ``OPEN``, ``CLOSED``, ``ABSENT``.
    :param force: whether to write even if the current state looks as desired.
    """

    kind: str
    name: str
    state: str
    minutes: int = 15
    force: bool = False

    @property
    def description(self) -> str:
        """The window in words, for messages and summaries."""
        return f"the admin window of {self.kind} '{self.name}'"


def check_minutes(minutes: int) -> None:
    """Check how long a window is to be open. :raises InvalidInput: it says which lengths are possible."""
    if not 1 <= minutes <= MAX_MINUTES:
        raise InvalidInput(
            f"The length of the admin window must be between 1 and {MAX_MINUTES} minutes, not {minutes}."
        )


def check_not_open(current: Window, desired: DesiredWindow) -> None:
    """Check that no other run has opened the window.

    :raises ContentionError: it says until when the window is open, and what to do.
    """
    deadline = deadline_of(current.policy)
    if deadline and deadline > current.read_at:
        raise ContentionError(
            f"{desired.description} is open until {deadline.strftime(TIME_FORMAT)} (UTC), for another run or for a "
            "person. Wait until then, or run cwagent.iam.restore to close it now."
        )


def plan(current: Window, desired: DesiredWindow) -> Plan[Window]:
    """Plan how to open, close or remove the window.

    If the principal does not exist, there is nothing to close or to remove. Opening is planned anyway, since in
    check mode the principal may be created by an earlier task; otherwise AWS reports the error.
    """
    planned = planned_window(current, desired)
    if not current.exists and desired.state != OPEN:
        return Plan(current, planned, {desired.name: []})
    policy, keys = _policy_steps(current, planned, desired), _key_steps(current, desired)
    # The next run sees by the policy that keys are still to be activated, so the policy is removed last.
    steps = [*keys, *policy] if desired.state == ABSENT else [*policy, *keys]
    return Plan(current, planned, {desired.name: steps})


def planned_policy(current: Window, desired: DesiredWindow) -> Mapping[str, Any] | None:
    """Return the policy of the planned state. A window that is open is only ever extended."""
    if desired.state == ABSENT:
        return None
    if desired.state == CLOSED:
        return closed_policy()
    now, length = current.read_at, timedelta(minutes=desired.minutes)
    new_deadline, deadline = now + length, deadline_of(current.policy)
    earliest = new_deadline - min(TOLERANCE, length / 2)
    latest = now + timedelta(minutes=MAX_MINUTES) + TOLERANCE
    return current.policy if deadline and earliest <= deadline <= latest else open_policy(new_deadline)


def planned_window(current: Window, desired: DesiredWindow) -> Window:
    """Return the state after all steps."""
    if not current.exists and desired.state != OPEN:
        return current
    keys = current.keys
    if _has_managed_keys(current, desired):
        keys = tuple(replace(key, active=desired.state != CLOSED) for key in keys)
    return Window(current.read_at, planned_policy(current, desired), keys)


def _policy_steps(current: Window, planned: Window, desired: DesiredWindow) -> list[Step]:
    if planned.policy == current.policy and not desired.force:
        return []
    if planned.policy is None:
        arguments = {f"{desired.kind}_name": desired.name, "policy_name": WINDOW_POLICY}
        action, summary = f"iam:Delete{desired.kind.title()}Policy", f"remove {desired.description}"
        return [Step(Kind.DELETE, action, arguments, summary, done_when=NOT_FOUND_CODES)]
    deadline = deadline_of(planned.policy)
    summary = (
        f"open {desired.description} until {deadline.strftime(TIME_FORMAT)}"
        if deadline
        else f"close {desired.description}"
    )
    # A principal that no longer exists has no permission, so its window counts as closed.
    done_when = NOT_FOUND_CODES if desired.state == CLOSED else frozenset()
    return [replace(put_policy(desired.kind, desired.name, planned.policy, summary), done_when=done_when)]


def _key_steps(current: Window, desired: DesiredWindow) -> list[Step]:
    """Return the steps that activate a user's keys with an open window and deactivate them with a closed one."""
    if not _has_managed_keys(current, desired):
        return []
    active = desired.state != CLOSED
    return [
        set_key_status(desired.name, key.id, active) for key in current.keys if key.active != active or desired.force
    ]


def _has_managed_keys(current: Window, desired: DesiredWindow) -> bool:
    """Whether keys change with the window. If it was absent before, their status is not managed."""
    return desired.state != ABSENT or current.policy is not None


def to_diff(window: Window) -> dict[str, Any]:
    """Return the window as diffs show it, with the document of its policy."""
    return {**to_dict(window), "policy": window.policy}


def to_dict(window: Window) -> dict[str, Any]:
    """Return the window as results show it; the deadline is in UTC."""
    deadline = deadline_of(window.policy)
    return {
        "state": _state(window, deadline),
        "deadline": deadline.strftime(TIME_FORMAT) if deadline else None,
        "access_keys": [{"id": key.id, "active": key.active} for key in window.keys],
    }


def _state(window: Window, deadline: datetime | None) -> str:
    if not window.is_known:
        return UNKNOWN
    if deadline:
        return OPEN if deadline > window.read_at else EXPIRED
    if window.policy == closed_policy():
        return CLOSED
    return MODIFIED if window.policy else ABSENT
