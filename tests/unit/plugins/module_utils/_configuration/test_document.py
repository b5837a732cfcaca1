from __future__ import annotations

import datetime
import json
import math
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from json_values import json_values

from ansible_collections.cwagent.iam.plugins.module_utils._configuration.document import (
    MAX_DEPTH,
    MAX_PROBLEMS,
    MAX_SIZE,
    MAX_VALUES,
    is_json,
    read,
    read_yaml,
)
from ansible_collections.cwagent.iam.plugins.module_utils._ground.findings import ERROR
from ansible_collections.cwagent.iam.plugins.module_utils._ground.names import is_yaml_name

OBJECT = st.dictionaries(st.text(), json_values(max_leaves=8), max_size=4)


def _found(content):
    return [(each.line, each.column, each.path, each.message) for each in read(content, "a.json").problems]


def _has_reference(value):
    return "{{" in json.dumps(value, ensure_ascii=False)


@given(OBJECT, st.sampled_from([None, 1]), st.booleans())
def test_json_is_read_as_python_reads_it_and_a_mapping_as_it_is(config, indent, ensure_ascii):
    text = json.dumps(config, indent=indent, ensure_ascii=ensure_ascii)
    for content in (text, text.encode(), config):
        document = read(content, "a.json")
        assert document.value == config
        assert bool(document.problems) == _has_reference(config)
    assert document.locate(()) == (None, None)
    lines, document = text.split("\n"), read(text, "a.json")
    for key in config:
        line, column = document.locate((key,))
        assert line
        assert column
        found, _end = json.JSONDecoder().raw_decode(lines[line - 1][column - 1 :])
        assert found == key, "the place of a key is where its text begins"


@given(st.text() | st.text(alphabet="{}[]:,\"'\\/*#1.-enuta \n{\ufeff"))
@example('{"a": 1}')
@example("\x00")
def test_a_text_without_problems_is_json(text):
    document = read(text, "a.json")
    if document.problems:
        assert all(each.severity == ERROR and each.source == "a.json" for each in document.problems)
    else:
        assert document.value == json.loads(text)


@given(st.binary())
def test_bytes_without_problems_are_json(content):
    document = read(content, "a.json")
    assert document.problems or document.value == json.loads(content)


YAML = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text() | st.dates() | st.binary(),
    lambda children: st.lists(children) | st.dictionaries(st.text() | st.integers() | st.none(), children),
)


@given(YAML)
def test_a_value_of_yaml_without_problems_is_the_same_in_json(config):
    document = read(config, "config")
    if not document.problems:
        assert json.loads(json.dumps(document.value, allow_nan=False)) == config


YAML_MESSAGE = (
    "the configuration is YAML, and must be JSON; only an OpenTelemetry configuration can be YAML, in a parameter "
    "whose name ends with .yaml"
)


