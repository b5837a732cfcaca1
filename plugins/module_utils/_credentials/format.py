# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A saved access key: how it is read from the places where it is saved, and how a host gets it. Pure.

No error in here quotes what it stumbled over, which can be the secret.
"""

from __future__ import annotations

import configparser
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

# What botocore's and the CLI's files call the parts of a key; the documents in AWS use the same names.
KEY_ID, SECRET, REGION = "aws_access_key_id", "aws_secret_access_key", "region"
# What stands on one line of a credentials file and means nothing else there.
_VALUE = r"[!-~]+"


@dataclass(frozen=True)
class SavedKey:
    """An access key with its secret. :param region: what AWS tools are to use beside it."""

    key_id: str
    secret: str = field(repr=False)
    region: str | None = None


def from_file(text: str, profile: str) -> SavedKey | None:
    """The key in the text of an AWS shared-credentials file; ``None`` where there is no whole one."""
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(text)
    except configparser.Error:
        return None
    return read(parser[profile]) if parser.has_section(profile) else None


def from_json(text: str) -> SavedKey | None:
    """The key in the JSON of a parameter or secret; ``None`` where there is no whole one."""
    try:
        saved = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return read(saved) if isinstance(saved, dict) else None


def read(saved: Mapping[str, Any]) -> SavedKey | None:
    """The key in the parts that are saved, ``None`` where it is not whole: who saves and who reads agree on that."""
    key_id, secret = saved.get(KEY_ID), saved.get(SECRET)
    region = saved.get(REGION) or None
    whole = all(isinstance(each, str) and re.fullmatch(_VALUE, each) for each in (key_id, secret, region or "none"))
    return SavedKey(str(key_id), str(secret), region) if whole else None


def as_file(key: SavedKey, profile: str) -> str:
    """The text of an AWS shared-credentials file with the key."""
    region = [f"{REGION} = {key.region}"] if key.region else []
    lines = [f"{KEY_ID} = {key.key_id}", f"{SECRET} = {key.secret}", *region]
    return "\n".join([f"[{profile}]", *lines, ""])
