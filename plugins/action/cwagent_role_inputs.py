# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks the variables of a role. ``plugin_utils/_variable_types.py`` decides which values are valid."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.plugin_utils._evaluate import evaluate
from ansible_collections.cwagent.iam.plugins.plugin_utils._facts import check_facts
from ansible_collections.cwagent.iam.plugins.plugin_utils._key_store_checks import check_role_key_store
from ansible_collections.cwagent.iam.plugins.plugin_utils._report_files import ROLE_FORMATS, sort_by_format
from ansible_collections.cwagent.iam.plugins.plugin_utils._role_specs import known_variables, lost_defaults, read_specs
from ansible_collections.cwagent.iam.plugins.plugin_utils._variable_types import (
    Problems,
    check_role,
    misspelled_variables,
    to_typed,
)

# The options of the task; the module has their documentation.
TASK_OPTIONS = {
    "entry_point": {"type": "str", "default": "main"},
    "compare": {"type": "bool", "default": False},
}


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible comes without types
    """Fails the task with all problems of the variables of its role."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Check the variables against the role's argument specs, without making lists of text."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        options = self.validate_argument_spec(TASK_OPTIONS)[1]
        role = Path(variables["role_path"]).name
        if options["compare"]:
            return {**result, "changed": False, **_compare(role, variables)}
        if lost := lost_defaults(self._task.module_defaults or (), Path(variables["role_path"])):
            problem = (
                f"The module_defaults for {', '.join(lost)} do not reach the tasks of the role {role}. Set its "
                "variables instead. For AWS options, such as profile, use module_defaults for group/cwagent.iam.aws."
            )
            return {**result, "changed": False, "failed": True, "msg": f"{problem} Nothing was changed."}
        specs = read_specs(Path(variables["role_path"]))
        spec = specs[options["entry_point"]]["options"]
        try:
            check_facts({variables["inventory_hostname"]: variables.get("ansible_facts", {})}, spec)
        except InvalidInput as error:
            return {**result, "changed": False, "failed": True, "msg": f"{error} Nothing was changed."}
        values = evaluate(variables, spec, self._templar)
        found: dict[str, Any] = {}
        problems = misspelled_variables(role, variables, known_variables(specs)) + check_role(spec, values)
        if not problems:
            problems = _key_store_problems(role, spec, values)
        if not problems and f"{role}_report_files" in spec:
            found["report_files"], problems = self._report_files(role, spec, values)
        if problems:
            return {**result, "changed": False, "failed": True, "msg": f"{' '.join(problems)} Nothing was changed."}
        return {**result, "changed": False, "fingerprint": _fingerprint(values), **found}

    def _report_files(
        self, role: str, spec: dict[str, Any], values: dict[str, Any]
    ) -> tuple[dict[str, list[str]], list[str]]:
        """Return the files that the role writes, by format, and the problems with their paths."""
        name, problems = f"{role}_report_files", Problems()
        paths = to_typed(name, spec[name], values[name])
        files, notices = sort_by_format(name, paths, ROLE_FORMATS[role], f"the role {role}", problems)
        for notice in notices:
            self._display.warning(notice)
        return files, problems.sentences


def _compare(role: str, variables: dict[str, Any]) -> dict[str, Any]:
    """Return whether the hosts of the play have the same values, and the hosts that call the role's modules."""
    found = [variables["hostvars"].raw_get(host).get(f"__{role}_inputs") for host in variables["ansible_play_batch"]]
    is_shared = len({each.get("fingerprint") for each in found if each is not None}) <= 1
    hosts = variables["ansible_play_hosts"]
    return {"is_shared": is_shared, "runs_on": hosts[:1] if is_shared else hosts}


def _key_store_problems(role: str, spec: dict[str, Any], values: dict[str, Any]) -> list[str]:
    problems = Problems()
    problems.check(check_role_key_store, role, spec, values)
    return problems.sentences


def _fingerprint(values: dict[str, Any]) -> str:
    """Return a text that is the same for hosts with the same values, and never reveals them.

    Environments are left out. They make no difference here, and can contain a secret that is short enough to guess.
    """
    values = {name: value for name, value in values.items() if not name.endswith("_environment")}
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()
