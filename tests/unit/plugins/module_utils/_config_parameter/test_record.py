"""The record of the parts that were stored together."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from json_values import json_values

from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.record import (
    MAX_DESCRIPTION,
    digest,
    recorded_parts,
    to_canonical,
    to_record,
)


@given(st.lists(st.text(), min_size=1, max_size=200), st.integers(1, 10**6))
def test_a_record_has_all_parts_or_is_left_out_where_it_is_too_long(values: list[str], number: int) -> None:
    record = to_record(values, number)
    assert len(record) <= MAX_DESCRIPTION
    assert recorded_parts(record, number) == (tuple(map(digest, values)) if record else ())
    assert bool(record) or len(values) > 70
    assert recorded_parts(record, number + 1) == ()


@pytest.mark.parametrize("description", ["", "ours", f"{to_record(['{}'], 3)} x", f"x {to_record(['{}'], 3)}"])
def test_a_description_of_others_is_no_record(description: str) -> None:
    assert recorded_parts(description, 3) == ()


@given(json_values(), st.sampled_from([None, 2]))
def test_the_same_content_has_the_same_digest(value: object, indent: int | None) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=indent is None)
    assert digest(text) == digest(json.dumps(value, sort_keys=True))
    assert digest(f"{text}x") != digest(text)


@pytest.mark.parametrize("text", ["receivers: {}", "{", '{"a":' * 99999 + "1" + "}" * 99999])
def test_a_text_that_is_not_json_stands_for_itself(text: str) -> None:
    assert to_canonical(text) == text


def test_true_is_not_one() -> None:
    assert digest('{"a":true}') != digest('{"a":1}')
