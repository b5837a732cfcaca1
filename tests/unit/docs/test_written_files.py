"""The files that ``make tables`` writes for the roles and playbooks are current."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest
import yaml
from guide import ROOT
from hypothesis import given
from hypothesis import strategies as st

SPEC = importlib.util.spec_from_file_location("written", ROOT / "docs" / "tables" / "written_files.py")
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


@given(VALUES | WORDS)
def test_a_value_on_one_line_is_the_same_value(value: Any) -> None:
    assert yaml.safe_load(written.inline(value)) == value
