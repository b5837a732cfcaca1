# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Saves access keys in AWS, as SecureString parameters or as secrets: for controllers whose files do not persist.

One document for each user holds the key and, while a key is being created, the record of the existing keys. Both are
written by the same call with the same encryption key, so writing the record proves that a secret can be saved.
"""

from __future__ import annotations

import json
import re
from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._access_keys.rotation import SavedCredentials
from ansible_collections.cwagent.iam.plugins.module_utils._credentials import format as key_format
from ansible_collections.cwagent.iam.plugins.module_utils._credentials.format import SavedKey
from ansible_collections.cwagent.iam.plugins.module_utils._credentials.store import Store, parse_record, record_to_dict
from ansible_collections.cwagent.iam.plugins.module_utils._errors import AwsApiError, CwagentError, InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._names import PARAMETER_PREFIX
from ansible_collections.cwagent.iam.plugins.module_utils._plan import run_in_parallel

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws

# https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameters.html
PARAMETERS_PER_CALL = 10
SECURE = "SecureString"
RECORD_KEY = "keys_before"


@dataclass(frozen=True)
class DocumentStore(Store):
    """A place in AWS with one document for each user.

    :param prefix: the beginning of the documents' names; the user's name follows.
    :param region: the region in use; written into the documents, for the credentials files that are created from them.
    :param kms_key_id: the key that new documents are encrypted with; ``None`` uses the service's own.
    """

    aws: Aws
    prefix: str
    region: str | None
    kms_key_id: str | None

    def name(self, user: str) -> str:
        """Return the name of a user's document."""
        return f"{self.prefix}{user}"

    @abstractmethod
    def where(self, user: str) -> str:
        """Return the place of a user's document in words."""

    @abstractmethod
    def _load(self, users: Sequence[str]) -> Mapping[str, str | CwagentError]:
        """Read the texts that exist; where one cannot be used, the error is in its place."""

    @abstractmethod
    def _write(self, user: str, text: str, description: str) -> None:
        """Create or overwrite a document."""

    def read(self, users: Sequence[str]) -> dict[str, SavedCredentials]:
        """Read what is saved for users."""
        texts = self._load(users)
        return {user: self._saved(user, texts.get(user)) for user in users}

    def _saved(self, user: str, text: str | CwagentError | None) -> SavedCredentials:
        where = self.where(user)
        if isinstance(text, CwagentError):
            return SavedCredentials(where, problem=str(text))
        document = _parse(text)
        try:
            pending = parse_record(document[RECORD_KEY]) if RECORD_KEY in document else None
        except (KeyError, TypeError, ValueError):
            return SavedCredentials(
                where,
                problem=f"{where} has an unreadable record of the keys that existed before an interrupted run. Compare "
                f"the access keys of user '{user}' with it, delete those that are not in use, then delete it.",
            )
        key = key_format.parse(document)
        if key is None:
            return SavedCredentials(where, pending=pending)
        return SavedCredentials(
            where, key.key_id, self.region in (None, key.region), pending, replaced_key_id=key.replaced_key_id
        )

    def prepare(self, user: str, existing: Iterable[str], now: datetime) -> None:
        """Write the record into the document, next to the saved key."""
        document = {**self._document(user), RECORD_KEY: record_to_dict(existing, now)}
        self._write(user, json.dumps(document), f"write to {self.where(user)} which access keys exist")

    def save(
        self, user: str, key_id: str, secret: str, replaced_key_id: str | None = None, keep_previous: bool = False
    ) -> None:
        """Save a key in place of the previous content, of which AWS itself keeps earlier versions."""
        del keep_previous
        document = key_format.to_values(SavedKey(key_id, secret, self.region, replaced_key_id))
        try:
            self._write(user, json.dumps(document), f"save access key {key_id} to {self.where(user)}")
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
        text = self._load([user]).get(user)
        if isinstance(text, CwagentError):
            raise text
        return _parse(text)

    def _check_names(self, users: Iterable[str], kind: str, pattern: str, allowed: str) -> None:
        for name in map(self.name, users):
            if not re.fullmatch(pattern, name, re.ASCII):
                raise InvalidInput(f"credentials.prefix: '{name}' is not a valid {kind} name: AWS allows {allowed}.")


