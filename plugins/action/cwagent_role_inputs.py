# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks the variables of a role. What is valid is decided in ``plugin_utils/_typed.py``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from ansible.plugins.action import ActionBase

from ansible_collections.cwagent.iam.plugins.plugin_utils._evaluate import evaluate
from ansible_collections.cwagent.iam.plugins.plugin_utils._typed import check_role

# The options of the task; the module has their documentation.
TASK_OPTIONS = {"entry_point": {"type": "str", "default": "main"}}


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible comes without types
    """Fails the task with all that is wrong with the variables of the role that it is in."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Check the variables against the role's argument specs, without making lists of text."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        options = self.validate_argument_spec(TASK_OPTIONS)[1]
        specs = yaml.safe_load((Path(variables["role_path"]) / "meta" / "argument_specs.yml").read_text("utf-8"))
        spec = specs["argument_specs"][options["entry_point"]]["options"]
        problems = check_role(spec, evaluate(variables, spec, self._templar))
        if problems:
            return {**result, "changed": False, "failed": True, "msg": f"{' '.join(problems)} Nothing was changed."}
        return {**result, "changed": False}
