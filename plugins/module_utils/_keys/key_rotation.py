# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The access keys of a user: the saved key, the orphaned keys, and the key to replace. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from enum import Enum
from typing import TYPE_CHECKING, Any

from .._ground.errors import THROTTLING_CODES, CwagentError, InvalidInput
from .._ground.plan import NEW_ENTITY_RETRY_CODES, NOT_FOUND_CODES, Kind, Step

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


# IAM returns this for a key that was created or changed a moment ago.
# https://docs.aws.amazon.com/IAM/latest/APIReference/API_DeleteAccessKey.html
KEY_RETRY_CODES = frozenset({"NoSuchEntity"})


@dataclass(frozen=True)
class AccessKey:
    """An access key as IAM lists it.

    :param id: empty for a key that is planned and does not exist yet.
    :param created: when it was created; ``None`` for a planned key.
    :param used: when a request was last signed with it. The value means something only if it was read.
    """

    id: str
    active: bool = True
    created: datetime | None = None
    used: datetime | None = None


def set_key_status(user: str, key_id: str, active: bool) -> Step:
    """Return the step that activates or deactivates an access key."""
    arguments = {"user_name": user, "access_key_id": key_id, "status": "Active" if active else "Inactive"}
    summary = f"{'activate' if active else 'deactivate'} access key {key_id} of user '{user}'"
    return Step(Kind.UPDATE, "iam:UpdateAccessKey", arguments, summary, retry_when=KEY_RETRY_CODES)


def delete_key(user: str, key_id: str, reason: str = "") -> Step:
    """Return the step that deletes an access key. :param reason: why, as the end of the summary."""
    arguments = {"user_name": user, "access_key_id": key_id}
    summary = f"delete access key {key_id} of user '{user}'{reason}"
    return Step(Kind.DELETE, "iam:DeleteAccessKey", arguments, summary, done_when=NOT_FOUND_CODES)


# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
KEYS_PER_USER = 2
# How far the clock that dated a record can differ from IAM's, and how long after the record its key can be created.
CLOCK_SKEW = timedelta(minutes=5)
CREATED_WITHIN = timedelta(minutes=15)
# An agent signs requests at least every few minutes. Where servers share a user, the old key is in use until the last
# of them has switched, so one use of the new key is not enough to deactivate the old one. IAM records one use in 15
# minutes. AWS does not document how late IAM shows it. IAM's other data on last use is usually up to four hours late.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_getting-report.html
# https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_last-accessed.html
UNUSED_FOR = timedelta(hours=5)
# If all keys are to be replaced now, a key that replaced another key this recently was created by this run or by an
# interrupted run. It is not replaced again.
NEW_FOR = timedelta(days=1)

# Steps on saved credentials do not call AWS. They have actions too, so that one list holds the whole plan.
REWRITE_CREDENTIALS = "credentials:Rewrite"
DELETE_CREDENTIALS = "credentials:Delete"
KEY_ACTIONS = frozenset(
    {"iam:CreateAccessKey", "iam:UpdateAccessKey", "iam:DeleteAccessKey", REWRITE_CREDENTIALS, DELETE_CREDENTIALS}
)

_LONG_AGO = datetime.min.replace(tzinfo=timezone.utc)


@dataclass(frozen=True)
class CreationRecord:
    """The record that is written before a key is created. If it is still there later, a run was interrupted.

    :param ids: the keys that existed.
    :param at: when it was written, according to the clock of AWS.
    :param run: the id of the claim that wrote it.
    """

    ids: frozenset[str]
    at: datetime
    run: str = ""


