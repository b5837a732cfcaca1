# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of the agent on the host that this runs on, for the module cwagent_credentials_file."""

from __future__ import annotations

import grp
import pwd
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._ground.errors import CwagentError, InvalidInput
from .._ground.files import check_paths, find_unfinished, missing_folders, read_file
from . import credentials_plan as files_plan
from .credentials_plan import Desired, State
from .restart import AgentFilesResource

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .._ground.plan import Plan
    from .restart import Agent


def desired_files(params: Mapping[str, Any], check_mode: bool) -> Desired:
    """Return the desired state of the files.

    :raises InvalidInput: an option cannot be used on this host.
    """
    check_paths(params, "path", "common_config", "agent_ctl")
    is_present = params["state"] == "present"
    # In check mode, the key may not exist yet.
    if is_present and not params["content"] and not check_mode:
        raise InvalidInput("There is no access key to write. The action plugin of this module reads it.")
    return Desired(
        params["path"],
        params["common_config"],
        params["credentials_profile"],
        (params["content"] or "") if is_present else None,
        _id_of("owner", "user", params["owner"], lambda name: pwd.getpwnam(name).pw_uid) if is_present else None,
        _id_of("group", "group", params["group"], lambda name: grp.getgrnam(name).gr_gid) if is_present else None,
    )


def _id_of(option: str, kind: str, name: str | None, find: Callable[[str], int]) -> int | None:
    """Return the number of an owner or a group. The option can be a name or the number itself."""
    if not name:
        return None
    try:
        return find(name)
    except KeyError as error:
        if name.isdecimal():
            return int(name)
        raise InvalidInput(f"{option}: there is no {kind} '{name}' on this host.") from error


class CredentialsFileResource(AgentFilesResource[State]):
    """The credentials file of the agent, and its common configuration."""

    def __init__(self, desired: Desired, agent: Agent | None = None) -> None:
        super().__init__(agent)
        self._desired = desired

    def read(self) -> State:
        """Read the files.

        :raises CwagentError: one of them cannot be read, or is not a regular file.
        """
        desired = self._desired
        credentials = Path(desired.credentials)
        if credentials.is_symlink():
            raise CwagentError(
                f"{credentials} is a symbolic link, so anyone who can change it would get the access key. Set the path "
                "of the file itself, or delete the link. Nothing was changed."
            )
        config = Path(desired.config) if desired.config else None
        return State(
            read_file(credentials, "surrogateescape"),  # other profiles stay byte for byte
            read_file(config) if config else None,
            find_unfinished(credentials) is not None,
            missing_folders([credentials, *([config] if config else [])]),
        )

    def plan_files(self, current: State, /) -> Plan[State]:
        """Plan the steps from the current files to the desired ones."""
        return files_plan.plan(current, self._desired)

    def to_diff(self, state: State, /) -> dict[str, Any]:
        """Render a state for the diff."""
        return files_plan.to_diff(state, self._desired)

    def to_result(self, plan: Plan[State], final: State, /) -> dict[str, Any]:
        """Return nothing, because the steps contain everything."""
        del plan, final
        return {}
