from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils._ground.names import WINDOW_POLICY
from ansible_collections.cwagent.iam.plugins.module_utils._ground.plan import Kind
from ansible_collections.cwagent.iam.plugins.module_utils._principals.window_policy import (
    Opening,
    WindowParameter,
    close_new_window,
    closed_policy,
    deadline_of,
    is_closed,
    open_policy,
    opening_of,
    size_of,
)

OTHER_ACTIONS = [
    "ssm:DeleteParameter",
    "ssm:DeleteParameters",
    "ssm:LabelParameterVersion",
    "ssm:UnlabelParameterVersion",
]
PUT = "ssm:PutParameter"
TIME = datetime(2026, 11, 24, 16, 15, 30, 999999, tzinfo=UTC)
INSTANCE = "i-0123456789abcdef0"
LINUX, CHINA = (
    WindowParameter("AmazonCloudWatch-linux", "eu-central-1"),
    WindowParameter("AmazonCloudWatch-linux", "cn-north-1"),
)
LINUX_ARN, CHINA_ARN = (
    "arn:aws:ssm:eu-central-1:*:parameter/AmazonCloudWatch-linux",
    "arn:aws-cn:ssm:cn-north-1:*:parameter/AmazonCloudWatch-linux",
)
AT = "2026-11-24T16:15:30Z"
CONDITION = {"DateGreaterThan": {"aws:CurrentTime": AT}}
CLOSED: dict[str, Any] = {
    "Sid": "CloudWatchAgentAdminWindowClosed",
    "Effect": "Deny",
    "Action": [PUT, *OTHER_ACTIONS],
    "Resource": "*",
}
OTHERS: dict[str, Any] = {
    "Sid": "CloudWatchAgentAdminWindowOthers",
    "Effect": "Deny",
    "Action": OTHER_ACTIONS,
    "Resource": "*",
}
DEADLINE: dict[str, Any] = {
    "Sid": "CloudWatchAgentAdminWindowDeadline",
    "Effect": "Deny",
    "Action": PUT,
    "Resource": "*",
    "Condition": CONDITION,
}
BOUND: dict[str, Any] = {
    "Sid": "CloudWatchAgentAdminWindowInstance",
    "Effect": "Deny",
    "Action": PUT,
    "Resource": "*",
    "Condition": {"StringNotLike": {"aws:userid": f"*:{INSTANCE}"}},
}
NAMED: dict[str, Any] = {
    "Sid": "CloudWatchAgentAdminWindowParameters",
    "Effect": "Deny",
    "Action": PUT,
    "NotResource": [CHINA_ARN, LINUX_ARN],
}

