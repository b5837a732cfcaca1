# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The access keys of a user: which of them is saved, which was lost, and which is due to be replaced. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from enum import Enum
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._access_keys.model import AccessKey, set_key_status
from ansible_collections.cwagent.iam.plugins.module_utils._errors import THROTTLING_CODES, CwagentError
from ansible_collections.cwagent.iam.plugins.module_utils._plan import NEW_ENTITY_RETRY_CODES, NOT_FOUND_CODES, Step

if TYPE_CHECKING:
    from collections.abc import Iterable

# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
KEYS_PER_USER = 2
# How far the clock that dated a record may be from IAM's, and how long after the record its key can still be made.
CLOCK_SKEW = timedelta(minutes=5)
MADE_WITHIN = timedelta(minutes=15)
# An agent signs requests at least every few minutes. Where servers share a user, the old key is in use until the last
# of them has switched, so one use of the new key is not enough to take the old one away.
UNUSED_FOR = timedelta(hours=1)

# Steps on what is saved are no calls to AWS; they are named like them so that one list holds the whole plan.
REWRITE_CREDENTIALS = "credentials:Rewrite"
REMOVE_CREDENTIALS = "credentials:Remove"
ACTIONS = frozenset(
    {"iam:CreateAccessKey", "iam:UpdateAccessKey", "iam:DeleteAccessKey", REWRITE_CREDENTIALS, REMOVE_CREDENTIALS}
)

_LONG_AGO = datetime.min.replace(tzinfo=timezone.utc)


@dataclass(frozen=True)
class Pending:
    """The record that is written before a key is made: a run died in between if it is still there.

    :param ids: the keys that existed.
    :param at: when it was written, by the clock of AWS.
    """

    ids: frozenset[str]
    at: datetime


@dataclass(frozen=True)
class SavedCredentials:
    """What is saved for a user.

    :param where: the place in words, such as a path.
    :param key_id: the access key saved there, if any.
    :param up_to_date: whether it is saved as wanted: profile, region, file mode.
    :param unmanaged: whether the key is not the user's, yet may be of use to somebody.
    :param problem: why nothing can be saved there, in words; what is there is then not known.
    """

    where: str
    key_id: str | None = None
    up_to_date: bool = True
    pending: Pending | None = None
    unmanaged: bool = False
    problem: str | None = None


@dataclass(frozen=True)
class KeyRules:
    """What the user wants of the keys beside one that is saved.

    :param max_age: how old the saved key may get before it is replaced; ``None`` replaces none.
    :param retire_after: how long a replaced key is kept, switched off, after its last use.
    :param evict_unmanaged_key: whether to delete a key nobody saved where there is no room for the one that is needed.
    :param inactive: whether a saved key that is switched off is as it should be, and new ones are made so.
    """

    max_age: timedelta | None = None
    retire_after: timedelta = timedelta(days=7)
    evict_unmanaged_key: bool = False
    inactive: bool = False


class Phase(Enum):
    """How far the replacement of a user's key has come, and so what a run does next."""

    CURRENT = "current"
    DUE = "due"
    WAITING_FOR_USE = "waiting_for_use"
    DEACTIVATING = "replaced"
    GRACE_PERIOD = "waiting_for_quiet"
    DELETING = "retired"
    BLOCKED = "blocked"


