"""The policies in examples/policies. A simulation that shares no code with the emulators decides what they allow and
deny. The documentation links each of them.
"""

from __future__ import annotations

import importlib.util
import json
import re
import runpy
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import botocore.session
import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._configuration.permissions import ROWS, SERVER_POLICY
from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import EXCLUDED_ACTIONS, explain
from ansible_collections.cwagent.iam.plugins.module_utils._ground.names import (
    FITTED_PATH,
    FITTED_POLICIES,
    is_fitted_policy,
)
from ansible_collections.cwagent.iam.plugins.module_utils._principals.policies import agent_policies
from ansible_collections.cwagent.iam.plugins.module_utils._principals.role_plan import ec2_service
from ansible_collections.cwagent.iam.plugins.module_utils._servers.admin_instance import RESTORE_TAG, record_key

CHECKOUT = Path(__file__).parents[3]
PAGE = CHECKOUT / "docs" / "docsite" / "rst" / "permissions.rst"
FILES = sorted((CHECKOUT / "examples" / "policies").glob("*.json"))
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html, not counting white space
MAX_MANAGED_POLICY = 6144

IAM, EC2 = "arn:aws:iam::123456789012:", "arn:aws:ec2:eu-central-1:123456789012:"
SSM, KMS = "arn:aws:ssm:eu-central-1:123456789012:", "arn:aws:kms:eu-central-1:123456789012:"
ORGANIZATIONS = "arn:aws:organizations::123456789012:"
MEMBER_ROLE = "arn:aws:iam::123456789012:role/CloudWatchAgentControllerRole"
SECRETS = "arn:aws:secretsmanager:eu-central-1:123456789012:"
SAVED_SECRET, PENDING_SECRET = (f"/cwagent/credentials/{name}-a1B2c3" for name in ("x", "x.pending"))
SERVER, ADMIN = f"{IAM}role/CloudWatchAgentServerRole", f"{IAM}role/CloudWatchAgentAdminRole"
USER, ADMIN_USER = f"{IAM}user/CloudWatchAgentServerUser-db1", f"{IAM}user/CloudWatchAgentAdminUser"
INSTANCE, OTHER_ROLE, OTHER_USER = f"{EC2}instance/i-1", f"{IAM}role/Other", f"{IAM}user/controller"
PASSED_TO, POLICY_ARN, TAG_KEYS = "iam:PassedToService", "iam:PolicyARN", "aws:TagKeys"
TO_EC2, TO_LAMBDA = {PASSED_TO: "ec2.amazonaws.com"}, {PASSED_TO: "lambda.amazonaws.com"}
RECORD, MARK = record_key("eu-central-1", "i-0123456789abcdef0"), "cwagent:managed"
ASSOCIATE = ("ec2:AssociateIamInstanceProfile", "ec2:ReplaceIamInstanceProfileAssociation")
NEW_SERVER_PROFILE, NEW_ADMIN_PROFILE, NEW_PROFILE_OF_APPLICATION, NEW_OTHER_PROFILE = (
    {"ec2:NewInstanceProfile": f"{IAM}instance-profile/{name}"}
    for name in ("CloudWatchAgentServerRole", "CloudWatchAgentAdminRole", "NAME-OF-AN-EARLIER-PROFILE", "Other")
)
AGENT_POLICY = {POLICY_ARN: "arn:aws:iam::aws:policy/CloudWatchAgentServerPolicy"}
ADMINISTRATOR_POLICY = {POLICY_ARN: "arn:aws:iam::aws:policy/AdministratorAccess"}
VIA_SSM, VIA_SECRETS = ({"kms:ViaService": f"{name}.eu-central-1.amazonaws.com"} for name in ("ssm", "secretsmanager"))
# AWS evaluates these actions without a resource, so only the tags of the request can restrict them:
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_awssystemsmanager.html
ANY = "*"
HYBRID, NODE = f"{IAM}role/CloudWatchAgentHybridRole", f"{SSM}managed-instance/mi-0123456789abcdef0"
TO_SSM, CREATED = {PASSED_TO: "ssm.amazonaws.com"}, "created"
ADMIN_TAG = {"ssm:resourceTag/cwagent-admin": "true"}
NEW_TAG, NODE_TAG = f"aws:RequestTag/{MARK}", f"ssm:resourceTag/{MARK}"
SSM_POLICY, ADMIN_POLICY = (
    {POLICY_ARN: f"arn:aws:iam::aws:policy/{name}"}
    for name in ("AmazonSSMManagedInstanceCore", "CloudWatchAgentAdminPolicy")
)
FITTED_SERVER, FITTED_ADMIN = (f"{IAM}policy{FITTED_PATH}{FITTED_POLICIES[access]}" for access in ("server", "admin"))
FITTED_PATTERNS = [f"arn:aws:iam::*:policy{FITTED_PATH}{FITTED_POLICIES[access]}*" for access in ("server", "admin")]
OTHER_POLICIES = (
    f"{IAM}policy/CloudWatchAgentFittedServerPolicy",
    f"{IAM}policy/cwagent/Other",
    AGENT_POLICY[POLICY_ARN],
)
EVERYTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
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
            *((duty, action, INSTANCE, NEW_ADMIN_PROFILE, True) for action in ASSOCIATE),
            (duty, "ec2:CreateTags", INSTANCE, {TAG_KEYS: RESTORE_TAG}, True),
            (duty, "ec2:CreateTags", INSTANCE, {TAG_KEYS: "Name"}, False),
            (duty, "ec2:CreateTags", f"{EC2}volume/vol-1", {TAG_KEYS: RESTORE_TAG}, False),
            (duty, "ec2:DeleteTags", INSTANCE, {TAG_KEYS: RESTORE_TAG}, True),
            # If the call has no key, EC2 deletes all tags.
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
    *(
        (duty, action, INSTANCE, context, allowed)
        for duty in ("provision", "restore", "store-configuration")
        for action in ASSOCIATE
        for context, allowed in (
            (NEW_SERVER_PROFILE, True),
            (NEW_PROFILE_OF_APPLICATION, True),
            (NEW_OTHER_PROFILE, False),
            ({}, False),
        )
    ),
    *(
        case
        for duty in ("remove-servers", "teardown")
        for case in (
            *((duty, action, INSTANCE, NEW_SERVER_PROFILE, False) for action in ASSOCIATE),
            (duty, "iam:PassRole", SERVER, TO_EC2, False),
            (duty, "iam:PutRolePolicy", ADMIN, {}, False),
            (duty, "iam:UntagRole", ADMIN, {TAG_KEYS: RECORD}, False),
            (duty, "iam:CreateAccessKey", USER, {}, False),
            (duty, "iam:DeleteUser", USER, {}, True),
            (duty, "iam:DeleteUser", OTHER_USER, {}, False),
            (duty, "iam:DetachUserPolicy", USER, AGENT_POLICY, True),
            (duty, "iam:DetachUserPolicy", USER, ADMINISTRATOR_POLICY, False),
            (duty, "ssm:DeleteParameter", f"{SSM}parameter/cwagent/credentials/x", {}, True),
            (duty, "ssm:DeleteParameter", f"{SSM}parameter/other", {}, False),
            (duty, "secretsmanager:DeleteSecret", f"{SECRETS}secret:{SAVED_SECRET}", {}, True),
            (duty, "secretsmanager:DeleteSecret", f"{SECRETS}secret:other", {}, False),
        )
    ),
    *(
        ("restore", *case)
        for case in (
            *((action, INSTANCE, NEW_ADMIN_PROFILE, False) for action in ASSOCIATE),
            ("iam:PassRole", SERVER, TO_EC2, True),
            ("iam:PassRole", SERVER, TO_LAMBDA, False),
            ("iam:PassRole", ADMIN, TO_EC2, False),
            ("iam:PutRolePolicy", ADMIN, {}, True),
            ("iam:PutRolePolicy", SERVER, {}, False),
            ("iam:PutUserPolicy", ADMIN_USER, {}, True),
            ("iam:PutUserPolicy", USER, {}, False),
            ("iam:UpdateAccessKey", ADMIN_USER, {}, True),
            ("iam:UpdateAccessKey", USER, {}, False),
            ("iam:CreateAccessKey", ADMIN_USER, {}, False),
            ("iam:DeleteRolePolicy", ADMIN, {}, False),
            ("iam:UntagRole", ADMIN, {TAG_KEYS: RECORD}, True),
            ("iam:UntagRole", ADMIN, {TAG_KEYS: MARK}, False),
            ("iam:TagRole", ADMIN, {TAG_KEYS: RECORD}, False),
            ("ec2:CreateTags", INSTANCE, {TAG_KEYS: RESTORE_TAG}, False),
            ("ec2:DeleteTags", INSTANCE, {TAG_KEYS: RESTORE_TAG}, True),
            ("ec2:DeleteTags", INSTANCE, {TAG_KEYS: "Name"}, False),
            ("ec2:DeleteTags", INSTANCE, {}, False),
        )
    ),
    ("teardown", "iam:DeleteRolePolicy", ADMIN, {}, True),
    ("teardown", "iam:DeleteRolePolicy", SERVER, {}, False),
    ("remove-servers", "iam:DeleteUser", ADMIN_USER, {}, False),
    ("remove-servers", "iam:DeleteAccessKey", ADMIN_USER, {}, False),
    ("remove-servers", "iam:DeleteRole", SERVER, {}, False),
    ("remove-servers", "iam:DetachRolePolicy", SERVER, AGENT_POLICY, False),
    ("remove-servers", "iam:UntagRole", ADMIN, {TAG_KEYS: MARK}, False),
    ("remove-servers", "iam:UntagUser", USER, {TAG_KEYS: MARK}, True),
    ("remove-servers", "iam:UntagUser", ADMIN_USER, {TAG_KEYS: MARK}, False),
    ("remove-servers", "ssm:DeleteParameter", f"{SSM}parameter/AmazonCloudWatch-linux", {}, False),
    ("rotate-keys", "iam:PassRole", SERVER, TO_EC2, False),
    *(
        case
        for duty in ("provision", "rotate-keys", "teardown", "audit")
        for case in (
            (duty, "iam:GetUser", USER, {}, True),
            (duty, "iam:GetUser", OTHER_USER, {}, duty == "audit"),
            (duty, "ssm:DescribeParameters", "*", {}, duty in ("teardown", "audit")),
            (duty, "secretsmanager:ListSecrets", "*", {}, duty == "audit"),
        )
    ),
    ("keys-in-parameter-store", "ssm:DescribeParameters", "*", {}, True),
    ("keys-in-parameter-store", "secretsmanager:ListSecrets", "*", {}, False),
    ("keys-in-secrets-manager", "secretsmanager:ListSecrets", "*", {}, True),
    ("keys-in-secrets-manager", "ssm:DescribeParameters", "*", {}, False),
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
    *(
        (duty, action, f"{SSM}parameter/{name}{end}", {}, name != "other")
        for duty, action in (("label-versions", "ssm:LabelParameterVersion"), ("apply", "ssm:GetParameters"))
        for name in ("AmazonCloudWatch-linux", "other")
        for end in ("", ":41", ":stable")
    ),
    ("label-versions", "ssm:PutParameter", f"{SSM}parameter/AmazonCloudWatch-linux", {}, False),
    ("apply", "ssm:LabelParameterVersion", f"{SSM}parameter/AmazonCloudWatch-linux", {}, False),
    ("store-configuration", "iam:TagRole", ADMIN, {TAG_KEYS: "team"}, False),
    ("store-configuration", "iam:TagRole", ADMIN, {TAG_KEYS: MARK}, False),
    ("store-configuration", "iam:TagRole", SERVER, {TAG_KEYS: RECORD}, False),
    ("store-configuration", "iam:CreateRole", ADMIN, {}, False),
    ("store-configuration", "iam:AttachRolePolicy", ADMIN, AGENT_POLICY, False),
    ("store-configuration", "iam:CreateAccessKey", ADMIN_USER, {}, False),
    *(
        ("store-by-run-command", "ssm:SendCommand", resource, {}, allowed)
        for resource, allowed in (
            (f"{SSM}document/AWS-RunShellScript", True),
            (f"{SSM}document/AWS-RunPowerShellScript", False),
            (f"{SSM}document/AWS-RunRemoteScript", False),
            (f"{EC2}instance/ID-OF-THE-ADMIN-INSTANCE", True),
            (INSTANCE, False),
        )
    ),
    *(
        ("store-by-run-command-by-tag", "ssm:SendCommand", resource, context, allowed)
        for resource, context, allowed in (
            (f"{SSM}document/AWS-RunShellScript", {}, True),
            (f"{SSM}document/AWS-RunShellScript", ADMIN_TAG, True),
            (f"{SSM}document/AWS-RunPowerShellScript", {}, False),
            (INSTANCE, ADMIN_TAG, True),
            (INSTANCE, {"ssm:resourceTag/cwagent-admin": "false"}, False),
            (INSTANCE, {"ssm:resourceTag/Name": "true"}, False),
            (INSTANCE, {}, False),
            (NODE, ADMIN_TAG, False),
        )
    ),
    *(
        ("provision-hybrid", *case)
        for case in (
            ("iam:PassRole", HYBRID, TO_SSM, True),
            ("iam:PassRole", HYBRID, TO_EC2, False),
            ("iam:PassRole", HYBRID, {}, False),
            ("iam:PassRole", SERVER, TO_SSM, False),
            ("iam:PassRole", OTHER_ROLE, TO_SSM, False),
            ("ssm:CreateActivation", ANY, {NEW_TAG: CREATED}, True),
            ("ssm:CreateActivation", ANY, {NEW_TAG: "adopted"}, False),
            ("ssm:CreateActivation", ANY, {"aws:RequestTag/team": "ops"}, False),
            ("ssm:CreateActivation", ANY, {}, False),
            ("ssm:AddTagsToResource", NODE, {NEW_TAG: CREATED}, False),
            ("ssm:AddTagsToResource", NODE, {NEW_TAG: CREATED, TAG_KEYS: MARK}, False),
            ("ssm:AddTagsToResource", NODE, {TAG_KEYS: "cwagent:host"}, True),
            ("ssm:AddTagsToResource", f"{SSM}parameter/AmazonCloudWatch-linux", {TAG_KEYS: "cwagent:host"}, False),
            ("ssm:AddTagsToResource", f"{SSM}parameter/AmazonCloudWatch-linux", {NEW_TAG: CREATED}, False),
            ("ssm:SendCommand", NODE, {}, False),
            ("iam:CreateRole", HYBRID, {}, True),
            ("iam:CreateRole", SERVER, {}, False),
            ("iam:DeleteRole", HYBRID, {}, False),
            ("iam:PutRolePolicy", HYBRID, {}, False),
            *(
                (f"iam:{verb}RolePolicy", role, context, allowed)
                for verb, role, context, allowed in (
                    ("Attach", HYBRID, AGENT_POLICY, True),
                    ("Attach", HYBRID, SSM_POLICY, True),
                    ("Attach", HYBRID, ADMIN_POLICY, False),
                    ("Attach", HYBRID, {POLICY_ARN: FITTED_SERVER}, True),
                    ("Attach", HYBRID, {POLICY_ARN: FITTED_ADMIN}, False),
                    ("Attach", HYBRID, ADMINISTRATOR_POLICY, False),
                    ("Attach", SERVER, AGENT_POLICY, False),
                    ("Detach", HYBRID, ADMIN_POLICY, True),
                    ("Detach", HYBRID, ADMINISTRATOR_POLICY, False),
                )
            ),
            ("iam:UpdateAccessKey", USER, {}, True),
            ("iam:UpdateAccessKey", ADMIN_USER, {}, False),
            ("iam:CreateAccessKey", USER, {}, False),
            ("iam:DeleteUser", USER, {}, True),
            ("iam:DeleteUser", ADMIN_USER, {}, False),
            ("ssm:DeleteParameter", f"{SSM}parameter/cwagent/credentials/x", {}, True),
            ("ssm:DeleteParameter", f"{SSM}parameter/AmazonCloudWatch-linux", {}, False),
            ("secretsmanager:DeleteSecret", f"{SECRETS}secret:{SAVED_SECRET}", {}, True),
            ("secretsmanager:DeleteSecret", f"{SECRETS}secret:other", {}, False),
        )
    ),
    *(
        case
        for duty in ("provision-hybrid", "remove-servers", "teardown")
        for case in (
            (duty, "ssm:DeregisterManagedInstance", NODE, {NODE_TAG: CREATED}, True),
            (duty, "ssm:DeregisterManagedInstance", NODE, {NODE_TAG: "adopted"}, False),
            (duty, "ssm:DeregisterManagedInstance", NODE, {}, False),
            (duty, "ssm:ListTagsForResource", NODE, {}, True),
            (duty, "ssm:ListTagsForResource", f"{SSM}parameter/AmazonCloudWatch-linux", {}, False),
            *(
                (duty, f"ssm:{action}", ANY, {}, True)
                for action in ("DeleteActivation", "DescribeActivations", "DescribeInstanceInformation")
            ),
            (duty, "ssm:CreateActivation", ANY, {}, False),
        )
    ),
    *((duty, "ssm:CreateActivation", ANY, {NEW_TAG: CREATED}, False) for duty in ("remove-servers", "teardown")),
    ("remove-servers", "iam:DeleteRole", HYBRID, {}, False),
    ("teardown", "iam:DeleteRole", HYBRID, {}, True),
    ("provision", "iam:CreateRole", HYBRID, {}, False),
    ("provision", "iam:PassRole", HYBRID, TO_SSM, False),
    *(
        ("fitted-policies", f"iam:{action}", arn, {}, arn not in OTHER_POLICIES)
        for action in ("CreatePolicy", "CreatePolicyVersion", "DeletePolicy", "SetDefaultPolicyVersion", "TagPolicy")
        for arn in (FITTED_SERVER, f"{FITTED_SERVER}-2", FITTED_ADMIN, *OTHER_POLICIES)
    ),
    *(
        ("fitted-policies", f"ssm:{action}", f"{SSM}parameter/{name}", {}, action.startswith("Get") and name != "other")
        for action in ("GetParameterHistory", "PutParameter", "LabelParameterVersion")
        for name in ("AmazonCloudWatch-linux", "other")
    ),
    *(
        (duty, f"iam:{verb}RolePolicy", f"{IAM}role/NAME-OF-AN-APPLICATION-ROLE", {POLICY_ARN: arn}, allowed)
        for duty, verbs in (("provision", ("Attach", "Detach")), ("remove-servers", ("Detach",)))
        for verb in verbs
        for arn, allowed in ((AGENT_POLICY[POLICY_ARN], True), (FITTED_SERVER, True), (FITTED_ADMIN, False))
    ),
    *(
        (
            duty,
            f"iam:{verb}RolePolicy",
            SERVER,
            {POLICY_ARN: arn},
            duty != "fitted-policies" and arn != OTHER_POLICIES[1],
        )
        for duty, verb in (("provision", "Attach"), ("teardown", "Detach"), ("fitted-policies", "Attach"))
        for arn in (FITTED_SERVER, f"{FITTED_ADMIN}-2", OTHER_POLICIES[1])
    ),
    ("rotate-keys", "iam:CreateAccessKey", USER, {}, True),
    ("rotate-keys", "iam:CreateAccessKey", OTHER_USER, {}, False),
    ("rotate-keys", "iam:PutUserPolicy", ADMIN_USER, {}, False),
    ("teardown", "iam:DeleteRole", SERVER, {}, True),
    ("teardown", "iam:DeleteRole", OTHER_ROLE, {}, False),
    ("teardown", "iam:DetachRolePolicy", SERVER, ADMINISTRATOR_POLICY, False),
    ("keys-in-parameter-store", "ssm:PutParameter", f"{SSM}parameter/cwagent/credentials/x", {}, True),
    ("keys-in-parameter-store", "ssm:PutParameter", f"{SSM}parameter/AmazonCloudWatch-linux", {}, False),
    *(
        ("tag-parameters", f"ssm:{action}", f"{SSM}parameter/{name}", {}, allowed)
        for action, name, allowed in (
            ("AddTagsToResource", "AmazonCloudWatch-linux", True),
            ("ListTagsForResource", "AmazonCloudWatch-linux", True),
            ("AddTagsToResource", "cwagent/credentials/x", False),
            ("PutParameter", "AmazonCloudWatch-linux", False),
            ("RemoveTagsFromResource", "AmazonCloudWatch-linux", False),
        )
    ),
    ("keys-in-secrets-manager", "secretsmanager:GetSecretValue", f"{SECRETS}secret:/cwagent/credentials/x", {}, True),
    ("keys-in-secrets-manager", "secretsmanager:GetSecretValue", f"{SECRETS}secret:other", {}, False),
    ("keys-in-parameter-store", "ssm:DeleteParameter", f"{SSM}parameter/cwagent/credentials/x.pending", {}, True),
    ("keys-in-parameter-store", "ssm:DeleteParameter", f"{SSM}parameter/cwagent/credentials/x", {}, False),
    ("keys-in-secrets-manager", "secretsmanager:DeleteSecret", f"{SECRETS}secret:{PENDING_SECRET}", {}, True),
    ("keys-in-secrets-manager", "secretsmanager:DeleteSecret", f"{SECRETS}secret:{SAVED_SECRET}", {}, False),
    ("organization", "sts:AssumeRole", MEMBER_ROLE, {}, True),
    ("organization", "sts:AssumeRole", MEMBER_ROLE.replace("Controller", "Server"), {}, False),
    ("organization", "organizations:ListRoots", "*", {}, True),
    *(
        ("organization", f"organizations:{action}", f"{ORGANIZATIONS}{resource}", {}, allowed)
        for action, resource, allowed in (
            ("ListAccountsForParent", "root/o-a1b2c3d4e5/r-ab12", True),
            ("ListOrganizationalUnitsForParent", "ou/o-a1b2c3d4e5/ou-ab12-11111111", True),
            ("ListTagsForResource", "account/o-a1b2c3d4e5/210987654321", True),
            ("ListTagsForResource", "policy/o-a1b2c3d4e5/service_control_policy/p-12345678", False),
            ("MoveAccount", "account/o-a1b2c3d4e5/210987654321", False),
        )
    ),
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
def test_a_policy_allows_exactly_the_calls_that_its_duty_needs(simulator, case):
    duty, action, resource, context, allowed = case
    more = {"resource_policy": KEY_POLICY} if action.startswith("kms:") else {}
    assert simulator.is_allowed(action, resource, [policy(duty)], context=context, **more) == allowed


