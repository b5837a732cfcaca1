from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.json_path import json_path, printable_json


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
