"""The policies in examples/policies: what they allow and deny, decided by a simulation that shares no code with the
emulators; and that the documentation shows the same text.
"""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._admin_instance.plan import RESTORE_TAG, record_key
from ansible_collections.cwagent.iam.plugins.module_utils._principal.policies import agent_policies

CHECKOUT = Path(__file__).parents[3]
PAGE = CHECKOUT / "docs" / "docsite" / "rst" / "permissions.rst"
FILES = sorted((CHECKOUT / "examples" / "policies").glob("*.json"))
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html, not counting white space
MAX_MANAGED_POLICY = 6144

IAM, EC2 = "arn:aws:iam::123456789012:", "arn:aws:ec2:eu-central-1:123456789012:"
SSM, KMS = "arn:aws:ssm:eu-central-1:123456789012:", "arn:aws:kms:eu-central-1:123456789012:"
SECRETS = "arn:aws:secretsmanager:eu-central-1:123456789012:"
SAVED_SECRET, PENDING_SECRET = (f"/cwagent/credentials/{name}-a1B2c3" for name in ("x", "x.pending"))
SERVER, ADMIN = f"{IAM}role/CloudWatchAgentServerRole", f"{IAM}role/CloudWatchAgentAdminRole"
USER, ADMIN_USER = f"{IAM}user/CloudWatchAgentServerUser-db1", f"{IAM}user/CloudWatchAgentAdminUser"
INSTANCE, OTHER_ROLE, OTHER_USER = f"{EC2}instance/i-1", f"{IAM}role/Other", f"{IAM}user/controller"
PASSED_TO, POLICY_ARN, TAG_KEYS = "iam:PassedToService", "iam:PolicyARN", "aws:TagKeys"
TO_EC2, TO_LAMBDA = {PASSED_TO: "ec2.amazonaws.com"}, {PASSED_TO: "lambda.amazonaws.com"}
RECORD, MARK = record_key("eu-central-1", "i-0123456789abcdef0"), "cwagent:managed"
AGENT_POLICY = {POLICY_ARN: "arn:aws:iam::aws:policy/CloudWatchAgentServerPolicy"}
ADMINISTRATOR_POLICY = {POLICY_ARN: "arn:aws:iam::aws:policy/AdministratorAccess"}
VIA_SSM, VIA_SECRETS = ({"kms:ViaService": f"{name}.eu-central-1.amazonaws.com"} for name in ("ssm", "secretsmanager"))
# The key policy that KMS gives a key leaves the decision to IAM.
KEY_POLICY = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"AWS": f"{IAM}root"}, "Action": "kms:*", "Resource": "*"}],
}

