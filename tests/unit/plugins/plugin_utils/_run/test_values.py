from __future__ import annotations

from datetime import date
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from import_graph import PLUGINS

from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.plugin_utils._run import settings
from ansible_collections.cwagent.iam.plugins.plugin_utils._run.values import (
    CONFIGS_OF_ROLE,
    ENVIRONMENTS,
    LISTS_BY_REGION,
    Problems,
    Undefined,
    check_role,
    is_blank,
    misspelled_variables,
    quote,
    to_typed,
)

COLLECTION = PLUGINS.parent
ENTRIES = {
    "type": "list",
    "elements": "dict",
    "options": {"name": {"type": "str", "required": True}, "days": {"type": "int"}},
}
CONFIGS = {"type": "list", "elements": "dict", "options": {"name": {"required": True}, "regions": {"type": "list"}}}
CHOICE = {"type": "str", "choices": ["", "a", "b"]}
ONE_OR_LIST = {"type": "list", "elements": "str", "accepts_single": True}
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=8,
)


@pytest.mark.parametrize("value", [None, "", " \n\t", "\u3000"])
@pytest.mark.parametrize("kind", ["str", "path", "int", "bool", "list", "dict"])
def test_a_blank_is_not_a_value(kind, value):
    assert is_blank(value)
    assert to_typed("x", {"type": kind}, value) is None


@pytest.mark.parametrize("value", [0, False, [], {}, "0"])
def test_other_values_are_not_blank(value):
    assert not is_blank(value)


@pytest.mark.parametrize(
    ("option", "value", "result"),
    [
        ({}, " text ", "text"),
        ({"type": "str"}, 5, "5"),
        ({"type": "str"}, 1.5, "1.5"),
        ({"type": "path"}, "~/x", "~/x"),
        (CHOICE, "a", "a"),
        ({"type": "int"}, 7, 7),
        ({"type": "int"}, " 7 ", 7),
        ({"type": "int"}, "-7", -7),
        ({"type": "bool"}, True, True),
        ({"type": "bool"}, "no", False),
        ({"type": "bool"}, " Yes ", True),
        ({"type": "bool"}, 1, True),
        ({"type": "list"}, ["a", 5], ["a", "5"]),
        ({"type": "list"}, [], []),
        ({"type": "list"}, "[a, 5, 2024-13-45]", ["a", "5", "2024-13-45"]),
        ({"type": "list", "elements": "int"}, "[1, 2]", [1, 2]),
        ({"type": "list"}, ["", "x"], ["", "x"]),
        (ONE_OR_LIST, "a", ["a"]),
        (ONE_OR_LIST, " ~/20%.x ", ["~/20%.x"]),
        (ONE_OR_LIST, "a,b , 5", ["a", "b", "5"]),
        *((ONE_OR_LIST, text, [text]) for text in ("/srv/a #1.json", "*.json", "&a", "a: b", "{a", "-a", "'a'", "!x")),
        (ONE_OR_LIST, "*a, b #1", ["*a", "b #1"]),
        (ONE_OR_LIST, " [a, '*b']", ["a", "*b"]),
        (ONE_OR_LIST, 5, ["5"]),
        (ONE_OR_LIST, 1.5, ["1.5"]),
        (ONE_OR_LIST, ["a,b", 5], ["a,b", "5"]),
        (ONE_OR_LIST, "['a,b', 5]", ["a,b", "5"]),
        (ONE_OR_LIST, "- a\n- 20%", ["a", "20%"]),
        (ONE_OR_LIST, [], []),
        (ONE_OR_LIST, "[]", []),
        ({**ONE_OR_LIST, "elements": "int"}, "1,2", [1, 2]),
        ({"type": "dict"}, {"a": [1]}, {"a": [1]}),
        ({"type": "dict"}, "{a: yes, b: 1}", {"a": "yes", "b": "1"}),
        ({"type": "dict"}, "a=yes,b=1", {"a": "yes", "b": "1"}),
        (ENTRIES, [{"name": "x"}], [{"name": "x"}]),
        (ENTRIES, "- name: x\n  days: 5", [{"name": "x", "days": 5}]),
        (ENTRIES, [{"name": "x", "days": " "}], [{"name": "x"}]),
        (CONFIGS, "[{name: x, regions: [a]}]", [{"name": "x", "regions": ["a"]}]),
    ],
)
def test_a_value_gets_the_type_of_its_option(option, value, result):
    found = to_typed("x", option, value)
    assert found == result
    assert type(found) is type(result)


