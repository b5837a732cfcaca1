from __future__ import annotations

import json
from pathlib import Path

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.permissions import (
    ROWS,
    SERVER_POLICY,
    first_of_each,
    permissions_of,
)
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.structure import SECTIONS
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.validate import validate
from ansible_collections.cwagent.iam.plugins.module_utils._findings import NOTICE

EXAMPLES = Path(__file__).parents[5] / "examples" / "agent-config"
ROLE = "arn:aws:iam::123456789012:role/Central"
OTHER_ROLE = "arn:aws:iam::123456789012:role/Logs"
ENTRY = {"file_path": "/var/log/app.log", "log_group_name": "app"}
ECS = {"sd_target_cluster": "shop", "sd_cluster_region": "eu-central-1", "sd_frequency": "1m"}
TASKS = [
    "ec2:DescribeInstances",
    "ecs:DescribeContainerInstances",
    "ecs:DescribeTaskDefinition",
    "ecs:DescribeTasks",
    "ecs:ListTasks",
]
SERVICES = ["ecs:DescribeServices", "ecs:ListServices"]
TRACES = ["xray:PutTelemetryRecords", "xray:PutTraceSegments"]
SAMPLING = ["xray:GetSamplingRules", "xray:GetSamplingStatisticSummaries", "xray:GetSamplingTargets"]
RETENTION = ["logs:PutRetentionPolicy", "logs:DescribeLogGroups"]
METRICS, LOG_EVENTS = ["cloudwatch:PutMetricData"], ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"]
GROUP_OF_INSTANCE = {"AutoScalingGroupName": "${aws:AutoScalingGroupName}"}


def logs(*retentions, **more):
    entries = [{**ENTRY, "retention_in_days": each} for each in retentions]
    return {"logs": {"logs_collected": {"files": {"collect_list": entries or [ENTRY]}}, **more}}


def prometheus(discovery):
    return {"logs": {"metrics_collected": {"prometheus": {"ecs_service_discovery": discovery}}}}


def metrics(**more):
    return {"metrics": {"metrics_collected": {"mem": {}}, **more}}


def disk(**dimensions):
    plugins = {"disk": {"append_dimensions": dimensions}}
    return {"metrics": {"append_dimensions": {}, "metrics_collected": plugins}}


def journals(retention):
    return {"logs": {"logs_collected": {"journald": {"collect_list": [{"retention_in_days": retention}]}}}}


def traces(source="otlp", **more):
    return {"traces": {"traces_collected": {source: {}}, **more}}


def collect(source):
    return {"opentelemetry": {"collect": {source: {"collect_list": [{}]}}}}


def logged(source):
    """Metrics that are sent as log events."""
    return {"logs": {"metrics_collected": {source: {}}}}


