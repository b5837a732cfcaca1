# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What making a principal needs of the admin window, apart from the rest, which is not sent with it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._names import WINDOW_POLICY
from ansible_collections.cwagent.iam.plugins.module_utils._plan import Step

if TYPE_CHECKING:
    from collections.abc import Mapping


def deny() -> dict[str, Any]:
    """The statement that keeps a principal from writing to Parameter Store."""
    return {"Sid": WINDOW_POLICY, "Effect": "Deny", "Action": "ssm:PutParameter", "Resource": "*"}


def closed_policy() -> dict[str, Any]:
    """The policy that keeps the window closed."""
    return {"Version": "2012-10-17", "Statement": [deny()]}


def put_policy(kind: str, name: str, policy: Mapping[str, Any], summary: str) -> Step:
    """The step that writes the window's policy. :param kind: ``role`` or ``user``."""
    arguments = {f"{kind}_name": name, "policy_name": WINDOW_POLICY, "policy_document": policy}
    return Step(f"iam:Put{kind.title()}Policy", arguments, summary)


def close_new(kind: str, name: str) -> Step:
    """The step that makes a window, closed."""
    return put_policy(kind, name, closed_policy(), f"close the admin window of {kind} '{name}'")
