"""rotate_keys.yml creates a user that does not exist, so it passes the same options as the roles."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
PLAYBOOK_OPTIONS = {"name", "access", "admin_window", "region", "max_key_age", "retire_after"}
"""Options for which the playbook has its own values."""
ROLE_ONLY_OPTIONS = {"state", "wait_timeout"}
LOOKUP = re.compile(r"lookup\('ansible\.builtin\.vars', __cwagent_role ~ '(_\w+)'(?:, default=([^)]+))?\)")


def load(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text())


def user_options(tasks: list[dict[str, Any]]) -> dict[str, Any]:
    """The options of cwagent_iam_user in these tasks, including those in ``credentials``."""
    [options] = [task["cwagent.iam.cwagent_iam_user"] for task in tasks if "cwagent.iam.cwagent_iam_user" in task]
    return {**options, **options["credentials"]}


@pytest.mark.parametrize("access", ["server", "admin"])
def test_playbook_passes_the_options_of_the_role(access: str) -> None:
    role = f"onprem_{access}"
    defaults = load(f"roles/{role}/defaults/main.yml")

    def role_variable(lookup: re.Match[str]) -> str:
        if lookup[2]:
            assert defaults[role + lookup[1]] == ast.literal_eval(lookup[2].replace("false", "False"))
        return role + lookup[1]

    in_playbook = user_options(load("playbooks/rotate_keys.yml")[0]["tasks"])
    in_role = user_options(load(f"roles/{role}/tasks/main.yml"))
    assert in_playbook.keys() - PLAYBOOK_OPTIONS == in_role.keys() - PLAYBOOK_OPTIONS - ROLE_ONLY_OPTIONS
    for option in in_playbook.keys() - PLAYBOOK_OPTIONS - {"credentials"}:
        assert LOOKUP.sub(role_variable, in_playbook[option]) == in_role[option]


def test_variables_without_a_default_are_set_in_inputs() -> None:
    in_playbook = user_options(load("playbooks/rotate_keys.yml")[0]["tasks"])
    templates = [in_playbook[option] for option in in_playbook.keys() - PLAYBOOK_OPTIONS - {"credentials"}]
    lookups = [lookup for template in templates for lookup in LOOKUP.findall(template)]
    inputs = load("playbooks/vars/inputs.yml")
    assert lookups
    for name, default in lookups:
        assert default or {f"onprem_server{name}", f"onprem_admin{name}"} <= inputs.keys()
