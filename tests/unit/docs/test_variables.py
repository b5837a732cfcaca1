"""The page of variables has the tables that ``make tables`` writes from the argument specs of the playbooks."""

from __future__ import annotations

import importlib.util

import pytest
from guide import ROOT, playbook_options

SCRIPT = ROOT / "docs" / "site" / "variables.py"
SPEC = importlib.util.spec_from_file_location("variables", SCRIPT)
assert SPEC
assert SPEC.loader
variables = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(variables)
OPTIONS = playbook_options()


def test_the_page_has_the_tables_of_the_argument_specs():
    text = variables.PAGE.read_text()
    assert variables.with_tables(text) == text, "run make tables"


def test_other_tables_are_replaced_and_nothing_else():
    head = f"Title\n=====\n\nAll.\n\n{variables.BEGIN}\n"
    assert variables.with_tables(f"{head}Old\n---\n") == f"{head}{variables.tables()}"


@pytest.mark.parametrize("name", OPTIONS)
def test_a_row_has_the_type_or_choices_the_default_and_the_description(name):
    option = OPTIONS[name]
    assert [choice for choice in option.get("choices", []) if f"``{choice}``" not in variables.kind(option)] == []
    meaning = variables.meaning(option)
    assert meaning.replace("``", "`").startswith(option["description"])
    default = str(option.get("default", "")).replace("True", "true").replace("False", "false")
    assert meaning.endswith(f"The default is ``{default}``.") is ("default" in option)
    first = variables.row(f"``{name}``", variables.kind(option), meaning).split("\n")[0]
    assert first == f"   * - ``{name}``"


def test_a_row_shows_that_one_item_is_enough():
    option = {"type": "list", "elements": "str", "description": "X."}
    assert variables.kind(option) == "list"
    assert variables.kind({**option, "accepts_single": True}) == "text or list"
