# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The permissions that the parts of a configuration need, and what limits them, as narrowly as IAM can. Pure.

``make tables`` writes the page ``configuration_permissions.rst`` from the rows, ``policy.py`` makes a fitted policy of
them, and verify checks them. Every agent also reads its configuration, which depends on nothing in it: this has no row.
The agent replaces placeholders, and has defaults: https://github.com/aws/amazon-cloudwatch-agent/tree/main/translator
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

from .._ground.errors import InvalidInput
from .._ground.findings import NOTICE
from .._ground.text import join_first
from . import problems
from .json_path import find_values
from .problems import Path, Problem, quote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence


# Stands for what a part contains. ``{partition}``, ``{region}`` and ``{account}`` are replaced too.
VALUE = "{value}"
DEFAULT_NAMESPACE, SYSTEM_METRICS = "CWAgent", "CWAgent/System"
# How a text refers to an environment variable of the agent. IAM would take it for a variable of the policy.
VARIABLE = "${"
_GROUP = f"arn:{{partition}}:logs:{{region}}:{{account}}:log-group:{VALUE}"
# plugins/inputs/logfile: the last extension of a path, and the characters that the agent replaces in a path.
EXTENSION = re.compile(r"\.[^./\\]*$")
_GLOB = re.compile(r"(?:\*|\?|\[[^\]]*\]|\{[^}]*\})+")
_NOT_IN_GROUP = re.compile(r"[^\w./#*-]", re.ASCII)
# https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_CreateLogGroup.html
IN_GROUP = re.compile(r"[\w./#-]+", re.ASCII)
_OF_THE_HOST = re.compile(r"\{(?:instance_id|hostname|local_hostname|ip_address|date)\}")
# The exporter for Prometheus has other placeholders, such as {ClusterName}.
_ANY_PLACEHOLDER = re.compile(r"\{\w+\}", re.ASCII)
# A server that is not on EC2 does not know its account.
UNKNOWN_ACCOUNT = "UNKNOWN-ACCOUNT"
_EMF_GROUP = "emf/logs/default"
ROLE_ARN = re.compile(r"arn:[a-z-]+:iam::\d{12}:role/[\w+=,.@/-]+", re.ASCII)
_WORKSPACE_ID = re.compile(r"[A-Za-z0-9-]+")
REGION = re.compile(r"[a-z0-9-]+")
_CLUSTER_NAME = re.compile(r"[\w-]+", re.ASCII)

_BY_CLUSTER = "the name of its log group contains the name of the cluster, which the host knows"
_BY_APPLICATION = "applications choose the log groups, and its metrics have no namespace"
_WITHOUT_NAMESPACE = "it sends metrics without a namespace, and how IAM decides about them is not known"


@dataclass(frozen=True)
class Limit:
    """The resources, or the condition, that limit some actions.

    :param read: returns the values for the templates, from a need and from the log groups to which applications send
        metrics in EMF, as the user lists them. It raises ``InvalidInput`` if nothing can limit the actions.
    :param resources: the templates of ARNs.
    :param condition: the operator, the key and the template of the values.
    :param others: the actions for which IAM knows neither these resources nor this condition.
    :param values: the form of the values, as a regular expression. The texts in braces are replaced as in templates.
        It is empty if nothing can limit the actions.
    """

    read: Callable[[Need, Sequence[str]], list[str]]
    resources: tuple[str, ...] = ("*",)
    condition: tuple[str, str, str] | None = None
    others: tuple[str, ...] = ()
    values: str = ""


def goes_to_cloudwatch(metrics: Any) -> bool:
    """Whether the agent sends metrics of the section ``metrics`` to CloudWatch.

    The section of another file can have the plug-ins for a namespace.
    """
    amp, cloudwatch = (find_values(metrics, f"metrics_destinations.{each}") for each in ("amp", "cloudwatch"))
    # This plug-in sends to Amazon Managed Service for Prometheus only.
    plugins = {name for (_section, name), _value in find_values(metrics, "metrics_collected.*")} - {"prometheus"}
    return (bool(cloudwatch) or not amp) and bool(plugins or find_values(metrics, "namespace"))


