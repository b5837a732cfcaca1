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

    :raises InvalidInput: a number of days is out of range, or an option requires another one.
    """
    max_age, key_delete_after_days = params["key_max_age_days"], params["key_delete_after_days"]
    rotate_now = params["rotate_now"]
    if max_age is not None:
        # Replacing all keys now does not depend on an age, so 0, which means no limit elsewhere, is valid here too.
        check_days("key_max_age_days", max_age, minimum=0 if rotate_now else 1)
    elif params["revoke_old"] and not rotate_now:
        raise InvalidInput("revoke_old requires key_max_age_days or rotate_now.")
    check_days("key_delete_after_days", key_delete_after_days, minimum=0)
    return KeyRules(
        max_age=None if max_age is None else timedelta(days=max_age),
        rotate_now=rotate_now,
        key_delete_after_days=timedelta(days=key_delete_after_days),
        revoke_old=params["revoke_old"],
        evict_unmanaged_key=bool(params["saved_key"] and params["saved_key"]["evict_unmanaged_key"]),
    )


def check_days(option: str, days: int, minimum: int) -> None:
    """Check a number of days. :raises InvalidInput: it is out of range; the message contains the option."""
    if not minimum <= days <= MAX_DAYS:
        raise InvalidInput(f"{option} must be between {minimum} and {MAX_DAYS} days, not {days}.")
