"""The evaluator of the collection decides as two others do, about generated policies and requests.

Both evaluators differ from AWS's documentation in places. The policies and requests generated for each one avoid these:

The emulator, in SimulatePrincipalPolicy, replaces no variables, takes no condition keys from the caller, ignores the
permissions boundary, looks at the first value of Null only, and compares ARNs as text.

iam-simulate reads seconds since 1970 as milliseconds in Date operators, ignores IfExists after ForAnyValue, and
replaces variables in Bool and in policies of the version without variables. It also completes patterns that lack parts
of an ARN without letting a wildcard match beyond its part. AWS's documentation leaves that open, so the evaluator
answers unknown.

If the collection's evaluator does not answer unknown, its answer holds whatever it does not know. So the tests compare
it even if it lacks a condition key or a policy that the other evaluator has.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import simulator as simulators
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils._accounts import evaluate
from ansible_collections.cwagent.iam.plugins.module_utils._accounts.evaluate import (
    UNREAD,
    Caller,
    Decision,
    Policies,
    RequestKeys,
    can_write,
)
from ansible_collections.cwagent.iam.plugins.module_utils._ground.names import PARAMETER_PREFIX
from ansible_collections.cwagent.iam.plugins.module_utils._principals.window_policy import (
    PUT,
    Opening,
    WindowParameter,
    open_policy,
    opening_of,
)

ACCOUNT, REGION, USER = "123456789012", "us-east-1", "kim"
ARN = f"arn:aws:iam::{ACCOUNT}:user/{USER}"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/R"
ALL = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
PARAMETER = f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/"
PAIRS = 500
# No shrinking: each example counts as a pair.
COMPARISON = settings(
    max_examples=PAIRS,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    derandomize=True,
    database=None,
)

ACTIONS = st.sampled_from(["ssm:PutParameter", "ssm:GetParameter", "ssm:DeleteParameter"])
NAMES = st.sampled_from(["AmazonCloudWatch-linux", "AmazonCloudWatch-kim", "AmazonCloudWatch-", "other", "team/kim"])
ACTION_PATTERNS = st.sampled_from(
    ["*", "ssm:*", "ssm:Put*", "SSM:putparameter", "ssm:???Parameter", "ssm:*Parameter", "ssm:Get*", "ec2:Describe*"]
)
RESOURCE_PATTERNS = [
    "*",
    "arn:aws:ssm:*:*:parameter/AmazonCloudWatch-*",
    f"{PARAMETER}AmazonCloudWatch-linux",
    f"{PARAMETER}AmazonCloudWatch-???",
    f"{PARAMETER}*kim",
    "arn:aws:ssm:us-*-?:*:parameter/*",
    "arn:aws:ssm:eu-central-1:*:*",
    "arn:aws:ssm:*:999999999999:parameter/*",
    "arn:aws:s3:::bucket/*",
]
WITH_VARIABLES = [
    f"{PARAMETER}*${{aws:username}}",
    f"{PARAMETER}${{aws:PrincipalTag/team}}/*",
    f"{PARAMETER}${{aws:PrincipalTag/team, 'team'}}/kim",
    f"{PARAMETER}AmazonCloudWatch-${{*}}",
]
DATES = st.sampled_from(["2025-01-01T00:00:00Z", "2026-06-01T00:00:00Z", "2099-01-01T00:00:00Z", "2026-06-01"])
NUMBERS = st.sampled_from(["0", "5", "5.0", "60", "-1"])
ADDRESSES = st.sampled_from(["127.0.0.1", "127.0.0.0/8", "203.0.113.0/24", "203.0.113.7/32", "10.0.0.0/8"])
TEXTS = ["kim", "Kim", "k*", "?im", "*", "", "AIDAEXAMPLE", "us-east-1", "us-*", "a", "b"]
ARNS = [ARN, f"{ARN}*", "arn:aws:iam::*:user/k?m", "arn:aws:iam::*:role/*", "arn:*:iam::123456789012:*"]

KINDS: dict[str, tuple[list[str], Any]] = {
    "String": (["Equals", "NotEquals", "EqualsIgnoreCase", "NotEqualsIgnoreCase", "Like", "NotLike"], TEXTS),
    "Arn": (["Equals", "NotEquals", "Like", "NotLike"], ARNS),
}
ORDERS = ["Equals", "NotEquals", "LessThan", "LessThanEquals", "GreaterThan", "GreaterThanEquals"]


@dataclass(frozen=True)
class Request:
    """A call. :param unknown_keys: patterns of the condition keys that are not known."""

    action: str
    resource: str
    context: dict[str, Any] = field(default_factory=dict)
    unknown_keys: frozenset[str] = frozenset()


def decide(policies: Policies, request: Request) -> Decision:
    keys = RequestKeys(request.context, request.unknown_keys)
    return evaluate.decide(policies, request.action, request.resource, keys)


# Hypothesis examines each new strategy, which takes longer than to draw from it. So those made for a draw are kept.
@cache
def one_of(*values: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(values)


@cache
def one_or_more(values: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    """A single value or a list, as policies have both."""
    return values | st.lists(values, min_size=1, max_size=3, unique=True)


@st.composite
def conditions(draw: Callable[..., Any], keys: dict[str, list[str]], extra: list[str], any_if_exists: bool) -> Any:
    """:param keys: the condition keys for each kind of operator."""
    kind = draw(one_of(*sorted(keys)))
    key = draw(one_of(*keys[kind]))
    if kind == "Null":
        return {"Null": {key: draw(one_of("true", "false"))}}
    if kind in KINDS:
        names, values = KINDS[kind]
        name, expected = f"{kind}{draw(one_of(*names))}", one_of(*values, *extra)
    elif kind in {"Date", "Numeric"}:
        name, expected = f"{kind}{draw(one_of(*ORDERS))}", DATES if kind == "Date" else NUMBERS
    elif kind == "IpAddress":
        name, expected = draw(one_of("IpAddress", "NotIpAddress")), ADDRESSES
    else:
        name, expected = "Bool", one_of("true", "false", "True")
    quantifiers = ["ForAllValues:", "ForAnyValue:"] if key in MULTIVALUED else [""]
    quantifier = draw(one_of(*quantifiers))
    suffix = draw(one_of("", "IfExists")) if any_if_exists or quantifier != "ForAnyValue:" else ""
    return {f"{quantifier}{name}{suffix}": {key: draw(one_or_more(expected))}}


@st.composite
def statements(draw: Callable[..., Any], resources: list[str], conditions: st.SearchStrategy[Any]) -> Any:
    action, resource = (
        draw(one_of("Action", "Action", "NotAction")),
        draw(one_of("Resource", "Resource", "NotResource")),
    )
    statement = {
        "Effect": draw(one_of("Allow", "Allow", "Deny")),
        action: draw(one_or_more(ACTION_PATTERNS)),
        resource: draw(one_or_more(one_of(*resources))),
    }
    merged: dict[str, Any] = {}
    for each in draw(st.lists(conditions, max_size=2)):
        merged |= each
    return {**statement, **({"Condition": merged} if merged else {})}


def documents(statements: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.builds(
        lambda statement: {"Version": "2012-10-17", "Statement": statement},
        st.lists(statements, min_size=1, max_size=3),
    )


MULTIVALUED = {"aws:TagKeys", "aws:CalledVia"}
KEYS = {
    "String": [
        "aws:username",
        "aws:userid",
        "aws:RequestedRegion",
        "aws:PrincipalTag/team",
        "aws:TagKeys",
        "aws:CalledVia",
    ],
    "Arn": ["aws:PrincipalArn", "aws:SourceArn"],
    "Date": ["aws:CurrentTime", "aws:TokenIssueTime"],
    "Numeric": ["aws:MultiFactorAuthAge"],
    "IpAddress": ["aws:SourceIp"],
    "Bool": ["aws:SecureTransport", "aws:MultiFactorAuthPresent"],
    "Null": ["aws:username", "aws:TokenIssueTime", "aws:TagKeys", "aws:PrincipalTag/team"],
}
ALL_KEYS = {key for keys in KEYS.values() for key in keys}
CONTEXTS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "aws:username": st.just(USER),
        "aws:userid": st.just("AIDAEXAMPLE"),
        "aws:RequestedRegion": st.just(REGION),
        "aws:PrincipalTag/team": st.sampled_from(["a", "team", "kim"]),
        "aws:TagKeys": st.lists(st.sampled_from(["a", "b", "kim"]), min_size=1, max_size=2, unique=True),
        "aws:CalledVia": st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=2, unique=True),
        "aws:PrincipalArn": st.just(ARN),
        "aws:SourceArn": st.just(f"arn:aws:iam::{ACCOUNT}:role/R"),
        "aws:CurrentTime": DATES,
        "aws:MultiFactorAuthAge": NUMBERS,
        "aws:SourceIp": st.sampled_from(["127.0.0.1", "203.0.113.7"]),
        "aws:SecureTransport": st.sampled_from(["true", "false"]),
        "aws:MultiFactorAuthPresent": st.sampled_from(["true", "false"]),
    },
)
DOCUMENTS = documents(
    statements(
        [*RESOURCE_PATTERNS, *WITH_VARIABLES],
        conditions(KEYS, ["${aws:username}", "k${*}", "${aws:PrincipalTag/team, 'kim'}"], any_if_exists=False),
    )
)
PAIR = st.tuples(
    st.builds(Policies, st.lists(DOCUMENTS, min_size=1, max_size=3), st.none() | DOCUMENTS),
    st.builds(Request, ACTIONS, NAMES.map(lambda name: PARAMETER + name), CONTEXTS),
)


def simulate(simulator: simulators.Simulator, policies: Policies, request: Request) -> Decision:
    """The decision of iam-simulate."""
    simulated = simulators.Request(
        request.action,
        str(request.resource),
        policies.identity,
        boundary=policies.boundary,
        context=request.context,
        principal=ARN,
    )
    return Decision.YES if simulator.decide([simulated])[0] else Decision.NO


HIDDEN = st.frozensets(st.sampled_from([*sorted(ALL_KEYS), "*"]), max_size=2)


@st.composite
def with_less_known(draw: Callable[..., Any], pair: tuple[Policies, Request]) -> tuple[Policies, Request]:
    """The same question, of which the evaluator is not told some condition keys and policies."""
    policies, request = pair
    hidden = draw(HIDDEN)
    known = {} if "*" in hidden else {key: value for key, value in request.context.items() if key not in hidden}
    read = [draw(st.sampled_from([each, each, UNREAD])) for each in policies.identity]
    boundary = policies.boundary and draw(st.sampled_from([policies.boundary, UNREAD]))
    return Policies(read, boundary), replace(request, context=known, unknown_keys=hidden)


def test_it_agrees_with_the_simulator_and_is_not_wrong_where_less_is_known(simulator):
    answers: Counter[Decision] = Counter()

    @COMPARISON
    @given(PAIR, st.data())
    def compare(pair, data):
        simulated, decision = simulate(simulator, *pair), decide(*pair)
        answers[decision] += 1
        assert decision in {Decision.UNKNOWN, simulated}
        assert decide(*data.draw(with_less_known(pair))) in {Decision.UNKNOWN, simulated}

    compare()
    check_counts(answers)


DEADLINE = datetime(2026, 6, 1, tzinfo=UTC)
INSTANCES = ["i-0123456789abcdef0", "i-1123456789abcdef0"]
OPENINGS = st.builds(
    Opening,
    st.just(DEADLINE),
    st.none() | st.sampled_from(INSTANCES),
    st.lists(st.builds(WindowParameter, NAMES, st.sampled_from([REGION, "eu-central-1"])), max_size=2).map(tuple),
)


@given(
    OPENINGS,
    st.integers(-1, 1).map(lambda seconds: DEADLINE + timedelta(seconds=seconds)),
    st.sampled_from([Caller(ARN, "AIDAEXAMPLE"), *(Caller(ROLE, "AROAEXAMPLE", each) for each in INSTANCES)]),
    st.builds(Request, ACTIONS, NAMES.map(lambda name: PARAMETER + name)),
)
def test_it_agrees_with_the_simulator_about_a_window(simulator, opening, now, caller, request):
    """The function that asks about all names at once agrees too."""
    policies = Policies([ALL, open_policy(opening)])
    request = replace(request, context={**caller.context(now), "aws:RequestedRegion": REGION})
    simulated = simulate(simulator, policies, replace(request, context=simulated_context(request)))
    assert decide(policies, request) is simulated
    if simulated is Decision.YES and request.action == PUT and f"/{PARAMETER_PREFIX}" in request.resource:
        assert can_write(policies, caller, now, [REGION]).opening == opening_of(open_policy(opening))


def simulated_context(request: Request) -> dict[str, Any]:
    """The condition keys that have a value."""
    return {key: value for key, value in request.context.items() if value}


EMULATED_KEYS = {
    "String": ["aws:PrincipalAccount", "aws:RequestedRegion", "aws:PrincipalType", "aws:username", "aws:CalledVia"],
    "Arn": ["aws:PrincipalArn", "aws:SourceArn"],
    "Date": ["aws:CurrentTime", "aws:EpochTime", "aws:TokenIssueTime"],
    "Numeric": ["aws:EpochTime", "aws:MultiFactorAuthAge"],
    "IpAddress": ["aws:SourceIp"],
    "Bool": ["aws:SecureTransport", "aws:MultiFactorAuthPresent"],
    "Null": ["aws:CurrentTime", "aws:username", "aws:SourceArn"],
}
EMULATED_STATEMENTS = statements(
    RESOURCE_PATTERNS, conditions(EMULATED_KEYS, [ACCOUNT, "User", "12345678901?"], any_if_exists=True)
)
EMULATED_PAIR = st.tuples(
    st.lists(documents(EMULATED_STATEMENTS), min_size=2, max_size=2),
    st.builds(Request, ACTIONS, NAMES.map(lambda name: PARAMETER + name)),
)


def emulated_context(now: datetime) -> dict[str, str]:
    """The condition keys that the emulator has for each simulated request of the user."""
    return {
        "aws:CurrentTime": f"{now:%Y-%m-%dT%H:%M:%SZ}",
        "aws:EpochTime": str(int(now.timestamp())),
        "aws:PrincipalAccount": ACCOUNT,
        "aws:PrincipalArn": ARN,
        "aws:PrincipalType": "User",
        "aws:RequestedRegion": REGION,
        "aws:SecureTransport": "false",
        "aws:SourceIp": "127.0.0.1",
    }


def test_it_agrees_with_the_emulator_about_a_user_of_a_group(aws):
    iam, answers = aws.client("iam"), Counter()
    iam.create_user(UserName=USER)
    iam.create_group(GroupName="G")
    iam.add_user_to_group(GroupName="G", UserName=USER)

    @COMPARISON
    @given(EMULATED_PAIR)
    def compare(pair):
        (own, of_group), request = pair
        iam.put_user_policy(UserName=USER, PolicyName="P", PolicyDocument=json.dumps(own))
        iam.put_group_policy(GroupName="G", PolicyName="P", PolicyDocument=json.dumps(of_group))
        [result] = iam.simulate_principal_policy(
            PolicySourceArn=ARN, ActionNames=[request.action], ResourceArns=[request.resource]
        )["EvaluationResults"]
        emulated = Decision.YES if result["EvalDecision"] == "allowed" else Decision.NO
        decision = decide(Policies([own, of_group]), replace(request, context=emulated_context(datetime.now(UTC))))
        answers[decision] += 1
        assert decision in {Decision.UNKNOWN, emulated}

    compare()
    check_counts(answers)


def check_counts(answers: Counter[Decision]) -> None:
    assert answers.total() >= PAIRS
    assert answers[Decision.UNKNOWN] < answers.total() / 10
    assert min(answers[Decision.YES], answers[Decision.NO]) > answers.total() / 10
