from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from access_account import (
    ACCOUNT_ID,
    ADMIN,
    ADMINISTRATOR,
    CLOSED,
    CONFIGURATIONS,
    HEALTHY,
    NOW,
    OLD_SSM,
    REGION,
    SERVER,
    document,
    healthy,
    managed_policy,
    role,
    user,
    window,
)

from ansible_collections.cwagent.iam.plugins.module_utils._accounts.assess import (
    apply_simulations,
    assess,
    may,
    request_context,
)
from ansible_collections.cwagent.iam.plugins.module_utils._accounts.evaluate import Decision
from ansible_collections.cwagent.iam.plugins.module_utils._accounts.model import Policy
from ansible_collections.cwagent.iam.plugins.module_utils._principals.window_policy import (
    Opening,
    WindowParameter,
    open_policy,
)

WRITE = document("ssm:PutParameter", resource=CONFIGURATIONS)
NOT_READ = Policy("(not read)", None)
MAYBE = document("ssm:PutParameter", Condition={"StringEquals": {"aws:SourceVpc": "vpc-1"}})
ONE_SESSION = document("ssm:PutParameter", Condition={"StringLike": {"aws:userid": "*:i-7"}})
LATER, EARLIER = NOW + timedelta(minutes=10), NOW - timedelta(minutes=10)
OPENING = Opening(LATER, "i-9", (WindowParameter("AmazonCloudWatch-linux", REGION),))


def assessment(principal):
    [found] = assess(replace(HEALTHY, principals=(principal,)))
    return found


WRITES = {
    "the admin policy": (
        role("R", ADMIN),
        "yes",
        "CloudWatchAgentAdminPolicy allows ssm:PutParameter, and nothing denies it.",
    ),
    "two policies": (
        role("R", Policy("b", WRITE), Policy("a", WRITE), Policy("c", document("s3:*"))),
        "yes",
        "a and b allow ssm:PutParameter, and nothing denies it.",
    ),
    "a session": (
        role("R", Policy("a", ONE_SESSION)),
        "yes",
        "a allows ssm:PutParameter in session i-7, and nothing denies it.",
    ),
    "an open window": (
        role("R", ADMIN, window(open_policy(OPENING))),
        "window",
        "Its admin window is open until 2026-11-24T16:10:00Z for instance i-9.",
    ),
    "an open window of a user": (
        user("u", ADMIN, window(open_policy(Opening(LATER)))),
        "window",
        "Its admin window is open until 2026-11-24T16:10:00Z.",
    ),
    "an open window of a role that was changed to serve every instance": (
        role("R", ADMIN, window(open_policy(Opening(LATER)))),
        "yes",
        "CloudWatchAgentAdminPolicy allows ssm:PutParameter, and nothing denies it.",
    ),
    "a closed window": (role("R", ADMIN, CLOSED), "no", "Its admin window is closed."),
    "an expired window": (
        role("R", ADMIN, window(open_policy(Opening(EARLIER, "i-9")))),
        "no",
        "Its admin window was open until 2026-11-24T15:50:00Z.",
    ),
    "a denied policy": (
        role("R", ADMIN, Policy("deny", document("ssm:Put*", effect="Deny"))),
        "no",
        "No policy allows ssm:PutParameter, or one denies it.",
    ),
    "the server policy": (role("R", SERVER), "no", "No policy allows ssm:PutParameter, or one denies it."),
    "a condition that is not known": (
        role("R", Policy("a", MAYBE)),
        "unknown",
        "a allows ssm:PutParameter if the conditions hold, which is not known.",
    ),
    "a policy that was not read": (role("R", NOT_READ), "unknown", "It has policies that could not be read."),
    "a boundary that was not read": (
        role("R", ADMIN, boundary=NOT_READ),
        "unknown",
        "It has policies that could not be read.",
    ),
    "a boundary": (
        role("R", ADMIN, boundary=Policy("b", document("s3:*"))),
        "no",
        "No policy allows ssm:PutParameter, or one denies it.",
    ),
}


@pytest.mark.parametrize(("principal", "writes", "why"), WRITES.values(), ids=WRITES)
def test_it_lists_the_writers_with_reasons(principal, writes, why):
    found = assessment(principal)
    assert (found.writes, found.why) == (writes, why)


def test_principals_without_access_are_left_out():
    others = [
        role("Other", Policy("x", document("s3:*")), tags={}),
        role("Managed"),
        role("Writer", Policy("x", WRITE), tags={}),
        role("Old", OLD_SSM, tags={}),
        role("Unknown", NOT_READ, tags={}),
        role("Foreign", SERVER, tags={}),
        role("Core", managed_policy("AmazonSSMManagedInstanceCore", document("ssm:GetParameter")), tags={}),
    ]
    account = replace(HEALTHY, principals=tuple(others))
    assert [each.principal.name for each in assess(account)] == ["Managed", "Writer", "Old", "Unknown", "Foreign"]


