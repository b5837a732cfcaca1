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
    assert read_document(written, "server") == (take_apart([LOGS, METRICS]), [])
    assert to_document(join(read_document(written, "server")[0])) == written
    storing = to_document([Statement("storing", ("ssm:PutParameter",), (), (PARAMETER, ANYWHERE))])
    assert grants_of(read_document(storing, "admin")[0]) == {
        ("ssm:PutParameter", (), name) for name in (PARAMETER, ANYWHERE)
    }


def test_statements_of_one_use_with_other_actions_get_different_sids() -> None:
    more = Statement(LOGS.use, ("logs:PutLogEvents",), (), ("arn:c",))
    written = to_document([LOGS, METRICS, more, more])
    assert [each["Sid"] for each in written["Statement"]] == [
        *("SendingLogEvents", "SendingMetrics", "SendingLogEvents2", "SendingLogEvents3")
    ]
    assert grants_of(read_document(written, "server")[0]) == grants_of([LOGS, METRICS, more])


GROUP = "arn:aws:logs:eu-central-1:123456789012:log-group"
PARAMETER = "arn:aws:ssm:eu-central-1:123456789012:parameter/AmazonCloudWatch-linux"
ANYWHERE = PARAMETER.replace("eu-central-1", "*")
DECRYPTING = {"StringLike": {"kms:EncryptionContext:PARAMETER_ARN": PARAMETER}}


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        (
            {"Effect": "Allow", "Action": "logs:PutLogEvents", "Resource": f"{GROUP}:*:*"},
            [Statement("", ("logs:PutLogEvents",), (), (f"{GROUP}:*:*",))],
        ),
        (
            {"Effect": "Allow", "Action": ["kms:Decrypt"], "Resource": "*", "Condition": DECRYPTING},
            [Statement("", ("kms:Decrypt",), ("StringLike", "kms:EncryptionContext:PARAMETER_ARN"), (PARAMETER,))],
        ),
        (
            {"Effect": "Allow", "Action": "ssm:GetParameter", "Resource": [ANYWHERE, f"{ANYWHERE}:*"]},
            [Statement("", ("ssm:GetParameter",), (), (name,)) for name in (ANYWHERE, f"{ANYWHERE}:*")],
        ),
        (
            {"Effect": "Allow", "Action": ["ec2:DescribeTags"], "Resource": "*"},
            [Statement("", ("ec2:DescribeTags",), (), ("*",))],
        ),
        # AWS limits these of the row of ECS by nothing.
        (
            {"Effect": "Allow", "Action": ["ec2:DescribeInstances", "ecs:DescribeTaskDefinition"], "Resource": "*"},
            [Statement("", ("ec2:DescribeInstances", "ecs:DescribeTaskDefinition"), (), ("*",))],
        ),
        ({"Effect": "Deny", "Action": "logs:PutLogEvents", "Resource": f"{GROUP}:a:*"}, None),
        ({"Effect": "Allow", "NotAction": "logs:PutLogEvents", "Resource": f"{GROUP}:a:*"}, None),
        ({"Effect": "Allow", "Action": "logs:PutLogEvents", "NotResource": f"{GROUP}:a:*"}, None),
        (
            {"Effect": "Allow", "Action": "kms:Decrypt", "Resource": "arn:a", "Condition": DECRYPTING},
            None,
        ),
        (
            {"Effect": "Allow", "Action": "a:B", "Resource": "*", "Condition": {"Bool": {"k": "true", "l": "true"}}},
            None,
        ),
        ("text", None),
    ],
)
def test_statements_that_are_never_written_are_told_apart(statement: Any, found: list[Statement] | None) -> None:
    for listed in (document(statement), {"Statement": statement}):
        assert read_document(listed, "server") == (([], [statement]) if found is None else (found, []))
        assert read_document(listed, "admin") == ([], [statement])
    assert read_document({}, "server") == ([], [])


WIDE = ("*", "arn:*", "arn:aws:*", "arn:aws:ssm:*:*:parameter/x", "arn:aws:ssm:eu-*:123456789012:parameter/x")