@dataclass(frozen=True)
class Keyring:
    """The keys of one user, what is saved of them, and what is wanted: enough to say what is to be done.

    :param keys: as IAM lists them; where it decides something, their last use is known.
    :param time: the present, by the clock of AWS.
    """

    user: str
    keys: tuple[AccessKey, ...]
    saved: SavedCredentials
    rules: KeyRules
    time: datetime

    @property
    def orphaned(self) -> tuple[AccessKey, ...]:
        """Keys that an interrupted run made and whose secrets nobody has.

        They came right after the record and are in neither it nor the place; one that was ever used is somebody's.
        """
        pending = self.saved.pending
        if pending is None:
            return ()
        known = pending.ids | {self.saved.key_id}
        return tuple(
            key
            for key in self.keys
            if key.id not in known
            and key.used is None
            and key.created is not None
            and pending.at - CLOCK_SKEW <= key.created <= pending.at + MADE_WITHIN
        )

    @property
    def saved_key(self) -> AccessKey | None:
        """The key that is both saved and known to IAM."""
        return next((key for key in self.keys if key.id == self.saved.key_id), None)

    @property
    def others(self) -> tuple[AccessKey, ...]:
        """The keys that are neither saved nor lost."""
        return tuple(key for key in self.keys if key not in (*self.orphaned, self.saved_key))

    @property
    def needs_last_use(self) -> bool:
        """Whether the last use of every key decides something or is to be reported."""
        return self.rules.max_age is not None or (self.saved_key is None and len(self.keys) >= KEYS_PER_USER)

    @property
    def phase(self) -> Phase | None:
        """How far the replacement of the saved key has come. ``None`` where there is none, or none is replaced."""
        saved_key, max_age = self.saved_key, self.rules.max_age
        if saved_key is None or max_age is None:
            return None
        due = self._age(saved_key) >= max_age
        old = self._predecessor
        if old is None:
            return (Phase.BLOCKED if self.others else Phase.DUE) if due else Phase.CURRENT
        if old.active:
            switched = saved_key.used and (old.used is None or saved_key.used - old.used >= UNUSED_FOR)
            return Phase.DEACTIVATING if switched else Phase.WAITING_FOR_USE
        quiet = self.time - (old.used or old.created or self.time) >= self.rules.retire_after
        return Phase.DELETING if saved_key.used and quiet else Phase.GRACE_PERIOD

    @property
    def _predecessor(self) -> AccessKey | None:
        """The key that the saved one replaces: an older one."""
        saved_key = self.saved_key
        older = [key for key in self.others if saved_key and self._age(key) > self._age(saved_key)]
        return max(older, key=self._age, default=None)

    def _age(self, key: AccessKey) -> timedelta:
        return _age(key, self.time)

    @property
    def _needs_new_key(self) -> bool:
        return self.saved_key is None or self.phase in (Phase.DUE, Phase.BLOCKED)

    @property
    def _evictable(self) -> AccessKey | None:
        """Where there is no room for a new key: of those that nobody saved, the one that can best be spared."""
        free = KEYS_PER_USER - len(self.others) - bool(self.saved_key)
        if free > 0 or not self._needs_new_key:
            return None
        return min(self.others, key=lambda key: (key.used or _LONG_AGO, key.created or _LONG_AGO))

    def after(self) -> tuple[AccessKey, ...]:
        """The keys that the steps lead to. The id of one that is yet to be made is empty."""
        rest = tuple(key for key in self.keys if key not in self.orphaned)
        if self._needs_new_key:
            return (*(key for key in rest if key != self._evictable), AccessKey("", active=not self.rules.inactive))
        old = self._predecessor
        if self.phase is Phase.DEACTIVATING:
            return tuple(replace(key, active=False) if key == old else key for key in rest)
        return tuple(key for key in rest if key != old) if self.phase is Phase.DELETING else rest

    def steps(self, new_user: bool) -> list[Step]:
        """The steps that lead to one saved key.

        :param new_user: whether the user is yet to be made.
        :raises CwagentError: only a person can decide.
        """
        if self.saved.problem:
            raise CwagentError(self.saved.problem)
        steps = [self._delete(key, ", whose secret was lost") for key in self.orphaned]
        if self.saved_key and not self.saved_key.active and not self.rules.inactive:
            raise CwagentError(self._deactivated(self.saved_key))
        if self._needs_new_key:
            return [*steps, *self._room(), self._make(new_user)]
        if not self.saved.up_to_date or self.saved.pending is not None:
            words = f"write {self.saved.where} anew with the access key of user '{self.user}'"
            steps.append(Step(REWRITE_CREDENTIALS, {"user_name": self.user}, words))
        old = self._predecessor
        if old and self.phase is Phase.DEACTIVATING:
            steps.append(set_key_status(self.user, old.id, active=False))
        elif old and self.phase is Phase.DELETING:
            steps.append(self._delete(old, ", which another has replaced"))
        return steps

    @property
    def warnings(self) -> list[str]:
        """That a key is made beside one that is saved elsewhere, if at all."""
        beside = [key for key in self.others if key != self._evictable]
        if self.saved_key or not beside:
            return []
        listed = "; ".join(map(self._describe, beside))
        second = f"user '{self.user}' gets a second access key, since this one is not saved at {self.saved.where}"
        return [f"{second}: {listed}. If it is saved in another place, use that one, and delete the new key"]

    def _room(self) -> list[Step]:
        spared = self._evictable
        if spared is None:
            return []
        if self.rules.evict_unmanaged_key:
            return [self._delete(spared, " to make room for a new one")]
        listed = "; ".join(map(self._describe, self.others))
        raise CwagentError(
            f"user '{self.user}' needs a new access key, IAM allows {KEYS_PER_USER}, and nobody saved these at "
            f"{self.saved.where}: {listed}. Delete one that is not in use; or set credentials.make_room to true, which "
            "deletes the one that was not used for longest. Then run again."
        )

    def _deactivated(self, key: AccessKey) -> str:
        activate = f"aws iam update-access-key --user-name {self.user} --access-key-id {key.id} --status Active"
        return (
            f"access key {key.id} of user '{self.user}', which is saved at {self.saved.where}, was deactivated. If "
            f"that was a mistake, activate it ({activate}). If not, delete it; the next run makes a new one."
        )

    def _describe(self, key: AccessKey) -> str:
        used = f"last used {_text(key.used)}" if key.used else "never used"
        return f"{key.id} ({'active' if key.active else 'inactive'}, {self._age(key).days} days old, {used})"

    def _make(self, new_user: bool) -> Step:
        inactive = "an inactive" if self.rules.inactive else "an"
        words = f"create {inactive} access key for user '{self.user}' and save it to {self.saved.where}"
        # Only a throttled call is known not to have made a key: after any other failure there can be one.
        # So is one that came too early for a new user.
        retry = THROTTLING_CODES | NEW_ENTITY_RETRY_CODES if new_user else THROTTLING_CODES
        return Step("iam:CreateAccessKey", {"user_name": self.user}, words, retry_when=retry)

    def _delete(self, key: AccessKey, why: str) -> Step:
        return delete(self.user, key.id, f"delete access key {key.id} of user '{self.user}'{why}")


def delete(user: str, key_id: str, summary: str) -> Step:
    """The step that deletes an access key."""
    return Step("iam:DeleteAccessKey", {"user_name": user, "access_key_id": key_id}, summary, done_when=NOT_FOUND_CODES)


def report(keys: Iterable[AccessKey], time: datetime) -> list[dict[str, Any]]:
    """Keys as results and diffs show them."""
    return [
        {
            "id": key.id or None,
            "active": key.active,
            "age_days": _age(key, time).days,
            "created": key.created and _text(key.created),
            "last_used": key.used and _text(key.used),
        }
        for key in keys
    ]


def _age(key: AccessKey, time: datetime) -> timedelta:
    """How old a key is; IAM dates a key to the second or more exactly, and its answers to the second."""
    return max(timedelta(), time - (key.created or time))


def _text(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")
