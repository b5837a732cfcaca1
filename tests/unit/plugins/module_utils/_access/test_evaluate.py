from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils._access.decision import Decision
from ansible_collections.cwagent.iam.plugins.module_utils._access.evaluate import (
    UNREAD,
    Caller,
    Policies,
    Request,
    WriteAccess,
    can_write,
    decide,
)
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.policy import (
    Opening,
    WindowParameter,
    closed_policy,
    open_policy,
)
from ansible_collections.cwagent.iam.plugins.module_utils._principal import patterns

NO, UNKNOWN, YES = Decision.NO, Decision.UNKNOWN, Decision.YES
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
    return decide(Policies(identity, boundary), Request(action, resource, context, frozenset({"hidden"})))


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
        return decide(policies, Request(PUT, parameter, context, frozenset({"*"})))

    names = ("".join(each) for length in range(4) for each in itertools.product("abc", repeat=length))
    found = can_write(policies, replace(ROLE, session="i-1"), NOW, [REGION])
    assert found.decision >= max(answer(f"{PARAMETERS}{PREFIX}{each}") for each in names)
    assert found.decision is (answer(found.parameter) if found.parameter else NO)


@settings(max_examples=40)
@given(st.lists(DOCUMENTS, max_size=2), st.none() | DOCUMENTS, st.integers(0, 2))
def test_answers_about_an_unread_policy_hold_for_every_policy(identity, boundary, number):
    hidden = [UNREAD if place == number else each for place, each in enumerate(identity)]
    guess = decide(Policies(hidden, boundary), Request(PUT, LINUX, unknown_keys=frozenset({"hidden"})))
    for value in ("1", "2"):
        assert guess in {UNKNOWN, decide(Policies(identity, boundary), Request(PUT, LINUX, {"hidden": value}))}
