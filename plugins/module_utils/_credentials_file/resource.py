# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads and writes the files of the agent on the host that this runs on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._credentials_file import plan as files_plan
from ansible_collections.cwagent.iam.plugins.module_utils._credentials_file.plan import Desired, State
from ansible_collections.cwagent.iam.plugins.module_utils._credentials_file.restart import AgentFilesResource
from ansible_collections.cwagent.iam.plugins.module_utils._errors import CwagentError
from ansible_collections.cwagent.iam.plugins.module_utils._files import find_unfinished, missing_folders, read_file

if TYPE_CHECKING:
    from ansible_collections.cwagent.iam.plugins.module_utils._credentials_file.restart import Agent
    from ansible_collections.cwagent.iam.plugins.module_utils._plan import Plan


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
