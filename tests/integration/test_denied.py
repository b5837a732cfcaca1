"""A denied call: the error names the call, who made it, and the action to grant."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from emulator import Emulator, Fault
from harness import (
    ADMIN_POLICY,
    ADMIN_ROLE,
    SERVER_POLICY,
    account,
    allow,
    make_role,
    make_user,
    put_on,
    run_module,
    trust,
)

ARN = "arn:aws:iam::aws:policy/"
ROLE = {"name": "R", "access": "server", "wait_timeout": 1}
FULL_ROLE = {**ROLE, "description": "d", "tags": {"a": "b"}, "permissions_boundary": ARN + "PowerUserAccess"}
USER = {"name": ["u1"], "access": "server", "wait_timeout": 1}
PARAMETER = {"name": "AmazonCloudWatch-x", "config": {"agent": {}}}


def refused(result: dict[str, Any], action: str, identity: str) -> None:
    """That the message has what a person needs, once and in words."""
    assert result["failed"], action
    message = result["msg"]
    assert "Could not " in message
    assert f"({action})" in message
    assert re.search(rf"\S*{identity}\S* lacks {action}", message), message
    assert f"grant {action} to it" in message


def test_every_writing_call_of_the_modules(enforcing: Emulator, tmp_path: Path) -> None:
    """Each is denied in turn, in the order of the plan, at the state in which it is made."""
    aws = enforcing
    iam = aws.client("iam")
    instances = aws.instances(2)
    make_role(aws, "Other", SERVER_POLICY)
    put_on(aws, instances[1], "Other")
    user = {**USER, "credentials": {"directory": str(tmp_path)}}

    def denied(module: str, *actions: str, **arguments: Any) -> None:
        for action in actions:
            service, call = action.split(":")
            aws.arm(Fault("deny", service=service, action=call, times=20))
            refused(run_module(aws, module, **arguments), action, "root")
            aws.disarm()
        assert not run_module(aws, module, **arguments)["failed"]

    role, profile, users = "cwagent_iam_role", "cwagent_instance_profile", "cwagent_iam_user"
    denied(
        role,
        *("iam:CreateRole", "iam:AttachRolePolicy", "iam:CreateInstanceProfile", "iam:AddRoleToInstanceProfile"),
        **ROLE,
    )
    iam.update_assume_role_policy(RoleName="R", PolicyDocument=trust("lambda.amazonaws.com"))
    iam.attach_role_policy(RoleName="R", PolicyArn=ARN + ADMIN_POLICY)
    iam.put_role_policy(RoleName="R", PolicyName="more", PolicyDocument=json.dumps(allow("s3:GetObject")))
    iam.tag_role(RoleName="R", Tags=[{"Key": "old", "Value": "x"}])
    denied(
        role,
        *("iam:UpdateAssumeRolePolicy", "iam:UpdateRole", "iam:PutRolePermissionsBoundary", "iam:DetachRolePolicy"),
        *("iam:DeleteRolePolicy", "iam:UntagRole", "iam:TagRole", "iam:TagInstanceProfile"),
        **FULL_ROLE,
        exclusive=True,
    )
    denied(role, "iam:DeleteRolePermissionsBoundary", **ROLE, permissions_boundary="none")
    denied(profile, "ec2:AssociateIamInstanceProfile", name="R", instance_ids=instances[:1], wait_timeout=1)
    replaced = {"name": "R", "instance_ids": instances, "replace": True, "wait_timeout": 1}
    denied(profile, "ec2:ReplaceIamInstanceProfileAssociation", **replaced)
    denied(profile, "ec2:DisassociateIamInstanceProfile", **replaced, state="absent")
    down = ("DetachRolePolicy", "RemoveRoleFromInstanceProfile", "DeleteInstanceProfile", "DeleteRole")
    denied(role, *(f"iam:{action}" for action in down), **{**ROLE, "state": "absent"})

    denied(users, "iam:CreateUser", "iam:AttachUserPolicy", "iam:CreateAccessKey", **user)
    iam.attach_user_policy(UserName="u1", PolicyArn=ARN + ADMIN_POLICY)
    denied(users, "iam:DetachUserPolicy", "iam:TagUser", **user, tags={"a": "b"})
    denied(users, "iam:DeleteAccessKey", "iam:DetachUserPolicy", "iam:DeleteUser", **user, state="absent")
    denied("cwagent_config_parameter", "ssm:PutParameter", **PARAMETER)
    denied("cwagent_config_parameter", "ssm:DeleteParameter", name=PARAMETER["name"], state="absent")
    left = account(aws)
    assert (left["roles"].keys(), left["users"], left["parameters"]) == ({"Other"}, {}, {aws.region: {}})


READS = {
    "iam:GetRole": ("cwagent_iam_role", ROLE),
    "iam:GetInstanceProfile": ("cwagent_iam_role", ROLE),
    "iam:ListAccessKeys": ("cwagent_iam_user", {**USER, "state": "absent"}),
    "ec2:DescribeIamInstanceProfileAssociations": ("cwagent_instance_profile", {"name": "R"}),
    "ec2:DescribeInstances": ("cwagent_preflight", {}),
    "ssm:GetParameter": ("cwagent_config_parameter", PARAMETER),
}


def test_a_user_without_the_right_to_read(enforcing: Emulator) -> None:
    """Real users, each allowed everything but one action."""
    [instance] = enforcing.instances(1)
    make_user(enforcing, "u1")
    for number, (action, (module, arguments)) in enumerate(READS.items()):
        env = make_user(enforcing, f"restricted{number}", allow(NotAction=action))
        instances = {
            "cwagent_preflight": {"instances": {"": [instance]}},
            "cwagent_instance_profile": {"instance_ids": [instance]},
        }
        refused(
            run_module(enforcing, module, env=env, **arguments, **instances.get(module, {})),
            action,
            f"user/restricted{number}",
        )


def test_a_user_without_any_right_is_told_what_was_not_done(enforcing: Emulator) -> None:
    env = make_user(enforcing, "reader", allow("iam:Get*", "iam:List*", "iam:CreateRole"))
    result = run_module(enforcing, "cwagent_iam_role", env=env, **ROLE)
    refused(result, "iam:AttachRolePolicy", "user/reader")
    assert result["done"] == ["create role 'R'"]
    assert "Done before that: create role 'R'. Not done: create instance profile 'R'" in result["msg"]
    assert run_module(enforcing, "cwagent_iam_role", **ROLE)["changed"]


def test_an_explicit_deny_is_called_so(enforcing: Emulator) -> None:
    document = allow("*")
    document["Statement"].append({"Effect": "Deny", "Action": "iam:CreateRole", "Resource": "*"})
    env = make_user(enforcing, "bound", document)
    message = run_module(enforcing, "cwagent_iam_role", env=env, **ROLE)["msg"]
    assert "explicitly denies iam:CreateRole" in message
    assert "user/bound" in message


@pytest.mark.parametrize("role", ["R", ADMIN_ROLE])
def test_an_instance_without_the_admin_policy_cannot_store(enforcing: Emulator, role: str) -> None:
    """With its own credentials, not with those that happen to be in its environment."""
    [instance] = enforcing.instances(1)
    make_role(enforcing, role, ADMIN_POLICY if role == ADMIN_ROLE else SERVER_POLICY)
    put_on(enforcing, instance, role)
    env = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": enforcing.metadata_endpoint(instance)}
    result = run_module(enforcing, "cwagent_config_parameter", env=env, as_instance=True, **PARAMETER)
    if role == ADMIN_ROLE:
        assert result["changed"]
    else:
        refused(result, "ssm:PutParameter", f"assumed-role/R/{instance}")


@pytest.mark.parametrize("closed", [True, False])
def test_a_region_that_the_organization_has_closed_is_passed_over(enforcing: Emulator, closed: bool) -> None:
    """A policy of an organization is the same to the caller as an explicit Deny of its own."""
    in_one_region = {"Condition": {"StringEquals": {"aws:RequestedRegion": "us-west-2"}}}
    describe = {"Action": "ec2:DescribeIamInstanceProfileAssociations", "Resource": "*"}
    everywhere_else = {"Condition": {"StringNotEquals": {"aws:RequestedRegion": "us-west-2"}}}
    statements = [
        {"Effect": "Allow", "Action": "ec2:DescribeRegions", "Resource": "*"},
        {"Effect": "Allow", **describe, **({} if closed else everywhere_else)},
        *([{"Effect": "Deny", **describe, **in_one_region}] if closed else []),
    ]
    env = make_user(enforcing, f"caller{closed}", {"Version": "2012-10-17", "Statement": statements})
    result = run_module(enforcing, "cwagent_preflight", env=env, retired_profiles=["P"])
    words = "explicitly denies" if closed else "lacks"
    told = result["warnings"][0] if closed else result["msg"]
    assert f"{words} ec2:DescribeIamInstanceProfileAssociations" in told
    assert ("in us-west-2 carry a profile" in told) == closed


def test_credentials_that_cannot_be_used_are_told_once(enforcing: Emulator) -> None:
    """In several regions, each of which is asked by a thread of its own."""
    regions = {region: ["i-0123456789abcdef0"] for region in ("us-east-1", "us-west-2", "eu-central-1")}
    result = run_module(enforcing, "cwagent_preflight", instances=regions, profile="nosuch")
    assert "Passing both a profile and access tokens is not supported" in result["msg"]
