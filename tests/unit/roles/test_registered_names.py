"""The names under which tasks register what they did, for the report: the table against the playbooks and roles."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.cwagent.iam.plugins.plugin_utils._report.results import NAMES

ROOT = Path(__file__).parents[3]
COLLECTION = "cwagent.iam."
# Options with which a module only reads.
READING: list[tuple[str, dict[str, Any]]] = [
    ("cwagent_restore", {"state": "checked"}),
    ("cwagent_hybrid_nodes", {"deregister": False}),
    *(("cwagent_store_config", {"state": state}) for state in ("validated", "compared", "fitted")),
    *(("cwagent_agent_config", {"part": part}) for part in ("collect", "watch", "data", "check", "stop")),
]


def tasks_of(content: Any) -> Iterator[dict[str, Any]]:
    """All tasks with a module of the collection, at any depth."""
    for task in content or ():
        if any(key.startswith(COLLECTION) for key in task):
            yield task
        for section in ("tasks", "block", "rescue", "always"):
            yield from tasks_of(task.get(section, []))


def place_of(path: Path) -> str:
    """A role, or a file below ``playbooks``."""
    top, *parts = path.relative_to(ROOT).parts
    return parts[0] if top == "roles" else "/".join(parts)


FILES = [*ROOT.glob("playbooks/*.yml"), *ROOT.glob("playbooks/tasks/*.yml"), *ROOT.glob("roles/*/tasks/*.yml")]
TASKS = [(place_of(path), task) for path in sorted(FILES) for task in tasks_of(yaml.safe_load(path.read_text()))]


def can_change(task: dict[str, Any]) -> bool:
    [module] = [key.removeprefix(COLLECTION) for key in task if key.startswith(COLLECTION)]
    options = task[f"{COLLECTION}{module}"] or {}
    documentation = import_module(f"ansible_collections.cwagent.iam.plugins.modules.{module}").DOCUMENTATION
    is_info = "cwagent.iam.attributes.reading" in yaml.safe_load(documentation)["extends_documentation_fragment"]
    reads = any(name == module and given.items() <= options.items() for name, given in READING)
    return not (is_info or reads or task.get("check_mode"))


CHANGING = [(place, task) for place, task in TASKS if can_change(task)]
OF_TABLE = [(by, each.name) for each in NAMES for by in each.by]


@pytest.mark.parametrize(("place", "task"), CHANGING, ids=[f"{place}: {task['name']}" for place, task in CHANGING])
def test_a_task_that_can_change_something_registers_a_name_of_the_report(place: str, task: dict[str, Any]) -> None:
    assert (place, task.get("register")) in OF_TABLE


@pytest.mark.parametrize(("place", "name"), OF_TABLE)
def test_a_name_of_the_report_is_registered_where_the_table_has_it(place: str, name: str) -> None:
    assert name in [task.get("register") for of, task in TASKS if of == place]


def test_a_name_has_one_entry() -> None:
    assert len({each.name for each in NAMES}) == len(NAMES)


def test_a_server_registers_what_the_report_adds_the_server_to() -> None:
    assert [each.name for each in NAMES if each.adds_server and not each.of_server] == []


def test_a_task_whose_result_is_of_a_server_is_not_delegated() -> None:
    names = {each.name for each in NAMES if each.of_server}
    assert [task for _place, task in TASKS if task.get("register") in names and "delegate_to" in task] == []
