"""The README's table of variables is what ``make tables`` writes from the argument specs of the playbooks."""

from __future__ import annotations

import importlib.util

import pytest
import yaml
from guide import README, ROOT

SCRIPT = ROOT / "docs" / "site" / "variables.py"
SPEC = importlib.util.spec_from_file_location("variables", SCRIPT)
assert SPEC
assert SPEC.loader
variables = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(variables)
OPTIONS = yaml.safe_load(variables.SPEC.read_text())["argument_specs"]["playbooks"]["options"]


def test_the_table_of_the_readme_is_that_of_the_argument_specs():
    text = README.read_text()
    assert variables.table() in text, "run make tables"
    assert variables.with_table(text) == text


def test_another_table_is_replaced_and_nothing_else():
    old = "# Title\n\n| a |\n\n## Variables\n\nAll.\n\n| name |\n|---|\n| old |\n\nMore.\n\n## Next\n\n| b |\n"
    head, tail = "# Title\n\n| a |\n\n## Variables\n\nAll.\n\n", "\n\nMore.\n\n## Next\n\n| b |\n"
    assert variables.with_table(old) == f"{head}{variables.table()}{tail}"


@pytest.mark.parametrize("name", OPTIONS)
def test_a_row_has_the_type_or_choices_the_default_and_the_description(name):
    option = OPTIONS[name]
    _, first, kind, default, meaning, _ = variables.row(name, option).split("|")
    assert first == f" `{name}` "
    assert kind.strip()
    assert [choice for choice in option.get("choices", []) if f"`{choice}`" not in kind] == []
    assert default.strip(" `") == str(option.get("default", "")).replace("True", "true").replace("False", "false")
    assert meaning.strip() == option["description"]


def test_a_row_says_that_one_item_is_enough():
    option = {"type": "list", "elements": "str", "description": "X."}
    assert variables.row("x", option) == "| `x` | list | | X. |"
    assert variables.row("x", {**option, "accepts_single": True}) == "| `x` | text or list | | X. |"
