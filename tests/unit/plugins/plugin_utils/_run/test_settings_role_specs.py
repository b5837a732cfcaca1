"""The variables of a role."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.plugin_utils._run.settings import read_specs, role_options

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


def test_the_variables_of_all_entry_points_are_known(tmp_path: Path) -> None:
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "argument_specs.yml").write_text(SPECS)
    assert role_options(tmp_path).keys() == {"ours_name", "ours_state"}


def test_a_role_without_specs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=f"The role {tmp_path.name} has no argument specs"):
        read_specs(tmp_path)
