"""rotate_keys.yml creates a user that does not exist, so it imports the roles and sets only rotation options."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
ROTATION = {"key_max_age_days", "rotate_now", "key_delete_after_days", "revoke_old"}
"""The options for which the playbook has its own values."""


def load(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text())


def tasks_of(content: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """All tasks, at any depth."""
    for task in content:
        yield task
        for section in ("tasks", "block", "rescue", "always"):
            yield from tasks_of(task.get(section, []))


@pytest.fixture(scope="module")
def users_play() -> dict[str, Any]:
    [play] = [each for each in load("playbooks/rotate_keys.yml") if "onprem_server_rotate_now" in each.get("vars", {})]
    return {**play, "tasks": load("playbooks/tasks/rotate.yml")}


def test_the_roles_create_the_users(users_play: dict[str, Any]) -> None:
    tasks = list(tasks_of([users_play]))
    imported = [task["ansible.builtin.import_role"] for task in tasks if "ansible.builtin.import_role" in task]
    assert imported == [
        {"name": f"cwagent.iam.{role}", "tasks_from": "users", "rolespec_validate": False}
        for role in ("onprem_server", "onprem_admin")
    ]
    assert [task for task in tasks if "cwagent.iam.cwagent_iam_user" in task] == []
    assert [task["vars"] for task in tasks[1:] if "vars" in task] == []


@pytest.mark.parametrize("access", ["server", "admin"])
def test_only_options_of_the_rotation_are_set(users_play: dict[str, Any], access: str) -> None:
    prefix = f"onprem_{access}_"
    found = {name.removeprefix(prefix): value for name, value in users_play["vars"].items() if name.startswith(prefix)}
    assert found == {option: f"{{{{ __cwagent.{option} }}}}" for option in ROTATION}
