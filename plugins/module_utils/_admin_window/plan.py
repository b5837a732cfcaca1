# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The admin window: the time in which an admin principal may write to Parameter Store. Pure.

One inline policy denies ``ssm:PutParameter``. An explicit Deny goes before every Allow and holds for sessions that
exist already, so it also takes the right from credentials that were copied off an instance.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._access_keys.model import AccessKey, set_key_status
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.policy import closed_policy, deny, put_policy
from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._names import WINDOW_POLICY
from ansible_collections.cwagent.iam.plugins.module_utils._plan import NOT_FOUND_CODES, Plan, Step

if TYPE_CHECKING:
    from collections.abc import Mapping

# A session of a role lasts 12 hours at most; a window that outlives the day it was opened for is no window.
MAX_MINUTES = 720
# Asking for the same minutes again a moment later is not asking for longer.
TOLERANCE = timedelta(minutes=1)
_TIME = "%Y-%m-%dT%H:%M:%SZ"

OPEN, CLOSED, ABSENT = "open", "closed", "absent"


@dataclass(frozen=True)
class Window:
    """The admin window of a principal.

    :param policy: the inline policy, where there is one.
    :param keys: the access keys, where the principal is a user.
    :param seen: whether it was looked at, for the diff; one that was not has no policy here, so that it is written.
    """

    policy: Mapping[str, Any] | None = None
    keys: tuple[AccessKey, ...] = ()
    seen: bool = True


@dataclass(frozen=True)
class DesiredWindow:
    """What the user wants.

    :param kind: ``role`` or ``user``.
    :param state: one of ``OPEN``, ``CLOSED``, ``ABSENT``.
    :param force: whether to write even what looks as wanted.
    """

    kind: str
    name: str
    state: str
    minutes: int = 15
    force: bool = False


def open_policy(deadline: datetime) -> dict[str, Any]:
    """The policy that keeps the window open until a deadline, and closed from then on. :param deadline: in UTC."""
    condition = {"DateGreaterThan": {"aws:CurrentTime": deadline.strftime(_TIME)}}
    return {"Version": "2012-10-17", "Statement": [{**deny(), "Condition": condition}]}


def deadline_of(policy: Mapping[str, Any] | None) -> datetime | None:
    """Until when a policy keeps the window open; ``None`` for any policy that is not ours to the letter."""
    try:
        text = (policy or {})["Statement"][0]["Condition"]["DateGreaterThan"]["aws:CurrentTime"]
        deadline = datetime.strptime(text, _TIME).replace(tzinfo=timezone.utc)
    except (KeyError, IndexError, TypeError, ValueError):
        return None
    return deadline if policy == open_policy(deadline) else None


def check_minutes(minutes: int) -> None:
    """Refuse a window that is none. :raises InvalidInput: it says how long one may be."""
    if not 1 <= minutes <= MAX_MINUTES:
        raise InvalidInput(f"a window is open for 1 to {MAX_MINUTES} minutes, not {minutes}.")


def planned_policy(current: Window, desired: DesiredWindow, time: datetime) -> Mapping[str, Any] | None:
    """The policy to end with. One that is open is only ever opened for longer. :param time: the present, in UTC."""
    if desired.state == ABSENT:
        return None
    if desired.state == CLOSED:
        return closed_policy()
    wanted = time + timedelta(minutes=desired.minutes)
    tolerance = min(TOLERANCE, timedelta(minutes=desired.minutes) / 2)
    present = deadline_of(current.policy)
    if present and wanted - tolerance <= present <= time + timedelta(minutes=MAX_MINUTES) + TOLERANCE:
        return current.policy
    return open_policy(wanted)


def check_not_open(current: Window | None, desired: DesiredWindow, time: datetime) -> None:
    """Refuse a window that is open already: another run has opened it.

    :raises InvalidInput: it says until when, and what to do.
    """
    deadline = deadline_of(current.policy) if current else None
    if deadline and deadline > time:
        raise InvalidInput(
            f"the admin window of {desired.kind} '{desired.name}' is open until {deadline.strftime(_TIME)} (UTC), for "
            "another run or for a person. Wait until then; the playbook cwagent.iam.restore closes it at once."
        )


def plan(current: Window | None, desired: DesiredWindow, time: datetime) -> Plan:
    """The steps that open, close or remove the window.

    A principal that is not there has none to close; to open one is left to fail, since in check mode the principal can
    be yet to be made.
    """
    if current is None:
        return Plan({desired.name: _policy_steps(Window(), desired, time) if desired.state == OPEN else []})
    policy, keys = _policy_steps(current, desired, time), _key_steps(current, desired)
    # Whether keys are to be activated is told by the policy, so it is removed last.
    return Plan({desired.name: [*keys, *policy] if desired.state == ABSENT else [*policy, *keys]})


def _policy_steps(current: Window, desired: DesiredWindow, time: datetime) -> list[Step]:
    policy = planned_policy(current, desired, time)
    if policy == current.policy and not desired.force:
        return []
    window = f"the admin window of {desired.kind} '{desired.name}'"
    if policy is None:
        arguments = {f"{desired.kind}_name": desired.name, "policy_name": WINDOW_POLICY}
        return [
            Step(f"iam:Delete{desired.kind.title()}Policy", arguments, f"remove {window}", done_when=NOT_FOUND_CODES)
        ]
    deadline = deadline_of(policy)
    words = f"open {window} until {deadline.strftime(_TIME)}" if deadline else f"close {window}"
    # A principal that is gone has no right left that a window would let through.
    done_when = NOT_FOUND_CODES if desired.state == CLOSED else frozenset()
    return [replace(put_policy(desired.kind, desired.name, policy, words), done_when=done_when)]


def _key_steps(current: Window, desired: DesiredWindow) -> list[Step]:
    """A user's keys are of use only while the window is open, so they are switched off with it."""
    if desired.state == ABSENT and current.policy is None:
        return []
    active = desired.state != CLOSED
    return [
        set_key_status(desired.name, key.id, active) for key in current.keys if key.active != active or desired.force
    ]


def report(window: Window | None, time: datetime) -> dict[str, Any]:
    """The window for the result and the diff; the deadline is in UTC. :param time: the present, in UTC."""
    window = window or Window()
    deadline = deadline_of(window.policy)
    keys = [{"id": key.id, "active": key.active} for key in window.keys]
    return {
        "state": _state(window, deadline, time),
        "deadline": deadline.strftime(_TIME) if deadline else None,
        "access_keys": keys,
    }


def _state(window: Window, deadline: datetime | None, time: datetime) -> str:
    if not window.seen:
        return "not looked at"
    if deadline:
        return OPEN if deadline > time else "expired"
    if window.policy == closed_policy():
        return CLOSED
    return "altered" if window.policy else ABSENT
