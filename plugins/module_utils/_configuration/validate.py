# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Validates agent configurations with rules that need only Python's standard library. Pure.

The agent accepts many settings that it cannot use, so each rule is for a mistake that silently breaks the monitoring.
The agent's own schema contains all keys and any text as a metric. These rules help even where it is not available.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from .._ground.findings import ERROR, WARNING
from .._ground.text import misspelled
from . import problems as rules
from .document import MAX_PROBLEMS, REFERENCE, Content, Document, read
from .json_path import find_values
from .permissions import permission_notices
from .problems import Path, Problem, closest, quote, quote_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping


# The syntax of the regular expressions that the agent accepts: https://github.com/google/re2/wiki/Syntax
MAX_REPEAT = 1000
# How many characters of an operator a message shows.
MAX_OPERATOR = 12

# Features of other libraries, by their first characters.
_UNSUPPORTED = {
    "(?=": "lookahead",
    "(?!": "lookahead",
    "(?<=": "lookbehind",
    "(?<!": "lookbehind",
    "(?>": "atomic groups",
    "(?|": "branch reset groups",
    "(?#": "comments",
    "(?(": "conditions",
    "(?&": "recursion",
    "(?R": "recursion",
    "(?P>": "recursion",
    "(?P=": "backreferences",
}
_GROUP = re.compile(r"\((?:\?(?:P?<[A-Za-z0-9_]+>|(?P<flags>[imsU]*(?:-[imsU]+)?)(?P<end>[:)]))|(?!\?))")
_LITERAL = re.compile(r"\\Q.*?(?:\\E|\Z)", re.DOTALL)
_ASSERTION = re.compile(r"\\[AbBz]")
# A backslash before another letter or digit is a mistake. One digit alone is not a character in octal notation.
_ESCAPE = re.compile(
    r"\\(?:[afnrtvdDsSwW]|0[0-7]{0,2}|[1-7][0-7]{1,2}|x[0-9A-Fa-f]{2}|x\{[0-9A-Fa-f]+\}|[pP](?:[A-Z]|\{[^}]*\})"
    r"|[^A-Za-z0-9\u0080-\U0010ffff])"
)
_BACKREFERENCE = re.compile(r"\\[1-9gk]")
# A lookahead with its backreference keeps its match, so that the expression does not try another way to divide it.
_CLASS = re.compile(r"\[(?=(\^?\]?))\1(?:(?=(\[:\^?[a-z]+:\]|\\.|[^\]\\]))\2)*\]", re.DOTALL)
_REPEAT = re.compile(r"(?:[*+?]|\{(0|[1-9][0-9]*)(?:,(0|[1-9][0-9]*)?)?\})\??")


def go_mistake(pattern: str) -> str:
    """Return the reason why Go, in which the agent is written, refuses a regular expression; empty if it accepts it.

    This finds only syntax of other libraries, and mistakes that make it impossible to divide the expression into its
    parts.
    """
    try:
        _check(pattern)
    except _RefusedError as error:
        return str(error)
    return ""


class _RefusedError(Exception):
    pass


def _check(pattern: str) -> None:
    at, depth = 0, 0
    # Whether there is something to repeat, and whether it has a repetition operator already.
    is_repeatable, is_repeated = False, False
    while at < len(pattern):
        repeat = _REPEAT.match(pattern, at)
        if repeat:
            _check_repeat(repeat, is_repeatable, is_repeated)
            at, is_repeated = repeat.end(), True
            continue
        is_repeated = False
        first = pattern[at]
        if first == "(":
            group = _match_group(pattern, at)
            at = group.end()
            # Flags alone are not a group, so a repetition after them still applies to the part before them.
            if group["end"] != ")":
                depth, is_repeatable = depth + 1, False
            continue
        is_repeatable = first != "|"
        depth -= first == ")"
        if depth < 0:
            raise _RefusedError("a '(' is missing for a ')'")
        at = _atom_end(pattern, at)
    if depth:
        raise _RefusedError("a ')' is missing for a '('")


def _atom_end(pattern: str, at: int) -> int:
    if pattern[at] == "\\":
        return _match_escape(pattern, at).end()
    return _match_class(pattern, at).end() if pattern[at] == "[" else at + 1


