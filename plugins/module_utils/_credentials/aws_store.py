# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Saves access keys in AWS, as SecureString parameters or as secrets: for controllers whose files do not persist.

One document for each user holds the key. While a key is being created, a second one, whose name ends with .pending,
claims the place and contains the record of the existing keys. Only one run can create it. It is encrypted with the same
key, so creating it proves that a secret can be saved.
"""

from __future__ import annotations

import json
import re
from abc import abstractmethod
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._access_keys.rotation import SavedCredentials
from ansible_collections.cwagent.iam.plugins.module_utils._credentials import saved_key as key_format
from ansible_collections.cwagent.iam.plugins.module_utils._credentials.listing import CLAIM_SUFFIX
from ansible_collections.cwagent.iam.plugins.module_utils._credentials.saved_key import (
    SavedKey,
    claim_description,
    saved_key_description,
)
from ansible_collections.cwagent.iam.plugins.module_utils._credentials.store import (
    CLAIM_LIFETIME,
    CLAIM_POLL_SECONDS,
    Store,
    check_planned,
    claimed_message,
    new_claim_id,
    parse_record,
    record_to_dict,
)
from ansible_collections.cwagent.iam.plugins.module_utils._errors import (
    AwsApiError,
    ContentionError,
    CwagentError,
    InvalidInput,
)
from ansible_collections.cwagent.iam.plugins.module_utils._names import PARAMETER_PREFIX
from ansible_collections.cwagent.iam.plugins.module_utils._plan import run_in_parallel

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from ansible_collections.cwagent.iam.plugins.module_utils._access_keys.rotation import CreationRecord
    from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws
    from ansible_collections.cwagent.iam.plugins.module_utils._wait import Deadline

# https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameters.html
PARAMETERS_PER_CALL = 10
SECURE = "SecureString"
# AWS answers a second write to a parameter within about a second with this.
TOO_MANY_UPDATES = "TooManyUpdates"
# In the message of an InvalidRequestException. A forced deletion is done in the background, within about two minutes:
# https://github.com/hashicorp/terraform-provider-aws/pull/5583
_MARKED_FOR_DELETION = "because it was marked for deletion"


class MarkedForDeletionError(CwagentError):
    """A secret cannot be used: AWS is deleting it, or will do so on a day that a person chose."""

    def __init__(self, reason: str, name: str) -> None:
        super().__init__(
            f"{reason} If it is scheduled for deletion, restore it (aws secretsmanager restore-secret --secret-id "
            f"{name}) or delete it permanently, then run again."
        )


@dataclass(frozen=True)
class DocumentStore(Store):
    """A place in AWS with one document for each user.

    :param prefix: the beginning of the documents' names. The user's name follows.
    :param region: the region in use. The documents contain it for the credentials files that are created from them.
    :param kms_key_id: the key that new documents are encrypted with; ``None`` uses the service's own.
    """

    aws: Aws
    prefix: str
    region: str | None
    kms_key_id: str | None

    def name(self, user: str) -> str:
        """Return the name of a user's document."""
        return f"{self.prefix}{user}"

    def where(self, user: str) -> str:
        """Return the place of a user's document in words."""
        return self._where(self.name(user))

    @abstractmethod
    def _where(self, name: str) -> str:
        """Return a document in words."""

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

    def _claim_name(self, user: str) -> str:
        return self.name(user) + CLAIM_SUFFIX

    def _saved_credentials(
        self, user: str, text: str | CwagentError | None, claim: str | CwagentError | None
    ) -> SavedCredentials:
        where = self.where(user)
        try:
            if isinstance(text, CwagentError) and not isinstance(text, MarkedForDeletionError):
                raise text
            record = self._parse_claim(user, claim)
        except CwagentError as error:
            return SavedCredentials(where, problem=str(error))
        claimed = record is not None and self._is_live(record)
        if isinstance(text, CwagentError):
            return SavedCredentials(where, record=record, claimed=claimed, problem=str(text), is_being_deleted=True)
        key = key_format.parse(_parse(text))
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
            return parse_record(_parse(text))
        except (KeyError, TypeError, ValueError):
            where = self._where(self._claim_name(user))
            raise CwagentError(
                f"{where} is not a readable record of the keys that existed before an interrupted run. Compare the "
                f"access keys of user '{user}' with {self.where(user)}, delete those that are not in use, then delete "
                f"{where}."
            ) from None

    def _is_live(self, claim: CreationRecord) -> bool:
        return self.aws.now - claim.at < CLAIM_LIFETIME

    @contextmanager
    def claim(
        self, user: str, planned: CreationRecord | None, existing: Iterable[str], now: datetime, deadline: Deadline
    ) -> Iterator[str]:
        """Create the record, which succeeds for one run only. The record of an interrupted run is replaced."""
        run, name = new_claim_id(), self._claim_name(user)
        ids = sorted(existing)
        description = f"write to {self._where(name)} which access keys exist"
        at = now
        while not self._create(name, json.dumps(record_to_dict(ids, at, run)), claim_description(user), description):
            found = self._parse_claim(user, self._load([name]).get(name))
            if found and not self._is_live(found):
                check_planned(user, found, planned)
                # Two runs can do this at the same time. The later one has the claim; the other one finds out.
                record = json.dumps(record_to_dict(ids, self.aws.now, run))
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
        description = f"save access key {key_id} to {self.where(user)}"
        try:
            self._write(self.name(user), json.dumps(document), saved_key_description(key_id, user), description)
        except CwagentError as error:
            # AWS quotes the value that it refuses.
            raise CwagentError(str(error).replace(secret, "(the secret)")) from None

    def rewrite(self, user: str) -> None:
        """Write the saved key again, with the declared region."""
        key = key_format.parse(self._document(user))
        if key:
            self.save(user, key.key_id, key.secret, key.replaced_key_id)

    def _document(self, user: str) -> dict[str, Any]:
        """Read a document again: another run may have saved a key since all were read."""
        text = self._load([self.name(user)]).get(self.name(user))
        if isinstance(text, CwagentError):
            raise text
        return _parse(text)

    def _check_names(self, users: Iterable[str], kind: str, pattern: str, allowed: str) -> None:
        for name in map(self.name, users):
            if name.endswith(CLAIM_SUFFIX):
                raise InvalidInput(
                    f"saved_key: the key of a user whose name ends with {CLAIM_SUFFIX} cannot be saved there: "
                    "names with this ending are used while a key is created. Choose another name for the user."
                )
            if not re.fullmatch(pattern, name + CLAIM_SUFFIX, re.ASCII):
                raise InvalidInput(
                    f"saved_key.key_store_prefix: '{name}' is not a valid {kind} name: AWS allows {allowed}."
                )


