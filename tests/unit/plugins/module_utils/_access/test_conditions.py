from __future__ import annotations

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._access.conditions import Context, hold, resolve
from ansible_collections.cwagent.iam.plugins.module_utils._access.decision import Decision
from ansible_collections.cwagent.iam.plugins.module_utils._principal.patterns import to_literal, to_pattern

NO, UNKNOWN, YES = Decision.NO, Decision.UNKNOWN, Decision.YES
ARN = "arn:aws:iam::123456789012:user/kim"
# Operator, value of the request, value of the policy, whether the condition holds.
POSITIVE = [
    ("StringEquals", "kim", "kim", YES),
    ("StringEquals", "kim", "Kim", NO),
    ("StringEquals", "kim", "k*", NO),
    ("StringEquals", "k*", "k*", YES),
    ("StringEquals", "k*", "k${*}", YES),
    ("stringequals", "kim", "${aws:username}", YES),
    ("StringEqualsIgnoreCase", "kim", "KIM", YES),
    ("StringEqualsIgnoreCase", "kim", "K*", NO),
    ("StringLike", "kim", "k*", YES),
    ("StringLike", "kim", "K*", NO),
    ("StringLike", "kim", "k?m", YES),
    ("StringLike", "kim", "k${*}", NO),
    ("StringLike", "kim", "k", NO),
    ("StringLike", "kim", "${absent}", NO),
    ("StringLike", "kim", "${hidden}", UNKNOWN),
    ("ArnEquals", ARN, "arn:*:iam::*:user/*", YES),
    ("ArnLike", ARN, "arn:*:iam::12345678901?:user/k*", YES),
    ("ArnLike", ARN, "arn:aws:iam::*:role/*", NO),
    ("ArnLike", ARN, "arn:aws:*::123456789012:user/kim", YES),
    ("ArnLike", "arn:aws:a:b:c:d:e", "arn:aws:*:d:e", UNKNOWN),
    ("ArnLike", "arn:aws:a:b:c:d:e", "arn:aws:*:c:d:e:f", NO),
    ("ArnLike", "arn:aws:a:b:c:d:f", "arn:aws:a:*:d:f:*", NO),
    ("ArnLike", "arn:aws:a:b:c:d:e", "arn:aws:*:c:d:e", NO),
    ("ArnLike", "arn:aws:a:b:c:d:e", "arn:aws:a?b:c:d:e", NO),
    ("ArnLike", "arn:aws:a:b:c:d:e", "arn:aws:a:b?c:d:e", NO),
    ("ArnLike", "arn:aws:a:b:c:d:e", "arn:aws:a:b:c?d:e", NO),
    ("ArnLike", "arn:aws:a:b:c:d:e", "arn:aws:a:b:c:*", YES),
    ("ArnLike", "arn:aws:a:b:c:d:e", "arn:aws:a:b:c:d?e", YES),
    ("ArnLike", ARN, "*", UNKNOWN),
    ("ArnLike", ARN, "arn:aws:iam::123456789012:user/${aws:username}", YES),
    ("ArnLike", "kim", "arn:aws:iam::*:user/*", NO),
    ("ArnLike", ARN, "arn:aws:iam::*:user/${absent}", NO),
    ("NumericEquals", "5", "5.0", YES),
    ("NumericEquals", "5", "x", UNKNOWN),
    ("NumericEquals", "x", "5", UNKNOWN),
    ("DateEquals", "2026-01-01T00:00:00Z", "2026-01-01", YES),
    ("DateEquals", "2026-01-01T00:00:00Z", "2026-01-01T01:00:00+01:00", YES),
    ("DateEquals", "2026-01-01T00:00:00Z", "1767225600", YES),
    ("DateEquals", "1767225600", "1767225600", YES),
    ("DateEquals", "1767225600", "1767225601", NO),
    ("DateEquals", "2026-01-01T00:00:00Z", "tomorrow", UNKNOWN),
    ("DateEquals", "2026-01-01T00:00:00Z", "9" * 30, UNKNOWN),
    ("Bool", "true", "True", YES),
    ("Bool", "false", "true", NO),
    ("Bool", "true", True, YES),
    ("Bool", "false", False, YES),
    ("IpAddress", "203.0.113.7", "203.0.113.0/24", YES),
    ("IpAddress", "203.0.113.7", "203.0.113.9/24", YES),
    ("IpAddress", "203.0.113.7", "203.0.113.7", YES),
    ("IpAddress", "203.0.113.7", "10.0.0.0/8", NO),
    ("IpAddress", "203.0.113.7", "2001:db8::/32", NO),
    ("IpAddress", "2001:db8::1", "2001:db8::/32", YES),
    ("IpAddress", "203.0.113.7", "here", UNKNOWN),
]
# The operators that have a negated form, and its name.
NEGATED = {
    "StringEquals": "StringNotEquals",
    "StringEqualsIgnoreCase": "StringNotEqualsIgnoreCase",
    "StringLike": "StringNotLike",
    "ArnEquals": "ArnNotEquals",
    "ArnLike": "ArnNotLike",
    "NumericEquals": "NumericNotEquals",
    "DateEquals": "DateNotEquals",
    "IpAddress": "NotIpAddress",
}