def _check_repeat(repeat: re.Match[str], is_repeatable: bool, is_repeated: bool) -> None:
    operator = repeat.group()[:MAX_OPERATOR]
    if is_repeated:
        raise _RefusedError(f"Go has no operator '{operator}' after another one, such as possessive quantifiers")
    if not is_repeatable:
        raise _RefusedError(f"there is nothing before '{operator}' that it could repeat")
    # More digits make no difference, and Python refuses to convert thousands of them.
    least, most = (int((digits or "0")[:9]) for digits in repeat.groups())
    if max(least, most) > MAX_REPEAT or (repeat.group(2) and most < least):
        raise _RefusedError(f"Go repeats from 0 to {MAX_REPEAT} times, and the second number cannot be the lower one")


def _match_group(pattern: str, at: int) -> re.Match[str]:
    for begin, name in _UNSUPPORTED.items() if pattern.startswith("(?", at) else ():
        if pattern.startswith(begin, at):
            raise _RefusedError(f"Go has no {name}, '{begin}'")
    group = _GROUP.match(pattern, at)
    if not group:
        raise _RefusedError(f"Go has no groups that begin with {pattern[at : at + 3]!r}")
    return group


def _match_escape(pattern: str, at: int, *, in_class: bool = False) -> re.Match[str]:
    escape = _ESCAPE.match(pattern, at)
    if not escape and not in_class:
        escape = _LITERAL.match(pattern, at) or _ASSERTION.match(pattern, at)
    if escape:
        return escape
    if at + 1 == len(pattern):
        raise _RefusedError("there is a backslash at the end")
    begin = pattern[at : at + 2]
    if _BACKREFERENCE.match(pattern, at):
        raise _RefusedError(f"Go has no backreferences, {begin!r}")
    raise _RefusedError(f"Go has no escape sequence {begin!r}")


def _match_class(pattern: str, at: int) -> re.Match[str]:
    found = _CLASS.match(pattern, at)
    if not found:
        raise _RefusedError("a ']' is missing for a '['")
    escape = pattern.find("\\", at, found.end())
    while escape >= 0:
        escape = pattern.find("\\", _match_escape(pattern, escape, in_class=True).end(), found.end())
    return found


# https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch-Agent-Configuration-File-Details.html
_CPU = ("active", "guest", "guest_nice", "idle", "iowait", "irq", "nice", "softirq", "steal", "system", "user")
_TCP = (
    *("close", "close_wait", "closing", "established", "fin_wait1", "fin_wait2", "last_ack", "listen", "none"),
    *("syn_recv", "syn_sent", "time_wait"),
)
_LIMITS = (
    *("cpu_time", "file_locks", "memory_data", "memory_locked", "memory_rss", "memory_stack", "memory_vms"),
    *("nice_priority", "num_fds", "realtime_priority", "signals_pending"),
)
_NVME = (
    *(f"total_{way}_{unit}" for way in ("read", "write") for unit in ("ops", "bytes", "time")),
    *(f"{limit}performance_exceeded_{unit}" for limit in ("", "volume_") for unit in ("iops", "tp")),
    "volume_queue_length",
)
_GPU = (
    *(f"clocks_current_{each}" for each in ("graphics", "memory", "sm", "video")),
    *(f"encoder_stats_{each}" for each in ("average_fps", "average_latency", "session_count")),
    *(f"memory_{each}" for each in ("free", "total", "used")),
    *(f"utilization_{each}" for each in ("decoder", "encoder", "gpu", "memory")),
    *("fan_speed", "pcie_link_gen_current", "pcie_link_width_current", "power_draw", "temperature_gpu"),
)
# translator/translate/metrics/config/registered_metrics.go of https://github.com/aws/amazon-cloudwatch-agent, and
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Container-Insights-metrics-EBS-Collect.html
METRICS: Mapping[str, tuple[str, ...]] = {
    "cpu": tuple(f"{kind}_{each}" for kind in ("time", "usage") for each in _CPU),
    "disk": ("free", "inodes_free", "inodes_total", "inodes_used", "total", "used", "used_percent"),
    "diskio": (
        *("io_time", "iops_in_progress", "read_bytes", "read_time", "reads", "write_bytes", "write_time", "writes"),
        *(f"ebs_{each}" for each in _NVME),
        *(f"ebs_ec2_instance_performance_exceeded_{unit}" for unit in ("iops", "tp")),
        *(f"instance_store_{each}" for each in _NVME),
    ),
    "mem": (
        *("active", "available", "available_percent", "buffered", "cached", "free", "inactive", "shared", "total"),
        *("used", "used_percent"),
    ),
    "net": (
        *("bytes_recv", "bytes_sent", "packets_recv", "packets_sent"),
        *("drop_in", "drop_out", "err_in", "err_out"),
    ),
    "netstat": (*(f"tcp_{each}" for each in _TCP), "udp_socket"),
    "nvidia_gpu": _GPU,
    "nvidia_smi": _GPU,
    "processes": (
        *("blocked", "dead", "idle", "paging", "running", "sleeping", "stopped", "total", "total_threads", "wait"),
        "zombies",
    ),
    "procstat": (
        *("cpu_time", "cpu_time_soft_irq", "cpu_time_stolen", "cpu_usage"),
        *(f"cpu_time_{each}" for each in _CPU if each not in ("active", "softirq")),
        *("involuntary_context_switches", "voluntary_context_switches"),
        *(f"memory_{each}" for each in ("data", "locked", "rss", "stack", "swap", "vms")),
        *("nice_priority", "num_fds", "num_threads", "pid", "pid_count", "realtime_priority", "signals_pending"),
        *("read_bytes", "read_count", "write_bytes", "write_count"),
        *(f"rlimit_{each}_{kind}" for each in _LIMITS for kind in ("hard", "soft")),
    ),
    "swap": ("free", "used", "used_percent"),
}
_FIELDS = ("measurement.*", "measurement.*.name")


