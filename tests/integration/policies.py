"""The policies in examples/policies, and a user of the emulator that has some of them."""

from __future__ import annotations

import json
from typing import Any

from emulator import Emulator
from harness import CHECKOUT

POLICIES = CHECKOUT / "examples" / "policies"

Policy = dict[str, Any]


def example(name: str) -> Policy:
    found: Policy = json.loads((POLICIES / f"{name}.json").read_text())
    return found


def actions(document: Policy) -> set[str]:
    return {action for statement in document["Statement"] for action in _listed(statement["Action"])}


def without(document: Policy, *removed: str) -> Policy:
    kept = [
        {**statement, "Action": left}
        for statement in document["Statement"]
        if (left := [action for action in _listed(statement["Action"]) if action not in removed])
    ]
    return {**document, "Statement": kept}


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def permit(aws: Emulator, *documents: Policy) -> None:
    """Replace the policies of the controller's user."""
    statements = [statement for document in documents for statement in document["Statement"]]
    document = {"Version": "2012-10-17", "Statement": statements}
    aws.client("iam").put_user_policy(UserName="controller", PolicyName="duty", PolicyDocument=json.dumps(document))
