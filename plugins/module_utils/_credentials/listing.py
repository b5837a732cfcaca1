# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lists parameters and secrets with their descriptions, which contain the users of the access keys. Reads no value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._credentials.saved_key import is_description_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws

FILE, PARAMETER_STORE, SECRETS_MANAGER = KEY_STORES = "file", "parameter_store", "secrets_manager"
CLAIM_SUFFIX = ".pending"
# https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_DescribeParameters.html
PARAMETERS_PER_PAGE = 50
# https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_ListSecrets.html
SECRETS_PER_PAGE = 100


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


def list_secrets(aws: Aws, prefix: str, description: str) -> list[dict[str, Any]]:
    """Return the secrets whose names begin with a prefix, without secrets that are scheduled for deletion.

    :param description: the attempt in words, for an error.
    :raises CwagentError: they cannot be listed.
    """
    filters: dict[str, Any] = {"Filters": [{"Key": "name", "Values": [prefix]}]} if prefix else {}
    pages = aws.pages("secretsmanager:ListSecrets", description, **filters, MaxResults=SECRETS_PER_PAGE)
    # The emulators list the deleted ones.
    return [each for page in pages for each in page["SecretList"] if not each.get("DeletedDate")]


def find_users_with_saved_keys(aws: Aws, store: str, prefix: str) -> frozenset[str]:
    """Return the names of the users whose access keys are saved in AWS, including users that no longer exist.

    :param store: ``parameter_store`` or ``secrets_manager``.
    :param prefix: the beginning of the names of parameters or secrets. The name of the user follows.
    :raises CwagentError: they cannot be listed.
    """
    description = f"list the access keys saved under {prefix}"
    is_ssm = store == PARAMETER_STORE
    found = list_parameters(aws, [prefix], description) if is_ssm else list_secrets(aws, prefix, description)
    return frozenset(index_by_user(found, prefix))


def index_by_user(found: Iterable[Mapping[str, Any]], prefix: str) -> dict[str, str]:
    """Return by user the name of the listed parameter or secret with its access key.

    Documents that others saved under the prefix have another description. A record of keys counts only if no key is
    saved.
    """
    names = [(each["Name"], each.get("Description", "")) for each in found if each["Name"].startswith(prefix)]
    users = [(name[len(prefix) :].removesuffix(CLAIM_SUFFIX), name, text) for name, text in names]
    records_first = sorted(users, key=lambda each: not each[1].endswith(CLAIM_SUFFIX))
    return {user: name for user, name, text in records_first if is_description_of(user, text)}
