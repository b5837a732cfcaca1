from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils._accounts.evaluate import (
    UNREAD,
    Caller,
    Decision,
    Policies,
    RequestKeys,
    WriteAccess,
    all_of,
    any_of,
    can_write,
    decide,
    decision_of,
    hold,
    negate,
    resolve,
)
from ansible_collections.cwagent.iam.plugins.module_utils._principals import patterns
from ansible_collections.cwagent.iam.plugins.module_utils._principals.patterns import to_literal, to_pattern
from ansible_collections.cwagent.iam.plugins.module_utils._principals.window_policy import (
    Opening,
    WindowParameter,
    closed_policy,
    open_policy,
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
    return hold({operator: {"x": expected}}, RequestKeys(known, frozenset({"hidden"}), **more))


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
    context = RequestKeys({}, frozenset({"aws:PrincipalTag/*"}))
    assert hold({name: {"AWS:principaltag/team": "true"}}, context) is UNKNOWN
    assert hold({name: {"aws:RequestTag/team": "true"}}, context) is not UNKNOWN


def test_a_key_without_a_value_is_known_to_be_absent():
    assert hold({"Null": {"aws:username": "true"}}, RequestKeys({"aws:username": ()}, frozenset({"*"}))) is YES


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
    assert hold(conditions, RequestKeys({"a": "1", "b": "2"}, frozenset({"hidden"}))) is expected


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
    context = RequestKeys(known, frozenset({"hidden"}))
    assert resolve(text, context) == (to_literal(expected) if isinstance(expected, str) else expected)


def test_text_around_a_variable_may_have_wildcards():
    context = RequestKeys({"aws:username": "kim"})
    assert resolve("*-${aws:username}", context) == to_pattern("*-kim")
    assert resolve("*-${aws:username}", context, to_literal) == to_literal("*-kim")


@pytest.mark.parametrize(("version", "has_variables"), [("2012-10-17", True), ("2008-10-17", False), (None, False)])
def test_only_policies_of_the_newer_version_have_variables(version, has_variables):
    context = RequestKeys({"aws:username": "kim"}, frozenset({"hidden"}))
    for each in (context, context.for_version(None)):
        found = each.for_version(version)
        assert resolve("${aws:username}", found) == to_literal("kim" if has_variables else "${aws:username}")
        assert found.values("aws:username") == ("kim",)
        assert found.values("hidden") is None
    assert (context.for_version(version) is context) == has_variables


PUT, GET = "ssm:PutParameter", "ssm:GetParameter"
REGION, OTHER_REGION, ACCOUNT = "eu-central-1", "us-east-1", "123456789012"
PARAMETERS = f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/"
LINUX, OTHER = f"{PARAMETERS}AmazonCloudWatch-linux", f"{PARAMETERS}AmazonCloudWatch-other"
NOW = datetime(2026, 11, 24, 16, 0, tzinfo=UTC)
ROLE = Caller(f"arn:aws:iam::{ACCOUNT}:role/agents/Admin", "AROAEXAMPLE")
USER = Caller(f"arn:aws:iam::{ACCOUNT}:user/agents/kim", "AIDAEXAMPLE")


def policy(*statements):
    return {"Version": "2012-10-17", "Statement": list(statements)}


def statement(effect="Allow", action=PUT, resource="*", **more):
    return {"Effect": effect, "Action": action, "Resource": resource, **more}


def deny(**more):
    return statement("Deny", **more)


def without(element, **more):
    """A statement with NotAction or NotResource."""
    return {key: value for key, value in statement(**more).items() if key != element}


HIDDEN = {"Condition": {"StringEquals": {"hidden": "1"}}}
ALL, DENY_ALL = policy(statement(action="*")), policy(deny(action="*"))
MAYBE, MAYBE_DENY = policy(statement(**HIDDEN)), policy(deny(**HIDDEN))
# The managed policy of the admin, as far as it is about parameters.
ADMIN = policy(statement(action=[GET, PUT], resource="arn:aws:ssm:*:*:parameter/AmazonCloudWatch-*"))


def decision(*identity, boundary=None, action=PUT, resource=LINUX, **context):
    return decide(Policies(identity, boundary), action, resource, RequestKeys(context, frozenset({"hidden"})))


SOME = {"resource": "arn:aws:logs:*:*:*"}


@pytest.mark.parametrize(
    ("statements", "expected"),
    [
        ([statement()], YES),
        ([statement(**SOME)], UNKNOWN),
        ([statement(resource=["arn:aws:logs:*:*:*", "*"])], YES),
        ([statement(action=GET)], NO),
        ([without("Resource", NotResource="arn:aws:logs:*:*:*")], UNKNOWN),
        ([without("Resource", NotResource="*")], NO),
        ([statement(), deny(**SOME)], UNKNOWN),
        ([statement(), deny()], NO),
        ([statement(**SOME), deny()], NO),
        ([statement(**HIDDEN)], UNKNOWN),
    ],
)
def test_a_resource_that_is_not_known(statements, expected):
    assert decision(policy(*statements), resource=None) is expected


@pytest.mark.parametrize(
    ("identity", "boundary", "expected"),
    [
        ([], None, NO),
        ([ALL], None, YES),
        ([ALL, DENY_ALL], None, NO),
        ([DENY_ALL, ALL], None, NO),
        ([MAYBE], None, UNKNOWN),
        ([MAYBE, ALL], None, YES),
        ([MAYBE, DENY_ALL], None, NO),
        ([MAYBE_DENY], None, NO),
        ([MAYBE_DENY, ALL], None, UNKNOWN),
        ([MAYBE_DENY, DENY_ALL, ALL], None, NO),
        ([UNREAD], None, UNKNOWN),
        ([UNREAD, ALL], None, UNKNOWN),
        ([UNREAD, DENY_ALL], None, NO),
        ([ALL], ALL, YES),
        ([ALL], policy(statement(action="s3:*")), NO),
        ([ALL], MAYBE, UNKNOWN),
        ([ALL], UNREAD, UNKNOWN),
        ([], ALL, NO),
        ([], UNREAD, NO),
        ([ALL], policy(statement(action="*"), deny()), NO),
        ([ALL], policy(statement(action="*"), deny(**HIDDEN)), UNKNOWN),
        ([ALL, DENY_ALL], UNREAD, NO),
    ],
)
def test_a_request_is_allowed_by_a_policy_and_the_boundary_and_denied_by_none(identity, boundary, expected):
    assert decision(*identity, boundary=boundary) is expected


# A statement, and whether it covers writing the parameter for Linux.
STATEMENTS = [
    (statement(action=["s3:*", PUT]), YES),
    (statement(action=[]), NO),
    (statement(action="ssm:put*"), YES),
    (statement(action="SSM:???PARAMETER"), YES),
    (statement(action="ssm:Put"), NO),
    (statement(action="ssm:Get*"), NO),
    ({**without("Action"), "NotAction": GET}, YES),
    ({**without("Action"), "NotAction": [GET, "SSM:PUT*"]}, NO),
    (statement(resource=LINUX), YES),
    (statement(resource=LINUX.upper()), NO),
    (statement(resource=[OTHER, LINUX]), YES),
    (statement(resource=f"{PARAMETERS}*-linu?"), YES),
    (statement(resource=f"{PARAMETERS}AmazonCloudWatch-"), NO),
    (statement(resource="arn:aws:ssm:*:parameter/AmazonCloudWatch-linux"), UNKNOWN),
    (statement(resource="arn:aws:ssm:*"), YES),
    (statement(resource="arn:aws:ssm"), UNKNOWN),
    (statement(resource="arn:aws:s3:*"), NO),
    (statement(resource=f"{PARAMETERS}*-${{os}}"), YES),
    (statement(resource=f"{PARAMETERS}*${{absent}}"), NO),
    (statement(resource=[f"{PARAMETERS}*${{absent}}", LINUX]), YES),
    (statement(resource=f"{PARAMETERS}*${{hidden}}"), UNKNOWN),
    ({**without("Resource"), "NotResource": LINUX}, NO),
    ({**without("Resource"), "NotResource": [OTHER, LINUX]}, NO),
    ({**without("Resource"), "NotResource": OTHER}, YES),
    ({**without("Resource"), "NotResource": f"{PARAMETERS}*${{hidden}}"}, UNKNOWN),
    ({**without("Resource"), "NotResource": f"{PARAMETERS}*${{absent}}"}, UNKNOWN),
    ({**without("Resource"), "NotResource": [f"{PARAMETERS}*${{absent}}", LINUX]}, NO),
    (statement(Condition={"StringEquals": {"os": "linux"}}), YES),
    (statement(Condition={"StringEquals": {"os": "${os}"}}), YES),
    (statement(Condition={"StringEquals": {"os": "windows"}}), NO),
    (statement(resource=OTHER, **HIDDEN), NO),
]


def test_statements():
    opposite = {YES: NO, NO: YES, UNKNOWN: UNKNOWN}
    assert [(each, decision(policy(each), os="linux")) for each, _ in STATEMENTS] == STATEMENTS
    denials = [(each, opposite[expected]) for each, expected in STATEMENTS]
    assert [(each, decision(ALL, policy({**each, "Effect": "Deny"}), os="linux")) for each, _ in denials] == denials


@pytest.mark.parametrize(
    ("version", "expected"), [({"Version": "2012-10-17"}, YES), ({"Version": "2008-10-17"}, NO), ({}, NO)]
)
@pytest.mark.parametrize(
    "allowed",
    [
        statement(resource=f"{PARAMETERS}*-${{os}}"),
        statement(Condition={"StringEquals": {"os": "${os}"}}),
    ],
    ids=["resource", "condition"],
)
def test_an_older_policy_has_no_variables_and_may_have_a_single_statement(version, expected, allowed):
    assert decision({**version, "Statement": allowed}, os="linux") is expected
    assert decision({**version, "Statement": allowed}, policy(statement(action="s3:*")), os="linux") is expected


def test_an_action_without_resources_needs_all_resources():
    def may_put_metrics(resource):
        allowed = policy(statement(action="cloudwatch:*", resource=resource))
        return decision(allowed, action="cloudwatch:PutMetricData", resource="*")

    assert (may_put_metrics("*"), may_put_metrics("arn:aws:cloudwatch:*:*:*")) == (YES, NO)


CALLS = [
    ("aws:username", "kim", None),
    ("aws:userid", "AIDAEXAMPLE", "AROAEXAMPLE:i-1"),
    ("aws:PrincipalArn", USER.arn, ROLE.arn),
    ("aws:PrincipalAccount", ACCOUNT, ACCOUNT),
    ("aws:PrincipalType", "User", "AssumedRole"),
    ("aws:PrincipalTag/team", "a", "unknown"),
    ("aws:CurrentTime", "2026-11-24T16:00:00Z", "2026-11-24T16:00:00Z"),
    ("aws:EpochTime", "1795536000", "1795536000"),
    ("aws:RequestedRegion", REGION, REGION),
    ("aws:ResourceAccount", ACCOUNT, ACCOUNT),
    ("aws:SecureTransport", "true", "true"),
    ("aws:ViaAWSService", "false", "false"),
    ("aws:PrincipalIsAWSService", "false", "false"),
    ("aws:SourceIp", "unknown", "unknown"),
    ("aws:MultiFactorAuthPresent", "unknown", "unknown"),
]


@pytest.mark.parametrize(("key", "of_user", "of_role"), CALLS, ids=[each[0] for each in CALLS])
def test_known_and_unknown_condition_keys_of_a_call(key, of_user, of_role):
    def answers(caller, expected):
        conditions = ({"StringEquals": {key: expected or ""}}, {"Null": {key: "true"}})
        allowed = [Policies([policy(statement(Condition=each))]) for each in conditions]
        return [can_write(each, caller, NOW, [REGION]).decision for each in allowed]

    for caller, expected in (
        (replace(USER, tags={"team": "a"}), of_user),
        (replace(ROLE, session="i-1", tags={"team": "a"}), of_role),
    ):
        known = [NO, YES] if expected is None else [YES, NO]
        assert answers(caller, expected) == ([UNKNOWN, UNKNOWN] if expected == "unknown" else known)


def test_a_user_has_its_last_name_only():
    assert (USER.is_user, ROLE.is_user, USER.userid, ROLE.userid) == (True, False, "AIDAEXAMPLE", None)


def writes(*identity, caller=ROLE, boundary=None, regions=(REGION,), now=NOW):
    return can_write(Policies(identity, boundary), caller, now, regions)


PREFIX = "AmazonCloudWatch-"


def parameters(*names):
    return [PARAMETERS + name for name in names]


def not_resource(effect, *names):
    return {**without("Resource", effect=effect), "NotResource": parameters(*names)}


# The policies, the boundary, whether some parameter can be written, and the name of one.
EXISTENCE = [
    ([ADMIN], None, YES, PREFIX),
    ([ALL], None, YES, PREFIX),
    ([], None, NO, None),
    ([policy(statement(action=GET))], None, NO, None),
    ([policy(statement(resource=LINUX))], None, YES, f"{PREFIX}linux"),
    ([policy(statement(resource=parameters("Amazon*-linux")))], None, YES, f"{PREFIX}linux"),
    ([policy(statement(resource=parameters("other", "AmazonCloudwatch-*")))], None, NO, None),
    ([policy(statement(resource=parameters(f"{PREFIX}a/b", f"/{PREFIX}a")))], None, NO, None),
    ([policy(statement(resource=parameters(f"{PREFIX}*/b")))], None, NO, None),
    (
        [policy(statement(resource=parameters(f"{PREFIX}*-prod")))],
        policy(statement(resource=parameters("*-db-*"))),
        YES,
        f"{PREFIX[:-1]}-db-prod",
    ),
    (
        [policy(statement(resource=parameters(f"{PREFIX}a*")))],
        policy(statement(resource=parameters(f"{PREFIX}b*"))),
        NO,
        None,
    ),
    ([ADMIN, policy(not_resource("Deny", f"{PREFIX}linux"))], None, YES, f"{PREFIX}linux"),
    ([ADMIN, policy(not_resource("Deny", "other"))], None, NO, None),
    ([policy(not_resource("Allow", f"{PREFIX}"))], None, YES, f"{PREFIX}a"),
    ([policy(statement(resource=LINUX, **HIDDEN))], None, UNKNOWN, f"{PREFIX}linux"),
    ([policy(statement(resource="arn:aws:ssm:*:parameter/AmazonCloudWatch-linux"))], None, UNKNOWN, f"{PREFIX}linux"),
    ([UNREAD], None, UNKNOWN, PREFIX),
    ([UNREAD, policy(deny())], None, NO, None),
    ([ALL], UNREAD, UNKNOWN, PREFIX),
    ([policy(statement(resource=parameters(f"{PREFIX}${{aws:userid}}")))], None, UNKNOWN, None),
]


@pytest.mark.parametrize(("identity", "boundary", "expected", "name"), EXISTENCE)
def test_a_name_is_found_if_there_is_one(identity, boundary, expected, name):
    found = writes(*identity, boundary=boundary)
    assert found.decision is expected
    if name is not None or expected is NO:
        assert found.parameter == (name and PARAMETERS + name)
    assert found.writes == expected.name.lower()


def test_a_search_for_names_that_is_too_long_makes_no_unknown_and_leaves_yes(monkeypatch):
    monkeypatch.setattr(patterns, "MAX_STATES", 100)
    hard = statement(resource=parameters(f"{PREFIX}*a{'?' * 20}_"))
    denied = policy(deny(resource=parameters(f"{PREFIX}*")))
    assert writes(policy(hard), denied) == WriteAccess(UNKNOWN)
    assert writes(policy(hard, statement(resource=LINUX))).decision is YES


@pytest.mark.parametrize(
    ("regions", "expected"),
    [((REGION,), NO), ((OTHER_REGION, REGION), YES), ((REGION, OTHER_REGION), YES), ((), NO)],
)
def test_each_region_is_asked(regions, expected):
    condition = {"StringEquals": {"aws:RequestedRegion": OTHER_REGION}}
    found = writes(policy(statement(Condition=condition)), regions=regions)
    assert found.decision is expected
    assert not found.parameter or f":{OTHER_REGION}:" in found.parameter


def test_a_certain_answer_in_one_region_is_preferred():
    condition = {"StringEquals": {"aws:RequestedRegion": OTHER_REGION}}
    allowed = policy(statement(**HIDDEN), statement(Condition=condition))
    assert writes(allowed, regions=[REGION]) == WriteAccess(UNKNOWN, PARAMETERS + PREFIX)
    assert writes(allowed, regions=[REGION, OTHER_REGION]).decision is YES
    maybe_there = policy(statement(Condition={**condition, "StringEqualsIfExists": {"hidden": "1"}}))
    assert writes(maybe_there, regions=[REGION, OTHER_REGION]).decision is UNKNOWN


def test_the_parameter_is_one_of_the_partition_and_the_account():
    caller = Caller("arn:aws-cn:iam::999999999999:role/R", "AROAEXAMPLE")
    found = writes(ALL, caller=caller, regions=["cn-north-1"])
    assert found == WriteAccess(YES, f"arn:aws-cn:ssm:cn-north-1:999999999999:parameter/{PREFIX}")


def only_sessions(operator, *userids):
    return policy(deny(Condition={operator: {"AWS:UserId": list(userids)}}))


@pytest.mark.parametrize(
    ("denied", "expected", "session"),
    [
        (only_sessions("StringNotLike", "*:i-1"), YES, "i-1"),
        (only_sessions("StringNotEquals", "AROAEXAMPLE:i-1", "AROAOTHER:i-2"), YES, "i-1"),
        (only_sessions("StringLike", "AROAEXAMPLE:*"), UNKNOWN, None),
        (only_sessions("StringLike", "AROAEXAMPLE:i-*"), YES, "ia"),
        (only_sessions("StringNotLike", "AROAOTHER:*"), UNKNOWN, None),
        (only_sessions("StringNotLike", "*:x", "*:"), UNKNOWN, None),
    ],
)
def test_a_session_is_found_if_there_is_one(denied, expected, session):
    found = writes(ADMIN, denied)
    assert (found.decision, found.session) == (expected, session)
    assert can_write(Policies([ALL], denied_and_allowed(denied)), ROLE, NOW, [REGION]) == found


def denied_and_allowed(denied):
    return policy(*denied["Statement"], *ADMIN["Statement"])


def test_the_session_that_is_asked_about_is_the_only_one():
    denied = only_sessions("StringNotLike", "*:i-1")
    answers = {name: writes(ADMIN, denied, caller=replace(ROLE, session=name)).decision for name in ("i-1", "i-2", "")}
    assert answers == {"i-1": YES, "i-2": NO, "": NO}


MINUTE = timedelta(minutes=1)
INSTANCE, OTHER_INSTANCE = "i-0123456789abcdef0", "i-1123456789abcdef0"
HERE, ELSEWHERE = WindowParameter("AmazonCloudWatch-linux", REGION), WindowParameter("AmazonCloudWatch-b", OTHER_REGION)
OPENINGS = [
    Opening(NOW + MINUTE, *options) for options in itertools.product([None, INSTANCE], [(), (HERE,), (ELSEWHERE, HERE)])
]


@pytest.mark.parametrize("opening", OPENINGS)
@pytest.mark.parametrize("allowed", [ADMIN, ALL], ids=["admin", "all"])
def test_an_open_window_is_the_only_way(opening, allowed):
    found = writes(allowed, open_policy(opening), regions=[REGION, OTHER_REGION])
    assert (found.decision, found.writes, found.opening) == (YES, "window", opening)
    assert found.session == opening.instance_id
    assert not opening.parameters or found.parameter in {
        LINUX,
        f"arn:aws:ssm:{OTHER_REGION}:{ACCOUNT}:parameter/{PREFIX}b",
    }
    instances = {
        each: writes(allowed, open_policy(opening), caller=replace(ROLE, session=each))
        for each in (INSTANCE, OTHER_INSTANCE)
    }
    assert instances[INSTANCE].writes == "window"
    assert instances[OTHER_INSTANCE].writes == ("no" if opening.instance_id else "window")


@pytest.mark.parametrize("opening", OPENINGS)
@pytest.mark.parametrize("caller", [ROLE, USER], ids=["role", "user"])
def test_without_an_open_window_there_is_no_way(opening, caller):
    expired = open_policy(replace(opening, deadline=NOW - MINUTE / 60))
    for window in (expired, closed_policy()):
        assert writes(ALL, ADMIN, window, caller=caller) == WriteAccess(NO)
    elsewhere = open_policy(replace(opening, parameters=(ELSEWHERE,)))
    assert writes(ALL, elsewhere, caller=caller) == WriteAccess(NO)


@pytest.mark.parametrize(
    ("identity", "answer"),
    [
        ([ADMIN], "window"),
        ([], "no"),
        ([policy(statement(action=GET))], "no"),
        ([policy(statement(**HIDDEN))], "unknown"),
        ([UNREAD], "unknown"),
        ([ADMIN, policy(deny(**HIDDEN))], "unknown"),
    ],
)
@pytest.mark.parametrize("opening", [Opening(NOW), Opening(NOW, INSTANCE, (HERE,))], ids=["all", "bound"])
def test_a_window_allows_nothing_by_itself(identity, answer, opening):
    found = writes(*identity, open_policy(opening))
    assert (found.writes, found.opening) == (answer, opening if answer == "window" else None)


def test_the_first_deadline_counts():
    openings = [Opening(NOW + minutes * MINUTE) for minutes in (3, 1, 2)]
    assert writes(ALL, *map(open_policy, openings)).opening == openings[1]


SUFFIXES = st.text("ab*?", max_size=4)
RESOURCES = st.lists(SUFFIXES.map(lambda each: f"{PARAMETERS}{PREFIX}{each}"), min_size=1, max_size=2)
STATEMENTS_BY_NAME = st.builds(
    lambda effect, element, resources, more: {"Effect": effect, "Action": PUT, element: resources, **more},
    st.sampled_from(["Allow", "Deny"]),
    st.sampled_from(["Resource", "NotResource"]),
    RESOURCES,
    st.sampled_from([{}, {}, {}, HIDDEN]),
)
DOCUMENTS = st.lists(STATEMENTS_BY_NAME, min_size=1, max_size=2).map(lambda each: policy(*each))


@settings(max_examples=40)
@given(st.lists(DOCUMENTS, max_size=2), st.none() | DOCUMENTS)
def test_no_name_is_forgotten(identity, boundary):
    policies = Policies(identity, boundary)

    def answer(parameter):
        context = {"aws:userid": "AROAEXAMPLE:i-1"}
        return decide(policies, PUT, parameter, RequestKeys(context, frozenset({"*"})))

    names = ("".join(each) for length in range(4) for each in itertools.product("abc", repeat=length))
    found = can_write(policies, replace(ROLE, session="i-1"), NOW, [REGION])
    assert found.decision >= max(answer(f"{PARAMETERS}{PREFIX}{each}") for each in names)
    assert found.decision is (answer(found.parameter) if found.parameter else NO)


@settings(max_examples=40)
@given(st.lists(DOCUMENTS, max_size=2), st.none() | DOCUMENTS, st.integers(0, 2))
def test_answers_about_an_unread_policy_hold_for_every_policy(identity, boundary, number):
    hidden = [UNREAD if place == number else each for place, each in enumerate(identity)]
    guess = decide(Policies(hidden, boundary), PUT, LINUX, RequestKeys({}, frozenset({"hidden"})))
    for value in ("1", "2"):
        assert guess in {UNKNOWN, decide(Policies(identity, boundary), PUT, LINUX, RequestKeys({"hidden": value}))}
