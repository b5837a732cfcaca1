# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Saves access keys as SecureString parameters of Systems Manager, and lists parameters."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .._ground.errors import AwsApiError, CwagentError, InvalidInput
from .._ground.names import PARAMETER_PREFIX
from .._ground.plan import run_in_parallel
from .store import DocumentStore, is_about_decryption

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from .._ground.aws import Aws


# https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameters.html
PARAMETERS_PER_CALL = 10
# https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_DescribeParameters.html
PARAMETERS_PER_PAGE = 50
SECURE = "SecureString"
# AWS answers a second write to a parameter within about a second with this.
TOO_MANY_UPDATES = "TooManyUpdates"


def list_parameters(aws: Aws, prefixes: Sequence[str], description: str) -> list[dict[str, Any]]:
    """Return the parameters whose names begin with one of the prefixes.

    :param description: the attempt in words, for an error.
    :raises CwagentError: they cannot be listed.
    """
    # AWS refuses an empty value, which is the beginning of every name.
    by_name = {"ParameterFilters": [{"Key": "Name", "Option": "BeginsWith", "Values": list(prefixes)}]}
    filters: dict[str, Any] = by_name if all(prefixes) else {}
    pages = aws.pages("ssm:DescribeParameters", description, **filters, MaxResults=PARAMETERS_PER_PAGE)
    return [each for page in pages for each in page["Parameters"]]


@dataclass(frozen=True)
class ParameterStore(DocumentStore):
    """SecureString parameters of Systems Manager."""

    NAME = "parameter_store"
    WORDS = "a SecureString parameter of Systems Manager"
    KIND = "parameter"
    NOUN = "SSM parameter"
    KMS_OPTION = "KeyId"
    POLICY = "keys-in-parameter-store.json"
    ARE_PARAMETERS = True

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
        self._check_names(users, r"(/[\w.-]+){1,15}|[\w.-]+", allowed)

    def list_documents(self, description: str) -> list[dict[str, Any]]:
        """Return the parameters under the prefix."""
        return list_parameters(self.aws, [self.prefix], description)

    def _find(self, name: str, description: str) -> str | CwagentError | None:
        answer = self.aws.find("ssm:GetParameter", description, "ParameterNotFound", Name=name, WithDecryption=True)
        return str(answer["Parameter"]["Value"]) if answer else None

    def _load(self, names: Sequence[str]) -> Mapping[str, str | CwagentError]:
        batches = [names[first : first + PARAMETERS_PER_CALL] for first in range(0, len(names), PARAMETERS_PER_CALL)]
        return {name: text for texts in run_in_parallel(self._load_batch, batches) for name, text in texts.items()}

    def _load_batch(self, names: Sequence[str]) -> dict[str, str | CwagentError]:
        """Read up to ten parameters. If one cannot be decrypted, the whole call can fail, so read them one by one.

        :raises AwsApiError: the call failed for another reason.
        """
        description = f"read {self.where_of(names[0])}" + (f" and {len(names) - 1} more" if names[1:] else "")
        try:
            answer = self.aws.call("ssm:GetParameters", description, Names=list(names), WithDecryption=True)
        except AwsApiError as error:
            if not is_about_decryption(error) or len(names) == 1:
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
            f"{self.where_of(found['Name'])} is of type {found['Type']}, which is not encrypted, and its type cannot "
            f"be changed to {SECURE}. Delete it, or choose another saved_key.key_store_prefix."
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
        document = {"Name": name, "Value": text, "Description": purpose, "Type": SECURE, **self._encrypted}
        self.aws.call("ssm:PutParameter", description, **document, Overwrite=overwrite)

    def _delete(self, name: str) -> None:
        self.aws.find("ssm:DeleteParameter", f"delete {self.where_of(name)}", "ParameterNotFound", Name=name)
