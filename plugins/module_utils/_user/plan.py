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
    SavedCredentials,
)
from ansible_collections.cwagent.iam.plugins.module_utils._errors import CwagentError, InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._names import WINDOW_POLICY
from ansible_collections.cwagent.iam.plugins.module_utils._plan import (
    DELETE_RETRY_CODES,
    NEW_ENTITY_RETRY_CODES,
    NOT_FOUND_CODES,
    Step,
)
from ansible_collections.cwagent.iam.plugins.module_utils._principal.plan import (
    Declared,
    PrincipalState,
    delete_inline_steps,
    detach,
    grant_steps,
    principal_to_dict,
    unmanaged,
    update_steps,
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
    principal: PrincipalState = field(default_factory=PrincipalState)
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
    saved: SavedCredentials | None = None


def keyring(current: State, desired: Declared, rules: KeyRules, time: datetime) -> Keyring | None:
    """The user's keys with what is wanted of them; ``None`` where they are not managed.

    Where there is an admin window, keys are switched on only while it is open.

    :param time: the present, by the clock of AWS.
    """
    if current.saved is None:
        return None
    keys = current.user.keys if current.user else ()
    window = desired.admin_window or (current.user is not None and WINDOW_POLICY in current.user.principal.inline)
    return Keyring(current.name, keys, current.saved, replace(rules, inactive=window), time)


def planned_state(current: State, desired: Declared, ring: Keyring | None) -> State:
    """The state that the plan leads to. The id of a key that is yet to be made is empty, or ``None`` where saved."""
    user = current.user or User(current.name, PrincipalState(path=desired.path or "/"))
    groups = frozenset() if desired.exclusive else user.groups
    user = replace(user, principal=desired.planned_principal(user.principal), groups=groups)
    if ring is None:
        return replace(current, user=user)
    keys = ring.after()
    made = any(not key.id for key in keys)
    saved = SavedCredentials(ring.saved.where, key_id=None if made else ring.saved.key_id)
    return replace(current, user=replace(user, keys=keys), saved=saved)


def plan(current: State, desired: Declared, ring: Keyring | None) -> list[Step]:
    """The steps from one user as it is to the user as it is wanted.

    :raises CwagentError: the user cannot be brought there.
    """
    planned = planned_state(current, desired, ring)
    if current.user and desired.path not in (None, current.user.principal.path):
        raise InvalidInput(
            f"user '{current.name}' exists with path {current.user.principal.path}, and this module does not move it to "
            f"{desired.path}; leave the path out, or remove the user first."
        )
    if current.user and planned.user:
        steps = update_steps("user", current.name, current.user.principal, planned.user.principal)
        steps += [
            _remove_from_group(current.name, group) for group in sorted(current.user.groups - planned.user.groups)
        ]
    elif planned.user:
        given = grant_steps("user", current.name, planned.user.principal, PrincipalState())
        steps = [_create(planned.user), *(replace(step, retry_when=NEW_ENTITY_RETRY_CODES) for step in given)]
    return steps + ring.steps(new_user=current.user is None) if ring else steps


def _create(user: User) -> Step:
    arguments: dict[str, Any] = {"user_name": user.name, "path": user.principal.path}
    optional = {"permissions_boundary": user.principal.boundary, "tags": user.principal.tags}
    arguments.update({key: value for key, value in optional.items() if value})
    return Step("iam:CreateUser", arguments, f"create user '{user.name}'")


def _remove_from_group(user: str, group: str) -> Step:
    words = f"take user '{user}' out of group '{group}'"
    return Step("iam:RemoveUserFromGroup", {"group_name": group, "user_name": user}, words, done_when=NOT_FOUND_CODES)


def blockers(current: State, desired: Declared, ring: Keyring | None) -> list[str]:
    """What is on the user that is not ours and so keeps it from being deleted, in words."""
    if current.user is None or desired.exclusive:
        return []
    return [
        *unmanaged(current.user.principal, desired),
        *(f"group '{name}'" for name in sorted(current.user.groups)),
        *(f"access key {key.id}" for key in _foreign_keys(current.user, ring)),
        *map(str, current.user.credentials),
    ]


def _foreign_keys(user: User, ring: Keyring | None) -> tuple[AccessKey, ...]:
    return ring.others if ring else user.keys


def planned_absence(current: State, desired: Declared, ring: Keyring | None) -> State:
    """What is left when ours is taken down: of a user with foreign things on it, all but ours."""
    if current.user and blockers(current, desired, ring):
        principal = desired.without_managed(current.user.principal)
        return State(current.name, replace(current.user, principal=principal, keys=_foreign_keys(current.user, ring)))
    return State(current.name)


def plan_absent(current: State, desired: Declared, ring: Keyring | None) -> list[Step]:
    """The steps that take the user down, in an order IAM accepts.

    :raises CwagentError: what is saved cannot be taken down with it.
    """
    if current.saved and current.saved.problem:
        raise CwagentError(current.saved.problem)
    left = planned_absence(current, desired, ring)
    steps: list[Step] = []
    if current.user:
        kept = left.user.keys if left.user else ()
        steps += [
            rotation.delete(current.name, key.id, f"delete access key {key.id} of user '{current.name}'")
            for key in current.user.keys
            if key not in kept
        ]
    if current.saved and (current.saved.key_id or current.saved.pending is not None):
        words = f"remove {current.saved.where}"
        steps.append(Step(REMOVE_CREDENTIALS, {"user_name": current.name}, words))
    if current.user and left.user:
        steps += update_steps("user", current.name, current.user.principal, left.user.principal)
    elif current.user:
        steps += detach("user", current.name, current.user.principal.policies)
        steps += delete_inline_steps("user", current.name, current.user.principal.inline)
        steps += [_remove_from_group(current.name, group) for group in sorted(current.user.groups)]
        steps += [
            step for credential in current.user.credentials for step in _delete_credential(current.name, credential)
        ]
        words = f"delete user '{current.name}'"
        steps.append(
            Step(
                "iam:DeleteUser",
                {"user_name": current.name},
                words,
                done_when=NOT_FOUND_CODES,
                retry_when=DELETE_RETRY_CODES,
            )
        )
    return steps


def _delete_credential(user: str, credential: Credential) -> list[Step]:
    kind, words = credential.kind, f"{credential} of user '{user}'"
    arguments = {"user_name": user, kind.argument: credential.id}
    if kind is not MFA:
        return [Step(kind.deletion, arguments, f"delete {words}", done_when=NOT_FOUND_CODES)]
    steps = [Step(kind.deletion, arguments, f"deactivate {words}", done_when=NOT_FOUND_CODES)]
    if ":mfa/" in credential.id:  # a virtual one outlives its user, and its name could not be used again
        serial = {"serial_number": credential.id}
        steps.append(Step("iam:DeleteVirtualMFADevice", serial, f"delete {words}", done_when=NOT_FOUND_CODES))
    return steps


def render(states: Mapping[str, State], time: datetime) -> dict[str, Any]:
    """The users as the result and the diff show them, in the order asked for."""
    return {"users": [_render(state, state.user, time) for state in states.values() if state.user]}


def _render(state: State, user: User, time: datetime) -> dict[str, Any]:
    return {
        "name": user.name,
        "arn": user.arn,
        **principal_to_dict(user.principal),
        "groups": sorted(user.groups),
        "access_keys": rotation.report(user.keys, time),
        "saved": state.saved
        and {"access_key_id": _known(user.keys, state.saved.key_id), "location": state.saved.where},
    }


def _known(keys: Iterable[AccessKey], key_id: str | None) -> str | None:
    return next((key.id for key in keys if key.id == key_id), None)
