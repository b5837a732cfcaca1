# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The metrics and log streams that arrive in CloudWatch if an agent runs a configuration. Pure.

CloudWatch returns the points of a metric only for exactly the dimensions that the agent sends. Anything that cannot be
known is listed with its reason, such as a dimension whose value only the server knows.

Each plug-in adds its own dimensions, and the agent adds the name of the host. If ``metrics`` has
``append_dimensions``, it removes that name again, whatever they contain, and adds those that EC2 knows.
https://github.com/aws/amazon-cloudwatch-agent/tree/main/translator, plugins/processors/ec2tagger,
plugins/outputs/cloudwatch, and https://github.com/aws/telegraf/tree/main/plugins/inputs
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .._configuration.json_path import find_values
from .._configuration.permissions import DEFAULT_NAMESPACE, EXTENSION, IN_GROUP, ROLE_ARN, UNKNOWN_ACCOUNT
from .._configuration.problems import Path, quote
from .._configuration.validate import COUNTER, METRICS, is_integer
from .._ground.names import is_region

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .server import Sender


@dataclass(frozen=True)
class ExpectedMetric:
    """A metric of a server.

    :param path: the place in the configuration that makes the agent send it.
    :param dimensions: the names and values that are known, by name.
    :param unknown_dimensions: the names of the other dimensions. Only the server knows their values.
    :param interval: the seconds between two points.
    :param seconds: how long after its start the agent sends the first point, at most.
    :param is_own: whether a dimension distinguishes it from the metric of another server.
    :param is_certain: whether the agent sends it whatever the server has and runs.
    """

    path: Path
    region: str
    namespace: str
    name: str
    dimensions: tuple[tuple[str, str], ...]
    unknown_dimensions: tuple[str, ...]
    interval: int
    seconds: int
    is_own: bool
    is_certain: bool

    @property
    def proves_agent(self) -> bool:
        """Whether its points can be read, and prove that the agent of this server sends metrics."""
        return self.is_own and self.is_certain and not self.unknown_dimensions


@dataclass(frozen=True)
class ExpectedLog:
    """A log stream of a server. It can be quiet.

    :param path: the place in the configuration that makes the agent send it.
    :param source: the path of the file, the name of the event log, or ``journald``.
    :param stream: the name of the stream, or the part of it before the first thing that is not known.
    :param is_prefix: whether ``stream`` is only the beginning of the name.
    :param seconds: how long the agent collects events before it sends them.
    :param is_own: whether its name distinguishes it from the stream of another server.
    """

    path: Path
    source: str
    region: str
    group: str
    stream: str
    is_prefix: bool
    seconds: int
    is_own: bool


@dataclass(frozen=True)
class Unknown:
    """A part of the configuration whose data is not known.

    :param path: the place in the configuration.
    :param reason: a sentence without its full stop.
    """

    path: Path
    reason: str


@dataclass(frozen=True)
class ExpectedData:
    """The data of a server."""

    metrics: tuple[ExpectedMetric, ...] = ()
    logs: tuple[ExpectedLog, ...] = ()
    unknown: tuple[Unknown, ...] = ()

    @property
    def probe(self) -> ExpectedMetric | None:
        """The metric that proves soonest that the agent sends; ``None`` if no metric proves it."""
        found = [each for each in self.metrics if each.proves_agent]
        return min(found, key=lambda each: (each.seconds, each.path[2] not in _STEADIEST, each.interval), default=None)


# Every server has memory, and the agent reads it in one step.
_STEADIEST = ("mem", "Memory")


def expected_data(config: Mapping[str, Any], sender: Sender) -> ExpectedData:
    """Return the data that arrives if an agent runs a configuration.

    :param config: the merged configuration, as ``merge()`` returns it.
    """
    found = [*_metrics(config, sender), *_logs(config, sender), *_unknown(config)]
    metrics: dict[tuple[Any, ...], ExpectedMetric] = {}
    for each in found:
        if isinstance(each, ExpectedMetric):
            # The sums of several devices are one metric.
            key = (each.region, each.namespace, each.name, each.dimensions, each.unknown_dimensions)
            if key not in metrics or (each.is_certain and not metrics[key].is_certain):
                metrics[key] = each
    return ExpectedData(
        tuple(metrics.values()),
        tuple(dict.fromkeys(each for each in found if isinstance(each, ExpectedLog))),
        tuple(dict.fromkeys(each for each in found if isinstance(each, Unknown))),
    )