@dataclass(frozen=True)
class ParameterStore(DocumentStore):
    """SecureString parameters of Systems Manager."""

    def check(self, users: Iterable[str]) -> None:
        """Refuse names that Parameter Store refuses, and names that every server can read."""
        # The server policy allows ssm:GetParameter on these names, and the default encryption key does not prevent it.
        for name in map(self.name, users):
            if name.lstrip("/").lower().startswith(PARAMETER_PREFIX.lower()):
                raise InvalidInput(
                    "saved_key.key_store_prefix: every server can read parameters whose names begin with "
                    f"{PARAMETER_PREFIX}, so a secret must not be saved there. Choose another prefix."
                )
            if re.match(r"/?(aws|ssm)", name, re.IGNORECASE):
                raise InvalidInput(
                    "saved_key.key_store_prefix: AWS reserves parameter names that begin with aws or ssm."
                )
        # https://docs.aws.amazon.com/systems-manager/latest/userguide/sysman-paramstore-su-create.html
        allowed = "letters, digits and _.-, and / between up to 15 parts when it also begins with /"
        self._check_names(users, "parameter", r"(/[\w.-]+){1,15}|[\w.-]+", allowed)

    def _where(self, name: str) -> str:
        return f"SSM parameter {name}"

    def _load(self, names: Sequence[str]) -> Mapping[str, str | CwagentError]:
        batches = [names[first : first + PARAMETERS_PER_CALL] for first in range(0, len(names), PARAMETERS_PER_CALL)]
        return {name: text for texts in run_in_parallel(self._load_batch, batches) for name, text in texts.items()}

    def _load_batch(self, names: Sequence[str]) -> dict[str, str | CwagentError]:
        """Read up to ten parameters. If one cannot be decrypted, the whole call can fail, so read them one by one.

        :raises AwsApiError: the call failed for another reason.
        """
        description = f"read {self._where(names[0])}" + (f" and {len(names) - 1} more" if names[1:] else "")
        try:
            answer = self.aws.call("ssm:GetParameters", description, Names=list(names), WithDecryption=True)
        except AwsApiError as error:
            if not _is_about_decryption(error) or len(names) == 1:
                raise
            return self._load_one_by_one(names)
        return {found["Name"]: self._text(found) for found in answer["Parameters"]}

    def _load_one_by_one(self, names: Sequence[str]) -> dict[str, str | CwagentError]:
        texts: dict[str, str | CwagentError] = {}
        for name in names:
            try:
                texts.update(self._load_batch([name]))
            except AwsApiError as error:
                texts[name] = error
        return texts

    def _text(self, found: Mapping[str, str]) -> str | CwagentError:
        if found["Type"] == SECURE:
            return found["Value"]
        return CwagentError(
            f"SSM parameter {found['Name']} is of type {found['Type']}, which is not encrypted, and its type cannot be "
            f"changed to {SECURE}. Delete it, or choose another saved_key.key_store_prefix."
        )

    def _create(self, name: str, text: str, purpose: str, description: str) -> bool:
        try:
            self._put(name, text, purpose, description, overwrite=False)
        except AwsApiError as error:
            if error.code not in {"ParameterAlreadyExists", TOO_MANY_UPDATES}:
                raise
            return False
        return True

    def _write(self, name: str, text: str, purpose: str, description: str) -> None:
        codes = frozenset({TOO_MANY_UPDATES})
        self.aws.retry(lambda: self._put(name, text, purpose, description, overwrite=True), codes)

    def _put(self, name: str, text: str, purpose: str, description: str, *, overwrite: bool) -> None:
        encrypted: dict[str, Any] = {"KeyId": self.kms_key_id} if self.kms_key_id else {}
        self.aws.call(
            "ssm:PutParameter",
            description,
            Name=name,
            Value=text,
            Description=purpose,
            Type=SECURE,
            Overwrite=overwrite,
            **encrypted,
        )

    def _delete(self, name: str) -> None:
        try:
            self.aws.call("ssm:DeleteParameter", f"delete {self._where(name)}", Name=name)
        except AwsApiError as error:
            if error.code != "ParameterNotFound":
                raise


