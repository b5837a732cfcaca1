"""``PYTHONPATH=.ansible/collections python tests/agent_data.py FOLDER``: tests what data a configuration is to send.

The folder is ``translator/tocwconfig/sampleConfig`` of a checkout of the agent. Beside each configuration, it has what
the agent's own translator makes of it: the plug-ins as TOML, and the pipelines as YAML. ``expected_data`` must derive
the same from the configuration: the names, dimensions and intervals of the metrics, and the log streams. It prints the
configurations of which some data is unknown, and why.
"""

from __future__ import annotations

import argparse
import json
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from ansible_collections.cwagent.iam.plugins.module_utils._agents.expected_data import (
    ExpectedData,
    expected_data,
)
from ansible_collections.cwagent.iam.plugins.module_utils._agents.server import Sender
from ansible_collections.cwagent.iam.plugins.module_utils._configuration.json_path import json_path
from ansible_collections.cwagent.iam.plugins.module_utils._configuration.parts import merge

# The agent's own tests run with these.
REGION, INSTANCE = "us-west-2", "i-UNKNOWN"
# The dimensions of each plug-in, in the source of Telegraf, and those that only some of its metrics have.
DIMENSIONS: dict[str, set[str]] = {
    "cpu": {"cpu"},
    "disk": {"path", "device", "fstype", "mode"},
    "diskio": {"name"},
    "ethtool": {"interface", "driver"},
    "net": {"interface"},
    "nvidia_smi": {"index", "name", "arch", "uuid", "pstate", "compute_mode"},
}
PROCESS = {"pid_file": "pidfile", "exe": "exe", "pattern": "pattern"}
# The receivers whose data depends on applications, or that send no metrics.
LOGS = (("logfile", "file_config", "file_path"), ("windows_event_log", "event_config", "event_name"))
UNKNOWN = {"logfile", "windows_event_log", "socket_listener", "statsd"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    wrong: list[str] = []
    compared = facts = 0
    for path in sorted(folder.glob("**/*.json")):
        for toml, pipelines in find_translations(path):
            count, differences = compare(path, platform_of(path, toml), toml, pipelines)
            compared, facts, wrong = compared + 1, facts + count, wrong + differences
    if wrong or not compared:
        sys.exit("\n".join(wrong) or f"{folder} has no configurations")
    print(f"{compared} translations with {facts} metrics and log streams agree.")


def find_translations(path: Path) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield the TOML and the YAML of a configuration, for each platform that has its own."""
    for ending in ("", "_linux", "_windows"):
        toml, pipelines = (path.with_name(f"{path.stem}{ending}.{each}") for each in ("conf", "yaml"))
        is_own = ending and path.with_name(f"{path.stem}{ending}.json").exists()
        if toml.exists() and pipelines.exists() and not is_own:
            yield tomllib.loads(toml.read_text()), yaml.safe_load(pipelines.read_text())


def platform_of(path: Path, toml: dict[str, Any]) -> str:
    if toml["agent"]["logfile"].startswith("c:"):
        return "Windows"
    return "MacOS" if "darwin" in path.stem else "Linux"


def compare(path: Path, platform: str, toml: dict[str, Any], pipelines: dict[str, Any]) -> tuple[int, list[str]]:
    """Return how many metrics and log streams were compared, and the differences. Print what is unknown."""
    config = merge([json.loads(path.read_text())])
    for section in config.values():
        if "credentials" in section:
            section["credentials"].pop("role_arn", None)  # no ARN of a role
    sender = Sender(platform, REGION, "123456789012", INSTANCE)
    data = expected_data(config, sender)
    count, differences = 0, []
    for noun, expected, sent in (
        ("metrics", metrics_of(data), translated_metrics(platform, toml, pipelines)),
        ("logs", logs_of(data), translated_logs(platform, toml, pipelines)),
    ):
        count += len(expected & sent)
        is_known = (noun,) not in {each.path for each in data.unknown}
        missing = sent - expected if is_known else ()
        differences += [f"{path.name} {platform}: only the agent has the {noun} {each}" for each in missing]
        differences += [f"{path.name} {platform}: only we have the {noun} {each}" for each in expected - sent]
    for each in data.unknown:
        print(f"{path.name} {platform} {json_path(each.path)}: {each.reason}")
    return count, sorted(differences)


def metrics_of(data: ExpectedData) -> set[tuple[Any, ...]]:
    return {
        (
            each.region,
            each.namespace,
            each.name,
            " ".join(sorted({name for name, _value in each.dimensions} | {*each.unknown_dimensions})),
            each.interval,
        )
        for each in data.metrics
    }


def translated_metrics(platform: str, toml: dict[str, Any], pipelines: dict[str, Any]) -> set[tuple[Any, ...]]:
    exporter = pipelines.get("exporters", {}).get("awscloudwatch")
    if exporter is None:
        return set()
    separator = " " if platform == "Windows" else "_"
    tagger = pipelines.get("processors", {}).get("ec2tagger")
    located = {
        {"aws:autoscaling:groupName": "AutoScalingGroupName"}.get(each, each)
        for key in ("ec2_metadata_tags", "ec2_instance_tag_keys")
        for each in (tagger or {}).get(key, ())
    }
    found = set()
    for measurement, field, tags, interval in series(toml, pipelines):
        dimensions = frozenset(tags if tagger is None else (tags | located) - {"host"})
        name = renamed(f"{measurement}{separator}{field}", pipelines)
        sets = [frozenset(each) for each in exporter.get("rollup_dimensions", ()) if {*each} < dimensions]
        if name not in exporter.get("drop_original_metrics", {}):
            sets.append(dimensions)
        found |= {(exporter["region"], exporter["namespace"], name, " ".join(sorted(each)), interval) for each in sets}
    return found


def series(toml: dict[str, Any], pipelines: dict[str, Any]) -> set[tuple[str, str, frozenset[str], int]]:
    """Return the metrics of all plug-ins: measurement, field, dimensions and interval."""
    agent = toml["agent"]
    host = set() if agent["omit_hostname"] else {"host"}
    found: set[tuple[str, str, frozenset[str], int]] = set()
    for plugin, inputs in toml.get("inputs", {}).items():
        for each in () if plugin in UNKNOWN else inputs:
            interval = int(each.get("interval", agent["interval"]).rstrip("s"))
            tags = {key for key in each.get("tags", {}) if not key.startswith("aws:")} | host
            excluded = set(each.get("tagexclude", ()))
            if plugin == "win_perf_counters":
                for item in each["object"]:
                    instances = {"instance"} if item["Instances"] != ["------"] else set()
                    for counter in item["Counters"]:
                        named = frozenset(tags | instances | {"objectname"})
                        found.add((item["Measurement"], counter, named, interval))
                continue
            if plugin == "cpu" and not (each.get("percpu") or each.get("totalcpu")):
                continue
            for field in each.get("fieldpass", ()):
                measurement, own = plugin, DIMENSIONS.get(plugin, set())
                if plugin == "procstat":
                    is_lookup = field == "pid_count"
                    measurement = "procstat_lookup" if is_lookup else plugin
                    own = {next(name for key, name in PROCESS.items() if key in each)}
                    own |= {"pid_finder" if is_lookup else "process_name"}
                found.add((measurement, field, frozenset((tags | own) - excluded), interval))
    nvme = pipelines.get("receivers", {}).get("awsnvmereceiver")
    for name, metric in (nvme or {}).get("metrics", {}).items():
        if metric["enabled"]:
            field = name.removeprefix("diskio_")
            volume = frozenset({"VolumeId" if field.startswith("ebs_") else "SerialId"})
            found.add(("diskio", field, volume, minutes(nvme["collection_interval"])))
    return found


def minutes(text: str) -> int:
    """Return the seconds of an interval such as ``1m0s``."""
    whole, _m, rest = text.rpartition("m")
    return int(whole or 0) * 60 + int(rest.rstrip("s"))


def renamed(name: str, pipelines: dict[str, Any]) -> str:
    for statement in pipelines.get("processors", {}).get("transform", {}).get("metric_statements", ()):
        for each in statement["statements"]:
            if each.startswith("set(name, ") and each.endswith(f' where name == "{name}"'):
                return str(json.loads(each.removeprefix("set(name, ").partition(") where name == ")[0]))
    return name


def logs_of(data: ExpectedData) -> set[tuple[str, str, str]]:
    return {(each.source, each.group, each.stream) for each in data.logs}


def translated_logs(platform: str, toml: dict[str, Any], pipelines: dict[str, Any]) -> set[tuple[str, str, str]]:
    default = [each.get("log_stream_name", "") for each in toml.get("outputs", {}).get("cloudwatchlogs", ())]
    found = set()
    for plugin, key, name in (
        ("logfile", "file_config", "file_path"),
        ("windows_event_log", "event_config", "event_name"),
    ):
        for each in toml.get("inputs", {}).get(plugin, ()):
            for entry in each.get(key, ()):
                found.add((entry[name], entry.get("log_group_name", ""), entry.get("log_stream_name") or default[0]))
    for name, each in pipelines.get("exporters", {}).items():
        if name.startswith("awscloudwatchlogs/journald_") and platform == "Linux":
            found.add(("journald", each["log_group_name"], each["log_stream_name"]))
    return found


if __name__ == "__main__":
    main()
