# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads from a part of a configuration what limits the agent's calls, as narrowly as IAM can. Pure.

The agent replaces placeholders, and has defaults: https://github.com/aws/amazon-cloudwatch-agent/tree/main/translator
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.json_path import find_values
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.problems import Path, quote
from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

# Stands for what a part contains. ``{partition}``, ``{region}`` and ``{account}`` are replaced too.
VALUE = "{value}"
DEFAULT_NAMESPACE, SYSTEM_METRICS = "CWAgent", "CWAgent/System"
# How a text refers to an environment variable of the agent. IAM would take it for a variable of the policy.
VARIABLE = "${"
_GROUP = f"arn:{{partition}}:logs:{{region}}:{{account}}:log-group:{VALUE}"
# plugins/inputs/logfile: the last extension of a path, and the characters that the agent replaces in a path.
_EXTENSION = re.compile(r"\.[^./\\]*$")
_GLOB = re.compile(r"(?:\*|\?|\[[^\]]*\]|\{[^}]*\})+")
_NOT_IN_GROUP = re.compile(r"[^\w./#*-]", re.ASCII)
# https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_CreateLogGroup.html
_IN_GROUP = re.compile(r"[\w./#-]+", re.ASCII)
_OF_THE_HOST = re.compile(r"\{(?:instance_id|hostname|local_hostname|ip_address|date)\}")
# The exporter for Prometheus has other placeholders, such as {ClusterName}.
_ANY_PLACEHOLDER = re.compile(r"\{\w+\}", re.ASCII)
# A server that is not on EC2 does not know its account.
_UNKNOWN_ACCOUNT = "UNKNOWN-ACCOUNT"
_EMF_GROUP = "emf/logs/default"
_ROLE_ARN = re.compile(r"arn:[a-z-]+:iam::\d{12}:role/[\w+=,.@/-]+", re.ASCII)
_WORKSPACE_ID = re.compile(r"[A-Za-z0-9-]+")
_REGION = re.compile(r"[a-z0-9-]+")
_CLUSTER_NAME = re.compile(r"[\w-]+", re.ASCII)

_BY_CLUSTER = "the name of its log group contains the name of the cluster, which the host knows"
_BY_APPLICATION = "applications choose the log groups, and its metrics have no namespace"
_WITHOUT_NAMESPACE = "it sends metrics without a namespace, and how IAM decides about them is not known"


@dataclass(frozen=True)
class Part:
    """A part of a configuration.

    :param entry: the object in this place, or the object that contains the value in this place.
    :param emf_log_groups: the log groups to which applications send metrics in EMF, as the user lists them.
    """

    path: Path
    entry: Mapping[str, Any]
    emf_log_groups: Sequence[str] = ()


@dataclass(frozen=True)
class Limit:
    """The resources, or the condition, that limit some actions.

    :param read: returns the values for the templates. It raises ``InvalidInput`` if nothing can limit the actions.
    :param resources: the templates of ARNs.
    :param condition: the operator, the key and the template of the values.
    :param others: the actions for which IAM knows neither these resources nor this condition.
    :param values: the form of the values, as a regular expression. The texts in braces are replaced as in templates.
        It is empty if nothing can limit the actions.
    """

    read: Callable[[Part], list[str]]
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
    if not _IN_GROUP.fullmatch(plain.translate({ord(each): "x" for each in allowed})):
        raise InvalidInput(f"{quote(name)} is not a valid name of a log group")
    pattern = placeholder.sub("*", name).replace("{aws_region}", "{region}")
    accounts = ("{account}", _UNKNOWN_ACCOUNT) if "{account_id}" in pattern else ("",)
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
    name = _EXTENSION.sub("", path)
    if not _IN_GROUP.fullmatch(name):
        raise InvalidInput(f"without log_group_name, the log group would be {quote(name)}, which is not a valid name")
    return [name]


def _always(*groups: str) -> Callable[[Mapping[str, Any]], list[str]]:
    return lambda _entry: list(groups)


def _required(_entry: Mapping[str, Any]) -> list[str]:
    raise InvalidInput("log_group_name is missing, and the agent has no default for it")


def _refused(why: str) -> Callable[[Mapping[str, Any]], list[str]]:
    def read(_entry: Mapping[str, Any]) -> list[str]:
        raise InvalidInput(why)

    return read


