"""The lists of CloudWatch for agents that send, and for metrics that tests place."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from emulator import Emulator
from emulator.testing import refused

HOUR = 3600
METRIC = {"namespace": "CWAgent", "name": "mem_used_percent", "dimensions": {"InstanceId": "i-1"}}


def points(aws: Emulator, *dimensions: tuple[str, str], name: str = "mem_used_percent") -> list[datetime]:
    shown = [{"Name": key, "Value": value} for key, value in dimensions]
    metric = {"Namespace": "CWAgent", "MetricName": name, "Dimensions": shown}
    now = aws.now()
    answer = aws.client("cloudwatch").get_metric_data(
        MetricDataQueries=[{"Id": "m0", "MetricStat": {"Metric": metric, "Period": 60, "Stat": "SampleCount"}}],
        StartTime=now - timedelta(hours=3),
        EndTime=now + timedelta(minutes=5),
    )
    [result] = answer["MetricDataResults"]
    return list(result["Timestamps"])


def test_a_metric_is_found_by_exactly_its_dimensions(aws: Emulator) -> None:
    aws.place([{**METRIC, "dimensions": {"InstanceId": "i-1", "path": "/"}, "ages": [90, 600]}])
    assert points(aws, ("InstanceId", "i-1")) == []
    found = points(aws, ("path", "/"), ("InstanceId", "i-1"))
    assert [each.second for each in found] == [0, 0]
    assert found[0] > found[1] > datetime.now(UTC) - timedelta(minutes=12)


def test_only_metrics_of_the_last_hours_are_recently_active(aws: Emulator) -> None:
    aws.place([{**METRIC, "ages": [4 * HOUR]}, {**METRIC, "name": "new", "ages": [60]}])
    aws.place([{**METRIC, "name": "too new", "ages": [60], "listed": False}])
    cloudwatch = aws.client("cloudwatch")
    listed = lambda **wanted: [each["MetricName"] for each in cloudwatch.list_metrics(**wanted)["Metrics"]]  # noqa: E731
    assert listed(Namespace="CWAgent") == ["mem_used_percent", "new"]
    assert listed(Namespace="CWAgent", RecentlyActive="PT3H") == ["new"]
    assert listed(Dimensions=[{"Name": "InstanceId", "Value": "i-1"}], MetricName="new") == ["new"]
    assert listed(Dimensions=[{"Name": "InstanceId", "Value": "i-2"}]) == []
    assert listed(Namespace="Other") == []


def test_answers_have_pages(aws: Emulator) -> None:
    aws.place([{**METRIC, "name": f"m{number}", "ages": [60]} for number in range(1001)])
    aws.place(streams=[{"group": "g", "name": f"s{number:03}", "last": number} for number in range(51)])
    pages = [len(each["Metrics"]) for each in aws.client("cloudwatch").get_paginator("list_metrics").paginate()]
    assert pages == [500, 500, 1]
    logs = aws.client("logs")
    newest = [*logs.get_paginator("describe_log_streams").paginate(logGroupName="g", orderBy="LastEventTime")]
    assert [len(each["logStreams"]) for each in newest] == [50, 1]
    assert newest[0]["logStreams"][0]["logStreamName"] == "s050"
    [one] = logs.describe_log_streams(logGroupName="g", logStreamNamePrefix="s007")["logStreams"]
    assert one["lastEventTimestamp"] > one["creationTime"] - 8000


def test_data_that_is_put_is_found(aws: Emulator) -> None:
    cloudwatch, logs = aws.client("cloudwatch"), aws.client("logs")
    dimensions = [{"Name": "InstanceId", "Value": "i-1"}]
    data = [{"MetricName": "mem_used_percent", "Dimensions": dimensions, "Value": 1}]
    cloudwatch.put_metric_data(Namespace="CWAgent", MetricData=data)
    [point] = points(aws, ("InstanceId", "i-1"))
    assert aws.now() - point < timedelta(minutes=2)
    [listed] = cloudwatch.list_metrics(Namespace="CWAgent", RecentlyActive="PT3H")["Metrics"]
    assert listed["Dimensions"] == dimensions
    stream = {"logGroupName": "g", "logStreamName": "s"}
    logs.create_log_group(logGroupName="g")
    logs.create_log_stream(**stream)
    last = int(aws.now().timestamp()) * 1000
    for age in (2000, 0, 1000):
        logs.put_log_events(**stream, logEvents=[{"timestamp": last - age, "message": "x"}])
    [found] = logs.describe_log_streams(logGroupName="g")["logStreams"]
    assert (found["logStreamName"], found["lastEventTimestamp"]) == ("s", last)
    with refused("ResourceNotFoundException"):
        logs.put_log_events(logGroupName="other", logStreamName="s", logEvents=[{"timestamp": last, "message": "x"}])
    with refused("ResourceNotFoundException"):
        logs.describe_log_streams(logGroupName="other")


def test_wrong_requests_are_refused(aws: Emulator) -> None:
    aws.place(streams=[{"group": "g", "name": "s"}])
    logs = aws.client("logs")
    with refused("ResourceNotFoundException"):
        logs.describe_log_streams(logGroupName="other")
    with refused("InvalidParameterException"):
        logs.describe_log_streams(logGroupName="g", orderBy="LastEventTime", logStreamNamePrefix="s")


def test_who_is_not_allowed_to_list_is_refused(account: Any) -> None:
    key = account.limited_key({"Effect": "Allow", "Action": "cloudwatch:GetMetricData", "Resource": "*"})
    denied = account.aws.client("cloudwatch", credentials=key)
    with pytest.raises(denied.exceptions.ClientError, match="cloudwatch:ListMetrics"):
        denied.list_metrics()
    group = "arn:aws:logs:*:*:log-group:*"
    key = account.limited_key({"Effect": "Allow", "Action": "logs:DescribeLogStreams", "Resource": group})
    account.aws.place(streams=[{"group": "g", "name": "s"}])
    assert account.aws.client("logs", credentials=key).describe_log_streams(logGroupName="g")["logStreams"]


def test_an_agent_sends_from_its_start_until_it_is_stopped(aws: Emulator, account: Any) -> None:
    account.create_role("server", "AmazonSSMManagedInstanceCore")
    [instance] = aws.instances(1)
    account.associate(instance, "server")
    aws.agents(instance, cloudwatch_agent=True)
    machine = aws.agents()[instance]
    config = {
        "metrics": {
            "append_dimensions": {"InstanceId": "${aws:InstanceId}"},
            "metrics_collected": {"mem": {"measurement": ["used_percent"]}},
        },
        "logs": {"logs_collected": {"files": {"collect_list": [{"file_path": "/var/log/x", "log_group_name": "g"}]}}},
    }
    aws.client("ssm").put_parameter(Name="AmazonCloudWatch-x", Type="String", Value=json.dumps(config))
    command = "amazon-cloudwatch-agent-ctl -a"
    run_on(aws, instance, f"{command} fetch-config -m ec2 -s -c ssm:AmazonCloudWatch-x")
    assert machine["online"]
    first = points(aws, ("InstanceId", instance))[-1]
    assert first.second == 0
    assert first > aws.now() - timedelta(seconds=60)
    [stream] = aws.client("logs").describe_log_streams(logGroupName="g")["logStreams"]
    assert stream["logStreamName"] == instance
    last = points(aws, ("InstanceId", instance))[0]
    run_on(aws, instance, f"{command} stop")
    run_on(aws, instance, f"{command} start")
    assert points(aws, ("InstanceId", instance))[-1] >= last + timedelta(minutes=1)
    run_on(aws, instance, f"{command} stop")
    assert points(aws, ("InstanceId", instance)) == []


def run_on(aws: Emulator, instance: str, line: str) -> None:
    """Run a line of a shell on an instance and wait for its end."""
    ssm = aws.client("ssm")
    sent = ssm.send_command(DocumentName="AWS-RunShellScript", InstanceIds=[instance], Parameters={"commands": [line]})
    where = {"CommandId": sent["Command"]["CommandId"], "InstanceId": instance}
    ssm.get_waiter("command_executed").wait(**where, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
