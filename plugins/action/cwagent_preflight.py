# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the tasks of the collection's roles, so that one module can find which of them have something to do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from ansible.plugins.action import ActionBase
from ansible.template import Templar

from ansible_collections.cwagent.iam.plugins.plugin_utils import _tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

ROOT = Path(__file__).parents[2]
MODULE = "cwagent.iam.cwagent_preflight"


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible comes without types
    """Runs the module with the tasks that are in ``task_files``."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Evaluate the options of the tasks and run the module."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        arguments = dict(self._task.args)
        tasks = [task for each in arguments.pop("task_files", ()) for task in self._tasks_in(each, variables)]
        arguments["tasks"] = [*arguments.get("tasks", ()), *tasks]
        return {**result, **self._execute_module(module_name=MODULE, module_args=arguments, task_vars=variables)}

    def _tasks_in(self, given: Mapping[str, Any], variables: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Return the tasks of a file, for each of its hosts and regions, as the module takes them."""
        folder = ROOT / "roles" / given["role"] if given.get("role") else ROOT / "playbooks"
        defaults, own = (_load(folder / kind / "main.yml") for kind in ("defaults", "vars"))
        content = _load(folder / "tasks" / f"{given.get('tasks_from', 'main')}.yml")
        for host in given.get("hosts", [variables["inventory_hostname"]]):
            scope = {**defaults, **self._variables_of(host, variables), **own}
            for task in _tasks.compared_tasks(content, scope, self._evaluator):
                for region in given.get("regions", [task.region]):
                    options = dict(task.options)
                    yield {"part": given["part"], "module": task.module, "options": options, "region": region}

    def _variables_of(self, host: str, variables: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the variables of a host in this play."""
        if host == variables["inventory_hostname"]:
            return variables
        hostvars = variables["hostvars"]
        found: dict[str, Any] = hostvars._variable_manager.get_vars(
            play=self._task.get_play(), host=hostvars._inventory.get_host(host)
        )
        return found

    def _evaluator(self, variables: Mapping[str, Any]) -> Callable[[Any], Any]:
        templar = Templar(loader=self._loader, variables=variables)
        return lambda value: templar.template(value)


def _load(path: Path) -> Any:
    """Return the content of a YAML file whose templates may be evaluated; empty if there is none."""
    return _tasks.trusted(yaml.safe_load(path.read_text("utf-8"))) if path.exists() else {}
