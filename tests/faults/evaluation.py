"""The evaluation of a trial: the observations, and whether they are correct. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from emulator import Call, Kind

ADMIN = "CloudWatchAgentAdminRole"
ADMIN_POLICY = "CloudWatchAgentAdminPolicy"
WINDOW = "CloudWatchAgentAdminWindow"
HTTP_OK = 200
NO_HIT = "no call got the fault"
KILLS = (Kind.KILL_BEFORE, Kind.KILL_AFTER)
SIGNALS = (Kind.INTERRUPT, Kind.INTERRUPT_TWICE, Kind.TERMINATE, Kind.HANG_UP, Kind.KILL_WORKER)
RECORD = "cwagent:earlier-profile:"
"""The beginning of the key of the tag with which a run begins and ends to hold the admin profile."""

State = Mapping[str, Any]


@dataclass(frozen=True)
class Run:
    """One run of the job.

    :param state: the account after it.
    :param temporary_files: the files in its temporary folder after it.
    """

    code: int
    state: State
    temporary_files: Sequence[str] = ()


@dataclass(frozen=True)
class Evidence:
    """The observations of a trial.

    :param hit: the call that got the fault; ``None`` when no call did.
    :param recovered: the run after the faulted one.
    :param calls: all calls of both runs.
    :param leaks: by file that must not contain one, the beginning of a secret.
    """

    kind: Kind
    hit: Call | None
    faulted: Run
    recovered: Run
    calls: Sequence[Call] = ()
    output: str = ""
    leaks: Mapping[str, str] = field(default_factory=dict)


def problems(evidence: Evidence, undisturbed: State) -> list[str]:
    """The problems of a trial as text."""
    found = {
        NO_HIT: evidence.hit is None,
        "the second run failed": evidence.recovered.code != 0,
        "two instances had the admin profile at once": most_admins_at_once(evidence.calls) > 1,
        "two instances had an open window at once": overlapping_windows(evidence.calls),
        "the faulted run succeeded": evidence.hit is not None
        and evidence.kind == Kind.KILL_WORKER
        and evidence.faulted.code == 0,
        "a traceback": "Traceback" in evidence.output,
        f"temporary files: {', '.join(evidence.faulted.temporary_files)}": evidence.kind not in (*KILLS, *SIGNALS)
        and evidence.faulted.temporary_files,
        f"a secret in {', '.join(evidence.leaks)}": evidence.leaks,
    }
    differing = differences(undisturbed, evidence.recovered.state)
    found[f"different end state: {'; '.join(differing)}"] = bool(differing)
    return [words for words, wrong in found.items() if wrong] + _left_open(evidence)


def _left_open(evidence: Evidence) -> list[str]:
    """The locks that the faulted run left open although it could have closed them.

    A killed run closes nothing. A run in which a closing call got the fault leaves at most one lock open. A run that
    got a signal leaves none.
    """
    unlocked = open_locks(evidence.faulted.state)
    if evidence.kind in KILLS or not unlocked:
        return []
    if evidence.kind not in SIGNALS and _is_closing(evidence) and len(unlocked) == 1 and evidence.faulted.code != 0:
        return []
    return [f"left by the faulted run: {' and '.join(unlocked)}"]


def _is_closing(evidence: Evidence) -> bool:
    """Whether the fault hit a call that closes a lock."""
    hit = evidence.hit
    if hit is None:
        return False
    return hit.action == "UpdateAccessKey" or any(call.seq < hit.seq for call in evidence.calls if _has_stored(call))


def _has_stored(call: Call) -> bool:
    return call.action == "PutParameter" and call.status == HTTP_OK


def held_writes(calls: Sequence[Call]) -> list[int]:
    """The positions of the writes of the process that may write the configuration, while it may.

    On EC2 it begins and ends with the record of the earlier profile. On premises it begins with the window of the admin
    user, and ends with the deactivation of its key.
    """
    begins = [position for position, call in enumerate(calls) if _is_record(call) or _opens_user(call)]
    ends = [position for position, call in enumerate(calls) if _is_record(call) or call.action == "UpdateAccessKey"]
    if not begins:
        return []
    return [position for position in range(begins[0], ends[-1] + 1) if calls[position].write]


def _is_record(call: Call) -> bool:
    return call.action in ("TagRole", "UntagRole") and RECORD in json.dumps(call.params)


def _opens_user(call: Call) -> bool:
    is_of_window = call.action == "PutUserPolicy" and call.params["PolicyName"] == WINDOW
    return is_of_window and not _is_closed(json.loads(call.params["PolicyDocument"]))


def open_locks(state: State) -> list[str]:
    """Everything that is needed to write: associated admin profiles, open windows, active keys of admin users."""
    found = [f"{name} has the admin profile" for name, profile in state["instances"].items() if profile == ADMIN]
    for name, principal in {**state["roles"], **state["users"]}.items():
        if ADMIN_POLICY in principal["policies"]:
            window = principal["inline"].get(WINDOW)
            found += [] if window and _is_closed(window) else [f"the window of {name} is open"]
            # A key that is not saved, because its answer was lost, cannot be used; the next run deletes it.
            active = any(key["status"] == "Active" and key["saved"] for key in principal.get("keys", ()))
            found += [f"a key of {name} is active"] if active else []
    return found


def most_admins_at_once(calls: Sequence[Call]) -> int:
    """The largest number of instances that had the admin profile at the same time, from the call log."""
    return max((list(call.profiles.values()).count(ADMIN) for call in calls), default=0)


def overlapping_windows(calls: Sequence[Call]) -> list[tuple[str, str]]:
    """The instances with an open window, each with the instance that got another window meanwhile, by the call log."""
    found, opened = [], {}
    for call in sorted(calls, key=lambda call: call.seq):
        is_of_window = call.action in ("PutRolePolicy", "DeleteRolePolicy") and call.params.get("PolicyName") == WINDOW
        if not is_of_window or call.status != HTTP_OK:
            continue
        role, document = call.params["RoleName"], call.params.get("PolicyDocument")
        earlier = opened.pop(role, None)
        if document and not _is_closed(policy := json.loads(document)):
            opened[role] = _instance_of(policy)
            found += [(earlier, opened[role])] if earlier not in (None, opened[role]) else []
    return found


def _is_closed(window: Mapping[str, Any]) -> bool:
    return not any("Condition" in each for each in window["Statement"])


def _instance_of(window: Mapping[str, Any]) -> str:
    """The instance that an open window is for; empty where every instance with the role may write."""
    conditions = [each.get("Condition", {}).get("StringNotLike", {}) for each in window["Statement"]]
    return "".join(each.get("aws:userid", "").removeprefix("*:") for each in conditions)


def differences(expected: Any, found: Any, path: str = "") -> list[str]:
    """Where two states differ, with both values."""
    if expected == found:
        return []
    if not (isinstance(expected, Mapping) and isinstance(found, Mapping)):
        return [f"{path} is {found}, not {expected}"]
    keys = sorted(expected.keys() | found.keys())
    return [
        words for key in keys for words in differences(expected.get(key), found.get(key), f"{path}.{key}".lstrip("."))
    ]