@dataclass(frozen=True)
class SavedCredentials:
    """The credentials that are saved for a user, and the state of their place.

    :param where: the place in words, such as a path.
    :param key_id: the access key that is saved there, if any.
    :param up_to_date: whether it is saved as declared: profile, region, file mode.
    :param record: the record of an interrupted run, if any.
    :param belongs_to_other: whether the key does not belong to the user, so that somebody else may need it.
    :param problem: the reason why nothing can be saved there. The saved content is then unknown.
    :param claimed: whether another run is creating a key now. Its record is in ``record``.
    :param replaced_key_id: the key, if any, that the saved key replaced when it was created. It may be deleted already.
    :param is_unusable: whether the content is not an access key. A new key would replace it.
    :param is_being_deleted: whether it is marked for deletion, which is then the ``problem``. It usually goes soon.
    """

    where: str
    key_id: str | None = None
    up_to_date: bool = True
    record: CreationRecord | None = None
    belongs_to_other: bool = False
    problem: str | None = None
    replaced_key_id: str | None = None
    claimed: bool = False
    is_unusable: bool = False
    is_being_deleted: bool = False


@dataclass(frozen=True)
class KeyRules:
    """The declared rules for the keys of a user.

    :param max_age: the age at which the saved key is replaced; ``None`` for never.
    :param rotate_now: whether the saved key is replaced now, whatever its age.
    :param key_delete_after_days: how long a replaced key is kept, deactivated, after its last use.
    :param revoke_old: whether a replaced key is deactivated immediately, instead of when only the new key is in use.
    :param evict_unmanaged_key: whether to delete an unmanaged key if there is no free slot for the key that is needed.
    :param create_inactive: whether keys are created inactive. If so, a saved key may be inactive.
    :param retires: whether the user is to lose its keys because its servers no longer need them.
    """

    max_age: timedelta | None = None
    key_delete_after_days: timedelta = timedelta(days=7)
    revoke_old: bool = False
    evict_unmanaged_key: bool = False
    create_inactive: bool = False
    rotate_now: bool = False
    retires: bool = False

    @property
    def rotates(self) -> bool:
        """Whether keys are replaced."""
        return not self.retires and (self.rotate_now or self.max_age is not None)


class Phase(Enum):
    """The progress of a key replacement, which decides what a run does next."""

    CURRENT = "current"
    DUE = "due"
    WAITING_FOR_USE = "waiting_for_use"
    DEACTIVATING = "deactivating"
    GRACE_PERIOD = "grace_period"
    DELETING = "deleting"
    BLOCKED = "blocked"


@dataclass(frozen=True)
class KeyCreation:
    """The context of a step that creates or rewrites a key: how to record, save and protect it.

    :param existing: the ids of the keys that existed when the step was planned.
    :param saved_key_id: the key that was saved at that time. If another key is saved now, another run saved it.
    :param replaced_key_id: the key that the new one replaces, if any.
    :param keep_previous: whether somebody else may need the content that is saved there.
    :param inactive: whether to deactivate the key before it is saved.
    :param record: the record of an interrupted run whose keys earlier steps deleted.
    """

    existing: tuple[str, ...]
    saved_key_id: str | None
    replaced_key_id: str | None
    keep_previous: bool
    inactive: bool
    record: CreationRecord | None = None