@pytest.mark.parametrize(
    ("content", "problems"),
    [
        ("", [(1, 1, (), "the configuration is empty")]),
        (" \r\n\t ", [(2, 3, (), "the configuration is empty")]),
        ("[]", [(1, 1, (), "the configuration is a list without entries, not an object")]),
        (' "x"', [(1, 2, (), "the configuration is 'x', not an object")]),
        ("null", [(1, 1, (), "the configuration is null, not an object")]),
        ('{"a": 1,}', [(1, 8, (), "there is a comma before the closing '}'")]),
        ('{"a": [1, ]}', [(1, 9, ("a",), "there is a comma before the closing ']'")]),
        ('{"a": 1\n"b": 2}', [(2, 1, (), "a comma is missing before '\"'")]),
        ('{"a": [1 2]}', [(1, 10, ("a",), "a comma is missing before '2'")]),
        ('{"a": [1}', [(1, 9, ("a",), "']' or a comma is missing: there is '}'")]),
        ('{"a": 1: 2}', [(1, 8, (), "'}' or a comma is missing: there is ':'")]),
        ('{"a": [1,', [(1, 10, ("a",), "the ']' for line 1 column 7 is missing")]),
        ('\n{"a": {"b": 1', [(2, 14, ("a",), "the '}' for line 2 column 7 is missing")]),
        ("{", [(1, 2, (), "the '}' for line 1 column 1 is missing")]),
        ('{"a" 1}', [(1, 6, ("a",), "a colon is missing after the key: there is '1'")]),
        ('{"a"', [(1, 5, ("a",), "a colon is missing after the key: there is the end of the text")]),
        ('{"a":', [(1, 6, ("a",), "a value is missing: there is the end of the text")]),
        ('{"a": }', [(1, 7, ("a",), "a value is missing: there is '}'")]),
        ('{"a": \xa01}', [(1, 7, ("a",), r"a value is missing: there is '\xa0'")]),
        ("{[]: 1}", [(1, 2, (), "a key is missing: there is '['")]),
        ("{} x", [(1, 4, (), "there is 'x' after the end of the configuration")]),
        ("{{x}}", [(1, 2, (), "a key is missing: there is '{'; if this is a template, render it first")]),
        ('{"a": {{ x }}}', [(1, 8, ("a",), "a key is missing: there is '{'; if this is a template, render it first")]),
        ('{"a": 1, "a": 2}', [(1, 10, ("a",), "duplicate key 'a', which is also in line 1")]),
        (
            '{"a": 1,\n"a": 2,\n"a": 3}',
            [
                (2, 1, ("a",), "duplicate key 'a', which is also in line 1"),
                (3, 1, ("a",), "duplicate key 'a', which is also in line 2"),
            ],
        ),
        *(
            (text, [(1, 1, (), YAML_MESSAGE)])
            for text in (
                "agent:\n  region: eu-central-1\n",
                "---\nagent: {}\n",
                "%YAML 1.2\n---\nagent: {}\n",
                "- agent\n",
                "'agent': {}\n",
                '"agent": {}\n',
                "agent:",
                "metrics_collected :\n",
            )
        ),
        ("# a comment\nagent: {}\n", [(2, 1, (), YAML_MESSAGE)]),
        ('{"a": NaN}', [(1, 7, ("a",), "'NaN' is not JSON")]),
        ('{"a": [-Infinity, 1]}', [(1, 8, ("a", 0), "'-Infinity' is not JSON")]),
        ('{"a": True}', [(1, 7, ("a",), "'True' is not JSON")]),
        ('{"a": 01}', [(1, 7, ("a",), "'01' is not JSON")]),
        ("{\"a\": 'x,y'}", [(1, 7, ("a",), "'x,y' is not JSON")]),
        ("{a: 1}", [(1, 2, ("a",), "the key 'a' is not in double quotes")]),
        ('{"a": 1e999}', [(1, 7, ("a",), "'1e999' is too large for a number")]),
        ('{"a": ' + "9" * 5000 + "}", [(1, 7, ("a",), f"'{'9' * 39}…' is too large for a number")]),
        ('// x\n{"a": 1 # y\n, /* z\n*/ "b": 2}//', None),
        ('{"a": "x\ny"}', [(1, 9, ("a",), "there is a line break or another control character in a text")]),
        ('{"a": "\\x"}', [(1, 8, ("a",), "there is a backslash that begins no escape sequence of JSON")]),
        ('{"a": "x}', [(1, 7, ("a",), "the double quotes at the end of this text are missing")]),
        (
            '{"a": "\\ud800"}',
            [(1, 7, ("a",), r"'\ud800' is half of a character (a lone surrogate), which UTF-8 does not have")],
        ),
        *[
            (
                text,
                [(1, column, path, "Parameter Store refuses a text with '{{'; if this is a template, render it first")],
            )
            for text, column, path in [('{"{{": 1}', 2, ("{{",)), ('{"a": ["\\u007b{"]}', 8, ("a", 0))]
        ],
        *[
            (text, [(1, 1, (), "the configuration begins with a byte order mark; save it as UTF-8 without one")])
            for text in ('\ufeff{"a": 1}', b'\xef\xbb\xbf{"a": 1}')
        ],
        (
            '{"a": "é'.encode() + b'\xe9"}',
            [(1, 9, (), "the configuration is not UTF-8: there is an invalid byte 0xe9")],
        ),
        *[
            ("{}".encode(codec), [(1, 1, (), f"the configuration is in the encoding {name}; save it as UTF-8")])
            for codec, name in [
                ("utf-16", "UTF-16"),
                ("utf-32", "UTF-32"),
                *[(f"utf-{bits}-{end}", "UTF-16 or UTF-32") for bits in (16, 32) for end in ("le", "be")],
            ]
        ],
        (b"\xfe\xff\x00{", [(1, 1, (), "the configuration is in the encoding UTF-16; save it as UTF-8")]),
        (b"\x00\x00\xfe\xff", [(1, 1, (), "the configuration is in the encoding UTF-32; save it as UTF-8")]),
        (
            b"[" * MAX_SIZE,
            [(1, MAX_DEPTH + 1, (), f"the configuration is nested more than {MAX_DEPTH} levels deep")],
        ),
        (b"[" * (MAX_SIZE + 1), [(1, 1, (), f"the configuration is larger than {MAX_SIZE} bytes")]),
        (
            "[" + "1," * MAX_VALUES,
            [(1, 2 * MAX_VALUES, (), f"the configuration has more than {MAX_VALUES} values")],
        ),
    ],
)
def test_each_mistake_of_a_text_is_one_problem_with_its_place(content, problems):
    found = _found(content)
    assert found == (problems or found)
    assert found