@dataclass(frozen=True)
class ParameterStore(DocumentStore):
    """SecureString parameters of Systems Manager."""

    def check(self, users: Iterable[str]) -> None:
        """Refuse names that Parameter Store refuses, and those that every server can read."""
        # The server policy allows ssm:GetParameter on these names, and the default encryption key does not prevent it.
        for name in map(self.name, users):
            if name.lstrip("/").lower().startswith(PARAMETER_PREFIX.lower()):
                raise InvalidInput(
                    "credentials.prefix: every server can read parameters whose names begin with "
                    f"{PARAMETER_PREFIX}, so a secret must not be saved there. Choose another prefix."
                )
            if re.match(r"/?(aws|ssm)", name, re.IGNORECASE):
                raise InvalidInput("credentials.prefix: AWS reserves parameter names that begin with aws or ssm.")
        # https://docs.aws.amazon.com/systems-manager/latest/userguide/sysman-paramstore-su-create.html
        allowed = "letters, digits and _.-, and / between up to 15 parts when it also begins with /"
        self._check_names(users, "parameter", r"(/[\w.-]+){1,15}|[\w.-]+", allowed)

    def where(self, user: str) -> str:
        """Return the place of a user's document in words."""
        return f"SSM parameter {self.name(user)}"

    def _load(self, users: Sequence[str]) -> Mapping[str, str | CwagentError]:
        batches = [users[first : first + PARAMETERS_PER_CALL] for first in range(0, len(users), PARAMETERS_PER_CALL)]
        return {user: text for texts in run_in_parallel(self._load_batch, batches) for user, text in texts.items()}

    def _load_batch(self, users: Sequence[str]) -> dict[str, str | CwagentError]:
        names = {self.name(user): user for user in users}
        description = f"read {self.where(users[0])}" + (f" and {len(users) - 1} more" if users[1:] else "")
        answer = self.aws.call("ssm:GetParameters", description, Names=list(names), WithDecryption=True)
        return {names[found["Name"]]: self._text(found) for found in answer["Parameters"]}

    def _text(self, found: Mapping[str, str]) -> str | CwagentError:
        if found["Type"] == SECURE:
            return found["Value"]
        return CwagentError(
            f"SSM parameter {found['Name']} is of type {found['Type']}, which is not encrypted, and its type cannot be "
            f"changed to {SECURE}. Delete it, or choose another credentials.prefix."
        )

    def _write(self, user: str, text: str, description: str) -> None:
        encrypted: dict[str, Any] = {"KeyId": self.kms_key_id} if self.kms_key_id else {}
        self.aws.call(
            "ssm:PutParameter", description, Name=self.name(user), Value=text, Type=SECURE, Overwrite=True, **encrypted
        )

    def delete(self, user: str) -> None:
        """Delete the parameter."""
        try:
            self.aws.call("ssm:DeleteParameter", f"delete {self.where(user)}", Name=self.name(user))
        except AwsApiError as error:
            if error.code != "ParameterNotFound":
                raise


@dataclass(frozen=True)
class SecretStore(DocumentStore):
    """Secrets of Secrets Manager."""

    def check(self, users: Iterable[str]) -> None:
        """Refuse names that Secrets Manager refuses."""
        # https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_CreateSecret.html
        self._check_names(users, "secret", r"[\w/+=.@-]{1,512}", "up to 512 letters, digits and /_+=.@-")

    def where(self, user: str) -> str:
        """Return the place of a user's document in words."""
        return f"secret {self.name(user)}"

    def _load(self, users: Sequence[str]) -> Mapping[str, str | CwagentError]:
        texts = dict(zip(users, run_in_parallel(self._load_one, users)))
        return {user: text for user, text in texts.items() if text is not None}

    def _load_one(self, user: str) -> str | CwagentError | None:
        try:
            answer = self.aws.call(
                "secretsmanager:GetSecretValue", f"read {self.where(user)}", SecretId=self.name(user)
            )
        except AwsApiError as error:
            if error.code == "ResourceNotFoundException":
                return None
            if error.code != "InvalidRequestException":
                raise
            return CwagentError(
                f"{error} If it is scheduled for deletion, restore it (aws secretsmanager restore-secret --secret-id "
                f"{self.name(user)}) or delete it permanently, then run again."
            )
        return str(answer.get("SecretString", ""))

    def _write(self, user: str, text: str, description: str) -> None:
        name = self.name(user)
        # Not PutSecretValue, which keeps using the KMS key that the secret was created with.
        encrypted: dict[str, Any] = {"KmsKeyId": self.kms_key_id} if self.kms_key_id else {}
        try:
            self.aws.call("secretsmanager:UpdateSecret", description, SecretId=name, SecretString=text, **encrypted)
        except AwsApiError as error:
            if error.code != "ResourceNotFoundException":
                raise
            purpose = f"Access key of IAM user {user} for the Amazon CloudWatch agent."
            self.aws.call(
                "secretsmanager:CreateSecret",
                description,
                Name=name,
                SecretString=text,
                Description=purpose,
                **encrypted,
            )

    def delete(self, user: str) -> None:
        """Delete the secret immediately: its key is deleted already, and a scheduled deletion would block the name."""
        try:
            self.aws.call(
                "secretsmanager:DeleteSecret",
                f"delete {self.where(user)}",
                SecretId=self.name(user),
                ForceDeleteWithoutRecovery=True,
            )
        except AwsApiError as error:
            if error.code != "ResourceNotFoundException":
                raise


def _parse(text: str | None) -> dict[str, Any]:
    """Return the document in a text; a text that is not a document has no key."""
    try:
        document = json.loads(text or "{}")
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
