"""One running emulator per backend and session, emptied before each test."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from emulator import Emulator

TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}


class Account:
    """An account in which tests create roles with an instance profile and one AWS managed policy each."""

    def __init__(self, aws: Emulator) -> None:
        self.aws = aws
        self.iam, self.ec2 = aws.client("iam"), aws.client("ec2")

    def create_role(self, name: str, policy: str) -> None:
        self.iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(TRUST))
        self.iam.attach_role_policy(RoleName=name, PolicyArn=f"arn:aws:iam::aws:policy/{policy}")
        self.iam.create_instance_profile(InstanceProfileName=name)
        self.iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)

    def associate(self, instance: str, profile: str) -> str:
        answer = self.ec2.associate_iam_instance_profile(InstanceId=instance, IamInstanceProfile={"Name": profile})
        return str(answer["IamInstanceProfileAssociation"]["AssociationId"])

    def limited_key(self, *statements: dict[str, Any]) -> dict[str, str]:
        """The access key of a new user with these statements as its policy."""
        name = f"limited{len(self.iam.list_users()['Users'])}"
        self.iam.create_user(UserName=name)
        document = json.dumps({"Version": "2012-10-17", "Statement": statements})
        self.iam.put_user_policy(UserName=name, PolicyName="inline", PolicyDocument=document)
        return dict(self.iam.create_access_key(UserName=name)["AccessKey"])

    def instance_client(self, instance: str, service: str) -> Any:
        """A client with the credentials that the instance sees now."""
        return self.aws.client(service, credentials=self.aws.instance_credentials(instance))


@pytest.fixture(scope="session")
def running() -> Iterator[dict[str, Emulator]]:
    started: dict[str, Emulator] = {}
    yield started
    for emulator in started.values():
        emulator.stop()


@pytest.fixture
def aws(request: pytest.FixtureRequest, running: dict[str, Emulator]) -> Emulator:
    """An empty account of ministack, or of the backends that a test is parametrized with."""
    backend = getattr(request, "param", "ministack")
    if backend not in running:
        running[backend] = Emulator.start(backend)
    running[backend].reset()
    return running[backend]


@pytest.fixture
def account(aws: Emulator) -> Account:
    return Account(aws)


@pytest.fixture
def account_of() -> type[Account]:
    """For an emulator that a test starts itself."""
    return Account
