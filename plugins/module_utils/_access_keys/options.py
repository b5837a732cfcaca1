# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the rules for access keys from a module's options."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._access_keys.rotation import KeyRules
from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_DAYS = 36500


def key_rules(params: Mapping[str, Any]) -> KeyRules:
    """Return the rules for the keys.

    :raises InvalidInput: a number of days is out of range.
    """
    max_age, retire_after = params["max_key_age"], params["retire_after"]
    if max_age is not None:
        check_days("max_key_age", max_age, minimum=0)
    check_days("retire_after", retire_after, minimum=0)
    return KeyRules(
        max_age=None if max_age is None else timedelta(days=max_age),
        retire_after=timedelta(days=retire_after),
        revoke_old=params["revoke_old"],
        evict_unmanaged_key=bool(params["credentials"] and params["credentials"]["evict_unmanaged_key"]),
    )


def check_days(option: str, days: int, minimum: int) -> None:
    """Check a number of days. :raises InvalidInput: it is out of range; the message names the option."""
    if not minimum <= days <= MAX_DAYS:
        raise InvalidInput(f"{option} must be between {minimum} and {MAX_DAYS} days, not {days}.")