def log_group_patterns(name: str, placeholder: re.Pattern[str] = _OF_THE_HOST, allowed: str = "") -> list[str]:
    """Return patterns for the names of log groups that the agent makes of a name with placeholders.

    :param allowed: further characters that the name may have.
    :raises InvalidInput: it is not a valid name.
    """
    _check_variable(name)
    # One character stands for each placeholder, so that what is left of it makes no other placeholder.
    plain = re.sub(r"\{(?:aws_region|account_id)\}", "x", placeholder.sub("x", name))
    if not IN_GROUP.fullmatch(plain.translate({ord(each): "x" for each in allowed})):
        raise InvalidInput(f"{quote(name)} is not a valid name of a log group")
    pattern = placeholder.sub("*", name).replace("{aws_region}", "{region}")
    accounts = ("{account}", UNKNOWN_ACCOUNT) if "{account_id}" in pattern else ("",)
    return [re.sub(r"\*+", "*", pattern.replace("{account_id}", each)) for each in accounts]


def _check_variable(text: str) -> None:
    """Check that a text has no environment variable. :raises InvalidInput: it has one."""
    if VARIABLE in text:
        raise InvalidInput(f"{quote(text)} contains an environment variable, whose value is not known")


def _file_groups(entry: Mapping[str, Any]) -> list[str]:
    path = str(entry.get("file_path", ""))
    _check_variable(path)
    if entry.get("publish_multi_logs") and path:
        return [_NOT_IN_GROUP.sub("_", _GLOB.sub("*", path).replace("\\", "/"))]
    name = EXTENSION.sub("", path)
    if not IN_GROUP.fullmatch(name):
        raise InvalidInput(f"without log_group_name, the log group would be {quote(name)}, which is not a valid name")
    return [name]


# By section, the log groups of parts that contain no name.
_DEFAULT_GROUPS = {
    "opentelemetry.collect.files": "/aws/cwagent/files",
    "opentelemetry.collect.windows_events": "/aws/cwagent/windows_events",
}
# By section, why its log groups or metrics are not known.
_UNKNOWN_GROUPS = {
    "logs.metrics_collected.ecs": _BY_CLUSTER,
    "logs.metrics_collected.kubernetes": _BY_CLUSTER,
    "logs.metrics_collected.app_signals": _BY_APPLICATION,
    "logs.metrics_collected.application_signals": _BY_APPLICATION,
    "logs.logs_collected.application_signals": _BY_APPLICATION,
    "opentelemetry.collect.database_insights": _WITHOUT_NAMESPACE,
    "opentelemetry.collect.otlp": _BY_APPLICATION,
}
_EMF = ("logs.metrics_collected.emf", "logs.metrics_collected.structuredlog")


def _read_groups(need: Need, emf_log_groups: Sequence[str]) -> list[str]:
    section = ".".join(map(str, need.path[:3]))
    if section in _EMF:
        return _emf_groups(emf_log_groups)
    if section in _UNKNOWN_GROUPS:
        raise InvalidInput(_UNKNOWN_GROUPS[section])
    if section == "logs.metrics_collected.otlp":
        return ["/aws/cwagent"]
    name = need.entry.get("log_group_name")
    if name:
        return log_group_patterns(str(name), _ANY_PLACEHOLDER if section.endswith(".prometheus") else _OF_THE_HOST)
    if section == "logs.logs_collected.files":
        return _file_groups(need.entry)
    if section not in _DEFAULT_GROUPS:
        raise InvalidInput("log_group_name is missing, and the agent has no default for it")
    return [_DEFAULT_GROUPS[section]]


