from __future__ import annotations

import copy
from typing import Any

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.merge import merge
from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput


def nest(path: str, value: Any) -> dict[str, Any]:
    """A configuration with a value at a place: ``nest("a.b", 1)`` is ``{"a": {"b": 1}}``."""
    for key in reversed(path.split(".")):
        value = {key: value}
    return value


A, B, C = {"exe": "a"}, {"exe": "b"}, {"exe": "c"}
JOINED_LISTS = [
    "agent.usage_metadata",
    "logs.logs_collected.files.collect_list",
    "logs.logs_collected.windows_events.collect_list",
    "metrics.metrics_collected.procstat",
]
# The objects that are merged key by key.
OBJECTS = [
    "agent",
    "csm",
    "logs",
    "logs.logs_collected",
    "logs.logs_collected.files",
    "logs.logs_collected.windows_events",
    "logs.metrics_collected",
    "logs.metrics_collected.ecs",
    "logs.metrics_collected.kubernetes",
    "logs.metrics_collected.prometheus",
    "metrics",
    "metrics.metrics_collected",
    "opentelemetry",
    "opentelemetry.collect",
    "traces",
    "traces.traces_collected",
]
WHOLE_OBJECTS = [
    "agent.credentials",
    "logs.logs_collected.application_signals",
    "logs.logs_collected.journald",
    "logs.metrics_collected.application_signals",
    "logs.metrics_collected.prometheus.emf_processor",
    "metrics.append_dimensions",
    "metrics.metrics_collected.cpu",
    "metrics.metrics_destinations",
    "opentelemetry.collect.files",
    "traces.traces_collected.xray",
]
WHOLE_LISTS = [
    "metrics.aggregation_dimensions",
    "metrics.metrics_collected.other",
    "opentelemetry.collect.collect_list",
    "logs.collect_list",
    "metrics.procstat",
    "agent.jmx_list",
]


@pytest.mark.parametrize(
    ("lists", "joined"),
    [
        ([[A, B], [C]], [A, B, C]),
        ([[B], [A, B]], [B, A]),
        ([[A, A, B], [B, C, C]], [A, B, C]),
        ([[1, True], [1.0, "1"], [False, 0, None]], [1, True, "1", False, 0, None]),
        ([[[1, 2]], [[2, 1], [1, 2]]], [[1, 2], [2, 1]]),
        ([[{"a": 1, "b": 2}], [{"b": 2, "a": 1}, {"a": 1}]], [{"a": 1, "b": 2}, {"a": 1}]),
        ([[A], "no list"], [A]),
        ([[["a", 1], True], [["a", True], ["boolean", 1]]], [["a", 1], True, ["a", True], ["boolean", 1]]),
    ],
)
def test_some_lists_are_joined_without_duplicates(lists, joined):
    for path in JOINED_LISTS:
        assert merge(nest(path, each) for each in lists) == nest(path, joined)


@pytest.mark.parametrize("path", JOINED_LISTS)
def test_an_empty_list_or_another_value_in_its_place_is_ignored(path):
    parent, _dot, _key = path.rpartition(".")
    for value in ([], {"exe": "a"}, "a", None):
        assert merge([nest(path, value)]) == nest(parent, {})


@pytest.mark.parametrize("path", OBJECTS)
def test_some_objects_are_merged_key_by_key(path):
    """Another value in the place of such an object is ignored."""
    merged = merge([nest(path, {"a": 1, "b": {"c": [1]}}), nest(path, {}), nest(path, {"d": 2, "b": {"c": [1]}})])
    assert merged == nest(path, {"a": 1, "b": {"c": [1]}, "d": 2})
    assert merge([nest(path, {})]) == nest(path, {})
    parent = path.rpartition(".")[0]
    for value in ([], "a", None, 1):
        assert merge([nest(path, value)]) == (nest(parent, {}) if parent else {})


@pytest.mark.parametrize(("one", "other"), [({"a": 1}, {"b": 1}), ([A], [B]), (1, 2), (1, True), ("1", 1), ([], {})])
def test_any_other_value_must_be_the_same_in_all(one, other):
    for path in [*(f"{each}.key" for each in OBJECTS), *WHOLE_OBJECTS, *WHOLE_LISTS]:
        assert merge([nest(path, one), {}, nest(path, copy.deepcopy(one))]) == nest(path, one)
        with pytest.raises(InvalidInput, match=rf"have different values for \$\.{path}\.$"):
            merge([nest(path, one), nest(path, other)])


COLLECTED = ["logs.metrics_collected", "metrics.metrics_collected", "opentelemetry.collect", "traces.traces_collected"]


@pytest.mark.parametrize(
    ("values", "merged"),
    [
        ([A], A),
        ([A, B, A, C], [A, B, C]),
        ([[A, A]], [A, A]),
        ([[A], [A, B]], [A, B]),
        ([[A], A], [A]),
        ([A, [B, B]], [A, B]),
        ([[B], A], [B, A]),
        (["a"], "a"),
    ],
)
def test_objects_that_can_be_arrays_become_one(values, merged):
    for path in (f"{parent}.{key}" for parent in COLLECTED for key in ("jmx", "otlp")):
        assert merge(nest(path, each) for each in values) == nest(path, merged)


@pytest.mark.parametrize("values", [("a", "a"), (A, "a"), ("a", [A]), (None, A)])
def test_only_objects_and_arrays_are_merged_there(values):
    with pytest.raises(InvalidInput, match=r"for \$\.metrics\.metrics_collected\.jmx\.$"):
        merge(nest("metrics.metrics_collected.jmx", each) for each in values)


def test_every_conflict_is_named_once():
    one = {"agent": {"region": "a", "a.b": 1, "debug": True}, "metrics": {"metrics_collected": {"cpu": {}}}}
    other = {"agent": {"region": "b", "a.b": 2, "debug": True}, "metrics": {"metrics_collected": {"cpu": {"a": 1}}}}
    with pytest.raises(InvalidInput, match=r'for \$\.agent\.region, \$\.agent\["a\.b"\], \$\.metrics\.\S+\.cpu\.$'):
        merge([one, other, other])


def test_other_sections_are_ignored():
    assert merge([{"agent": {}, "metric": {"a": 1}}, {"jmx": {}}]) == {"agent": {}}


def test_the_configurations_are_not_changed():
    configs = [nest(path, value) for path in JOINED_LISTS for value in ([A], [B])] + [
        nest("metrics.metrics_collected.jmx", each) for each in (A, [B])
    ]
    before = copy.deepcopy(configs)
    merge(configs)
    merge(configs)
    assert configs == before
