# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads a saved access key on the controller, and hands it to the module on the host without a temporary file.

Without the option ``saved_key``, the module does all the work.
"""

from __future__ import annotations

from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase

from ansible_collections.cwagent.iam.plugins.module_utils._credentials.stores import SOURCE_SPEC, KeySource
from ansible_collections.cwagent.iam.plugins.module_utils._errors import CwagentError, InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._options import read_options
from ansible_collections.cwagent.iam.plugins.plugin_utils._aws_action import AwsAction
from ansible_collections.cwagent.iam.plugins.plugin_utils._key_delivery import CREDENTIALS, KeyDelivery

MODULE = "cwagent.iam.cwagent_config_parameter"
OPTION = "saved_key"
SPEC = {OPTION: {"type": "dict", "options": {"user": {"type": "str", "required": True}, **SOURCE_SPEC}}}


class ActionModule(KeyDelivery, AwsAction):
    """Stores a configuration, with a saved access key if the task asks for it."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the module. With a saved access key, run it only if Ansible writes the key nowhere else."""
        if self._task.args.get(OPTION) is None:
            return AwsAction.run(self, tmp, task_vars)
        self._supports_async = False  # Ansible writes the options of such a module to a file
        result: dict[str, Any] = ActionBase.run(self, tmp, task_vars)
        try:
            return {**result, **self._store(dict(self._task.args), task_vars or {})}
        except CwagentError as error:
            return {**result, "failed": True, "changed": False, "steps": [], "msg": str(error)}

    def _store(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the result of the module. :raises CwagentError: the module was not run, or could not run."""
        found = ArgumentSpecValidator(SPEC).validate({OPTION: arguments[OPTION]})
        if found.error_messages:
            raise InvalidInput(f"{'. '.join(found.error_messages)}.")
        source = read_options(KeySource, found.validated_parameters[OPTION])
        # In a task with a saved key, they are for the controller only and are never sent to the host.
        given = {name: [arguments.pop(each, None) for each in names] for name, names in CREDENTIALS.items()}
        aws = {name: value for name, values in given.items() for value in values if value}
        key = self.key_for_host(source, task_vars, **aws)
        arguments[OPTION] = {"user": source.user}
        makes_no_call = self._task.check_mode and arguments.get("known_values") is not None
        if key and not makes_no_call:
            arguments[OPTION].update(access_key=key.key_id, secret_key=key.secret)
        return self.send(MODULE, arguments, task_vars)


ActionModule.preload("cwagent_config_parameter", "ssm")