def _emf_groups(listed: Sequence[str]) -> list[str]:
    if not listed:
        raise InvalidInput(
            "applications choose the log groups; list them in emf_log_groups (cwagent_emf_log_groups in the playbooks)"
        )
    return [_EMF_GROUP, *(pattern for name in listed for pattern in log_group_patterns(name, allowed="*"))]


def _read_namespace(need: Need, _groups: Sequence[str]) -> list[str]:
    namespace = need.entry.get("namespace") or DEFAULT_NAMESPACE
    _check_variable(str(namespace))
    return [str(namespace)]


def _read_cluster(need: Need, _groups: Sequence[str]) -> list[str]:
    region, name = (str(need.entry.get(key, "")) for key in ("sd_cluster_region", "sd_target_cluster"))
    if not REGION.fullmatch(region) or not _CLUSTER_NAME.fullmatch(name):
        raise InvalidInput("sd_cluster_region and sd_target_cluster must name the cluster")
    return [f"arn:{{partition}}:ecs:{region}:{{account}}:cluster/{name}"]


def _refuse_metrics(_need: Need, _groups: Sequence[str]) -> list[str]:
    raise InvalidInput(_WITHOUT_NAMESPACE)


def _text(key: str, form: re.Pattern[str], kind: str) -> Callable[[Need, Sequence[str]], list[str]]:
    """Return a function that reads a text. A text of another form could have a wildcard."""

    def read(need: Need, _groups: Sequence[str]) -> list[str]:
        value = need.entry.get(key)
        if not isinstance(value, str) or not form.fullmatch(value):
            raise InvalidInput(f"{quote(value)} is not {kind}")
        return [value]

    return read


_NAMESPACE_KEY = ("StringEquals", "cloudwatch:namespace", VALUE)
_GROUP_VALUES = r"[\w./#*-]+"
_NAMESPACE_VALUES = r"(?:(?!\$\{).)+"
# Without ``:*``, IAM denies creating and filling the streams.
GROUPS = Limit(_read_groups, (f"{_GROUP}:*",), values=_GROUP_VALUES)
# AWS documents the form without ``:*``; its denials contain the other one.
RETENTION_GROUPS = Limit(_read_groups, (_GROUP, f"{_GROUP}:*"), values=_GROUP_VALUES)
NAMESPACE = Limit(_read_namespace, condition=_NAMESPACE_KEY, values=_NAMESPACE_VALUES)
SYSTEM_NAMESPACE = Limit(lambda _need, _groups: [SYSTEM_METRICS], condition=_NAMESPACE_KEY, values=SYSTEM_METRICS)
OTLP_METRICS = Limit(_refuse_metrics)
ROLE = Limit(_text("role_arn", ROLE_ARN, "the ARN of a role"), (VALUE,), values=ROLE_ARN.pattern)
WORKSPACE = Limit(
    _text("workspace_id", _WORKSPACE_ID, "the ID of a workspace"),
    (f"arn:{{partition}}:aps:{{region}}:{{account}}:workspace/{VALUE}",),
    values=_WORKSPACE_ID.pattern,
)
CLUSTER = Limit(
    _read_cluster,
    condition=("ArnEquals", "ecs:cluster", VALUE),
    others=("ec2:DescribeInstances", "ecs:DescribeTaskDefinition"),
    values=rf"arn:{{partition}}:ecs:{REGION.pattern}:{{account}}:cluster/{_CLUSTER_NAME.pattern}",
)