_APPLICATIONS = "applications choose these metrics and their dimensions"
_CONTAINERS = "only the server knows its cluster and containers"
_SCRAPED = "the targets that the agent scrapes choose these metrics and their dimensions"
_REMOTE_WRITE = "these metrics go to Amazon Managed Service for Prometheus"
_OTLP = "the agent sends this through OTLP, where it has no namespace"
# The parts of a configuration of which nothing is known, and why. In a name, ``*`` stands for any key.
_UNKNOWN: Mapping[str, str] = {
    "metrics.metrics_destinations.amp": _REMOTE_WRITE,
    "metrics.metrics_collected.collectd": _APPLICATIONS,
    "metrics.metrics_collected.statsd": _APPLICATIONS,
    "metrics.metrics_collected.otlp": _APPLICATIONS,
    "metrics.metrics_collected.jmx": "the Java applications choose these metrics and their dimensions",
    "metrics.metrics_collected.efa": "only the server knows its network adapters",
    "metrics.metrics_collected.prometheus": _SCRAPED,
    "logs.logs_collected.application_signals": _APPLICATIONS,
    "logs.metrics_collected.app_signals": _APPLICATIONS,
    "logs.metrics_collected.application_signals": _APPLICATIONS,
    "logs.metrics_collected.emf": _APPLICATIONS,
    "logs.metrics_collected.structuredlog": _APPLICATIONS,
    "logs.metrics_collected.otlp": _APPLICATIONS,
    "logs.metrics_collected.ecs": _CONTAINERS,
    "logs.metrics_collected.kubernetes": _CONTAINERS,
    "logs.metrics_collected.prometheus": _SCRAPED,
    "traces.traces_collected.*": "applications choose these traces",
    "opentelemetry.collect.*": _OTLP,
}
# The metrics that have no row in the table of plug-ins below.
_OTHER_PLUGINS = frozenset(key.split(".")[2] for key in _UNKNOWN if key.startswith("metrics.metrics_collected."))


def _unknown(config: Mapping[str, Any]) -> Iterator[Unknown]:
    for name, reason in _UNKNOWN.items():
        yield from (Unknown(path, reason) for path, _value in find_values(config, name))
    if _object(config, "agent").get("system_metrics_enabled") is True:
        yield Unknown(("agent", "system_metrics_enabled"), "the agent chooses the metrics of itself")


class _NotKnownError(Exception):
    """Something that cannot be known, with its reason."""


# Values that only a running agent can replace: environment variables, and metadata.
_VARIABLE = "$"


