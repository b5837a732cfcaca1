"""What an admin principal may do, decided by two independent evaluators of IAM policies.

One is the emulator, over HTTP; the other is Principal Mapper's simulation, which shares no code with it.
"""

from __future__ import annotations

import collections
import collections.abc
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from emulator import Emulator
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils._admin_window.policy import (
    Opening,
    WindowParameter,
    closed_policy,
    open_policy,
)
from ansible_collections.cwagent.iam.plugins.module_utils._errors import DENIED_CODES
from ansible_collections.cwagent.iam.plugins.module_utils._names import WINDOW_POLICY
from ansible_collections.cwagent.iam.plugins.module_utils._principal.policies import ACCESS_POLICIES
from ansible_collections.cwagent.iam.plugins.module_utils._role.plan import trust_policy

pytest.importorskip("principalmapper", reason="decisions are compared with the newest packages only")
with pytest.MonkeyPatch.context() as patch:  # it imports two classes from where Python 3.9 had them
    for name in ("Mapping", "MutableMapping"):
        patch.setattr(collections, name, getattr(collections.abc, name), raising=False)
    from principalmapper.common import Node, Policy
    from principalmapper.querying.query_interface import local_check_authorization

ACCOUNT, REGION = "123456789012", "us-east-1"
NAME, OTHER_NAME, GROUP, STREAM = "AmazonCloudWatch-linux", "AmazonCloudWatch-other", "app.log", "i-1"
OTHER_INSTANCE = "i-0123456789abcdef0"
PARAMETER = f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/"
TRUST = trust_policy("ec2.amazonaws.com")

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


@pytest.fixture(scope="module")
def aws() -> Iterator[Emulator]:
    with Emulator.start("ministack", region=REGION) as emulator:
        yield emulator


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

    def is_allowed(self, call: Any) -> bool:
        try:
            call(lambda service: self.aws.client(service, credentials=self.credentials))
        except ClientError as error:
            if error.response["Error"]["Code"] not in DENIED_CODES:
                raise
            return False
        return True


def is_allowed_in_simulation(
    kind: str, policies: list[dict[str, Any]], action: str, resource: str, time: datetime, *, session: str | None = None
) -> bool:
    """:param session: the name of the session, if the principal is a role."""
    arn = f"arn:aws:iam::{ACCOUNT}:{kind}/P"
    principal = [Policy(arn, f"P{number}", policy) for number, policy in enumerate(policies)]
    trust = TRUST if kind == "role" else None
    principal = Node(arn, "AIDAP", principal, [], trust, None, 0, False, False, None, False, None)
    userid = f"AROAP:{session}" if session else "AIDAP"
    context = {"aws:CurrentTime": f"{time:%Y-%m-%dT%H:%M:%SZ}", "aws:userid": userid}
    return bool(local_check_authorization(principal, action, resource, context))


@pytest.mark.parametrize("kind", ["role", "user"])
@pytest.mark.parametrize(("window", "minutes", "may_write"), WINDOWS.values(), ids=WINDOWS)
def test_emulator_and_simulation_decide_the_same(aws, kind, window, minutes, may_write):
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
    simulated = {
        name: is_allowed_in_simulation(kind, policies, action, resource, time, session=admin.instance)
        for name, (action, resource, *_) in CALLS.items()
    }
    assert emulated == expected
    assert simulated == expected


ALLOW_EVERYTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


@given(
    deadline=st.datetimes(datetime(2025, 1, 1), datetime(2099, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001  hypothesis takes bounds without a zone
    seconds=st.integers(-3, 3) | st.integers(-(10**8), 10**8),
    kind=st.sampled_from(["role", "user"]),
)
def test_a_window_closes_in_the_second_of_its_deadline_whatever_else_is_allowed(deadline, seconds, kind):
    time = deadline.replace(microsecond=0) + timedelta(seconds=seconds)
    policies = [ALLOW_EVERYTHING, open_policy(Opening(deadline))]
    assert is_allowed_in_simulation(kind, policies, "ssm:PutParameter", PARAMETER + NAME, time) == (seconds <= 0)
    assert is_allowed_in_simulation(kind, policies, "ssm:GetParameter", PARAMETER + NAME, time)
    closed = [ALLOW_EVERYTHING, closed_policy()]
    assert not is_allowed_in_simulation(kind, closed, "ssm:PutParameter", PARAMETER + NAME, time)


CHANGES = ["ssm:DeleteParameter", "ssm:DeleteParameters", "ssm:LabelParameterVersion", "ssm:UnlabelParameterVersion"]


@pytest.mark.parametrize("window", ["closed", "open", "named", "other instance"])
@pytest.mark.parametrize("action", CHANGES)
def test_nothing_but_writing_is_ever_open_whatever_else_is_allowed(window, action):
    now = datetime.now(UTC)
    policies = [ALLOW_EVERYTHING, policy_of(window, "i-1", now + timedelta(minutes=1)) or {}]
    assert not is_allowed_in_simulation("role", policies, action, PARAMETER + NAME, now, session="i-1")


@pytest.mark.parametrize(
    ("session", "is_allowed"),
    [("i-1", True), ("i-2", False), ("i-11", False), ("xi-1", False), ("I-1", False), (None, False)],
)
def test_only_sessions_of_the_instance_may_write_whatever_else_is_allowed(session, is_allowed):
    now = datetime.now(UTC)
    policies = [ALLOW_EVERYTHING, open_policy(Opening(now + timedelta(minutes=1), "i-1"))]
    decision = is_allowed_in_simulation("role", policies, "ssm:PutParameter", PARAMETER + NAME, now, session=session)
    assert decision == is_allowed