VOLUMES_ALONE = {"metrics": {"metrics_collected": disk(VolumeId="${aws:VolumeId}")["metrics"]["metrics_collected"]}}
OPENTELEMETRY_METRICS = ("container_insights", "host_metrics", "prometheus")
LOGGED_METRICS = ("app_signals", "application_signals", "ecs", "emf", "kubernetes", "otlp", "structuredlog")
NEEDED = {
    "metrics": (metrics(), METRICS),
    "a namespace alone": ({"metrics": {"namespace": "Shop"}}, METRICS),
    "metrics for both destinations": (metrics(metrics_destinations={"amp": {}, "cloudwatch": {}}), METRICS),
    "metrics of the agent": ({"agent": {"system_metrics_enabled": True}}, METRICS),
    "files": (logs(), LOG_EVENTS),
    "events": ({"logs": {"logs_collected": {"windows_events": {"collect_list": [{}]}}}}, LOG_EVENTS),
    "Application Signals in logs": ({"logs": {"logs_collected": {"application_signals": {}}}}, LOG_EVENTS),
    **{f"{name} in logs": (logged(name), LOG_EVENTS) for name in LOGGED_METRICS},
    "a role": ({"agent": {"credentials": {"role_arn": ROLE}}}, ["sts:AssumeRole"]),
    "a role for metrics": (metrics(credentials={"role_arn": ROLE}), ["sts:AssumeRole", *METRICS]),
    "a role for logs": (logs(credentials={"role_arn": ROLE}), ["sts:AssumeRole", *LOG_EVENTS]),
    "a role for traces": (traces(credentials={"role_arn": ROLE}), ["sts:AssumeRole", *TRACES]),
    "Prometheus": (metrics(metrics_destinations={"amp": {"workspace_id": "ws-1"}}), ["aps:RemoteWrite"]),
    "ECS tasks": (prometheus({**ECS, "docker_label": {}}), [*LOG_EVENTS, *TASKS]),
    "ECS services": (prometheus({**ECS, "service_name_list_for_tasks": [{}]}), [*LOG_EVENTS, *TASKS, *SERVICES]),
    "an Auto Scaling group": (
        metrics(append_dimensions=GROUP_OF_INSTANCE),
        [*METRICS, "ec2:DescribeTags"],
    ),
    "an Auto Scaling group of a plug-in": (disk(**GROUP_OF_INSTANCE), [*METRICS, "ec2:DescribeTags"]),
    "an Auto Scaling group of one entry of a plug-in": (
        {"metrics": {"metrics_collected": {"procstat": [{"exe": "x", "append_dimensions": GROUP_OF_INSTANCE}]}}},
        [*METRICS, "ec2:DescribeTags"],
    ),
    "volumes": (disk(VolumeId="${aws:VolumeId}"), [*METRICS, "ec2:DescribeVolumes"]),
    "a retention": (logs(30), [*LOG_EVENTS, *RETENTION]),
    "a retention of events": (
        {"logs": {"logs_collected": {"windows_events": {"collect_list": [{"retention_in_days": 1}]}}}},
        [*LOG_EVENTS, *RETENTION],
    ),
    "a retention of journals": (journals(1), [*LOG_EVENTS, *RETENTION[:1]]),
    "traces": (traces(), TRACES),
    "traces of X-Ray": (traces("xray"), [*TRACES, *SAMPLING]),
    "traces of Application Signals": (traces("application_signals"), [*TRACES, *SAMPLING]),
    "traces of Application Signals by its earlier name": (traces("app_signals"), [*TRACES, *SAMPLING]),
    **{f"OpenTelemetry's {name}": (collect(name), METRICS) for name in OPENTELEMETRY_METRICS},
    **{f"OpenTelemetry's {name}": (collect(name), LOG_EVENTS) for name in ("files", "windows_events")},
    "OpenTelemetry's database_insights": (collect("database_insights"), [*METRICS, *LOG_EVENTS]),
    "OpenTelemetry's otlp": (collect("otlp"), [*METRICS, *LOG_EVENTS, "xray:PutTraceSegments"]),
    # Values that cause no call
    "an empty configuration": ({}, []),
    "no sections": ({"agent": 1, "metrics": [], "logs": None, "traces": "x"}, []),
    "a destination without a workspace": (metrics(metrics_destinations={"amp": {}}), []),
    "metrics for Prometheus only": ({"metrics": {"metrics_collected": {"prometheus": {}}}}, []),
    "no metrics of the agent": ({"agent": {"system_metrics_enabled": False}}, []),
    "values of another type": (
        {
            **metrics(credentials={"role_arn": 1}, metrics_destinations={"amp": {"workspace_id": []}}),
            "agent": {"credentials": []},
        },
        [],
    ),
    "the dimensions of an instance": (metrics(append_dimensions={"InstanceId": "${aws:InstanceId}"}), METRICS),
    "a fixed dimension": (metrics(append_dimensions={"AutoScalingGroupName": "web"}), METRICS),
    "a fixed volume": (disk(VolumeId="vol-1"), METRICS),
    "volumes without dimensions of all metrics": (VOLUMES_ALONE, METRICS),
    "a retention that the agent leaves as it is": (logs(-1), LOG_EVENTS),
    "journals with the retention that they have": (journals(-1), LOG_EVENTS),
}


def actions(config):
    return [action for each in permissions_of(config) for action in each.row.actions]


@pytest.mark.parametrize("name", NEEDED)
def test_a_configuration_needs_the_permissions_of_its_parts(name):
    config, needed = NEEDED[name]
    assert actions(config) == needed


COLLECTIONS = [(each, f"{each}_collected") for each in ("metrics", "logs", "traces")]
COLLECTIONS += [("logs", "metrics_collected"), ("opentelemetry", "collect")]


@pytest.mark.parametrize(("section", "collection"), COLLECTIONS)
def test_the_table_contains_everything_that_can_be_collected(section, collection):
    fields = [field for row in ROWS for field in row.fields]
    for key in SECTIONS[section].keys[collection].keys:
        places = [section] if section == "metrics" else [f"{section}.{collection}", f"{section}.{collection}.{key}"]
        assert any(field in places or field.startswith(f"{places[-1]}.") for field in fields), key


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.use)
def test_every_row_has_a_limit_unless_its_actions_have_no_resource(row):
    assert (row.limit is None) == (row.resource == "*" and row.actions[0] not in METRICS)


def test_every_field_of_every_row_is_tested():
    tested = {each.field for config, _needed in NEEDED.values() for each in permissions_of(config)}
    assert tested == {field for row in ROWS for field in row.fields}


def test_the_actions_that_the_server_policy_allows():
    """The policy itself is compared in tests/unit/policies."""
    allowed = {action for row in ROWS if row.is_in_server_policy for action in row.actions}
    reads = {"ec2:DescribeTags", "ec2:DescribeVolumes"}
    assert allowed == {*reads, *RETENTION, *TRACES, *SAMPLING, *METRICS, *LOG_EVENTS}
    others = {action for row in ROWS if not row.is_in_server_policy for action in row.actions}
    assert others == {"sts:AssumeRole", "aps:RemoteWrite", *TASKS, *SERVICES}


def test_the_actions_that_an_agent_calls_on_ec2_only():
    assert {row.actions for row in ROWS if row.is_ec2_only} == {("ec2:DescribeTags",), ("ec2:DescribeVolumes",)}


