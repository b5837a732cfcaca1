"""The variables of a role, and the modules that get them by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.plugin_utils._role_specs import (
    known_variables,
    lost_defaults,
    read_specs,
    served_modules,
)

ROLE, USER = "cwagent.iam.cwagent_iam_role", "cwagent.iam.cwagent_iam_user"
SPECS = """
argument_specs:
  main:
    options:
      ours_name: {type: str}
  leave:
    options:
      ours_name: {type: str}
      ours_state: {type: str}
"""


@pytest.fixture
def role(tmp_path: Path) -> Path:
    """A role whose tasks hand its variables on to one module, and whose variables hand them on to another."""
    for name, text in {
        "meta/argument_specs.yml": SPECS,
        "tasks/main.yml": "\"{{ lookup('cwagent.iam.role_options', 'cwagent_iam_role', region=x) }}\"",
        "vars/main.yml": "x: \"{{ lookup('cwagent.iam.role_options', 'cwagent_admin_window') }}\"",
    }.items():
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(text)
    return tmp_path


def test_the_variables_of_all_entry_points_are_known(role: Path) -> None:
    assert known_variables(read_specs(role)) == {"ours_name", "ours_state"}


def test_a_role_without_specs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=f"The role {tmp_path.name} has no argument specs"):
        read_specs(tmp_path)


def test_the_modules_are_found_where_the_lookup_is_used(role: Path) -> None:
    assert served_modules(role) == {ROLE, "cwagent.iam.cwagent_admin_window"}


@pytest.mark.parametrize(
    ("defaults", "lost"),
    [
        ([], []),
        ([{"group/cwagent.iam.aws": {"profile": "a"}}], []),
        ([{USER: {"profile": "a"}, "ansible.builtin.copy": {}}], []),
        ([{ROLE: {"profile": "a"}}], [ROLE]),
        ([{USER: {}}, {ROLE: {}}, {ROLE: {}}], [ROLE]),
    ],
)
def test_only_defaults_for_these_modules_would_be_lost(
    role: Path, defaults: list[dict[str, Any]], lost: list[str]
) -> None:
    assert lost_defaults(defaults, role) == lost