SERVER_POLICY = "CloudWatchAgentServerPolicy"
# The agent replaces this text by the Auto Scaling group of its instance.
_AUTO_SCALING_GROUP = "${aws:AutoScalingGroupName}"
# The plug-ins whose dimensions the agent replaces itself, by their values. Others, such as statsd, jmx and the counters
# of Windows, send the text as it is.
_REPLACING = (
    "collectd",
    "cpu",
    "disk",
    "diskio",
    "ethtool",
    "mem",
    "net",
    "netstat",
    "nvidia_gpu",
    "processes",
    "swap",
)
_SIGNALS = ("app_signals", "application_signals")
# A notice lists so many actions.
_MAX_ACTIONS = 3
# Where the agent's identity comes from; a section can have another role.
_AGENT_ROLE = "agent.credentials.role_arn"
_ROLE_FIELDS = (_AGENT_ROLE, *(f"{section}.credentials.role_arn" for section in ("metrics", "logs", "traces")))
ASSUME = "sts:AssumeRole"
_LOG_EVENTS = ("logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents")
_DOCS = "https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring"
_POLICIES = "https://docs.aws.amazon.com/aws-managed-policy/latest/reference"
_AGENT = "https://github.com/aws/amazon-cloudwatch-agent/tree/main"
_OPENTELEMETRY = f"{_AGENT}/translator/translate/otel/pipeline/opentelemetry"


@dataclass(frozen=True)
class Row:
    """Something that a configuration can make the agent do, and the permissions for it.

    :param use: the action of the agent, as the subject of a sentence. Rows with the same use have the same actions. The
        row whose denial has the worst effect comes first.
    :param fields: the parts of the configuration that make it do so. In a name, ``*`` stands for any key or index.
    :param source: the page or code that documents this.
    :param resource: the ARN of the resource. It is ``*`` for actions without a resource, and ``None`` if the
        configuration does not contain the resource.
    :param roles: the fields with the role that the agent assumes for these calls. The first field that is set counts.
    :param requires: another part of the configuration. Without it, the agent does not do so.
    :param value: the only value that makes the agent do so. ``None`` stands for all values except ``other``.
    :param other: a value that makes the agent do nothing.
    :param only_if: further values that make the agent do so, in words and as a function.
    :param limit: how a fitted policy limits the actions; ``None`` if IAM cannot limit them.
    :param is_in_server_policy: whether the managed policy of servers allows the actions.
    :param denied: the effect of a denial, in words. Empty if only the data of these fields is missing.
    :param is_optional: whether most servers do well without the permissions.
    """

    use: str
    fields: tuple[str, ...]
    actions: tuple[str, ...]
    source: str
    resource: str | None = "*"
    roles: tuple[str, ...] = ()
    requires: str = ""
    value: str | bool | None = None
    other: Any = None
    only_if: tuple[str, Callable[[Any], bool]] | None = None
    limit: Limit | None = None
    is_in_server_policy: bool = True
    denied: str = ""
    is_optional: bool = False

    @property
    def is_ec2_only(self) -> bool:
        """Whether the agent does so on EC2 only, because it asks about its instance."""
        return not {"ec2:DescribeTags", "ec2:DescribeVolumes"}.isdisjoint(self.actions)

    @property
    def names_resource(self) -> bool:
        """Whether the value of a field is the resource, or a part of its name."""
        return self.resource is not None and VALUE in self.resource

    def applies(self, value: Any) -> bool:
        """Return whether a value of one of the fields makes the agent do so."""
        if self.names_resource:
            return isinstance(value, str)
        if self.only_if:
            return self.only_if[1](value)
        return bool(value == self.value if self.value else value != self.other)


def _has_no_cluster_name(section: Any) -> bool:
    return isinstance(section, dict) and not section.get("cluster_name")


def _collects_without_cluster_name(section: Any) -> bool:
    return _has_no_cluster_name(section) and bool(section.get("collect"))


_TAGS = "reading the tags of the instance"
_NO_START = "agents from version 1.300061 on do not start"
_SAME_RETENTION = "the retention stays as it is"

