"""Instance metadata follows the association, on both backends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from emulator import Emulator

ROLE = "meta-data/iam/security-credentials/"
LAG, PATIENCE = 0.3, 10
"""Seconds: how late a change is seen, and how long a test waits for it."""


@pytest.fixture
def swapped(account: Any) -> tuple[str, str]:
    """An instance under the server profile, and its association."""
    account.role("server", "CloudWatchAgentServerPolicy")
    account.role("admin", "CloudWatchAgentAdminPolicy")
    [instance] = account.aws.instances(1)
    return instance, account.associate(instance, "server")


def arn(client: Any) -> str:
    return str(client.get_caller_identity()["Arn"])


def test_credentials_are_of_the_role_now_associated(aws: Emulator, account: Any, swapped: tuple[str, str]) -> None:
    instance, association = swapped
    before = account.on_instance(instance, "sts")
    assert arn(before) == f"arn:aws:sts::123456789012:assumed-role/server/{instance}"
    account.ec2.replace_iam_instance_profile_association(
        AssociationId=association, IamInstanceProfile={"Name": "admin"}
    )
    assert arn(account.on_instance(instance, "sts")) == f"arn:aws:sts::123456789012:assumed-role/admin/{instance}"
    assert arn(before).endswith(f"/server/{instance}")  # credentials handed out earlier stay valid
    assert aws.calls()[-1].identity == "role"
    shown = account.ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]
    assert shown["IamInstanceProfile"]["Arn"].endswith("instance-profile/admin")


def test_boto3_on_the_instance_finds_the_credentials(aws: Emulator, swapped: tuple[str, str]) -> None:
    instance, _ = swapped
    code = "import boto3; print(boto3.client('sts').get_caller_identity()['Arn'])"
    clean = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**clean, **aws.env(instance)}, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip().endswith(f"assumed-role/server/{instance}")


def test_nothing_to_see_without_profile_or_running_instance(
    aws: Emulator, account: Any, swapped: tuple[str, str]
) -> None:
    instance, association = swapped
    account.ec2.stop_instances(InstanceIds=[instance])
    with pytest.raises(HTTPError, match="404"):
        aws.metadata(instance, ROLE)
    account.ec2.start_instances(InstanceIds=[instance])
    assert aws.metadata(instance, ROLE) == "server"
    account.ec2.disassociate_iam_instance_profile(AssociationId=association)
    with pytest.raises(HTTPError, match="404"):
        aws.metadata(instance, ROLE)


def test_a_token_is_needed(aws: Emulator, swapped: tuple[str, str]) -> None:
    with pytest.raises(HTTPError, match="401"):
        urlopen(Request(f"{aws.metadata_endpoint(swapped[0])}/latest/{ROLE}"))


def test_a_role_that_does_not_trust_ec2_gives_no_credentials(
    aws: Emulator, account: Any, swapped: tuple[str, str]
) -> None:
    trust = account.iam.get_role(RoleName="server")["Role"]["AssumeRolePolicyDocument"]
    other = json.dumps(trust).replace("ec2", "lambda")
    account.iam.update_assume_role_policy(RoleName="server", PolicyDocument=other)
    assert aws.instance_credentials(swapped[0])["Code"] == "AssumeRoleUnauthorizedAccess"


def test_identity(aws: Emulator, swapped: tuple[str, str]) -> None:
    instance, _ = swapped
    document = json.loads(aws.metadata(instance, "dynamic/instance-identity/document"))
    assert (document["instanceId"], document["region"]) == (instance, "eu-central-1")
    assert aws.metadata(instance, "meta-data/placement/region") == "eu-central-1"
    assert json.loads(aws.metadata(instance, "meta-data/iam/info"))["InstanceProfileArn"].endswith("/server")


def wait_for(aws: Emulator, instance: str, role: str) -> None:
    """Wait until the instance sees a role."""
    end = time.monotonic() + PATIENCE
    while role_of(aws, instance) != role:
        assert time.monotonic() < end, role
        time.sleep(0.02)  # between two looks: nothing tells an instance of its new role, as on AWS


def role_of(aws: Emulator, instance: str) -> str | None:
    try:
        return aws.metadata(instance, ROLE)
    except HTTPError as error:
        if error.code != 404:
            raise
        return None


def test_a_change_is_seen_late_when_told_to(aws: Emulator, account: Any, swapped: tuple[str, str]) -> None:
    instance, association = swapped
    aws.metadata_lag(LAG)
    wait_for(aws, instance, "server")
    account.ec2.replace_iam_instance_profile_association(
        AssociationId=association, IamInstanceProfile={"Name": "admin"}
    )
    assert aws.metadata(instance, ROLE) == "server"
    wait_for(aws, instance, "admin")


def test_instances_of_another_region(aws: Emulator) -> None:
    [instance] = aws.instances(1, region="us-east-1")
    assert aws.metadata(instance, "meta-data/placement/region") == "us-east-1"
