"""The error of a denied call contains the call, the caller, and the action to grant."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from emulator import Emulator, Kind
from emulator.snapshot import snapshot
from harness import (
    ADMIN_ROLE,
    POLICY_ARN,
    REPLACE_ASSOCIATION,
    allow,
    create_user,
    restore_records,
)
from in_process import run_module
from states import States
from storing import APP, ready_to_store

from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import EXCLUDED_ACTIONS

ROLE: dict[str, Any] = {"name": "R", "access": "server", "wait_timeout": 1}


def assert_denied(result: dict[str, Any], action: str, identity: str) -> None:
    """Assert that the message contains the call, the caller and the action to grant."""
    assert result["failed"], action
    message = result["msg"]
    assert "Could not " in message
    assert f"({action})" in message
    assert re.search(rf"\S*{identity}\S* lacks {action}", message), message
    remedy = f"No example policy grants {action}" if action in EXCLUDED_ACTIONS else f"Grant {action} to it"
    assert remedy in message


EXCLUSIVE = {**ROLE, "tags": {"a": "b"}, "permissions_boundary": POLICY_ARN + "PowerUserAccess", "exclusive": True}
WITHOUT_BOUNDARY = {**ROLE, "permissions_boundary": "none"}
DENIALS = {
    "iam:PutRolePermissionsBoundary": (ROLE, EXCLUSIVE),
    "iam:DeleteRolePolicy": (ROLE, EXCLUSIVE),
    "iam:UntagRole": (ROLE, EXCLUSIVE),
    "iam:DeleteRolePermissionsBoundary": (EXCLUSIVE, WITHOUT_BOUNDARY),
}
"""By action, the options of the module before and while it is denied. test_permissions.py has all others."""


@pytest.mark.parametrize("action", DENIALS)
def test_a_denied_write_is_reported_and_the_next_run_completes(enforcing: Emulator, action: str) -> None:
    before, options = DENIALS[action]
    assert run_module(enforcing, "cwagent_iam_role", **before)["changed"]
    iam = enforcing.client("iam")
    iam.put_role_policy(RoleName="R", PolicyName="more", PolicyDocument=json.dumps(allow("s3:GetObject")))
    iam.tag_role(RoleName="R", Tags=[{"Key": "old", "Value": "x"}])
    denial = {"kind": Kind.DENY, "service": "iam", "action": action.partition(":")[2], "times": 20}
    assert_denied(run_module(enforcing, "cwagent_iam_role", denial, **options), action, "root")
    assert run_module(enforcing, "cwagent_iam_role", **options)["changed"]
    assert not run_module(enforcing, "cwagent_iam_role", **options)["changed"]


def test_the_error_lists_the_steps_that_were_done_and_not_done(enforcing: Emulator) -> None:
    env = create_user(enforcing, "reader", allow("iam:Get*", "iam:List*", "iam:CreateRole"))
    result = run_module(enforcing, "cwagent_iam_role", credentials=env, **ROLE)
    assert_denied(result, "iam:AttachRolePolicy", "user/reader")
    assert result["done"] == ["create role 'R'"]
    assert "Done before that: create role 'R'. Not done: create instance profile 'R'" in result["msg"]
    assert run_module(enforcing, "cwagent_iam_role", **ROLE)["changed"]


@pytest.mark.parametrize("may_restore", [False, True])
def test_nothing_is_opened_for_a_caller_who_may_not_restore_the_earlier_profile(
    states: States, may_restore: bool
) -> None:
    """EC2 denies it only when the profile is associated, so the run first associates it once more."""
    account = states.begin(ready_to_store)
    instance = account.set_profile(APP)
    passed = [f"arn:aws:iam::*:role/{name}" for name in (ADMIN_ROLE, *[APP] * may_restore)]
    policy = allow("ec2:*", "iam:Get*", "iam:List*", "iam:TagRole", "iam:UntagRole", "iam:*RolePolicy", "ssm:*")
    policy["Statement"].append({"Effect": "Allow", "Action": "iam:PassRole", "Resource": passed})
    common: dict[str, Any] = {"credentials": create_user(account.aws, "storer", policy), "wait_timeout": 5}
    before, since = snapshot(account.aws), account.aws.mark()
    opening: dict[str, Any] = {"state": "opened", "from": "run_command"}
    result = account.store(**opening, **common)
    writes = [call.action for call in account.aws.writes(since)]
    if may_restore:
        assert writes[-3:] == [REPLACE_ASSOCIATION, "PutRolePolicy", REPLACE_ASSOCIATION]
        assert not result["failed"], result
    else:
        lacks = rf"user/storer lacks iam:PassRole on arn:aws:iam::\d+:role/{APP}"
        assert re.search(lacks, result["msg"]), result["msg"]
        assert "to prove that it can be restored" in result["msg"]
        assert writes[:3] == ["TagRole", "CreateTags", REPLACE_ASSOCIATION]
        policies = [call.params["PolicyDocument"] for call in account.calls_of("PutRolePolicy", since)]
        assert [each for each in policies if "Condition" in each] == []  # it is closed without having been opened
        assert account.profiles == {instance: APP}
    assert not account.restore(**common)["failed"]
    assert snapshot(account.aws)["associations"] == before["associations"]
    assert restore_records(account.aws) == {}


def test_an_explicit_deny_is_named(enforcing: Emulator) -> None:
    document = allow("*")
    document["Statement"].append({"Effect": "Deny", "Action": "iam:CreateRole", "Resource": "*"})
    env = create_user(enforcing, "bound", document)
    message = run_module(enforcing, "cwagent_iam_role", credentials=env, **ROLE)["msg"]
    assert "explicitly denies iam:CreateRole" in message
    assert "user/bound" in message


@pytest.mark.parametrize("closed", [True, False])
def test_a_region_that_an_organization_denies_is_skipped_with_a_warning(enforcing: Emulator, closed: bool) -> None:
    """For the caller, a policy of an organization is the same as an explicit Deny in its own policies."""
    in_one_region = {"Condition": {"StringEquals": {"aws:RequestedRegion": "us-west-2"}}}
    describe = {"Action": "ec2:DescribeIamInstanceProfileAssociations", "Resource": "*"}
    everywhere_else = {"Condition": {"StringNotEquals": {"aws:RequestedRegion": "us-west-2"}}}
    statements = [
        {"Effect": "Allow", "Action": "ec2:DescribeRegions", "Resource": "*"},
        {"Effect": "Allow", **describe, **({} if closed else everywhere_else)},
        *([{"Effect": "Deny", **describe, **in_one_region}] if closed else []),
    ]
    env = create_user(enforcing, f"caller{closed}", {"Version": "2012-10-17", "Statement": statements})
    result = run_module(enforcing, "cwagent_restore", state="checked", credentials=env, profiles_to_delete=["P"])
    words = "explicitly denies" if closed else "lacks"
    message = result["warnings"][0] if closed else result["msg"]
    assert f"{words} ec2:DescribeIamInstanceProfileAssociations" in message
    assert ("whether instances in us-west-2 have an instance profile to delete" in message) == closed


def test_unusable_credentials_are_reported_once(enforcing: Emulator) -> None:
    """In several regions, which different threads read."""
    regions = {region: ["i-0123456789abcdef0"] for region in ("us-east-1", "us-west-2", "eu-central-1")}
    result = run_module(enforcing, "cwagent_restore", state="checked", instances=regions, profile="nosuch")
    assert result["msg"].startswith("Could not connect to AWS: the task has both a profile and an access key")
    assert "Unset AWS_PROFILE, or unset AWS_ACCESS_KEY_ID" in result["msg"]