ROWS = (
    Row(
        "assuming a role",
        _ROLE_FIELDS,
        (ASSUME,),
        f"{_DOCS}/CloudWatch-Agent-common-scenarios.html",
        resource=VALUE,
        limit=ROLE,
        is_in_server_policy=False,
    ),
    Row(
        "sending metrics",
        ("metrics",),
        ("cloudwatch:PutMetricData",),
        f"{_AGENT}/translator/translate/otel/exporter/awscloudwatch",
        roles=("metrics.credentials.role_arn", _AGENT_ROLE),
        only_if=("some of them go to CloudWatch", goes_to_cloudwatch),
        limit=NAMESPACE,
    ),
    Row(
        "sending metrics of the agent itself",
        ("agent.system_metrics_enabled",),
        ("cloudwatch:PutMetricData",),
        f"{_AGENT}/translator/translate/otel/pipeline/systemmetrics",
        value=True,
        limit=SYSTEM_NAMESPACE,
    ),
    Row(
        "sending metrics to Amazon Managed Service for Prometheus",
        ("metrics.metrics_destinations.amp.workspace_id",),
        ("aps:RemoteWrite",),
        f"{_POLICIES}/AmazonPrometheusRemoteWriteAccess.html",
        resource=WORKSPACE.resources[0],
        limit=WORKSPACE,
        roles=(_AGENT_ROLE,),
        is_in_server_policy=False,
    ),
    Row(
        "sending log events",
        (
            *(f"logs.logs_collected.{each}.collect_list.*" for each in ("files", "journald", "windows_events")),
            "logs.logs_collected.application_signals",
            *(f"logs.metrics_collected.{each}" for each in ("app_signals", "application_signals", "ecs", "emf")),
            *(f"logs.metrics_collected.{each}" for each in ("kubernetes", "otlp", "prometheus", "structuredlog")),
        ),
        _LOG_EVENTS,
        f"{_AGENT}/plugins/outputs/cloudwatchlogs/internal/pusher",
        resource=None,
        roles=("logs.credentials.role_arn", _AGENT_ROLE),
        limit=GROUPS,
    ),
    Row(
        "discovering ECS tasks",
        ("logs.metrics_collected.prometheus.ecs_service_discovery",),
        (
            "ec2:DescribeInstances",
            "ecs:DescribeContainerInstances",
            "ecs:DescribeTaskDefinition",
            "ecs:DescribeTasks",
            "ecs:ListTasks",
        ),
        f"{_DOCS}/ContainerInsights-Prometheus-Setup-ECS.html",
        resource=None,
        limit=CLUSTER,
        is_in_server_policy=False,
    ),
    Row(
        "discovering ECS services",
        ("logs.metrics_collected.prometheus.ecs_service_discovery.service_name_list_for_tasks",),
        ("ecs:DescribeServices", "ecs:ListServices"),
        f"{_DOCS}/ContainerInsights-Prometheus-Setup-ECS.html",
        resource=None,
        limit=CLUSTER,
        is_in_server_policy=False,
    ),
    Row(
        _TAGS,
        tuple(f"logs.metrics_collected.{name}" for name in ("kubernetes", "prometheus")),
        ("ec2:DescribeTags",),
        f"{_AGENT}/translator/util/tagutil",
        only_if=("it contains no ``cluster_name``", _has_no_cluster_name),
        denied=f"{_NO_START}, and earlier ones start a minute later",
    ),
    Row(
        _TAGS,
        ("opentelemetry",),
        ("ec2:DescribeTags",),
        f"{_AGENT}/translator/util/tagutil",
        only_if=("it contains ``collect`` and no ``cluster_name``", _collects_without_cluster_name),
        denied="the agent does not start",
    ),
    Row(
        _TAGS,
        (
            *(f"metrics.metrics_collected.{name}.append_dimensions.*" for name in _REPLACING),
            "metrics.metrics_collected.procstat.*.append_dimensions.*",
        ),
        ("ec2:DescribeTags",),
        f"{_AGENT}/translator/translate/util/placeholderUtil.go",
        value=_AUTO_SCALING_GROUP,
        denied=_NO_START,
    ),
    Row(
        _TAGS,
        ("metrics.append_dimensions.AutoScalingGroupName",),
        ("ec2:DescribeTags",),
        f"{_AGENT}/plugins/processors/ec2tagger",
        value=_AUTO_SCALING_GROUP,
        denied="the agent sends no metrics of its plug-ins",
    ),
    Row(
        _TAGS,
        (
            *(f"{section}_collected.{name}" for section in ("logs.metrics", "traces.traces") for name in _SIGNALS),
            *(f"logs.metrics_collected.{name}" for name in ("ecs", "kubernetes")),
            "opentelemetry.collect.*",
        ),
        ("ec2:DescribeTags",),
        f"{_AGENT}/translator/translate/otel/processor/resourcedetection",
        denied="the data does not name the Auto Scaling group and the cluster",
        is_optional=True,
    ),
    Row(
        "reading the IDs of EBS volumes",
        ("metrics.metrics_collected.disk.append_dimensions.VolumeId",),
        ("ec2:DescribeVolumes",),
        f"{_AGENT}/plugins/processors/ec2tagger",
        requires="metrics.append_dimensions",
        value="${aws:VolumeId}",
        denied="this dimension is missing",
    ),
    Row(
        "setting the retention of log groups",
        ("logs.logs_collected.*.collect_list.*.retention_in_days",),
        ("logs:PutRetentionPolicy",),
        f"{_POLICIES}/{SERVER_POLICY}.html",
        resource=None,
        roles=("logs.credentials.role_arn", _AGENT_ROLE),
        other=-1,
        limit=RETENTION_GROUPS,
        denied=_SAME_RETENTION,
    ),
    Row(
        "reading the retention of log groups",
        tuple(f"logs.logs_collected.{name}.collect_list.*.retention_in_days" for name in ("files", "windows_events")),
        ("logs:DescribeLogGroups",),
        f"{_AGENT}/plugins/outputs/cloudwatchlogs/internal/pusher",
        roles=("logs.credentials.role_arn", _AGENT_ROLE),
        other=-1,
        denied=_SAME_RETENTION,
    ),
    Row(
        "sending traces to X-Ray",
        ("traces.traces_collected",),
        ("xray:PutTelemetryRecords", "xray:PutTraceSegments"),
        f"{_POLICIES}/{SERVER_POLICY}.html",
        roles=("traces.credentials.role_arn", _AGENT_ROLE),
    ),
    Row(
        "answering the sampling requests of applications",
        tuple(f"traces.traces_collected.{name}" for name in (*_SIGNALS, "xray")),
        ("xray:GetSamplingRules", "xray:GetSamplingStatisticSummaries", "xray:GetSamplingTargets"),
        f"{_AGENT}/translator/translate/otel/extension/awsproxy",
        roles=("traces.credentials.role_arn", _AGENT_ROLE),
        denied="applications use their own sampling rules",
    ),
    Row(
        "answering the instrumentation requests of applications",
        tuple(f"traces.traces_collected.{name}" for name in _SIGNALS),
        (
            "application-signals:ListInstrumentationConfigurations",
            "application-signals:ReportInstrumentationConfigurationStatus",
        ),
        f"{_AGENT}/translator/translate/otel/extension/awsproxy",
        roles=("traces.credentials.role_arn", _AGENT_ROLE),
        denied="applications cannot change their instrumentation while they run",
        is_optional=True,
        is_in_server_policy=False,
    ),
    Row(
        "sending OpenTelemetry metrics",
        tuple(
            f"opentelemetry.collect.{name}"
            for name in ("container_insights", "database_insights", "host_metrics", "otlp", "prometheus")
        ),
        ("cloudwatch:PutMetricData",),
        _OPENTELEMETRY,
        limit=OTLP_METRICS,
        roles=(_AGENT_ROLE,),
    ),
    Row(
        "sending OpenTelemetry log events",
        (
            *(f"opentelemetry.collect.{name}" for name in ("database_insights", "otlp")),
            *(f"opentelemetry.collect.{name}.collect_list.*" for name in ("files", "windows_events")),
        ),
        _LOG_EVENTS,
        _OPENTELEMETRY,
        resource=None,
        limit=GROUPS,
        roles=(_AGENT_ROLE,),
    ),
    Row(
        "sending OpenTelemetry traces",
        ("opentelemetry.collect.otlp",),
        ("xray:PutTraceSegments",),
        _OPENTELEMETRY,
        roles=(_AGENT_ROLE,),
    ),
)