# By section, the log groups without a name in the configuration.
_DEFAULT_GROUPS = {
    "logs.logs_collected.files": _file_groups,
    "logs.logs_collected.windows_events": _required,
    "logs.logs_collected.journald": _required,
    "logs.metrics_collected.prometheus": _required,
    "opentelemetry.collect.files": _always("/aws/cwagent/files"),
    "opentelemetry.collect.windows_events": _always("/aws/cwagent/windows_events"),
}
# By section, the log groups that no name in the configuration changes.
_FIXED_GROUPS = {
    "logs.metrics_collected.otlp": _always("/aws/cwagent"),
    "logs.metrics_collected.ecs": _refused(_BY_CLUSTER),
    "logs.metrics_collected.kubernetes": _refused(_BY_CLUSTER),
    "logs.metrics_collected.app_signals": _refused(_BY_APPLICATION),
    "logs.metrics_collected.application_signals": _refused(_BY_APPLICATION),
    "logs.logs_collected.application_signals": _refused(_BY_APPLICATION),
    "opentelemetry.collect.database_insights": _refused(_WITHOUT_NAMESPACE),
    "opentelemetry.collect.otlp": _refused(_BY_APPLICATION),
}
_EMF = ("logs.metrics_collected.emf", "logs.metrics_collected.structuredlog")


def _read_groups(part: Part) -> list[str]:
    section = ".".join(map(str, part.path[:3]))
    if section in _EMF:
        return _emf_groups(part.emf_log_groups)
    if section in _FIXED_GROUPS:
        return _FIXED_GROUPS[section](part.entry)
    name = part.entry.get("log_group_name")
    if not name:
        return _DEFAULT_GROUPS.get(section, _required)(part.entry)
    return log_group_patterns(str(name), _ANY_PLACEHOLDER if section.endswith(".prometheus") else _OF_THE_HOST)


def _emf_groups(listed: Sequence[str]) -> list[str]:
    if not listed:
        raise InvalidInput(
            "applications choose the log groups; list them in emf_log_groups (cwagent_emf_log_groups in the playbooks)"
        )
    return [_EMF_GROUP, *(pattern for name in listed for pattern in log_group_patterns(name, allowed="*"))]


def _read_namespace(part: Part) -> list[str]:
    namespace = part.entry.get("namespace") or DEFAULT_NAMESPACE
    _check_variable(str(namespace))
    return [str(namespace)]


def _read_cluster(part: Part) -> list[str]:
    region, name = (str(part.entry.get(key, "")) for key in ("sd_cluster_region", "sd_target_cluster"))
    if not _REGION.fullmatch(region) or not _CLUSTER_NAME.fullmatch(name):
        raise InvalidInput("sd_cluster_region and sd_target_cluster must name the cluster")
    return [f"arn:{{partition}}:ecs:{region}:{{account}}:cluster/{name}"]


def _text(key: str, form: re.Pattern[str], kind: str) -> Callable[[Part], list[str]]:
    """Return a function that reads a text. A text of another form could have a wildcard."""

    def read(part: Part) -> list[str]:
        value = part.entry.get(key)
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
SYSTEM_NAMESPACE = Limit(lambda _part: [SYSTEM_METRICS], condition=_NAMESPACE_KEY, values=SYSTEM_METRICS)
OTLP_METRICS = Limit(lambda part: _refused(_WITHOUT_NAMESPACE)(part.entry))
ROLE = Limit(_text("role_arn", _ROLE_ARN, "the ARN of a role"), (VALUE,), values=_ROLE_ARN.pattern)
WORKSPACE = Limit(
    _text("workspace_id", _WORKSPACE_ID, "the ID of a workspace"),
    (f"arn:{{partition}}:aps:{{region}}:{{account}}:workspace/{VALUE}",),
    values=_WORKSPACE_ID.pattern,
)
CLUSTER = Limit(
    _read_cluster,
    condition=("ArnEquals", "ecs:cluster", VALUE),
    others=("ec2:DescribeInstances", "ecs:DescribeTaskDefinition"),
    values=rf"arn:{{partition}}:ecs:{_REGION.pattern}:{{account}}:cluster/{_CLUSTER_NAME.pattern}",
)
