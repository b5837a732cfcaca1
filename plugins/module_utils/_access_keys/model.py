# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One access key of a user. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ansible_collections.cwagent.iam.plugins.module_utils._plan import Step

if TYPE_CHECKING:
    from datetime import datetime

# https://docs.aws.amazon.com/IAM/latest/APIReference/API_DeleteAccessKey.html: changed a moment ago
KEY_RETRY_CODES = frozenset({"NoSuchEntity", "EntityTemporarilyUnmodifiable"})


@dataclass(frozen=True)
class AccessKey:
    """An access key as IAM lists it.

    :param created: ``None`` for one that is yet to be made.
    :param used: when a request was last signed with it; only meaningful where it was asked for.
    """

    id: str
    active: bool = True
    created: datetime | None = None
    used: datetime | None = None


def set_key_status(user: str, key_id: str, active: bool) -> Step:
    """The step that makes an access key active or inactive."""
    arguments = {"user_name": user, "access_key_id": key_id, "status": "Active" if active else "Inactive"}
    words = f"{'activate' if active else 'deactivate'} access key {key_id} of user '{user}'"
    return Step("iam:UpdateAccessKey", arguments, words, retry_when=KEY_RETRY_CODES)