@pytest.mark.parametrize("duty", ["provision", "provision-hybrid", "remove-servers", "teardown"])
def test_only_the_agents_policies_may_be_attached_and_detached(duty):
    sid = "AttachPolicies" if duty == "provision" else "DetachPolicies"
    fitted = FITTED_PATTERNS if duty != "teardown" else ["arn:aws:iam::*:policy/cwagent/CloudWatchAgentFitted*"]
    assert set(conditions(duty, sid)["ArnEquals"][POLICY_ARN]) == agent_policies("aws") | {*fitted}


def test_the_names_of_fitted_policies_match_the_examples_and_no_others_do():
    [managed] = [each for each in policy("fitted-policies")["Statement"] if each["Sid"] == "ManageFittedPolicies"]
    assert managed["Resource"] == FITTED_PATTERNS
    for arn, pattern in zip((FITTED_SERVER, FITTED_ADMIN), FITTED_PATTERNS, strict=True):
        for each in (arn, f"{arn}-2"):
            assert is_fitted_policy(each)
            assert fnmatchcase(each, pattern)


def test_the_admin_policy_is_never_attached_to_the_hybrid_role():
    """No admin window limits that role."""
    [attached, detached] = (
        set(conditions("provision-hybrid", f"{verb}Policies")["ArnEquals"][POLICY_ARN]) for verb in ("Attach", "Detach")
    )
    assert detached - attached == {"arn:aws:iam::aws:policy/CloudWatchAgentAdminPolicy", FITTED_PATTERNS[1]}


