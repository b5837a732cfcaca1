# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The document of the admin window: one inline policy that denies ``ssm:PutParameter``. Pure.

An explicit Deny overrides every Allow and applies to existing sessions too, so it also revokes the permission from
credentials that were copied off an instance.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html

The modules for roles and users import this file and not ``plan.py``, which keeps what is sent to the host small.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._names import WINDOW_POLICY
from ansible_collections.cwagent.iam.plugins.module_utils._plan import Kind, Step

if TYPE_CHECKING:
    from collections.abc import Mapping

TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"


def closed_policy() -> dict[str, Any]:
    """Return the policy of a closed window."""
    return {"Version": "2012-10-17", "Statement": [_deny_statement()]}


def open_policy(deadline: datetime) -> dict[str, Any]:
    """Return the policy of a window that is open until a deadline. :param deadline: in UTC."""
    condition = {"DateGreaterThan": {"aws:CurrentTime": deadline.strftime(TIME_FORMAT)}}
    return {"Version": "2012-10-17", "Statement": [{**_deny_statement(), "Condition": condition}]}


def deadline_of(policy: Mapping[str, Any] | None) -> datetime | None:
    """Return the deadline of an open window's policy; ``None`` for any policy that ``open_policy`` does not return."""
    try:
        text = (policy or {})["Statement"][0]["Condition"]["DateGreaterThan"]["aws:CurrentTime"]
        deadline = datetime.strptime(text, TIME_FORMAT).replace(tzinfo=timezone.utc)
    except (KeyError, IndexError, TypeError, ValueError):
        return None
    return deadline if policy == open_policy(deadline) else None


def put_policy(kind: str, name: str, policy: Mapping[str, Any], summary: str) -> Step:
    """Return the step that writes the window's policy. :param kind: ``role`` or ``user``."""
    arguments = {f"{kind}_name": name, "policy_name": WINDOW_POLICY, "policy_document": policy}
    return Step(Kind.UPDATE, f"iam:Put{kind.title()}Policy", arguments, summary)


def close_new_window(kind: str, name: str) -> Step:
    """Return the step that gives a principal without a window a closed one. :param kind: ``role`` or ``user``."""
    return put_policy(kind, name, closed_policy(), f"close the admin window of {kind} '{name}'")


def _deny_statement() -> dict[str, Any]:
    return {"Sid": WINDOW_POLICY, "Effect": "Deny", "Action": "ssm:PutParameter", "Resource": "*"}
