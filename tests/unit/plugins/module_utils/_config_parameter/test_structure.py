from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.problems import select
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.schema import add_schema_problems
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.structure import METRICS, SECTIONS
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.validate import validate
from ansible_collections.cwagent.iam.plugins.module_utils._findings import ERROR

PLUGINS = SECTIONS["metrics"].keys["metrics_collected"].keys
KEYS = PLUGINS["cpu"].keys

# Names beside the agent's: performance counters of Windows, and metrics and plug-ins that a newer agent could have.
COUNTERS = [
    *("LogicalDisk", "Memory", "Process", "Processor"),
    *("Paging File", "System", "Network Interface", "Web Service"),
]
OTHERS = ["customizedCounterName", "counters", "vram", "smart", "wireless", "kernel"]


def _misspelled(config):
    problems = validate(config, source="config").problems
    return [(each.path[2:], each.near) for each in problems if each.rule.name == "misspelled"]


def _entry(plugin, **keys):
    """A configuration with one plug-in."""
    return {"metrics": {"metrics_collected": {plugin: [{"exe": "a", **keys}] if plugin == "procstat" else keys}}}


@pytest.mark.parametrize(
    ("config", "place", "near"),
    [
        (_entry("cpuu"), ("cpuu",), "cpu"),
        (_entry("nvidia-gpu"), ("nvidia-gpu",), "nvidia_gpu"),
        (_entry("netstats"), ("netstats",), "netstat"),
        (_entry("cpu", measurment=[]), ("cpu", "measurment"), "measurement"),
        (_entry("statsd", service_adress=":1"), ("statsd", "service_adress"), "service_address"),
        (_entry("cpu", measurement=[{"renname": "a"}]), ("cpu", "measurement", 0, "renname"), "rename"),
        (_entry("disk", measurement=["used_prcent"]), ("disk", "measurement", 0), "used_percent"),
        (_entry("disk", measurement=[" disk_used_prcent "]), ("disk", "measurement", 0), "used_percent"),
        (_entry("mem", measurement=[{"name": "Used_percent"}]), ("mem", "measurement", 0, "name"), "used_percent"),
        (_entry("procstat", measurement=["cpu_usag"]), ("procstat", 0, "measurement", 0), "cpu_usage"),
        (_entry("nvidia_gpu", measurement=["nvidia_smi_fan_sped"]), ("nvidia_gpu", "measurement", 0), "fan_speed"),
        ({"logs": {"metrics_collected": {"kubernets": {}}}}, ("kubernets",), "kubernetes"),
    ],
)
def test_nearly_known_names_are_a_warning(config, place, near):
    assert _misspelled(config) == [(place, near)]
    problems = validate(config, source="config").problems
    assert select(problems, "strict")[0] == []
    document = add_schema_problems(validate(config, source="config"), {"type": "object"}, "schema", is_required=True)
    assert document.problems == problems


def test_a_misspelled_key_that_is_necessary_is_an_error_and_not_missing_too():
    problems = validate(_entry("procstat", measurment=[]), source="config").problems
    assert [(each.rule.name, each.near, each.severity) for each in problems] == [("misspelled", "measurement", ERROR)]


def test_a_key_that_the_schema_refuses_is_one_problem():
    schema: dict[str, Any] = {"additionalProperties": False}
    for part in ("cpu", "metrics_collected", "metrics"):
        schema = {"properties": {part: schema}}
    document = validate(_entry("cpu", measurment=[]), source="config")
    problems = add_schema_problems(document, schema, "schema", is_required=True).problems
    assert [(each.rule.name, each.path[-1]) for each in problems] == [("unknown-key", "measurment")]


@pytest.mark.parametrize("plugin", METRICS)
def test_known_metrics_are_not_misspelled(plugin):
    prefix = "nvidia_smi_" if plugin == "nvidia_gpu" else f"{plugin}_"
    names = [name for metric in METRICS[plugin] for name in (metric, f"{prefix}{metric}")]
    objects = [{"name": name, "unit": "Count"} for name in names]
    assert _misspelled(_entry(plugin, measurement=[*names, *objects])) == []


@pytest.mark.parametrize("plugin", [*PLUGINS, *COUNTERS, *OTHERS])
def test_known_names_and_names_of_others_are_not_misspelled(plugin):
    assert _misspelled(_entry(plugin, **{key: [] for key in [*KEYS, *OTHERS]})) == []


@pytest.mark.parametrize("measurement", [None, "used", [1, None, [], {}, {"name": 1}]])
@pytest.mark.parametrize("plugin", METRICS)
def test_values_of_another_type_have_no_metrics(plugin, measurement):
    assert _misspelled(_entry(plugin, measurement=measurement)) == []