def test_only_new_activations_of_the_hybrid_role_may_be_tagged():
    """AWS checks the tags of an activation on its role, which neither its reference nor the simulator knows.

    https://github.com/aws-samples/sagemaker-ssh-helper/blob/main/FAQ.md
    """
    allowed = [each for each in policy("provision-hybrid")["Statement"] if "ssm:AddTagsToResource" in each["Action"]]
    for_nodes = [each for each in allowed if "managed-instance" in each["Resource"]]
    assert [each["Condition"]["ForAllValues:StringEquals"] for each in for_nodes] == [{TAG_KEYS: "cwagent:host"}]
    [other] = [each for each in allowed if each not in for_nodes]
    assert other["Resource"] == "arn:aws:iam::*:role/CloudWatchAgentHybridRole"


PLACEHOLDER = re.compile(r"[A-Z]+(?:-[A-Z]+){2,}|resourceTag/cwagent-[a-z]+")


def limited_actions() -> dict[tuple[str, str], set[str]]:
    """By action and name of a file, the placeholders and tags that limit the action there."""
    found: dict[tuple[str, str], set[str]] = {}
    for file in FILES:
        for statement in policy(file.stem)["Statement"]:
            limits = json.dumps([statement.get("Resource"), statement.get("Condition")])
            for action in [statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"]:
                names = {each.rpartition("/")[2] for each in PLACEHOLDER.findall(limits)}
                found.setdefault((action, file.name), set()).update(names)
    return {key: names for key, names in found.items() if names}


@pytest.mark.parametrize(("limited", "names"), limited_actions().items(), ids=str)
def test_a_denial_names_the_file_and_what_limits_the_action_there(limited, names):
    action, file = limited
    reason = f"because no identity-based policy allows the {action} action"
    denied = f"User: {OTHER_USER} is not authorized to perform: {action} on resource: {INSTANCE} {reason}"
    message = explain("do it", action, "AccessDenied", denied)
    assert {file, *names} <= set(re.split(r"[\s,]+|\.(?=\s|$)", message))


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("iam:AttachRolePolicy", "role/MyOwnServerRole"),
        ("iam:PassRole", "role/CloudWatchAgentHybridRole"),
        ("ssm:SendCommand", "instance/i-1"),
    ],
)
def test_a_denial_says_what_a_placeholder_is_for(action: str, resource: str) -> None:
    """The same action can be denied for something else, which another policy or nothing allows."""
    denied = f"User: {OTHER_USER} is not authorized to perform: {action} on resource: arn:aws:x:::{resource} because no"
    message = explain("do it", action, "AccessDenied", f"{denied} identity-based policy allows the {action} action")
    assert re.search(r"(For the profile that|For the role of|To store)[^.]*, replace", message)


