# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The formats of a saved access key: a shared-credentials file, and a JSON document in AWS. Pure.

No error of this file quotes the text, which can be the secret.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._credentials.section import read_section

if TYPE_CHECKING:
    from collections.abc import Mapping

# The names in shared-credentials files; the documents in AWS use the same names.
# A session has a token. No saved key has one.
KEY_ID, SECRET, TOKEN, REGION = "aws_access_key_id", "aws_secret_access_key", "aws_session_token", "region"
# The key that the saved one replaced. Only rotation reads it; AWS tools ignore it, and it is not delivered.
REPLACED = "replaced_access_key_id"
# A value that fits on one line of a credentials file and has no special meaning there.
_VALUE = r"[!-~]+"


@dataclass(frozen=True)
class SavedKey:
    """An access key with its secret.

    :param region: the region for AWS tools that use the key.
    :param replaced_key_id: the access key that this one replaced when it was created.
    """

    key_id: str
    secret: str = field(repr=False)
    region: str | None = None
    replaced_key_id: str | None = None


def from_file(text: str, profile: str) -> SavedKey | None:
    """Return the key in the text of an AWS shared-credentials file; ``None`` if there is no complete one."""
    values = read_section(text, profile)
    return parse(values) if values else None


def from_json(text: str) -> SavedKey | None:
    """Return the key in the JSON of a parameter or secret; ``None`` if there is no complete one."""
    try:
        saved = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return parse(saved) if isinstance(saved, dict) else None


def parse(saved: Mapping[str, Any]) -> SavedKey | None:
    """Return the key in the saved values; ``None`` if it is not complete.

    The stores and the readers both use this, so that they agree on the meaning of a complete key.
    """
    key_id, secret = saved.get(KEY_ID), saved.get(SECRET)
    region = saved.get(REGION) or None
    if not all(_is_value(value) for value in (key_id, secret, region or "none")):
        return None
    replaced = saved.get(REPLACED)
    return SavedKey(str(key_id), str(secret), region, replaced if _is_value(replaced) else None)


def _is_value(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(_VALUE, value) is not None


def to_values(key: SavedKey) -> dict[str, str]:
    """Return the values that are saved for a key, in files and in documents. ``parse`` reads them."""
    optional = {REGION: key.region, REPLACED: key.replaced_key_id}
    return {KEY_ID: key.key_id, SECRET: key.secret, **{name: value for name, value in optional.items() if value}}


def to_file(key: SavedKey, profile: str) -> str:
    """Return the text of an AWS shared-credentials file that delivers the key."""
    lines = [f"{name} = {value}" for name, value in to_values(replace(key, replaced_key_id=None)).items()]
    return "\n".join([f"[{profile}]", *lines, ""])


def saved_key_description(key_id: str, user: str) -> str:
    """Return the description of a parameter or secret with a key, which can be read without reading the secret."""
    return f"Access key {key_id} of IAM user {user} for the Amazon CloudWatch agent."


def claim_description(user: str) -> str:
    """Return the description of the record of a user's keys, which exists while another key is being created."""
    return f"Access keys that IAM user {user} had before another one is created."


def is_description_of(user: str, description: str) -> bool:
    """Whether a parameter or secret with this description is the saved key of a user, or the record of its keys."""
    key_id = described_key(description)
    return description == (saved_key_description(key_id, user) if key_id else claim_description(user))


def described_key(description: str) -> str | None:
    """Return the id of the key in a description; ``None`` for any other description."""
    named = re.match(r"Access key (\w{16,128}) of IAM user ", description, re.ASCII)
    return named.group(1) if named else None