TIMES = st.datetimes(datetime(2025, 1, 1), datetime(2099, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  hypothesis takes bounds without a zone
PARAMETERS = st.builds(
    WindowParameter,
    st.from_regex(r"AmazonCloudWatch-[A-Za-z0-9_.-]{0,20}", fullmatch=True),
    st.sampled_from(["eu-central-1", "us-gov-west-1", "cn-north-1", "us-iso-east-1", "ap-southeast-3"]),
)
OPENINGS = st.builds(
    Opening,
    TIMES.map(lambda time: time.replace(microsecond=0)),
    st.sampled_from([None, INSTANCE, "i-01234567"]),
    st.sets(PARAMETERS, max_size=5).map(lambda found: tuple(sorted(found))),
)


def document(*statements: Any) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": [*statements]}


def test_a_closed_window_denies_every_change_without_a_condition():
    assert closed_policy() == document(CLOSED)
    assert is_closed(closed_policy())


OPEN_CASES = {
    "until a deadline": (Opening(TIME), [OTHERS, DEADLINE]),
    "for an instance": (Opening(TIME, INSTANCE), [OTHERS, DEADLINE, BOUND]),
    "for parameters": (Opening(TIME, None, (LINUX, CHINA)), [OTHERS, DEADLINE, NAMED]),
    "for an instance and parameters": (Opening(TIME, INSTANCE, (CHINA, LINUX)), [OTHERS, DEADLINE, BOUND, NAMED]),
    "for a parameter twice": (
        Opening(TIME, None, (LINUX, LINUX)),
        [OTHERS, DEADLINE, {**NAMED, "NotResource": [LINUX_ARN]}],
    ),
}


@pytest.mark.parametrize(("opening", "statements"), OPEN_CASES.values(), ids=OPEN_CASES)
def test_an_open_window_denies_in_separate_statements(opening, statements):
    assert open_policy(opening) == document(*statements)


@given(OPENINGS)
def test_an_opening_only_denies_and_is_read_as_it_was_written(opening):
    policy = open_policy(opening)
    assert opening_of(policy) == opening
    assert deadline_of(policy) == opening.deadline
    assert not is_closed(policy)
    statements = [*closed_policy()["Statement"], *policy["Statement"]]
    sids = [each["Sid"] for each in statements]
    assert len(set(sids)) == len(sids)
    assert all(sid.isascii() and sid.isalnum() and sid.startswith(WINDOW_POLICY) for sid in sids)
    assert {each["Effect"] for each in statements} == {"Deny"}
    assert not [each for each in statements if "NotResource" in each and ("Condition" in each or "Resource" in each)]
    for less in (replace(opening, instance_id=None), replace(opening, parameters=())):
        assert all(each in statements for each in open_policy(less)["Statement"]), "more only ever denies more"


def test_a_closed_window_has_no_deadline():
    for policy in (closed_policy(), None, {}):
        assert opening_of(policy) is None
        assert deadline_of(policy) is None


def change(sid: str, **elements: Any) -> dict[str, Any]:
    """The policy of a window that is open for an instance and parameters, with another element in a statement."""
    policy = open_policy(Opening(TIME, INSTANCE, (LINUX, CHINA)))
    statements = policy["Statement"]
    return {**policy, "Statement": [{**each, **elements} if each["Sid"] == sid else each for each in statements]}


def change_deadline(**operator: Any) -> dict[str, Any]:
    return change(DEADLINE["Sid"], Condition=operator)


CURRENT = "aws:CurrentTime"
OTHER_POLICIES: dict[str, Any] = {
    "nothing": {},
    "no statement": document(),
    "a closed window that allows": document({**CLOSED, "Effect": "Allow"}),
    "a closed window of one parameter": document({**CLOSED, "Resource": LINUX_ARN}),
    "a closed window for another action": document({**CLOSED, "Action": "ssm:GetParameter"}),
    "a closed window for one action": document({**CLOSED, "Action": [PUT]}),
    "a closed window after a deadline": document({**CLOSED, "Condition": CONDITION}),
    "a closed window without a list": {"Version": "2012-10-17", "Statement": CLOSED},
    "a closed window and more": document(CLOSED, {"Effect": "Allow", "Action": "*"}),
    "a closed window of an older version": {**closed_policy(), "Version": "2008-10-17"},
    "an open window that allows": change(DEADLINE["Sid"], Effect="Allow"),
    "a reversed comparison": change_deadline(DateLessThan={CURRENT: AT}),
    "another condition key": change_deadline(DateGreaterThan={"aws:TokenIssueTime": "2099-01-01"}),
    "one more condition": change_deadline(DateGreaterThan={CURRENT: AT}, Bool={"aws:SecureTransport": "false"}),
    "a deadline in a list": change_deadline(DateGreaterThan={CURRENT: [AT]}),
    "a deadline in another format": change_deadline(DateGreaterThan={CURRENT: "2026-11-24T16:15:30+00:00"}),
    "a deadline without padding": change_deadline(DateGreaterThan={CURRENT: "2026-1-4T16:15:30Z"}),
    "a deadline that is no date": change_deadline(DateGreaterThan={CURRENT: "never"}),
    "no time of the deadline": change_deadline(DateGreaterThan={}),
    "one more statement": document(OTHERS, DEADLINE, {**OTHERS, "Sid": "More"}),
    "only the deadline": document(DEADLINE),
    "only the deadline, under another Sid": document({**DEADLINE, "Sid": WINDOW_POLICY}),
    "closed under another Sid": document({**OTHERS, "Sid": WINDOW_POLICY, "Action": PUT}),
    "a statement without a Sid": document({"Effect": "Allow"}),
    "a Sid that is a list": document({"Sid": ["x"]}),
    "a statement without a list": {"Version": "2012-10-17", "Statement": DEADLINE},
    "no deadline": document(OTHERS, BOUND),
    "instances in a list": change(BOUND["Sid"], Condition={"StringNotLike": {"aws:userid": [f"*:{INSTANCE}"]}}),
    "no instance": change(BOUND["Sid"], Condition={}),
    "instance a number": change(BOUND["Sid"], Condition={"StringNotLike": {"aws:userid": 1}}),
    "any session": change(BOUND["Sid"], Condition={"StringNotLike": {"aws:userid": "*"}}),
    "parameters with a condition": change(NAMED["Sid"], Condition=CONDITION),
    "parameters in another order": change(NAMED["Sid"], NotResource=[LINUX_ARN, CHINA_ARN]),
    "parameters not in a list": change(NAMED["Sid"], NotResource=LINUX_ARN),
    "parameter not an ARN": change(NAMED["Sid"], NotResource=["*"]),
    "parameter a number": change(NAMED["Sid"], NotResource=[1]),
    "parameter of one account": change(NAMED["Sid"], NotResource=[LINUX_ARN.replace("*", "123456789012")]),
    "another resource": change(NAMED["Sid"], NotResource=[LINUX_ARN.replace("parameter/", "document/")]),
}


@pytest.mark.parametrize("policy", OTHER_POLICIES.values(), ids=OTHER_POLICIES)
def test_a_policy_that_this_collection_does_not_write_is_not_understood(policy):
    assert opening_of(policy) is None
    assert not is_closed(policy)


def test_the_size_of_a_policy_is_without_white_space():
    assert size_of({"a": ["b", "c"], "d": "e"}) == len('{"a":["b","c"],"d":"e"}')


def test_a_new_window_is_closed():
    step = close_new_window("user", "P")
    assert (step.kind, step.action) == (Kind.UPDATE, "iam:PutUserPolicy")
    assert step.arguments == {"user_name": "P", "policy_name": WINDOW_POLICY, "policy_document": closed_policy()}
    assert step.summary == "close the admin window of user 'P'"
