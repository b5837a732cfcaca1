"""Signatures that AWS refuses, and the codes and messages of its services."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from emulator import Emulator
from emulator.testing import refused

from ansible_collections.cwagent.iam.plugins.module_utils._ground.signed_call import Keys, sign

CALLS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "ssm": ("InvalidSignatureException", lambda client: client.get_parameter(Name="x")),
    "sts": ("SignatureDoesNotMatch", lambda client: client.get_caller_identity()),
    "iam": ("SignatureDoesNotMatch", lambda client: client.list_users()),
    "ec2": ("AuthFailure", lambda client: client.describe_instances()),
}
ALLOWED = {"Effect": "Allow", "Action": "*", "Resource": "*"}


@pytest.mark.parametrize("aws", ["ministack", "moto"], indirect=True)
def test_a_wrong_secret_is_refused(aws: Emulator, account: Any) -> None:
    session = aws.client("sts").assume_role(RoleArn=role_of(account), RoleSessionName="session")["Credentials"]
    for keys in (account.limited_key(ALLOWED), session, {"AccessKeyId": "test"}):
        for service, (code, call) in CALLS.items():
            with refused(code):
                call(aws.client(service, credentials={**keys, "SecretAccessKey": "wrong"}))


def role_of(account: Any) -> str:
    trust = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    return str(account.iam.create_role(RoleName="r", AssumeRolePolicyDocument=document)["Role"]["Arn"])


@pytest.mark.parametrize(
    ("minutes", "refusal"), [(-4, ""), (4, ""), (-6, "Signature expired: "), (6, "Signature not yet current: ")]
)
def test_a_wrong_clock_is_refused(aws: Emulator, minutes: int, refusal: str) -> None:
    headers = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "AmazonSSM.GetParameter"}
    time, body = datetime.now(UTC) + timedelta(minutes=minutes), b'{"Name": "absent"}'
    signed = sign(f"{aws.endpoint}/", headers, body, Keys("test", "test"), service="ssm", region=aws.region, time=time)
    with pytest.raises(HTTPError) as answer:
        urlopen(Request(aws.endpoint, body, signed))
    error = json.load(answer.value)
    assert error["__type"].endswith("InvalidSignatureException" if refusal else "ParameterNotFound")
    assert error["message"].startswith(refusal)
