# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Saves access keys as secrets of Secrets Manager."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .._ground.errors import AwsApiError, CwagentError
from .._ground.plan import run_in_parallel
from .store import CLAIM_SUFFIX, DocumentStore, MarkedForDeletionError, is_about_decryption

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


# https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_ListSecrets.html
SECRETS_PER_PAGE = 100
# In the message of an InvalidRequestException. A forced deletion is done in the background, within about two minutes:
# https://github.com/hashicorp/terraform-provider-aws/pull/5583
_MARKED_FOR_DELETION = "because it was marked for deletion"


@dataclass(frozen=True)
class SecretStore(DocumentStore):
    """Secrets of Secrets Manager."""

    NAME = "secrets_manager"
    WORDS = "a secret of Secrets Manager"
    KIND = NOUN = "secret"
    KMS_OPTION = "KmsKeyId"
    POLICY = "keys-in-secrets-manager.json"

    def check(self, users: Iterable[str]) -> None:
        """Refuse names that Secrets Manager refuses."""
        # https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_CreateSecret.html
        self._check_names(users, r"[\w/+=.@-]{1,512}", "up to 504 letters, digits and /_+=.@-")

    def list_documents(self, description: str) -> list[dict[str, Any]]:
        """Return the secrets under the prefix, without secrets that are scheduled for deletion."""
        filters: dict[str, Any] = {"Filters": [{"Key": "name", "Values": [self.prefix]}]} if self.prefix else {}
        pages = self.aws.pages("secretsmanager:ListSecrets", description, **filters, MaxResults=SECRETS_PER_PAGE)
        # The emulators list the deleted ones.
        return [each for page in pages for each in page["SecretList"] if not each.get("DeletedDate")]

    def _load(self, names: Sequence[str]) -> Mapping[str, str | CwagentError]:
        found = run_in_parallel(lambda name: self._find(name, f"read {self.where_of(name)}"), names)
        return {name: text for name, text in zip(names, found) if text is not None}

    def _find(self, name: str, description: str) -> str | CwagentError | None:
        try:
            answer = self.aws.call("secretsmanager:GetSecretValue", description, SecretId=name)
        except AwsApiError as error:
            if error.code == "ResourceNotFoundException":
                return None
            if is_about_decryption(error):
                return error
            if error.code != "InvalidRequestException":
                raise
            if name.endswith(CLAIM_SUFFIX):  # the claim was released a moment ago
                return None
            return MarkedForDeletionError(str(error), name) if _is_marked_for_deletion(error) else error
        return str(answer.get("SecretString", ""))

    def _create(self, name: str, text: str, purpose: str, description: str) -> bool:
        document = {"Name": name, "SecretString": text, "Description": purpose, **self._encrypted}
        try:
            self.aws.call("secretsmanager:CreateSecret", description, **document)
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

    def _delete(self, name: str) -> None:
        """Delete a secret immediately: its key is deleted already, and a scheduled deletion would block the name."""
        action, description = "secretsmanager:DeleteSecret", f"delete {self.where_of(name)}"
        try:
            self.aws.call(action, description, SecretId=name, ForceDeleteWithoutRecovery=True)
        except AwsApiError as error:
            # AWS deletes in the background, and refuses to delete a secret that was deleted a moment ago.
            if error.code != "ResourceNotFoundException" and not _is_marked_for_deletion(error):
                raise


def _is_marked_for_deletion(error: AwsApiError) -> bool:
    """Whether a secret cannot be used because AWS is deleting it, or will do so on a day that a person chose."""
    return _MARKED_FOR_DELETION in str(error)
