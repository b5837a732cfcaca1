"""Anything that somebody adds to a fitted policy is removed, unless the compiler writes it for the account's texts."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils._accounts.covered_versions import Known, Text, known_grants
from ansible_collections.cwagent.iam.plugins.module_utils._accounts.evaluate import Decision, Policies, decide
from ansible_collections.cwagent.iam.plugins.module_utils._configuration.policy import (
    Scope,
    Statement,
    join,
    take_apart,
    to_document,
)
from ansible_collections.cwagent.iam.plugins.module_utils._fitting.fitted_plan import (
    Covered,
    DesiredPolicies,
    FittedPolicy,
    PolicyVersion,
    State,
    foreign_warnings,
    plan,
    wide_reasons,
)

ACCOUNT, REGION, NAME = "123456789012", "eu-central-1", "AmazonCloudWatch-linux"
SERVER = "CloudWatchAgentFittedServerPolicy"
ARN = f"arn:aws:iam::{ACCOUNT}:policy/cwagent/{SERVER}"
ROLE = "arn:aws:iam::210987654321:role/Central"
CONFIG = {
    "agent": {"credentials": {"role_arn": ROLE}},
    "metrics": {"namespace": "Shop", "metrics_collected": {"mem": {}}, "credentials": {}},
    "logs": {"logs_collected": {"files": {"collect_list": [{"file_path": "/a", "log_group_name": "shop"}]}}},
}
PLAIN = {key: value for key, value in CONFIG.items() if key != "agent"}
TEXTS = [Text(NAME, REGION, json.dumps(each), NAME) for each in (CONFIG, PLAIN)]
KNOWN = known_grants(TEXTS, (), Scope("aws", ACCOUNT)).grants
NEEDED = take_apart(
    Statement("x", (action,), (condition[0], condition[1]) if condition else (), (name,))
    for action, condition, name in sorted(KNOWN)
)

IN_ACCOUNT = st.sampled_from([ACCOUNT, ACCOUNT, "210987654321", "*", ""])
PARTITIONS = st.sampled_from(["aws", "aws", "aws-cn", "*"])
REGIONS = st.sampled_from([REGION, "us-east-1", "*", "eu-*"])
PARAMETERS = st.sampled_from(
    [
        NAME,
        f"{NAME}:*",
        "prod/db/password",
        "AmazonCloudWatch-*",
        "*",
        "cwagent/keys/Admin",
        "AmazonCloudWatch-${aws:x}",
    ]
)
LOG_GROUPS = st.sampled_from(["shop:*", "shop", "*:*", "shop*:*", "audit:*", "${aws:username}:*"])
RESOURCES = st.one_of(
    st.just("*"),
    st.builds("arn:{}:ssm:{}:{}:parameter/{}".format, PARTITIONS, REGIONS, IN_ACCOUNT, PARAMETERS),
    st.builds("arn:{}:logs:{}:{}:log-group:{}".format, PARTITIONS, REGIONS, IN_ACCOUNT, LOG_GROUPS),
    st.builds("arn:aws:iam::{}:role/{}".format, st.sampled_from(["210987654321", ACCOUNT, "*"]), st.sampled_from("A*")),
    st.sampled_from([ROLE, f"{ROLE}2", "arn:aws:s3:::shop/*"]),
)
ACTIONS = st.sampled_from(
    [
        *("*", "iam:*", "logs:*", "ssm:*", "s3:GetObject", "SSM:GetParameter", "ssm:PutParameter"),
        *("ssm:GetParameter", "kms:Decrypt", "sts:AssumeRole", "logs:PutLogEvents", "logs:CreateLogGroup"),
        *("cloudwatch:PutMetricData", "ec2:DescribeTags", "xray:PutTraceSegments", "aps:RemoteWrite"),
    ]
)
CONDITIONS = st.one_of(
    st.just({}),
    st.builds(
        lambda operator, key, value: {operator: {key: value}},
        st.sampled_from(["StringEquals", "StringLike", "StringNotEquals", "ArnEquals"]),
        st.sampled_from(["cloudwatch:namespace", "kms:EncryptionContext:PARAMETER_ARN", "ecs:cluster"]),
        st.one_of(RESOURCES, st.sampled_from(["Shop", "Blog", "S*", "CWAgent"])),
    ),
)
PLACES = st.sampled_from(["Resource", "Resource", "NotResource"])
VERBS = st.sampled_from(["Action", "Action", "Action", "NotAction"])


@st.composite
def statements(draw: Any) -> dict[str, Any]:
    """A statement that somebody could write."""
    condition = draw(CONDITIONS)
    resources = ["*"] if condition and draw(st.booleans()) else draw(st.lists(RESOURCES, min_size=1, max_size=2))
    return {
        "Effect": draw(st.sampled_from(["Allow", "Allow", "Allow", "Deny"])),
        draw(VERBS): draw(st.lists(ACTIONS, min_size=1, max_size=3, unique=True)),
        draw(PLACES): resources,
        **({"Condition": condition} if condition else {}),
    }


def written(statement: dict[str, Any]) -> bool:
    """Whether the compiler writes a statement with each action for each name, read without its code."""
    if statement["Effect"] == "Deny" or {"NotAction", "NotResource"} & statement.keys():
        return False
    condition: tuple[str, ...] = ()
    names = statement["Resource"]
    for operator, keys in statement.get("Condition", {}).items():
        [(key, value)] = keys.items()
        if names != ["*"]:
            return False
        condition, names = (operator, key), [value]
    own = f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/{NAME}"
    decrypt = ("kms:Decrypt", ("StringLike", "kms:EncryptionContext:PARAMETER_ARN"), own)
    return all((action, condition, name) in KNOWN | {decrypt} for action in statement["Action"] for name in names)


def parts_of(document: Any) -> set[tuple[str, ...]]:
    """Everything in a document, read without the compiler's code. Only the Sids of statements make no difference."""
    found: set[tuple[str, ...]] = set()
    for each in document["Statement"]:
        assert each.keys() <= {"Sid", "Effect", "Action", "Resource", "Condition"}
        names = each["Resource"] if isinstance(each["Resource"], list) else [each["Resource"]]
        conditions = [
            f"{operator} {key} {value}"
            for operator, keys in each.get("Condition", {}).items()
            for key, values in keys.items()
            for value in values
        ]
        found |= {
            (each["Effect"], action, name, condition)
            for action in each["Action"]
            for name in names
            for condition in conditions or [""]
        }
    return found


