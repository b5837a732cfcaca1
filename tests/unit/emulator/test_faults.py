"""Each kind of fault, as a client sees it."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError
from emulator import Emulator, Fault, Kind, program_environment
from emulator.client import END_SECONDS

ONCE = Config(retries={"total_max_attempts": 1})


def client_without_retries(aws: Emulator, service: str) -> Any:
    """A client without retries, so that a fault is visible."""
    return aws.client(service, config=ONCE)


def users(aws: Emulator) -> list[str]:
    return [user["UserName"] for user in aws.client("iam").list_users()["Users"]]


CALLS: dict[str, Any] = {
    "iam": lambda aws: client_without_retries(aws, "iam").create_user(UserName="u"),
    "ec2": lambda aws: client_without_retries(aws, "ec2").describe_instances(),
    "ssm": lambda aws: client_without_retries(aws, "ssm").get_parameter(Name="p"),
    "sts": lambda aws: client_without_retries(aws, "sts").get_caller_identity(),
}


@pytest.mark.parametrize(
    ("kind", "service", "code", "status"),
    [
        (Kind.THROTTLE, "iam", "Throttling", 400),
        (Kind.THROTTLE, "ec2", "RequestLimitExceeded", 503),
        (Kind.THROTTLE, "ssm", "ThrottlingException", 400),
        (Kind.THROTTLE, "sts", "Throttling", 400),
        (Kind.DENY, "iam", "AccessDenied", 403),
        (Kind.DENY, "ec2", "UnauthorizedOperation", 403),
        (Kind.DENY, "ssm", "AccessDeniedException", 400),
        (Kind.SERVER_ERROR, "iam", "ServiceFailure", 500),
        (Kind.SERVER_ERROR, "ssm", "InternalServerError", 500),
    ],
)
def test_an_error_has_the_format_of_the_service(
    aws: Emulator, kind: Kind, service: str, code: str, status: int
) -> None:
    aws.arm(Fault(kind, service=service))
    with pytest.raises(ClientError) as caught:
        CALLS[service](aws)
    assert caught.value.response["Error"]["Code"] == code
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    [call] = aws.calls()
    assert (call.service, call.status, call.error, call.fault) == (service, status, code, kind)


def test_a_denial_names_caller_action_and_resource(aws: Emulator) -> None:
    aws.arm(Fault(Kind.DENY, service="iam", action="CreateUser"))
    who, what, where = "arn:aws:iam::123456789012:root", "iam:CreateUser", "arn:aws:iam::123456789012:user/u"
    with pytest.raises(
        ClientError, match=f"User: {who} is not authorized to perform: {what} on resource: {where} because"
    ):
        CALLS["iam"](aws)


def test_an_explicit_error_happens_the_given_number_of_times(aws: Emulator) -> None:
    message = "Value (p) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name"
    aws.arm(Fault(Kind.ERROR, action="DescribeInstances", times=2, code="InvalidParameterValue", message=message))
    for _ in range(2):
        with pytest.raises(ClientError, match="Invalid IAM Instance Profile name"):
            CALLS["ec2"](aws)
    CALLS["ec2"](aws)


def test_a_fault_affects_only_the_nth_write(aws: Emulator) -> None:
    iam = client_without_retries(aws, "iam")
    aws.arm(Fault(Kind.THROTTLE, writes=True, nth=2))
    iam.create_user(UserName="first")
    iam.list_users()
    with pytest.raises(ClientError, match="Throttling"):
        iam.create_user(UserName="second")
    iam.create_user(UserName="third")
    assert users(aws) == ["first", "third"]


def test_a_call_with_a_lost_answer_has_its_effect(aws: Emulator) -> None:
    aws.arm(Fault(Kind.LOSE_ANSWER, action="CreateUser"))
    with pytest.raises(ConnectionClosedError):
        CALLS["iam"](aws)
    assert users(aws) == ["u"]
    assert [(call.action, call.status, call.fault) for call in aws.writes()] == [("CreateUser", 200, "lose_answer")]


@pytest.mark.parametrize(("kind", "done"), [(Kind.KILL_BEFORE, []), (Kind.KILL_AFTER, ["u"])])
def test_a_kill_ends_the_client_before_or_after_the_effect(aws: Emulator, kind: Kind, done: list[str]) -> None:
    code = "import boto3; input(); boto3.client('iam').create_user(UserName='u')"
    environ = program_environment(aws.env())
    with subprocess.Popen(
        [sys.executable, "-c", code], env=environ, stdin=subprocess.PIPE, start_new_session=True
    ) as client:
        aws.arm(Fault(kind, action="CreateUser", process=client.pid))
        client.communicate(b"\n")
    assert client.returncode == -signal.SIGKILL
    assert users(aws) == done


def test_a_killed_call_is_not_cut_off_before_its_caller_ends(aws: Emulator) -> None:
    """The caller would repeat the call."""
    address = urlsplit(aws.endpoint)
    with (
        subprocess.Popen(["sleep", "600"]) as other,
        socket.create_connection((address.hostname, address.port)) as caller,
    ):
        aws.arm(Fault(Kind.KILL_BEFORE, process=other.pid))
        caller.sendall(b"POST / HTTP/1.1\r\nAuthorization: x\r\nContent-Length: 0\r\n\r\n")
        assert other.wait(END_SECONDS) == -signal.SIGKILL
        caller.settimeout(0.5)
        with pytest.raises(TimeoutError):
            caller.recv(1)


def test_a_delay_makes_calls_slower(aws: Emulator) -> None:
    iam = aws.client("iam")
    aws.arm(Fault(Kind.DELAY, seconds=0.2))
    began = time.monotonic()
    iam.list_users()
    assert time.monotonic() - began >= 0.2


def test_a_rate_throttles_calls_beyond_the_burst(aws: Emulator) -> None:
    iam = client_without_retries(aws, "iam")
    aws.arm(Fault(Kind.RATE, rate=0.01, burst=2))
    iam.list_users()
    iam.list_users()
    with pytest.raises(ClientError, match="Throttling"):
        iam.list_users()
    aws.disarm()
    iam.list_users()
