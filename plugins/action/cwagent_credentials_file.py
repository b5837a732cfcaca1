# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads a saved access key on the controller, and hands it to the module on the host without a temporary file."""

from __future__ import annotations

from typing import Any

from ansible.plugins.loader import lookup_loader

from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import CwagentError, InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._ground.options import read_options
from ansible_collections.cwagent.iam.plugins.module_utils._ground.planned import Planned
from ansible_collections.cwagent.iam.plugins.module_utils._keys.stores import KeySource
from ansible_collections.cwagent.iam.plugins.modules.cwagent_credentials_file import SPEC
from ansible_collections.cwagent.iam.plugins.plugin_utils._connections.host_result import discovered_python
from ansible_collections.cwagent.iam.plugins.plugin_utils._connections.secrets import (
    LOOKUP,
    KeyDelivery,
    check_aws_options,
)
from ansible_collections.cwagent.iam.plugins.plugin_utils._run.settings import fill_task

MODULE = "cwagent.iam.cwagent_credentials_file"
TASK_OPTIONS = SPEC
# The options for the module on the host, which does not know where the key is saved.
HOST_OPTIONS = ("path", "credentials_profile", "owner", "group", "common_config", "agent_ctl", "state")
# Paths on the host. They are passed on unchanged, because the user on the host has another home directory.
HOST_PATHS = ("path", "common_config", "agent_ctl")


class ActionModule(KeyDelivery):
    """Delivers a saved access key, or removes it."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Read the key and run the module. Refuse settings that would write the key anywhere else."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        try:
            fill_task(self, task_vars or {})
            options = self.validate_argument_spec(TASK_OPTIONS)[1]
            return {**result, **self._deliver(options, task_vars or {}), **discovered_python(self)}
        except CwagentError as error:
            return {**result, "failed": True, "changed": False, "steps": [], "msg": str(error)}

    def _deliver(self, options: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the result of the module. :raises CwagentError: the module was not run, or could not run."""
        arguments = {name: options[name] for name in HOST_OPTIONS}
        arguments.update({name: self._task.args[name] for name in HOST_PATHS if self._task.args.get(name)})
        if options["content"] is not None:
            raise InvalidInput("content is set by the controller, which reads the saved key. Remove it from the task.")
        if options["state"] == "present":
            if not options["user_name"]:
                raise InvalidInput("user_name is required when state is present.")
            check_aws_options(options["aws_options"], lookup_loader.get(LOOKUP).option_definitions)
            self.check_connection()
            in_check_mode = self._task.check_mode
            # Empty for a key that check mode has not created.
            is_new = in_check_mode and Planned(options["planned"]).has_new_key(options["user_name"])
            source = read_options(KeySource, options, user=options["user_name"])
            arguments["content"] = (
                "" if is_new else self.read_key(source, task_vars, can_miss=in_check_mode, **options["aws_options"])
            )
        return self.send(MODULE, arguments, task_vars)
