# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the settings of the SSM agent on the host that this runs on: its configuration, and the environment of it."""

from __future__ import annotations

import pwd
from pathlib import Path
from typing import TYPE_CHECKING

from ansible_collections.cwagent.iam.plugins.module_utils._errors import CwagentError, root_advice
from ansible_collections.cwagent.iam.plugins.module_utils._files import read_file
from ansible_collections.cwagent.iam.plugins.module_utils._shared_credentials.sharing import (
    parse_environment,
    parse_unit,
    shared_file,
)
from ansible_collections.cwagent.iam.plugins.module_utils._ssm_agent.model import (
    SERVICE,
    SNAP_SERVICE,
    Configuration,
    read_configuration,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_PROPERTIES = "--property=LoadState,MainPID,Environment,EnvironmentFiles"


def find_configuration(path: str) -> Configuration | None:
    """Return the configuration of the SSM agent; ``None`` if the agent cannot read its file.

    :raises CwagentError: this process cannot read the file.
    """
    found = read_file(Path(path), "replace")
    return read_configuration(found.text) if found else Configuration()


def find_shared_file(systemctl: str | None, run_command: Callable[[list[str]], tuple[int, str, str]]) -> str:
    """Return the path of the credentials file that the SSM agent keeps.

    :param systemctl: the path of this program; ``None`` if the host does not have it.
    :param run_command: runs a program and returns its status and outputs: ``AnsibleModule.run_command``.
    :raises CwagentError: the path cannot be found.
    """
    environment = _read_environment(systemctl, run_command) if systemctl else {}
    return shared_file(environment, pwd.getpwuid(0).pw_dir)


def _read_environment(systemctl: str, run_command: Callable[[list[str]], tuple[int, str, str]]) -> dict[str, str]:
    """Return the environment of the SSM agent's process. Without a process, it is the one of the next process."""
    for name in (SERVICE, SNAP_SERVICE):
        unit = parse_unit(run_command([systemctl, "show", _PROPERTIES, name])[1])
        if unit.process:
            # A service that was changed since its start still writes the earlier file.
            environment = _read_text(Path(f"/proc/{unit.process}/environ"))
            if environment:
                return parse_environment(environment)
        if unit.is_loaded:
            found = dict(unit.environment)
            for path in unit.files:
                found.update(parse_environment(_read_text(Path(path))))
            return found
    return {}


def _read_text(path: Path) -> str:
    """Return the text of a file, which is empty if it does not exist."""
    try:
        return path.read_bytes().decode(errors="surrogateescape")
    except PermissionError as error:
        raise CwagentError(f"Could not read {path}: {error.strerror}.{root_advice(error)}") from error
    except OSError:
        return ""
