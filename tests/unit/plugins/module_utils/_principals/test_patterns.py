from __future__ import annotations

import fnmatch
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils._principals.patterns import (
    MAX_STATES,
    is_match,
    representatives,
    to_literal,
    to_pattern,
)

TEXTS = st.text("ab*?.\n", max_size=6)
PATTERNS = st.text("ab*?", max_size=5)


@given(TEXTS, st.text("abc.\n", max_size=6))
def test_a_pattern_matches_a_whole_text(pattern, text):
    assert is_match(to_pattern(pattern), text) == fnmatch.fnmatchcase(text, pattern)


@given(TEXTS, TEXTS)
def test_a_literal_matches_itself_only(literal, text):
    assert is_match(to_literal(literal), text) == (literal == text)
    assert is_match(to_literal(literal), literal)


@pytest.mark.parametrize(("ignore_case", "expected"), [(False, False), (True, True)])
def test_case_matters_unless_it_is_ignored(ignore_case, expected):
    assert is_match(to_pattern("a*"), "AB", ignore_case=ignore_case) is expected


@given(st.lists(PATTERNS, max_size=3), st.text("ab", max_size=2))
def test_each_text_matches_the_same_patterns_as_a_representative(texts, prefix):
    patterns = [to_pattern(each) for each in texts]

    def matches(text):
        return tuple(is_match(pattern, text) for pattern in patterns)

    found = [str(each) for each in representatives(prefix, iter(patterns), "abcd")]
    assert all(each.startswith(prefix) and set(each) <= set("abcd") for each in found)
    everything = ("".join(each) for length in range(5) for each in itertools.product("abc", repeat=length))
    assert {matches(prefix + each) for each in everything} <= {matches(each) for each in found}
    assert len({matches(each) for each in found}) == len(found)


def test_characters_that_are_not_allowed_never_appear_in_representatives():
    assert list(representatives("a", [to_pattern("a/b"), to_pattern("a*")], "ab")) == ["a"]


@pytest.mark.parametrize(("characters", "expected"), [("abcd", ["", "a", "b"]), ("a", ["", "a"]), ("", [""])])
def test_one_character_stands_for_all_characters_outside_of_patterns(characters, expected):
    assert list(representatives("", [to_pattern("a"), to_pattern("?")], characters)) == expected


@pytest.mark.parametrize(("length", "is_complete"), [(9, True), (20, False)])
def test_a_search_that_is_too_long_reports_that_there_may_be_more(length, is_complete):
    found = list(representatives("", [to_pattern(f"*a{'?' * length}z")], "az"))
    assert (found[-1] is not None) == is_complete
    assert found.count(None) == (not is_complete)
    assert 2**9 < MAX_STATES < 2**20