@dataclass(frozen=True)
class Need:
    """The permissions that a part of a configuration needs.

    :param path: the place of the field.
    :param value: the value of the field.
    :param entry: the value if it is an object, or else the object that contains it.
    :param role: the role that the agent assumes for the calls. It is empty if the agent uses its own identity.
    """

    row: Row
    field: str
    path: Path
    value: Any
    entry: Mapping[str, Any]
    role: str = ""

    def resource(self, partition: str, region: str, account: str) -> str | None:
        """Return the resource as in a row, for an agent in a region and an account.

        It is ``None`` too if an environment variable of the agent contains it.
        """
        if self.row.resource is None or (self.row.names_resource and VARIABLE in self.value):
            return None
        known = {"partition": partition, "region": region, "account": account, "value": self.value}
        return self.row.resource.format_map(known)


def permissions_of(
    config: Mapping[str, Any],
    others: Iterable[Mapping[str, Any]] = (),
    roles: Mapping[str, str] = MappingProxyType({}),
) -> list[Need]:
    """Return the permissions that a configuration needs, for each place that needs them.

    :param others: configurations with which an agent may merge it. They can contain the parts that rows require.
    :param roles: the roles in the other parts of a split configuration, as ``roles_of_parts`` returns them.
    """
    needs: list[Need] = []
    requirements = [config, *others]
    for row in ROWS:
        if not row.requires or any(find_values(each, row.requires) for each in requirements):
            role = _role(config, row, roles)
            for field in row.fields:
                found = [(path, value) for path, value in find_values(config, field) if row.applies(value)]
                needs += [Need(row, field, path, value, _entry(config, path), role) for path, value in found]
    return needs


