"""The interface between the server and an AWS emulator."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from typing import Any, Protocol

from werkzeug.wrappers import Request, Response

ACCOUNT = "123456789012"
"""The account of root's key. With ministack, others are created by AWS Organizations."""

ROOT_KEY = "test"
EC2_PRINCIPALS = frozenset({"ec2.amazonaws.com", "ec2.amazonaws.com.cn"})
SESSION_SECONDS = 6 * 3600
"""How long instance credentials are valid; about six hours on AWS."""

RUN_COMMAND_ACTIONS = frozenset(
    {
        *("SendCommand", "CancelCommand", "GetCommandInvocation", "ListCommandInvocations", "ListCommands"),
        "DescribeInstanceInformation",
    }
)
"""The actions of Systems Manager that ``run_command.py`` answers."""

HYBRID_ACTIONS = frozenset(
    {
        *("CreateActivation", "DescribeActivations", "DeleteActivation"),
        *("RegisterManagedInstance", "DeregisterManagedInstance"),
    }
)
TAG_ACTIONS = frozenset({"AddTagsToResource", "ListTagsForResource", "RemoveTagsFromResource"})
"""The actions that ``hybrid.py`` answers; of these, those for nodes."""

PARAMETER_VERSIONS = 100
"""How many versions of a parameter Parameter Store keeps."""
LABELS = 10
"""How many labels a version of a parameter can have."""
ATTACHED_POLICIES = 10
"""How many managed policies a role or user can have, unless the quota is increased."""
NOT_ACTIVE = "IncorrectState", "The association {} is not the active association"
"""EC2's error code and message for replacing an association on an instance that is not running."""


@dataclass(frozen=True)
class Profile:
    """An instance profile that is associated with an instance, and its current role."""

    arn: str
    id: str
    role_arn: str = ""
    role_id: str = ""
    trusts_ec2: bool = False

    @property
    def role(self) -> str:
        return self.role_arn.rpartition("/")[2]


@dataclass(frozen=True)
class Instance:
    id: str
    account: str
    region: str
    image: str
    type: str
    running: bool
    profile: Profile | None


@dataclass(frozen=True)
class Role:
    """:param trust: its trust policy, as JSON."""

    arn: str
    id: str
    trust: str


@dataclass(frozen=True)
class Credentials:
    access_key: str
    secret: str
    token: str


class Backend(Protocol):
    """The AWS accounts.

    ``respond`` answers a call. ``authorize`` answers it if it is denied. ``restore`` brings empty accounts to a state
    that ``save`` has returned, and to its time. The others use the emulator's internal state. ``secret`` is empty for
    an unknown key. ``node_tags`` has the tags of a hybrid server, which are not in that state.
    """

    node_tags: Callable[[str], dict[str, str]]

    def respond(self, request: Request, body: bytes) -> Response: ...
    def authorize(self, request: Request, body: bytes) -> Response | None: ...
    def reset(self) -> None: ...
    def save(self) -> Any: ...
    def restore(self, saved: Any) -> None: ...
    def shift_clock(self, seconds: float) -> None: ...
    def now(self) -> datetime: ...
    def principal(self, access_key: str, region: str) -> str: ...
    def secret(self, access_key: str, region: str) -> str: ...
    def used(self, access_key: str, region: str, service: str) -> None: ...
    def instances(self) -> list[Instance]: ...
    def role(self, arn: str) -> Role | None: ...
    def allows(self, profile: Profile, action: str) -> bool: ...
    def session(self, instance: Instance, profile: Profile) -> Credentials: ...


def oldest_has_label(name: str, version: int) -> tuple[str, str]:
    """The error code and message for storing one version more than Parameter Store keeps."""
    why = f"Version {version}, the oldest version, can't be deleted because it has a label associated with it."
    where = f"You attempted to create a new version of {name} by calling the PutParameter API with the overwrite flag."
    return "ParameterMaxVersionLimitExceeded", f"{where} {why} Move the label to another version, and try again."


def is_label(text: str) -> bool:
    """Whether Parameter Store accepts a label."""
    return bool(re.fullmatch(r"[A-Za-z_.-][\w.-]{0,99}", text, re.ASCII)) and not re.match("(?i)aws|ssm", text)


def account_of(arn: str) -> str:
    return arn.split(":")[4] if arn else ACCOUNT


def is_answered_here(action: str, params: dict[str, Any]) -> bool:
    """Whether ``run_command.py`` or ``hybrid.py`` answers an action of Systems Manager instead of the backend."""
    of_node = action in TAG_ACTIONS and params.get("ResourceType") == "ManagedInstance"
    return of_node or action in RUN_COMMAND_ACTIONS | HYBRID_ACTIONS


def internals(module: str) -> Any:
    """A module of an emulator, untyped because the backends use more than its public interface."""
    return import_module(module)


def trusts_ec2(document: str) -> bool:
    """Whether a trust policy allows EC2 to assume the role. Conditions are ignored."""
    statements = json.loads(document).get("Statement", [])
    return any(
        statement["Effect"] == "Allow"
        and EC2_PRINCIPALS.intersection(_listed(statement["Principal"].get("Service", [])))
        for statement in (statements if isinstance(statements, list) else [statements])
    )


def _listed(names: str | list[str]) -> list[str]:
    return [names] if isinstance(names, str) else names
