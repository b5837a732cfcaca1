"""Configurations that together have every row of the table of permissions, and the calls of agents with them.

Some calls are neighbours: nearly the same, but on something that no configuration contains.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ansible_collections.cwagent.iam.plugins.module_utils._configuration.policy import (
    Scope,
    Source,
    fit,
    needed_statements,
    take_apart,
)
from ansible_collections.cwagent.iam.plugins.module_utils._fitting.fitted_plan import (
    Covered,
    DesiredPolicies,
    State,
    plan,
)

ACCOUNT, OTHER_ACCOUNT, REGION, OTHER_REGION = "123456789012", "210987654321", "eu-central-1", "eu-west-1"
ROLE = f"arn:aws:iam::{OTHER_ACCOUNT}:role/Central"
LOG_ACTIONS = ("logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents")
NAMESPACE, CLUSTER_KEY = "cloudwatch:namespace", "ecs:cluster"
LINUX: dict[str, Any] = {
    "agent": {"system_metrics_enabled": True},
    "metrics": {
        "namespace": "Shop",
        "append_dimensions": {"AutoScalingGroupName": "${aws:AutoScalingGroupName}"},
        "metrics_collected": {
            "mem": {"measurement": ["used_percent"]},
            "disk": {"append_dimensions": {"VolumeId": "${aws:VolumeId}"}},
            "prometheus": {"prometheus_config_path": "/etc/prometheus.yaml"},
        },
        "metrics_destinations": {"cloudwatch": {}, "amp": {"workspace_id": "ws-1"}},
    },
    "logs": {
        "logs_collected": {
            "files": {
                "collect_list": [
                    {"file_path": "/var/log/app.log", "log_group_name": "shop-{aws_region}", "retention_in_days": 30},
                    {"file_path": "/var/log/web/access.log.1"},
                    {"file_path": "/srv/*/out.log", "publish_multi_logs": True},
                    {"file_path": "/var/log/host.log", "log_group_name": "host/{hostname}/x", "retention_in_days": -1},
                ]
            },
            "journald": {"collect_list": [{"log_group_name": "journal-{account_id}", "retention_in_days": 7}]},
        },
        "metrics_collected": {
            "emf": {},
            "otlp": {},
            "prometheus": {
                "log_group_name": "/prometheus/{ClusterName}",
                "ecs_service_discovery": {
                    "sd_target_cluster": "shop",
                    "sd_cluster_region": OTHER_REGION,
                    "service_name_list_for_tasks": [{}],
                },
            },
        },
    },
    "traces": {"traces_collected": {"xray": {}, "application_signals": {}}},
}
WINDOWS: dict[str, Any] = {
    "metrics": {"metrics_collected": {"LogicalDisk": {"measurement": ["% Free Space"]}}},
    "logs": {
        "logs_collected": {
            "windows_events": {"collect_list": [{"event_name": "System", "log_group_name": "Events"}]},
        },
    },
    "opentelemetry": {
        "collect": {
            "files": {"collect_list": [{"file_path": "/var/log/otel.log"}]},
            "windows_events": {"collect_list": [{"event_name": "System", "log_group_name": "OtelEvents"}]},
        }
    },
}
CENTRAL: dict[str, Any] = {
    "agent": {"region": OTHER_REGION},
    "logs": {
        "credentials": {"role_arn": ROLE},
        "logs_collected": {"files": {"collect_list": [{"file_path": "/a.log", "log_group_name": "central"}]}},
    },
}
SOURCES = (
    Source("AmazonCloudWatch-linux", LINUX, ("AmazonCloudWatch-linux", "AmazonCloudWatch-linux-2"), (REGION,)),
    Source("AmazonCloudWatch-windows", WINDOWS, ("AmazonCloudWatch-windows",), (REGION,), is_encrypted=True),
    Source("AmazonCloudWatch-central", CENTRAL, ("AmazonCloudWatch-central",), (REGION,)),
)
SCOPE = Scope("aws", ACCOUNT, ("orders/*",))


@dataclass(frozen=True)
class Call:
    """A call of an agent. :param context: its condition keys."""

    action: str
    resource: str = "*"
    context: Mapping[str, str] = field(default_factory=dict)


def arn(service: str, resource: str, region: str = REGION, account: str = ACCOUNT) -> str:
    return f"arn:aws:{service}:{region}:{account}:{resource}"


def stream(group: str, **place: str) -> str:
    return arn("logs", f"log-group:{group}:log-stream:i-1", **place)


def parameter(name: str, **place: str) -> str:
    return arn("ssm", f"parameter/{name}", **place)


def cluster(name: str, region: str = OTHER_REGION) -> dict[str, str]:
    return {CLUSTER_KEY: arn("ecs", f"cluster/{name}", region)}


KEY = arn("kms", "key/0123")
DECRYPTED = {"kms:EncryptionContext:PARAMETER_ARN": parameter("AmazonCloudWatch-windows")}
GROUPS = (
    *("shop-eu-central-1", "/var/log/web/access.log", "/srv/blog/out.log", "host/web-1/x"),
    *(f"journal-{ACCOUNT}", "journal-UNKNOWN-ACCOUNT", "emf/logs/default", "orders/a", "/aws/cwagent"),
    *("/prometheus/shop", "Events", "/aws/cwagent/files", "OtelEvents"),
)
WITH_RETENTION = ("shop-eu-central-1", f"journal-{ACCOUNT}")
IN_CLUSTER = ("ecs:ListTasks", "ecs:DescribeTasks", "ecs:DescribeContainerInstances", "ecs:ListServices")
INSTRUMENTATION = ("ListInstrumentationConfigurations", "ReportInstrumentationConfigurationStatus")
ECS_RESOURCES = {
    "ecs:DescribeTasks": arn("ecs", "task/shop/1", OTHER_REGION),
    "ecs:DescribeContainerInstances": arn("ecs", "container-instance/shop/1", OTHER_REGION),
    "ecs:ListTasks": arn("ecs", "container-instance/shop/1", OTHER_REGION),
}
ALLOWED = (
    *(Call("cloudwatch:PutMetricData", context={NAMESPACE: each}) for each in ("Shop", "CWAgent", "CWAgent/System")),
    *(Call(action, stream(group)) for action in LOG_ACTIONS for group in GROUPS),
    # An agent can merge this configuration with the configuration for another region.
    *(Call(action, stream("Events", region=OTHER_REGION)) for action in LOG_ACTIONS),
    *(Call("logs:PutRetentionPolicy", stream(group)) for group in WITH_RETENTION),
    Call("logs:DescribeLogGroups"),
    *(Call("ssm:GetParameter", parameter(name)) for source in SOURCES for name in source.parameters),
    Call("ssm:GetParameter", parameter("AmazonCloudWatch-linux:7")),
    Call("kms:Decrypt", KEY, DECRYPTED),
    *(Call(f"ec2:Describe{each}") for each in ("Tags", "Volumes", "Instances")),
    *(Call(f"xray:{each}") for each in ("PutTraceSegments", "PutTelemetryRecords", "GetSamplingRules")),
    *(Call(f"xray:{each}") for each in ("GetSamplingTargets", "GetSamplingStatisticSummaries")),
    *(Call(f"application-signals:{each}") for each in INSTRUMENTATION),
    Call("aps:RemoteWrite", arn("aps", "workspace/ws-1")),
    *(Call(each, ECS_RESOURCES.get(each, "*"), cluster("shop")) for each in IN_CLUSTER),
    Call("ecs:DescribeTaskDefinition"),
    Call("sts:AssumeRole", ROLE),
)
NEIGHBOURS = (
    *(Call("cloudwatch:PutMetricData", context={NAMESPACE: each}) for each in ("Other", "shop", "CWAgent/Other")),
    *(
        Call(action, resource)
        for action in LOG_ACTIONS
        for resource in (
            *(
                stream(each)
                for each in ("shop", "shop-eu-central-1x", "events", "/var/log/web/access.log.1", "central")
            ),
            *(stream(each) for each in ("/aws/cwagent2", "/aws/lambda/x", "emf/logs/other", "host/web-1")),
            stream("Events", account=OTHER_ACCOUNT),
            stream("shop-eu-central-1", region="us-east-1"),
        )
    ),
    *(Call("logs:PutRetentionPolicy", stream(each)) for each in GROUPS if not each.startswith(("shop-", "journal-"))),
    Call("logs:DeleteLogGroup", stream("shop-eu-central-1")),
    Call("logs:DeleteRetentionPolicy", stream("shop-eu-central-1")),
    *(Call("ssm:GetParameter", parameter(name)) for name in ("AmazonCloudWatch-other", "AmazonCloudWatch-linux-3")),
    Call("ssm:GetParameter", parameter("AmazonCloudWatch-linux", account=OTHER_ACCOUNT)),
    Call("ssm:GetParameter", parameter("AmazonCloudWatch-linux", region=OTHER_REGION)),
    Call("ssm:PutParameter", parameter("AmazonCloudWatch-linux")),
    Call("kms:Decrypt", KEY, {next(iter(DECRYPTED)): parameter("AmazonCloudWatch-linux")}),
    Call("kms:Decrypt", KEY),
    Call("ec2:DescribeAddresses"),
    Call("application-signals:CreateInstrumentationConfiguration"),
    Call("aps:RemoteWrite", arn("aps", "workspace/ws-2")),
    *(Call(each, ECS_RESOURCES.get(each, "*"), cluster("other")) for each in IN_CLUSTER),
    *(Call(each, ECS_RESOURCES.get(each, "*"), cluster("shop", REGION)) for each in IN_CLUSTER),
    Call("sts:AssumeRole", f"arn:aws:iam::{OTHER_ACCOUNT}:role/Central2"),
)


def policies() -> list[dict[str, Any]]:
    """The fitted policy of these configurations."""
    return [*fit(SOURCES, SCOPE).policies]


def managed_policies() -> list[dict[str, Any]]:
    """The same in an account: created for one of them, widened for all and another one, and narrowed again."""
    config = {"metrics": {"namespace": "Other", "metrics_collected": {"mem": {}}}}
    other = Source("AmazonCloudWatch-other", config, ("AmazonCloudWatch-other",), (REGION,))
    covered = Covered(
        frozenset((REGION, name) for each in SOURCES for name in each.parameters),
        frozenset([REGION]),
        frozenset(other.parameters),  # it was deleted
    )
    state = State({}, datetime(2026, 3, 1, tzinfo=UTC))
    for sources, narrow in ((SOURCES[:1], False), ((*SOURCES, other), False), (SOURCES, True)):
        needed = {"server": take_apart(needed_statements(sources, SCOPE))}
        state = plan(state, DesiredPolicies("aws", ACCOUNT, needed, narrow=narrow, covered=covered)).planned
    return [dict(each.default.document) for each in state.policies.values()]