def desired(*, narrow: bool) -> DesiredPolicies:
    covered = Covered(frozenset({(REGION, NAME)}), frozenset({REGION}), has_all_regions=True, known=Known(KNOWN))
    return DesiredPolicies("aws", ACCOUNT, {"server": NEEDED}, narrow=narrow, covered=covered)


@given(statements(), st.booleans(), st.booleans())
def test_a_statement_that_the_compiler_does_not_write_is_removed(
    statement: dict[str, Any], is_first: bool, narrow: bool
) -> None:
    document = to_document(join(NEEDED))
    listed = [statement, *document["Statement"]] if is_first else [*document["Statement"], statement]
    version = PolicyVersion("v1", True, {**document, "Statement": listed}, ARN)
    current = State(
        {SERVER: FittedPolicy(SERVER, ARN, {"cwagent:managed": "created"}, (version,))},
        datetime(2026, 3, 1, tzinfo=UTC),
    )
    made = plan(current, desired(narrow=narrow))
    [found] = made.planned.policies.values()
    if written(statement):
        assert made.all_steps == []
    elif not _reads_a_parameter_elsewhere(statement):
        assert parts_of(found.default.document) == parts_of(document)
        assert made.all_steps
        assert foreign_warnings(made, desired(narrow=narrow))
        assert not narrow or wide_reasons(current, desired(narrow=True)) == []
    for action, _condition, name in KNOWN:
        if not _condition:
            assert decide(Policies([found.default.document]), action, name) is Decision.YES


def _reads_a_parameter_elsewhere(statement: dict[str, Any]) -> bool:
    """Whether it allows reading a parameter of this name in other regions, which can have been deleted there."""
    values = json.dumps([statement.get("Resource"), statement.get("Condition")])
    return bool(re.search(rf"arn:aws:ssm:(?!{REGION}:)[^:]+:{ACCOUNT}:parameter/{NAME}", values))


@given(st.integers(0, 3))
def test_a_name_that_is_added_to_a_statement_is_removed_alone(number: int) -> None:
    document = to_document(join(NEEDED))
    edited = json.loads(json.dumps(document))
    target = [each for each in edited["Statement"] if each["Resource"] != "*"][number % 3]
    target["Resource"].append("arn:aws:iam::123456789012:role/Admin")
    version = PolicyVersion("v1", True, edited, ARN)
    policy = FittedPolicy(SERVER, ARN, {"cwagent:managed": "created"}, (version,))
    made = plan(State({SERVER: policy}, datetime(2026, 3, 1, tzinfo=UTC)), desired(narrow=False))
    assert made.planned.policies[SERVER].default.document == document