Case = tuple[str, str, str, dict[str, str], bool]
CASES: list[Case] = [
    *(
        case
        for duty in ("provision", "store-configuration")
        for case in (
            (duty, "iam:PassRole", SERVER, TO_EC2, True),
            (duty, "iam:PassRole", ADMIN, TO_EC2, True),
            (duty, "iam:PassRole", SERVER, TO_LAMBDA, False),
            (duty, "iam:PassRole", SERVER, {}, False),
            (duty, "iam:PassRole", OTHER_ROLE, TO_EC2, False),
            (duty, "iam:PutRolePolicy", ADMIN, {}, True),
            (duty, "iam:PutRolePolicy", SERVER, {}, False),
            (duty, "iam:PutUserPolicy", ADMIN_USER, {}, True),
            (duty, "iam:PutUserPolicy", USER, {}, False),
            (duty, "iam:PutUserPolicy", OTHER_USER, {}, False),
            (duty, "ec2:CreateTags", INSTANCE, {TAG_KEYS: RESTORE_TAG}, True),
            (duty, "ec2:CreateTags", INSTANCE, {TAG_KEYS: "Name"}, False),
            (duty, "ec2:CreateTags", f"{EC2}volume/vol-1", {TAG_KEYS: RESTORE_TAG}, False),
            (duty, "ec2:DeleteTags", INSTANCE, {TAG_KEYS: RESTORE_TAG}, True),
            # If the call names no key, EC2 deletes all tags.
            (duty, "ec2:DeleteTags", INSTANCE, {}, False),
            (duty, "iam:UntagRole", ADMIN, {TAG_KEYS: RECORD}, True),
            (duty, "iam:UntagRole", ADMIN, {TAG_KEYS: "team"}, False),
            (duty, "iam:UntagRole", ADMIN, {TAG_KEYS: MARK}, False),
            (duty, "iam:UntagRole", SERVER, {TAG_KEYS: RECORD}, False),
            (duty, "iam:TagRole", ADMIN, {TAG_KEYS: RECORD}, True),
            (duty, "iam:TagRole", OTHER_ROLE, {TAG_KEYS: RECORD}, False),
            (duty, "ssm:GetParameter", f"{SSM}parameter/AmazonCloudWatch-linux", {}, True),
            (duty, "ssm:PutParameter", f"{SSM}parameter/AmazonCloudWatch-linux", {}, False),
        )
    ),
    ("teardown", "iam:PassRole", SERVER, TO_EC2, True),
    ("teardown", "iam:PassRole", ADMIN, TO_EC2, False),
    ("rotate-keys", "iam:PassRole", SERVER, TO_EC2, False),
    ("provision", "iam:AttachRolePolicy", SERVER, AGENT_POLICY, True),
    ("provision", "iam:AttachRolePolicy", SERVER, ADMINISTRATOR_POLICY, False),
    ("provision", "iam:AttachRolePolicy", OTHER_ROLE, AGENT_POLICY, False),
    ("provision", "iam:AttachUserPolicy", USER, AGENT_POLICY, True),
    ("provision", "iam:AttachUserPolicy", OTHER_USER, AGENT_POLICY, False),
    ("provision", "iam:CreateAccessKey", USER, {}, True),
    ("provision", "iam:CreateAccessKey", OTHER_USER, {}, False),
    ("provision", "iam:DeleteRole", SERVER, {}, False),
    ("provision", "iam:DeleteUser", USER, {}, False),
    ("provision", "iam:DeleteRolePolicy", ADMIN, {}, False),
    ("provision", "iam:PutRolePermissionsBoundary", SERVER, {}, False),
    ("provision", "iam:DeleteRolePermissionsBoundary", SERVER, {}, False),
    ("store-configuration", "iam:TagRole", ADMIN, {TAG_KEYS: "team"}, False),
    ("store-configuration", "iam:TagRole", ADMIN, {TAG_KEYS: MARK}, False),
    ("store-configuration", "iam:TagRole", SERVER, {TAG_KEYS: RECORD}, False),
    ("teardown", "iam:UntagRole", ADMIN, {TAG_KEYS: RECORD}, True),
    ("store-configuration", "iam:CreateRole", ADMIN, {}, False),
    ("store-configuration", "iam:AttachRolePolicy", ADMIN, AGENT_POLICY, False),
    ("store-configuration", "iam:CreateAccessKey", ADMIN_USER, {}, False),
    ("rotate-keys", "iam:CreateAccessKey", USER, {}, True),
    ("rotate-keys", "iam:CreateAccessKey", OTHER_USER, {}, False),
    ("rotate-keys", "iam:PutUserPolicy", ADMIN_USER, {}, False),
    ("teardown", "iam:DeleteRole", SERVER, {}, True),
    ("teardown", "iam:DeleteRole", OTHER_ROLE, {}, False),
    ("teardown", "iam:CreateAccessKey", USER, {}, False),
    ("teardown", "iam:DetachRolePolicy", SERVER, ADMINISTRATOR_POLICY, False),
    ("teardown", "ssm:DeleteParameter", f"{SSM}parameter/other", {}, False),
    ("teardown", "secretsmanager:DeleteSecret", f"{SECRETS}secret:other", {}, False),
    ("keys-in-parameter-store", "ssm:PutParameter", f"{SSM}parameter/cwagent/credentials/x", {}, True),
    ("keys-in-parameter-store", "ssm:PutParameter", f"{SSM}parameter/AmazonCloudWatch-linux", {}, False),
    ("keys-in-secrets-manager", "secretsmanager:GetSecretValue", f"{SECRETS}secret:/cwagent/credentials/x", {}, True),
    ("keys-in-secrets-manager", "secretsmanager:GetSecretValue", f"{SECRETS}secret:other", {}, False),
    ("keys-in-parameter-store", "ssm:DeleteParameter", f"{SSM}parameter/cwagent/credentials/x.pending", {}, True),
    ("keys-in-parameter-store", "ssm:DeleteParameter", f"{SSM}parameter/cwagent/credentials/x", {}, False),
    ("keys-in-secrets-manager", "secretsmanager:DeleteSecret", f"{SECRETS}secret:{PENDING_SECRET}", {}, True),
    ("keys-in-secrets-manager", "secretsmanager:DeleteSecret", f"{SECRETS}secret:{SAVED_SECRET}", {}, False),
    *(
        (f"keys-in-{store}", f"kms:{action}", f"{KMS}key/{key}", context, allowed)
        for store, actions, via_store, via_other in (
            ("parameter-store", ("Encrypt", "Decrypt", "GenerateDataKey"), VIA_SSM, VIA_SECRETS),
            ("secrets-manager", ("Encrypt", "Decrypt", "GenerateDataKey"), VIA_SECRETS, VIA_SSM),
        )
        for action in actions
        for key, context, allowed in (
            ("ID-OF-YOUR-KEY", via_store, True),
            ("ID-OF-YOUR-KEY", via_other, False),
            ("ID-OF-YOUR-KEY", {}, False),
            ("another", via_store, False),
        )
    ),
]


def policy(name: str) -> dict[str, Any]:
    [file] = [path for path in FILES if path.stem == name]
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def conditions(name: str, sid: str) -> dict[str, Any]:
    [found] = [statement["Condition"] for statement in policy(name)["Statement"] if statement["Sid"] == sid]
    return dict(found)


@pytest.mark.parametrize("case", CASES)
def test_a_policy_allows_what_its_duty_needs_and_no_more(simulator, case):
    duty, action, resource, context, allowed = case
    more = {"resource_policy": KEY_POLICY} if action.startswith("kms:") else {}
    assert simulator.is_allowed(action, resource, [policy(duty)], context=context, **more) == allowed


@pytest.mark.parametrize("duty", ["provision", "teardown"])
def test_only_the_agents_policies_may_be_attached_and_detached(duty):
    sid = "AttachPoliciesOfTheAgent" if duty == "provision" else "DetachPoliciesOfTheAgent"
    assert set(conditions(duty, sid)["ArnEquals"][POLICY_ARN]) == agent_policies("aws")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_policy_is_short_enough_for_a_managed_policy(file):
    assert len("".join(file.read_text().split())) <= MAX_MANAGED_POLICY


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_documentation_shows_the_same_policy(file):
    shown = f".. code-block:: json\n   :caption: {file.name}\n\n{textwrap.indent(file.read_text(), '   ')}"
    assert shown in PAGE.read_text()
