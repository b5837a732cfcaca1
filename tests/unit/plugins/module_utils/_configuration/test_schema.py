from __future__ import annotations

import json
import sys
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from json_values import json_values

from ansible_collections.cwagent.iam.plugins.module_utils._configuration import schema as schema_module
from ansible_collections.cwagent.iam.plugins.module_utils._configuration.document import MAX_PROBLEMS
from ansible_collections.cwagent.iam.plugins.module_utils._configuration.schema import (
    add_schema_problems,
    read_schema,
    work_limited,
)
from ansible_collections.cwagent.iam.plugins.module_utils._configuration.validate import validate
from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._ground.findings import ERROR, WARNING

# Written for these tests, with the same means as the schema of the agent.
SCHEMA: dict[str, Any] = {
    "$schema": "http://json-schema.org/draft-04/schema#",
    "type": "object",
    "additionalProperties": True,
    "properties": {
        "agent": {"type": "object", "properties": {"region": {"type": "string"}}},
        "logs": {
            "properties": {
                "metrics_collected": {},
                "entry": {
                    "properties": {"name": {"type": "string"}, "ids": {}, "levels": {}, "filters": {}},
                    "anyOf": [{"required": ["ids"]}, {"required": ["levels"]}, {"required": ["filters", "name"]}],
                    "additionalProperties": False,
                },
                "receiver": {
                    "oneOf": [
                        {"type": "array", "minItems": 1, "items": {"$ref": "#/definitions/receiver"}},
                        {"$ref": "#/definitions/receiver"},
                    ]
                },
                "measurement": {
                    "type": "array",
                    "uniqueItems": True,
                    "items": {
                        "oneOf": [
                            {"type": "string", "minLength": 1},
                            {
                                "type": "object",
                                "required": ["name"],
                                "properties": {"name": {"type": "string", "minLength": 1}},
                            },
                        ]
                    },
                },
                "action": {
                    "anyOf": [
                        {"properties": {"do": {"enum": ["keep"]}, "count": {"type": "integer"}}, "required": ["do"]},
                        {
                            "properties": {"do": {"enum": ["drop"]}, "name": {"type": "string"}},
                            "required": ["do", "name"],
                            "additionalProperties": False,
                        },
                    ]
                },
                "both": {"allOf": [{"required": ["a"]}, {"required": ["a", "b"]}]},
                "either": {"oneOf": [{"minimum": 1}, {"minimum": 2}]},
                "role": {"anyOf": [{"minLength": 5}, {"pattern": "^\\$"}]},
                "closed": {
                    "type": "object",
                    "properties": {"retention": {"enum": [1, 3, "never"]}, "region": {"type": ["string", "null"]}},
                    "patternProperties": {"^x-": {}},
                    "required": ["region"],
                    "additionalProperties": False,
                },
                "open": {"type": "object", "properties": {"region": {}}, "required": ["region"]},
                "limits": {
                    "properties": {
                        "integer": {"type": "integer", "minimum": 1, "maximum": 10},
                        "text": {"minLength": 2, "maxLength": 3, "pattern": "^a"},
                        "list": {"minItems": 1, "maxItems": 2},
                        "object": {"minProperties": 1, "maxProperties": 2},
                        "other": {"not": {"enum": ["Forwarded Events"]}},
                        "multiple": {"multipleOf": 5},
                    }
                },
            }
        },
    },
    "definitions": {
        "receiver": {
            "type": "object",
            "properties": {"endpoint": {"type": "string"}, "tls": {"type": "object"}},
            "additionalProperties": False,
        }
    },
}


