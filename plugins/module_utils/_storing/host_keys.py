# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Chooses the credentials with which a host stores a configuration."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._ground.errors import InvalidInput
from .._ground.files import read_file
from .._ground.signature import Keys
from .._ground.signed_call import SignedAws
from .._keys.saved_key import KEY_ID, SECRET, TOKEN, read_section
from .._servers.endpoints import find_endpoints
from .._servers.imds import MetadataService

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


# The options of a profile that make boto3 get other credentials.
# https://docs.aws.amazon.com/sdkref/latest/guide/settings-reference.html
_OTHER_SOURCES = re.compile("role_arn|source_profile|credential_.*|web_identity_.*|sso_.*|login_.*")


def select_gateway(params: Mapping[str, Any], region: str) -> SignedAws:
    """Return the gateway to AWS, with the access key, the key in a file, or the credentials of the instance."""
    return SignedAws(_key_reader(params), find_endpoints(params, region), params["wait_timeout"])


def _key_reader(params: Mapping[str, Any]) -> Callable[[], Keys]:
    if params["access_key"] is not None:  # no other credentials are used then
        if not (params["access_key"] and params["secret_key"]):
            raise InvalidInput("The access key that the host stores with does not exist yet.")
        return partial(Keys, params["access_key"], params["secret_key"])
    if params["credentials_file"]:
        return partial(read_keys, params["credentials_file"], params["credentials_profile"])
    # The service can show the credentials of the earlier role for a while after it shows the new profile.
    return partial(MetadataService().credentials, params["instance_role"])


def read_keys(path: str, profile: str) -> Keys:
    """Return the access key in a credentials file.

    :raises InvalidInput: there is none, or the profile has other credentials.
    """
    found = read_file(Path(path), "replace")
    options = read_section(found.text, profile) if found else None
    others = sorted(filter(_OTHER_SOURCES.fullmatch, options or ()))
    if others:
        raise InvalidInput(
            f"Profile {profile} of {path} has {', '.join(others)}. This host stores with an access key alone: remove "
            "these options from the profile, or use another profile."
        )
    if not (options and options.get(KEY_ID) and options.get(SECRET)):
        raise InvalidInput(f"Profile {profile} of {path} has no access key ({KEY_ID} and {SECRET}).")
    return Keys(options[KEY_ID], options[SECRET], options.get(TOKEN, ""))