KINDS = {kind: {"type": kind} for kind in ("str", "path", "int", "bool", "list", "dict")}
TEXTS = {"type": "list", "elements": "str"}
WRONG: list[tuple[str, Any, list[Any]]] = [
    ("must be text", KINDS["str"], [["a"], {"a": 1}, True, b"x"]),
    ("must be text", KINDS["path"], [[]]),
    ("must be one of a, b", CHOICE, ["c", 5, ["a"]]),
    ("must be a whole number", KINDS["int"], ["seven", "7.5", 7.0, True, [7]]),
    ("must be true or false", KINDS["bool"], ["perhaps", 2, [True], {}]),
    ("must be a list", KINDS["list"], ["a", "a,b", "[a", "[" * 9999, 5, {"a": 1}]),
    ("must be a list, each item of which must be text", TEXTS, [[None], [["a"]], [{"a": 1}]]),
    ("must be text, or a list of it", ONE_OR_LIST, ["[a", "[a, b]]", {"a": 1}, True, [None], [["a"]]]),
    ("must be a mapping", KINDS["dict"], ["a", "{a", "[a]", ["a"], 5]),
    (
        "must be a list of mappings, each with name, perhaps days, and nothing else",
        ENTRIES,
        [
            *({"name": "x"}, ["x"], [{}], [{"name": "x", "file": "y"}], [{"name": "x", 5: "y"}]),
            *([{"name": name}] for name in (" ", None, ["x"])),
        ],
    ),
]


@pytest.mark.parametrize(
    ("option", "value", "expectation"),
    [(option, value, expectation) for expectation, option, values in WRONG for value in values],
)
def test_a_value_of_another_type_is_an_error(option, value, expectation):
    with pytest.raises(InvalidInput) as error:
        to_typed("x", option, value)
    shown_value = quote(value.strip() if isinstance(value, str) else value)
    assert str(error.value) == f"x {expectation}, not {shown_value}."


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        (ENTRIES, [{"days": "many", "name": "x"}], "days of x must be a whole number, not 'many'."),
        (CONFIGS, [{"name": "x", "regions": "a"}], "regions of x must be a list, not 'a'."),
        (KINDS["dict"], {date(2026, 1, 2): "a"}, "the key '2026-01-02' is not text. Put it in quotes."),
        (KINDS["dict"], {"team": "b", None: "a"}, "the key 'null' is not text. Put it in quotes."),
        ({**ENTRIES, "options": {"days": KINDS["int"]}}, [{"days": []}], "days must be a whole number, not '[]'."),
    ],
)
def test_a_part_of_another_type_is_an_error_that_names_it(option, value, message):
    with pytest.raises(InvalidInput) as error:
        to_typed("x", option, value)
    assert str(error.value) == f"x: {message}"


def test_an_undefined_value_is_an_error_with_its_reason():
    with pytest.raises(InvalidInput, match=r"^x cannot be evaluated: 'nope' is undefined\.$"):
        to_typed("x", {}, Undefined("'nope' is undefined"))


def test_a_long_value_is_cut():
    assert quote("a" * 60) == f"'{'a' * 60}'"
    assert quote("a" * 61) == f"'{'a' * 60}...'"
    assert quote(None) == "'null'"


def test_problems_are_listed_once_in_their_order():
    problems = Problems()
    problems.add("b")
    problems.add("a")
    problems.add("b")
    assert problems.check(int, "5") == 5
    assert problems.check(to_typed, "x", {"type": "int"}, "y", where="Host h: ") is None
    assert problems.sentences == ["b", "a", "Host h: x must be a whole number, not 'y'."]


@given(
    ANYTHING,
    st.sampled_from([{}, CHOICE, ENTRIES, CONFIGS, ONE_OR_LIST, *map(KINDS.get, ("path", "int", "bool", "dict"))]),
)
def test_a_value_is_typed_or_refused(value, option):
    problems = Problems()
    found = problems.check(to_typed, "x", option, value)
    assert [problem.startswith(("x must be ", "x: ")) for problem in problems.sentences] in ([], [True])
    assert (found is None) is bool(is_blank(value) or problems.sentences)
    assert to_typed("x", option, found) == found, "a typed value stays the same"