def metric_problems(config: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield the metrics that are nearly one of their plug-in. Newer agents can have more metrics than the table."""
    for plugin in METRICS:
        entries = f"{plugin}.*" if plugin == "procstat" else plugin
        for name_field in _FIELDS:
            for path, name in find_values(config, f"metrics.metrics_collected.{entries}.{name_field}"):
                if isinstance(name, str):
                    yield from _metric_problem(path, name, plugin)


def _metric_problem(path: Path, name: str, plugin: str) -> Iterator[Problem]:
    # The agent removes the name of the plug-in too, which for nvidia_gpu is this one.
    prefix = "nvidia_smi_" if plugin == "nvidia_gpu" else f"{plugin}_"
    metric = name.strip()
    metric = metric[len(prefix) :] if metric.startswith(prefix) else metric
    near = misspelled(metric, METRICS[plugin])
    if near:
        allowed = ", ".join(METRICS[plugin])
        yield Problem(path, rules.MISSPELLED, f"unknown metric of {plugin}", WARNING, allowed, near)


@dataclass(frozen=True)
class Shape:
    """The requirements for a value.

    :param allowed: the allowed values, in words.
    :param accepts: whether the value itself is allowed, whatever it contains.
    :param keys: the shapes of the known keys of an object.
    :param others: the shape of its other keys; ``None`` if there should be no others.
    :param required: the groups of keys of which an object needs at least one key each.
    :param items: the shape of the items of a list.
    :param is_unique: whether a list must not have an item twice.
    :param is_own: whether another key can be a misspelled one of the known keys.
    """

    allowed: str
    accepts: Callable[[Any], bool]
    keys: Mapping[str, Shape] = field(default_factory=dict)
    others: Shape | None = None
    required: tuple[tuple[str, ...], ...] = ()
    items: Shape | None = None
    is_unique: bool = False
    is_own: Callable[[str], bool] = lambda _key: True


def is_integer(value: Any) -> bool:
    # JSON does not tell 60.0 from 60.
    return not isinstance(value, bool) and (isinstance(value, int) or (isinstance(value, float) and value.is_integer()))


def _integer(least: int, most: int) -> Shape:
    return Shape(f"an integer from {least} to {most}", lambda value: is_integer(value) and least <= value <= most)


def _at_least(least: int) -> Shape:
    return Shape(f"an integer of at least {least}", lambda value: is_integer(value) and value >= least)


def _one_of(*values: str | int) -> Shape:
    return Shape(", ".join(str(each) for each in values), lambda value: not isinstance(value, bool) and value in values)


def _list(items: Shape) -> Shape:
    return Shape("a list", lambda value: isinstance(value, list), items=items)


def _full_object(keys: Mapping[str, Shape], *, others: Shape | None = None) -> Shape:
    return Shape("an object that is not empty", lambda value: isinstance(value, dict) and bool(value), keys, others)


def _full_list(items: Shape) -> Shape:
    return Shape("a list with at least one entry", lambda value: isinstance(value, list) and bool(value), items=items)


def _object(keys: Mapping[str, Shape], *, others: Shape | None = None, required: tuple[Any, ...] = ()) -> Shape:
    groups = tuple((each,) if isinstance(each, str) else each for each in required)
    return Shape("an object", lambda value: isinstance(value, dict), keys, others, groups)


_ANY = Shape("", lambda _value: True)
_TEXT = Shape("a text", lambda value: isinstance(value, str))
_FULL_TEXT = Shape("a text that is not empty", lambda value: isinstance(value, str) and bool(value))
_BOOLEAN = Shape("true or false", lambda value: isinstance(value, bool))
_SECONDS = _integer(1, 172800)
_SECONDS_OR_ZERO = _integer(0, 172800)
_COUNT = _at_least(1)
_TEXTS = _list(_TEXT)
_MAP = _object({}, others=_TEXT)
_OPEN = _object({}, others=_ANY)
_CREDENTIALS = _object({"role_arn": _FULL_TEXT})
# https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html
# The agent leaves the retention as it is for -1.
_RETENTION = _one_of(
    *(-1, 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653)
)
_SERVICE = {"service.name": _FULL_TEXT, "deployment.environment": _FULL_TEXT}

AGENT = _object(
    {
        "metrics_collection_interval": _SECONDS,
        "logfile": _TEXT,
        "region": _FULL_TEXT,
        "debug": _BOOLEAN,
        "quiet": _BOOLEAN,
        "internal": _BOOLEAN,
        "aws_sdk_log_level": _TEXT,
        "user_agent": _TEXT,
        "credentials": _CREDENTIALS,
        "hostname": _TEXT,
        "omit_hostname": _BOOLEAN,
        "run_as_user": _FULL_TEXT,
        "usage_data": _BOOLEAN,
        "usage_metadata": _list(_ANY),
        "use_dualstack_endpoint": _BOOLEAN,
        "system_metrics_enabled": _BOOLEAN,
        "round_interval": _BOOLEAN,
        **dict.fromkeys(("collection_jitter", "flush_interval", "flush_jitter", "precision"), _TEXT),
        **dict.fromkeys(("metric_batch_size", "metric_buffer_limit"), _COUNT),
        **_SERVICE,
    }
)

# On Windows, the agent takes each key of metrics_collected that it does not know for the object name of a performance
# counter, such as LogicalDisk or Paging File. Its own keys are in lower case.
COUNTER = re.compile(r"[A-Z ]")

_PLUGIN_KEYS = {
    "metrics_collection_interval": _SECONDS,
    "append_dimensions": _MAP,
    "measurement": _list(
        Shape(
            "a text or an object",
            lambda value: isinstance(value, (str, dict)),
            dict.fromkeys(("name", "rename", "unit"), _ANY),
            _ANY,
        )
    ),
    "resources": _TEXTS,
    "totalcpu": _BOOLEAN,
    "drop_device": _BOOLEAN,
    "ignore_file_system_types": _TEXTS,
    "drop_original_metrics": _TEXTS,
    "metrics_aggregation_interval": _SECONDS_OR_ZERO,
    # Keys that only some plug-ins have.
    **dict.fromkeys(("allowed_pending_messages", "metric_separator", "name_prefix", "service_address"), _ANY),
    **dict.fromkeys(("collectd_auth_file", "collectd_security_level", "collectd_typesdb"), _ANY),
    **dict.fromkeys(("interface_exclude", "interface_include", "metrics_include"), _ANY),
    **dict.fromkeys(("grpc_endpoint", "http_endpoint", "prometheus_config_path", "tls", *_SERVICE), _ANY),
    **dict.fromkeys(("endpoint", "insecure", "jvm", "kafka", "kafka-consumer", "kafka-producer", "tomcat"), _ANY),
    **dict.fromkeys(("keystore_path", "keystore_type", "truststore_path", "truststore_type"), _ANY),
    **dict.fromkeys(("password_file", "realm", "registry_ssl_enabled", "remote_profile", "username"), _ANY),
}
_PLUGIN = _object(_PLUGIN_KEYS, others=_ANY)
_PLUGINS = replace(
    _PLUGIN, allowed="an object or a list", accepts=lambda value: isinstance(value, (dict, list)), items=_PLUGIN
)
_PROCESS = _object(
    {**_PLUGIN_KEYS, "measurement": _TEXTS, **dict.fromkeys(("pid_file", "exe", "pattern"), _FULL_TEXT)},
    others=_ANY,
    required=(("pid_file", "exe", "pattern"), "measurement"),
)
_METRICS = _object(
    {
        "metrics_collected": replace(
            _full_object(
                {
                    **dict.fromkeys(("collectd", "efa", "ethtool", "prometheus", "statsd", *METRICS), _PLUGIN),
                    "procstat": _full_list(_PROCESS),
                    "jmx": _PLUGINS,
                    "otlp": _PLUGINS,
                },
                others=_PLUGIN,
            ),
            is_own=lambda key: not COUNTER.search(key),
        ),
        "namespace": _FULL_TEXT,
        "append_dimensions": _MAP,
        "aggregation_dimensions": _full_list(_TEXTS),
        "metrics_destinations": _object(
            {"cloudwatch": _ANY, "amp": _object({"workspace_id": _FULL_TEXT}, required=("workspace_id",))}
        ),
        "force_flush_interval": _SECONDS,
        "credentials": _CREDENTIALS,
        "endpoint_override": _FULL_TEXT,
        **_SERVICE,
    },
    required=("metrics_collected",),
)

_LOG = {
    "log_group_name": _FULL_TEXT,
    "log_stream_name": _FULL_TEXT,
    "log_group_class": _FULL_TEXT,
    "retention_in_days": _RETENTION,
    "filters": _list(_object({"type": _one_of("include", "exclude"), "expression": _TEXT})),
}
_FILE = {
    "file_path": _FULL_TEXT,
    "log_group_name": _FULL_TEXT,
    "log_stream_name": _FULL_TEXT,
    "multi_line_start_pattern": _FULL_TEXT,
    "timestamp_format": _FULL_TEXT,
    "timezone": _one_of("UTC", "Local", "LOCAL"),
    "encoding": _FULL_TEXT,
}
_EVENTS = {
    "event_name": _FULL_TEXT,
    "event_levels": _full_list(_one_of("CRITICAL", "ERROR", "WARNING", "INFORMATION", "VERBOSE")),
    "event_ids": _full_list(_integer(0, 65535)),
    "event_format": _one_of("text", "xml"),
    "log_group_name": _FULL_TEXT,
    "log_stream_name": _FULL_TEXT,
}
_JOURNAL = {"units": _TEXTS, "priority": _TEXT, "matches": _list(_MAP)}


def _collect_list(keys: Mapping[str, Shape], *required: Any) -> Shape:
    entries = replace(_full_list(_object(keys, required=required)), is_unique=True)
    return _object({"collect_list": entries}, required=("collect_list",))


_LOGS = _object(
    {
        "logs_collected": _full_object(
            {
                "files": _collect_list(
                    {
                        **_LOG,
                        **_FILE,
                        "backpressure_mode": _TEXT,
                        "blacklist": _FULL_TEXT,
                        **dict.fromkeys(("trim_timestamp", "auto_removal", "publish_multi_logs"), _BOOLEAN),
                        **_SERVICE,
                    },
                    "file_path",
                ),
                "windows_events": _collect_list(
                    {**_LOG, **_EVENTS}, "event_name", ("event_levels", "event_ids", "filters")
                ),
                "journald": _collect_list({**_LOG, **_JOURNAL}, "log_group_name"),
                "application_signals": _OPEN,
            }
        ),
        "metrics_collected": _object(
            {
                **dict.fromkeys(("app_signals", "application_signals", "ecs", "emf", "kubernetes"), _ANY),
                **dict.fromkeys(("otlp", "prometheus", "structuredlog"), _ANY),
            },
            others=_ANY,
        ),
        "log_stream_name": _FULL_TEXT,
        "force_flush_interval": _SECONDS,
        "credentials": _CREDENTIALS,
        "endpoint_override": _FULL_TEXT,
        "concurrency": _COUNT,
        **_SERVICE,
    },
    required=(("logs_collected", "metrics_collected"),),
)
_TRACES = _object(
    {
        "traces_collected": _full_object(dict.fromkeys(("app_signals", "application_signals", "xray", "otlp"), _ANY)),
        "concurrency": _COUNT,
        "buffer_size_mb": _at_least(3),
        **dict.fromkeys(("local_mode", "insecure", "transit_spans_in_otlp_format"), _BOOLEAN),
        **dict.fromkeys(("resource_arn", "region_override", "proxy_override", "endpoint_override"), _TEXT),
        "credentials": _CREDENTIALS,
    },
    required=("traces_collected",),
)
_OPENTELEMETRY = _object(
    {
        "cluster_name": _TEXT,
        "resource_attributes": _MAP,
        "collect": _object(
            {
                "prometheus": _object({"config_path": _TEXT}, required=("config_path",)),
                "host_metrics": _object({"collection_interval": _SECONDS}),
                "windows_events": _collect_list(_EVENTS, "event_name"),
                "files": _collect_list(_FILE, "file_path"),
                **dict.fromkeys(("database_insights", "container_insights", "otlp"), _OPEN),
            }
        ),
    }
)

SECTIONS = {"agent": AGENT, "metrics": _METRICS, "logs": _LOGS, "traces": _TRACES, "opentelemetry": _OPENTELEMETRY}


def structure_problems(value: Any, shape: Shape, path: Path) -> Iterator[Problem]:
    """Yield the differences from a shape, in the value and in everything that it contains."""
    if not shape.accepts(value):
        near = closest(value, shape.allowed.split(", ")) if isinstance(value, str) else ""
        yield wrong_value(value, shape.allowed, path, near)
    elif isinstance(value, dict):
        yield from _object_problems(value, shape, path)
    elif isinstance(value, list) and shape.items:
        for index, each in enumerate(value):
            yield from structure_problems(each, shape.items, (*path, index))
        if shape.is_unique:
            for index, message in duplicates(value):
                yield Problem((*path, index), rules.DUPLICATE_ENTRY, message)


def _object_problems(value: dict[str, Any], shape: Shape, path: Path) -> Iterator[Problem]:
    misspelt = set()
    for key, each in value.items():
        expected = shape.keys.get(key, shape.others)
        near = misspelled(key, shape.keys) if shape.others and shape.is_own(key) else ""
        if near:
            misspelt.add(near)
            yield _misspelled_key(key, near, shape, path)
        if expected:
            yield from structure_problems(each, expected, (*path, key))
        elif shape.keys:
            problem = unknown_key(key, shape.keys, path)
            misspelt.add(problem.near)
            yield problem
    for group in shape.required:
        if not value.keys() & set(group) and not misspelt & set(group):
            yield missing_key(group, path)


def unknown_key(key: str, known: Mapping[str, Any], path: Path) -> Problem:
    """A key that the agent does not know. It may know more than this collection, unless the key resembles another."""
    near = closest(key, known)
    severity = ERROR if near else WARNING
    return Problem((*path, key), rules.UNKNOWN_KEY, "unknown key", severity, ", ".join(known), near)


def _misspelled_key(key: str, near: str, shape: Shape, path: Path) -> Problem:
    """A key of an object that can have other keys, too. It is an error if the right key is necessary."""
    is_necessary = any(near in group for group in shape.required)
    severity = ERROR if is_necessary else WARNING
    return Problem((*path, key), rules.MISSPELLED, "unknown key", severity, ", ".join(shape.keys), near)


def missing_key(group: tuple[str, ...], path: Path) -> Problem:
    """An object without a key that it needs, or without all of several keys of which it needs one."""
    if len(group) == 1:
        return Problem((*path, *group), rules.MISSING_KEY, "the key is missing")
    return Problem(path, rules.MISSING_KEY, "one of these keys is missing", allowed=", ".join(group))


def wrong_value(value: Any, allowed: str, path: Path, near: str = "") -> Problem:
    """A value that is not allowed."""
    return Problem(path, rules.WRONG_VALUE, f"{quote(value)} is not valid", allowed=allowed, near=near)


def duplicates(entries: Iterable[Any]) -> Iterator[tuple[int, str]]:
    """Yield the index of each entry that is in the list already, and a message about it."""
    first: dict[str, int] = {}
    for index, entry in enumerate(entries):
        earlier = first.setdefault(json.dumps(entry, sort_keys=True), index)
        if earlier != index:
            yield index, f"the same as entry {earlier} of the list"


# https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch-Agent-Configuration-File-Details.html
PLACEHOLDERS = (
    "{instance_id}",
    "{hostname}",
    "{local_hostname}",
    "{ip_address}",
    "{aws_region}",
    "{date}",
    "{account_id}",
)
# A pair of braces, or a single brace that has lost its counterpart.
_BRACES = re.compile(r"\$?\{[^{}]*\}|\$?\{[\w:.-]*|[\w:.-]{0,20}\}")
# Log files that distributions let only root and its groups read.
_ROOT_FILES = re.compile(
    r"/root/|/var/log/(?:audit/|(?:auth\.log|boot\.log|btmp|cron|kern\.log|maillog|messages|secure|spooler|syslog)\b)"
)
# Braces that are for an environment variable of the agent.
_VARIABLE = re.compile(r"\$\{[A-Z0-9_]+\}")
_ENTRY = "logs.logs_collected.*.collect_list.*"
_PROMETHEUS = "logs.metrics_collected.prometheus"
_COLLECTED = "metrics.metrics_collected"
# The sections that the agent reads on one platform only.
_ONLY_LINUX = (
    *(f"{_COLLECTED}.{each}" for each in ("collectd", "cpu", "disk", "diskio", "efa", "ethtool")),
    *(f"{_COLLECTED}.{each}" for each in ("mem", "net", "netstat", "processes", "swap")),
    "logs.logs_collected.journald",
)
_ONLY_WINDOWS = ("logs.logs_collected.windows_events", "opentelemetry.collect.windows_events")
# The texts that the agent compiles as regular expressions.
_PATTERNS = (
    f"{_ENTRY}.multi_line_start_pattern",
    f"{_ENTRY}.blacklist",
    f"{_ENTRY}.filters.*.expression",
    "opentelemetry.collect.files.collect_list.*.multi_line_start_pattern",
    f"{_PROMETHEUS}.emf_processor.metric_declaration.*.label_matcher",
    f"{_PROMETHEUS}.emf_processor.metric_declaration.*.metric_selectors.*",
    f"{_PROMETHEUS}.ecs_service_discovery.*.*.sd_container_name_pattern",
    f"{_PROMETHEUS}.ecs_service_discovery.*.*.sd_service_name_pattern",
    f"{_PROMETHEUS}.ecs_service_discovery.*.*.sd_task_definition_arn_pattern",
)


def validate(content: Content, *, source: str, has_onprem: bool = False, name: str = "") -> Document:
    """Read a configuration and find all its problems.

    :param content: the bytes of a file, a text, or the value that YAML has made of it.
    :param source: the name of the file or option, for the problems.
    :param has_onprem: whether servers that are not on EC2 read the configuration.
    :param name: the name of its parameter, which can end with the platform that it is for.
    """
    document = read(content, source)
    if document.value is None:
        return document
    reported = {each.path for each in document.problems}
    # A replacement for a value that is not JSON is not a second problem.
    found = (
        locate(each, document)
        for each in _rules(document.value, has_onprem=has_onprem, name=name)
        if each.rule != rules.WRONG_VALUE or each.path not in reported
    )
    problems = [*document.problems, *islice(found, MAX_PROBLEMS)]
    if next(found, None):
        # The problems that are left out could contain an error.
        message = f"there are more than {MAX_PROBLEMS} problems; this shows some of them"
        problems.append(locate(Problem((), rules.PROBLEMS, message, ERROR), document))
    return replace(document, problems=in_order(problems))


def locate(problem: Problem, document: Document) -> Problem:
    """Add its place in a document to a problem."""
    line, column = document.locate(problem.path)
    return replace(problem, source=document.source, line=line, column=column)


def in_order(problems: Iterable[Problem]) -> list[Problem]:
    """Sort problems as a reader meets them in the text."""
    return sorted(problems, key=lambda each: (each.line or 0, each.column or 0))


def _rules(config: dict[str, Any], *, has_onprem: bool, name: str) -> Iterator[Problem]:
    yield from _section_problems(config)
    yield from metric_problems(config)
    yield from _prometheus_problems(config)
    yield from _log_group_problems(config)
    yield from _placeholder_problems(config)
    yield from _pattern_problems(config)
    yield from _permission_problems(config)
    yield from permission_notices(config)
    yield from _platform_problems(config, name)
    if has_onprem:
        yield from _onprem_problems(config)


def _section_problems(config: dict[str, Any]) -> Iterator[Problem]:
    if not config:
        yield Problem((), rules.SECTION, "the configuration is empty", ERROR, ", ".join(SECTIONS))
    if config.keys() == {"agent"}:
        yield Problem((), rules.SECTION, "with the section 'agent' alone, the agent collects nothing", WARNING)
    for name, section in config.items():
        if name not in SECTIONS:
            near = closest(name, SECTIONS)
            yield Problem((name,), rules.SECTION, "unknown section", ERROR, ", ".join(SECTIONS), near)
        elif not isinstance(section, dict):
            yield Problem((name,), rules.SECTION, f"the section is {quote(section)}", ERROR, "an object")
        else:
            yield from structure_problems(section, SECTIONS[name], (name,))


def _prometheus_problems(config: dict[str, Any]) -> Iterator[Problem]:
    """The schema does not require the key, but the agent cannot translate the configuration without it."""
    is_collected = find_values(config, "metrics.metrics_collected.prometheus")
    if is_collected and not find_values(config, "metrics.metrics_destinations.amp"):
        yield missing_key(("amp",), ("metrics", "metrics_destinations"))


def _log_group_problems(config: dict[str, Any]) -> Iterator[Problem]:
    """The agent gives each log group one retention and one class, whichever comes first."""
    first: dict[tuple[str, str], tuple[Path, Any]] = {}
    for path, entry in find_values(config, _ENTRY):
        group = entry.get("log_group_name") if isinstance(entry, dict) else None
        if not isinstance(group, str):
            continue
        for key in ("retention_in_days", "log_group_class"):
            value = entry.get(key)
            # Another rule reports values that are not valid, and -1 leaves the retention as it is.
            if not isinstance(value, (str, int)) or value == -1:
                continue
            earlier_path, earlier = first.setdefault((group.lower(), key), (path, value))
            if earlier != value:
                place = f"{earlier_path[2]}[{earlier_path[4]}]"
                message = f"{_quote(value)} for a log group that has {_quote(earlier)} in {place}"
                yield Problem((*path, key), rules.LOG_GROUP, message, allowed="one value for each log group")


def _quote(value: Any) -> str:
    return quote_key(value) if isinstance(value, str) else quote(value)


def _placeholder_problems(config: dict[str, Any]) -> Iterator[Problem]:
    fields = ("logs.log_stream_name", f"{_ENTRY}.log_group_name", f"{_ENTRY}.log_stream_name")
    for path, name in _find_texts(config, *fields):
        # A name with a reference to another parameter is refused anyway.
        if "journald" in path or REFERENCE in name:
            continue
        for braces in dict.fromkeys(_BRACES.findall(name)):
            if braces in PLACEHOLDERS or _VARIABLE.fullmatch(braces):
                continue
            near = closest(braces.strip("${} ").replace("aws:", ""), [each[1:-1] for each in PLACEHOLDERS])
            yield Problem(
                path,
                rules.PLACEHOLDER,
                f"{quote_key(braces)} is not a placeholder of the agent",
                ERROR if near else WARNING,
                ", ".join(PLACEHOLDERS),
                f"{{{near}}}" if near else "",
            )


def _pattern_problems(config: dict[str, Any]) -> Iterator[Problem]:
    for path, pattern in _find_texts(config, *_PATTERNS):
        mistake = go_mistake(pattern)
        if mistake:
            yield Problem(path, rules.PATTERN, f"the regular expression {quote(pattern)} is not valid: {mistake}")


def _permission_problems(config: dict[str, Any]) -> Iterator[Problem]:
    for _path, user in _find_texts(config, "agent.run_as_user"):
        for path, file in _find_texts(config, "logs.logs_collected.files.collect_list.*.file_path"):
            if user != "root" and _ROOT_FILES.match(file):
                message = f"on most systems, the user {quote_key(user)} of run_as_user may not read {quote(file)}"
                yield Problem(path, rules.RUN_AS_USER, message, WARNING)


def _platform_problems(config: dict[str, Any], name: str) -> Iterator[Problem]:
    """The agent of one platform silently skips the sections of the other platform."""
    counters = [path for path, _value in find_values(config, f"{_COLLECTED}.*") if COUNTER.search(str(path[-1]))]
    linux = [path for field in _ONLY_LINUX for path, _value in find_values(config, field)]
    windows = [*counters, *(path for field in _ONLY_WINDOWS for path, _value in find_values(config, field))]
    _rest, hyphen, ending = name.rpartition("-")
    for other, platform, paths in (("linux", "Windows", windows), ("windows", "Linux", linux)):
        if hyphen and ending.lower() == other:
            for path in paths:
                message = (
                    f"only {platform} servers collect this, but the parameter's name ends in -{ending}; store it under "
                    "another name"
                )
                yield Problem(path, rules.PLATFORM, message, WARNING)


def _onprem_problems(config: dict[str, Any]) -> Iterator[Problem]:
    for path, _value in find_values(config, "metrics.append_dimensions"):
        message = "servers that are not on EC2 send no metrics at all with these dimensions, which come from EC2"
        yield Problem(path, rules.ON_PREMISES, message, WARNING)
    if not find_values(config, "agent.region"):
        message = "servers that are not on EC2 need a region, here or in the profile that the agent uses"
        yield Problem(("agent", "region"), rules.ON_PREMISES, message, WARNING)


def _find_texts(value: Any, *fields: str) -> Iterator[tuple[Path, str]]:
    """Find the texts in some fields."""
    for path, each in chain.from_iterable(find_values(value, name) for name in fields):
        if isinstance(each, str):
            yield path, each
