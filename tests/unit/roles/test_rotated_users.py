"""The playbook that replaces keys makes a user that is not there yet, so it asks all that the roles ask."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
OWN = {"name", "access", "admin_window", "region", "max_key_age", "retire_after"}
"""Options for which the playbook has values of its own."""
OF_THE_RUN = {"state", "wait_timeout"}
LOOKUP = re.compile(r"lookup\('ansible\.builtin\.vars', __cwagent_role ~ '(_\w+)'(?:, default=([^)]+))?\)")


def load(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text())


def options(tasks: list[dict[str, Any]]) -> dict[str, Any]:
    """All options of the module for users, those within ``credentials`` too."""
    [found] = [task["cwagent.iam.cwagent_iam_user"] for task in tasks if "cwagent.iam.cwagent_iam_user" in task]
    return {**found, **found["credentials"]}


@pytest.mark.parametrize("access", ["server", "admin"])
def test_the_playbook_asks_what_the_role_asks(access: str) -> None:
    role = f"onprem_{access}"
    defaults = load(f"roles/{role}/defaults/main.yml")

    def as_in_role(found: re.Match[str]) -> str:
        if found[2]:
            assert defaults[role + found[1]] == ast.literal_eval(found[2].replace("false", "False"))
        return role + found[1]

    asked = options(load("playbooks/rotate_keys.yml")[0]["tasks"])
    wanted = options(load(f"roles/{role}/tasks/main.yml"))
    assert asked.keys() - OWN == wanted.keys() - OWN - OF_THE_RUN
    for option in asked.keys() - OWN - {"credentials"}:
        assert LOOKUP.sub(as_in_role, asked[option]) == wanted[option]


def test_what_has_no_default_in_the_playbook_is_set_for_all_playbooks() -> None:
    asked = options(load("playbooks/rotate_keys.yml")[0]["tasks"])
    found = [found for option in asked.keys() - OWN - {"credentials"} for found in LOOKUP.findall(asked[option])]
    inputs = load("playbooks/vars/inputs.yml")
    assert found
    for name, default in found:
        assert default or {f"onprem_server{name}", f"onprem_admin{name}"} <= inputs.keys()