def test_the_problems_after_a_mistake_are_found_too():
    text = '\ufeff{ // a comment\n\'agent\': {debug: True, "x": NaN,},\n"agent": {} "logs": [1 2,],}'
    assert [(line, column) for line, column, _path, _message in _found(text)] == [
        *[(1, 1), (1, 4), (2, 1), (2, 11), (2, 18), (2, 29), (2, 32)],
        *[(3, 1), (3, 13), (3, 24), (3, 25), (3, 27)],
    ]


@pytest.mark.parametrize("comment", ["// x\n", "# x\n", "/* x */", "/* \n * / */"])
@pytest.mark.parametrize("text", ["@{}", "{@}", '{"a"@: 1}', '{"a":@ 1}', '{"a": 1@}', '{"a": 1,@ "b": 2}', "{}@"])
def test_a_comment_is_a_problem_anywhere(text, comment):
    document = read(text.replace("@", comment), "a.json")
    assert [each.message for each in document.problems] == ["JSON has no comments"]
    assert document.value == json.loads(text.replace("@", ""))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{'a': 'x'}", {"a": "x"}),
        ('{a: yes, "b": 2}', {"a": None, "b": 2}),
        ('{"a": 1, "a": [2]}', {"a": [2]}),
        ('{"a": [1 2,]}', {"a": [1, 2]}),
        ('{"a": 1e999}', {"a": math.inf}),
        ("[1", None),
        ("[1]", None),
    ],
)
def test_the_probable_meaning_of_a_mistake(text, value):
    document = read(text, "a.json")
    assert document.value == value
    assert document.problems


@pytest.mark.parametrize(
    ("content", "rule", "allowed"),
    [
        *(('{"a": "{{"}', "reference", ""), ({"a": "{{"}, "reference", "")),
        ('{"a": nan}', "json", "true, false, null, a number, or a text in double quotes"),
    ],
)
def test_a_reference_has_its_own_rule(content, rule, allowed):
    assert [(each.rule.name, each.allowed) for each in read(content, "config").problems] == [(rule, allowed)]


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ((), (2, 2)),
        (("a",), (3, 1)),
        (("a", "b"), (3, 7)),
        (("a", "b", 0), (3, 13)),
        (("a", "b", 1), (4, 1)),
        (("a", "b", 1, "c"), (4, 2)),
        (("a", "b", 2), (3, 7)),
        (("a", "x", "y"), (3, 1)),
        (("x",), (2, 2)),
    ],
)
def test_the_place_of_a_value_or_of_its_container(path, place):
    text = '\n {\n"a": {"b": [1,\n{"c": 1}]}}'
    assert read(text, "a.json").locate(path) == place


def _nested(levels, text):
    value = {} if text == "{}" else []
    for _ in range(levels - 1):
        value = {"a": value} if text == "{}" else [value]
    return {"a": value}


@pytest.mark.parametrize("text", ["{}", "[]"])
@pytest.mark.parametrize("render", [json.dumps, lambda value: value])
def test_a_configuration_can_be_nested_so_deep_and_no_deeper(text, render):
    assert read(render(_nested(MAX_DEPTH - 1, text)), "a").problems == []
    deeper = read(render(_nested(MAX_DEPTH, text)), "a")
    assert [(each.path, each.message) for each in deeper.problems] == [
        ((), f"the configuration is nested more than {MAX_DEPTH} levels deep")
    ]
    assert deeper.value is None