def test_a_list_needs_a_permission_once():
    assert [each.value for each in permissions_of(logs(-1, 30, 90)) if "retention" in each.field] == [30, 90] * 2
    _events, need, read = first_of_each(permissions_of(logs(-1, 30, 90)))
    assert (read.path, read.value) == (need.path, need.value)
    assert need.path == ("logs", "logs_collected", "files", "collect_list", 1, "retention_in_days")
    assert (need.field, need.value) == ("logs.logs_collected.*.collect_list.*.retention_in_days", 30)


@pytest.mark.parametrize(
    ("config", "resource"),
    [
        (NEEDED["a role"][0], ROLE),
        (NEEDED["Prometheus"][0], "arn:aws-cn:aps:cn-north-1:123456789012:workspace/ws-1"),
        (NEEDED["volumes"][0], "*"),
        (journals(1), None),
        ({"agent": {"credentials": {"role_arn": "${ROLE}"}}}, None),
        (metrics(metrics_destinations={"amp": {"workspace_id": "${AMP}"}}), None),
    ],
)
def test_the_resource_of_a_permission(config, resource):
    need = permissions_of(config)[-1]
    assert need.resource("aws-cn", "cn-north-1", "123456789012") == resource


AGENT = {"agent": {"credentials": {"role_arn": ROLE}}}
ROLES = {
    "none": (logs(30), ""),
    "the role of the agent": ({**AGENT, **logs(30)}, ROLE),
    "tags are read with none": ({**AGENT, **metrics(append_dimensions=GROUP_OF_INSTANCE)}, ""),
    "volumes are read with none": ({**AGENT, **disk(VolumeId="${aws:VolumeId}")}, ""),
    "metrics use the role of the agent": ({**AGENT, **metrics()}, ROLE),
    "log events use the role of logs": ({**AGENT, **logs(credentials={"role_arn": OTHER_ROLE})}, OTHER_ROLE),
    "sampling uses the role of traces": ({**AGENT, **traces("xray", credentials={"role_arn": OTHER_ROLE})}, OTHER_ROLE),
    "the role of the section": ({**AGENT, **logs(30, credentials={"role_arn": OTHER_ROLE})}, OTHER_ROLE),
    "an empty one": (logs(30, credentials={"role_arn": ""}), ""),
    "the role of another section": ({**logs(30), **metrics(credentials={"role_arn": ROLE})}, ""),
    "metrics have one": (
        {**AGENT, **metrics(credentials={"role_arn": OTHER_ROLE}, metrics_destinations={"amp": {"workspace_id": "w"}})},
        ROLE,
    ),
    "traces have one": ({**AGENT, **traces(credentials={"role_arn": OTHER_ROLE})}, OTHER_ROLE),
    "discovery uses none": ({**AGENT, **prometheus(ECS)}, ""),
    "OpenTelemetry uses the role of the agent": ({**AGENT, **collect("otlp")}, ROLE),
}


@pytest.mark.parametrize("name", ROLES)
def test_the_role_that_makes_the_calls(name):
    config, role = ROLES[name]
    last = permissions_of(config)[-1].row
    assert {each.role for each in permissions_of(config) if each.row is last} == {role}


def test_an_assumed_role_is_assumed_with_the_agents_own_identity():
    config = {**AGENT, **traces(credentials={"role_arn": OTHER_ROLE})}
    assumed = [each for each in permissions_of(config) if each.row.actions == ("sts:AssumeRole",)]
    assert [(each.value, each.role) for each in assumed] == [(ROLE, ""), (OTHER_ROLE, "")]


def test_a_part_is_called_for_with_the_role_in_the_whole():
    assert {need.role for need in permissions_of(logs(30), {**AGENT, **logs(30)})} == {ROLE}
    part, other = VOLUMES_ALONE, metrics(append_dimensions={})
    for needs in (permissions_of(part, other), permissions_of(part, None, [other])):
        assert needs[-1].row.actions == ("ec2:DescribeVolumes",)


def notices(config):
    problems = validate(config, source="a.json").problems
    return [each for each in problems if each.severity == NOTICE]


NOTICED = {
    "a role": "$.agent.credentials.role_arn: assuming a role needs sts:AssumeRole",
    "Prometheus": "$.metrics.metrics_destinations.amp.workspace_id: "
    "sending metrics to Amazon Managed Service for Prometheus needs aps:RemoteWrite",
    "ECS tasks": "$.logs.metrics_collected.prometheus.ecs_service_discovery: discovering ECS tasks needs "
    "ec2:DescribeInstances, ecs:DescribeContainerInstances, ecs:DescribeTaskDefinition and 2 more",
}


@pytest.mark.parametrize("name", NOTICED)
def test_what_the_policy_of_the_servers_lacks_is_a_notice(name):
    [notice] = notices(NEEDED[name][0])
    assert str(notice) == f"{NOTICED[name]}, which {SERVER_POLICY} does not allow"
    assert (notice.rule.name, notice.allowed, notice.near) == ("permission", "", "")


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.json")), ids=lambda each: each.stem)
def test_the_examples_need_no_more_than_the_policy_of_the_servers(file):
    assert notices(file.read_text()) == []
    assert permissions_of(json.loads(file.read_text())) != []
