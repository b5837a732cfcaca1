from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils._configuration.permissions import (
    ROWS,
    SERVER_POLICY,
    first_of_each,
    permissions_of,
    roles_of_parts,
)
from ansible_collections.cwagent.iam.plugins.module_utils._configuration.validate import SECTIONS, validate
from ansible_collections.cwagent.iam.plugins.module_utils._ground.findings import NOTICE

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
INSTRUMENTATION = [
    "application-signals:ListInstrumentationConfigurations",
    "application-signals:ReportInstrumentationConfigurationStatus",
]
TAGS = ["ec2:DescribeTags"]
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


def with_metrics(name, dimensions):
    """Metrics of a plug-in with its own dimensions."""
    entry = {"append_dimensions": dimensions}
    return {"metrics": {"metrics_collected": {name: [entry] if name == "procstat" else entry}}}


REPLACING = (
    *("collectd", "cpu", "disk", "diskio", "ethtool", "mem", "net", "netstat", "nvidia_gpu", "processes", "procstat"),
    "swap",
)

VOLUMES_ALONE = {"metrics": {"metrics_collected": disk(VolumeId="${aws:VolumeId}")["metrics"]["metrics_collected"]}}
OPENTELEMETRY_METRICS = ("container_insights", "host_metrics", "prometheus")
LOGGED_METRICS = ("emf", "otlp", "structuredlog")
NEEDED = {
    "metrics": (metrics(), METRICS),
    "a namespace alone": ({"metrics": {"namespace": "Shop"}}, METRICS),
    "metrics for both destinations": (metrics(metrics_destinations={"amp": {}, "cloudwatch": {}}), METRICS),
    "metrics of the agent": ({"agent": {"system_metrics_enabled": True}}, METRICS),
    "files": (logs(), LOG_EVENTS),
    "events": ({"logs": {"logs_collected": {"windows_events": {"collect_list": [{}]}}}}, LOG_EVENTS),
    "Application Signals in logs": ({"logs": {"logs_collected": {"application_signals": {}}}}, LOG_EVENTS),
    **{f"{name} in logs": (logged(name), LOG_EVENTS) for name in LOGGED_METRICS},
    **{
        f"{name} in logs": (logged(name), [*LOG_EVENTS, *TAGS])
        for name in ("app_signals", "application_signals", "ecs")
    },
    "kubernetes in logs": (logged("kubernetes"), [*LOG_EVENTS, *TAGS * 2]),
    "a role": ({"agent": {"credentials": {"role_arn": ROLE}}}, ["sts:AssumeRole"]),
    "a role for metrics": (metrics(credentials={"role_arn": ROLE}), ["sts:AssumeRole", *METRICS]),
    "a role for logs": (logs(credentials={"role_arn": ROLE}), ["sts:AssumeRole", *LOG_EVENTS]),
    "a role for traces": (traces(credentials={"role_arn": ROLE}), ["sts:AssumeRole", *TRACES]),
    "Prometheus": (metrics(metrics_destinations={"amp": {"workspace_id": "ws-1"}}), ["aps:RemoteWrite"]),
    "ECS tasks": (prometheus({**ECS, "docker_label": {}}), [*LOG_EVENTS, *TASKS, *TAGS]),
    "ECS services": (prometheus({**ECS, "service_name_list_for_tasks": [{}]}), [*LOG_EVENTS, *TASKS, *SERVICES, *TAGS]),
    "an Auto Scaling group": (
        metrics(append_dimensions=GROUP_OF_INSTANCE),
        [*METRICS, "ec2:DescribeTags"],
    ),
    **{
        f"an Auto Scaling group of {name}": (with_metrics(name, GROUP_OF_INSTANCE), [*METRICS, *TAGS])
        for name in REPLACING
    },
    "volumes": (disk(VolumeId="${aws:VolumeId}"), [*METRICS, "ec2:DescribeVolumes"]),
    "a retention": (logs(30), [*LOG_EVENTS, *RETENTION]),
    "a retention of events": (
        {"logs": {"logs_collected": {"windows_events": {"collect_list": [{"retention_in_days": 1}]}}}},
        [*LOG_EVENTS, *RETENTION],
    ),
    "a retention of journals": (journals(1), [*LOG_EVENTS, *RETENTION[:1]]),
    "traces": (traces(), TRACES),
    "traces of X-Ray": (traces("xray"), [*TRACES, *SAMPLING]),
    **{
        f"traces of {name}": (traces(name), [*TAGS, *TRACES, *SAMPLING, *INSTRUMENTATION])
        for name in ("app_signals", "application_signals")
    },
    **{f"OpenTelemetry's {name}": (collect(name), [*TAGS * 2, *METRICS]) for name in OPENTELEMETRY_METRICS},
    **{f"OpenTelemetry's {name}": (collect(name), [*TAGS * 2, *LOG_EVENTS]) for name in ("files", "windows_events")},
    "OpenTelemetry's database_insights": (collect("database_insights"), [*TAGS * 2, *METRICS, *LOG_EVENTS]),
    "OpenTelemetry's otlp": (collect("otlp"), [*TAGS * 2, *METRICS, *LOG_EVENTS, "xray:PutTraceSegments"]),
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


PLUGINS = [*SECTIONS["metrics"].keys["metrics_collected"].keys, "LogicalDisk", "Paging File"]


@pytest.mark.parametrize("name", PLUGINS)
def test_the_agent_replaces_the_dimensions_of_some_plugins_by_their_values(name):
    """translator/translate/metrics: these plug-ins call ResolveAWSMetadataPlaceholders, which looks at no key."""
    for key in ("AutoScalingGroupName", "team", "InstanceId"):
        reads = [*METRICS, *TAGS] if name in REPLACING else METRICS if name != "prometheus" else []
        assert actions(with_metrics(name, {key: "${aws:AutoScalingGroupName}"})) == reads


@given(st.text() | st.sampled_from(["${aws:InstanceId}", " ${aws:AutoScalingGroupName}", "${aws:AutoScalingGroupName"]))
def test_other_dimensions_of_a_plugin_need_nothing(value):
    assume(value != "${aws:AutoScalingGroupName}")
    for name in REPLACING:
        assert actions(with_metrics(name, {"AutoScalingGroupName": value})) == METRICS


@pytest.mark.parametrize("key", ["InstanceId", "ImageId", "InstanceType", "team"])
def test_the_agent_looks_at_the_keys_of_the_dimensions_of_all_metrics(key):
    assert actions(metrics(append_dimensions={key: "${aws:AutoScalingGroupName}"})) == METRICS


# By section, the parts for which the agent reads the tags of its instance: to start, if nothing has the name of the
# cluster, and to describe the data.
READS_TAGS = {
    "logs.metrics_collected": {
        "prometheus": (True, False),
        "kubernetes": (True, True),
        **dict.fromkeys(("app_signals", "application_signals", "ecs"), (False, True)),
        **dict.fromkeys(("emf", "otlp", "structuredlog"), (False, False)),
    },
    "logs.logs_collected": dict.fromkeys(
        ("application_signals", "files", "journald", "windows_events"), (False, False)
    ),
    "traces.traces_collected": {
        **dict.fromkeys(("app_signals", "application_signals"), (False, True)),
        **dict.fromkeys(("otlp", "xray"), (False, False)),
    },
    "opentelemetry.collect": dict.fromkeys(
        ("container_insights", "database_insights", "files", "host_metrics", "otlp", "prometheus", "windows_events"),
        (True, True),
    ),
}


def tag_rows(config):
    """For each row of reading tags that applies, whether the agent starts without."""
    return [each.row.is_optional for each in permissions_of(config) if each.row.actions == tuple(TAGS)]


@pytest.mark.parametrize("place", READS_TAGS)
def test_the_parts_for_which_the_agent_reads_tags(place):
    section, collection = place.split(".")
    assert READS_TAGS[place].keys() == SECTIONS[section].keys[collection].keys.keys()
    for name, (to_start, to_describe) in READS_TAGS[place].items():
        part = {name: {}}
        assert tag_rows({section: {collection: part}}) == [False] * to_start + [True] * to_describe, name
        named = {collection: {name: {"cluster_name": "shop"}}, "cluster_name": "shop"}
        assert tag_rows({section: named}) == [True] * to_describe, name
        unnamed = {collection: {name: {"cluster_name": ""}}, "cluster_name": ""}
        assert tag_rows({section: unnamed}) == [False] * to_start + [True] * to_describe, name


@pytest.mark.parametrize("section", [{}, {"collect": {}}, {"cluster_name": ""}, {"resource_attributes": {}}, [], None])
def test_opentelemetry_without_anything_to_collect_needs_nothing(section):
    assert actions({"opentelemetry": section}) == []


def test_rows_of_one_use_have_the_same_actions_with_the_worst_denial_first():
    for use in {row.use for row in ROWS}:
        rows = [row for row in ROWS if row.use == use]
        assert len({(row.actions, row.limit, row.is_in_server_policy, row.is_ec2_only) for row in rows}) == 1
        assert [row.is_optional for row in rows] == sorted(row.is_optional for row in rows)


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
    assert others == {"sts:AssumeRole", "aps:RemoteWrite", *TASKS, *SERVICES, *INSTRUMENTATION}


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
    "the agent's own metrics use none": (
        {
            "agent": {**AGENT["agent"], "system_metrics_enabled": True},
            "metrics": {"credentials": {"role_arn": OTHER_ROLE}},
        },
        "",
    ),
    "instrumentation uses the role of traces": (
        {**AGENT, **traces("application_signals", credentials={"role_arn": OTHER_ROLE})},
        OTHER_ROLE,
    ),
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


def test_a_part_needs_what_another_configuration_requires():
    needs = permissions_of(VOLUMES_ALONE, [metrics(append_dimensions={})])
    assert needs[-1].row.actions == ("ec2:DescribeVolumes",)


FIELD = "agent.credentials.role_arn"
LOGS_FIELD = "logs.credentials.role_arn"
OF_LOGS = {"logs": {"credentials": {"role_arn": OTHER_ROLE}}}


@pytest.mark.parametrize(
    ("parts", "roles"),
    [
        ([], {}),
        ([[]], {}),
        ([[metrics()]], {}),
        ([[AGENT]], {FIELD: ROLE}),
        ([[AGENT, AGENT]], {FIELD: ROLE}),
        # An agent can have the version without the role.
        ([[AGENT, metrics()]], {}),
        ([[AGENT, {"agent": {"credentials": {"role_arn": ""}}}]], {}),
        ([[AGENT, {"agent": {"credentials": {"role_arn": OTHER_ROLE}}}]], {FIELD: ROLE}),
        ([[AGENT, metrics()], [OF_LOGS]], {LOGS_FIELD: OTHER_ROLE}),
        ([[metrics()], [{**AGENT, **OF_LOGS}]], {FIELD: ROLE, LOGS_FIELD: OTHER_ROLE}),
    ],
)
def test_a_part_takes_the_roles_that_all_versions_of_another_part_have(parts, roles):
    assert roles_of_parts(parts) == roles


@pytest.mark.parametrize(
    ("config", "roles", "role"),
    [
        (logs(30), {FIELD: ROLE}, ROLE),
        (logs(30), {FIELD: ROLE, LOGS_FIELD: OTHER_ROLE}, OTHER_ROLE),
        (logs(30, credentials={"role_arn": ROLE}), {LOGS_FIELD: OTHER_ROLE}, ROLE),
        ({**AGENT, **logs(30)}, {LOGS_FIELD: OTHER_ROLE}, OTHER_ROLE),
        (logs(30), {"metrics.credentials.role_arn": ROLE}, ""),
    ],
)
def test_a_part_is_called_for_with_the_role_in_another_part(config, roles, role):
    assert {need.role for need in permissions_of(config, (), roles) if need.row.actions[0] != "sts:AssumeRole"} == {
        role
    }


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


@pytest.mark.parametrize("row", [row for row in ROWS if row.is_optional], ids=lambda row: row.actions[0])
def test_an_optional_permission_is_no_notice(row):
    configs = [config for config, *_ in NEEDED.values() if any(need.row is row for need in permissions_of(config))]
    assert configs
    assert [each for config in configs for each in notices(config) if row.use in str(each)] == []


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.json")), ids=lambda each: each.stem)
def test_the_examples_need_no_more_than_the_policy_of_the_servers(file):
    assert notices(file.read_text()) == []
    assert permissions_of(json.loads(file.read_text())) != []
