"""Pages have the tables that ``make tables`` writes: of the playbooks' variables, and of permissions."""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import pytest
from guide import ROOT, playbook_options

from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.permissions import ROWS, Row

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


def test_the_page_of_permissions_has_the_rows_that_the_playbooks_use():
    text = variables.PERMISSIONS_PAGE.read_text()
    assert variables.with_tables(text, variables.permission_tables) == text, "run make tables"
    assert all(f"``{field}``" in text for each in ROWS for field in each.fields)
    assert all(each.source in text for each in ROWS)


def test_a_row_has_what_a_configuration_needs_and_what_allows_it():
    actions = ("ec2:DescribeTags", "ec2:DescribeVolumes")
    made = Row("reading x", ("a.b", "a.*.c"), actions, "*", "https://x", value="${x}", is_in_server_policy=True)
    made = replace(made, is_ec2_only=True, requires="a.d")
    assert variables.permission_row(made).splitlines() == [
        "   * - `Reading x <https://x>`__ (EC2 only)",
        "     - ``a.b``, ``a.*.c``, if it is ``${x}``, and ``a.d`` exists",
        "     - ``ec2:DescribeTags``, ``ec2:DescribeVolumes``",
        "     - ``CloudWatchAgentServerPolicy``, ``boundary.json``",
    ]


@pytest.mark.parametrize(
    ("actions", "is_in_server_policy", "allowed"),
    [
        (("sts:AssumeRole",), False, "neither"),
        (("ec2:DescribeTags", "sts:AssumeRole"), True, "``CloudWatchAgentServerPolicy``"),
        (("ec2:DescribeTags",), False, "``boundary.json``"),
    ],
)
def test_a_row_says_which_policy_allows_it(actions, is_in_server_policy, allowed):
    made = Row("x", ("a",), actions, "{value}", "https://x", other=-1, is_in_server_policy=is_in_server_policy)
    *_first, where, which, by = variables.permission_row(made).splitlines()
    assert (where, by) == ("     - ``a``, unless it is ``-1``", f"     - {allowed}")
    assert which.endswith(" on this resource")


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
