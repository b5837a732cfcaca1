# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The document of the admin window: one inline policy that denies changing parameters. Pure.

An explicit Deny overrides every Allow and applies to existing sessions too, so it also revokes the permission from
credentials that were copied off an instance.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html

An open window denies ``ssm:PutParameter`` in separate statements: after the deadline, from another instance, and for
other parameters. Each statement is enough to deny a call. In one statement, all its conditions would have to be true.

The modules for roles and users import this file and not ``window_plan.py``, so Ansible sends less code to the host.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from .._ground.names import WINDOW_POLICY, partition_of
from .._ground.plan import Kind, Step

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
PUT = "ssm:PutParameter"
# The other actions that change a parameter, or the version of it that is used.
OTHER_ACTIONS = [
    "ssm:DeleteParameter",
    "ssm:DeleteParameters",
    "ssm:LabelParameterVersion",
    "ssm:UnlabelParameterVersion",
]
# IAM allows letters and digits.
CLOSED_SID, OTHERS_SID, DEADLINE_SID, INSTANCE_SID, PARAMETERS_SID = (
    f"{WINDOW_POLICY}{suffix}" for suffix in ("Closed", "Others", "Deadline", "Instance", "Parameters")
)
# EC2 names the session of a role after the instance: https://docs.aws.amazon.com/IAM/latest/UserGuide/
# reference_policies_variables.html#principaltable
_SESSION = "*:"
_PARAMETER = "parameter/"


@dataclass(frozen=True, order=True)
class WindowParameter:
    """A parameter that may be written while a window is open."""

    name: str
    region: str

    @property
    def arn(self) -> str:
        """The ARN, for any account: the principal can write to its own only."""
        return f"arn:{partition_of(self.region)}:ssm:{self.region}:*:{_PARAMETER}{self.name}"


@dataclass(frozen=True)
class Opening:
    """The deadline and the scope of an open window.

    :param deadline: in UTC.
    :param instance_id: the one instance whose sessions may write; ``None`` for a user.
    :param parameters: the parameters that may be written. If there are none, the window does not limit the parameters.
    """

    deadline: datetime
    instance_id: str | None = None
    parameters: tuple[WindowParameter, ...] = ()


def closed_policy() -> dict[str, Any]:
    """Return the policy of a closed window."""
    return _policy([_deny(CLOSED_SID, [PUT, *OTHER_ACTIONS], Resource="*")])


def open_policy(opening: Opening) -> dict[str, Any]:
    """Return the policy of an open window."""
    return _policy(
        [
            _deny(OTHERS_SID, OTHER_ACTIONS, Resource="*"),
            _deny(DEADLINE_SID, PUT, Resource="*", Condition=_after(opening.deadline)),
            *(_only_from(each) for each in [opening.instance_id] if each),
            *(_only_to(each) for each in [opening.parameters] if each),
        ]
    )


def _only_from(instance_id: str) -> dict[str, Any]:
    # A negated operator is true even if the key is missing.
    condition = {"StringNotLike": {"aws:userid": f"{_SESSION}{instance_id}"}}
    return _deny(INSTANCE_SID, PUT, Resource="*", Condition=condition)


def _only_to(parameters: Iterable[WindowParameter]) -> dict[str, Any]:
    # The statement has no condition. With one, it would deny a call only if both apply.
    return _deny(PARAMETERS_SID, PUT, NotResource=[each.arn for each in sorted(set(parameters))])


def opening_of(policy: Mapping[str, Any] | None) -> Opening | None:
    """Return the deadline and the scope of an open or expired window; ``None`` for the policy of any other window."""
    try:
        statements = {each["Sid"]: each for each in (policy or {})["Statement"]}
        text = statements[DEADLINE_SID]["Condition"]["DateGreaterThan"]["aws:CurrentTime"]
        deadline = datetime.strptime(text, TIME_FORMAT).replace(tzinfo=timezone.utc)
        opening = Opening(deadline, _instance_in(statements), _parameters_in(statements))
    except (AttributeError, KeyError, IndexError, TypeError, ValueError):
        return None
    return opening if policy == open_policy(opening) else None


def _instance_in(statements: Mapping[str, Any]) -> str | None:
    if INSTANCE_SID not in statements:
        return None
    pattern: str = statements[INSTANCE_SID]["Condition"]["StringNotLike"]["aws:userid"]
    return pattern[len(_SESSION) :]


def _parameters_in(statements: Mapping[str, Any]) -> tuple[WindowParameter, ...]:
    arns = statements[PARAMETERS_SID]["NotResource"] if PARAMETERS_SID in statements else ()
    parts = [arn.split(":", 5) for arn in arns]
    return tuple(WindowParameter(each[5][len(_PARAMETER) :], each[3]) for each in parts)


def deadline_of(policy: Mapping[str, Any] | None) -> datetime | None:
    """Return the deadline of an open window's policy; ``None`` for any other."""
    opening = opening_of(policy)
    return opening.deadline if opening else None


def is_closed(policy: Mapping[str, Any] | None) -> bool:
    """Whether this is the policy of a closed window."""
    return policy == closed_policy()


def size_of(policy: Mapping[str, Any]) -> int:
    """Return the number of characters that count towards IAM's limit: all but white space."""
    return len(json.dumps(policy, separators=(",", ":")))


def put_policy(kind: str, name: str, policy: Mapping[str, Any], summary: str) -> Step:
    """Return the step that writes the window's policy. :param kind: ``role`` or ``user``."""
    arguments = {f"{kind}_name": name, "policy_name": WINDOW_POLICY, "policy_document": policy}
    return Step(Kind.UPDATE, f"iam:Put{kind.title()}Policy", arguments, summary)


def close_new_window(kind: str, name: str) -> Step:
    """Return the step that gives a principal without a window a closed one. :param kind: ``role`` or ``user``."""
    return put_policy(kind, name, closed_policy(), f"close the admin window of {kind} '{name}'")


def _after(deadline: datetime) -> dict[str, Any]:
    return {"DateGreaterThan": {"aws:CurrentTime": deadline.strftime(TIME_FORMAT)}}


def _policy(statements: list[dict[str, Any]]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": statements}


def _deny(sid: str, action: str | list[str], **more: Any) -> dict[str, Any]:
    return {"Sid": sid, "Effect": "Deny", "Action": action, **more}
