"""Statements of fitted policies go into documents and come back. The property test reads whatever was written."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.statements import (
    MAX_POLICIES,
    Statement,
    check_number,
    grants_of,
    join,
    read_document,
    size_of,
    take_apart,
    to_document,
)
from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput

NAMESPACE = ("StringEquals", "cloudwatch:namespace")
LOGS = Statement("sending log events", ("logs:CreateLogGroup", "logs:PutLogEvents"), (), ("arn:a", "arn:b"))
METRICS = Statement("sending metrics", ("cloudwatch:PutMetricData",), NAMESPACE, ("CWAgent", "Shop"))


def document(*statements: Any) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def test_a_document_is_read_as_it_was_written() -> None:
    written = to_document([LOGS, METRICS])
    assert read_document(written) == (take_apart([LOGS, METRICS]), [])
    assert to_document(join(read_document(written)[0])) == written


def test_statements_of_one_use_with_other_actions_get_different_sids() -> None:
    more = Statement(LOGS.use, ("logs:PutLogEvents",), (), ("arn:c",))
    written = to_document([LOGS, METRICS, more, more])
    assert [each["Sid"] for each in written["Statement"]] == [
        *("SendingLogEvents", "SendingMetrics", "SendingLogEvents2", "SendingLogEvents3")
    ]
    assert grants_of(read_document(written)[0]) == grants_of([LOGS, METRICS, more])


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ({"Effect": "Allow", "Action": "s3:Get*", "Resource": "*"}, [Statement("", ("s3:Get*",), (), ("*",))]),
        (
            {"Effect": "Allow", "Action": ["a:B"], "Resource": "*", "Condition": {"StringLike": {"k": "v"}}},
            [Statement("", ("a:B",), ("StringLike", "k"), ("v",))],
        ),
        ({"Effect": "Deny", "Action": "a:B", "Resource": "*"}, None),
        ({"Effect": "Allow", "NotAction": "a:B", "Resource": "*"}, None),
        ({"Effect": "Allow", "Action": "a:B", "NotResource": "*"}, None),
        ({"Effect": "Allow", "Action": "a:B", "Resource": "arn:a", "Condition": {"Bool": {"k": "true"}}}, None),
        (
            {"Effect": "Allow", "Action": "a:B", "Resource": "*", "Condition": {"Bool": {"k": "true", "l": "true"}}},
            None,
        ),
        ("text", None),
    ],
)
def test_statements_that_are_never_written_are_told_apart(statement: Any, found: list[Statement] | None) -> None:
    for listed in (document(statement), {"Statement": statement}):
        assert read_document(listed) == (([], [statement]) if found is None else (found, []))
    assert read_document({}) == ([], [])


STATEMENTS = st.builds(
    Statement,
    st.sampled_from(["sending log events", "sending metrics", "X-Ray"]),
    st.sampled_from([("a:B",), ("a:C", "a:D")]),
    st.sampled_from([(), NAMESPACE]),
    st.lists(st.sampled_from(["arn:a", "arn:b", "*", "Shop"]), min_size=1, max_size=3).map(tuple),
)


@given(st.lists(STATEMENTS, max_size=8))
def test_nothing_is_lost_on_the_way_to_a_document_and_back(statements: list[Statement]) -> None:
    written = to_document(join(take_apart(statements)))
    assert grants_of(read_document(written)[0]) == grants_of(statements)
    assert len({each["Sid"] for each in written["Statement"]}) == len(written["Statement"])


def test_the_size_counts_no_white_space_and_the_longest_names() -> None:
    assert size_of([LOGS]) == len(str(to_document([LOGS])).replace(", ", ",").replace(": ", ":"))
    short = Statement("x", ("a:B",), (), ("arn:{partition}::{account}",))
    assert size_of([short]) == size_of([Statement("x", ("a:B",), (), ("arn:aws-us-gov::123456789012",))])


def test_more_policies_than_a_principal_can_have_are_refused() -> None:
    check_number(MAX_POLICIES)
    with pytest.raises(InvalidInput, match="more than 8 managed policies of 6144 characters"):
        check_number(MAX_POLICIES + 1)
