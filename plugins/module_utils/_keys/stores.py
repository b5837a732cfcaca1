# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The places for access keys, and the options with which modules find a saved key.

A new place is a file with a subclass of ``Store``, and an entry here. All other code asks the subclass.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from .._ground.errors import InvalidInput
from .file_store import PROFILE, FileStore
from .parameter_store import ParameterStore
from .secret_store import SecretStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from .._ground.aws import Aws
    from .store import Store


# By name, which is the choice of the option ``key_store``.
KEY_STORES: dict[str, type[Store]] = {each.NAME: each for each in (FileStore, ParameterStore, SecretStore)}
# Where keys are saved. The fragment ``saved_key`` documents these options.
PLACE_SPEC: dict[str, dict[str, Any]] = {
    "key_store": {"type": "str", "choices": [*KEY_STORES], "default": FileStore.NAME},
    "key_store_directory": {"type": "path", "default": "~/.cwagent/credentials"},
    "key_store_prefix": {"type": "str", "no_log": False, "default": "/cwagent/credentials/"},
}
PROFILE_SPEC: dict[str, dict[str, Any]] = {"credentials_profile": {"type": "str", "default": PROFILE}}
# How the controller finds a key that it sends to a module.
SOURCE_SPEC: dict[str, dict[str, Any]] = {**PLACE_SPEC, **PROFILE_SPEC, "region": {"type": "str"}}
# Set by ansible-runner in a container, and by AWX in all jobs.
CONTAINER_VARIABLES = ("LAUNCHED_BY_RUNNER", "AWX_PRIVATE_DATA_DIR")


@dataclass(frozen=True)
class KeySource:
    """The user whose key is read, and where it is saved. The fields are the options of ``SOURCE_SPEC``."""

    user: str
    key_store: str
    key_store_directory: str
    key_store_prefix: str
    credentials_profile: str
    region: str | None

    def to_options(self) -> dict[str, Any]:
        """Return the options of the lookup that reads the key."""
        return {name: value for name, value in asdict(self).items() if name != "user"}


def is_in_container() -> bool:
    """Return whether this is an execution environment, whose files are deleted after the job."""
    return any(os.environ.get(name) for name in CONTAINER_VARIABLES)


def open_store(options: Mapping[str, Any], users: Sequence[str], aws: Any = None, region: str | None = None) -> Store:
    """Return the store in which the keys of users are saved. It is checked without a call to AWS.

    :param options: suboptions of ``saved_key``. The place and ``key_store_allow_ephemeral`` are required.
    :raises InvalidInput: keys cannot be saved there.
    """
    kind = KEY_STORES[options["key_store"]]
    store = kind.open(options, aws, region)
    if kind.ON_CONTROLLER and is_in_container() and not options["key_store_allow_ephemeral"]:
        others = " or ".join(f"'{each.NAME}'" for each in KEY_STORES.values() if not each.ON_CONTROLLER)
        raise InvalidInput(
            "saved_key.key_store: this is an execution environment, a container that is deleted after the job, "
            f"together with the secrets in its files. Save them to {others}; or, if {options[kind.OPTION]} is a "
            "mounted volume that outlives the container, set saved_key.key_store_allow_ephemeral to true (for the "
            "playbooks: cwagent_key_store_allow_ephemeral)."
        )
    store.check(users)
    return store


def open_places(
    options: Mapping[str, Any], aws_in: Callable[[str], Aws] | None = None, regions: Iterable[str] = ()
) -> dict[str, Store]:
    """Return the places in which the keys of an inventory can be saved.

    :param options: the options of ``PLACE_SPEC``. Without them there is no place, and none outside AWS if the option of
        the store is empty.
    :param aws_in: returns the gateway to a region.
    :param regions: where to look if each region has its own place.
    :returns: by region, or by the name of the store if it has no regions.
    """
    if not options:
        return {}
    kind = KEY_STORES[options["key_store"]]
    if kind.IN_ACCOUNT:
        gateways = [(region, aws_in(region)) for region in regions] if aws_in else []
        return {region or aws.region: kind.open(options, aws) for region, aws in gateways}
    return {kind.NAME: kind.open(options)} if options[kind.OPTION] else {}
