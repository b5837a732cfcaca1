# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The resources of this collection that no host of the inventory has, such as after a server has left. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._credentials.file_store import FileStore
from ansible_collections.cwagent.iam.plugins.module_utils._names import describe_profile
from ansible_collections.cwagent.iam.plugins.module_utils._text import count_noun, join_first

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MAX_LISTED = 10  # DeleteParameters takes no more, either


@dataclass(frozen=True)
class Listed:
    """The users, instances, profiles and saved keys of the inventory. Others that this collection manages are reported.

    :param instance_ids: the instances of all regions.
    :param profiles: names of instance profiles of this collection.
    :param directory: the folder of their access keys.
    :param store: the key store.
    :param prefix: the beginning of the names of access keys that are saved in AWS.
    :param regions: the regions of access keys that are saved in AWS. The empty name stands for the module's region.
    """

    users: Sequence[str]
    instance_ids: frozenset[str] = frozenset()
    profiles: Sequence[str] = ()
    directory: Path | None = None
    store: str = FileStore.NAME
    prefix: str = ""
    regions: Sequence[str] = ()


def to_listed(
    params: Mapping[str, Any], instances: Mapping[str, Iterable[str]], profiles: Sequence[str]
) -> Listed | None:
    """Return the contents of the inventory according to the options; ``None`` if nothing is to be reported.

    :param instances: by region, the IDs of the instances.
    :param profiles: names of instance profiles of this collection.
    """
    if not params["report_unlisted"]:
        return None
    return Listed(
        params["users"],
        frozenset(chain.from_iterable(instances.values())),
        profiles,
        key_directory(params),
        params["key_store"],
        params["key_store_prefix"],
        params["key_store_regions"] or [""],
    )


def key_directory(params: Mapping[str, Any]) -> Path | None:
    """Return the folder of the saved keys."""
    directory = params["key_store_directory"]
    return Path(directory).absolute() if directory else None


@dataclass(frozen=True)
class Unlisted:
    """The users, saved keys and instances that no host of the inventory has.

    :param users: the names of users that this collection created or adopted.
    :param saved: the names of users whose access keys are saved in the folder of the inventory.
    :param saved_in: by region, the users whose access keys are saved in AWS. They can include users that do not exist.
    :param unread: by region, why the users in ``saved_in`` are not known, and what to do.
    :param instances: by region and instance, the name of its instance profile.
    :param names_users: whether to name the users. An inventory without users is one of instances, and only counts them.
    """

    users: frozenset[str] = frozenset()
    saved: frozenset[str] = frozenset()
    saved_in: Mapping[str, frozenset[str]] = field(default_factory=dict)
    unread: Mapping[str, str] = field(default_factory=dict)
    instances: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    names_users: bool = True

    def lines(self) -> list[str]:
        """Return them in sentences. They are not an error, because another inventory can manage them."""
        found = self._user_lines()
        if self.saved - self.users:
            names = _join(self.saved - self.users)
            found.append(f"Saved access keys of users that no host of this inventory has: {names}.")
        absent = {user for names in self.saved_in.values() for user in names - self.users}
        if absent:
            names = _join(name for user in absent for name in self._removable_names(user))
            found.append(f"Saved access keys of users that do not exist: {names}.")
        for region, profiles in sorted(self.instances.items()):
            for profile in sorted({*profiles.values()}):
                ids = [instance for instance, name in profiles.items() if name == profile]
                have = f"are not in this inventory and have {describe_profile(profile)}"
                found.append(f"Instances in {region} that {have}: {_join(ids)}.")
        if (self.users and self.names_users) or self.saved or absent:
            found.append("If their servers have left, cwagent.iam.remove_servers with these names removes them.")
        for reason in sorted({*self.unread.values()}):
            regions = _join(region for region, each in self.unread.items() if each == reason)
            unknown = f"It is not known whether access keys of users that no host has are saved in {regions}"
            found.append(f"{unknown}: {reason}.")
        return found

    def _user_lines(self) -> list[str]:
        if not self.users:
            return []
        if not self.names_users:
            users = f"the account has {count_noun(len(self.users), 'user')} of this collection"
            return [f"This inventory has no on-premises hosts, and {users}. cwagent.iam.audit lists them in a report."]
        names = _join(name for user in self.users for name in self._removable_names(user))
        return [f"Users of this collection that no host of this inventory has: {names}."]

    def _removable_names(self, user: str) -> list[str]:
        """Return the entries of a user for remove_servers, one for each region where its access key is saved in AWS."""
        return [f"{region}:{user}" for region, users in self.saved_in.items() if user in users] or [user]


def describe_configs(remaining: Mapping[str, Iterable[str]], unread: Mapping[str, str]) -> list[str]:
    """Return the configurations that remain after a teardown in sentences, and how to delete them.

    :param remaining: by region, the names of parameters.
    :param unread: by region, why they are not known, and what to do.
    """
    listed = [
        f"Configurations in {region} that remain: {_join(names)}. If no server uses them: aws ssm delete-parameters "
        f"--region {region} --names {' '.join(sorted(names)[:MAX_LISTED])}"
        for region, names in sorted(remaining.items())
        if names
    ]
    unknown = [
        f"It is not known whether configurations remain in {region}: {reason}."
        for region, reason in sorted(unread.items())
    ]
    return [*listed, *unknown]


def _join(names: Iterable[str]) -> str:
    """Join the first names, and count the others."""
    return join_first(sorted(names), MAX_LISTED)
