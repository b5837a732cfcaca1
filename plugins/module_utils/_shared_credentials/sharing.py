# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the SSM agent of a hybrid server keeps the credentials of the server, according to its settings. Pure.

https://github.com/aws/amazon-ssm-agent/blob/mainline/agent/managedInstances/sharedCredentials/shared_Credentials.go
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from ansible_collections.cwagent.iam.plugins.module_utils._errors import CwagentError

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T")

DEFAULT_PROFILE = "default"
FILE_VARIABLE = "AWS_SHARED_CREDENTIALS_FILE"
_FILES_SUFFIX = " (ignore_errors="


@dataclass(frozen=True)
class Sharing:
    """How the SSM agent shares credentials. :param is_on: whether it writes them to a file at all."""

    profile: str
    is_on: bool


@dataclass(frozen=True)
class Unit:
    """A unit of systemd. :param process: 0 if it does not run. :param files: with further environment variables."""

    is_loaded: bool
    process: int
    environment: Mapping[str, str]
    files: list[str]


def read_sharing(text: str | None, path: str) -> Sharing:
    """Return the settings for sharing in a configuration of the SSM agent; ``None`` stands for a missing file.

    :raises CwagentError: the SSM agent cannot read it.
    """
    try:
        settings = {} if text is None else json.loads(text)
        profile = _find(settings, "Profile", dict, {})
        is_on = _find(profile, "ShareCreds", bool, True)
        name = _find(profile, "ShareProfile", str, "") or DEFAULT_PROFILE
    except (AttributeError, TypeError, ValueError) as error:
        raise _invalid(path) from error
    if not name.isprintable() or "]" in name:
        raise _invalid(path)
    return Sharing(name, is_on)


def _invalid(path: str) -> CwagentError:
    return CwagentError(
        f"{path} is not valid, so the SSM agent ignores it, and it is unknown which settings apply after its next "
        "restart. Fix or delete the file, and restart the SSM agent. Nothing was changed."
    )


def _find(settings: dict[str, Any], name: str, kind: type[T], default: T) -> T:
    """Return a setting. Go takes names in any case, and ``null`` as a missing value.

    :raises AttributeError, TypeError: the settings or the value have another type.
    """
    for key, value in settings.items():
        if key.lower() == name.lower() and value is not None:
            if not isinstance(value, kind):
                raise TypeError
            return value
    return default


def shared_file(environment: Mapping[str, str], home: str) -> str:
    """Return the path of the file that the SSM agent keeps.

    :param environment: of the SSM agent.
    :param home: the home directory of its user.
    :raises CwagentError: the path is not absolute.
    """
    file = environment.get(FILE_VARIABLE) or f"{environment.get('HOME') or home}/.aws/credentials"
    if not file.startswith("/"):
        raise CwagentError(
            f"The variable {FILE_VARIABLE} of the SSM agent is not an absolute path: '{file}'. Set an absolute path in "
            "its service, restart it, and run again. Nothing was changed."
        )
    return file


def parse_environment(text: str) -> dict[str, str]:
    """Return the variables of a process, which end with a null character, or of a file of systemd."""
    is_process = "\0" in text
    found = {}
    for line in text.split("\0" if is_process else "\n"):
        name, equal_sign, value = line.partition("=")
        if is_process:
            found.update({name: value} if equal_sign else {})
        elif equal_sign and not line.lstrip().startswith(("#", ";")):
            found[name.strip()] = _unquote(value.strip())
    return found


def parse_unit(output: str) -> Unit:
    """Return a unit from the output of ``systemctl show``."""
    properties = [line.partition("=")[::2] for line in output.splitlines()]
    values = dict(properties)
    try:
        assignments = shlex.split(values.get("Environment", ""))
    except ValueError:
        assignments = []
    return Unit(
        values.get("LoadState") == "loaded",
        int(values.get("MainPID") or 0),
        dict(each.partition("=")[::2] for each in assignments),
        [value.rpartition(_FILES_SUFFIX)[0] for name, value in properties if name == "EnvironmentFiles"],
    )


def _unquote(value: str) -> str:
    return value[1:-1] if value[1:] and value[0] == value[-1] and value[0] in "\"'" else value