@pytest.mark.parametrize("action", ["iam:CreatePolicy", "iam:CreatePolicyVersion"])
def test_a_denial_of_a_fitted_policy_names_the_file_that_allows_it(action: str) -> None:
    reason = f"because no identity-based policy allows the {action} action"
    denied = f"User: {OTHER_USER} is not authorized to perform: {action} on resource: {FITTED_SERVER} {reason}"
    message = explain("do it", action, "AccessDenied", denied)
    assert f"lacks {action} on {FITTED_SERVER}" in message
    assert "fitted-policies.json" in message
    assert any(action in each["Action"] for each in policy("fitted-policies")["Statement"])


def agent_actions(name: str) -> set[str]:
    """The actions of a policy of the agent that AWS manages, from moto's copy."""
    package = importlib.util.find_spec("moto")
    assert package
    assert package.origin
    module = runpy.run_path(str(Path(package.origin).with_name("iam") / "aws_managed_policies.py"))
    document = json.loads(module["aws_managed_policies_data"])[name]["Document"]
    return {action for statement in document["Statement"] for action in statement["Action"]}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.use)
def test_the_permissions_of_a_configuration_are_in_the_policy_of_the_servers_as_their_row_says(row):
    actions = set(row.actions)
    assert actions & agent_actions(SERVER_POLICY) == (actions if row.is_in_server_policy else set())