def holds(operator, actual, expected, **more):
    """Whether a condition holds for a request whose key ``x`` has a value. :param actual: ``None`` for no such key."""
    known = {"aws:username": "kim", **({} if actual is None else {"X": actual})}
    return hold({operator: {"x": expected}}, Context(known, frozenset({"hidden"}), **more))


def test_operators():
    assert [(*case[:3], holds(*case[:3])) for case in POSITIVE] == POSITIVE


def test_negated_operators():
    opposite = {YES: NO, NO: YES, UNKNOWN: UNKNOWN}
    cases = [
        (NEGATED[name], actual, expected, UNKNOWN if "${absent}" in str(expected) else opposite[decision])
        for name, actual, expected, decision in POSITIVE
        if name in NEGATED
    ]
    assert [(*case[:3], holds(*case[:3])) for case in cases] == cases


@pytest.mark.parametrize(
    ("kind", "values"), [("Numeric", ("9", "10", "11")), ("Date", ("2025-12-31", "2026-01-01", "2026-01-02"))]
)
def test_orders(kind, values):
    orders = {
        "LessThan": [YES, NO, NO],
        "LessThanEquals": [YES, YES, NO],
        "GreaterThan": [NO, NO, YES],
        "GreaterThanEquals": [NO, YES, YES],
        "Equals": [NO, YES, NO],
        "NotEquals": [YES, NO, YES],
    }
    assert {name: [holds(f"{kind}{name}", each, values[1]) for each in values] for name in orders} == orders


# Operator, the values of the policy, whether it holds for: no key, x, y, x and y.
SEVERAL = [
    ("StringEquals", ["x"], (NO, YES, NO, UNKNOWN)),
    ("StringEquals", ["x", "y"], (NO, YES, YES, UNKNOWN)),
    ("StringEquals", [], (NO, NO, NO, UNKNOWN)),
    ("StringNotEquals", ["x"], (YES, NO, YES, UNKNOWN)),
    ("StringNotEquals", ["x", "y"], (YES, NO, NO, UNKNOWN)),
    ("StringEqualsIfExists", ["x"], (YES, YES, NO, UNKNOWN)),
    ("StringNotEqualsIfExists", ["x"], (YES, NO, YES, UNKNOWN)),
    ("ForAllValues:StringEquals", ["x"], (YES, YES, NO, NO)),
    ("ForAllValues:StringEquals", ["x", "y"], (YES, YES, YES, YES)),
    ("ForAllValues:StringNotEquals", ["x"], (YES, NO, YES, NO)),
    ("forallvalues:StringNotEquals", ["x", "z"], (YES, NO, YES, NO)),
    ("ForAnyValue:StringEquals", ["x"], (NO, YES, NO, YES)),
    ("ForAnyValue:StringNotEquals", ["x"], (NO, NO, YES, YES)),
    ("ForAnyValue:StringNotEquals", ["x", "y"], (NO, NO, NO, NO)),
    ("ForAnyValue:StringEqualsIfExists", ["x"], (YES, YES, NO, YES)),
    ("Null", ["true"], (YES, NO, NO, NO)),
    ("Null", "False", (NO, YES, YES, YES)),
    ("Null", [True, False], (YES, YES, YES, YES)),
    ("BinaryEquals", ["x"], (UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN)),
]


