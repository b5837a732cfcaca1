# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options with which a saved access key is found, for all modules that save, read or deliver it. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ansible_collections.cwagent.iam.plugins.module_utils._credentials.listing import FILE, KEY_STORES

# Where keys are saved. The fragment ``saved_key`` documents these options.
PLACE_SPEC: dict[str, dict[str, Any]] = {
    "key_store": {"type": "str", "choices": [*KEY_STORES], "default": FILE},
    "key_store_directory": {"type": "path", "default": "~/.cwagent/credentials"},
    "key_store_prefix": {"type": "str", "no_log": False, "default": "/cwagent/credentials/"},
}
PROFILE_SPEC: dict[str, dict[str, Any]] = {"credentials_profile": {"type": "str", "default": "AmazonCloudWatchAgent"}}
# How the controller finds a key that it sends to a module.
SOURCE_SPEC: dict[str, dict[str, Any]] = {**PLACE_SPEC, **PROFILE_SPEC, "region": {"type": "str"}}


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
