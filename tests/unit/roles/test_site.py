"""The preflight of site.yml compares every task of the roles that it may skip."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from ansible_collections.cwagent.iam.plugins.plugin_utils._tasks import BLOCKS, MODULES, PREFIX

ROOT = Path(__file__).parents[3]
SKIPPED_ROLES = ("ec2_server", "ec2_admin", "onprem_server", "onprem_admin")
VARIABLES = yaml.safe_load((ROOT / "playbooks/vars/inputs.yml").read_text())
ENTRY = re.compile(r"\{'part': '(\w+)'(?:, 'role': '(\w+)')?(?:, 'tasks_from': '(\w+)')?")


def modules_in(tasks: list[dict[str, Any]]) -> Iterator[str]:
    for task in tasks:
        for key in BLOCKS:
            yield from modules_in(task.get(key, []))
        yield from (key for key in task if key.startswith(PREFIX))


def compared_files() -> list[tuple[str, str]]:
    """The part and the path of each entry of ``__cwagent_task_files``."""
    return [
        (part, f"{f'roles/{role}' if role else 'playbooks'}/tasks/{tasks_from or 'main'}.yml")
        for part, role, tasks_from in ENTRY.findall(VARIABLES["__cwagent_task_files"])
    ]


def test_every_file_of_the_roles_that_can_be_skipped_is_compared() -> None:
    entries = ("main.yml", "account.yml")  # they check the inputs, and import the other files
    files = {
        str(path.relative_to(ROOT))
        for role in SKIPPED_ROLES
        for path in ROOT.glob(f"roles/{role}/tasks/*.yml")
        if path.name not in entries
    }
    others = {"playbooks/tasks/restore.yml", "roles/store_config/tasks/validate.yml"}
    assert {file for _part, file in compared_files()} == files | others


def test_every_module_in_these_files_is_compared() -> None:
    contents = [yaml.safe_load((ROOT / file).read_text()) for _part, file in compared_files()]
    used = {module for content in contents for module in modules_in(content)}
    assert used - {PREFIX + "cwagent_role_inputs", PREFIX + "cwagent_preflight"} == {
        PREFIX + module for module in MODULES
    }


def test_without_a_comparison_all_parts_are_done() -> None:
    parts = [part for part, _file in compared_files()]
    assert list(dict.fromkeys(parts)) == re.findall(r"'(\w+)'", VARIABLES["__cwagent_due"])
