"""The actions that an admin principal may call, decided by two independent evaluators of IAM policies.

One is the emulator, over HTTP; the other is a simulator that shares no code with it.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from emulator import Emulator
from hypothesis import given
from hypothesis import strategies as st
from simulator import Request

from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import DENIED_CODES
from ansible_collections.cwagent.iam.plugins.module_utils._ground.names import WINDOW_POLICY
from ansible_collections.cwagent.iam.plugins.module_utils._principals.policies import ACCESS_POLICIES
from ansible_collections.cwagent.iam.plugins.module_utils._principals.role_plan import Ec2Trust
from ansible_collections.cwagent.iam.plugins.module_utils._principals.window_policy import (
    Opening,
    WindowParameter,
    closed_policy,
    open_policy,
)

ACCOUNT, REGION = "123456789012", "us-east-1"
NAME, OTHER_NAME, GROUP, STREAM = "AmazonCloudWatch-linux", "AmazonCloudWatch-other", "app.log", "i-1"
OTHER_INSTANCE = "i-0123456789abcdef0"
PARAMETER = f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/"
TRUST = Ec2Trust().new_policy()
ALLOW_EVERYTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}

# Each call: its action and resource, how a client makes it, whether the managed policy allows it, whether a closed
# window denies it.
CALLS: dict[str, tuple[str, str, Any, bool, bool]] = {
    "write the configuration": (
        "ssm:PutParameter",
        PARAMETER + NAME,
        lambda client: client("ssm").put_parameter(Name=NAME, Value="{}", Type="String", Overwrite=True),
        True,
        True,
    ),
    "read the configuration": (
        "ssm:GetParameter",
        PARAMETER + NAME,
        lambda client: client("ssm").get_parameter(Name=NAME),
        True,
        False,
    ),
    "put metrics": (
        "cloudwatch:PutMetricData",
        "*",
        lambda client: client("cloudwatch").put_metric_data(
            Namespace="CWAgent", MetricData=[{"MetricName": "mem", "Value": 1}]
        ),
        True,
        False,
    ),
    "put logs": (
        "logs:PutLogEvents",
        f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{GROUP}:log-stream:{STREAM}",
        lambda client: client("logs").put_log_events(
            logGroupName=GROUP,
            logStreamName=STREAM,
            logEvents=[{"timestamp": int(datetime.now(UTC).timestamp() * 1000), "message": "x"}],
        ),
        True,
        False,
    ),
    "write another parameter": (
        "ssm:PutParameter",
        PARAMETER + "elsewhere",
        lambda client: client("ssm").put_parameter(Name="elsewhere", Value="{}", Type="String", Overwrite=True),
        False,
        True,
    ),
    "write another configuration": (
        "ssm:PutParameter",
        PARAMETER + OTHER_NAME,
        lambda client: client("ssm").put_parameter(Name=OTHER_NAME, Value="{}", Type="String", Overwrite=True),
        True,
        True,
    ),
    "delete the configuration": (
        "ssm:DeleteParameter",
        PARAMETER + NAME,
        lambda client: client("ssm").delete_parameter(Name=NAME),
        False,
        False,
    ),
}
MINUTES = 10
BOTH = {NAME, OTHER_NAME}
# The window, the minutes since it was opened, and which configurations the principal may write.
WINDOWS: dict[str, tuple[str | None, int, set[str]]] = {
    "no window": (None, 0, BOTH),
    "closed": ("closed", 0, set()),
    "closed, later": ("closed", 10_000, set()),
    "open": ("open", 0, BOTH),
    "open, nearly expired": ("open", MINUTES - 1, BOTH),
    "expired": ("open", MINUTES + 1, set()),
    "expired long ago": ("open", 10_000, set()),
    "open for one parameter": ("named", 0, {NAME}),
    "open for one parameter, nearly expired": ("named", MINUTES - 1, {NAME}),
    "open for one parameter, expired": ("named", MINUTES + 1, set()),
    "open for one parameter in another region": ("other region", 0, set()),
    "open for another instance": ("other instance", 0, set()),
    "open for another instance and one parameter": ("other instance, named", 0, set()),
}


def policy_of(window: str | None, instance_id: str | None, deadline: datetime) -> dict[str, Any] | None:
    """The policy of a window. :param instance_id: of the principal, if it is a role."""
    named = (WindowParameter(NAME, REGION),)
    openings = {
        "open": Opening(deadline, instance_id),
        "named": Opening(deadline, instance_id, named),
        "other region": Opening(deadline, instance_id, (WindowParameter(NAME, "eu-central-1"),)),
        "other instance": Opening(deadline, OTHER_INSTANCE),
        "other instance, named": Opening(deadline, OTHER_INSTANCE, named),
    }
    if window is None:
        return None
    return closed_policy() if window == "closed" else open_policy(openings[window])


class Admin:
    """An admin principal on the emulator, as the modules create it."""

    def __init__(self, aws: Emulator, kind: str) -> None:
        self.aws, self.kind, self.iam = aws, kind, aws.client("iam")
        self.instance: str | None = None
        aws.reset()
        self._create_log_stream_and_parameter()
        policy = f"arn:aws:iam::aws:policy/{ACCESS_POLICIES['admin']}"
        self.credentials = self._create_role(policy) if kind == "role" else self._create_user(policy)
        version = self.iam.get_policy(PolicyArn=policy)["Policy"]["DefaultVersionId"]
        found = self.iam.get_policy_version(PolicyArn=policy, VersionId=version)
        self.managed_policy = found["PolicyVersion"]["Document"]

    def _create_log_stream_and_parameter(self) -> None:
        logs = self.aws.client("logs")
        logs.create_log_group(logGroupName=GROUP)
        logs.create_log_stream(logGroupName=GROUP, logStreamName=STREAM)
        self.aws.client("ssm").put_parameter(Name=NAME, Value="{}", Type="String")

    def _create_role(self, policy: str) -> dict[str, str]:
        self.iam.create_role(RoleName="P", AssumeRolePolicyDocument=json.dumps(TRUST))
        self.iam.attach_role_policy(RoleName="P", PolicyArn=policy)
        self.iam.create_instance_profile(InstanceProfileName="P")
        self.iam.add_role_to_instance_profile(InstanceProfileName="P", RoleName="P")
        [instance] = self.aws.instances(1)
        self.instance = instance
        ec2 = self.aws.client("ec2")
        ec2.associate_iam_instance_profile(InstanceId=instance, IamInstanceProfile={"Name": "P"})
        return self.aws.instance_credentials(instance)

    def _create_user(self, policy: str) -> dict[str, str]:
        self.iam.create_user(UserName="P")
        self.iam.attach_user_policy(UserName="P", PolicyArn=policy)
        return dict(self.iam.create_access_key(UserName="P")["AccessKey"])

    def set_window(self, policy: dict[str, Any] | None) -> None:
        names = {f"{self.kind.title()}Name": "P", "PolicyName": WINDOW_POLICY}
        if policy:
            put = getattr(self.iam, f"put_{self.kind}_policy")
            put(**names, PolicyDocument=json.dumps(policy))

    def is_allowed(self, call: Any, credentials: dict[str, str] | None = None) -> bool:
        """:param credentials: of another session."""
        try:
            call(lambda service: self.aws.client(service, credentials=credentials or self.credentials))
        except ClientError as error:
            if error.response["Error"]["Code"] not in DENIED_CODES:
                raise
            return False
        return True


def to_request(
    kind: str, policies: list[dict[str, Any]], action: str, resource: str, time: datetime, *, session: str | None = None
) -> Request:
    """:param session: the name of the session, if the principal is a role."""
    arn = f"arn:aws:sts::{ACCOUNT}:assumed-role/P/{session}" if session else f"arn:aws:iam::{ACCOUNT}:{kind}/P"
    context = {
        "aws:CurrentTime": f"{time:%Y-%m-%dT%H:%M:%SZ}",
        "aws:userid": f"AROAP:{session}" if session else "AIDAP",
    }
    return Request(action, resource, policies, context=context, principal=arn)


@pytest.mark.parametrize("kind", ["role", "user"])
@pytest.mark.parametrize("case", WINDOWS.values(), ids=WINDOWS)
def test_emulator_and_simulator_decide_the_same(aws, simulator, kind, case):
    window, minutes, may_write = case
    admin = Admin(aws, kind)
    opened = datetime.now(UTC)
    policy = policy_of(window, admin.instance, opened + timedelta(minutes=MINUTES))
    admin.set_window(policy)
    aws.shift_clock(minutes * 60)
    policies, time = [admin.managed_policy, *([policy] if policy else [])], opened + timedelta(minutes=minutes)
    expected = {
        name: allowed and (not denied or resource.removeprefix(PARAMETER) in may_write)
        for name, (_, resource, _, allowed, denied) in CALLS.items()
    }
    emulated = {name: admin.is_allowed(call) for name, (_, _, call, *_) in CALLS.items()}
    requests = [to_request(kind, policies, *call[:2], time, session=admin.instance) for call in CALLS.values()]
    assert emulated == expected
    assert dict(zip(CALLS, simulator.decide(requests), strict=True)) == expected


@pytest.mark.parametrize("attached", ["managed", "everything"])
@pytest.mark.parametrize(
    ("window", "minutes"),
    [("closed", 0), ("named", 0), ("named", MINUTES - 1), ("named", MINUTES + 1)],
    ids=["closed", "open", "nearly expired", "expired"],
)
def test_credentials_of_the_role_write_nothing_on_another_instance_and_no_other_parameter(
    aws, simulator, window, minutes, attached
):
    """Whether they were taken before the window was opened or while it is open, and whatever else the role may do."""
    admin = Admin(aws, "role")
    if attached == "everything":
        admin.iam.put_role_policy(RoleName="P", PolicyName="all", PolicyDocument=json.dumps(ALLOW_EVERYTHING))
    [other] = aws.instances(1)
    aws.client("ec2").associate_iam_instance_profile(InstanceId=other, IamInstanceProfile={"Name": "P"})
    before = aws.instance_credentials(other)
    opened = datetime.now(UTC)
    policy = policy_of(window, admin.instance, opened + timedelta(minutes=MINUTES)) or {}
    admin.set_window(policy)
    aws.shift_clock(minutes * 60)
    sessions = [
        (admin.instance, admin.credentials),
        (admin.instance, aws.instance_credentials(admin.instance)),
        (other, before),
        (other, aws.instance_credentials(other)),
    ]
    is_open = window == "named" and minutes < MINUTES
    writes = [CALLS["write the configuration"], CALLS["write another configuration"], CALLS["write another parameter"]]
    expected = [is_open and instance != other and call is writes[0] for instance, _ in sessions for call in writes]
    emulated = [admin.is_allowed(call[2], credentials) for _, credentials in sessions for call in writes]
    policies, time = [admin.managed_policy, ALLOW_EVERYTHING, policy], opened + timedelta(minutes=minutes)
    requests = [
        to_request("role", policies, *call[:2], time, session=instance) for instance, _ in sessions for call in writes
    ]
    assert emulated == expected
    assert simulator.decide(requests) == expected


@given(
    deadline=st.datetimes(datetime(2025, 1, 1), datetime(2099, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001  hypothesis takes bounds without a zone
    seconds=st.integers(-3, 3) | st.integers(-(10**8), 10**8),
    kind=st.sampled_from(["role", "user"]),
)
def test_a_window_closes_in_the_second_of_its_deadline_whatever_else_is_allowed(simulator, deadline, seconds, kind):
    time = deadline.replace(microsecond=0) + timedelta(seconds=seconds)
    opened, closed = [ALLOW_EVERYTHING, open_policy(Opening(deadline))], [ALLOW_EVERYTHING, closed_policy()]
    requests = [
        to_request(kind, opened, "ssm:PutParameter", PARAMETER + NAME, time),
        to_request(kind, opened, "ssm:GetParameter", PARAMETER + NAME, time),
        to_request(kind, closed, "ssm:PutParameter", PARAMETER + NAME, time),
    ]
    assert simulator.decide(requests) == [seconds <= 0, True, False]


CHANGES = ["ssm:DeleteParameter", "ssm:DeleteParameters", "ssm:LabelParameterVersion", "ssm:UnlabelParameterVersion"]


@pytest.mark.parametrize("window", ["closed", "open", "named", "other instance"])
@pytest.mark.parametrize("action", CHANGES)
def test_nothing_but_writing_is_ever_open_whatever_else_is_allowed(simulator, window, action):
    now = datetime.now(UTC)
    policies = [ALLOW_EVERYTHING, policy_of(window, "i-1", now + timedelta(minutes=1)) or {}]
    request = to_request("role", policies, action, PARAMETER + NAME, now, session="i-1")
    assert simulator.decide([request]) == [False]


@pytest.mark.parametrize(
    ("session", "is_allowed"),
    [("i-1", True), ("i-2", False), ("i-11", False), ("xi-1", False), ("I-1", False), (None, False)],
)
def test_only_sessions_of_the_instance_may_write_whatever_else_is_allowed(simulator, session, is_allowed):
    now = datetime.now(UTC)
    policies = [ALLOW_EVERYTHING, open_policy(Opening(now + timedelta(minutes=1), "i-1"))]
    request = to_request("role", policies, "ssm:PutParameter", PARAMETER + NAME, now, session=session)
    assert simulator.decide([request]) == [is_allowed]
