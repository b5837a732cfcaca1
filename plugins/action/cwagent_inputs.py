# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks the inputs: the variables of the role that the task belongs to, or otherwise of the playbooks."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.vars import load_extra_vars

from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.plugin_utils._run import playbook, roles
from ansible_collections.cwagent.iam.plugins.plugin_utils._run.settings import COLLECTION
from ansible_collections.cwagent.iam.plugins.plugin_utils._run.task import evaluate_value

# The options of the task; the module has their documentation.
TASK_OPTIONS = {**playbook.OPTIONS, **roles.OPTIONS}


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible comes without types
    """Returns the input, or fails the task with all problems of the input."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Check the input of the role or of the playbook."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        # The play's module_defaults for the action group. They can be secret, so nothing prints them.
        given = self._task.args
        connection = {name: given[name] for name in given if name not in TASK_OPTIONS}
        self._task.args = {name: given[name] for name in given if name in TASK_OPTIONS}
        try:
            return {**result, **self._inputs(task_vars or {}, connection).read(), "changed": False}
        except InvalidInput as error:
            return {**result, "changed": False, "failed": True, "msg": f"{error} Nothing was changed."}

    def _inputs(
        self, variables: dict[str, Any], connection: dict[str, Any]
    ) -> roles.RoleInputs | playbook.PlaybookInputs:
        if self._task._role:
            self._refuse(playbook.OPTIONS, f"only outside roles, and this task belongs to the role {self._task._role}")
            options = self.validate_argument_spec(roles.OPTIONS)[1]
            environment: dict[str, Any] = {}
            self._compute_environment_string(environment)
            defaults = {
                name: evaluate_value(values, self._templar)
                for each in self._task.module_defaults or ()
                for name, values in each.items()
                if name.startswith(COLLECTION)
            }
            return roles.RoleInputs(
                self._task._uuid,
                variables,
                options,
                (connection, environment, defaults),
                self._templar,
                self._display.warning,
                load_extra_vars(self._loader),
            )
        self._refuse(roles.OPTIONS, "only in a role, and this task belongs to none")
        options = self.validate_argument_spec(playbook.OPTIONS)[1]
        return playbook.PlaybookInputs(variables, options, self._loader, self._display.warning)

    def _refuse(self, names: dict[str, Any], why: str) -> None:
        """Refuse options of the other kind of task."""
        if found := [name for name in names if name in self._task.args]:
            raise InvalidInput(f"cwagent_inputs takes {' and '.join(found)} {why}.")
