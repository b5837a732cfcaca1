from __future__ import annotations

import itertools

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._access.decision import (
    Decision,
    all_of,
    any_of,
    decision_of,
    negate,
)

NO, UNKNOWN, YES = Decision.NO, Decision.UNKNOWN, Decision.YES


@pytest.mark.parametrize("decisions", list(itertools.product(Decision, repeat=2)))
def test_a_known_result_holds_whatever_the_unknown_parts_are(decisions):
    meanings = [{NO: [False], YES: [True], UNKNOWN: [False, True]}[each] for each in decisions]
    possible = list(itertools.product(*meanings))
    for combine, expected in ((all_of, all), (any_of, any)):
        results = {expected(each) for each in possible}
        assert combine(decisions) is (UNKNOWN if len(results) > 1 else decision_of(results.pop()))


def test_nothing_is_all_and_not_any():
    assert (all_of([]), any_of([])) == (YES, NO)


def test_the_opposite_of_unknown_is_unknown():
    assert [negate(each) for each in (NO, UNKNOWN, YES)] == [YES, UNKNOWN, NO]
