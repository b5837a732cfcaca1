# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds the collection's modules in a file of tasks, with their options. Pure.

Templates are evaluated as Ansible evaluates them when the task runs: with the variables of the task and, in a loop, the
item.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ansible.module_utils.parsing.convert_bool import boolean

try:
    from ansible.template import trust_as_template
except ImportError:  # ansible-core before 2.19 evaluates any text
    trust_as_template = str

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    # Evaluates a value with templates.
    Evaluate = Callable[[Any], Any]

PREFIX = "cwagent.iam."
# The modules that read AWS and can be compared. The others of a role check its variables.
MODULES = (
    *("cwagent_admin_instance", "cwagent_admin_window", "cwagent_config_parameter"),
    *("cwagent_iam_role", "cwagent_iam_user", "cwagent_instance_profile"),
)
BLOCKS = ("block", "rescue", "always")


@dataclass(frozen=True)
class ComparedTask:
    """A task, or an item of its loop. :param region: empty for the default region."""

    module: str
    options: Mapping[str, Any]
    region: str


def compared_tasks(
    tasks: Sequence[Mapping[str, Any]],
    variables: Mapping[str, Any],
    evaluator: Callable[[Mapping[str, Any]], Evaluate],
    regions: str | None = None,
) -> Iterator[ComparedTask]:
    """Return the tasks that run.

    :param tasks: the content of a file; its text is trusted.
    :param evaluator: makes what evaluates with these variables.
    :param regions: an expression for the regions that a task is for, with its variables; without it, the region that
        the task names.
    """
    for task in tasks:
        for key in BLOCKS:
            yield from compared_tasks(task.get(key, ()), variables, evaluator, regions)
        module = next((each for each in MODULES if PREFIX + each in task), None)
        if module is None:
            continue
        scope = {**variables, **task.get("vars", {})}
        for item in _items(task, evaluator(scope)):
            evaluate = evaluator({**scope, **item})
            if all(_is_true(each, evaluate) for each in _conditions(task)):
                defaults = evaluate(task.get("module_defaults", {}).get(PREFIX + module, {}))
                options = _drop_omitted(evaluate(task[PREFIX + module]), variables.get("omit"))
                named = options.pop("region", defaults.get("region", ""))
                for region in evaluate(trust_templates(f"{{{{ {regions} }}}}")) if regions else [named]:
                    yield ComparedTask(module, options, region)


def _items(task: Mapping[str, Any], evaluate: Evaluate) -> list[dict[str, Any]]:
    """Return the variable of the loop for each item; none for the one time that a task without a loop runs."""
    if "loop" not in task:
        return [{}]
    name = task.get("loop_control", {}).get("loop_var", "item")
    return [{name: item} for item in evaluate(task["loop"])]


def _conditions(task: Mapping[str, Any]) -> list[Any]:
    conditions = task.get("when", [])
    return list(conditions) if isinstance(conditions, list) else [conditions]


def _is_true(condition: Any, evaluate: Evaluate) -> bool:
    return bool(boolean(evaluate(trust_templates(f"{{{{ ({condition}) | bool }}}}"))))


def _drop_omitted(value: Any, omitted: Any) -> Any:
    """Return options without those that are omitted."""
    if not isinstance(value, dict):
        return value
    return {key: _drop_omitted(each, omitted) for key, each in value.items() if omitted is None or each != omitted}


def trust_templates(value: Any) -> Any:
    """Return a value whose texts may be evaluated."""
    if isinstance(value, dict):
        return {key: trust_templates(each) for key, each in value.items()}
    if isinstance(value, list):
        return [trust_templates(each) for each in value]
    return trust_as_template(value) if isinstance(value, str) else value
