# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every place for access keys can do. No secret is lost, and no unknown key is left, if a run is interrupted."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._access_keys.rotation import Pending

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ansible_collections.cwagent.iam.plugins.module_utils._access_keys.rotation import SavedCredentials


class Store(ABC):
    """A place with one access key for each user.

    Before a key is created, the ids of the existing keys are recorded there. A key that was created after the record
    and is not saved comes from a run that was interrupted before it could save the secret.
    """

    @abstractmethod
    def check(self, users: Iterable[str]) -> None:
        """Refuse a place that cannot be used, before anything is written.

        :raises InvalidInput: it says why.
        """

    @abstractmethod
    def read(self, users: Sequence[str]) -> dict[str, SavedCredentials]:
        """Read what is saved for users; an unreadable entry is a problem of its user only."""

    @abstractmethod
    def prepare(self, user: str, existing: Iterable[str], now: datetime) -> None:
        """Record which keys exist; this also proves that a key can be saved there.

        :raises CwagentError: it cannot.
        """

    @abstractmethod
    def save(
        self, user: str, key_id: str, secret: str, replaced_key_id: str | None = None, keep_previous: bool = False
    ) -> None:
        """Save a key in place of the previous content, and delete the record.

        :param replaced_key_id: the user's key that was saved before; rotation deactivates and deletes only that one.
        :param keep_previous: whether somebody may need the previous content.
        :raises CwagentError: it could not be saved.
        """

    @abstractmethod
    def rewrite(self, user: str) -> None:
        """Write the saved key again, in the declared form."""

    @abstractmethod
    def delete(self, user: str) -> None:
        """Delete what is saved for a user.

        :raises CwagentError: it could not be deleted.
        """


def record_to_dict(existing: Iterable[str], now: datetime) -> dict[str, Any]:
    """Return the record of the existing keys as it is written."""
    return {"access_key_ids": sorted(existing), "at": now.isoformat()}


def parse_record(written: Mapping[str, Any]) -> Pending:
    """Return the record that was written. :raises KeyError, TypeError, ValueError: it is not a record."""
    return Pending(frozenset(written["access_key_ids"]), datetime.fromisoformat(written["at"]))
