# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One access key of a user, and the steps on it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ansible_collections.cwagent.iam.plugins.module_utils._plan import NOT_FOUND_CODES, Kind, Step

if TYPE_CHECKING:
    from datetime import datetime

# IAM returns this for a key that was created or changed a moment ago.
# https://docs.aws.amazon.com/IAM/latest/APIReference/API_DeleteAccessKey.html
KEY_RETRY_CODES = frozenset({"NoSuchEntity"})


@dataclass(frozen=True)
class AccessKey:
    """An access key as IAM lists it.

    :param id: empty for a key that is planned and does not exist yet.
    :param created: when it was created; ``None`` for a planned key.
    :param used: when a request was last signed with it. The value means something only if it was read.
    """

    id: str
    active: bool = True
    created: datetime | None = None
    used: datetime | None = None


def set_key_status(user: str, key_id: str, active: bool) -> Step:
    """Return the step that activates or deactivates an access key."""
    arguments = {"user_name": user, "access_key_id": key_id, "status": "Active" if active else "Inactive"}
    summary = f"{'activate' if active else 'deactivate'} access key {key_id} of user '{user}'"
    return Step(Kind.UPDATE, "iam:UpdateAccessKey", arguments, summary, retry_when=KEY_RETRY_CODES)


def delete_key(user: str, key_id: str, reason: str = "") -> Step:
    """Return the step that deletes an access key. :param reason: why, as the end of the summary."""
    arguments = {"user_name": user, "access_key_id": key_id}
    summary = f"delete access key {key_id} of user '{user}'{reason}"
    return Step(Kind.DELETE, "iam:DeleteAccessKey", arguments, summary, done_when=NOT_FOUND_CODES)