@dataclass(frozen=True)
class Keyring:
    """The keys of one user, the saved credentials and the rules: everything that the plan for the keys depends on.

    :param keys: as IAM lists them, with their last use if ``needs_last_use``.
    :param now: the time according to the clock of AWS.
    """

    user: str
    keys: tuple[AccessKey, ...]
    saved: SavedCredentials
    rules: KeyRules
    now: datetime

    @property
    def orphaned(self) -> tuple[AccessKey, ...]:
        """Keys that an interrupted run created and whose secrets were never saved.

        They were created right after the record and are neither in it nor saved. A key that was ever used is not
        orphaned: somebody has its secret.
        """
        record = self.saved.record
        if record is None:
            return ()
        known = record.ids | {self.saved.key_id}
        return tuple(
            key
            for key in self.keys
            if key.id not in known
            and key.used is None
            and key.created is not None
            and record.at - CLOCK_SKEW <= key.created <= record.at + CREATED_WITHIN
        )

    @property
    def saved_key(self) -> AccessKey | None:
        """The key that is both saved and known to IAM."""
        return next((key for key in self.keys if key.id == self.saved.key_id), None)

    @property
    def unmanaged(self) -> tuple[AccessKey, ...]:
        """The keys that are neither saved, nor replaced by the saved one, nor orphaned."""
        return tuple(key for key in self.keys if key not in (*self.orphaned, self.saved_key, self._predecessor))

    @property
    def needs_last_use(self) -> bool:
        """Whether the plan or a message depends on when every key was last used."""
        has_no_slot = self.saved_key is None and len(self.keys) >= KEYS_PER_USER
        return self.rules.rotates or self.rules.retires or has_no_slot

    @property
    def phase(self) -> Phase | None:
        """The progress of the saved key's replacement; ``None`` if no key is saved or keys are not replaced."""
        saved_key = self.saved_key
        if saved_key is None or not self.rules.rotates:
            return None
        old = self._predecessor
        if self._is_due(saved_key) and (old is None or self._can_supersede(old, saved_key)):
            return Phase.BLOCKED if self.unmanaged else Phase.DUE
        if old is None:
            return Phase.CURRENT
        if old.active and self.rules.revoke_old:
            return Phase.DEACTIVATING
        if old.active:
            return Phase.DEACTIVATING if _has_switched(old, saved_key) else Phase.WAITING_FOR_USE
        is_unused = self.unused_for(old) >= self.rules.key_delete_after_days
        return Phase.DELETING if saved_key.used and is_unused else Phase.GRACE_PERIOD

    def _is_due(self, saved_key: AccessKey) -> bool:
        if self._is_in_window:
            return False
        if not self.rules.rotate_now:
            return self.rules.max_age is not None and self._age(saved_key) >= self.rules.max_age
        was_deactivated = not saved_key.active and not self.rules.create_inactive
        return was_deactivated or self.saved.replaced_key_id is None or self._age(saved_key) >= NEW_FOR

    @property
    def _is_in_window(self) -> bool:
        """Whether the admin window is open: the saved key is in use, and nothing would deactivate a replaced key."""
        return self.rules.create_inactive and self.saved_key is not None and self.saved_key.active

    def _can_supersede(self, old: AccessKey, saved_key: AccessKey) -> bool:
        """Whether the key that the saved one replaced can make room for the next one before its time."""
        is_out_of_use = not old.active or _has_switched(old, saved_key)
        return self.rules.rotate_now and (self.rules.revoke_old or is_out_of_use)

    @property
    def _predecessor(self) -> AccessKey | None:
        """The key that the saved key replaced. Only the record of it counts, because any other key belongs to somebody.

        The saved key need not exist: a person may have deleted it, or the run that saved it but could not read it.
        """
        replaced = self.saved.replaced_key_id
        return next((key for key in self.keys if key.id == replaced and key != self.saved_key), None)

    @property
    def _replaced(self) -> AccessKey | None:
        """The key that a new one replaces."""
        return self.saved_key or self._predecessor

    def _age(self, key: AccessKey) -> timedelta:
        return _age(key, self.now)

    def unused_for(self, key: AccessKey) -> timedelta:
        """Return how long ago a key was last used according to IAM; created, if it was never used."""
        return self.now - (key.used or key.created or self.now)

    @property
    def _needs_new_key(self) -> bool:
        return self.saved_key is None or self.phase in (Phase.DUE, Phase.BLOCKED)

    @property
    def _evictable(self) -> AccessKey | None:
        """The least recently used unmanaged key, if a new key is needed and there is no free slot."""
        free = KEYS_PER_USER - len(self.unmanaged) - bool(self._replaced)
        if free > 0 or not self._needs_new_key:
            return None
        return min(self.unmanaged, key=lambda key: (key.used or _LONG_AGO, key.created or _LONG_AGO))

    def planned_keys(self) -> tuple[AccessKey, ...]:
        """Return the keys after all steps; the id of a key that does not exist yet is empty."""
        rest = tuple(key for key in self.keys if key not in self.orphaned)
        if self._needs_new_key:
            new = AccessKey("", active=not self.rules.create_inactive)
            kept = [key for key in rest if key not in (self._evictable, self._superseded)]
            return (*(replace(key, active=False) if key == self._revocable else key for key in kept), new)
        old = self._predecessor
        if self.phase is Phase.DEACTIVATING:
            return tuple(replace(key, active=False) if key == old else key for key in rest)
        return tuple(key for key in rest if key != old) if self.phase is Phase.DELETING else rest

    def steps(self, is_new_user: bool) -> list[Step]:
        """Plan the steps that lead to one saved key.

        :param is_new_user: whether the same plan creates the user.
        :raises CwagentError: a person has to decide.
        """
        if self.saved.problem:
            raise CwagentError(self.saved.problem)
        steps = [delete_key(self.user, key.id, ", whose secret was never saved") for key in self.orphaned]
        is_replaced_now = self.rules.rotate_now and self._needs_new_key
        if self.saved_key and not self.saved_key.active and not self.rules.create_inactive and not is_replaced_now:
            raise CwagentError(self._deactivated_message(self.saved_key))
        if self.rules.rotate_now and self._is_in_window:
            raise CwagentError(
                f"the access key of user '{self.user}' was not replaced, because its admin window is open. Run "
                "cwagent.iam.restore to close it, then run again."
            )
        if self._needs_new_key:
            return [*steps, *self._evict_steps(), *self._replacement_steps(is_new_user)]
        if not self.saved.up_to_date or self.saved.record is not None:
            summary = f"write {self.saved.where} again with the access key of user '{self.user}'"
            arguments = {"user_name": self.user}
            steps.append(Step(Kind.UPDATE, REWRITE_CREDENTIALS, arguments, summary, context=self._creation))
        old = self._predecessor
        if old and self.phase is Phase.DEACTIVATING:
            steps.append(set_key_status(self.user, old.id, active=False))
        elif old and self.phase is Phase.DELETING:
            steps.append(delete_key(self.user, old.id, ", which was replaced"))
        return steps

    def _replacement_steps(self, is_new_user: bool) -> list[Step]:
        """Plan the new key. The old key is deactivated after the new one is saved. So the next run can continue after a
        run that is killed in between, and no run finds a saved key that does not work.
        """
        superseded, revocable = self._superseded, self._revocable
        steps = [delete_key(self.user, superseded.id, ", which was replaced")] if superseded else []
        steps.append(self._create(is_new_user))
        return [*steps, set_key_status(self.user, revocable.id, active=False)] if revocable else steps

    @property
    def _superseded(self) -> AccessKey | None:
        """The key that the saved key replaced, if a new key replaces the saved one."""
        return self._predecessor if self.saved_key else None

    @property
    def _revocable(self) -> AccessKey | None:
        """The key that is deactivated as soon as its replacement is saved."""
        return self._replaced if self.rules.revoke_old and self._replaced and self._replaced.active else None

    @property
    def warnings(self) -> list[str]:
        """A warning if the user keeps an unmanaged key besides the saved or the new key."""
        kept = [key for key in self.unmanaged if key != self._evictable]
        listed = "; ".join(map(self.describe, kept))
        if self.saved_key and kept and self.phase:
            other = f"user '{self.user}' has another access key, which is neither saved nor replaced by the saved one"
            return [f"{other}: {listed}. It was not changed"]
        if self.saved_key or not kept:
            return []
        second = f"user '{self.user}' gets a second access key, because this one is not saved at {self.saved.where}"
        return [f"{second}: {listed}. If it is saved elsewhere, use that copy, and delete the new key"]

    def _evict_steps(self) -> list[Step]:
        evictable = self._evictable
        if evictable is None:
            return []
        if self.rules.evict_unmanaged_key:
            return [delete_key(self.user, evictable.id, " to free a slot for a new one")]
        listed = "; ".join(map(self.describe, self.unmanaged))
        raise CwagentError(
            f"user '{self.user}' needs a new access key, but IAM allows {KEYS_PER_USER}, and these are not saved at "
            f"{self.saved.where}: {listed}. Delete a key that is not in use, or set saved_key.evict_unmanaged_key to "
            "true (for the playbooks: cwagent_evict_unmanaged_key) to delete the least recently used one. Then run "
            "again."
        )

    def _deactivated_message(self, key: AccessKey) -> str:
        activate = f"aws iam update-access-key --user-name {self.user} --access-key-id {key.id} --status Active"
        return (
            f"access key {key.id} of user '{self.user}', which is saved at {self.saved.where}, was deactivated. If "
            f"that was a mistake, activate it ({activate}). If not, delete it; the next run creates a new one."
        )

    def describe(self, key: AccessKey) -> str:
        """Return the id of a key with its status, age and last use."""
        used = f"last used {_format_time(key.used)}" if key.used else "never used"
        return f"{key.id} ({'active' if key.active else 'inactive'}, {self._age(key).days} days old, {used})"

    def _create(self, is_new_user: bool) -> Step:
        an = "an inactive" if self.rules.create_inactive else "an"
        instead = f" to replace {self._replaced.id}" if self._replaced else ""
        summary = f"create {an} access key for user '{self.user}'{instead} and save it to {self.saved.where}"
        # After any failure but throttling, IAM may have created a key. It also creates none if it refuses a call only
        # because it does not know the new user yet.
        retry_when = THROTTLING_CODES | NEW_ENTITY_RETRY_CODES if is_new_user else THROTTLING_CODES
        arguments = {"user_name": self.user}
        return Step(
            Kind.CREATE, "iam:CreateAccessKey", arguments, summary, retry_when=retry_when, context=self._creation
        )

    @property
    def _creation(self) -> KeyCreation:
        return KeyCreation(
            existing=tuple(key.id for key in self.keys),
            saved_key_id=self.saved.key_id,
            replaced_key_id=self._replaced.id if self._replaced else None,
            keep_previous=self.saved.belongs_to_other,
            inactive=self.rules.create_inactive,
            record=self.saved.record,
        )


