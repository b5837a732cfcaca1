# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""IAM users with one saved access key each: what is there, what is wanted, and the steps between. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._access_keys import rotation
from ansible_collections.cwagent.iam.plugins.module_utils._access_keys.rotation import (
    REMOVE_CREDENTIALS,
    Keyring,
    Saved,
)
from ansible_collections.cwagent.iam.plugins.module_utils._errors import CwagentError, InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._names import WINDOW_POLICY
from ansible_collections.cwagent.iam.plugins.module_utils._plan import GONE, NEW, STILL_HELD, Step
from ansible_collections.cwagent.iam.plugins.module_utils._principal.plan import (
    Declared,
    Held,
    delete_inline,
    detach,
    foreign,
    give,
    render_held,
    settle,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from ansible_collections.cwagent.iam.plugins.module_utils._access_keys.model import AccessKey
    from ansible_collections.cwagent.iam.plugins.module_utils._access_keys.rotation import KeyRules


@dataclass(frozen=True)
class CredentialKind:
    """A way to sign in as a user besides access keys; IAM deletes no user that has one.

    :param listing: the action that lists them; ``answer`` and ``id`` are where their ids stand in what it answers.
    :param deletion: the action that takes one away; ``argument`` is where it takes the id.
    """

    words: str
    listing: str
    answer: str
    id: str
    deletion: str
    argument: str


# https://docs.aws.amazon.com/IAM/latest/APIReference/API_DeleteUser.html
LOGIN = CredentialKind(
    "login profile", "iam:GetLoginProfile", "LoginProfile", "UserName", "iam:DeleteLoginProfile", "user_name"
)
MFA = CredentialKind(
    "MFA device", "iam:ListMFADevices", "MFADevices", "SerialNumber", "iam:DeactivateMFADevice", "serial_number"
)
SSH = CredentialKind(
    "SSH key",
    "iam:ListSSHPublicKeys",
    "SSHPublicKeys",
    "SSHPublicKeyId",
    "iam:DeleteSSHPublicKey",
    "ssh_public_key_id",
)
SERVICE = CredentialKind(
    "service-specific credential",
    "iam:ListServiceSpecificCredentials",
    "ServiceSpecificCredentials",
    "ServiceSpecificCredentialId",
    "iam:DeleteServiceSpecificCredential",
    "service_specific_credential_id",
)
CERTIFICATE = CredentialKind(
    "signing certificate",
    "iam:ListSigningCertificates",
    "Certificates",
    "CertificateId",
    "iam:DeleteSigningCertificate",
    "certificate_id",
)
CREDENTIAL_KINDS = (LOGIN, MFA, SSH, SERVICE, CERTIFICATE)


@dataclass(frozen=True)
class Credential:
    """One of these that a user has."""

    kind: CredentialKind
    id: str

    def __str__(self) -> str:
        return self.kind.words if self.kind is LOGIN else f"{self.kind.words} {self.id}"


@dataclass(frozen=True)
class User:
    """A user as it is.

    :param keys: empty where they were not asked for, as are ``credentials``.
    """

    name: str
    held: Held = field(default_factory=Held)
    groups: frozenset[str] = frozenset()
    keys: tuple[AccessKey, ...] = ()
    arn: str | None = None
    credentials: tuple[Credential, ...] = ()


@dataclass(frozen=True)
class State:
    """A user and what is saved of it; either can be there without the other.

    :param saved: ``None`` where keys are not managed.
    """

    name: str
    user: User | None = None
    saved: Saved | None = None


def keyring(now: State, want: Declared, rules: KeyRules, time: datetime) -> Keyring | None:
    """The user's keys with what is wanted of them; ``None`` where they are not managed.

    Where there is an admin window, keys are switched on only while it is open.

    :param time: the present, by the clock of AWS.
    """
    if now.saved is None:
        return None
    keys = now.user.keys if now.user else ()
    window = want.admin_window or (now.user is not None and WINDOW_POLICY in now.user.held.inline)
    return Keyring(now.name, keys, now.saved, replace(rules, inactive=window), time)


def state_after(now: State, want: Declared, ring: Keyring | None) -> State:
    """The state that the plan leads to. The id of a key that is yet to be made is empty, or ``None`` where saved."""
    user = now.user or User(now.name, Held(path=want.path or "/"))
    groups = frozenset() if want.exclusive else user.groups
    user = replace(user, held=want.held_after(user.held), groups=groups)
    if ring is None:
        return replace(now, user=user)
    keys = ring.after()
    made = any(not key.id for key in keys)
    saved = Saved(ring.saved.where, key_id=None if made else ring.saved.key_id)
    return replace(now, user=replace(user, keys=keys), saved=saved)


def plan(now: State, want: Declared, ring: Keyring | None) -> list[Step]:
    """The steps from one user as it is to the user as it is wanted.

    :raises CwagentError: the user cannot be brought there.
    """
    then = state_after(now, want, ring)
    if now.user and want.path not in (None, now.user.held.path):
        raise InvalidInput(
            f"user '{now.name}' exists with path {now.user.held.path}, and this module does not move it to "
            f"{want.path}; leave the path out, or remove the user first."
        )
    if now.user and then.user:
        steps = settle("user", now.name, now.user.held, then.user.held)
        steps += [_leave(now.name, group) for group in sorted(now.user.groups - then.user.groups)]
    elif then.user:
        given = give("user", now.name, then.user.held, Held())
        steps = [_create(then.user), *(replace(step, retry_when=NEW) for step in given)]
    return steps + ring.steps(new_user=now.user is None) if ring else steps


def _create(user: User) -> Step:
    arguments: dict[str, Any] = {"user_name": user.name, "path": user.held.path}
    optional = {"permissions_boundary": user.held.boundary, "tags": user.held.tags}
    arguments.update({key: value for key, value in optional.items() if value})
    return Step("iam:CreateUser", arguments, f"create user '{user.name}'")


def _leave(user: str, group: str) -> Step:
    words = f"take user '{user}' out of group '{group}'"
    return Step("iam:RemoveUserFromGroup", {"group_name": group, "user_name": user}, words, done_when=GONE)


def stays(now: State, want: Declared, ring: Keyring | None) -> list[str]:
    """What is on the user that is not ours and so keeps it from being deleted, in words."""
    if now.user is None or want.exclusive:
        return []
    return [
        *foreign(now.user.held, want),
        *(f"group '{name}'" for name in sorted(now.user.groups)),
        *(f"access key {key.id}" for key in _foreign_keys(now.user, ring)),
        *map(str, now.user.credentials),
    ]


def _foreign_keys(user: User, ring: Keyring | None) -> tuple[AccessKey, ...]:
    return ring.others if ring else user.keys


def absent_after(now: State, want: Declared, ring: Keyring | None) -> State:
    """What is left when ours is taken down: of a user with foreign things on it, all but ours."""
    if now.user and stays(now, want, ring):
        held = want.held_without_ours(now.user.held)
        return State(now.name, replace(now.user, held=held, keys=_foreign_keys(now.user, ring)))
    return State(now.name)


def plan_absent(now: State, want: Declared, ring: Keyring | None) -> list[Step]:
    """The steps that take the user down, in an order IAM accepts.

    :raises CwagentError: what is saved cannot be taken down with it.
    """
    if now.saved and now.saved.problem:
        raise CwagentError(now.saved.problem)
    left = absent_after(now, want, ring)
    steps: list[Step] = []
    if now.user:
        kept = left.user.keys if left.user else ()
        steps += [
            rotation.delete(now.name, key.id, f"delete access key {key.id} of user '{now.name}'")
            for key in now.user.keys
            if key not in kept
        ]
    if now.saved and (now.saved.key_id or now.saved.pending is not None):
        words = f"remove {now.saved.where}"
        steps.append(Step(REMOVE_CREDENTIALS, {"user_name": now.name}, words))
    if now.user and left.user:
        steps += settle("user", now.name, now.user.held, left.user.held)
    elif now.user:
        steps += detach("user", now.name, now.user.held.policies)
        steps += delete_inline("user", now.name, now.user.held.inline)
        steps += [_leave(now.name, group) for group in sorted(now.user.groups)]
        steps += [step for credential in now.user.credentials for step in _take_away(now.name, credential)]
        words = f"delete user '{now.name}'"
        steps.append(Step("iam:DeleteUser", {"user_name": now.name}, words, done_when=GONE, retry_when=STILL_HELD))
    return steps


def _take_away(user: str, credential: Credential) -> list[Step]:
    kind, words = credential.kind, f"{credential} of user '{user}'"
    arguments = {"user_name": user, kind.argument: credential.id}
    if kind is not MFA:
        return [Step(kind.deletion, arguments, f"delete {words}", done_when=GONE)]
    steps = [Step(kind.deletion, arguments, f"deactivate {words}", done_when=GONE)]
    if ":mfa/" in credential.id:  # a virtual one outlives its user, and its name could not be used again
        serial = {"serial_number": credential.id}
        steps.append(Step("iam:DeleteVirtualMFADevice", serial, f"delete {words}", done_when=GONE))
    return steps


def render(states: Mapping[str, State], time: datetime) -> dict[str, Any]:
    """The users as the result and the diff show them, in the order asked for."""
    return {"users": [_render(state, state.user, time) for state in states.values() if state.user]}


def _render(state: State, user: User, time: datetime) -> dict[str, Any]:
    return {
        "name": user.name,
        "arn": user.arn,
        **render_held(user.held),
        "groups": sorted(user.groups),
        "access_keys": rotation.report(user.keys, time),
        "saved": state.saved
        and {"access_key_id": _known(user.keys, state.saved.key_id), "location": state.saved.where},
    }


def _known(keys: Iterable[AccessKey], key_id: str | None) -> str | None:
    return next((key.id for key in keys if key.id == key_id), None)