def grants_roles_of(account_id):
    roles = document("iam:*", resource=f"arn:aws:iam::{account_id}:role/*")
    return {**WRITE, "Statement": [*WRITE["Statement"], *roles["Statement"]]}


@pytest.mark.parametrize(
    ("policy", "is_administrator"),
    [
        (document("*"), True),
        (document("ssm:*", "iam:*"), True),
        (document("ssm:*", "ec2:*", "s3:*", "lambda:*"), True),
        (document("ssm:*", "ec2:*", "s3:*"), False),
        (document("ssm:*"), False),
        (grants_roles_of(ACCOUNT_ID), True),
        (grants_roles_of("999999999999"), False),
    ],
)
def test_it_knows_the_administrators_of_the_account(policy, is_administrator):
    assert assessment(user("u", Policy("p", policy))).is_administrator is is_administrator


WINDOWS = {
    "none": (role("R", ADMIN), "absent"),
    "closed": (role("R", ADMIN, CLOSED), "closed"),
    "without the policy": (role("R", CLOSED), "closed"),
    "not read": (role("R", ADMIN, window(None)), "unknown"),
    "perhaps none": (role("R", ADMIN, NOT_READ), "unknown"),
    "of a group": (user("u", ADMIN, replace(CLOSED, group="g")), "absent"),
}


@pytest.mark.parametrize(("principal", "state"), WINDOWS.values(), ids=WINDOWS)
def test_it_shows_the_window(principal, state):
    window = assessment(principal).window
    assert window is not None
    assert window["state"] == state


def test_it_shows_the_scope_of_an_open_window():
    assert assessment(role("R", ADMIN, window(open_policy(OPENING)))).window == {
        "state": "open",
        "deadline": "2026-11-24T16:10:00Z",
        "instance_id": "i-9",
        "parameters": [{"name": "AmazonCloudWatch-linux", "region": REGION}],
    }
    assert assessment(role("R", SERVER)).window is None


def test_a_boundary_counts_unless_it_is_left_out():
    bounded = role("R", SERVER, boundary=Policy("b", document("logs:*")))
    assert may(bounded, NOW, "cloudwatch:PutMetricData") is Decision.NO
    assert may(bounded, NOW, "cloudwatch:PutMetricData", bounded=False) is Decision.YES
    assert may(bounded, NOW, "logs:PutLogEvents") is Decision.YES


def test_conditions_know_the_tags_of_users_only():
    """A session of a role can have other tags."""
    condition = {"StringEquals": {"aws:PrincipalTag/team": "ops"}}
    policy = Policy("p", document("ssm:PutParameter", Condition=condition))
    assert assessment(user("u", policy, tags={"team": "ops"})).writes == "yes"
    assert assessment(role("R", policy, tags={"team": "ops"})).writes == "unknown"


def test_only_writers_and_unknowns_need_a_simulation():
    principals = [
        role("Yes", ADMIN),
        role("Window", ADMIN, window(open_policy(OPENING))),
        role("Maybe", Policy("a", MAYBE)),
        user("root", ADMINISTRATOR),
    ]
    found = assess(healthy(*principals))
    assert [each.principal.name for each in found if each.needs_simulation] == ["Yes", "Window", "Maybe"]
    context = {each.principal.name: request_context(each.principal, NOW, each.session) for each in found}
    assert context["Window"]["aws:userid"] == ["AROA1:i-9"]
    assert "aws:userid" not in context["Yes"]
    assert context["Yes"]["aws:username"] == []
    assert context["root"]["aws:username"] == ["root"]


@pytest.mark.parametrize(
    ("principal", "allows", "writes", "says"),
    [
        (role("R", ADMIN), True, "yes", "nothing denies it. SimulatePrincipalPolicy of IAM allows it."),
        (role("R", ADMIN), False, "no", "SimulatePrincipalPolicy of IAM denies ssm:PutParameter."),
        (role("R", ADMIN), None, "yes", "nothing denies it."),
        (role("R", Policy("a", MAYBE)), True, "yes", "SimulatePrincipalPolicy of IAM allows it."),
        (role("R", ADMIN, window(open_policy(OPENING))), True, "window", "SimulatePrincipalPolicy of IAM allows it."),
    ],
)
def test_a_simulation_decides(principal, allows, writes, says):
    simulations = {} if allows is None else {principal.arn: allows}
    [found] = apply_simulations([assessment(principal)], simulations)
    assert found.writes == writes
    assert found.why.endswith(says)
