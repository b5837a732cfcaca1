"""ministack enforces the policies that the collection relies on."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

pytestmark = pytest.mark.parametrize("aws", ["ministack"], indirect=True)
NAME = "AmazonCloudWatch-linux"


def put(client: Any, name: str = NAME) -> None:
    client.put_parameter(Name=name, Value="{}", Type="String", Overwrite=True)


@pytest.fixture
def instance(account: Any) -> str:
    account.role("server", "CloudWatchAgentServerPolicy")
    account.role("admin", "CloudWatchAgentAdminPolicy")
    return account.aws.instances(1)[0]


def test_the_server_role_reads_and_does_not_write(account: Any, instance: str) -> None:
    account.associate(instance, "server")
    ssm = account.on_instance(instance, "ssm")
    with pytest.raises(ClientError, match=r"AccessDeniedException.*ssm:PutParameter"):
        put(ssm)
    put(account.aws.client("ssm"))
    assert ssm.get_parameter(Name=NAME)["Parameter"]["Value"] == "{}"


def test_the_admin_role_writes_names_of_the_agent_only(account: Any, instance: str) -> None:
    account.associate(instance, "admin")
    ssm = account.on_instance(instance, "ssm")
    put(ssm)
    with pytest.raises(ClientError, match="AccessDeniedException"):
        put(ssm, "elsewhere")


def test_a_deny_ends_when_its_time_comes(account: Any, instance: str) -> None:
    account.associate(instance, "admin")
    ssm = account.on_instance(instance, "ssm")
    deadline = f"{datetime.now(UTC) + timedelta(minutes=10):%Y-%m-%dT%H:%M:%SZ}"
    for operator, allowed in (("DateLessThan", [False, True]), ("DateGreaterThan", [True, False])):
        condition = {operator: {"aws:CurrentTime": deadline}}
        deny = {"Effect": "Deny", "Action": "ssm:PutParameter", "Resource": "*", "Condition": condition}
        document = json.dumps({"Version": "2012-10-17", "Statement": [deny]})
        account.iam.put_role_policy(RoleName="admin", PolicyName="window", PolicyDocument=document)
        for can, shift in zip(allowed, (660, -660), strict=True):
            if can:
                put(ssm)
            else:
                with pytest.raises(ClientError, match="explicit deny"):
                    put(ssm)
            account.aws.shift_clock(shift)


@pytest.mark.parametrize(
    "policy", ["CloudWatchAgentAdminPolicy", "service-role/AmazonEC2RoleforSSM", "AmazonSSMManagedInstanceCore"]
)
def test_managed_policies_are_there_after_a_reset(account: Any, policy: str) -> None:
    found = account.iam.get_policy(PolicyArn=f"arn:aws:iam::aws:policy/{policy}")["Policy"]
    assert found["Path"] + found["PolicyName"] == f"/{policy}"


def test_an_unknown_policy_cannot_be_attached(account: Any, instance: str) -> None:
    with pytest.raises(ClientError, match="NoSuchEntity"):
        account.iam.attach_role_policy(RoleName="admin", PolicyArn="arn:aws:iam::aws:policy/Nope")


def test_a_role_is_passed_with_its_instance_profile(account: Any, instance: str) -> None:
    """By those who put it into the profile, and by those who put the profile on an instance; to EC2 alone."""
    passing = {"Effect": "Allow", "Action": "iam:PassRole", "Resource": "arn:aws:iam::*:role/server"}
    passing["Condition"] = {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}
    rest = {"Effect": "Allow", "NotAction": "iam:PassRole", "Resource": "*"}
    iam, ec2 = (limited(account, service, [rest, passing]) for service in ("iam", "ec2"))
    iam.create_instance_profile(InstanceProfileName="new")
    with pytest.raises(ClientError, match=r"AccessDenied\b.*iam:PassRole on resource: arn:aws:iam::\d+:role/admin "):
        iam.add_role_to_instance_profile(InstanceProfileName="new", RoleName="admin")
    iam.add_role_to_instance_profile(InstanceProfileName="new", RoleName="server")
    with pytest.raises(ClientError, match=r"UnauthorizedOperation\b.*iam:PassRole"):
        ec2.associate_iam_instance_profile(InstanceId=instance, IamInstanceProfile={"Name": "admin"})
    ec2.associate_iam_instance_profile(InstanceId=instance, IamInstanceProfile={"Name": "new"})


def test_policies_are_held_to_arns_and_to_the_policy_that_is_attached(account: Any, instance: str) -> None:
    arn = "arn:aws:iam::aws:policy/ReadOnlyAccess"
    iam = limited(
        account,
        "iam",
        [
            {"Effect": "Allow", "Action": "iam:CreateRole", "Resource": "arn:aws:iam::*:role/team/*"},
            {"Effect": "Allow", "Action": "iam:GetInstanceProfile", "Resource": "arn:aws:iam::*:instance-profile/s*"},
            {
                "Effect": "Allow",
                "Action": "iam:AttachRolePolicy",
                "Resource": "*",
                "Condition": {"ArnEquals": {"iam:PolicyARN": arn}},
            },
        ],
    )
    trust = json.dumps({"Version": "2012-10-17", "Statement": []})
    iam.create_role(RoleName="R", Path="/team/", AssumeRolePolicyDocument=trust)
    iam.get_instance_profile(InstanceProfileName="server")
    iam.attach_role_policy(RoleName="R", PolicyArn=arn)
    for call, arguments in (
        (iam.create_role, {"RoleName": "S", "AssumeRolePolicyDocument": trust}),
        (iam.get_instance_profile, {"InstanceProfileName": "admin"}),
        (iam.attach_role_policy, {"RoleName": "R", "PolicyArn": "arn:aws:iam::aws:policy/AdministratorAccess"}),
    ):
        with pytest.raises(ClientError, match="AccessDenied"):
            call(**arguments)


def limited(account: Any, service: str, statements: list[dict[str, Any]]) -> Any:
    """A client of a user that has these statements."""
    name = f"limited-{service}"
    account.iam.create_user(UserName=name)
    document = json.dumps({"Version": "2012-10-17", "Statement": statements})
    account.iam.put_user_policy(UserName=name, PolicyName="given", PolicyDocument=document)
    key = account.iam.create_access_key(UserName=name)["AccessKey"]
    return account.aws.client(service, credentials=key)