def test_the_admin_policy_lacks_only_the_volumes_of_what_the_policy_of_the_servers_has():
    ordinary = {action for row in ROWS if row.is_in_server_policy for action in row.actions}
    assert ordinary - agent_actions("CloudWatchAgentAdminPolicy") == {"ec2:DescribeVolumes"}


OUTSIDE_THE_BOUNDARY = {
    "AmazonSSMManagedInstanceCore": {"ssm:GetParameters"},
    "AmazonEC2RoleforSSM": {"ssm:GetParameters", "ec2:DescribeInstanceStatus", "ds:*", "s3:*"},
}


@pytest.mark.parametrize("arn", sorted(agent_policies("aws")))
def test_the_boundary_allows_the_actions_of_the_agents_policies(arn):
    name = arn.rpartition("/")[2]
    allowed = {action for statement in policy("boundary")["Statement"] for action in statement["Action"]}
    missing = agent_actions(name) - allowed
    outside = OUTSIDE_THE_BOUNDARY.get(name, set())
    assert {action for action in missing if not any(fnmatchcase(action, each) for each in outside)} == set()
    assert {each for each in outside if not any(fnmatchcase(action, each) for action in missing)} == set()


def test_the_boundary_allows_only_actions_of_the_agents_policies():
    allowed = {action for statement in policy("boundary")["Statement"] for action in statement["Action"]}
    assert allowed <= set().union(*(agent_actions(arn.rpartition("/")[2]) for arn in agent_policies("aws")))