def test_several_values_and_none():
    requests = (None, "x", ["y"], ["x", "y"])
    assert [
        (name, expected, tuple(holds(name, each, expected) for each in requests)) for name, expected, _ in SEVERAL
    ] == SEVERAL


@pytest.mark.parametrize("name", ["StringEquals", "StringNotEqualsIfExists", "Null", "ForAllValues:StringLike"])
def test_a_condition_about_a_key_that_is_not_known_is_unknown(name):
    context = Context({}, frozenset({"aws:PrincipalTag/*"}))
    assert hold({name: {"AWS:principaltag/team": "true"}}, context) is UNKNOWN
    assert hold({name: {"aws:RequestTag/team": "true"}}, context) is not UNKNOWN


def test_a_key_without_a_value_is_known_to_be_absent():
    assert hold({"Null": {"aws:username": "true"}}, Context({"aws:username": ()}, frozenset({"*"}))) is YES


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({}, YES),
        ({"StringEquals": {"a": "1", "b": "2"}}, YES),
        ({"StringEquals": {"a": "1", "b": "1"}}, NO),
        ({"StringEquals": {"a": "1"}, "StringLike": {"b": "1"}}, NO),
        ({"StringEquals": {"a": "1", "hidden": "1"}}, UNKNOWN),
        ({"StringEquals": {"a": "2", "hidden": "1"}}, NO),
    ],
)
def test_all_conditions_must_hold(conditions, expected):
    assert hold(conditions, Context({"a": "1", "b": "2"}, frozenset({"hidden"}))) is expected


# A text, and the text that its pattern matches; or what else is returned.
VARIABLES = [
    ("x-${aws:username}", "x-kim"),
    ("${ AWS:UserName }/${aws:username}", "kim/kim"),
    ("${aws:username, 'all'}", "kim"),
    ("${absent, 'all'}", "all"),
    ("${absent,'all'}-x", "all-x"),
    ("${*}${?}${$}{a}", "*?${a}"),
    ("${star}", "*"),
    ("$aws:username}", "$aws:username}"),
    ("${absent}", None),
    ("${empty}", None),
    ("${hidden}", UNKNOWN),
    ("${hidden, 'all'}", UNKNOWN),
    ("${several}", UNKNOWN),
]


@pytest.mark.parametrize(("text", "expected"), VARIABLES)
def test_variables(text, expected):
    known = {"aws:username": "kim", "star": "*", "several": ["a", "b"], "empty": []}
    context = Context(known, frozenset({"hidden"}))
    assert resolve(text, context) == (to_literal(expected) if isinstance(expected, str) else expected)


def test_text_around_a_variable_may_have_wildcards():
    context = Context({"aws:username": "kim"})
    assert resolve("*-${aws:username}", context) == to_pattern("*-kim")
    assert resolve("*-${aws:username}", context, to_literal) == to_literal("*-kim")


@pytest.mark.parametrize(("version", "has_variables"), [("2012-10-17", True), ("2008-10-17", False), (None, False)])
def test_only_policies_of_the_newer_version_have_variables(version, has_variables):
    context = Context({"aws:username": "kim"}, frozenset({"hidden"}))
    for each in (context, context.for_version(None)):
        found = each.for_version(version)
        assert resolve("${aws:username}", found) == to_literal("kim" if has_variables else "${aws:username}")
        assert found.values("aws:username") == ("kim",)
        assert found.values("hidden") is None
    assert (context.for_version(version) is context) == has_variables
