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
TEXTS = st.lists(st.sampled_from(["word", "V(true)", "C(<a b>)", "x" * 40]), min_size=1, max_size=60).map(" ".join)


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


@given(TEXTS, st.integers(0, 8))
def test_a_description_fits_the_width_and_keeps_its_text(text: str, indent: int) -> None:
    lines = list(written.described("description", text, indent))
    assert max(map(len, lines)) <= written.WIDTH
    found = yaml.safe_load("\n".join(lines))["description"]
    assert found in (text, [text])


@pytest.mark.parametrize(
    ("role", "name", "spec"),
    [
        ("ec2_server", "tags", {"type": "dict", "default": {}}),
        ("ec2_server", "iam_path", {"type": "str", "default": ""}),
        ("ec2_server", "managed_policies", {"type": "list", "elements": "str", "default": []}),
        ("onprem_server", "key_max_age_days", {"type": "int"}),
        ("onprem_server", "evict_unmanaged_key", {"type": "bool", "default": False}),
        ("onprem_credentials", "owner", {"type": "str", "default": ""}),
        ("onprem_credentials", "user", {"type": "str", "default": ""}),
        ("hybrid_registration", "credentials_file", {"type": "path", "default": ""}),
        ("ec2_server", "users", {}),
    ],
)
def test_a_variable_has_the_type_of_the_option_and_can_be_empty(role: str, name: str, spec: dict[str, Any]) -> None:
    found = written.of_module(role, name)
    assert {kind: found[kind] for kind in found if kind in written.KINDS} == spec


@pytest.mark.parametrize(
    ("text", "variables"),
    [
        ("As O(key_store=file).", "As O(onprem_credentials_key_store=file)."),
        ("O(user) and O(state)", "O(onprem_credentials_user) and O(onprem_credentials_state)"),
        ("O(path) and C(user)", "O(path) and C(user)"),
        ("O(cwagent.iam.ec2_admin#role:main:user)", "O(cwagent.iam.ec2_admin#role:main:user)"),
    ],
)
def test_a_text_of_a_module_names_the_variables_of_the_role(text: str, variables: str) -> None:
    assert written.as_role_text("onprem_credentials", text) == variables


@pytest.mark.parametrize(
    ("of_role", "of_playbooks"),
    [
        ({"type": "str", "default": "", "choices": ["", "a"], "description": "b"}, {"type": "str", "choices": ["a"]}),
        ({"type": "bool", "default": False}, {"type": "bool", "default": False}),
        ({"type": "int", "default": 0, "required": True}, {"type": "int", "default": 0}),
        ({"type": "list", "elements": "str", "default": []}, {"type": "list", "elements": "str"}),
        ({"type": "dict", "default": {}}, {"type": "dict"}),
    ],
)
def test_the_playbooks_take_no_empty_value(of_role: dict[str, Any], of_playbooks: dict[str, Any]) -> None:
    assert written.without_empty(of_role) == of_playbooks


@pytest.mark.parametrize(
    ("role", "variable", "name"),
    [
        ("ec2_server", "ec2_server_tags", "tags"),
        ("ec2_server", "ec2_server_name", "server_role_name"),
        ("verify", "verify_from", "verify_from"),
        ("verify", "verify_controller", ""),
    ],
)
def test_a_variable_of_a_role_gets_one_of_the_playbooks(role: str, variable: str, name: str) -> None:
    assert written.name_in_playbooks(role, variable) == name


@pytest.mark.parametrize(
    ("asked", "option", "answer"),
    [
        ({}, {"type": "str"}, {"type": "text", "min": 1, "max": 1024}),
        ({"max": 64}, {"type": "list"}, {"type": "text", "min": 1, "max": 64}),
        ({"min": 0, "max": 9}, {"type": "int"}, {"type": "integer", "min": 0, "max": 9}),
        ({}, {"type": "bool"}, {"type": "multiplechoice", "choices": ["false", "true"]}),
        ({}, {"type": "str", "choices": ["a", "off"]}, {"type": "multiplechoice", "choices": ["a", "off"]}),
        ({"choices": ["a"]}, {"type": "str", "choices": ["a", "b"]}, {"type": "multiplechoice", "choices": ["a"]}),
    ],
)
def test_a_question_has_the_type_and_the_choices_of_its_variable(
    asked: dict[str, Any], option: dict[str, Any], answer: dict[str, Any]
) -> None:
    words = {"name": "N", "description": "D: d", "variable": "cwagent_x"}
    lines = written.question_lines("x", {**words, **asked}, option)
    question = {"question_name": "N", "question_description": "D: d", "variable": "cwagent_x"}
    found = yaml.safe_load("\n".join(lines))["x"]
    assert found == {**question, "required": False, "default": "", **answer}


def test_the_roles_agree_on_a_variable_of_the_playbooks() -> None:
    """Otherwise, docs/site/variables.yml has the value."""
    own = {name: option for subject in written.PLAYBOOKS.values() for name, option in subject["options"].items()}
    first: dict[tuple[str, str], Any] = {}
    for role in written.SOURCE["roles"]:
        for variable, option in written.options_of(written.spec_text(role))["main"].items():
            name = f"cwagent_{written.name_in_playbooks(role, variable)}"
            for kind, value in written.without_empty(option).items():
                if kind not in own.get(name, {kind: None}):
                    assert first.setdefault((name, kind), value) == value, (variable, kind)