@pytest.mark.parametrize(
    ("access", "actions", "condition", "names"),
    [
        # By action: wildcards, actions of no row, and the actions of two rows together.
        *(("server", [each], None, ["*"]) for each in ("*", "iam:*", "logs:*", "ec2:*", "s3:GetObject")),
        ("server", ["ec2:DescribeTags", "ec2:DescribeVolumes"], None, ["*"]),
        ("server", [], None, ["*"]),
        # By resource: IAM can limit these actions.
        *(
            ("server", [action], None, [name])
            for action in ("ssm:GetParameter", "logs:PutLogEvents", "logs:PutRetentionPolicy", "aps:RemoteWrite")
            for name in WIDE
        ),
        *(("server", ["sts:AssumeRole"], None, [each]) for each in ("*", "arn:aws:iam::123456789012:role/*")),
        ("server", ["ssm:GetParameter"], None, ["arn:aws:ssm:*:123456789012:parameter/*"]),
        ("server", ["ssm:GetParameter"], None, [PARAMETER, "arn:aws:ssm:*:123456789012:parameter/?"]),
        *(("server", [each], None, ["*"]) for each in ("kms:Decrypt", "cloudwatch:PutMetricData", "ecs:ListTasks")),
        # By condition.
        ("server", ["cloudwatch:PutMetricData"], ("StringLike", "cloudwatch:namespace"), ["*"]),
        ("server", ["cloudwatch:PutMetricData"], ("StringNotEquals", "cloudwatch:namespace"), ["Shop"]),
        ("server", ["ecs:ListTasks"], ("ArnEquals", "ecs:cluster"), ["arn:aws:ecs:eu-central-1:*:cluster/shop"]),
        ("server", ["kms:Decrypt"], ("StringLike", "kms:EncryptionContext:PARAMETER_ARN"), ["*"]),
        ("server", ["ec2:DescribeTags"], ("StringEquals", "aws:RequestedRegion"), ["eu-central-1"]),
        # By access.
        ("server", ["ssm:PutParameter"], None, [PARAMETER]),
        ("admin", ["ssm:GetParameter"], None, [PARAMETER]),
        *(("admin", ["ssm:PutParameter"], None, [each]) for each in WIDE),
    ],
)
def test_statements_that_are_wider_than_any_that_is_written_are_told_apart(
    access: str, actions: list[str], condition: tuple[str, str] | None, names: list[str]
) -> None:
    statement: dict[str, Any] = {"Effect": "Allow", "Action": actions, "Resource": names}
    if condition:
        statement.update(Resource="*", Condition={condition[0]: {condition[1]: names}})
    assert read_document(document(statement), access) == ([], [statement])


STATEMENTS = st.one_of(
    st.builds(
        Statement,
        st.sampled_from(["sending log events", "X-Ray"]),
        st.sampled_from([LOGS.actions, LOGS.actions[:1]]),
        st.just(()),
        st.lists(st.sampled_from(["arn:a", f"{GROUP}:*:*", f"{GROUP}:b:*"]), min_size=1, max_size=3).map(tuple),
    ),
    st.builds(
        Statement, st.just("x"), st.just(METRICS.actions), st.just(NAMESPACE), st.sampled_from([("*",), ("a", "b")])
    ),
    st.just(Statement("reading tags", ("ec2:DescribeTags",))),
)


@given(st.lists(STATEMENTS, max_size=30))
def test_nothing_is_lost_on_the_way_to_a_document_and_back(statements: list[Statement]) -> None:
    written = to_document(join(take_apart(statements)))
    assert grants_of(read_document(written, "server")[0]) == grants_of(statements)
    assert read_document(written, "server")[1] == []
    assert len({each["Sid"] for each in written["Statement"]}) == len(written["Statement"])


def test_the_size_counts_no_white_space_and_the_longest_names() -> None:
    assert size_of([LOGS]) == len(str(to_document([LOGS])).replace(", ", ",").replace(": ", ":"))
    short = Statement("x", ("a:B",), (), ("arn:{partition}::{account}",))
    assert size_of([short]) == size_of([Statement("x", ("a:B",), (), ("arn:aws-us-gov::123456789012",))])


def test_more_policies_than_a_principal_can_have_are_refused() -> None:
    check_number(MAX_POLICIES)
    with pytest.raises(InvalidInput, match="more than 8 managed policies of 6144 characters"):
        check_number(MAX_POLICIES + 1)
