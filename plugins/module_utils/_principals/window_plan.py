# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The admin window: the time in which an admin principal may write to Parameter Store. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from .._ground.errors import INLINE_POLICY_LIMITS, ContentionError, CwagentError, InvalidInput, explain_policy_limit
from .._ground.names import NOT_CREATED, SAVED_KEY_TAG, WINDOW_POLICY, adoption_problem
from .._ground.plan import NOT_FOUND_CODES, Kind, Plan, Step
from .._keys.key_rotation import AccessKey, set_key_status
from .window_policy import (
    TIME_FORMAT,
    Opening,
    WindowParameter,
    closed_policy,
    deadline_of,
    is_closed,
    open_policy,
    opening_of,
    put_policy,
    size_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


# A session of a role lasts 12 hours at most, so no window needs to be open for longer.
MAX_MINUTES = 720
# A second run that asks for the same minutes a moment later must not change anything.
TOLERANCE = timedelta(minutes=1)
# All deadlines have the same length.
_ANY_TIME = datetime(2000, 1, 1, tzinfo=timezone.utc)

OPEN, CLOSED, ABSENT = "open", "closed", "absent"
EXPIRED, MODIFIED, UNKNOWN = "expired", "modified", "unknown"


@dataclass(frozen=True)
class Window:
    """The admin window of a principal.

    :param read_at: when it was read, according to the clock of AWS. Plan, diff and result compare the deadline with
        this time, so that they agree.
    :param policy: the inline policy, if there is one.
    :param keys: the access keys, if the principal is a user.
    :param exists: whether the principal exists.
    :param is_known: whether the policy was read. If not, ``policy`` is ``None``, so that a plan writes it.
    :param error: why the policy, the keys or the tags could not be read.
    :param saved_key_id: the only key that changes with the window, according to the tag of the user.
    :param is_marked: whether this collection created or adopted the principal. Read only if there is no policy.
    :param has_admin_policy: whether the principal has the agent's admin policy. Read only if there is no policy.
    :param others_size: the number of characters of the other inline policies. Read only to open a window.
    """

    read_at: datetime
    policy: Mapping[str, Any] | None = None
    keys: tuple[AccessKey, ...] = ()
    exists: bool = True
    is_known: bool = True
    error: CwagentError | None = None
    saved_key_id: str | None = None
    is_marked: bool = True
    has_admin_policy: bool = True
    others_size: int = 0

    @property
    def saved_key(self) -> AccessKey | None:
        """The key that is activated and deactivated with the window."""
        return next((key for key in self.keys if key.id == self.saved_key_id), None)

    @property
    def other_active_keys(self) -> list[str]:
        """The IDs of the active keys that do not change with the window."""
        return [key.id for key in self.keys if key.active and key.id != self.saved_key_id]


@dataclass(frozen=True)
class DesiredWindow:
    """The user's choices for the window.

    :param kind: ``role`` or ``user``.
    :param state: one of ``OPEN``, ``CLOSED``, ``ABSENT``.
    :param force: whether to write even if the current state looks as desired.
    :param created_before: whether an earlier task has planned to create the principal, with a closed window.
    :param managed_only: whether to leave alone a principal that this collection did not create or adopt, unless it has
        a window. Opening a window for it is an error. A principal that has neither a window nor the admin policy does
        not get a closed window.
    :param instance_id: the one instance whose sessions may write while the window of a role is open.
    :param parameters: the parameters that may be written while the window is open. If there are none, the window does
        not limit the parameters.
    :param read_others: whether to read the other inline policies, which count towards the same limit.
    """

    kind: str
    name: str
    state: str
    minutes: int = 15
    force: bool = False
    managed_only: bool = False
    created_before: bool = False
    instance_id: str | None = None
    parameters: tuple[WindowParameter, ...] = ()
    read_others: bool = True

    @property
    def description(self) -> str:
        """The window in words, for messages and summaries."""
        return f"the admin window of {self.kind} '{self.name}'"

    @property
    def close_summary(self) -> str:
        """The step that closes the window, in the lists of steps that were done."""
        return f"close {self.description}"

    def policy_until(self, deadline: datetime) -> dict[str, Any]:
        """Return the policy of the desired window, open until a deadline."""
        return open_policy(Opening(deadline, self.instance_id, self.parameters))


def assumed_window(current: Window, desired: DesiredWindow) -> Window:
    """Return the window after the changes that an earlier task has planned for it."""
    if desired.created_before and not current.exists:
        return replace(current, exists=True, policy=closed_policy())
    return current


def check_minutes(minutes: int) -> None:
    """Check the length of a window. :raises InvalidInput: it is out of range; the message contains the range."""
    if not 1 <= minutes <= MAX_MINUTES:
        raise InvalidInput(
            f"The length of the admin window must be between 1 and {MAX_MINUTES} minutes, not {minutes}."
        )


def check_not_open(current: Window, desired: DesiredWindow) -> None:
    """Check that no other run has opened the window.

    :raises ContentionError: the window is open. The message contains its deadline, and explains what to do.
    """
    opening = opening_of(current.policy)
    if opening and opening.deadline > current.read_at:
        raise ContentionError(
            f"{desired.description} is open until {opening.deadline.strftime(TIME_FORMAT)} (UTC)"
            f"{_scope_in_words(opening)}, for another run or for a person. Wait until then, or run cwagent.iam.restore "
            "to close it now."
        )


def check_not_open_elsewhere(current: Window, desired: DesiredWindow) -> None:
    """Check that the window is not open for another instance.

    :raises ContentionError: it is. The message contains the instance and the deadline, and explains what to do.
    """
    opening = opening_of(current.policy)
    if opening and opening.instance_id not in (None, desired.instance_id):
        check_not_open(current, desired)


def _scope_in_words(opening: Opening) -> str:
    instance = f" for instance {opening.instance_id}" if opening.instance_id else ""
    names = ", ".join(f"'{each.name}' in {each.region}" for each in opening.parameters)
    return f"{instance}{' and parameter ' if instance else ' for parameter '}{names}" if names else instance


def check_binding(desired: DesiredWindow) -> None:
    """Check that the window of a role opens for one instance, and that its policy alone fits IAM's limit.

    :raises InvalidInput: no instance is given, or the policy is too large. The message explains what to change.
    """
    if desired.state == OPEN and desired.kind == "role" and not desired.instance_id:
        raise InvalidInput(
            f"{desired.description} can be opened for one instance only: instance_id is required with role."
        )
    check_size(desired, 0)


def check_size(desired: DesiredWindow, others_size: int) -> None:
    """Check that the policy of an open window fits IAM's limit together with the other inline policies.

    :raises InvalidInput: it does not fit. The message contains the sizes, and explains what to change.
    """
    size = size_of(desired.policy_until(_ANY_TIME))
    if desired.state == OPEN and size + others_size > INLINE_POLICY_LIMITS[desired.kind]:
        others = f", and the others of the {desired.kind} have {others_size}" if others_size else ""
        raise InvalidInput(
            f"{desired.description} was not opened: its policy would have {size} characters (parameters: "
            f"{len(desired.parameters)}){others}. {explain_policy_limit(desired.kind)}"
        )


def check_other_keys(current: Window, desired: DesiredWindow) -> None:
    """Check that the window does not open while a key other than the saved one is active.

    :raises ContentionError: another key is active. The message lists the keys, and explains what to do.
    """
    others = current.other_active_keys
    if desired.state != OPEN or not others:
        return
    raise ContentionError(
        f"{desired.description} was not opened: the user has another active access key ({', '.join(others)}), which "
        "could write too. It is not the saved key of this user, so it was not changed. Deactivate or delete it, then "
        "run again."
    )


def check_managed(current: Window, desired: DesiredWindow) -> None:
    """Check that no window is opened for somebody else's principal.

    :raises InvalidInput: the principal belongs to somebody else. The message explains what to do.
    """
    if desired.state == OPEN and is_unmanaged(current, desired):
        raise InvalidInput(adoption_problem(desired.kind, desired.name))


def is_unmanaged(current: Window, desired: DesiredWindow) -> bool:
    """Whether the principal belongs to somebody else, and must not be changed."""
    return desired.managed_only and current.exists and current.policy is None and not current.is_marked


def describe_left(desired: DesiredWindow, opened: Mapping[str, Any], *, is_open: bool, has_key: bool = False) -> str:
    """Return what can still be open after a window could not be closed, in sentences.

    :param opened: the window as it was opened, in the form of results.
    :param is_open: whether its policy was not written. :param has_key: whether the key was not deactivated.
    """
    description = f"{desired.description[0].upper()}{desired.description[1:]}"
    policy = f"{description} may be open until {opened['deadline'] or 'its deadline'}." if is_open else ""
    key = f"The access key of {desired.kind} '{desired.name}' may be active, and no deadline ends that."
    left = f"{policy} {key if has_key else ''}".strip()
    return left or f"{description} was closed, but AWS did not confirm it."


def _has_nothing_to_do(current: Window, desired: DesiredWindow) -> bool:
    if is_unmanaged(current, desired):
        return True
    is_missing = not current.exists or (
        desired.managed_only and current.is_known and current.policy is None and not current.has_admin_policy
    )
    return is_missing and desired.state != OPEN


def plan(current: Window, desired: DesiredWindow) -> Plan[Window]:
    """Plan how to open, close or remove the window.

    If the principal does not exist, there is nothing to close or to remove. Opening is planned anyway, since in
    check mode the principal may be created by an earlier task; otherwise AWS reports the error.
    """
    planned = planned_window(current, desired)
    if _has_nothing_to_do(current, desired):
        return Plan(current, planned, {desired.name: []})
    policy, keys = _policy_steps(current, planned, desired), _key_steps(current, desired)
    if desired.state == CLOSED:
        # Each of them ends the permission, so the one is done even if the other fails.
        unread = {f"state of {desired.name}": current.error} if current.error else {}
        return Plan(current, planned, {desired.name: policy, f"access key of {desired.name}": keys}, unread)
    # The next run sees by the policy that keys are still to be activated, so the policy is removed last.
    steps = [*keys, *policy] if desired.state == ABSENT else [*policy, *keys]
    return Plan(current, planned, {desired.name: steps})


def planned_policy(current: Window, desired: DesiredWindow) -> Mapping[str, Any] | None:
    """Return the policy of the planned state.

    A window that is open for the same instance and parameters is only ever extended. Any other is replaced.
    """
    if desired.state == ABSENT:
        return None
    if desired.state == CLOSED:
        return closed_policy()
    now, length = current.read_at, timedelta(minutes=desired.minutes)
    new_deadline, deadline = now + length, deadline_of(current.policy)
    earliest = new_deadline - min(TOLERANCE, length / 2)
    latest = now + timedelta(minutes=MAX_MINUTES) + TOLERANCE
    is_kept = deadline and earliest <= deadline <= latest and current.policy == desired.policy_until(deadline)
    return current.policy if is_kept else desired.policy_until(new_deadline)


def planned_window(current: Window, desired: DesiredWindow) -> Window:
    """Return the state after all steps."""
    if _has_nothing_to_do(current, desired):
        return current
    keys = current.keys
    if _has_managed_key(current, desired):
        active = desired.state != CLOSED
        keys = tuple(replace(key, active=active) if key == current.saved_key else key for key in keys)
    return Window(current.read_at, planned_policy(current, desired), keys, saved_key_id=current.saved_key_id)


def _policy_steps(current: Window, planned: Window, desired: DesiredWindow) -> list[Step]:
    if planned.policy == current.policy and not desired.force:
        return []
    if planned.policy is None:
        arguments = {f"{desired.kind}_name": desired.name, "policy_name": WINDOW_POLICY}
        action, summary = f"iam:Delete{desired.kind.title()}Policy", f"remove {desired.description}"
        return [Step(Kind.DELETE, action, arguments, summary, done_when=NOT_FOUND_CODES)]
    deadline = deadline_of(planned.policy)
    summary = (
        f"open {desired.description} until {deadline.strftime(TIME_FORMAT)}" if deadline else desired.close_summary
    )
    # A principal that no longer exists has no permission, so its window counts as closed.
    done_when = NOT_FOUND_CODES if desired.state == CLOSED else frozenset()
    return [replace(put_policy(desired.kind, desired.name, planned.policy, summary), done_when=done_when)]


def _key_steps(current: Window, desired: DesiredWindow) -> list[Step]:
    """Return the step that activates a user's saved key with an open window and deactivates it with a closed one."""
    key, active = current.saved_key, desired.state != CLOSED
    if key is None or not _has_managed_key(current, desired) or not (key.active != active or desired.force):
        return []
    return [set_key_status(desired.name, key.id, active)]


def _has_managed_key(current: Window, desired: DesiredWindow) -> bool:
    """Whether the saved key changes with the window. If that was absent before, the key's status is not managed."""
    return desired.state != ABSENT or current.policy is not None


def warnings(current: Window, desired: DesiredWindow) -> list[str]:
    """Warn of a principal or a key that stays as it is, or of a window that opens without an access key."""
    warning = _warning(current, desired)
    return [f"{desired.kind} '{desired.name}' {warning}"] if warning else []


def _warning(current: Window, desired: DesiredWindow) -> str:
    if is_unmanaged(current, desired):
        return (
            f"{NOT_CREATED} and has no admin window, so it was not changed; it may be able to write to Parameter Store "
            "at all times"
        )
    others = ", ".join(current.other_active_keys)
    if desired.state == CLOSED and others:
        return (
            f"has another active access key ({others}); it is not the saved key of this user, so it was not "
            "deactivated. The closed admin window denies writes with it too"
        )
    if desired.state == OPEN and current.keys and current.saved_key is None:
        return (
            f"has no access key that is tagged as the saved one ({SAVED_KEY_TAG}), so none was activated; run "
            "cwagent.iam.site to save one"
        )
    return ""


def to_diff(window: Window) -> dict[str, Any]:
    """Return the window as diffs show it, with the document of its policy if others have written that."""
    shown = to_dict(window)
    return {**shown, "policy": window.policy} if shown["state"] == MODIFIED else shown


def to_dict(window: Window) -> dict[str, Any]:
    """Return the window as results show it; the deadline is in UTC."""
    opening = opening_of(window.policy)
    parameters: Sequence[WindowParameter] = opening.parameters if opening else ()
    return {
        "state": _state(window, opening.deadline if opening else None),
        "deadline": opening.deadline.strftime(TIME_FORMAT) if opening else None,
        "instance_id": opening.instance_id if opening else None,
        "parameters": [{"name": each.name, "region": each.region} for each in parameters],
        "access_keys": [{"id": key.id, "active": key.active} for key in window.keys],
    }


def _state(window: Window, deadline: datetime | None) -> str:
    if not window.is_known:
        return UNKNOWN
    if deadline:
        return OPEN if deadline > window.read_at else EXPIRED
    if is_closed(window.policy):
        return CLOSED
    return MODIFIED if window.policy else ABSENT
