"""Linters that know nothing of this collection find nothing in the policies it writes, and find what is planted."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.plan import open_policy
from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.policy import closed_policy
from ansible_collections.cwagent.iam.plugins.module_utils._role.plan import trust_policy

parliament = pytest.importorskip("parliament", reason="the policies are linted with the newest packages only")

CLOSED, OPEN = closed_policy(), open_policy(datetime(2026, 11, 24, 16, 15, 30, tzinfo=UTC))
TRUSTS = [trust_policy("ec2.amazonaws.com"), trust_policy("ec2.amazonaws.com.cn")]
TRUST = TRUSTS[0]
DUTIES = {
    path.stem: json.loads(path.read_text())
    for path in sorted((Path(__file__).parents[3] / "examples" / "policies").glob("*.json"))
}


def changed(policy: dict[str, Any], **elements: Any) -> dict[str, Any]:
    [statement] = policy["Statement"]
    return {**policy, "Statement": [{**statement, **elements}]}


def until(text: str, key: str = "aws:CurrentTime", operator: str = "DateGreaterThan") -> dict[str, Any]:
    return changed(CLOSED, Condition={operator: {key: text}})


def parliament_finds(policy: dict[str, Any]) -> list[str]:
    return [finding.issue for finding in parliament.analyze_policy_string(json.dumps(policy)).findings]


@pytest.mark.parametrize("policy", [CLOSED, OPEN], ids=["closed", "open"])
def test_parliament_finds_nothing_in_the_admin_window(policy):
    assert parliament_finds(policy) == []


@pytest.mark.parametrize("policy", DUTIES.values(), ids=DUTIES)
def test_parliament_finds_nothing_in_the_policies_for_the_controller(policy):
    assert parliament_finds(policy) == []


@pytest.mark.parametrize("policy", TRUSTS, ids=["aws", "aws-cn"])
def test_parliament_finds_in_a_trust_policy_only_that_it_names_no_resource(policy):
    """It takes every policy for one on an identity; a trust policy is about the role it is on and names none."""
    assert parliament_finds(policy) == ["MALFORMED"]
    assert parliament_finds(changed(policy, Resource="arn:aws:iam::123456789012:role/R")) == []


@pytest.mark.parametrize(
    ("policy", "issue"),
    [
        (changed(CLOSED, Action="ssm:PutParameters"), "UNKNOWN_ACTION"),
        (
            changed(CLOSED, Effect="Allow", Action="iam:PassRole", Resource="arn:aws:ec2:*:*:instance/*"),
            "RESOURCE_MISMATCH",
        ),
        (until("arn:aws:iam::aws:policy/X", key="iam:PolicyARN", operator="ArnEquals"), "UNKNOWN_CONDITION_FOR_ACTION"),
        (changed(CLOSED, Effect="deny"), "MALFORMED"),
        (changed(CLOSED, Effect="Allow", Resource="arn:aws:s3:::bucket"), "RESOURCE_MISMATCH"),
        (until("tomorrow"), "MISMATCHED_TYPE"),
        (until("2026-11-24 16:15:30"), "MISMATCHED_TYPE"),
        (until("2026-11-24T16:15:30Z", operator="DateAfter"), "UNKNOWN_OPERATOR"),
        (until("2026-11-24T16:15:30Z", key="aws:CurrentTimes"), "UNKNOWN_CONDITION_FOR_ACTION"),
        (changed(TRUST, Action="sts:AssumeRoles", Resource="arn:aws:iam::123456789012:role/R"), "UNKNOWN_ACTION"),
        (
            changed(TRUST, Principal={"AWS": "ec2"}, Resource="arn:aws:iam::123456789012:role/R"),
            "UNKNOWN_PRINCIPAL",
        ),
    ],
)
def test_parliament_finds_what_is_planted(policy, issue):
    assert issue in parliament_finds(policy)


def cfn_lint_finds(trust: dict[str, Any], *policies: dict[str, Any]) -> list[str]:
    from cfnlint.api import ManualArgs, lint

    inline = [{"PolicyName": f"P{number}", "PolicyDocument": policy} for number, policy in enumerate(policies)]
    properties = {"AssumeRolePolicyDocument": trust, "Policies": inline}
    template = {"AWSTemplateFormatVersion": "2010-09-09", "Resources": {"R": {"Type": "AWS::IAM::Role"}}}
    template["Resources"]["R"]["Properties"] = properties
    return [match.rule.id for match in lint(json.dumps(template), config=ManualArgs(regions=["eu-central-1"]))]


@pytest.mark.parametrize("trust", TRUSTS, ids=["aws", "aws-cn"])
def test_cfn_lint_finds_nothing(trust):
    assert cfn_lint_finds(trust, CLOSED, OPEN, *DUTIES.values()) == []


@pytest.mark.parametrize(
    ("trust", "policy", "rule"),
    [
        (changed(TRUST, Action="sts:AssumeRoles"), CLOSED, "W3037"),
        (changed(TRUST, Resource="*"), CLOSED, "E3530"),
        ({**TRUST, "Version": "2012-10-18"}, CLOSED, "E3530"),
        (TRUST, changed(CLOSED, Action="ssm:PutParameters"), "W3037"),
        (TRUST, changed(CLOSED, Sid="not-allowed"), "E3510"),
        (TRUST, until("2026-11-24T16:15:30Z", operator="DateAfter"), "E3510"),
    ],
)
def test_cfn_lint_finds_what_is_planted(trust, policy, rule):
    assert cfn_lint_finds(trust, policy) == [rule]