@pytest.mark.parametrize("action", ["iam:PutRolePolicy", "iam:CreateRole", "iam:UpdateAssumeRolePolicy"])
@pytest.mark.parametrize(
    ("boundary", "allowed"),
    [
        (f"{IAM}policy/CloudWatchAgentBoundary", True),
        (f"{IAM}policy/CloudWatchAgentBoundary2", False),
        (f"{IAM}policy/team/CloudWatchAgentBoundary", False),
        ("arn:aws:iam::aws:policy/AdministratorAccess", False),
        (None, False),
    ],
)
def test_only_this_boundary_is_accepted(simulator, action, boundary, allowed):
    policies = [policy("provision"), policy("require-boundary")]
    context = {"iam:PermissionsBoundary": boundary} if boundary else {}
    assert simulator.is_allowed(action, ADMIN, policies, context=context) == allowed


def denied_by_boundary(statement: int) -> list[str]:
    return [str(action) for action in policy("require-boundary")["Statement"][statement]["Action"]]


@pytest.mark.parametrize("action", [*denied_by_boundary(0), *denied_by_boundary(1)])
def test_whatever_else_is_allowed_boundaries_are_required_and_kept(simulator, action):
    resource = USER if "User" in action else SERVER
    assert not simulator.is_allowed(action, resource, [EVERYTHING, policy("require-boundary")])


@pytest.mark.parametrize("action", denied_by_boundary(2))
def test_whatever_else_is_allowed_the_boundary_itself_is_kept(simulator, action):
    policies = [EVERYTHING, policy("require-boundary")]
    assert not simulator.is_allowed(action, f"{IAM}policy/CloudWatchAgentBoundary", policies)
    assert simulator.is_allowed(action, f"{IAM}policy/Other", policies)


