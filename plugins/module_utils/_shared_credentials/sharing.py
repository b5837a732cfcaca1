# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the SSM agent of a hybrid server keeps the credentials of the server, according to its environment. Pure.

https://github.com/aws/amazon-ssm-agent/blob/mainline/agent/managedInstances/sharedCredentials/shared_Credentials.go
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ansible_collections.cwagent.iam.plugins.module_utils._errors import CwagentError

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE_VARIABLE = "AWS_SHARED_CREDENTIALS_FILE"
_FILES_SUFFIX = " (ignore_errors="


@dataclass(frozen=True)
class Unit:
    """A unit of systemd. :param process: 0 if it does not run. :param files: with further environment variables."""

    is_loaded: bool
    process: int
    environment: Mapping[str, str]
    files: list[str]


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