@pytest.fixture(scope="module", autouse=True)
def in_this_process():
    """Validate here, and not in a process for each document."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schema_module, "work_limited", lambda work, _seconds: work())
        yield


def _check(config, *, is_required=True, schema=SCHEMA):
    document = validate(config, source="a.json")
    return add_schema_problems(document, schema, "schema.json", is_required=is_required)


def _found(**logs):
    """The path below logs, the rule, the message, the allowed values and a similar one, for each problem."""
    problems = _check({"logs": {"metrics_collected": {}, **logs}}).problems
    return [
        (each.path[1:], each.rule.name, each.message, each.near or each.allowed)
        for each in problems
        if each.severity == ERROR
    ]


@pytest.mark.parametrize(
    "logs",
    [
        {"entry": {"ids": 1}},
        {"entry": {"filters": 1, "name": "a"}},
        {"receiver": {"endpoint": "a"}},
        {"receiver": [{}, {"tls": {}}]},
        {"measurement": ["a", {"name": "b"}]},
        {"measurement": []},
        {"closed": {"region": None, "retention": 1.0, "x-a": 1}},
        {"either": 1},
        {"limits": {"integer": 10.0, "text": "aa", "list": [1], "object": {"a": 1}, "other": "a", "multiple": 10}},
    ],
)
def test_a_value_that_the_schema_allows_is_no_problem(logs):
    assert _found(**logs) == []


@pytest.mark.parametrize(
    ("key", "value", "shown", "allowed"),
    [
        *(("integer", value, shown, "an integer") for value, shown in (("1", "'1'"), (1.5, "1.5"), (True, "true"))),
        ("integer", 0, "0", "at least 1"),
        ("integer", 11, "11", "at most 10"),
        ("text", "a", "'a'", "2 or more characters"),
        ("text", "aaaa", "'aaaa'", "3 or fewer characters"),
        ("text", "bb", "'bb'", "a text that matches ^a"),
        ("list", [], "a list without entries", "1 or more entries"),
        ("list", [1, 2, 3], "a list", "2 or fewer entries"),
        ("object", {}, "an object without entries", "1 or more keys"),
        ("object", {"a": 1, "b": 2, "c": 3}, "an object", "2 or fewer keys"),
        ("other", "Forwarded Events", "'Forwarded Events'", "another value"),
        ("multiple", 7, "7", "see multipleOf in the schema"),
    ],
)
def test_a_wrong_value_is_quoted_with_the_allowed_values(key, value, shown, allowed):
    problem = (("limits", key), "wrong-value", f"{shown} is not valid", allowed)
    assert _found(limits={key: value}) == [problem]


def test_each_requirement_that_a_value_lacks_is_a_problem():
    allowed = [each[3] for each in sorted(_found(limits={"integer": 0, "text": "bbbb"}))]
    assert allowed == ["at least 1", "3 or fewer characters", "a text that matches ^a"]


NOT_VALID, UNKNOWN, MISSING = "wrong-value", ("unknown-key", "unknown key"), ("missing-key", "the key is missing", "")


@pytest.mark.parametrize(
    ("value", "problems"),
    [
        ({"region": 1}, [("region", NOT_VALID, "1 is not valid", "a text or null")]),
        *(
            ({"region": "a", "retention": value}, [("retention", NOT_VALID, f"{shown} is not valid", allowed)])
            for value, shown, allowed in (
                *((2, "2", "1, 3, never"), (True, "true", "1, 3, never")),
                ("nevr", "'nevr'", "never"),
            )
        ),
        ({"region": "a", "x": 1, "y": 2}, [(key, *UNKNOWN, "retention, region") for key in "xy"]),
        ({"region": "a", "retenton": 1}, [("retenton", *UNKNOWN, "retention")]),
        ({}, [("region", *MISSING)]),
        ({"reigon": "a"}, [("reigon", *UNKNOWN, "region")]),  # a misspelt key is not missing, too
    ],
)
def test_keys_and_values_of_a_closed_object(value, problems):
    assert _found(closed=value) == [(("closed", key), *rest) for key, *rest in problems]


@pytest.mark.parametrize(
    ("value", "problems"),
    [
        ({}, [("region", *MISSING)]),
        ({"regionn": 1}, [("regionn", *UNKNOWN, "region")]),
        ({"x": 1, "region": 2, "regionn": 3}, []),
    ],
)
def test_a_misspelt_key_of_an_open_object_is_found_where_the_right_one_is_missing(value, problems):
    assert _found(open=value) == [(("open", key), *rest) for key, *rest in problems]


@pytest.mark.parametrize(
    ("logs", "problems"),
    [
        # One of several keys is missing.
        ({"entry": {}}, [((), "missing-key", "one of these keys is missing", "ids, levels, filters, name")]),
        # No branch has the type of the value.
        ({"receiver": 1}, [((), NOT_VALID, "1 is not valid", "a list or an object")]),
        ({"measurement": [1]}, [((0,), NOT_VALID, "1 is not valid", "a text or an object")]),
        # The branch with the type of the value.
        ({"receiver": []}, [((), NOT_VALID, "a list without entries is not valid", "1 or more entries")]),
        (
            {"receiver": {"endpont": 1, "tls": 1}},
            [(("endpont",), *UNKNOWN, "endpoint"), (("tls",), NOT_VALID, "1 is not valid", "an object")],
        ),
        ({"receiver": [{}, {"tls": 1}]}, [((1, "tls"), NOT_VALID, "1 is not valid", "an object")]),
        ({"measurement": [""]}, [((0,), NOT_VALID, "'' is not valid", "1 or more characters")]),
        ({"measurement": [{}]}, [((0, "name"), *MISSING)]),
        ({"measurement": [{"name": 1}]}, [((0, "name"), NOT_VALID, "1 is not valid", "a text")]),
        # The branch whose fixed values match the value.
        ({"action": {"do": "keep", "count": "1"}}, [(("count",), NOT_VALID, "'1' is not valid", "an integer")]),
        ({"action": {"do": "drop", "nam": "a"}}, [(("nam",), *UNKNOWN, "name")]),
        ({"action": {"do": "kept"}}, [(("do",), NOT_VALID, "'kept' is not valid", "keep")]),
        ({"both": {}}, [((key,), *MISSING) for key in "ab"]),  # both parts of it
        ({"either": 2}, [((), NOT_VALID, "2 is not valid", "see oneOf in the schema")]),
        ({"role": "abc"}, [((), NOT_VALID, "'abc' is not valid", "5 or more characters")]),
    ],
)
def test_of_several_branches_the_nearest_is_shown(logs, problems):
    (key,) = logs
    assert sorted(_found(**logs)) == [((key, *path), *rest) for path, *rest in problems]


def test_an_entry_that_is_in_a_list_already_is_named():
    assert _found(measurement=["a", {"name": "b"}, "a", {"name": "b"}]) == [
        (("measurement", 2), "duplicate-entry", "the same as entry 0 of the list", ""),
        (("measurement", 3), "duplicate-entry", "the same as entry 1 of the list", ""),
    ]
    assert [each[:2] for each in _found(measurement=1)] == [(("measurement",), "wrong-value")]


def test_a_list_whose_entries_need_not_differ():
    schema = {"properties": {"logs": {"properties": {"x": {"uniqueItems": False}}}}}
    assert "duplicate-entry" not in [each.rule.name for each in _check({"logs": {"x": [1, 1]}}, schema=schema).problems]


def test_problems_that_the_rules_found_are_not_found_again():
    config = {"agent": {"region": 1}, "logs": {"metrics_collected": {}, "closed": 1}}
    problems = _check(config).problems
    assert [(each.path, each.allowed) for each in problems] == [
        (("agent", "region"), "a text that is not empty"),
        (("logs", "closed"), "an object"),
    ]


def test_other_problems_in_the_same_place_stay():
    schema = {"properties": {"logs": {"properties": {"log_stream_name": {"maxLength": 3}}}}}
    config = {"logs": {"metrics_collected": {}, "log_stream_name": "{instanceid}"}}
    assert [each.rule.name for each in _check(config, schema=schema).problems] == ["placeholder", "wrong-value"]


@pytest.mark.parametrize("is_closed", [True, False])
@pytest.mark.parametrize(("key", "severity"), [("zzz", WARNING), ("reigon", ERROR)])
def test_an_unknown_key_of_the_agent_is_one_problem(key, severity, is_closed):
    schema = {"properties": {"agent": {"properties": {"x": {}}, "additionalProperties": not is_closed}}}
    problems = _check({"agent": {key: 1}, "logs": {"metrics_collected": {}}}, schema=schema).problems
    assert [(each.path, each.severity) for each in problems] == [(("agent", key), ERROR if is_closed else severity)]


@pytest.mark.parametrize("key", ["zzz", "log_stream_names"])
def test_a_schema_can_be_newer_than_the_rules(key):
    config = {"logs": {"metrics_collected": {}, key: 1}}
    assert len(validate(config, source="a.json").problems) == 1
    schema = {"properties": {"logs": {"properties": {key: {}, "metrics_collected": {}}, "additionalProperties": False}}}
    assert _check(config, schema=schema).problems == []


def test_problems_of_the_schema_have_their_place_in_the_text():
    text = '{"logs": {"metrics_collected": {},\n "closed": {"region": 1},\n "log_stream_name": 1}, "metric": 1}'
    assert [(each.source, each.line, each.column, each.severity) for each in _check(text).problems] == [
        ("a.json", 2, 13, ERROR),
        ("a.json", 3, 2, ERROR),
        ("a.json", 3, 25, ERROR),
    ]


@pytest.mark.parametrize("content", ["[]", "{"])
def test_unreadable_content_is_not_validated(content):
    document = validate(content, source="a.json")
    assert add_schema_problems(document, SCHEMA, "schema.json", is_required=True) == document


def test_a_document_has_a_limited_number_of_problems_of_the_schema():
    schema = {"additionalProperties": {"type": "string"}}
    problems = _check({f"x{index}": 1 for index in range(2 * MAX_PROBLEMS)}, schema=schema).problems
    assert MAX_PROBLEMS <= len(problems) <= 2 * MAX_PROBLEMS


@pytest.mark.parametrize(("is_required", "severity"), [(True, ERROR), (False, WARNING)])
def test_without_jsonschema_the_rules_apply_and_one_problem_reports_it(monkeypatch, is_required, severity):
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    problems = _check('{"agent": {"reigon": 1}, "logs": {"metrics_collected": {}}}', is_required=is_required).problems
    assert [(each.rule.name, each.severity) for each in problems] == [("unknown-key", ERROR), ("schema", severity)]
    assert (problems[1].source, problems[1].path) == ("a.json", ())
    assert problems[1].message == (
        "not validated by the agent's schema, since the Python library jsonschema is not installed where Ansible "
        "runs; install it"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "schema.json is not a JSON schema: Expecting property name"),
        (b"\xff", "schema.json is not a JSON schema: "),
        ("[" * 100000, "schema.json is not a JSON schema: "),
        ("[]", "schema.json is not a JSON schema: it is a list without entries."),
        ("1", "schema.json is not a JSON schema: it is 1."),
        *[
            (
                json.dumps({"items": [{"properties": {"a": {"$ref": reference}}}], "definitions": {"a": []}}),
                f"schema.json cannot be used: its reference '{reference}' is not to a part of itself.",
            )
            for reference in ["http://a/b", "file:///b#/definitions/a", "#/definitions/b", "#/definitions/a", "#/a/b"]
        ],
    ],
)
def test_an_invalid_schema_or_an_external_reference_is_an_error(content, message):
    with pytest.raises(InvalidInput) as caught:
        read_schema(content, "schema.json")
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    "schema",
    [
        {},
        SCHEMA,
        {"items": {"$ref": "#"}},
        {"properties": {"$ref": {"type": "string"}}},
        {"definitions": {"a/b": {"c~d": {}}}, "items": {"$ref": "#/definitions/a~1b/c~0d"}},
    ],
)
def test_a_schema_is_read_as_it_is(schema):
    assert read_schema(json.dumps(schema).encode(), "schema.json") == schema


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "x"},
        {"properties": 1},
        {"$ref": "#"},
        {"properties": {"logs": {"additionalProperties": {"pattern": "("}}}},
    ],
)
def test_a_schema_that_cannot_be_used_is_an_error(schema):
    with pytest.raises(InvalidInput, match=r"schema\.json cannot be used as a JSON schema: "):
        _check({"logs": {"metrics_collected": "a"}}, schema=schema)


LOGS = st.dictionaries(
    st.sampled_from([*SCHEMA["properties"]["logs"]["properties"], "x"]),
    json_values(st.text() | st.sampled_from(["name", "do", "a"])),
)


VALIDATOR = jsonschema.Draft4Validator(SCHEMA)


@given(LOGS)
def test_the_schema_finds_a_problem_where_jsonschema_finds_an_error(logs):
    document = validate({"logs": logs}, source="a.json")
    bare = type(document)("a.json", document.value, [], document.locate)
    found = add_schema_problems(bare, SCHEMA, "schema.json", is_required=True).problems
    # This library takes 1.0 for an integer, and jsonschema does not with this version of the schema.
    text = json.dumps(logs)
    if ".0" not in text and "e+" not in text:
        assert bool(found) == (not VALIDATOR.is_valid({"logs": logs}))
    for each in found:
        assert str(each).isprintable()
        assert len(each.message) <= 100


def test_a_pattern_that_takes_years_is_refused(monkeypatch):
    monkeypatch.setattr(schema_module, "work_limited", work_limited)
    monkeypatch.setattr(schema_module, "LIMIT_SECONDS", 0.1)
    slow = {"properties": {"agent": {"properties": {"x": {"pattern": "^(a+)+$"}}}}}
    with pytest.raises(InvalidInput, match=r"schema\.json cannot be used .* took longer than 0\.1 seconds"):
        _check({"agent": {"x": "a" * 60 + "!"}}, schema=slow)