def _calls(text):
    """How many functions are called to read a text: its cost, whatever else keeps the machine busy."""
    called = []
    sys.setprofile(lambda _frame, event, _argument: called.append(event) if event in ("call", "c_call") else None)
    try:
        read(text, "a")
    finally:
        sys.setprofile(None)
    return len(called)


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_the_reader_stops_where_the_nesting_is_too_deep(opening):
    short, long = opening * 2 * MAX_DEPTH, opening * (MAX_SIZE // len(opening))
    assert 0 < _calls(long) <= _calls(short)


@pytest.mark.parametrize("render", [json.dumps, lambda value: value])
def test_a_configuration_can_have_so_many_values_and_no_more(render):
    assert read(render({"a": [0] * (MAX_VALUES - 2)}), "a").problems == []
    more = read(render({"a": [0] * (MAX_VALUES - 1)}), "a")
    assert [(each.path, each.message) for each in more.problems] == [
        ((), f"the configuration has more than {MAX_VALUES} values")
    ]


@pytest.mark.parametrize("content", ["[" + "x," * 2000 + "]", [{1}] * 2000])
def test_a_document_has_a_limited_number_of_problems(content):
    assert len(read(content, "a").problems) == MAX_PROBLEMS


def test_a_text_of_the_largest_size_is_read():
    text = '{"a": 1}'.ljust(MAX_SIZE)
    assert read(text, "a").problems == []
    assert [each.message for each in read(f"{text} ", "a").problems] == [
        f"the configuration is larger than {MAX_SIZE} bytes"
    ]


@pytest.mark.parametrize(
    ("content", "path", "message"),
    [
        (None, (), "the configuration is null, not an object"),
        (["agent"], (), "the configuration is a list, not an object"),
        ({1: 2}, (), "the key 1 is not a text; quote it"),
        ({"a": {True: 1}}, ("a",), "the key true is not a text; quote it"),
        ({"a": [math.nan]}, ("a", 0), "nan is not a number in JSON"),
        ({"a": -math.inf}, ("a",), "-inf is not a number in JSON"),
        *[
            ({"a": value}, ("a",), f"a value of the type {kind} is not JSON; quote it, so that it is a text")
            for value, kind in ((datetime.date(2000, 1, 1), "date"), (b"x", "bytes"))
        ],
        ({"a": "\udfff"}, ("a",), r"'\udfff' is half of a character (a lone surrogate), which UTF-8 does not have"),
        ({"{{x}}": 1}, ("{{x}}",), "Parameter Store refuses a text with '{{'; if this is a template, render it first"),
    ],
)
def test_each_mistake_of_a_mapping_is_one_problem(content, path, message):
    assert _found(content) == [(None, None, path, message)]


def test_a_tuple_is_a_list_and_wrong_keys_are_left_out():
    document = read({"a": (1, 2.5, None, True), 3: 4}, "config")
    assert document.value == {"a": [1, 2.5, None, True]}
    assert [each.severity for each in document.problems] == [ERROR]


COLLECTOR = "receivers:\n  otlp: {protocols: {grpc: }}\nexporters:\n  debug:\n    region: ${env:REGION}\n"
NOTICE = "this is an OpenTelemetry configuration, of which only the syntax was checked"


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.yaml", True), ("a.yml", True), ("a.yaml-2", False), ("a.YAML", False), ("yaml", False), ("a.json", False)],
)
def test_the_name_tells_whether_the_agent_reads_yaml(name, expected):
    assert is_yaml_name(name) is expected


@pytest.mark.parametrize("content", [COLLECTOR, COLLECTOR.encode(), "a: &x 1\nb: *x", "a: !custom 1", "a: 2026-01-01"])
def test_text_that_parses_is_stored_as_it_is_with_a_notice(content):
    text, [notice] = read_yaml(content, "otel.yaml")
    assert text == (content.decode() if isinstance(content, bytes) else content)
    assert (notice.severity, notice.rule.name, notice.message) == ("notice", "opentelemetry", NOTICE)
    assert notice.source == "otel.yaml"


@pytest.mark.parametrize(
    ("content", "place", "message"),
    [
        ("a:\n- b\n  c: d", (3, 4), "this is not YAML: "),
        ("a: 'b", (1, 6), "this is not YAML: "),
        ("a: 1\n---\nb: 2", (2, 1), "this contains more than one YAML document"),
        ("a: \x00", (None, None), "this is not YAML"),
        ("[" * 600, (None, None), "this is not YAML"),
        ("", (None, None), "the configuration is not a mapping"),
        ("text", (None, None), "the configuration is not a mapping"),
        ("- a: 1", (None, None), "the configuration is not a mapping"),
        ("a: {{ region }}", (None, None), "Parameter Store refuses a text with '{{'"),
        (b"a: \xff", (None, None), "the file is not in UTF-8"),
    ],
)
def test_text_that_is_no_mapping_in_yaml_is_an_error(content, place, message):
    text, [problem] = read_yaml(content, "otel.yaml")
    assert (text, problem.severity, (problem.line, problem.column)) == (None, ERROR, place)
    assert problem.message.startswith(message)


@given(st.text() | st.binary())
def test_any_text_has_one_problem(content):
    text, [problem] = read_yaml(content, "otel.yaml")
    assert (text is None) == (problem.severity == ERROR)
    assert text in (None, content, content.decode(errors="replace") if isinstance(content, bytes) else None)


def test_an_instance_without_pyyaml_relies_on_the_controller(monkeypatch):
    monkeypatch.setitem(sys.modules, "yaml", None)
    text, [notice] = read_yaml("a: 'b", "otel.yaml")
    assert (text, notice.severity, notice.message) == ("a: 'b", "notice", f"{NOTICE}, on the controller")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({}, True),
        ([], True),
        (None, True),
        ('{"agent": {}}', True),
        (b" []", True),
        ("{agent: {}}", False),
        (COLLECTOR, False),
        ("1", False),
        (b"\xff", False),
        ("[" * 100_000, False),
    ],
)
def test_the_agent_ignores_json_under_such_a_name(content, expected):
    assert is_json(content) is expected