def keys_to_dicts(keys: Iterable[AccessKey], now: datetime) -> list[dict[str, Any]]:
    """Render keys for results and diffs."""
    return [
        {
            "id": key.id or None,
            "active": key.active,
            "age_days": _age(key, now).days,
            "created": key.created and _format_time(key.created),
            "last_used": key.used and _format_time(key.used),
        }
        for key in keys
    ]


def _has_switched(old: AccessKey, new: AccessKey) -> bool:
    """Whether only the new key is in use."""
    # IAM may not show the first use of the old key yet either.
    old_used = old.used or new.created or new.used
    return new.used is not None and old_used is not None and new.used - old_used >= UNUSED_FOR


def _age(key: AccessKey, now: datetime) -> timedelta:
    # IAM dates its answers to the second and keys more exactly, so a new key can be dated later than now.
    return max(timedelta(), now - (key.created or now))


def _format_time(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


MAX_DAYS = 36500


def key_rules(params: Mapping[str, Any]) -> KeyRules:
    """Return the rules for the keys.

    :raises InvalidInput: a number of days is out of range, or an option requires another one.
    """
    max_age, key_delete_after_days = params["key_max_age_days"], params["key_delete_after_days"]
    rotate_now = params["rotate_now"]
    if max_age is not None:
        # Replacing all keys now does not depend on an age, so 0, which means no limit elsewhere, is valid here too.
        check_days("key_max_age_days", max_age, minimum=0 if rotate_now else 1)
    elif params["revoke_old"] and not rotate_now:
        raise InvalidInput("revoke_old requires key_max_age_days or rotate_now.")
    check_days("key_delete_after_days", key_delete_after_days, minimum=0)
    return KeyRules(
        max_age=None if max_age is None else timedelta(days=max_age),
        rotate_now=rotate_now,
        key_delete_after_days=timedelta(days=key_delete_after_days),
        revoke_old=params["revoke_old"],
        evict_unmanaged_key=bool(params["saved_key"] and params["saved_key"]["evict_unmanaged_key"]),
    )


def check_days(option: str, days: int, minimum: int) -> None:
    """Check a number of days. :raises InvalidInput: it is out of range; the message contains the option."""
    if not minimum <= days <= MAX_DAYS:
        raise InvalidInput(f"{option} must be between {minimum} and {MAX_DAYS} days, not {days}.")
