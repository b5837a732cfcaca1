from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils._configuration.json_path import (
    MAX_VALUE,
    differences,
    json_path,
    printable_json,
)


@pytest.mark.parametrize(
    ("keys", "path"),
    [
        ((), "$"),
        (("agent",), "$.agent"),
        (("logs", "collect_list", 0, "file_path"), "$.logs.collect_list[0].file_path"),
        (("_a1", "1a"), '$._a1["1a"]'),
        (("service.name", "x"), '$["service.name"].x'),
        (("", "ü", 'a"b', "a b", "a\n"), r'$[""]["ü"]["a\"b"]["a b"]["a\n"]'),
        ((12,), "$[12]"),
    ],
)
def test_a_path_names_keys_and_indexes(keys, path):
    assert json_path(keys) == path


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": [1, 1.5, True, None, "ü 日"]}, '{"a":[1,1.5,true,null,"ü 日"]}'),
        ("\u2028\u0085\x9b31m\x7f\u202e", r'"\u2028\u0085\u009b31m\u007f\u202e"'),
        ("\ud800", r'"\ud800"'),
    ],
)
def test_a_value_is_rendered_in_one_line_without_control_characters(value, text):
    assert printable_json(value) == text


@given(st.text(st.characters(exclude_categories=[])))
def test_a_rendered_text_is_printable_json_of_it(text):
    rendered = printable_json(text)
    assert rendered.isprintable()
    assert json.loads(rendered) == text


def log(path: str, **more: Any) -> dict[str, Any]:
    return {"file_path": path, **more}


@pytest.mark.parametrize(
    ("before", "after", "lines"),
    [
        ({"agent": {"a": 1, "b": 2}}, {"agent": {"b": 2, "a": 1}}, []),
        (
            {"agent": {"interval": 60}, "metrics": {"namespace": "old"}},
            {"agent": {"interval": 30}, "metrics": {"namespace": "new"}},
            ["~ $.agent.interval: 60 -> 30", '~ $.metrics.namespace: "old" -> "new"'],
        ),
        (
            {"logs": {"a": [1]}, "agent": {}},
            {"metrics": {"service.name": None}, "agent": {"b c": {}}},
            [
                '- $.logs: {"a":[1]}',
                '+ $.agent["b c"]: {}',
                '+ $.metrics: {"service.name":null}',
            ],
        ),
        ({"a": True}, {"a": 1}, ["~ $.a: true -> 1"]),
        ({"a": 1}, {"a": 1.0}, ["~ $.a: 1 -> 1.0"]),
        ({"a": {"b": 1}}, {"a": [1]}, ['~ $.a: {"b":1} -> [1]']),
        ({"a": [1]}, {"a": "ü\n\x9b"}, [r'~ $.a: [1] -> "ü\n\u009b"']),
        ([1], {}, ["~ $: [1] -> {}"]),
        ([{"a": 1, "b": {"c": 2, "d": 3}}], [{"b": {"d": 3, "c": 2}, "a": 1}], []),
        # Elements that are equal are recognized wherever they are.
        ({"a": ["x", "y", "z"]}, {"a": ["x", "z"]}, ['- $.a[1]: "y"']),
        ({"a": ["x", "z"]}, {"a": ["x", "y", "z"]}, ['+ $.a[1]: "y"']),
        ({"a": ["x", "y"]}, {"a": ["z", "y"]}, ['- $.a[0]: "x"', '+ $.a[0]: "z"']),
        ({"a": [1, True, 1]}, {"a": [1, 1, 1]}, ["- $.a[1]: true", "+ $.a[2]: 1"]),
        ({"a": ["x", "y", "z"]}, {"a": ["z", "x", "y"]}, ["~ $.a: other order of elements"]),
        (["x", "y", "v"], ["y", "x", "w"], ['- $[2]: "v"', '+ $[2]: "w"', "~ $: other order of elements"]),
        ({"a": [["x"], ["y"]]}, {"a": [["y"], ["x", "z"]]}, ['- $.a[0]: ["x"]', '+ $.a[1]: ["x","z"]']),
        # Others are recognized by their subject.
        (
            {"files": [log("/a", days=7), log("/b"), log("/c", group={"x": 1})]},
            {"files": [log("/b"), log("/d"), log("/a", days=14), log("/c", group={"x": 2})]},
            [
                '~ $.files[file_path="/a"].days: 7 -> 14',
                '~ $.files[file_path="/c"].group.x: 1 -> 2',
                '+ $.files[file_path="/d"]: {"file_path":"/d"}',
                "~ $.files: other order of elements",
            ],
        ),
        ({"files": [log("/a"), log("/b")]}, {"files": [log("/b")]}, ['- $.files[file_path="/a"]: {"file_path":"/a"}']),
        (
            {"files": [log("/a", n=1), log("/a", n=2), log("/a", n=3)]},
            {"files": [log("/a", n=1), log("/a", n=4), log("/a", n=3), log("/a", n=5)]},
            ["~ $.files[1].n: 2 -> 4", '+ $.files[3]: {"file_path":"/a","n":5}'],
        ),
        (
            {"procstat": [{"exe": "a", "pattern": "x", "m": 1}, {"pattern": "a", "m": 2}]},
            {"procstat": [{"exe": "a", "pattern": "y", "m": 1}, {"pattern": "a", "m": 3}]},
            ['~ $.procstat[exe="a"].pattern: "x" -> "y"', '~ $.procstat[pattern="a"].m: 2 -> 3'],
        ),
        ({"x": [{"name": 1, "m": 2}]}, {"x": [{"name": True, "m": 2}]}, [
            '- $.x[name=1]: {"name":1,"m":2}',
            '+ $.x[name=true]: {"name":true,"m":2}',
        ]),
        ({"x": [{"a": 1}]}, {"x": [{"a": 2}]}, ['- $.x[0]: {"a":1}', '+ $.x[0]: {"a":2}']),
    ],
)  # fmt: skip
def test_each_change_is_one_line_with_its_path(before, after, lines):
    assert differences(before, after) == lines


@pytest.mark.parametrize("key", ["file_path", "event_name", "exe", "pid_file", "pattern", "endpoint", "name"])
def test_an_element_is_recognized_by_its_identifying_key(key):
    assert differences([{key: "x", "a": 1}], [{"a": 2, key: "x"}]) == [f'~ $[{key}="x"].a: 1 -> 2']


def test_long_values_are_shortened():
    assert MAX_VALUE == 60
    short, long = "x" * 58, "x" * 59
    assert differences({"a": short}, {"a": long}) == [f'~ $.a: "{short}" -> "{short}…']
    assert differences({}, {"a": [long]}) == [f'+ $.a: ["{"x" * 57}…']
    assert differences({"a": [long]}, {}) == [f'- $.a: ["{"x" * 57}…']
    [line] = differences([log("/" * 99, a=1)], [log("/" * 99, a=2)])
    assert line == f'~ $[file_path="{"/" * 48}…].a: 1 -> 2'


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 2) | st.sampled_from([1.0, "a", "ü", "b\n"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["a", "b", "file_path", "name", "\x85"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(VALUES, VALUES)
def test_each_difference_is_a_line_and_the_opposite_line_for_the_opposite(before, after):
    lines, opposite = differences(before, after), differences(after, before)
    assert bool(lines) == (json.dumps(before, sort_keys=True) != json.dumps(after, sort_keys=True))
    assert all(line.isprintable() and line[:3] in {"+ $", "- $", "~ $"} for line in lines)
    assert sorted(line[0] for line in lines) == sorted({"+": "-", "-": "+", "~": "~"}[line[0]] for line in opposite)
