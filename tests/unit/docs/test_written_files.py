"""The files that ``make tables`` writes for the roles and playbooks are current."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest
import yaml
from guide import ROOT
from hypothesis import given
from hypothesis import strategies as st

SPEC = importlib.util.spec_from_file_location("written", ROOT / "docs" / "site" / "written_files.py")
assert SPEC
assert SPEC.loader
written = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(written)
FILES = written.files()
VALUES = st.recursive(
    st.booleans() | st.integers() | st.sampled_from(["", "a", "a-b", "~/x", "{{ x }}", "arn:aws:iam::1:role/x"]),
    lambda inner: st.lists(inner, max_size=3),
)
WORDS = st.sampled_from(["off", "yes", "none", "null", "1", "1.5", "2026-12-01", "~"])


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_written_file_is_current(path: Any) -> None:
    assert path.read_text() == FILES[path], "run make tables"


@pytest.mark.parametrize("name", ["meta/argument_specs.yml", "defaults/main.yml"])
def test_the_file_of_every_role_is_written(name: str) -> None:
    assert {path / name for path in written.ROLES.iterdir()} <= FILES.keys()


def test_every_file_of_variables_is_written() -> None:
    found = {path.name for path in FILES if path.parent == written.VARIABLES}
    assert found == {path.name for path in written.VARIABLES.iterdir()} - {"inputs.yml"}


@given(VALUES | WORDS)
def test_a_value_on_one_line_is_the_same_value(value: Any) -> None:
    assert yaml.safe_load(written.inline(value)) == value


def test_the_roles_agree_on_a_variable_of_the_playbooks() -> None:
    """Otherwise, docs/site/variables.yml has the value."""
    own = {name: option for subject in written.PLAYBOOKS.values() for name, option in subject["options"].items()}
    first: dict[tuple[str, str], Any] = {}
    for role in written.SOURCE["roles"]:
        for variable, option in written.options_of(written.spec_text(role))["main"].items():
            name = written.name_in_playbooks(role, variable)
            for kind, value in written.without_empty(option).items():
                if kind not in own.get(name, {kind: None}):
                    assert first.setdefault((name, kind), value) == value, (variable, kind)
