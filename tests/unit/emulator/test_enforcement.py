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
