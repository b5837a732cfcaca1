"""Statements of fitted policies go into documents and come back. The property test reads whatever was written."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.statements import (
    MAX_POLICIES,
    MAX_POLICY,
    Statement,
    check_number,
    check_size,
    covers_encrypted,
    describe,
    describe_each,
    grants_of,
    join,
    read_document,
    size_of,
    take_apart,
    to_document,
    to_shown,
)
from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput

NAMESPACE = ("StringEquals", "cloudwatch:namespace")
POLICY = "arn:aws:iam::123456789012:policy/cwagent/CloudWatchAgentFitted{}Policy"
SERVER, ADMIN = POLICY.format("Server"), POLICY.format("Admin")
GROUP = "arn:aws:logs:eu-central-1:123456789012:log-group"
PARAMETER = "arn:aws:ssm:eu-central-1:123456789012:parameter/AmazonCloudWatch-linux"
ANYWHERE = PARAMETER.replace("eu-central-1", "*")
LOGS = Statement(
    "sending log events", ("logs:CreateLogGroup", "logs:PutLogEvents"), (), (f"{GROUP}:a:*", f"{GROUP}:b:*")
)
METRICS = Statement("sending metrics", ("cloudwatch:PutMetricData",), NAMESPACE, ("CWAgent", "Shop"))


def document(*statements: Any) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def test_a_document_is_read_as_it_was_written() -> None:
    written = to_document([LOGS, METRICS])
    assert read_document(written, SERVER) == (take_apart([LOGS, METRICS]), [])
    assert to_document(join(read_document(written, SERVER)[0])) == written
    storing = to_document([Statement("storing", ("ssm:PutParameter",), (), (PARAMETER, ANYWHERE))])
    assert grants_of(read_document(storing, ADMIN)[0]) == {
        ("ssm:PutParameter", (), name) for name in (PARAMETER, ANYWHERE)
    }


def test_statements_of_one_use_with_other_actions_get_different_sids() -> None:
    more = Statement(LOGS.use, ("logs:PutLogEvents",), (), (f"{GROUP}:c:*",))
    written = to_document([LOGS, METRICS, more, more])
    assert [each["Sid"] for each in written["Statement"]] == [
        *("SendingLogEvents", "SendingMetrics", "SendingLogEvents2", "SendingLogEvents3")
    ]
    assert grants_of(read_document(written, SERVER)[0]) == grants_of([LOGS, METRICS, more])


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
        own, others = read_document(listed, SERVER)
        assert (own, bool(others)) == (found or [], found is None)
        assert read_document(listed, ADMIN)[0] == []
        assert read_document(listed, ADMIN)[1]
    assert read_document({}, SERVER) == ([], [])


WIDE = ("*", "arn:*", "arn:aws:*", "arn:aws:ssm:*:*:parameter/x", "arn:aws:ssm:eu-*:123456789012:parameter/x")
FOREIGN_PARAMETERS = (
    *("/prod/db/password", "prod", "cwagent/keys/CloudWatchAgentAdminUser", "AmazonCloudWatch", "AmazonCloudWatch-"),
    *("*", "?", "AmazonCloudWatch-*", "AmazonCloudWatch-?", "AmazonCloudWatch-${aws:username}", "xAmazonCloudWatch-a"),
    *("AmazonCloudWatch-a/../b", "amazoncloudwatch-linux"),
)
IN_NAMES = ("arn:aws:ssm:eu-central-1:123456789012:parameter/{}", "arn:aws:ssm:*:123456789012:parameter/{}:*")
ELSEWHERE = (
    *(PARAMETER.replace("123456789012", each) for each in ("210987654321", "*", "")),
    *(PARAMETER.replace("arn:aws:", each) for each in ("arn:aws-cn:", "arn:*:")),
    *(PARAMETER.replace("eu-central-1", each) for each in ("eu-*", "EU", "")),
)
NAMESPACES, CLUSTERS = ("StringLike", "cloudwatch:namespace"), ("ArnEquals", "ecs:cluster")
PARAMETER_KEY = ("StringLike", "kms:EncryptionContext:PARAMETER_ARN")


@pytest.mark.parametrize(
    ("policy", "actions", "condition", "names"),
    [
        # By action: wildcards, and actions of no row.
        *(
            (SERVER, [each], None, ["*"])
            for each in ("*", "iam:*", "logs:*", "ec2:*", "s3:GetObject", "EC2:DescribeTags", "ec2:describetags")
        ),
        (SERVER, [], None, ["*"]),
        # By resource: IAM can limit these actions.
        *(
            (SERVER, [action], None, [name])
            for action in ("ssm:GetParameter", "logs:PutLogEvents", "logs:PutRetentionPolicy", "aps:RemoteWrite")
            for name in WIDE
        ),
        *((SERVER, ["sts:AssumeRole"], None, [each]) for each in ("*", "arn:aws:iam::123456789012:role/*")),
        *((SERVER, ["sts:AssumeRole"], None, [f"arn:aws:iam::{each}:role/A"]) for each in ("*", "", "12345678901?")),
        *((SERVER, ["ssm:GetParameter"], None, [form.format(n)]) for form in IN_NAMES for n in FOREIGN_PARAMETERS),
        *((SERVER, ["ssm:GetParameter"], None, [each]) for each in ELSEWHERE),
        *((SERVER, ["kms:Decrypt"], PARAMETER_KEY, [IN_NAMES[0].format(each)]) for each in FOREIGN_PARAMETERS),
        *((SERVER, ["kms:Decrypt"], PARAMETER_KEY, [each]) for each in (*ELSEWHERE, "*", f"{PARAMETER}:*")),
        *((SERVER, [each], None, ["*"]) for each in ("kms:Decrypt", "cloudwatch:PutMetricData", "ecs:ListTasks")),
        *(
            (SERVER, ["logs:PutLogEvents"], None, [f"{GROUP}:a:*".replace(*each)])
            for each in (("123456789012", "210987654321"), ("arn:aws:", "arn:aws-cn:"), (":a:", ":${aws:username}:"))
        ),
        (SERVER, ["logs:PutLogEvents"], None, [f"{GROUP}:a"]),
        (SERVER, ["aps:RemoteWrite"], None, ["arn:aws:aps:eu-central-1:210987654321:workspace/ws-1"]),
        # By condition.
        (SERVER, ["cloudwatch:PutMetricData"], NAMESPACES, ["*"]),
        (SERVER, ["cloudwatch:PutMetricData"], ("StringNotEquals", "cloudwatch:namespace"), ["Shop"]),
        (SERVER, ["cloudwatch:PutMetricData"], NAMESPACE, ["${aws:username}"]),
        *(
            (SERVER, ["ecs:ListTasks"], CLUSTERS, [f"arn:aws:ecs:{each}:cluster/shop"])
            for each in ("eu-central-1:*", "*:123456789012", "eu-central-1:210987654321")
        ),
        (SERVER, ["ec2:DescribeTags"], ("StringEquals", "aws:RequestedRegion"), ["eu-central-1"]),
        (SERVER, ["ssm:GetParameter"], PARAMETER_KEY, [PARAMETER]),
        # By access.
        (SERVER, ["ssm:PutParameter"], None, [PARAMETER]),
        (ADMIN, ["ssm:GetParameter"], None, [PARAMETER]),
        *((ADMIN, ["ssm:PutParameter"], None, [each]) for each in (*WIDE, *ELSEWHERE)),
        *((ADMIN, ["ssm:PutParameter"], None, [IN_NAMES[0].format(each)]) for each in FOREIGN_PARAMETERS),
    ],
)
def test_statements_of_any_other_form_are_told_apart(
    policy: str, actions: list[str], condition: tuple[str, str] | None, names: list[str]
) -> None:
    statement: dict[str, Any] = {"Effect": "Allow", "Action": actions, "Resource": names}
    if condition:
        statement.update(Resource="*", Condition={condition[0]: {condition[1]: names}})
    own, others = read_document(document(statement), policy)
    assert own == []
    assert len(others) == 1


def test_a_part_of_a_statement_is_ours_if_somebody_has_extended_it() -> None:
    actions = ["logs:CreateLogGroup", "iam:PassRole", "logs:PutLogEvents"]
    names = [f"{GROUP}:a:*", "arn:aws:iam::123456789012:role/Admin"]
    extended = {"Sid": "SendingLogEvents", "Effect": "Allow", "Action": actions, "Resource": names}
    own, others = read_document(document(extended), SERVER)
    assert own == take_apart([replace(LOGS, names=(f"{GROUP}:a:*",))])
    assert others == [f"iam:PassRole on {names[0]}", *(f"{each} on {names[1]}" for each in actions)]


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ({"Sid": "By\x1b[31mHand", "Effect": "Deny", "Action": "*", "Resource": "*"}, "statement By[31mHand"),
        ({"Effect": "Deny", "Action": "*", "Resource": "*"}, "a statement without a Sid"),
        ("text", "a statement without a Sid"),
        ({"Effect": "Allow", "Action": "a:B", "Resource": "\x1b[2Jx"}, "a:B on [2Jx"),
        (
            {"Effect": "Allow", "Action": "a:B", "Resource": "*", "Condition": {"Bool": {"a:Key": "true"}}},
            "a:B with a:Key true",
        ),
        ({"Effect": "Allow", "Action": "a:B", "Resource": "x" * 193}, f"a:B on {'x' * 193}"),
        ({"Effect": "Allow", "Action": "a:B", "Resource": "x" * 6000}, f"a:B on {'x' * 193}…"),
    ],
)
def test_anything_else_is_described_in_short_and_printable_words(statement: Any, words: str) -> None:
    assert read_document(document(statement), SERVER) == ([], [words])


STATEMENTS = st.one_of(
    st.builds(
        Statement,
        st.sampled_from(["sending log events", "X-Ray"]),
        st.sampled_from([LOGS.actions, LOGS.actions[:1]]),
        st.just(()),
        st.lists(st.sampled_from([f"{GROUP}:a:*", f"{GROUP}:*:*", f"{GROUP}:b:*"]), min_size=1, max_size=3).map(tuple),
    ),
    st.builds(
        Statement, st.just("x"), st.just(METRICS.actions), st.just(NAMESPACE), st.sampled_from([("*",), ("a", "b")])
    ),
    st.just(Statement("reading tags", ("ec2:DescribeTags",))),
)


@given(st.lists(STATEMENTS, max_size=30))
def test_nothing_is_lost_on_the_way_to_a_document_and_back(statements: list[Statement]) -> None:
    written = to_document(join(take_apart(statements)))
    assert grants_of(read_document(written, SERVER)[0]) == grants_of(statements)
    assert read_document(written, SERVER)[1] == []
    assert len({each["Sid"] for each in written["Statement"]}) == len(written["Statement"])


def test_the_size_counts_no_white_space_and_the_longest_names() -> None:
    assert size_of([LOGS]) == len(str(to_document([LOGS])).replace(", ", ",").replace(": ", ":"))
    short = Statement("x", ("a:B",), (), ("arn:{partition}::{account}",))
    assert size_of([short]) == size_of([Statement("x", ("a:B",), (), ("arn:aws-us-gov::123456789012",))])


def test_more_policies_than_a_principal_can_have_are_refused() -> None:
    check_number(MAX_POLICIES)
    with pytest.raises(InvalidInput, match="more than 8 managed policies of 6144 characters"):
        check_number(MAX_POLICIES + 1)


READING = Statement("reading", ("ssm:GetParameter",), (), (PARAMETER,))
DECRYPTED = Statement("decrypting", ("kms:Decrypt",), PARAMETER_KEY, (PARAMETER,))
TAGS = Statement("reading tags", ("ec2:DescribeTags",))


@pytest.mark.parametrize(
    ("statements", "shown", "groups", "namespaces"),
    [
        ([LOGS, METRICS, READING], None, LOGS.names, METRICS.names),
        ([LOGS, METRICS, DECRYPTED], [*LOGS.names, *METRICS.names], LOGS.names, METRICS.names),
        ([LOGS, METRICS, DECRYPTED], [LOGS.names[1], "Shop"], [LOGS.names[1], 1], ["Shop", 1]),
        ([LOGS, METRICS, DECRYPTED], [], [2], [2]),
    ],
)
def test_output_counts_the_resources_of_encrypted_configurations(
    statements: list[Statement], shown: list[str] | None, groups: list[Any], namespaces: list[Any]
) -> None:
    foreign = {"Effect": "Deny", "Action": "*", "Resource": "*"}
    written = to_document([*statements, TAGS])
    found = to_shown({**written, "Statement": [*written["Statement"], foreign, "text"]}, shown)
    ends = {
        1: "1 not shown, because configurations are encrypted",
        2: "2 not shown, because configurations are encrypted",
    }
    assert found[0]["Resource"] == [ends.get(each, each) for each in groups]
    assert found[1]["Condition"]["StringEquals"]["cloudwatch:namespace"] == [
        ends.get(each, each) for each in namespaces
    ]
    assert found[2:] == [*to_document(statements)["Statement"][2:], *to_document([TAGS])["Statement"], foreign, "text"]
    assert [each["Sid"] for each in found[:3]] == [each["Sid"] for each in written["Statement"][:3]]


def test_a_description_counts_what_is_hidden() -> None:
    grants = grants_of([LOGS, METRICS, READING, DECRYPTED, TAGS])
    assert describe_each(grants, None) == [describe(each) for each in sorted(grants)]
    first = LOGS.names[0]
    found = describe_each(grants, [first, "Shop"])
    hidden = [each for each in found if "(not shown, because configurations are encrypted)" in each]
    assert len(hidden) == len(LOGS.actions) + len(METRICS.actions)
    assert all(" 1 (not shown" in each for each in hidden)
    assert {*found} - {*hidden} == {describe(each) for each in grants if each[2] in (first, "Shop", "*", PARAMETER)}


@pytest.mark.parametrize(
    ("documents", "expected"),
    [
        ([], False),
        ([[LOGS], [READING]], False),
        ([[LOGS], [DECRYPTED]], True),
        ([[DECRYPTED], [LOGS]], True),
    ],
)
def test_one_of_several_policies_covers_an_encrypted_configuration(
    documents: list[list[Statement]], expected: bool
) -> None:
    assert covers_encrypted([to_document(each) for each in documents]) == expected


def test_an_action_that_is_no_list_decrypts_too() -> None:
    listed = [{"Effect": "Allow", "Action": "kms:Decrypt", "Resource": "*"}, "text"]
    assert covers_encrypted([{"Statement": listed}])


FITTING = MAX_POLICY - size_of([replace(METRICS, names=("",))])


@pytest.mark.parametrize("length", [1, 2, 100, FITTING - 1, FITTING])
def test_a_statement_fits_a_policy_with_each_of_its_names(length: int) -> None:
    check_size([LOGS, replace(METRICS, names=("x", "x" * length))])


@pytest.mark.parametrize("length", [FITTING + 1, FITTING + 2, 7_000])
def test_a_statement_that_no_policy_can_have_is_refused(length: int) -> None:
    with pytest.raises(InvalidInput, match=f"^the statement for a name of {length:,} characters has [67],"):
        check_size([LOGS, replace(METRICS, names=("x", "x" * length))])
