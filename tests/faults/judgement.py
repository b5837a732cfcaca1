"""What a trial has shown, and whether it is what must hold. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from emulator import Call, Kind

ADMIN = "CloudWatchAgentAdminRole"
ADMIN_POLICY = "CloudWatchAgentAdminPolicy"
WINDOW = "CloudWatchAgentAdminWindow"
HTTP_OK = 200
KILLS = (Kind.KILL_BEFORE, Kind.KILL_AFTER)

State = Mapping[str, Any]


@dataclass(frozen=True)
class Run:
    """One run of the job.

    :param state: the account after it.
    :param left: the files in its temporary folder after it.
    """

    code: int
    state: State
    left: Sequence[str] = ()


@dataclass(frozen=True)
class Evidence:
    """What was seen of a trial.

    :param hit: the call that the fault hit; ``None`` when it hit none.
    :param calls: all calls of both runs.
    :param shown: by place where it must not be, the beginning of a secret.
    """

    kind: Kind
    hit: Call | None
    faulted: Run
    mended: Run
    calls: Sequence[Call] = ()
    output: str = ""
    shown: Mapping[str, str] = field(default_factory=dict)


def problems(seen: Evidence, undisturbed: State) -> list[str]:
    """In words, what is not as it must be."""
    found = {
        "the fault hit no call": seen.hit is None,
        "the second run failed": seen.mended.code != 0,
        "two instances carried the admin profile at once": most_admins_at_once(seen.calls) > 1,
        "a traceback": "Traceback" in seen.output,
        f"temporary files: {', '.join(seen.faulted.left)}": seen.kind not in KILLS and seen.faulted.left,
        f"a secret in {', '.join(seen.shown)}": seen.shown,
    }
    differing = differences(undisturbed, seen.mended.state)
    found[f"another end state: {'; '.join(differing)}"] = bool(differing)
    return [words for words, wrong in found.items() if wrong] + _open_after_fault(seen)


def _open_after_fault(seen: Evidence) -> list[str]:
    """What a run left open although it could have closed it.

    A run that was killed can close nothing. One whose fault hit a call that closes leaves one of the locks at most.
    """
    unlocked = open_locks(seen.faulted.state)
    if seen.kind in KILLS or not unlocked:
        return []
    closing = seen.hit is not None and (
        seen.hit.action == "UpdateAccessKey" or any(call.seq < seen.hit.seq for call in seen.calls if _stored(call))
    )
    if closing and len(unlocked) == 1 and seen.faulted.code != 0:
        return []
    return [f"left by the faulted run: {' and '.join(unlocked)}"]


def _stored(call: Call) -> bool:
    return call.action == "PutParameter" and call.status == HTTP_OK


def open_locks(state: State) -> list[str]:
    """What gives somebody a part of the right to write: admin profiles on instances, open windows, active keys."""
    found = [f"{name} carries the admin profile" for name, held in state["instances"].items() if ADMIN in held]
    for name, principal in {**state["roles"], **state["users"]}.items():
        if ADMIN_POLICY in principal["policies"]:
            window = principal["inline"].get(WINDOW)
            found += [f"the window of {name} is open"] if not window or "Condition" in window["Statement"][0] else []
            # One that is not saved, since its answer was lost, is of no use to anybody; the next run deletes it.
            active = any(key["status"] == "Active" and key["saved"] for key in principal.get("keys", ()))
            found += [f"a key of {name} is active"] if active else []
    return found


def most_admins_at_once(calls: Sequence[Call]) -> int:
    """How many instances carried the admin profile at the same time, at the most, by the call log."""
    return max((list(call.profiles.values()).count(ADMIN) for call in calls), default=0)


def differences(wanted: Any, found: Any, path: str = "") -> list[str]:
    """Where two states differ, with both values."""
    if wanted == found:
        return []
    if not (isinstance(wanted, Mapping) and isinstance(found, Mapping)):
        return [f"{path} is {found}, not {wanted}"]
    keys = sorted(wanted.keys() | found.keys())
    return [
        words for key in keys for words in differences(wanted.get(key), found.get(key), f"{path}.{key}".lstrip("."))
    ]