def role_options():
    for path in sorted(COLLECTION.glob("roles/*/meta/argument_specs.yml")):
        for entry, spec in yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"].items():
            yield path.parents[1].name, entry, spec["options"]


ROLES = list(role_options())
COLLECTIONS = [
    pytest.param(name, option, id=name)
    for path in sorted(COLLECTION.glob("roles/*"))
    for name, option in settings.role_options(path).items()
    if option["type"] in ("list", "dict")
]


@pytest.mark.parametrize(("role", "entry", "options"), ROLES)
def test_the_defaults_of_a_role_are_valid(role, entry, options):
    defaults = {name: option["default"] for name, option in options.items() if "default" in option}
    required = [name for name, option in options.items() if option.get("required")]
    assert check_role(options, defaults) == [f"{name} is required." for name in required]


@pytest.mark.parametrize(("name", "option"), COLLECTIONS)
@pytest.mark.parametrize("value", ["a", "[a]", "{a: [b]}", "", " ", None, 5, True, Undefined("it is undefined")])
def test_a_role_takes_only_lists_and_mappings_for_them(name, option, value):
    [problem] = check_role({name: option}, {name: value})
    assert problem.startswith(f"{name} ")


@pytest.mark.parametrize(("name", "option"), COLLECTIONS)
def test_a_role_takes_no_mapping_for_a_list_and_no_list_for_a_mapping(name, option):
    [problem] = check_role({name: option}, {name: {"a": "b"} if option["type"] == "list" else ["a"]})
    assert problem.startswith(f"{name} must be a ")


@pytest.mark.parametrize("name", sorted(LISTS_BY_REGION))
@pytest.mark.parametrize("items", ["i-1", None, 5, {"i-1": None}, [""], [None], [5], [["i-1"]]])
def test_a_role_takes_a_list_for_each_region(name, items):
    [problem] = check_role({name: {"type": "dict"}}, {name: {"r": items}})
    assert problem == f"{name} must have a list for each region; 'r' has {quote(items)}."
    assert check_role({name: {"type": "dict"}}, {name: {"r": ["i-1"], "": []}}) == []


def test_the_lists_by_region_are_options_of_roles():
    assert {name for _role, _entry, options in ROLES for name in options} >= LISTS_BY_REGION


def test_every_environment_of_a_role_is_known():
    environments = {name for _role, _entry, options in ROLES for name in options if name.endswith("_environment")}
    assert environments == ENVIRONMENTS


@pytest.mark.parametrize("name", sorted(ENVIRONMENTS))
@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({}, ""),
        ({"HTTPS_PROXY": "http://u:s3cret@proxy", "_a1": "", "B": None, "C": 5, "D": True}, ""),
        ("A=s3cret", " must be a mapping of names of environment variables to their values."),
        (["s3cret"], " must be a mapping of names of environment variables to their values."),
        ({"a b": "s3cret"}, ": 'a b' is not a valid name of an environment variable."),
        ({"$(x)": "s3cret"}, ": '$(x)' is not a valid name of an environment variable."),
        ({"1A": "s3cret"}, ": '1A' is not a valid name of an environment variable."),
        ({"A\n": "s3cret"}, ": 'A\\n' is not a valid name of an environment variable."),
        ({"A": ["s3cret"]}, ": the value of A must be text."),
        ({"A": {"b": "s3cret"}}, ": the value of A must be text."),
    ],
)
def test_an_environment_of_a_role_is_checked_and_its_values_are_not_shown(name, value, problem):
    assert check_role({name: {"type": "dict"}}, {name: value}) == ([f"{name}{problem}"] if problem else [])


@pytest.mark.parametrize(
    ("option", "value", "problems"),
    [
        ({"type": "str"}, "", []),
        ({"type": "str"}, None, []),
        (CHOICE, "", []),
        ({"type": "str", "choices": ["a"]}, "", ["x must be one of a, not ''."]),
        ({"type": "str", "choices": ["a", "off"]}, False, []),  # off without quotes
        ({"type": "str", "choices": ["a", "off"]}, True, ["x must be one of a, off, not 'True'."]),
        ({"type": "str", "choices": ["a"]}, False, ["x must be one of a, not 'False'."]),
        ({"type": "path"}, "", []),
        ({"type": "int"}, "", ["x must be a whole number, not ''."]),
        ({"type": "int"}, "5", []),
        ({"type": "bool"}, None, ["x must be true or false, not 'null'."]),
        ({"type": "bool"}, "yes", []),
        ({"type": "str", "required": True}, " ", ["x is required."]),
        ({"type": "list", "required": True}, [], []),
    ],
)
def test_a_variable_of_a_role_is_checked_as_it_is(option, value, problems):
    assert check_role({"x": option}, {"x": value}) == problems