@dataclass(frozen=True)
class SecretStore(DocumentStore):
    """Secrets of Secrets Manager."""

    def check(self, users: Iterable[str]) -> None:
        """Refuse names that Secrets Manager refuses."""
        # https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_CreateSecret.html
        self._check_names(users, "secret", r"[\w/+=.@-]{1,512}", "up to 504 letters, digits and /_+=.@-")

    def _where(self, name: str) -> str:
        return f"secret {name}"

    def _load(self, names: Sequence[str]) -> Mapping[str, str | CwagentError]:
        texts = dict(zip(names, run_in_parallel(self._load_one, names)))
        return {name: text for name, text in texts.items() if text is not None}

    def _load_one(self, name: str) -> str | CwagentError | None:
        try:
            answer = self.aws.call("secretsmanager:GetSecretValue", f"read {self._where(name)}", SecretId=name)
        except AwsApiError as error:
            if error.code == "ResourceNotFoundException":
                return None
            if _is_about_decryption(error):
                return error
            if error.code != "InvalidRequestException":
                raise
            if name.endswith(CLAIM_SUFFIX):  # the claim was released a moment ago
                return None
            return MarkedForDeletionError(str(error), name) if is_marked_for_deletion(error) else error
        return str(answer.get("SecretString", ""))

    def _create(self, name: str, text: str, purpose: str, description: str) -> bool:
        try:
            self.aws.call(
                "secretsmanager:CreateSecret",
                description,
                Name=name,
                SecretString=text,
                Description=purpose,
                **self._encrypted,
            )
        except AwsApiError as error:
            # A secret that was deleted a moment ago is scheduled for deletion.
            if error.code not in {"ResourceExistsException", "InvalidRequestException"}:
                raise
            return False
        return True

    def _write(self, name: str, text: str, purpose: str, description: str) -> None:
        # Not PutSecretValue, which keeps using the KMS key that the secret was created with.
        action = "secretsmanager:UpdateSecret"
        try:
            self.aws.call(action, description, SecretId=name, SecretString=text, Description=purpose, **self._encrypted)
        except AwsApiError as error:
            if error.code != "ResourceNotFoundException":
                raise
            if not self._create(name, text, purpose, description):
                raise

    @property
    def _encrypted(self) -> dict[str, Any]:
        return {"KmsKeyId": self.kms_key_id} if self.kms_key_id else {}

    def _delete(self, name: str) -> None:
        """Delete a secret immediately: its key is deleted already, and a scheduled deletion would block the name."""
        try:
            self.aws.call(
                "secretsmanager:DeleteSecret",
                f"delete {self._where(name)}",
                SecretId=name,
                ForceDeleteWithoutRecovery=True,
            )
        except AwsApiError as error:
            # AWS deletes in the background, and refuses to delete a secret that was deleted a moment ago.
            if error.code != "ResourceNotFoundException" and not is_marked_for_deletion(error):
                raise


def is_marked_for_deletion(error: AwsApiError) -> bool:
    """Whether a secret cannot be used because AWS is deleting it, or will do so on a day that a person chose."""
    return _MARKED_FOR_DELETION in str(error)


def _is_about_decryption(error: AwsApiError) -> bool:
    """Whether a document cannot be read because its KMS key cannot be used. Other documents are not affected."""
    return error.code.startswith(("InvalidKeyId", "KMS", "DecryptionFailure")) or "lacks kms:Decrypt" in str(error)


def _parse(text: str | None) -> dict[str, Any]:
    """Return the document in a text. A text that is not a document has no key."""
    try:
        document = json.loads(text or "{}")
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
