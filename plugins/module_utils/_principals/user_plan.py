# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""IAM users with one saved access key each: current and planned state, and the steps between them. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING, Any

from .._ground.errors import CwagentError, InvalidInput
from .._ground.names import NOT_CREATED, SAVED_KEY_TAG, WINDOW_POLICY
from .._ground.plan import EXISTS_CODES, NEW_ENTITY_RETRY_CODES, NOT_FOUND_CODES, Kind, Step
from .._keys.key_rotation import (
    DELETE_CREDENTIALS,
    UNUSED_FOR,
    Keyring,
    SavedCredentials,
    delete_key,
    keys_to_dicts,
    set_key_status,
)
from .policies import check_fitted
from .principal_plan import (
    MAX_POLICIES,
    Declared,
    PrincipalState,
    check_adoption,
    delete_entity,
    delete_inline_steps,
    detach_steps,
    grant_steps,
    kept_warning,
    new_principal,
    principal_to_dict,
    tag_steps,
    unmanaged_policies,
    update_steps,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from .._keys.key_rotation import AccessKey, KeyRules


@dataclass(frozen=True)
class CredentialKind:
    """A way to sign in as a user besides access keys; IAM does not delete a user that has one.

    :param label: its name in messages.
    :param list_action: the action that lists them, with the keys of the list and of the id in its answer.
    :param delete_action: the action that deletes one, with the argument for the id.
    """

    label: str
    list_action: str
    list_key: str
    id_key: str
    delete_action: str
    id_argument: str


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
    """A credential of a user besides access keys."""

    kind: CredentialKind
    id: str

    def __str__(self) -> str:
        return self.kind.label if self.kind is LOGIN else f"{self.kind.label} {self.id}"


@dataclass(frozen=True)
class User:
    """A user in IAM.

    :param keys: the access keys. Like ``credentials``, they are empty if they were not read.
    """

    name: str
    principal: PrincipalState = field(default_factory=PrincipalState)
    groups: frozenset[str] = frozenset()
    keys: tuple[AccessKey, ...] = ()
    arn: str | None = None
    credentials: tuple[Credential, ...] = ()


@dataclass(frozen=True)
class State:
    """A user and its saved key; either can exist without the other.

    :param read_at: when it was read, according to the clock of AWS.
    :param saved: ``None`` if keys are not managed.
    :param error: why the user could not be read. The other values are then incomplete.
    :param max_policies: how many managed policies a user can have.
    """

    name: str
    read_at: datetime
    user: User | None = None
    saved: SavedCredentials | None = None
    error: CwagentError | None = None
    max_policies: int = MAX_POLICIES


def keyring(current: State, desired: Declared, rules: KeyRules) -> Keyring | None:
    """Return the user's keys with the rules for them; ``None`` if they are not managed.

    If there is an admin window, keys are active only while it is open.
    """
    if current.saved is None:
        return None
    keys = current.user.keys if current.user else ()
    has_window = desired.admin_window or (current.user is not None and WINDOW_POLICY in current.user.principal.inline)
    return Keyring(current.name, keys, current.saved, replace(rules, create_inactive=has_window), current.read_at)


def planned_state(current: State, desired: Declared, ring: Keyring | None) -> State:
    """Return the state after all steps.

    The ID of a key that does not exist yet is empty in the user, and ``None`` in the saved key.
    """
    user = current.user or User(current.name, new_principal(desired.path))
    groups = frozenset() if desired.exclusive else user.groups
    user = replace(user, principal=desired.planned_state(user.principal), groups=groups)
    if ring is None:
        return replace(current, user=user)
    keys = ring.planned_keys()
    has_new_key = any(not key.id for key in keys)
    key_id = None if has_new_key else ring.saved.key_id
    if ring.rules.create_inactive:
        tags = {**user.principal.tags, SAVED_KEY_TAG: key_id or ""}
        user = replace(user, principal=replace(user.principal, tags=tags))
    replaced = ring.saved_key.id if has_new_key and ring.saved_key else ring.saved.replaced_key_id
    saved = SavedCredentials(ring.saved.where, key_id=key_id, replaced_key_id=replaced)
    return replace(current, user=replace(user, keys=keys), saved=saved)


def tag_saved_key(user: str, key_id: str) -> Step:
    """Return the step that tags an admin user with its saved key. The admin window changes no other key."""
    [step] = tag_steps("user", user, {}, {SAVED_KEY_TAG: key_id})
    return replace(step, retry_when=NEW_ENTITY_RETRY_CODES)


def _without_new_key(planned: PrincipalState, current: PrincipalState) -> PrincipalState:
    """Return the planned state with the current tag of the saved key, if the new key does not exist yet."""
    if planned.tags.get(SAVED_KEY_TAG) != "":
        return planned
    kept = {key: value for key, value in current.tags.items() if key == SAVED_KEY_TAG}
    others = {key: value for key, value in planned.tags.items() if key != SAVED_KEY_TAG}
    return replace(planned, tags={**others, **kept})


def plan(current: State, desired: Declared, ring: Keyring | None) -> list[Step]:
    """Plan the steps from the current user to the desired one.

    :raises CwagentError: the user cannot be changed to that.
    """
    planned = planned_state(current, desired, ring)
    if current.user and desired.path not in (None, current.user.principal.path):
        raise InvalidInput(
            f"user '{current.name}' exists with path {current.user.principal.path}, and this module does not move it "
            f"to {desired.path}; leave the path out, or delete the user first."
        )
    if desired.needs_boundary and planned.user:
        check_fitted("user", current.name, planned.user.principal.boundary)
    if current.user and planned.user:
        check_adoption("user", current.name, current.user.principal, desired)
        principal = _without_new_key(planned.user.principal, current.user.principal)
        steps = update_steps("user", current.name, current.user.principal, principal, current.max_policies)
        steps += [
            _remove_from_group(current.name, group) for group in sorted(current.user.groups - planned.user.groups)
        ]
    elif planned.user:
        grants = grant_steps("user", current.name, planned.user.principal, PrincipalState())
        new = replace(planned.user, principal=_without_new_key(planned.user.principal, PrincipalState()))
        steps = [_create(new), *(replace(step, retry_when=NEW_ENTITY_RETRY_CODES) for step in grants)]
    return steps + ring.steps(is_new_user=current.user is None) if ring else steps


def _create(user: User) -> Step:
    arguments: dict[str, Any] = {"user_name": user.name, "path": user.principal.path}
    optional = {"permissions_boundary": user.principal.boundary, "tags": user.principal.tags}
    arguments.update({key: value for key, value in optional.items() if value})
    return Step(Kind.CREATE, "iam:CreateUser", arguments, f"create user '{user.name}'", stale_when=EXISTS_CODES)


def _remove_from_group(user: str, group: str) -> Step:
    arguments = {"group_name": group, "user_name": user}
    summary = f"remove user '{user}' from group '{group}'"
    return Step(Kind.UPDATE, "iam:RemoveUserFromGroup", arguments, summary, done_when=NOT_FOUND_CODES)


def blockers(current: State, desired: Declared, ring: Keyring | None) -> list[str]:
    """List the reasons that prevent the deletion of the user."""
    if current.user is None:
        return []
    found = [] if current.user.principal.is_created else [NOT_CREATED]
    if desired.exclusive:
        return found
    return [
        *found,
        *unmanaged_policies(current.user.principal, desired),
        *(f"group '{name}'" for name in sorted(current.user.groups)),
        *(f"access key {key.id}" for key in _unmanaged_keys(current.user, ring)),
        *map(str, current.user.credentials),
    ]


def _unmanaged_keys(user: User, ring: Keyring | None) -> tuple[AccessKey, ...]:
    return ring.unmanaged if ring else user.keys


def planned_absence(current: State, desired: Declared, ring: Keyring | None) -> State:
    """Return the state after the deletion. A user with unmanaged things keeps them and loses the rest."""
    if current.user and blockers(current, desired, ring):
        principal = desired.remove_managed(current.user.principal)
        kept = replace(current.user, principal=principal, keys=_unmanaged_keys(current.user, ring))
        return State(current.name, current.read_at, kept)
    return State(current.name, current.read_at)


def plan_absent(current: State, desired: Declared, ring: Keyring | None) -> list[Step]:
    """Plan the steps that delete the user, in an order that IAM accepts.

    :raises CwagentError: the saved key cannot be deleted with the user.
    """
    if current.saved and current.saved.problem and not current.saved.is_being_deleted:
        raise CwagentError(current.saved.problem)
    kept = planned_absence(current, desired, ring).user
    steps: list[Step] = []
    if current.user:
        kept_keys = kept.keys if kept else ()
        steps += [delete_key(current.name, key.id) for key in current.user.keys if key not in kept_keys]
    if current.saved and (current.saved.key_id or current.saved.record is not None):
        summary = f"delete {current.saved.where}"
        steps.append(Step(Kind.DELETE, DELETE_CREDENTIALS, {"user_name": current.name}, summary))
    if current.user and kept:
        steps += update_steps("user", current.name, current.user.principal, kept.principal)
    elif current.user:
        steps += detach_steps("user", current.name, current.user.principal.policies)
        steps += delete_inline_steps("user", current.name, current.user.principal.inline)
        steps += [_remove_from_group(current.name, group) for group in sorted(current.user.groups)]
        steps += [
            step for credential in current.user.credentials for step in _delete_credential(current.name, credential)
        ]
        steps.append(delete_entity("user", current.name))
    return steps


def _delete_credential(user: str, credential: Credential) -> list[Step]:
    kind, subject = credential.kind, f"{credential} of user '{user}'"
    arguments = {"user_name": user, kind.id_argument: credential.id}
    if kind is not MFA:
        return [Step(Kind.DELETE, kind.delete_action, arguments, f"delete {subject}", done_when=NOT_FOUND_CODES)]
    steps = [Step(Kind.UPDATE, kind.delete_action, arguments, f"deactivate {subject}", done_when=NOT_FOUND_CODES)]
    if ":mfa/" in credential.id:  # a virtual device outlives its user, and its name could not be used again
        serial = {"serial_number": credential.id}
        summary = f"delete {subject}"
        steps.append(Step(Kind.DELETE, "iam:DeleteVirtualMFADevice", serial, summary, done_when=NOT_FOUND_CODES))
    return steps


def to_dict(states: Mapping[str, State]) -> dict[str, Any]:
    """Render the users for the result and the diff, in the order of the option."""
    return {"users": [_user_to_dict(state, state.user) for state in states.values() if state.user]}


def _user_to_dict(state: State, user: User) -> dict[str, Any]:
    return {
        "name": user.name,
        "arn": user.arn,
        **principal_to_dict(user.principal),
        "groups": sorted(user.groups),
        "access_keys": keys_to_dicts(user.keys, state.read_at),
        "saved": state.saved
        and {"access_key_id": _find_key_id(user.keys, state.saved.key_id), "location": state.saved.where},
    }


def _find_key_id(keys: Iterable[AccessKey], key_id: str | None) -> str | None:
    return next((key.id for key in keys if key.id == key_id), None)


class RetirementPhase(Enum):
    """The progress of a retirement, which decides what a run does next."""

    WAITING = "waiting"
    BLOCKED = "blocked"
    IN_USE = "in_use"
    DEACTIVATING = "deactivating"
    GRACE_PERIOD = "grace_period"
    DELETING = "deleting"


@dataclass(frozen=True)
class Retirement:
    """A user that is to be deleted as soon as nothing uses its keys.

    :param ring: its keys with their last use.
    :param hold: why nothing is done yet; ``None`` if all servers of the user work without its keys.
    """

    current: State
    desired: Declared
    ring: Keyring
    hold: str | None = None

    @property
    def phase(self) -> RetirementPhase | None:
        """The phase, according to IAM and the saved key; ``None`` if there is nothing to retire."""
        user = self.current.user
        if user is None or not (user.principal.is_marked or user.keys):
            return None
        if self.hold is not None:
            return RetirementPhase.WAITING
        if not user.principal.is_marked or self._problem or self.ring.unmanaged:
            return RetirementPhase.BLOCKED
        if self._active:
            is_unused = all(self.ring.unused_for(key) >= UNUSED_FOR for key in self._active)
            return RetirementPhase.DEACTIVATING if is_unused else RetirementPhase.IN_USE
        delete_after = self.ring.rules.key_delete_after_days
        is_over = all(self.ring.unused_for(key) >= delete_after for key in self.ring.keys)
        return RetirementPhase.DELETING if is_over else RetirementPhase.GRACE_PERIOD

    @property
    def _active(self) -> list[AccessKey]:
        return [key for key in self.ring.keys if key.active]

    @property
    def _is_of_others(self) -> bool:
        return self.current.user is not None and not self.current.user.principal.is_marked

    @property
    def _problem(self) -> str | None:
        """Why the saved key cannot be read. Nobody knows then which keys are managed."""
        return None if self.ring.saved.is_being_deleted else self.ring.saved.problem

    @property
    def planned_state(self) -> State:
        """The state after all steps."""
        if self.phase is RetirementPhase.DELETING:
            return planned_absence(self.current, self.desired, self.ring)
        if self.current.user is None or self.phase is not RetirementPhase.DEACTIVATING:
            return self.current
        keys = tuple(replace(key, active=False) for key in self.ring.keys)
        return replace(self.current, user=replace(self.current.user, keys=keys))

    @property
    def steps(self) -> list[Step]:
        """The steps of the phase.

        :raises CwagentError: the saved key cannot be read.
        """
        if self.phase is RetirementPhase.BLOCKED and self._problem and not self._is_of_others:
            raise CwagentError(self._problem)
        if self.phase is RetirementPhase.DEACTIVATING:
            return [set_key_status(self.current.name, key.id, active=False) for key in self._active]
        return plan_absent(self.current, self.desired, self.ring) if self.phase is RetirementPhase.DELETING else []

    @property
    def blockers(self) -> list[str]:
        """The reasons why nothing is done, or why the user is kept when its keys are deleted."""
        if self.phase is RetirementPhase.WAITING:
            return [str(self.hold)]
        if self.phase is RetirementPhase.DELETING:
            return blockers(self.current, self.desired, self.ring)
        if self.phase is not RetirementPhase.BLOCKED:
            return []
        if self._is_of_others:
            return [NOT_CREATED]
        return [] if self._problem else [f"access key {key.id}" for key in self.ring.unmanaged]

    @property
    def warnings(self) -> list[str]:
        """A warning if the user is not retired because of something that a person has to decide."""
        found = self.blockers
        if not found or self.phase is RetirementPhase.WAITING:
            return []
        if self.phase is RetirementPhase.DELETING or self._is_of_others:
            return [kept_warning("user", self.current.name, found)]
        listed = "; ".join(map(self.ring.describe, self.ring.unmanaged))
        other = (
            f"user '{self.current.name}' has another access key, which is neither saved nor replaced by the saved one"
        )
        return [f"{other}: {listed}. Nothing was changed. Delete that key if nobody uses it"]
