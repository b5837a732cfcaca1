"""Instance metadata follows the association."""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from emulator import Emulator
from emulator.testing import wait_until

ROLE = "meta-data/iam/security-credentials/"
LAG, LATER = 0.3, 120
"""Seconds until a change is visible, soon and much later."""
both = pytest.mark.parametrize("aws", ["ministack", "moto"], indirect=True)  # each is corrected in its own way


@pytest.fixture
def associated_instance(account: Any) -> tuple[str, str]:
    """An instance with the server profile, and the id of the association."""
    account.create_role("server", "CloudWatchAgentServerPolicy")
    account.create_role("admin", "CloudWatchAgentAdminPolicy")
    [instance] = account.aws.instances(1)
    return instance, account.associate(instance, "server")


def arn(client: Any) -> str:
    return str(client.get_caller_identity()["Arn"])


@both
def test_credentials_belong_to_the_associated_role(
    aws: Emulator, account: Any, associated_instance: tuple[str, str]
) -> None:
    instance, association = associated_instance
    before = account.instance_client(instance, "sts")
    assert arn(before) == f"arn:aws:sts::123456789012:assumed-role/server/{instance}"
    account.ec2.replace_iam_instance_profile_association(
        AssociationId=association, IamInstanceProfile={"Name": "admin"}
    )
    assert arn(account.instance_client(instance, "sts")) == f"arn:aws:sts::123456789012:assumed-role/admin/{instance}"
    assert arn(before).endswith(f"/server/{instance}")  # credentials handed out earlier stay valid
    assert aws.calls()[-1].identity == "role"
    shown = account.ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]
    assert shown["IamInstanceProfile"]["Arn"].endswith("instance-profile/admin")


@both
def test_there_are_no_credentials_without_a_profile_or_on_a_stopped_instance(
    aws: Emulator, account: Any, associated_instance: tuple[str, str]
) -> None:
    instance, association = associated_instance
    account.ec2.stop_instances(InstanceIds=[instance])
    with pytest.raises(HTTPError, match="404"):
        aws.metadata(instance, ROLE)
    account.ec2.start_instances(InstanceIds=[instance])
    assert aws.metadata(instance, ROLE) == "server"
    account.ec2.disassociate_iam_instance_profile(AssociationId=association)
    with pytest.raises(HTTPError, match="404"):
        aws.metadata(instance, ROLE)


def test_a_request_needs_a_token(aws: Emulator, associated_instance: tuple[str, str]) -> None:
    with pytest.raises(HTTPError, match="401"):
        urlopen(Request(f"{aws.metadata_endpoint(associated_instance[0])}/latest/{ROLE}"))


def test_a_role_that_does_not_trust_ec2_gives_no_credentials(
    aws: Emulator, account: Any, associated_instance: tuple[str, str]
) -> None:
    trust = account.iam.get_role(RoleName="server")["Role"]["AssumeRolePolicyDocument"]
    other = json.dumps(trust).replace("ec2", "lambda")
    account.iam.update_assume_role_policy(RoleName="server", PolicyDocument=other)
    assert aws.instance_credentials(associated_instance[0])["Code"] == "AssumeRoleUnauthorizedAccess"


def role_of(aws: Emulator, instance: str) -> str | None:
    try:
        return aws.metadata(instance, ROLE)
    except HTTPError as error:
        if error.code != 404:
            raise
        return None


def test_a_change_is_visible_after_the_lag(aws: Emulator, account: Any, associated_instance: tuple[str, str]) -> None:
    instance, association = associated_instance
    aws.metadata_lag(LAG)
    assert role_of(aws, instance) == "server"
    began = time.monotonic()
    account.ec2.replace_iam_instance_profile_association(
        AssociationId=association, IamInstanceProfile={"Name": "admin"}
    )
    seen: set[str | None] = set()

    def has_changed() -> bool:
        seen.add(role_of(aws, instance))
        return "admin" in seen

    wait_until(has_changed)
    assert time.monotonic() - began >= LAG
    assert seen <= {"server", "admin"}


def test_a_change_before_the_lag_is_visible(aws: Emulator, account: Any, associated_instance: tuple[str, str]) -> None:
    """A lag that is set later does not hide a change that the instance has already shown."""
    instance, association = associated_instance
    for profile in ("admin", "server"):
        replaced = account.ec2.replace_iam_instance_profile_association(
            AssociationId=association, IamInstanceProfile={"Name": profile}
        )
        association = replaced["IamInstanceProfileAssociation"]["AssociationId"]
        assert role_of(aws, instance) == profile
        aws.metadata_lag(LATER)
        assert role_of(aws, instance) == profile
        aws.metadata_lag(0)