def first_of_each(needs: Iterable[Need]) -> list[Need]:
    """Return the first need of each field of a row: several entries of a list need the same permissions."""
    found: dict[tuple[str, str], Need] = {}
    for each in needs:
        found.setdefault((each.row.use, each.field), each)
    return list(found.values())


def _entry(config: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
    """Return the innermost object on the way to a place."""
    found, value = config, cast("Any", config)
    for step in path:
        value = value[step]
        found = value if isinstance(value, dict) else found
    return found


def permission_notices(config: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield a notice for each part of a configuration that needs more than the policy of the servers allows.

    It leaves out the optional permissions, without which most servers do well.
    """
    for each in first_of_each(permissions_of(config)):
        if not each.row.is_in_server_policy and not each.row.is_optional:
            actions = join_first(each.row.actions, _MAX_ACTIONS)
            message = f"{each.row.use} needs {actions}, which {SERVER_POLICY} does not allow"
            yield Problem(each.path, problems.PERMISSION, message, NOTICE)


def _role(config: Mapping[str, Any], row: Row, roles: Mapping[str, str]) -> str:
    return next((role for field in row.roles for role in (_text_of(config, field), roles.get(field, "")) if role), "")


def _text_of(config: Mapping[str, Any], field: str) -> str:
    return next((value for _path, value in find_values(config, field) if isinstance(value, str)), "")


def roles_of_parts(parts: Iterable[Iterable[Mapping[str, Any]]]) -> dict[str, str]:
    """Return the roles that a part of a split configuration takes from its other parts, by their fields.

    Nothing records which versions of the parts belong together. So a role counts if all versions of one part have it.

    :param parts: the versions of each other part.
    """
    found: dict[str, str] = {}
    for part in parts:
        versions = [*part]
        for field in _ROLE_FIELDS:
            texts = [_text_of(each, field) for each in versions]
            if texts and all(texts):
                found.setdefault(field, texts[0])
    return found
