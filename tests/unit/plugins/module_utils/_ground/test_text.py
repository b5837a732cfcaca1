from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import CwagentError
from ansible_collections.cwagent.iam.plugins.module_utils._ground.text import (
    join_first,
    misspelled,
    quote,
    shorten,
    to_message,
    to_summary,
    without_repetitions,
)


@pytest.mark.parametrize(
    ("names", "shown"),
    [("", ""), ("a", "a"), ("ab", "a, b"), ("abc", "a, b and 1 more"), ("abcd", "a, b and 2 more")],
)
def test_the_first_names_are_listed_and_the_others_counted(names, shown):
    assert join_first([*names], 2) == shown


@pytest.mark.parametrize(
    ("count", "more"), [(1, ""), (2, " There is 1 more problem."), (3, " There are 2 more problems.")]
)
@pytest.mark.parametrize(
    ("problem", "sentence"),
    [
        ("1:2 $.agent: unknown key", "1:2 $.agent: unknown key."),
        ("The agent is stopped.", "The agent is stopped."),
        ("unknown key; did you mean 'agent'?", "unknown key; did you mean 'agent'?"),
        ("allowed: a, b …", "allowed: a, b …"),
        ("two\n  lines\x1b", "two lines."),
    ],
)
def test_the_first_problem_is_a_sentence_and_the_others_are_counted(problem, sentence, count, more):
    assert to_summary([problem, *("another" for _ in range(count - 1))]) == f"{sentence}{more}"


@pytest.mark.parametrize(
    ("name", "near"),
    [("cpuu", "cpu"), ("cp", ""), ("measurment", "measurement"), ("cpu", ""), ("zzz", ""), ("", ""), ("x" * 10**6, "")],
)
def test_a_name_that_is_nearly_a_known_one(name, near):
    assert misspelled(name, {"cpu": 1, "measurement": 2}) == near


@pytest.mark.parametrize(
    ("text", "once"),
    [
        ("", ""),
        ("No. No.", "No."),
        ("A: denied. Grant x. B: denied. Grant x. Run again.", "A: denied. Grant x. B: denied. Run again."),
        ("Why? Why? 1.5 GB. 1.5 GB.", "Why? 1.5 GB."),
        ("No.\nNo.", "No.\nNo."),
    ],
)
def test_each_sentence_of_a_message_is_once(text, once):
    assert without_repetitions(text) == once


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a", "a"),
        ("a\n\x1b[2Jb\u202e", "a\\n\\x1b[2Jb\\u202e"),
        (None, "None"),
        ("x" * 120, "x" * 120),
        ("x" * 121, "x" * 120 + "..."),
        (" " * 70_000 + "x", " " * 120 + "..."),
    ],
)
def test_a_value_in_a_message_is_short_and_printable(value, shown):
    assert (shorten(value), quote(value)) == (shown, f"'{shown}'")


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("It failed: 'a b'.\nRun again.", "It failed: 'a b'.\nRun again."),
        ("role '\x1b[31mx\u202e' failed", "role '[31mx' failed"),
        ("name '{}' is not valid".format("x" * 70_000), "name '{}...' is not valid".format("x" * 120)),
        ("name '{}' is not valid".format("x y " * 20_000), "name '{}...' is not valid".format("x y " * 30)),
        ("name {} is not valid".format("x" * 70_000), "name {}... is not valid".format("x" * 120)),
        ("parameter '{}'".format("x" * 1011), "parameter '{}'".format("x" * 1011)),
        ("x " * 5000, "x " * 5000),
        ("'a' " + "x " * 5000 + "'b'", "'a' " + "x " * 5000 + "'b'"),
        ("It doesn't. " + "x " * 5000 + "'b'", "It doesn't. " + "x " * 5000 + "'b'"),
    ],
)
def test_a_message_repeats_no_long_value_and_controls_no_terminal(message, shown):
    assert to_message(message) == shown
    assert to_message(shown) == shown
    assert str(CwagentError(message)) == shown


@given(st.text() | st.text("ab' \n\x1b", min_size=1100, max_size=3000))
def test_a_message_is_printable_and_stays_as_it_is(message):
    shown = to_message(message)
    assert all(each.isprintable() or each in "\n\t" for each in shown)
    assert to_message(shown) == shown
