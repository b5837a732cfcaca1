from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils._configuration.problems import (
    MAX_KEY,
    MAX_PATH,
    MAX_VALUE,
    Problem,
    closest,
    quote,
    quote_key,
    select,
    short_path,
    to_finding,
    to_lines,
)
from ansible_collections.cwagent.iam.plugins.module_utils._ground.findings import CONFIGURATION, Rule

RULE = Rule("r", CONFIGURATION, ("error",), "it is wrong")
INFORMATION = Rule("i", CONFIGURATION, ("notice",), "it is so", listed=False)
ERROR, WARNING, NOTICE = (Problem((), RULE, each, each) for each in ("error", "warning", "notice"))
LENIENT = Problem((), replace(RULE, is_lenient=True), "lenient")


@pytest.mark.parametrize(
    ("validation", "errors", "warnings"),
    [("strict", [ERROR, LENIENT], [WARNING]), ("warn", [ERROR], [LENIENT, WARNING]), ("off", [ERROR], [])],
)
def test_the_validation_decides_the_severity_of_an_error_of_a_lenient_rule(validation, errors, warnings):
    assert select(iter([ERROR, NOTICE, LENIENT, WARNING]), validation) == (errors, warnings)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ((), "$"),
        (("agent", "region"), "$.agent.region"),
        (("logs", 0, 12), "$.logs[0][12]"),
        (("service.name",), '$["service.name"]'),
        (("9",), '$["9"]'),
        (("_a9", "\n"), r'$._a9["\n"]'),
        (("a" * 40,), f"$.{'a' * 40}"),
        (("a" * 41,), f'$["{"a" * 39}…"]'),
        (("a" * 40, "b" * 40, "c" * 16), f"$.{'a' * 40}.{'b' * 40}.{'c' * 16}"),
        (("a" * 40, "b" * 40, "c" * 17), f"$.{'a' * 40}.{'b' * 6}…{'b' * 31}.{'c' * 17}"),
    ],
)
def test_short_path(path, text):
    assert short_path(path) == text


@given(st.lists(st.text() | st.integers(min_value=0)).map(tuple))
def test_a_path_is_short_and_can_be_printed(path):
    text = short_path(path)
    assert len(text) <= MAX_PATH
    assert text.isprintable()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "'a'"),
        ("\ud800", r"'\ud800'"),
        ("a" * 60, f"'{'a' * 60}'"),
        ("\x01" * 15, "'" + r"\x01" * 15 + "'"),
        ("\x01" * 16, "'" + r"\x01" * 14 + r"\x0…'"),
        ("it's", '"it\'s"'),
        ("a" * 61, f"'{'a' * 59}…'"),
        ("a" * 61 + "'", f"'{'a' * 59}…'"),
        (True, "true"),
        (False, "false"),
        (None, "null"),
        (1.5, "1.5"),
        (10**70, "1" + "0" * 59),
        ([], "a list without entries"),
        ([0], "a list"),
        ({}, "an object without entries"),
        ({"a": 1}, "an object"),
    ],
)
def test_quote(value, text):
    assert quote(value) == text


def test_keys_are_quoted_in_part():
    assert quote_key("a" * 40) == f"'{'a' * 40}'"
    assert quote_key("a" * 41) == f"'{'a' * 39}…'"


@given(st.text(max_size=90))
def test_a_quote_is_short_and_can_be_printed(text):
    for quoted, length in ((quote(text), MAX_VALUE), (quote_key(text), MAX_KEY)):
        assert len(quoted) <= length + 2
        assert quoted.isprintable()
        assert quoted[0] == quoted[-1]


@pytest.mark.parametrize(
    ("near", "names"),
    [
        ("region", ["reigon", "REGION", "regn"]),
        ("omit_hostname", ["omit-hostname", "omit_hostnam"]),
        ("Debug", ["debig", "dbg", "DEBUG"]),
        ("", ["dg", "host", "", "x" * 10**6]),
    ],
)
def test_the_closest_name(near, names):
    assert [closest(name, ["region", "omit_hostname", "Debug"]) for name in names] == [near] * len(names)


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (Problem(("a",), RULE, "unknown"), "$.a: unknown"),
        (Problem(("a",), RULE, "unknown", allowed="b, c"), "$.a: unknown; allowed: b, c"),
        (Problem(("a",), RULE, "unknown", allowed="b, c", near="b"), "$.a: unknown; did you mean 'b'?"),
        (Problem(("a",), RULE, "unknown", line=3, column=14), "3:14 $.a: unknown"),
    ],
)
def test_a_problem_in_one_line(problem, text):
    assert str(problem) == text


def test_a_line_that_is_exactly_wide_enough_is_shown_in_whole():
    # "$: w… ; allowed: a…" in 98 columns, of which the message leaves 75.
    fits = Problem((), RULE, "w" * 20, allowed="a " + "b" * 62)
    assert str(fits) == f"$: {'w' * 20}; allowed: a {'b' * 62}"
    assert len(str(fits)) == 98
    assert str(replace(fits, allowed="a " + "b" * 63)) == f"$: {'w' * 20}; allowed: a …"


def test_allowed_values_are_shown_in_a_long_line_too():
    assert str(Problem((), RULE, "w" * 200, allowed="a " * 50)).endswith("; allowed:" + " a" * 24 + " …")


def test_sixty_problems_are_sixty_lines_below_their_file():
    first = [Problem((index,), RULE, "wrong", source="a.json") for index in range(60)]
    lines = [f"  $[{index}]: wrong" for index in range(60)]
    other = Problem((), RULE, "empty", source="b.json")
    assert to_lines([*first, other]) == ["a.json: 60 problems", *lines, "b.json: 1 problem", "  $: empty"]


def test_a_problem_is_an_error_without_a_position_by_default():
    problem = Problem((), RULE, "wrong")
    assert problem.severity == "error"
    assert (problem.source, problem.line, problem.column, problem.near, problem.allowed) == ("", None, None, "", "")


@pytest.mark.parametrize(
    ("problem", "severity", "fix"),
    [
        (Problem(("a", 0), RULE, "m", "error", near="b"), "error", "Did you mean 'b'?"),
        (Problem(("a", 0), RULE, "m", allowed="c"), "error", "Allowed: c"),
        (Problem(("a", 0), RULE, "m", "warning"), "warning", ""),
        (Problem(("a", 0), INFORMATION, "m", "notice"), "notice", ""),
    ],
)
def test_a_problem_is_a_finding_for_pipelines(problem, severity, fix):
    place = {"object": "P $.a[0]", "file": "x.json", "line": 2, "column": 3}
    found = to_finding(replace(problem, source="x.json", line=2, column=3), "P")
    listed = {"severity": severity, "listed": severity != "notice"}
    assert found == {"rule": problem.rule.name, "why": "m", "fix": fix, "region": None, **listed, **place}
