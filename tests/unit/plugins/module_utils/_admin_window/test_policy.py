from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.policy import (
    close_new_window,
    closed_policy,
    deadline_of,
    open_policy,
)
from ansible_collections.cwagent.iam.plugins.module_utils._names import WINDOW_POLICY
from ansible_collections.cwagent.iam.plugins.module_utils._plan import Kind

DENY = {"Sid": WINDOW_POLICY, "Effect": "Deny", "Action": "ssm:PutParameter", "Resource": "*"}
TIMES = st.datetimes(datetime(2025, 1, 1), datetime(2099, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  hypothesis takes bounds without a zone


def test_a_closed_window_denies_without_a_condition():
    assert closed_policy() == {"Version": "2012-10-17", "Statement": [DENY]}


def test_an_open_window_denies_after_its_deadline():
    condition = {"DateGreaterThan": {"aws:CurrentTime": "2026-11-24T16:15:30Z"}}
    assert open_policy(datetime(2026, 11, 24, 16, 15, 30, 999999, tzinfo=UTC)) == {
        "Version": "2012-10-17",
        "Statement": [{**DENY, "Condition": condition}],
    }


@given(TIMES)
def test_a_deadline_is_read_as_it_was_written(time):
    assert deadline_of(open_policy(time)) == time.replace(microsecond=0)


def test_a_closed_window_has_no_deadline():
    assert deadline_of(closed_policy()) is None
    assert deadline_of(None) is None


def test_a_new_window_is_closed():
    step = close_new_window("user", "P")
    assert (step.kind, step.action) == (Kind.UPDATE, "iam:PutUserPolicy")
    assert step.arguments == {"user_name": "P", "policy_name": WINDOW_POLICY, "policy_document": closed_policy()}
    assert step.summary == "close the admin window of user 'P'"


def test_a_policy_with_another_statement_has_no_deadline():
    policy = open_policy(datetime(2026, 11, 24, tzinfo=UTC))
    assert deadline_of({**policy, "Statement": [DENY, *policy["Statement"]]}) is None
