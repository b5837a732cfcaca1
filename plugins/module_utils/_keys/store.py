# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The operations of every place for access keys, and the base of places in AWS with one document for each user.

An interrupted run loses no secret and leaves no unknown key.
"""

from __future__ import annotations

import json
import re
import secrets
from abc import ABC, abstractmethod
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from .._ground.errors import ContentionError, CwagentError, InvalidInput
from . import saved_key as key_format
from .key_rotation import CreationRecord, SavedCredentials
from .saved_key import SavedKey, claim_description, is_description_of, saved_key_description

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from .._ground.aws import Aws
    from .._ground.errors import AwsApiError
    from .._ground.wait import Deadline


# How long a claim in AWS is valid, by the clock of AWS. Files are locked instead, and the kernel ends a lock.
CLAIM_LIFETIME = timedelta(seconds=30)
CLAIM_POLL_SECONDS = 0.5
CLAIM_SUFFIX = ".pending"


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


@dataclass(frozen=True)
class DocumentStore(Store):
    """A place in AWS with one document for each user, for controllers whose files do not persist.

    The document holds the key. While a key is being created, a second one, whose name ends with .pending, claims the
    place and contains the record of the existing keys. Only one run can create it. It is encrypted with the same key,
    so creating it proves that a secret can be saved. The descriptions of both contain the user, so that the users with
    saved keys can be listed without reading a value.

    :param prefix: the beginning of the documents' names. The user's name follows.
    :param region: the region in use. The documents contain it for the credentials files that are created from them.
    :param kms_key_id: the key that new documents are encrypted with; ``None`` uses the service's own.
    :param KIND: a document in one word. :param NOUN: the words before the name of one.
    :param KMS_OPTION: the argument of AWS for the KMS key.
    """

    aws: Aws
    prefix: str
    region: str | None = None
    kms_key_id: str | None = None

    OPTION = "key_store_prefix"
    IN_ACCOUNT = True
    KIND: ClassVar[str]
    NOUN: ClassVar[str]
    KMS_OPTION: ClassVar[str]

    @classmethod
    def open(cls, options: Mapping[str, Any], aws: Any = None, region: str | None = None) -> DocumentStore:
        """Return the documents whose names begin with the prefix in the options."""
        return cls(aws, options[cls.OPTION], region, options.get("key_store_kms_key_id"))

    def name(self, user: str) -> str:
        """Return the name of a user's document."""
        return f"{self.prefix}{user}"

    def where_of(self, name: str) -> str:
        """Return a document in words."""
        return f"{self.NOUN} {name}"

    def describe(self, user: str) -> str:
        """Return a user's document in words."""
        return f"{self.KIND} '{self.name(user)}'"

    @property
    def _encrypted(self) -> dict[str, Any]:
        return {self.KMS_OPTION: self.kms_key_id} if self.kms_key_id else {}

    @abstractmethod
    def list_documents(self, description: str) -> list[dict[str, Any]]:
        """Return the documents whose names begin with the prefix, without their texts.

        :param description: the attempt in words, for an error.
        :raises CwagentError: they cannot be listed.
        """

    @abstractmethod
    def _find(self, name: str, description: str) -> str | CwagentError | None:
        """Read one text. :returns: ``None`` if there is none; the error if it cannot be used."""

    @abstractmethod
    def _load(self, names: Sequence[str]) -> Mapping[str, str | CwagentError]:
        """Read the texts that exist, by name. If a text cannot be used, its value is the error."""

    @abstractmethod
    def _create(self, name: str, text: str, purpose: str, description: str) -> bool:
        """Create a document.

        :param purpose: the purpose of the document, for readers of its description, who do not see its content.
        :param description: the attempt in words, for an error.
        :returns: false if it exists already, or if the name cannot be used yet.
        """

    @abstractmethod
    def _write(self, name: str, text: str, purpose: str, description: str) -> None:
        """Create or overwrite a document. :param purpose, description: as for ``_create``."""

    @abstractmethod
    def _delete(self, name: str) -> None:
        """Delete a document, if it exists."""

    def read(self, users: Sequence[str]) -> dict[str, SavedCredentials]:
        """Read the saved credentials of users."""
        texts = self._load([name for user in users for name in (self.name(user), self._claim_name(user))])
        return {
            user: self._saved_credentials(user, texts.get(self.name(user)), texts.get(self._claim_name(user)))
            for user in users
        }

    def read_key(self, user: str) -> SavedKey | None:
        """Return the saved key of a user."""
        return _key_in(self._find(self.name(user), f"read {self.describe(user)}"))

    def list_users(self) -> frozenset[str]:
        """Return the users whose keys are saved under the prefix."""
        return frozenset(self.index_by_user(self.list_documents(f"list the access keys saved under {self.prefix}")))

    def index_by_user(self, found: Iterable[Mapping[str, Any]]) -> dict[str, str]:
        """Return by user the name of the listed document with its access key.

        Documents that others saved under the prefix have another description. A record of keys counts only if no key is
        saved.
        """
        names = [(each["Name"], each.get("Description", "")) for each in found if each["Name"].startswith(self.prefix)]
        users = [(name[len(self.prefix) :].removesuffix(CLAIM_SUFFIX), name, text) for name, text in names]
        records_first = sorted(users, key=lambda each: not each[1].endswith(CLAIM_SUFFIX))
        return {user: name for user, name, text in records_first if is_description_of(user, text)}

    def _claim_name(self, user: str) -> str:
        return self.name(user) + CLAIM_SUFFIX

    def _saved_credentials(
        self, user: str, text: str | CwagentError | None, claim: str | CwagentError | None
    ) -> SavedCredentials:
        where = self.where_of(self.name(user))
        try:
            if isinstance(text, CwagentError) and not isinstance(text, MarkedForDeletionError):
                raise text
            record = self._parse_claim(user, claim)
        except CwagentError as error:
            return SavedCredentials(where, problem=str(error))
        claimed = record is not None and self._is_live(record)
        if isinstance(text, CwagentError):
            return SavedCredentials(where, record=record, claimed=claimed, problem=str(text), is_being_deleted=True)
        key = _key_in(text)
        if key is None:
            is_unusable = text is not None and record is None
            return SavedCredentials(where, record=record, claimed=claimed, is_unusable=is_unusable)
        up_to_date = self.region in (None, key.region)
        return SavedCredentials(
            where, key.key_id, up_to_date, record, replaced_key_id=key.replaced_key_id, claimed=claimed
        )

    def _parse_claim(self, user: str, text: str | CwagentError | None) -> CreationRecord | None:
        if text is None:
            return None
        if isinstance(text, CwagentError):
            raise text
        try:
            return self._parse_record(text)
        except (KeyError, TypeError, ValueError):
            where, document = self.where_of(self._claim_name(user)), self.where_of(self.name(user))
            raise CwagentError(
                f"{where} is not a readable record of the keys that existed before an interrupted run. Compare the "
                f"access keys of user '{user}' with {document}, delete those that are not in use, then delete {where}."
            ) from None

    def _is_live(self, claim: CreationRecord) -> bool:
        return self.aws.now - claim.at < CLAIM_LIFETIME

    @contextmanager
    def claim(
        self, user: str, planned: CreationRecord | None, existing: Iterable[str], now: datetime, deadline: Deadline
    ) -> Iterator[str]:
        """Create the record, which succeeds for one run only. The record of an interrupted run is replaced."""
        run, name = secrets.token_hex(8), self._claim_name(user)
        ids = sorted(existing)
        description = f"write to {self.where_of(name)} which access keys exist"
        at = now
        while not self._create(name, self._to_record(ids, at, run), claim_description(user), description):
            found = self._parse_claim(user, self._load([name]).get(name))
            if found and not self._is_live(found):
                self._check_planned(user, found, planned)
                # Two runs can do this at the same time. The later one has the claim; the other one finds out.
                record = self._to_record(ids, self.aws.now, run)
                self._write(name, record, claim_description(user), description)
                break
            if not deadline.pause(CLAIM_POLL_SECONDS):
                raise ContentionError(claimed_message(user))
            at = self.aws.now
        yield run

    def release(self, user: str, run: str) -> None:
        """Delete the record, if it still belongs to the claim."""
        name = self._claim_name(user)
        found = self._parse_claim(user, self._load([name]).get(name))
        if found and found.run == run:
            self._delete(name)

    def delete(self, user: str) -> None:
        """Delete a user's document, and the record of an interrupted run."""
        self._delete(self.name(user))
        self._delete(self._claim_name(user))

    def save(
        self, user: str, key_id: str, secret: str, replaced_key_id: str | None = None, keep_previous: bool = False
    ) -> None:
        """Save a key instead of the previous content. AWS itself keeps earlier versions."""
        del keep_previous
        document = key_format.to_values(SavedKey(key_id, secret, self.region, replaced_key_id))
        description = f"save access key {key_id} to {self.where_of(self.name(user))}"
        try:
            self._write(self.name(user), json.dumps(document), saved_key_description(key_id, user), description)
        except CwagentError as error:
            # AWS quotes the value that it refuses.
            raise CwagentError(str(error).replace(secret, "(the secret)")) from None

    def rewrite(self, user: str) -> None:
        """Write the saved key again, with the declared region."""
        # Another run may have saved a key since all were read.
        key = _key_in(self._load([self.name(user)]).get(self.name(user)))
        if key:
            self.save(user, key.key_id, key.secret, key.replaced_key_id)

    def _check_names(self, users: Iterable[str], pattern: str, allowed: str) -> None:
        for name in map(self.name, users):
            if name.endswith(CLAIM_SUFFIX):
                raise InvalidInput(
                    f"saved_key: the key of a user whose name ends with {CLAIM_SUFFIX} cannot be saved there: "
                    "names with this ending are used while a key is created. Choose another name for the user."
                )
            if not re.fullmatch(pattern, name + CLAIM_SUFFIX, re.ASCII):
                raise InvalidInput(
                    f"saved_key.key_store_prefix: '{name}' is not a valid {self.KIND} name: AWS allows {allowed}."
                )


def _key_in(text: str | CwagentError | None) -> SavedKey | None:
    """Return the key in a text that was read. :raises CwagentError: the text cannot be used."""
    if isinstance(text, CwagentError):
        raise text
    return key_format.from_json(text or "")


def is_about_decryption(error: AwsApiError) -> bool:
    """Whether a document cannot be read because its KMS key cannot be used. Other documents are not affected."""
    return error.code.startswith(("InvalidKeyId", "KMS", "DecryptionFailure")) or "lacks kms:Decrypt" in str(error)
