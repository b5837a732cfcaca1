# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads tasks of the collection's roles. How they are evaluated is decided in ``plugin_utils/_tasks.py``."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible.module_utils.common.yaml import yaml_load
from ansible.plugins.action import ActionBase
from ansible.template import Templar

from ansible_collections.cwagent.iam.plugins.plugin_utils import _tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

ROOT = Path(__file__).parents[2]
# Most options come from these, and Ansible would evaluate them anew for each.
SHARED_VARIABLES = ("__cwagent",)
# The options of the task; the module has their documentation.
TASK_OPTIONS = {
    "files": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "part": {"type": "str", "required": True},
            "role": {"type": "str"},
            "tasks_from": {"type": "str", "default": "main"},
            "hosts": {"type": "list", "elements": "str"},
            "regions": {"type": "str"},
        },
    },
}


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible comes without types
    """Returns the tasks that are in files of the collection, with their options evaluated."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Read the files and evaluate the options."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        files = self.validate_argument_spec(TASK_OPTIONS)[1]["files"]
        variables = task_vars or {}
        variables_of = cache(lambda host: self._variables_of(host, variables))
        tasks = [task for each in files for task in self._tasks_in(each, variables["inventory_hostname"], variables_of)]
        return {**result, "changed": False, "tasks": tasks}

    def _tasks_in(
        self, given: Mapping[str, Any], own_host: str, variables_of: Callable[[str], Mapping[str, Any]]
    ) -> Iterator[dict[str, Any]]:
        """Return the tasks of a file, for each of its hosts and regions, as the module takes them."""
        folder = ROOT / "roles" / given["role"] if given["role"] else ROOT / "playbooks"
        defaults, own = (_load(folder / kind / "main.yml") for kind in ("defaults", "vars"))
        content = _load(folder / "tasks" / f"{given['tasks_from']}.yml")
        for host in given["hosts"] or [own_host]:
            scope = {**defaults, **variables_of(host), **own}
            for task in _tasks.compared_tasks(content, scope, self._evaluator, given["regions"]):
                options = dict(task.options)
                yield {"part": given["part"], "module": task.module, "options": options, "region": task.region}

    def _variables_of(self, host: str, variables: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the variables of a host in this play, with those evaluated that most options come from."""
        found: Mapping[str, Any] = variables
        if host != variables["inventory_hostname"]:
            hostvars = variables["hostvars"]
            found = hostvars._variable_manager.get_vars(
                play=self._task.get_play(), host=hostvars._inventory.get_host(host)
            )
        evaluate = self._evaluator(found)
        return {**found, **{name: evaluate(found[name]) for name in SHARED_VARIABLES if name in found}}

    def _evaluator(self, variables: Mapping[str, Any]) -> Callable[[Any], Any]:
        evaluate: Callable[[Any], Any] = Templar(loader=self._loader, variables=variables).template
        return evaluate


def _load(path: Path) -> Any:
    """Return the content of a YAML file whose templates may be evaluated; empty if there is none."""
    return _tasks.trust_templates(yaml_load(path.read_text("utf-8"))) if path.exists() else {}
