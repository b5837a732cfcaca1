"""rotate_keys.yml creates a user that does not exist, so it imports the roles, which take the rotation of the run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[3]


def load(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text())


def tasks_of(content: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """All tasks, at any depth."""
    for task in content:
        yield task
        for section in ("tasks", "block", "rescue", "always"):
            yield from tasks_of(task.get(section, []))


def test_the_roles_create_the_users() -> None:
    [play] = [each for each in load("playbooks/rotate_keys.yml") if each["name"].startswith("Replace access keys")]
    tasks = list(tasks_of([{**play, "tasks": load("playbooks/tasks/rotate.yml")}]))
    imported = [task["ansible.builtin.import_role"] for task in tasks if "ansible.builtin.import_role" in task]
    assert imported == [
        {"name": f"cwagent.iam.{role}", "tasks_from": "users", "rolespec_validate": False}
        for role in ("onprem_server", "onprem_admin")
    ]
    assert [task for task in tasks if "cwagent.iam.cwagent_iam_user" in task] == []
    assert [task["vars"] for task in tasks if "vars" in task] == []
