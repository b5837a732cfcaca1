from __future__ import annotations

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._text import (
    join_first,
    misspelled,
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
