"""Pages have the tables that ``make tables`` writes: of the playbooks' variables, and of permissions."""

from __future__ import annotations

import importlib.util

from guide import ROOT

from ansible_collections.cwagent.iam.plugins.module_utils._configuration.permissions import ROWS

SCRIPT = ROOT / "docs" / "tables" / "variables.py"
SPEC = importlib.util.spec_from_file_location("variables", SCRIPT)
assert SPEC
assert SPEC.loader
variables = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(variables)


def test_the_page_has_the_tables_of_the_argument_specs():
    text = variables.PAGE.read_text()
    assert variables.with_tables(text) == text, "run make tables"


def test_the_page_of_permissions_has_the_rows_that_the_playbooks_use():
    text = variables.PERMISSIONS_PAGE.read_text()
    assert variables.with_tables(text, variables.permission_tables) == text, "run make tables"
    assert all(f"``{field}``" in text for each in ROWS for field in each.fields)
    assert all(each.source in text for each in ROWS)
