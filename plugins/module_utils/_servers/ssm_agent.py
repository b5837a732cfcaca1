# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The SSM agent of a host: its services, and its configuration as the agent itself reads it. Pure.

https://github.com/aws/amazon-ssm-agent/blob/mainline/agent/appconfig/contracts.go
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")

# The service of the packages, and the one of the snap.
SERVICE, SNAP_SERVICE = "amazon-ssm-agent", "snap.amazon-ssm-agent.amazon-ssm-agent.service"
DEFAULT_PROFILE = "default"


@dataclass(frozen=True)
class Configuration:
    """The configuration of the SSM agent. Without a file, these are the defaults.

    :param profile: the profile of the credentials file that gets the credentials.
    :param shares_credentials: whether it writes them to a file at all.
    :param identities: the identities that it can take, the preferred one first. Without them, it decides.
    """

    profile: str = DEFAULT_PROFILE
    shares_credentials: bool = True
    identities: tuple[str, ...] = ()


def read_configuration(text: str) -> Configuration | None:
    """Return the configuration in a file; ``None`` if the SSM agent cannot read it, and ignores the file."""
    try:
        settings = json.loads(text)
        profile = _find(settings, "Profile", dict, {})
        name = _find(profile, "ShareProfile", str, "") or DEFAULT_PROFILE
        shares_credentials = _find(profile, "ShareCreds", bool, True)
        identities = _find(_find(settings, "Identity", dict, {}), "ConsumptionOrder", list, [])
    except (AttributeError, TypeError, ValueError, RecursionError):
        return None
    if not name.isprintable() or "]" in name or not all(isinstance(each, str) for each in identities):
        return None
    return Configuration(name, shares_credentials, tuple(identities))


def _find(settings: dict[str, Any], name: str, kind: type[T], default: T) -> T:
    """Return a setting. Go takes names in any case, the last one if there are several, and ``null`` as no value.

    :raises AttributeError, TypeError: the settings or the value have another type.
    """
    found = default
    for key, value in settings.items():
        if key.lower() == name.lower() and value is not None:
            if not isinstance(value, kind):
                raise TypeError
            found = value
    return found
