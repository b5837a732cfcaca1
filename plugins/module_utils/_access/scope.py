# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of an account to read, and the data of a region. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ansible_collections.cwagent.iam.plugins.module_utils._access.model import (
    ActivationUse,
    ConfigParameter,
    History,
    NodeUse,
)
from ansible_collections.cwagent.iam.plugins.module_utils._credentials.stores import KEY_STORES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# The parts of an account that can be read by themselves.
ACCESS, HISTORY = PARTS = ("access", "history")


@dataclass(frozen=True)
class Scope:
    """The parts of an account to read.

    :param label: the user's name for the account.
    :param names: by kind, the only principals to read; ``None`` for all principals.
    :param instances: by region, the ids of the instances in the inventory.
    :param key_stores: where access keys may be saved.
    :param key_prefix: the beginning of the names of the parameters and secrets with access keys.
    :param account_id: the only account that may be read; ``None`` for whichever account the credentials belong to.
    :param has_nodes: whether to read the nodes of Systems Manager. :param has_activations: and its activations.
    :param has_access: whether to read anything besides the versions of configurations.
    :param configurations: by region, the names of the configurations whose versions are read.
    """

    label: str
    regions: tuple[str, ...]
    names: Mapping[str, Sequence[str]] | None = None
    instances: Mapping[str, Sequence[str]] | None = None
    key_stores: tuple[str, ...] = tuple(KEY_STORES)
    key_prefix: str = "/cwagent/credentials/"
    account_id: str | None = None
    has_nodes: bool = False
    has_activations: bool = False
    has_access: bool = True
    configurations: Mapping[str, Sequence[str]] | None = None


@dataclass(frozen=True)
class Region:
    """The data of a region that was read in bulk.

    :param histories: the versions of the inventory's configurations.
    :param profiles: by instance, the name of its instance profile.
    :param restore_tags: by instance, the value of its restore tag.
    :param saved_keys: by id of an access key, where it is saved.
    :param saved_users: by user and store, where the access key of the user is saved.
    """

    name: str
    histories: tuple[History, ...] = ()
    profiles: Mapping[str, str] = field(default_factory=dict)
    restore_tags: Mapping[str, str] = field(default_factory=dict)
    nodes: tuple[NodeUse, ...] = ()
    activations: tuple[ActivationUse, ...] = ()
    parameters: tuple[ConfigParameter, ...] = ()
    saved_keys: Mapping[str, str] = field(default_factory=dict)
    saved_users: Mapping[tuple[str, str], str] = field(default_factory=dict)
