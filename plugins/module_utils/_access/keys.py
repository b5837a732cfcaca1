# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the access keys of our users, and which of them are saved."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from ansible_collections.cwagent.iam.plugins.module_utils._access.model import (
    SAVED,
    USER,
    Key,
    Principal,
    SavedKeyWithoutUser,
)
from ansible_collections.cwagent.iam.plugins.module_utils._access_keys.api import access_keys
from ansible_collections.cwagent.iam.plugins.module_utils._credentials.stores import AWS_STORES
from ansible_collections.cwagent.iam.plugins.module_utils._errors import AwsApiError
from ansible_collections.cwagent.iam.plugins.module_utils._names import SAVED_KEY_TAG
from ansible_collections.cwagent.iam.plugins.module_utils._plan import run_in_parallel
from ansible_collections.cwagent.iam.plugins.module_utils._principal.api import find_user

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ansible_collections.cwagent.iam.plugins.module_utils._access.attempts import Attempts
    from ansible_collections.cwagent.iam.plugins.module_utils._access.scope import Region
    from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws


class Keys:
    """Reads the access keys of users.

    :param attempts: the same as for the regions, which must have been read: a key can be saved in an unread place.
    :param key_stores: where access keys may be saved.
    """

    def __init__(self, aws: Aws, attempts: Attempts, key_stores: Iterable[str]) -> None:
        self._aws = aws
        self._attempts = attempts
        self._has_other_stores = bool({*key_stores} - AWS_STORES.keys())

    def add_to(self, principals: Iterable[Principal], regions: Iterable[Region]) -> tuple[Principal, ...]:
        """Add the access keys of our users."""
        principals = list(principals)
        places = {key: place for region in regions for key, place in region.saved_keys.items()}
        users = [each for each in principals if each.kind == USER and each.is_ours]
        keys = run_in_parallel(partial(self._read_keys, places), users)
        with_keys = {user.name: replace(user, keys=found) for user, found in zip(users, keys)}
        return tuple(with_keys.get(each.name, each) if each.kind == USER else each for each in principals)

    def _read_keys(self, places: Mapping[str, str], user: Principal) -> tuple[Key, ...] | None:
        listed = self._attempts.attempt("the access keys of users", None, lambda: access_keys(self._aws, user.name))
        if listed is None:
            return None
        return tuple(
            self._with_last_use(
                Key(
                    key.id,
                    key.active,
                    key.created or self._aws.now,
                    saved=self._is_saved(key.id, user, places),
                    saved_at=places.get(key.id),
                )
            )
            for key in sorted(listed, key=lambda each: each.id)
        )

    def _with_last_use(self, key: Key) -> Key:
        description = f"read when access key {key.id} was last used"
        read = partial(self._aws.call, "iam:GetAccessKeyLastUsed", description, AccessKeyId=key.id)
        answer = self._attempts.attempt("when access keys were last used", None, read)
        if answer is None:
            return replace(key, used_known=False)
        return replace(key, used=answer["AccessKeyLastUsed"].get("LastUsedDate"))

    def _is_saved(self, key_id: str, user: Principal, places: Mapping[str, str]) -> bool | None:
        """Whether a key is saved; ``None`` if it can be in a file, or in a place that was not read."""
        tagged = user.tags.get(SAVED_KEY_TAG)
        if key_id in places or tagged == key_id:
            return True
        can_be_elsewhere = self._has_other_stores or self._attempts.has_unread(SAVED)
        return None if can_be_elsewhere and not tagged else False

    def find_without_user(
        self, principals: Iterable[Principal], regions: Sequence[Region]
    ) -> tuple[SavedKeyWithoutUser, ...]:
        """Return the saved keys whose users do not exist. :param principals: all of the account."""
        users = {each.name for each in principals if each.kind == USER}
        missing = sorted({user for region in regions for user, _store in region.saved_users} - users)
        absent = {user for user, is_absent in zip(missing, run_in_parallel(self._is_absent, missing)) if is_absent}
        return tuple(
            SavedKeyWithoutUser(user, region.name, store, place)
            for region in regions
            for (user, store), place in sorted(region.saved_users.items())
            if user in absent
        )

    def _is_absent(self, user: str) -> bool:
        """Whether a user certainly does not exist. The list of all users can lack a user created seconds ago."""
        what = "whether the users of saved keys exist"
        try:
            return self._attempts.attempt(what, None, lambda: find_user(self._aws, user) is None) is True
        except AwsApiError as error:
            self._attempts.add_unread(what, error)
            return False
