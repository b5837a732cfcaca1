"""Permissions that ministack enforces. Tests in tests/unit/policies compare its other decisions with a simulator."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError


def test_an_unknown_policy_cannot_be_attached(account: Any) -> None:
    account.create_role("admin", "CloudWatchAgentAdminPolicy")
    with pytest.raises(ClientError, match="NoSuchEntity"):
        account.iam.attach_role_policy(RoleName="admin", PolicyArn="arn:aws:iam::aws:policy/Nope")


def allow(action: str, resource: str = "*", **condition: Any) -> list[dict[str, Any]]:
    """Statements that allow an action for a resource, and all other actions."""
    statement = {"Effect": "Allow", "Action": action, "Resource": resource, "Condition": condition}
    return [{"Effect": "Allow", "NotAction": action, "Resource": "*"}, statement]


def test_an_instance_profile_needs_the_permission_to_pass_its_role_to_ec2(account: Any) -> None:
    """For adding the role to the profile, and for associating the profile, by name and by ARN, with an instance."""
    for name, policy in (("server", "CloudWatchAgentServerPolicy"), ("admin", "CloudWatchAgentAdminPolicy")):
        account.create_role(name, policy)
    [instance] = account.aws.instances(1)
    pass_server = allow(
        "iam:PassRole", "arn:aws:iam::*:role/server", StringEquals={"iam:PassedToService": "ec2.amazonaws.com"}
    )
    key = account.limited_key(*pass_server)
    iam, ec2 = (account.aws.client(service, credentials=key) for service in ("iam", "ec2"))
    iam.create_instance_profile(InstanceProfileName="new")
    with pytest.raises(ClientError, match=r"AccessDenied\b.*iam:PassRole on resource: arn:aws:iam::\d+:role/admin "):
        iam.add_role_to_instance_profile(InstanceProfileName="new", RoleName="admin")
    iam.add_role_to_instance_profile(InstanceProfileName="new", RoleName="server")
    arn = account.iam.get_instance_profile(InstanceProfileName="admin")["InstanceProfile"]["Arn"]
    for profile in ({"Name": "admin"}, {"Arn": arn}):
        with pytest.raises(ClientError, match=r"UnauthorizedOperation\b.*iam:PassRole"):
            ec2.associate_iam_instance_profile(InstanceId=instance, IamInstanceProfile=profile)
    ec2.associate_iam_instance_profile(InstanceId=instance, IamInstanceProfile={"Name": "new"})


@pytest.mark.parametrize("action", ["AssociateIamInstanceProfile", "ReplaceIamInstanceProfileAssociation"])
def test_only_the_profiles_of_a_condition_may_be_associated(account: Any, action: str) -> None:
    for name in ("server", "admin"):
        account.create_role(name, "CloudWatchAgentServerPolicy")
    [instance] = account.aws.instances(1)
    own = {"ec2:NewInstanceProfile": "arn:aws:iam::*:instance-profile/server"}
    key = account.limited_key(*allow(f"ec2:{action}", ArnEquals=own))
    ec2 = account.aws.client("ec2", credentials=key)
    if action.startswith("Replace"):
        change = ec2.replace_iam_instance_profile_association
        target = {"AssociationId": account.associate(instance, "admin")}
    else:
        change, target = ec2.associate_iam_instance_profile, {"InstanceId": instance}
    arn = account.iam.get_instance_profile(InstanceProfileName="admin")["InstanceProfile"]["Arn"]
    for profile in ({"Name": "admin"}, {"Arn": arn}):
        with pytest.raises(ClientError, match=rf"UnauthorizedOperation\b.*ec2:{action}"):
            change(**target, IamInstanceProfile=profile)
    change(**target, IamInstanceProfile={"Name": "server"})


@pytest.mark.parametrize(("suffixes", "is_allowed"), [(("",), False), ((":*",), False), (("", ":*"), True)])
def test_a_version_is_read_with_a_policy_for_the_name_and_what_follows(
    account: Any, suffixes: tuple[str, ...], is_allowed: bool
) -> None:
    account.aws.client("ssm").put_parameter(Name="AmazonCloudWatch-a", Value="1", Type="String")
    resources = [f"arn:aws:ssm:*:*:parameter/AmazonCloudWatch-a{each}" for each in suffixes]
    actions = ["ssm:GetParameter", "ssm:GetParameters"]
    key = account.limited_key({"Effect": "Allow", "Action": actions, "Resource": resources})
    user = account.aws.client("ssm", credentials=key)
    for read, arguments in (
        (user.get_parameter, {"Name": "AmazonCloudWatch-a:1"}),
        (user.get_parameters, {"Names": ["AmazonCloudWatch-a:1"]}),
    ):
        if is_allowed:
            read(**arguments)
        else:
            with pytest.raises(ClientError, match="AccessDenied"):
                read(**arguments)


def write_log_event(logs: Any, group: str) -> None:
    now = int(datetime.now(UTC).timestamp() * 1000)
    logs.put_log_events(logGroupName=group, logStreamName="s", logEvents=[{"timestamp": now, "message": "x"}])


LOG_CALLS: dict[str, Callable[[Any, str], object]] = {
    "CreateLogGroup": lambda logs, group: logs.create_log_group(logGroupName=group),
    "CreateLogStream": lambda logs, group: logs.create_log_stream(logGroupName=group, logStreamName="new"),
    "PutLogEvents": write_log_event,
    "PutRetentionPolicy": lambda logs, group: logs.put_retention_policy(logGroupName=group, retentionInDays=1),
}


@pytest.mark.parametrize("action", LOG_CALLS)
@pytest.mark.parametrize(("suffix", "is_allowed"), [(":*", True), ("", False)], ids=["and its streams", "alone"])
def test_a_policy_for_a_log_group_needs_its_streams(account: Any, action: str, suffix: str, is_allowed: bool) -> None:
    logs = account.aws.client("logs")
    for group in ("a", "b") if action != "CreateLogGroup" else ():
        logs.create_log_group(logGroupName=group)
        logs.create_log_stream(logGroupName=group, logStreamName="s")
    key = account.limited_key(*allow(f"logs:{action}", f"arn:aws:logs:*:*:log-group:a{suffix}"))
    user = account.aws.client("logs", credentials=key)
    if is_allowed:
        LOG_CALLS[action](user, "a")
    for group in ("b",) if is_allowed else ("a", "b"):
        with pytest.raises(ClientError, match=rf"AccessDenied.*:log-group:{group}:log-stream:"):
            LOG_CALLS[action](user, group)


def test_only_the_namespaces_of_a_condition_may_be_written(account: Any) -> None:
    key = account.limited_key(*allow("cloudwatch:PutMetricData", StringEquals={"cloudwatch:namespace": ["Shop"]}))
    user = account.aws.client("cloudwatch", credentials=key)
    user.put_metric_data(Namespace="Shop", MetricData=[{"MetricName": "mem", "Value": 1}])
    with pytest.raises(ClientError, match="AccessDenied"):
        user.put_metric_data(Namespace="shop", MetricData=[{"MetricName": "mem", "Value": 1}])


def test_only_the_policies_of_a_statement_may_be_created_and_changed(account: Any) -> None:
    document = json.dumps({"Version": "2012-10-17", "Statement": allow("iam:CreateUser")})
    arns = [
        account.iam.create_policy(PolicyName=name, Path=path, PolicyDocument=document)["Policy"]["Arn"]
        for name, path in (("Ours", "/cwagent/"), ("Ours", "/"), ("Others", "/cwagent/"))
    ]
    actions = ["iam:CreatePolicy", "iam:CreatePolicyVersion"]
    statement = {"Effect": "Allow", "Action": actions, "Resource": "arn:aws:iam::*:policy/cwagent/Ours*"}
    user = account.aws.client("iam", credentials=account.limited_key(statement))
    user.create_policy(PolicyName="Ours-2", Path="/cwagent/", PolicyDocument=document)
    user.create_policy_version(PolicyArn=arns[0], PolicyDocument=document)
    for name, path in (("Ours-2", "/"), ("Others-2", "/cwagent/")):
        with pytest.raises(ClientError, match="AccessDenied"):
            user.create_policy(PolicyName=name, Path=path, PolicyDocument=document)
    for arn in arns[1:]:
        with pytest.raises(ClientError, match="AccessDenied"):
            user.create_policy_version(PolicyArn=arn, PolicyDocument=document)
