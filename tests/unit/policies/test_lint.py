"""Independent linters find no problem in the policies that this collection writes, and find planted problems."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from policies import controller_role

from ansible_collections.cwagent.iam.plugins.module_utils._principals.role_plan import Ec2Trust, HybridTrust
from ansible_collections.cwagent.iam.plugins.module_utils._principals.window_policy import (
    Opening,
    WindowParameter,
    closed_policy,
    open_policy,
)

parliament = pytest.importorskip("parliament", reason="the policies are linted with the newest packages only")

DEADLINE = datetime(2026, 11, 24, 16, 15, 30, tzinfo=UTC)
PARAMETERS = tuple(WindowParameter("AmazonCloudWatch-linux", region) for region in ("eu-central-1", "us-east-1"))
CLOSED, OPEN = closed_policy(), open_policy(Opening(DEADLINE, "i-0123456789abcdef0", PARAMETERS))
OPEN_FOR_ALL = open_policy(Opening(DEADLINE))
TRUSTS = {
    "aws": Ec2Trust().new_policy(),
    "aws-cn": Ec2Trust("ec2.amazonaws.com.cn").new_policy(),
    "hybrid": HybridTrust("aws", "123456789012", frozenset({"eu-central-1", "us-east-1"})).new_policy(),
}
TRUST = TRUSTS["aws"]
# https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html: bytes, without a bucket
MAX_TEMPLATE = 51_200
CONTROLLER_POLICIES = {
    path.stem: json.loads(path.read_text())
    for path in sorted((Path(__file__).parents[3] / "examples" / "policies").glob("*.json"))
}


def with_statement(policy: dict[str, Any], **elements: Any) -> dict[str, Any]:
    [statement] = policy["Statement"]
    return {**policy, "Statement": [{**statement, **elements}]}


def with_condition(value: str, key: str = "aws:CurrentTime", operator: str = "DateGreaterThan") -> dict[str, Any]:
    return with_statement(CLOSED, Condition={operator: {key: value}})


def parliament_findings(policy: dict[str, Any]) -> list[str]:
    return [finding.issue for finding in parliament.analyze_policy_string(json.dumps(policy)).findings]


@pytest.mark.parametrize("policy", [CLOSED, OPEN, OPEN_FOR_ALL], ids=["closed", "open", "open for all"])
def test_parliament_finds_nothing_in_the_admin_window(policy):
    assert parliament_findings(policy) == []


EXPECTED_FINDINGS = {
    # A boundary grants nothing, so it need not list the log groups and documents.
    "boundary": {"RESOURCE_STAR"},
    # Of the operators for strings, AWS documents that they work:
    # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_iam-condition-keys.html
    "require-boundary": {"MISMATCHED_TYPE_BUT_USABLE"},
    # The document has no tags, so it has its own statement, as in AWS's example:
    # https://docs.aws.amazon.com/systems-manager/latest/userguide/run-command-setting-up.html
    "store-by-run-command-by-tag": {"RESOURCE_MISMATCH"},
}


@pytest.mark.parametrize("name", CONTROLLER_POLICIES)
def test_parliament_finds_nothing_else_in_the_example_policies(name):
    assert set(parliament_findings(CONTROLLER_POLICIES[name])) == EXPECTED_FINDINGS.get(name, set())


@pytest.mark.parametrize("policy", TRUSTS.values(), ids=TRUSTS)
def test_parliament_finds_only_the_missing_resource_in_a_trust_policy(policy):
    """It treats every policy as an identity-based one. A trust policy applies to its role and has no resource."""
    assert parliament_findings(policy) == ["MALFORMED"]
    assert parliament_findings(with_statement(policy, Resource="arn:aws:iam::123456789012:role/R")) == []


@pytest.mark.parametrize(
    ("policy", "issue"),
    [
        (with_statement(CLOSED, Action="ssm:PutParameters"), "UNKNOWN_ACTION"),
        (
            with_statement(CLOSED, Effect="Allow", Action="iam:PassRole", Resource="arn:aws:ec2:*:*:instance/*"),
            "RESOURCE_MISMATCH",
        ),
        (
            with_condition("arn:aws:iam::aws:policy/X", key="iam:PolicyARN", operator="ArnEquals"),
            "UNKNOWN_CONDITION_FOR_ACTION",
        ),
        (with_statement(CLOSED, Effect="deny"), "MALFORMED"),
        (with_statement(CLOSED, Effect="Allow", Resource="arn:aws:s3:::bucket"), "RESOURCE_MISMATCH"),
        (with_condition("tomorrow"), "MISMATCHED_TYPE"),
        (with_condition("2026-11-24 16:15:30"), "MISMATCHED_TYPE"),
        (with_condition("2026-11-24T16:15:30Z", operator="DateAfter"), "UNKNOWN_OPERATOR"),
        (with_condition("2026-11-24T16:15:30Z", key="aws:CurrentTimes"), "UNKNOWN_CONDITION_FOR_ACTION"),
        (
            with_statement(TRUST, Action="sts:AssumeRoles", Resource="arn:aws:iam::123456789012:role/R"),
            "UNKNOWN_ACTION",
        ),
        (
            with_statement(TRUST, Principal={"AWS": "ec2"}, Resource="arn:aws:iam::123456789012:role/R"),
            "UNKNOWN_PRINCIPAL",
        ),
    ],
)
def test_parliament_finds_a_planted_problem(policy, issue):
    assert issue in parliament_findings(policy)


def cfn_lint_findings(trust: dict[str, Any], *policies: dict[str, Any]) -> list[str]:
    from cfnlint.api import ManualArgs, lint

    inline = [{"PolicyName": f"P{number}", "PolicyDocument": policy} for number, policy in enumerate(policies)]
    properties = {"AssumeRolePolicyDocument": trust, "Policies": inline}
    role = {"Type": "AWS::IAM::Role", "Properties": properties}
    template = {"AWSTemplateFormatVersion": "2010-09-09", "Resources": {"R": role}}
    return [match.rule.id for match in lint(json.dumps(template), config=ManualArgs(regions=["eu-central-1"]))]


@pytest.mark.parametrize("trust", TRUSTS.values(), ids=TRUSTS)
def test_cfn_lint_finds_nothing_in_any_policy(trust):
    assert cfn_lint_findings(trust, CLOSED, OPEN, *CONTROLLER_POLICIES.values()) == []


def test_cfn_lint_finds_nothing_in_the_template_of_the_stack_set():
    from cfnlint.api import ManualArgs, lint

    template = controller_role()
    regions = ["eu-central-1", "cn-north-1", "us-gov-west-1"]
    assert [str(match) for match in lint(template, config=ManualArgs(regions=regions))] == []
    assert len(template.encode()) <= MAX_TEMPLATE


@pytest.mark.parametrize(
    ("trust", "policy", "rule"),
    [
        (with_statement(TRUST, Action="sts:AssumeRoles"), CLOSED, "W3037"),
        (with_statement(TRUST, Resource="*"), CLOSED, "E3530"),
        ({**TRUST, "Version": "2012-10-18"}, CLOSED, "E3530"),
        (TRUST, with_statement(CLOSED, Action="ssm:PutParameters"), "W3037"),
        (TRUST, with_statement(CLOSED, Sid="not-allowed"), "E3510"),
        (TRUST, with_condition("2026-11-24T16:15:30Z", operator="DateAfter"), "E3510"),
    ],
)
def test_cfn_lint_finds_a_planted_problem(trust, policy, rule):
    assert cfn_lint_findings(trust, policy) == [rule]