@pytest.mark.parametrize(
    ("regions", "problem"),
    [
        (["eu-central-1", "us-gov-west-1"], ""),
        ([], " is an empty list. Name a region, or leave regions out."),
        (["eu-central"], ": 'eu-central' is not the name of an AWS region, such as eu-central-1."),
        ([""], ": '' is not the name of an AWS region, such as eu-central-1."),
        (["eu-central-1", "eu-central-1"], " has a duplicate region."),
        ("eu-central-1", " must be a list, each item of which must be text, not 'eu-central-1'."),
        ("[eu-central-1]", " must be a list, each item of which must be text, not '[eu-central-1]'."),
        (None, " must be a list, each item of which must be text, not 'null'."),
        ({"eu-central-1": ""}, " must be a list, each item of which must be text, not '{'eu-central-1': ''}'."),
    ],
)
def test_the_regions_of_a_configuration_are_checked(regions, problem):
    option = next(options[CONFIGS_OF_ROLE] for role, _entry, options in ROLES if role == "store_config")
    entry = {"name": "AmazonCloudWatch-x", "file": "x.json"}
    found = check_role({CONFIGS_OF_ROLE: option}, {CONFIGS_OF_ROLE: [entry, {**entry, "regions": regions}]})
    assert found == ([f"{CONFIGS_OF_ROLE}: regions of AmazonCloudWatch-x{problem}"] if problem else [])


def test_a_variable_of_a_role_that_is_not_set_has_no_problem():
    assert check_role({"x": {"type": "int"}}, {"y": "z"}) == []


@pytest.mark.parametrize(
    ("role", "name", "meant"),
    [
        ("ec2_server", "ec2_server_role_name", "ec2_server_name"),
        ("ec2_server", "ec2_server_regoin", "ec2_server_region"),
        ("ec2_server", "ec2_server_region", None),
        ("ec2_server", "ec2_servers", None),
        ("ec2_server", "ec2_server_color", None),
        ("verify", "verify_ssl", None),
        ("verify", "verify_certs", None),
        ("verify", "verify_server", "verify_servers"),
        ("audit", "audit_log", None),
        ("audit", "audit_report_file", "audit_report_files"),
        ("onprem_server", "onprem_server_user", "onprem_server_users"),
    ],
)
def test_a_name_that_is_nearly_a_variable_of_a_role_is_refused(role, name, meant):
    known = {each for found, _entry, options in ROLES if found == role for each in options}
    assert known
    words = f"{name} is not a variable of the role {role}; did you mean {meant}?"
    assert misspelled_variables(role, [name, "other_name"], known) == ([words] if meant else [])


def test_no_variable_of_a_role_looks_like_a_misspelled_one_of_another():
    names = {each for _role, _entry, options in ROLES for each in options}
    for role in {found for found, _entry, _options in ROLES}:
        known = {each for found, _entry, options in ROLES if found == role for each in options}
        assert misspelled_variables(role, names, known) == []


@pytest.mark.parametrize(
    ("problems", "sentences"),
    [
        ([], []),
        (["a.", "a.", "b."], ["a.", "b."]),
        (["Host web-1: a."], ["Host web-1: a."]),
        (
            ["Host web-1: a.", "c.", "Host web-2: b.", "Host web-2: a."],
            ["Hosts web-1, web-2: a.", "c.", "Host web-2: b."],
        ),
        (
            [f"Host w{number}: a." for number in range(12)],
            [f"Hosts {', '.join(f'w{n}' for n in range(10))} and 2 more: a."],
        ),
    ],
)
def test_a_problem_of_several_hosts_is_one_sentence_with_their_names(problems, sentences):
    found = Problems()
    for each in problems:
        found.add(each)
    assert found.sentences == sentences
