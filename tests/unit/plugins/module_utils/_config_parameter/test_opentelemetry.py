from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.opentelemetry import (
    is_json,
    read_yaml,
)
from ansible_collections.cwagent.iam.plugins.module_utils._findings import ERROR
from ansible_collections.cwagent.iam.plugins.module_utils._names import is_yaml_name

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
