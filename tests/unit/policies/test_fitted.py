"""A fitted policy allows the calls of agents with its configurations, and no neighbour, as three evaluators decide."""

from __future__ import annotations

import json

import fitted
import pytest
from fitted import ACCOUNT, Call
from simulator import Request as Simulated

from ansible_collections.cwagent.iam.plugins.module_utils._accounts.evaluate import (
    Decision,
    Policies,
    RequestKeys,
    decide,
)
from ansible_collections.cwagent.iam.plugins.module_utils._configuration.permissions import ROWS, permissions_of
from ansible_collections.cwagent.iam.plugins.module_utils._configuration.policy import read_document

PRINCIPAL = f"arn:aws:iam::{ACCOUNT}:role/CloudWatchAgentServerRole"
CALLS = [*fitted.ALLOWED, *fitted.NEIGHBOURS]
EXPECTED = [*(True for _each in fitted.ALLOWED), *(False for _each in fitted.NEIGHBOURS)]
ROOT = {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}
# The key policy and the trust policy leave the decision to the policies of the principal.
RESOURCE_POLICIES = {
    action: {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": ROOT, "Action": action, **resource}],
    }
    for action, resource in (("kms:Decrypt", {"Resource": "*"}), ("sts:AssumeRole", {}))
}


def test_the_configurations_have_every_row_that_can_be_limited():
    configs = (fitted.LINUX, fitted.WINDOWS, fitted.CENTRAL)
    uses = {need.row.use for each in configs for need in permissions_of(each) if not need.role}
    without = {"sending OpenTelemetry metrics", "sending OpenTelemetry traces"}
    assert {row.use for row in ROWS} - uses == without


@pytest.fixture(params=[fitted.policies, fitted.managed_policies], ids=["printed", "managed"])
def documents(request):
    return request.param()


def test_each_statement_counts_as_written_by_this_collection(documents):
    arn = f"arn:aws:iam::{ACCOUNT}:policy/cwagent/CloudWatchAgentFittedServerPolicy"
    assert [other for each in documents for other in read_document(each, arn)[1]] == []


def test_each_sid_is_valid_and_occurs_once(documents):
    for policy in documents:
        sids = [each["Sid"] for each in policy["Statement"]]
        assert len({*sids}) == len(sids)
        assert all(each.isascii() and each.isalnum() for each in sids)


def wrong(decided: list[bool], calls: list[Call] = CALLS) -> list[Call]:
    """The calls that are decided otherwise than expected."""
    expected = dict(zip(map(repr, CALLS), EXPECTED, strict=True))
    return [each for each, allowed in zip(calls, decided, strict=True) if allowed != expected[repr(each)]]


def test_our_evaluator_allows_the_calls_and_no_neighbour(documents):
    policies = Policies(documents)
    decided = [decide(policies, each.action, each.resource, RequestKeys(each.context)) for each in CALLS]
    assert Decision.UNKNOWN not in decided
    assert wrong([each is Decision.YES for each in decided]) == []


def test_the_simulator_allows_the_calls_and_no_neighbour(simulator, documents):
    """It does not know the condition keys for the encryption context of KMS, so these calls are not asked."""
    calls = [each for each in CALLS if not (each.action == "kms:Decrypt" and each.context)]
    decided = simulator.decide(
        Simulated(
            each.action,
            each.resource,
            documents,
            resource_policy=RESOURCE_POLICIES.get(each.action),
            principal=PRINCIPAL,
            context=each.context,
        )
        for each in calls
    )
    assert wrong(decided, calls) == []


def test_the_emulator_allows_the_calls_and_no_neighbour(aws, documents):
    """It takes no condition keys from the caller, so the calls with one are not asked."""
    iam = aws.client("iam")
    user = f"fitted-{len(iam.list_users()['Users'])}"
    iam.create_user(UserName=user)
    for number, policy in enumerate(documents):
        iam.put_user_policy(UserName=user, PolicyName=f"P{number}", PolicyDocument=json.dumps(policy))
    calls, decided = [each for each in CALLS if not each.context], []
    for each in calls:
        [result] = iam.simulate_principal_policy(
            PolicySourceArn=f"arn:aws:iam::{ACCOUNT}:user/{user}",
            ActionNames=[each.action],
            ResourceArns=[each.resource],
        )["EvaluationResults"]
        decided.append(result["EvalDecision"] == "allowed")
    assert wrong(decided, calls) == []
