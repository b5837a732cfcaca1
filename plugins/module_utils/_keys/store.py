# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The operations of every place for access keys. An interrupted run loses no secret and leaves no unknown key."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from .._ground.errors import ContentionError, CwagentError
from .access_keys import CreationRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from .._ground.wait import Deadline
    from .access_keys import SavedCredentials
    from .saved_key import SavedKey


# How long a claim in AWS is valid, by the clock of AWS. Files are locked instead, and the kernel ends a lock.
CLAIM_LIFETIME = timedelta(seconds=30)
CLAIM_POLL_SECONDS = 0.5


class MarkedForDeletionError(CwagentError):
    """A saved key cannot be used: AWS is deleting it, or will do so on a day that a person chose."""

    def __init__(self, reason: str, name: str) -> None:
        super().__init__(
            f"{reason} If it is scheduled for deletion, restore it (aws secretsmanager restore-secret --secret-id "
            f"{name}) or delete it permanently, then run again."
        )


class Store(ABC):
    """A place with one access key for each user.

    Before a key is created or its place is rewritten, the place is claimed, so that no other run does the same at the
    same time. The claim is a record of the ids of the existing keys. A key that was created after the record and is not
    saved comes from a run that was interrupted before it could save the secret.

    :param NAME: the choice of the option ``key_store``.
    :param WORDS: a noun phrase, from which ``make tables`` writes the documentation of that option.
    :param OPTION: the option that contains the place.
    :param POLICY: the example of a policy that allows saving, reading and listing keys; empty if none is needed.
    :param IN_ACCOUNT: whether each region of an AWS account has its own place. All keys there are keys of the account.
        Any other place has no region, and accounts can share it.
    :param ON_CONTROLLER: whether the place is deleted together with the container that the controller runs in.
    :param ARE_PARAMETERS: whether anyone who can read all parameters of Parameter Store can read the keys.
    """

    NAME: ClassVar[str]
    WORDS: ClassVar[str]
    OPTION: ClassVar[str]
    POLICY: ClassVar[str] = ""
    IN_ACCOUNT: ClassVar[bool] = False
    ON_CONTROLLER: ClassVar[bool] = False
    ARE_PARAMETERS: ClassVar[bool] = False

    @classmethod
    @abstractmethod
    def open(cls, options: Mapping[str, Any], aws: Any = None, region: str | None = None) -> Store:
        """Return the place that the options describe, without a call.

        :param options: the options of a module or lookup. An option that only saving needs can be missing.
        :param aws: the gateway to AWS, for a store in AWS. :param region: the region in use, for saving.
        :raises InvalidInput: they describe no place.
        """

    @abstractmethod
    def check(self, users: Iterable[str]) -> None:
        """Refuse a place that cannot be used, before anything is written.

        :raises InvalidInput: the place cannot be used. The message contains the reason.
        """

    @abstractmethod
    def read(self, users: Sequence[str]) -> dict[str, SavedCredentials]:
        """Read the saved credentials of users. An unreadable entry is a problem of its user only."""

    @abstractmethod
    def read_key(self, user: str) -> SavedKey | None:
        """Return the saved key of a user, with its secret; ``None`` if there is no complete one.

        :raises CwagentError: it cannot be read.
        """

    @abstractmethod
    def describe(self, user: str) -> str:
        """Return the place of a user's key in words, for a person who looks for it there."""

    @abstractmethod
    def list_users(self) -> frozenset[str]:
        """Return the users whose keys are saved, including users that no longer exist. It reads no secret.

        :raises CwagentError: they cannot be listed.
        """

    @abstractmethod
    def claim(
        self, user: str, planned: CreationRecord | None, existing: Iterable[str], now: datetime, deadline: Deadline
    ) -> AbstractContextManager[str]:
        """Claim the place of a user's key, record which keys exist, and so prove that a key can be saved there.

        The record stays after an error, until ``release`` or a later run.

        :param planned: the record of an interrupted run that the plan takes care of. The claim replaces it.
        :param deadline: how long to wait for another run.
        :returns: the id of the claim.
        :raises ContentionError: another run has claimed it, or has left a record that the plan does not know.
        :raises CwagentError: a key cannot be saved there.
        """

    def confirm(self, user: str, run: str, key_id: str | None) -> None:
        """Check that the place has this key, and that no other run has claimed it.

        :param run: the id of the claim.
        :raises ContentionError: another run wrote there.
        :raises CwagentError: it cannot be read.
        """
        saved = self.read([user])[user]
        if saved.problem:
            raise CwagentError(saved.problem)
        if saved.key_id != key_id:
            raise ContentionError(f"Another run saved an access key of user '{user}' in the meantime. Run again.")
        if not self._holds_claim(saved, run):
            raise ContentionError(
                f"Creating the access key of user '{user}' took so long that another run began to do the same. Run "
                "again."
            )

    @staticmethod
    def _to_record(existing: Iterable[str], now: datetime, run: str) -> str:
        """Return the text of a record of the existing keys. :param run: the id of the claim."""
        return json.dumps({"access_key_ids": sorted(existing), "at": now.isoformat(), "run": run})

    @staticmethod
    def _parse_record(text: str) -> CreationRecord:
        """Return the record in a text. :raises KeyError, TypeError, ValueError: it contains none."""
        found = json.loads(text)
        at, run = datetime.fromisoformat(found["at"]), str(found["run"])
        return CreationRecord(frozenset(found["access_key_ids"]), at, run)

    @staticmethod
    def _check_planned(user: str, found: CreationRecord | None, planned: CreationRecord | None) -> None:
        """Check that a record that was found is the one that the plan takes care of.

        :raises ContentionError: it belongs to another run, whose key the plan does not know.
        """
        if found is not None and found != planned:
            raise ContentionError(
                f"Another run was interrupted while it created an access key of user '{user}'. Run again: the next run "
                "deletes that key."
            )

    def _holds_claim(self, saved: SavedCredentials, run: str) -> bool:
        return saved.record is not None and saved.record.run == run

    @abstractmethod
    def release(self, user: str, run: str) -> None:
        """Delete the record of a claim, because every key that exists now is either saved or in use elsewhere."""

    @abstractmethod
    def save(
        self, user: str, key_id: str, secret: str, replaced_key_id: str | None = None, keep_previous: bool = False
    ) -> None:
        """Save a key instead of the previous content.

        :param replaced_key_id: the user's key that was saved before. Rotation deactivates and deletes only that key.
        :param keep_previous: whether somebody may need the previous content.
        :raises CwagentError: it could not be saved.
        """

    @abstractmethod
    def rewrite(self, user: str) -> None:
        """Write the saved key again, in the declared form."""

    @abstractmethod
    def delete(self, user: str) -> None:
        """Delete the saved credentials of a user.

        :raises CwagentError: it could not be deleted.
        """


def claimed_message(user: str) -> str:
    """Return the message for a place that another run has claimed."""
    return f"Another run is creating an access key of user '{user}'. Wait until it has ended, then run again."