def _object(value: Any, *keys: str) -> Mapping[str, Any]:
    """Return the object to which keys lead. It is empty if there is none."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _texts(value: Any) -> list[str]:
    return [each for each in _list(value) if isinstance(each, str)]


def _text(value: Any, default: str = "") -> str:
    return value if isinstance(value, str) and value else default


def _seconds(*values: Any) -> int:
    """Return the first of these values that is a number of seconds."""
    return next(int(each) for each in values if is_integer(each) and each > 0)


def _region(config: Mapping[str, Any], sender: Sender) -> str:
    region = _text(_object(config, "agent").get("region"), sender.region)
    if not is_region(region):
        raise _NotKnownError(f"{quote(region)} is not the name of a region")
    return region


def _check_account(config: Mapping[str, Any], section: str, sender: Sender) -> None:
    for name in (section, "agent"):
        role = _object(config, name, "credentials").get("role_arn")
        if not role:
            continue
        if not isinstance(role, str) or not ROLE_ARN.fullmatch(role):
            raise _NotKnownError(f"its role {quote(role)} is not the ARN of a role")
        account = role.split(":")[4]
        if account != sender.account:
            raise _NotKnownError(f"its role is in another account, {account}")
        return


# Any text of these forms is accepted, so that it can be the name of a metric or namespace, and a name or value of a
# dimension. https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_Dimension.html
_NAME = re.compile(r"(?!:)(?=[ -~]*[!-~])[ -~]{1,255}")
_VALUE = re.compile(r"(?=[ -~]*[!-~])[ -~]{1,1024}")
_MAX_DIMENSIONS = 30

_WINDOWS = "Windows"
_DEFAULT_INTERVAL, _DEFAULT_FLUSH = 60, 60
# The dimensions that the agent reads from EC2, and the only value with which it does so.
_OF_EC2: Mapping[str, str] = {
    "AutoScalingGroupName": "${aws:AutoScalingGroupName}",
    "ImageId": "${aws:ImageId}",
    "InstanceId": "${aws:InstanceId}",
    "InstanceType": "${aws:InstanceType}",
}
_METADATA = "${aws:"
# By plug-in, the dimensions that the agent always removes.
_EXCLUDED: Mapping[str, frozenset[str]] = {
    "disk": frozenset({"mode"}),
    "nvidia_gpu": frozenset({"compute_mode", "pstate", "uuid"}),
    "procstat": frozenset({"user", "result"}),
}
# The agent uses these dimensions for itself.
_INTERNAL = frozenset({"aws:StorageResolution", "aws:AggregationInterval"})
# By platform, the metrics that the agent accepts, and that its plug-ins do not have.
_MISSING: Mapping[str, frozenset[str]] = {
    "Linux": frozenset({"processes_wait"}),
    "MacOS": frozenset(f"processes_{each}" for each in ("dead", "paging", "total_threads", "wait")),
}
_ETHTOOL = "ethtool"
# The plug-ins of the agent. On Windows, it takes other names for objects of performance counters.
_PLUGINS = frozenset({_ETHTOOL, *METRICS})
# Plug-ins of which some servers have nothing, and their dimensions.
_OF_SOME = {_ETHTOOL: ("interface", "driver"), "nvidia_gpu": ("index", "name", "arch")}
_GLOB = re.compile(r"[*?\[{]")
_NVME = {"ebs_": "VolumeId", "instance_store_": "SerialId"}
# The objects of Windows without instances, for which the agent ignores ``resources``.
_WITHOUT_INSTANCES = frozenset({"Memory", "System", "TCPv4", "TCPv6"})
# The objects of Windows that have instances on every server, and a total of them.
_WITH_TOTAL = frozenset({"LogicalDisk", "PhysicalDisk", "Processor"})
_TOTAL = "_Total"


@dataclass(frozen=True)
class _Series:
    """A metric of a plug-in about one device or process, before the agent adds dimensions.

    :param metric: the name without the plug-in.
    :param own: the plug-in's own dimensions. ``None`` stands for a value that only the server knows.
    :param collections: how many collections give the first point.
    :param has_tags: whether the agent adds the name of the host, and the dimensions of the plug-in.
    """

    measurement: str
    metric: str
    own: Mapping[str, str | None] = field(default_factory=dict)
    is_certain: bool = True
    collections: int = 1
    has_tags: bool = True


@dataclass(frozen=True)
class _Entry:
    """A plug-in in the configuration, or one process of ``procstat``."""

    path: Path
    plugin: str
    values: Mapping[str, Any]

    @property
    def appended(self) -> Mapping[str, Any]:
        """The dimensions that the agent adds to the metrics of this plug-in."""
        return _object(self.values, "append_dimensions")


def _metrics(config: Mapping[str, Any], sender: Sender) -> Iterator[ExpectedMetric | Unknown]:
    section = _object(config, "metrics")
    destinations = _object(section, "metrics_destinations")
    if "amp" in destinations and "cloudwatch" not in destinations:
        return
    entries = [*_entries(_object(section, "metrics_collected"))]
    if not entries:
        return
    try:
        _check_account(config, "metrics", sender)
        sending = _Sending(config, section, sender, _region(config, sender))
    except _NotKnownError as error:
        yield Unknown(("metrics",), str(error))
        return
    for entry in entries:
        yield from _of_entry(entry, sending)


def _entries(plugins: Mapping[str, Any]) -> Iterator[_Entry]:
    for plugin, values in plugins.items():
        path: Path = ("metrics", "metrics_collected", plugin)
        if plugin == "procstat":
            yield from (_Entry((*path, index), plugin, _object(each)) for index, each in enumerate(_list(values)))
        elif plugin not in _OTHER_PLUGINS:
            yield _Entry(path, plugin, _object(values))


class _Sending:
    """How a configuration sends its metrics.

    :raises _NotKnownError: this cannot be known.
    """

    def __init__(self, config: Mapping[str, Any], section: Mapping[str, Any], sender: Sender, region: str) -> None:
        agent = _object(config, "agent")
        self.sender, self.region = sender, region
        self.is_windows = sender.platform == _WINDOWS
        self.interval = agent.get("metrics_collection_interval")
        self.flush = _seconds(section.get("force_flush_interval"), _DEFAULT_FLUSH)
        self.namespace = _text(section.get("namespace"), DEFAULT_NAMESPACE)
        if _VARIABLE in self.namespace or not _NAME.fullmatch(self.namespace):
            raise _NotKnownError(f"the namespace {quote(self.namespace)} is not known")
        self.has_ec2 = "append_dimensions" in section
        if self.has_ec2 and not sender.instance_id:
            raise _NotKnownError("outside EC2, the agent sends no metrics with append_dimensions")
        appended = _object(section, "append_dimensions")
        self.of_ec2 = {key: self.of_sender(key) for key, value in _OF_EC2.items() if appended.get(key) == value}
        hostname = _text(agent.get("hostname"), sender.hostname or "") or None
        self.host = None if hostname and _VARIABLE in hostname else hostname
        self.omits_host = agent.get("omit_hostname") is True
        self.rollups = _rollups(section.get("aggregation_dimensions"))
        plugins = _object(section, "metrics_collected")
        self.renames = [*self._renames(plugins)]
        self.dropped = {*self._dropped(plugins)}

    def of_sender(self, dimension: str) -> str | None:
        """Return the value of a dimension of EC2; ``None`` if it is not known."""
        values = {
            "AutoScalingGroupName": self.sender.auto_scaling_group,
            "ImageId": self.sender.image_id,
            "InstanceId": self.sender.instance_id or None,
            "InstanceType": self.sender.instance_type,
        }
        return values[dimension]

    def decorate(self, plugin: str, metric: str) -> str:
        """Return the name that a metric has in CloudWatch."""
        measurement = "nvidia_smi" if plugin == "nvidia_gpu" else plugin
        return measurement if metric == "value" else f"{measurement}{' ' if self.is_windows else '_'}{metric}"

    def without_plugin(self, plugin: str, name: str) -> str:
        """Return the name of a metric without its plug-in, as the agent reads it from ``measurement``."""
        if self.is_windows and plugin != "procstat":
            return name
        name, prefix = name.strip(), "nvidia_smi_" if plugin == "nvidia_gpu" else f"{plugin}_"
        return name[len(prefix) :] if name.startswith(prefix) else name

    def rename(self, name: str) -> str:
        """Return the final name of a metric. The agent renames in the order of the configuration."""
        for before, after in self.renames:
            if name == before:
                if not isinstance(after, str) or _VARIABLE in after:
                    raise _NotKnownError(f"the new name of {quote(name)}, {quote(after)}, is not known")
                name = after
        if not _NAME.fullmatch(name):
            raise _NotKnownError(f"CloudWatch accepts no metric with the name {quote(name)}")
        return name

    def _renames(self, plugins: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        for plugin, entry in plugins.items():
            for each in _list(_object(entry).get("measurement")):
                if "rename" in _object(each) and isinstance(each.get("name"), str):
                    yield self.decorate(plugin, self.without_plugin(plugin, each["name"])), each["rename"]

    def _dropped(self, plugins: Mapping[str, Any]) -> Iterator[str]:
        """Yield the final names of the metrics that the agent sends only with fewer dimensions."""
        for plugin, entry in plugins.items():
            for drop in _texts(_object(entry).get("drop_original_metrics")):
                if plugin == _ETHTOOL:
                    yield drop
                elif "measurement" in _object(entry):
                    yield from self._dropped_of(plugin, _list(entry["measurement"]), drop)

    def _dropped_of(self, plugin: str, measurement: list[Any], drop: str) -> Iterator[str]:
        name = drop if plugin in drop else self.decorate(plugin, drop)
        is_decorated = False
        for each in measurement:
            metric = each.get("name") if isinstance(each, dict) else each
            if not isinstance(metric, str):
                continue
            metric = metric if plugin in metric else self.decorate(plugin, metric)
            if isinstance(each, dict) and (drop == "*" or metric in name):
                is_decorated = True
                yield _text(each.get("rename"), metric)
            elif drop == "*":
                yield metric
        if not is_decorated:
            yield name


def _rollups(value: Any) -> list[frozenset[str]]:
    """Return the sets of dimensions with which the agent sends each metric again."""
    lists = [_list(each) for each in _list(value)]
    is_valid = all(isinstance(each, list) for each in _list(value))
    if not is_valid or not all(isinstance(name, str) for each in lists for name in each):
        return []
    return list(dict.fromkeys(map(frozenset, lists)))


def _of_entry(entry: _Entry, sending: _Sending) -> Iterator[ExpectedMetric | Unknown]:
    reason = _reason(entry, sending)
    if reason:
        yield Unknown(entry.path, reason)
        return
    plugin, values = entry.plugin, entry.values
    names = _texts([each.get("name") if isinstance(each, dict) else each for each in _list(values.get("measurement"))])
    if plugin == _ETHTOOL:
        names = _texts(values.get("metrics_include"))
    for name in dict.fromkeys(sending.without_plugin(plugin, each) for each in names):
        try:
            for series in _series(plugin, name, values):
                yield from _of_series(entry, series, sending)
        except _NotKnownError as error:
            yield Unknown(entry.path, str(error))


def _reason(entry: _Entry, sending: _Sending) -> str:
    """Return the reason why nothing is known of a plug-in; empty if something is."""
    plugin = entry.plugin
    if plugin == "nvidia_smi" or (plugin == "nvidia_gpu" and sending.is_windows):
        return "the agent has no such plug-in"
    is_counter = plugin not in _PLUGINS
    if is_counter and not sending.is_windows:
        return "only Windows servers collect this" if COUNTER.search(plugin) else "the agent has no such plug-in"
    if not is_counter and sending.is_windows and plugin != "procstat":
        return "only Linux servers collect this"
    if plugin == _ETHTOOL and not entry.values.get("metrics_include"):
        return "the network driver chooses these metrics"
    return ""


def _series(plugin: str, name: str, values: Mapping[str, Any]) -> Iterator[_Series]:
    """Yield a metric for each thing about which a plug-in reports it.

    :raises _NotKnownError: this cannot be known.
    """
    nvme = next((dimension for prefix, dimension in _NVME.items() if name.startswith(prefix)), "")
    if plugin in METRICS and name not in METRICS[plugin]:
        raise _NotKnownError(f"{quote(name)} is not a known metric of {plugin}")
    if plugin not in _PLUGINS:
        yield from _counters(plugin, name, values)
    elif plugin == "diskio" and nvme:
        yield _Series(plugin, name, {nvme: None}, is_certain=False, collections=2, has_tags=False)
    elif plugin == "cpu":
        collections = 2 if name.startswith("usage") else 1
        if values.get("totalcpu") is not False:
            yield _Series(plugin, name, {"cpu": "cpu-total"}, collections=collections)
        if "*" in _texts(values.get("resources")):
            yield _Series(plugin, name, {"cpu": None}, collections=collections)
    elif plugin in ("disk", "diskio", "net"):
        yield from _devices(plugin, name, values)
    elif plugin == "procstat":
        yield from _process(name, values)
    elif plugin in _OF_SOME:
        yield _Series(plugin, name, dict.fromkeys(_OF_SOME[plugin]), is_certain=False)
    else:
        yield _Series(plugin, name)


_PSEUDO_FILE_SYSTEMS = frozenset(
    {"autofs", "cgroup", "cgroup2", "debugfs", "devpts", "devtmpfs", "proc", "sysfs", "tmpfs"}
)


def _devices(plugin: str, name: str, values: Mapping[str, Any]) -> Iterator[_Series]:
    resources = _texts(values.get("resources"))
    if not resources or "*" in resources:
        resources = ["*"]
    # No server has its root file system on one of these.
    ignored = {*_texts(values.get("ignore_file_system_types"))} - _PSEUDO_FILE_SYSTEMS
    for resource in dict.fromkeys(resources):
        known = None if _GLOB.search(resource) or _VARIABLE in resource else resource
        own = {
            "disk": {"path": known, "device": None, "fstype": None},
            "diskio": {"name": known},
            "net": {"interface": known},
        }[plugin]
        if values.get("drop_device") is True:
            own.pop("device", None)
        # The two others report differences.
        collections = 1 if plugin == "disk" else 2
        yield _Series(plugin, name, own, is_certain=resource in ("*", "/") and not ignored, collections=collections)


def _process(name: str, values: Mapping[str, Any]) -> Iterator[_Series]:
    keys = {"pid_file": "pidfile", "exe": "exe", "pattern": "pattern"}
    key = next((each for each in keys if isinstance(values.get(each), str)), None)
    if not key:
        return
    value = None if _VARIABLE in values[key] else values[key]
    if name == "pid_count":
        # Without its file, the agent sends this with other dimensions.
        own = {keys[key]: value, "pid_finder": _text(values.get("pid_finder"), "native")}
        yield _Series("procstat_lookup", name, own, is_certain=key != "pid_file")
    else:
        yield _Series("procstat", name, {keys[key]: value, "process_name": None}, is_certain=False)


def _counters(plugin: str, name: str, values: Mapping[str, Any]) -> Iterator[_Series]:
    """Yield the counters of an object of Windows. Most compare two collections."""
    own = {"objectname": plugin}
    if plugin in _WITHOUT_INSTANCES:
        yield _Series(plugin, name, own, collections=2)
        return
    if "resources" not in values:
        raise _NotKnownError("only the server knows whether this object has instances, which resources must list")
    names = _texts(values["resources"])
    for each in [None] if "*" in names else dict.fromkeys(names):
        instance = None if each is None or _VARIABLE in each else each
        is_certain = plugin in _WITH_TOTAL and each in (None, _TOTAL)
        yield _Series(plugin, name, {**own, "instance": instance}, is_certain=is_certain, collections=2)


def _of_series(entry: _Entry, series: _Series, sending: _Sending) -> Iterator[ExpectedMetric]:
    """Yield a metric with each set of dimensions with which the agent sends it."""
    own = _tagged(entry, series.own, sending) if series.has_tags else series.own
    # The agent drops blank values.
    dimensions = _first({key: value for key, value in _located(entry, own, sending).items() if value != ""})
    for key, value in dimensions.items():
        if not _NAME.fullmatch(key) or (value is not None and not _VALUE.fullmatch(value)):
            raise _NotKnownError(f"CloudWatch accepts no dimension {quote(key)} with the value {quote(value)}")
    decorated = sending.decorate(series.measurement, series.metric)
    name = sending.rename(decorated)
    # A server without an Auto Scaling group does not have the first one.
    always = {*dimensions} - {key for key in ("AutoScalingGroupName", "VolumeId") if dimensions.get(key, "") is None}
    is_certain = series.is_certain and decorated not in _MISSING.get(sending.sender.platform, ())
    # Earlier agents sent these texts as they are.
    is_certain = is_certain and not any(_METADATA in str(value) for value in entry.appended.values())
    is_dropped = name in sending.dropped
    sets = [] if is_dropped else [(frozenset(dimensions), True)]
    sets += [
        (each, len(each) < len(always) or (each == always and not is_dropped))
        for each in sending.rollups
        if each < dimensions.keys()
    ]
    interval = _seconds(entry.values.get("metrics_collection_interval"), sending.interval, _DEFAULT_INTERVAL)
    for keys, is_sent in sets:
        known = tuple((key, value) for key, value in sorted(dimensions.items()) if key in keys and value is not None)
        yield ExpectedMetric(
            entry.path,
            sending.region,
            sending.namespace,
            name,
            known,
            tuple(sorted(key for key in keys if dimensions[key] is None)),
            interval,
            series.collections * interval + 2 * sending.flush,
            any(_is_own(key, value, sending.sender) for key, value in known),
            is_certain and is_sent,
        )


def _is_own(key: str, value: str, sender: Sender) -> bool:
    """Whether a dimension distinguishes a server. Another dimension can have the name of a host by accident."""
    return value == sender.instance_id or (key == "host" and value in sender.identities)


def _tagged(entry: _Entry, own: Mapping[str, str | None], sending: _Sending) -> dict[str, str | None]:
    """Add the dimensions in the configuration of the plug-in, and the name of the host, unless it has them already."""
    tags = dict(own)
    for key, value in entry.appended.items():
        if key in _INTERNAL or not isinstance(value, str):
            continue
        dimension = next((name for name, text in _OF_EC2.items() if text == value), None)
        if _METADATA not in value or entry.plugin not in _PLUGINS:
            tags.setdefault(key, None if _VARIABLE in value else value)
        elif dimension:
            tags.setdefault(key, sending.of_sender(dimension))
    if not sending.omits_host:
        tags.setdefault("host", sending.host)
    excluded = _EXCLUDED.get(entry.plugin, ())
    return {key: value for key, value in tags.items() if key not in excluded}


def _located(entry: _Entry, tags: Mapping[str, str | None], sending: _Sending) -> dict[str, str | None]:
    """Replace the name of the host by the dimensions of EC2, if the configuration appends dimensions."""
    if not sending.has_ec2:
        return dict(tags)
    found = {**sending.of_ec2, **tags}
    if entry.plugin == "disk" and entry.appended.get("VolumeId") == "${aws:VolumeId}" and "device" in tags:
        found.setdefault("VolumeId", None)
    found.pop("host", None)
    return found


def _first(dimensions: Mapping[str, str | None]) -> dict[str, str | None]:
    """Return as many dimensions as CloudWatch accepts. The agent always keeps the name of the host."""
    names = sorted(dimensions, key=lambda key: (key != "host", key))[:_MAX_DIMENSIONS]
    return {key: dimensions[key] for key in names}


_PLACEHOLDER = re.compile(r"\{(instance_id|hostname|local_hostname|ip_address|aws_region|date|account_id)\}|\$")
# The placeholders that stand for a server.
_OF_SERVER = frozenset({"{instance_id}", "{hostname}", "{local_hostname}", "{ip_address}"})
_NOT_IN_NAME = re.compile(r"[^\w./#-]", re.ASCII)
_MAX_LOG_NAME = 512
_DEFAULT_LOG_FLUSH = 5
_JOURNAL = "journald"
_COLLECT_LISTS = {"files": None, "windows_events": _WINDOWS, _JOURNAL: "Linux"}


def _logs(config: Mapping[str, Any], sender: Sender) -> Iterator[ExpectedLog | Unknown]:
    section = _object(config, "logs")
    collected = _object(section, "logs_collected")
    if not collected.keys() & _COLLECT_LISTS.keys():
        return
    try:
        _check_account(config, "logs", sender)
        region = _region(config, sender)
    except _NotKnownError as error:
        yield Unknown(("logs",), str(error))
        return
    for kind, platform in _COLLECT_LISTS.items():
        if platform and kind in collected and platform != sender.platform:
            yield Unknown(("logs", "logs_collected", kind), f"only {platform} servers collect this")
            continue
        for index, entry in enumerate(_list(_object(collected, kind).get("collect_list"))):
            path: Path = ("logs", "logs_collected", kind, "collect_list", index)
            try:
                yield _stream(path, section, _object(entry), sender, region)
            except _NotKnownError as error:
                yield Unknown(path, str(error))


def _stream(
    path: Path, section: Mapping[str, Any], entry: Mapping[str, Any], sender: Sender, region: str
) -> ExpectedLog:
    kind = path[2]
    file = _text(entry.get("file_path"))
    is_several = kind == "files" and entry.get("publish_multi_logs") is True
    named, stream = _text(entry.get("log_group_name")), _text(entry.get("log_stream_name"))
    if not stream and not (is_several and named):
        default = "" if kind == _JOURNAL else _text(section.get("log_stream_name"))
        stream = default or ("{instance_id}" if sender.instance_id else "{hostname}")
    stream, is_prefix, is_own = _resolve(stream, sender, region)
    group, is_partial, is_own_group = _resolve(named or _default_group(str(kind), file, is_several), sender, region)
    if is_partial:
        raise _NotKnownError(f"only the server knows the end of the log group {quote(group)}")
    if not IN_GROUP.fullmatch(group) or len(group) > _MAX_LOG_NAME:
        raise _NotKnownError(f"{quote(group)} is not a valid name of a log group")
    if is_several and named and not is_prefix:
        # The agent appends the path of each file.
        is_prefix = bool(_GLOB.search(file) or _VARIABLE in file)
        stream = f"{stream}_" if is_prefix else f"{stream}_{_from_path(file).replace('/', '_')}"
    if not is_prefix and (not stream.strip() or {":", "*"} & {*stream} or len(stream) > _MAX_LOG_NAME):
        raise _NotKnownError(f"{quote(stream)} is not a valid name of a log stream")
    source = file or _text(entry.get("event_name"), str(kind))
    seconds = _seconds(section.get("force_flush_interval"), _DEFAULT_LOG_FLUSH)
    return ExpectedLog(path, source, region, group, stream, is_prefix, seconds, is_own or is_own_group)


def _default_group(kind: str, file: str, is_several: bool) -> str:
    """Return the name of a log group for which the configuration has no name."""
    if kind == _JOURNAL:
        return "journald-logs"
    if kind != "files":
        raise _NotKnownError("log_group_name is missing, and the agent has no default for it")
    if not is_several:
        return EXTENSION.sub("", file)
    if _GLOB.search(file):
        raise _NotKnownError("each file has its own log group, and only the server knows its files")
    return _from_path(file)


def _from_path(file: str) -> str:
    return _NOT_IN_NAME.sub("_", file.replace("\\", "/"))


def _resolve(name: str, sender: Sender, region: str) -> tuple[str, bool, bool]:
    """Replace the placeholders in a name.

    :returns: the name, or the part of it before the first thing that is not known, then whether it is only that part,
        and whether it distinguishes the server.
    """
    is_ec2 = bool(sender.instance_id)
    values = {
        "{instance_id}": sender.instance_id or "i-UNKNOWN",
        "{hostname}": sender.hostname_of_ec2 if is_ec2 else sender.hostname,
        "{local_hostname}": sender.hostname,
        "{ip_address}": sender.ip_address,
        "{aws_region}": region,
        "{account_id}": sender.account if is_ec2 else UNKNOWN_ACCOUNT,
    }
    text, at, own = "", 0, ""
    for found in _PLACEHOLDER.finditer(name):
        text += name[at : found.start()]
        value = values.get(found.group())
        if not value:
            # The longer name of another server can begin with this one.
            return text, True, bool(own) and not text.endswith(own)
        text, at = text + value, found.end()
        if found.group() in _OF_SERVER and (is_ec2 or found.group() != "{instance_id}"):
            own = value
    return text + name[at:], False, bool(own)