def test_every_action_that_could_give_more_and_knows_the_boundary_requires_it():
    """The duties' actions that change a principal's policies or trust, or create a principal."""
    gives = re.compile(r"iam:(Create(Role|User)|(Attach|Put)(Role|User)Policy|UpdateAssumeRolePolicy)")
    statements = [
        statement for file in FILES if file.stem != "boundary" for statement in policy(file.stem)["Statement"]
    ]
    listed = [[each] if isinstance(each, str) else each for each in (statement["Action"] for statement in statements)]
    assert {action for actions in listed for action in actions if gives.fullmatch(action)} == set(denied_by_boundary(0))


def listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


DENYING = "with an explicit deny in an identity-based policy"


def explained(action: str, reason: str, resource: str = SERVER) -> str:
    denied = f"User: {OTHER_USER} is not authorized to perform: {action} on resource: {resource} {reason}"
    return explain("do it", action, "AccessDenied", denied)


@pytest.mark.parametrize("action", [action for number in range(3) for action in denied_by_boundary(number)])
def test_no_message_asks_to_remove_the_deny_of_a_required_boundary(action):
    message = explained(action, DENYING)
    advice = message.partition(" Otherwise, another policy denies it. Remove that Deny")[0]
    assert "The Deny of require-boundary.json protects" in advice
    assert "so keep it" in advice
    assert "remove" not in advice.lower()


def actions_of_the_code() -> set[str]:
    """The actions that the code names."""
    folder = CHECKOUT / "plugins" / "module_utils"
    text = "".join(path.read_text() for path in folder.rglob("*.py") if path.name != "errors.py")
    verbs = "|".join(
        ("Add", "Attach", "Create", "Deactivate", "Delete", "Detach", "Put", "Remove", "Tag", "Untag", "Update")
    )
    named = set(re.findall(rf'"(iam:(?:{verbs})[A-Za-z]+)"', text))
    return named | {f"iam:{verb}{kind}PermissionsBoundary" for verb in ("Delete", "Put") for kind in ("Role", "User")}


def granted_actions() -> set[str]:
    duties = [file.stem for file in FILES if file.stem not in ("boundary", "require-boundary")]
    return {
        action for duty in duties for statement in policy(duty)["Statement"] for action in listed(statement["Action"])
    }


def excluded_on_the_page() -> set[str]:
    section = PAGE.read_text().partition("Excluded permissions\n---")[2].partition("Optional permissions\n---")[0]
    # A principal gets its boundary when it is created, which provision.json grants.
    named = set(re.findall(r"``([a-z]+:[A-Z]\w+)``", section)) - {"iam:CreateRole", "iam:CreateUser"}
    # The page names the actions for roles, "and the same for users".
    return named | {action.replace("Role", "User") for action in named if action.endswith("Boundary")}


def test_the_excluded_actions_are_those_that_no_example_policy_grants():
    assert actions_of_the_code() - granted_actions() == EXCLUDED_ACTIONS
    assert excluded_on_the_page() - granted_actions() == EXCLUDED_ACTIONS


@pytest.mark.parametrize("action", sorted(EXCLUDED_ACTIONS))
def test_no_message_asks_to_grant_what_no_example_policy_grants(action):
    for reason in ("", f"because no identity-based policy allows the {action} action"):
        message = explained(action, reason)
        assert "Grant" not in message
        assert f"No example policy grants {action}" in message
        assert message.endswith("Run once with the credentials of an administrator of the account instead.")


@pytest.mark.parametrize("action", sorted(excluded_on_the_page() - EXCLUDED_ACTIONS))
def test_a_message_says_for_which_purpose_the_guide_excludes_an_action(action):
    """The example policies grant these for another purpose."""
    message = explained(action, "", f"{SSM}parameter/AmazonCloudWatch-linux" if action.startswith("ssm") else ADMIN)
    assert f"Grant {action} to it and run again. " in message
    assert re.search("do not grant it|It can then write configurations at any time", message)


PARTITIONS = re.findall(
    r"^   \* - (?:AWS|China)\b.*\n     - ``(arn:.*?:)``\n     - (.*)\n     - ``(.*?)``$", PAGE.read_text(), re.MULTILINE
)


@pytest.mark.parametrize(("arn", "services", "suffix"), PARTITIONS)
def test_the_documentation_has_the_names_of_other_partitions(arn, services, suffix):
    known = botocore.session.get_session().get_component("data_loader").load_data("partitions")["partitions"]
    [partition] = [each for each in known if f"arn:{each['id']}:" == arn]
    assert suffix == f".{partition['outputs']['dnsSuffix']}"
    trusted = {"ec2.amazonaws.com", ec2_service(partition["id"])}
    assert set(re.findall(r"``(.+?)``", services)) == trusted


def test_the_documentation_has_these_partitions():
    assert {arn for arn, *_ in PARTITIONS} == {"arn:aws:", "arn:aws-cn:", "arn:aws-us-gov:", "arn:aws-eusc:"}


