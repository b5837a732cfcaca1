# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Records which reads of an account are denied."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from ansible_collections.cwagent.iam.plugins.module_utils._access.model import Unread
from ansible_collections.cwagent.iam.plugins.module_utils._errors import (
    DENIED_CODES,
    MISSING_POLICY,
    NOT_OFFERED_CODES,
    AwsApiError,
)
from ansible_collections.cwagent.iam.plugins.module_utils._plan import NOT_FOUND_CODES

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Attempts:
    """Tries the reads of an account. AWS may deny each of them."""

    def __init__(self) -> None:
        self._unread: list[Unread] = []
        self._errors: list[AwsApiError] = []
        self._has_read = False

    def attempt(self, what: str, region: str | None, work: Callable[[], T], *more: str) -> T | None:
        """Return the result of a read; ``None`` if it is denied, or if the object was deleted after the listing.

        :param more: further parts that the read serves.
        """
        try:
            found = work()
        except AwsApiError as error:
            if error.code in NOT_FOUND_CODES | {MISSING_POLICY}:
                return None
            if error.code not in DENIED_CODES | NOT_OFFERED_CODES:
                raise
            self._errors.append(error)
            for part in (what, *more):
                self.add_unread(part, error, region)
            return None
        self._has_read = True
        return found

    def add_unread(self, what: str, error: AwsApiError, region: str | None = None) -> None:
        """Record a part that could not be read."""
        self._unread.append(Unread(what, error.action, region, str(error)))

    def has_unread(self, what: str) -> bool:
        """Whether a part could not be read, in any region."""
        return any(each.what == what for each in self._unread)

    @property
    def unread(self) -> tuple[Unread, ...]:
        """The parts that could not be read, each once, however many calls were denied."""
        parts = {(each.what, each.action, each.region or ""): each for each in reversed(self._unread)}
        return tuple(parts[key] for key in sorted(parts))

    def raise_if_all_denied(self) -> None:
        """Raise the error of the first read if AWS denied every read.

        :raises AwsApiError: nothing could be read.
        """
        if not self._has_read:
            raise self._errors[0]
