from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from json_values import json_values

from ansible_collections.cwagent.iam.plugins.module_utils._ground.changes import (
    LINE_WIDTH,
    changed_parts,
    net_change,
    to_lines,
    without_empty,
)

STATES = st.dictionaries(st.text(max_size=1), json_values())
ROLE = {"name": "R", "path": "/", "tags": {"a": "1", "b": "2"}, "boundary": None}


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        ({}, {}, ({}, {})),
        ({"role": ROLE}, {"role": ROLE}, ({}, {})),
        ({"role": None}, {"role": ROLE}, ({"role": None}, {"role": {k: v for k, v in ROLE.items() if v}})),
        (
            {"role": ROLE, "x": [1]},
            {"role": {**ROLE, "tags": {"a": "1", "b": "3"}}, "x": [1]},
            ({"role": {"name": "R", "tags": {"b": "2"}}}, {"role": {"name": "R", "tags": {"b": "3"}}}),
        ),
        ({"name": "a", "on": 1}, {"name": "b", "on": 1}, ({"name": "a"}, {"name": "b"})),
        ({"a": 1}, {"b": None}, ({"a": 1}, {"b": None})),
        ({"keys": [{"id": None}]}, {"keys": []}, ({"keys": [{}]}, {"keys": []})),
        ({"until": "noon"}, {"until": None}, ({"until": "noon"}, {"until": None})),
        ("old", "new", ("old", "new")),
    ],
)
def test_only_what_differs_is_shown_with_its_name(before: Any, after: Any, shown: tuple[Any, Any]) -> None:
    assert changed_parts({"before": before, "after": after}) == dict(zip(("before", "after"), shown, strict=True))


def test_a_diff_in_lines_stays_as_it_is() -> None:
    assert changed_parts({"prepared": "~ $.a: 1 -> 2\n"}) == {"prepared": "~ $.a: 1 -> 2\n"}


@given(STATES, STATES)
def test_states_are_shown_as_equal_only_if_they_are(before: dict[str, Any], after: dict[str, Any]) -> None:
    found = changed_parts({"before": before, "after": after})
    assert (found["before"] == found["after"] == {}) == (before == after)


OPENED = {"instances": {"i-1": {"profile": "S"}}, "window": {"state": "closed"}}
HELD = {"instances": {"i-1": {"profile": "A"}}, "window": {"state": "open"}}
TAGGED = {"instances": {"i-1": {"tag": "S"}}}


@pytest.mark.parametrize(
    ("changes", "net"),
    [
        ([], ({}, {})),
        ([(OPENED, HELD)], (OPENED, HELD)),
        ([(OPENED, HELD), (HELD, OPENED)], ({}, {})),
        (
            [(OPENED, HELD), ({"window": {"state": "unknown"}}, {"window": {"state": "closed"}})],
            ({"instances": OPENED["instances"]}, {"instances": HELD["instances"]}),
        ),
        (
            [(OPENED, HELD), (HELD, OPENED), (TAGGED, {"instances": {"i-1": {"tag": None}}})],
            (TAGGED, {"instances": {"i-1": {"tag": None}}}),
        ),
        ([({"a": None}, {"a": {"b": 1}}), ({"a": {"b": 1}}, {"a": {"b": 2}})], ({"a": None}, {"a": {"b": 2}})),
    ],
)
def test_changes_that_were_taken_back_are_none(changes: Any, net: tuple[Any, Any]) -> None:
    found = net_change({"before": before, "after": after} for before, after in changes)
    assert json.dumps(found) == json.dumps(dict(zip(("before", "after"), net, strict=True)))


TRUST = {"Statement": [{"Action": "sts:AssumeRole", "Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}}]}
LINES = """\
"role":
  "name": "R"
  "managed_policies": ["arn:aws:iam::aws:policy/CloudWatchAgentServerPolicy"]
  "trust_policy":
    "Statement":
      - "Action": "sts:AssumeRole"
        "Effect": "Allow"
        "Principal": {"Service": "ec2.amazonaws.com"}
"""


def test_a_value_that_fits_in_a_line_is_in_one() -> None:
    policies = ["arn:aws:iam::aws:policy/CloudWatchAgentServerPolicy"]
    role = {"managed_policies": policies, "trust_policy": TRUST, "name": "R"}
    found = to_lines({"before": {"role": None}, "after": {"role": role}, "before_header": "x"})
    assert found == {"before": '{"role": null}\n', "after": LINES, "before_header": "x"}


@pytest.mark.parametrize("diff", [{"prepared": "~ $.a: 1 -> 2\n"}, {"before": "a\n", "after": "b\n"}, {"before": None}])
def test_text_stays_as_it_is(diff: dict[str, Any]) -> None:
    assert to_lines(diff) == diff


NESTED = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("ab: -#'\"\\\n\x1b", max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab: -#'\"\n", max_size=20), inner, max_size=4),
    max_leaves=20,
)


@given(NESTED, NESTED)
def test_the_lines_contain_the_whole_state(before: Any, after: Any) -> None:
    """Control characters are escaped. Only a text is longer than a line."""
    found = to_lines({"before": {"x": before}, "after": [after]})
    for side, state in (("before", {"x": before}), ("after", [after])):
        assert yaml.safe_load(found[side]) == state
        assert found[side].replace("\n", "").isprintable()
        long = [each.strip(" -") for each in found[side].splitlines() if len(each) > LINE_WIDTH]
        assert [each for each in long if each[0] in "[{"] == []


@pytest.mark.parametrize("empty", [[], {}, "", "/"])
def test_a_state_is_shown_without_empty_parts(empty: Any) -> None:
    assert without_empty({"a": empty, "b": None, "c": 0, "d": [empty]}) == {"b": None, "c": 0, "d": [empty]}