# The longest name of a region in each partition, and names as CloudFormation makes them.
REGIONS = {
    "aws": "ap-southeast-1",
    "aws-cn": "cn-northwest-1",
    "aws-us-gov": "us-gov-east-1",
    "aws-eusc": "eusc-de-east-1",
}
APPLICATION = "shop-production-BackendInstanceRole-1A2B3C4D5E6F"
IAM_PATH = "platform/monitoring/"
OWN_NAMES = {
    f"CloudWatchAgent{usual}": f"monitoring-agent-{own}"
    for usual, own in (
        ("ServerRole", "server"),
        ("AdminRole", "admin"),
        ("HybridRole", "hybrid"),
        ("ServerUser*", "server-*"),
        ("AdminUser", "operator"),
        ("ControllerRole", "controller"),
        ("Boundary", "boundary"),
    )
}
REPLACEMENTS = {
    "ROLE-OF-AN-EARLIER-PROFILE": APPLICATION,
    "NAME-OF-AN-EARLIER-PROFILE": APPLICATION,
    "NAME-OF-AN-APPLICATION-ROLE": f"shop/{APPLICATION}",
    "ID-OF-THE-ADMIN-INSTANCE": "i-0123456789abcdef0",
    "ID-OF-YOUR-KEY": "mrk-0123456789abcdef0123456789abcdef",
    "/cwagent/credentials/": "/platform/monitoring/cwagent/credentials/",
}
"""The placeholders that the page lists, besides names, the path, the partition, the account and the region."""
OWN_PRINCIPAL = re.compile(r"(arn:aws:iam::\*:(?:role|user|instance-profile)/)(?=CloudWatchAgent)")


def with_path(document: dict[str, Any]) -> dict[str, Any]:
    """The policy with a path in the ARNs of principals, and for reading without it too, as the page says."""
    statements = []
    for statement in document["Statement"]:
        changed = json.loads(OWN_PRINCIPAL.sub(rf"\1{IAM_PATH}", json.dumps(statement)))
        if all(re.search(":(Get|List|Describe)", action) for action in listed(statement["Action"])):
            resources = {*listed(statement["Resource"]), *listed(changed["Resource"])}
            changed["Resource"] = sorted(resources) if len(resources) > 1 else statement["Resource"]
        statements.append(changed)
    return {**document, "Statement": statements}


def adapted(
    document: dict[str, Any], partition: str, services: str, suffix: str, *, path: bool, own_names: bool
) -> str:
    """The policy after every replacement of the page, without white space."""
    text = json.dumps(with_path(document) if path else document, separators=(",", ":"))
    for usual, own in {**REPLACEMENTS, **(OWN_NAMES if own_names else {})}.items():
        text = text.replace(usual, own)
    quoted = re.findall(r"``(.+?)``", services)
    text = text.replace('"ec2.amazonaws.com"', json.dumps(quoted if len(quoted) > 1 else quoted[0]))
    if suffix != ".amazonaws.com":
        # The page has both for the European Sovereign Cloud.
        endpoint = r'"([a-z]+\.\*)\.amazonaws\.com"'
        text = re.sub(endpoint, lambda found: json.dumps([f"{found[1]}{suffix}", f"{found[1]}.amazonaws.com"]), text)
    text = text.replace(":*:*:", f":{REGIONS[partition]}:123456789012:").replace("::*:", "::123456789012:")
    return text.replace("arn:aws:", f"arn:{partition}:")


@pytest.mark.parametrize("own_names", [False, True], ids=["usual names", "own names"])
@pytest.mark.parametrize("path", [False, True], ids=["no path", "path"])
@pytest.mark.parametrize("texts", PARTITIONS, ids=lambda texts: texts[0])
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_policy_fits_a_managed_policy_after_every_replacement(file, texts, path, own_names):
    partition = texts[0].split(":")[1]
    text = adapted(policy(file.stem), partition, *texts[1:], path=path, own_names=own_names)
    assert json.loads(text)["Version"] == "2012-10-17"
    assert not re.search(r"-OF-|arn:aws:" if partition != "aws" else "-OF-", text)
    assert len(text) <= MAX_MANAGED_POLICY


def grants(name: str) -> set[tuple[str, str, str]]:
    """Each action of a policy with each of its resources and values of its conditions."""
    found = set()
    for statement in policy(name)["Statement"]:
        values = {
            f"{operator} {key} {value}"
            for operator, keys in statement.get("Condition", {}).items()
            for key, listed_values in keys.items()
            for value in listed(listed_values)
        }
        for action in listed(statement["Action"]):
            found |= {(action, resource, each) for resource in listed(statement["Resource"]) for each in values or {""}}
    return found


def test_the_policy_to_store_includes_the_one_to_restore():
    # Of roles, the former reads the policies of all, to warn before it replaces a profile.
    missing = grants("restore") - grants("store-configuration")
    assert {action for action, *_ in missing} == {"iam:ListAttachedRolePolicies"}
    assert ("iam:ListAttachedRolePolicies", "arn:aws:iam::*:role/*", "") in grants("store-configuration")


def test_every_text_that_the_page_replaces_is_replaced():
    """The texts at the beginning of an entry in the section on placeholders."""
    section = PAGE.read_text().partition("Placeholders and names\n---")[2].partition("Permissions boundary\n---")[0]
    entries = re.findall(r"^(``.+)$", section, re.MULTILINE)
    texts = {text for entry in entries for text in re.findall("``(.+?)``", entry)}
    fixed = {text for text in texts if text.startswith("policy/cwagent/")}
    other = {"arn:aws:iam::*:role/", "arn:aws:", "ec2.amazonaws.com", "amazonaws.com", "kms:ViaService", "*"}
    assert texts - fixed - other == REPLACEMENTS.keys() | OWN_NAMES.keys()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_documentation_links_the_policy(file):
    link = f"`{file.name} <https://github.com/cwagent/iam/blob/main/examples/policies/{file.name}>`__"
    assert link in PAGE.read_text()
