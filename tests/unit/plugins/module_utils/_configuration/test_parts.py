"""The parts of a configuration: merged, split, and recorded."""

from __future__ import annotations

import copy
import itertools
import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from json_values import json_values

from ansible_collections.cwagent.iam.plugins.module_utils._configuration.parts import (
    MAX_DESCRIPTION,
    comparable,
    digest,
    merge,
    merge_order,
    minify,
    other_parts,
    part_names,
    parts_of,
    recorded_parts,
    split,
    to_canonical,
    to_record,
)
from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import InvalidInput


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


# The objects that the agent's schema accepts only with one of these members, and the lists that it accepts only with an
# element.
REQUIRED_MEMBERS = {
    ("logs",): {"logs_collected", "metrics_collected"},
    ("logs", "logs_collected", "files"): {"collect_list"},
    ("logs", "logs_collected", "windows_events"): {"collect_list"},
    ("metrics",): {"metrics_collected"},
    ("traces",): {"traces_collected"},
}
NOT_EMPTY = {
    (),
    ("logs", "logs_collected"),
    ("logs", "logs_collected", "files", "collect_list"),
    ("logs", "logs_collected", "windows_events", "collect_list"),
    ("metrics", "metrics_collected"),
    ("metrics", "metrics_collected", "jmx"),
    ("metrics", "metrics_collected", "procstat"),
    ("traces", "traces_collected"),
}
TEXTS = st.text('aü日 "\\{}', min_size=1, max_size=30)
OPTIONS = st.dictionaries(st.sampled_from(["debug", "region", "service.name"]), TEXTS | st.booleans(), max_size=3)
ENTRIES = st.lists(
    st.fixed_dictionaries({"file_path": TEXTS}, optional={"pid": st.integers()}), min_size=1, max_size=30
)
LISTENERS = st.fixed_dictionaries({"endpoint": TEXTS})
ONE_OR_MORE = LISTENERS | st.lists(LISTENERS, min_size=1, max_size=6)


def merge_dicts(*dicts: dict[str, Any]) -> dict[str, Any]:
    return dict(itertools.chain.from_iterable(each.items() for each in dicts))


def section(options: Any, collected: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """An object with some options, and at least one of the members to collect."""
    collection = st.fixed_dictionaries({}, optional=collected).filter(bool)
    return st.builds(merge_dicts, options, collection)


LOGS_COLLECTED = section(
    st.just({}),
    {
        "files": st.fixed_dictionaries({"collect_list": ENTRIES}),
        "windows_events": st.builds(merge_dicts, OPTIONS, st.fixed_dictionaries({"collect_list": ENTRIES})),
        "journald": LISTENERS,
    },
)
LOGS = section(
    OPTIONS,
    {
        "logs_collected": LOGS_COLLECTED,
        "metrics_collected": section(
            st.just({}),
            {"ecs": OPTIONS, "kubernetes": OPTIONS, "prometheus": OPTIONS, "otlp": ONE_OR_MORE, "emf": OPTIONS},
        ),
    },
)
METRICS_COLLECTED = section(
    st.just({}),
    {"cpu": LISTENERS, "mem": LISTENERS, "procstat": ENTRIES, "jmx": ONE_OR_MORE, "otlp": ONE_OR_MORE},
)
METRICS = st.builds(merge_dicts, OPTIONS, st.fixed_dictionaries({"metrics_collected": METRICS_COLLECTED}))
TRACES_COLLECTED = section(st.just({}), {"xray": OPTIONS, "otlp": ONE_OR_MORE})
TRACES = st.builds(merge_dicts, OPTIONS, st.fixed_dictionaries({"traces_collected": TRACES_COLLECTED}))
OTEL = st.fixed_dictionaries(
    {}, optional={"cluster_name": TEXTS, "collect": st.dictionaries(TEXTS, OPTIONS, max_size=4)}
)
CONFIGS = st.fixed_dictionaries(
    {}, optional={"agent": OPTIONS, "logs": LOGS, "metrics": METRICS, "traces": TRACES, "opentelemetry": OTEL}
).filter(bool)


def assert_valid(value: Any, keys: tuple[str, ...] = ()) -> None:
    assert keys not in NOT_EMPTY or value
    if isinstance(value, dict):
        assert keys not in REQUIRED_MEMBERS or value.keys() & REQUIRED_MEMBERS[keys]
        for key, member in value.items():
            assert_valid(member, (*keys, key))


def ignoring_order(value: Any) -> Any:
    if isinstance(value, dict):
        return frozenset((key, ignoring_order(member)) for key, member in value.items())
    if isinstance(value, list):
        return (list, frozenset(map(ignoring_order, value)), len(value))
    return comparable(value)


def size_of(config: Any) -> int:
    return len(json.dumps(config, separators=(",", ":"), ensure_ascii=False).encode())


@given(CONFIGS, st.integers(120, 900), st.booleans())
def test_the_parts_fit_and_are_valid_and_merge_to_the_whole(config, limit, allow_recent):
    before = json.dumps(config)
    try:
        parts = split(config, limit, allow_recent)
    except InvalidInput:
        assume(False)
    assert split(config, limit, allow_recent) == parts
    assert json.dumps(config) == before
    names = part_names("AmazonCloudWatch-linux", len(parts))
    stored = dict(zip(names, parts, strict=True))
    whole = ignoring_order(merge([config]))
    for order in ([stored[name] for name in merge_order(names)], parts, parts[::-1]):
        assert ignoring_order(merge(order)) == whole
    for part in parts:
        assert size_of(part) <= limit
        assert_valid(part)
    for count in range(1, len(names) + 1):
        # The agent merges the parts that were appended so far, in its own order.
        assert_valid(merge(stored[name] for name in merge_order(names[:count])))
        assert_valid(merge(stored[name] for name in merge_order(names)[:count]))
    if any(key in config for key in ("logs", "metrics", "traces", "opentelemetry")):
        assert parts[0].get("agent") == config.get("agent")
        assert not any("agent" in part for part in parts[1:])
    if not allow_recent:
        check_for_older_agents(parts)


def check_for_older_agents(parts: list[dict[str, Any]]) -> None:
    """Check that no two parts have something that only recent agents merge."""
    for path in itertools.product(
        ("logs", "metrics", "traces"), ("metrics_collected", "traces_collected"), ("jmx", "otlp")
    ):
        values = [part.get(path[0], {}).get(path[1], {}).get(path[2]) for part in parts]
        assert len([each for each in values if each is not None]) <= 1
    assert len([part for part in parts if "opentelemetry" in part]) <= 1


@given(CONFIGS, st.integers(120, 900), st.booleans())
def test_a_configuration_that_fits_is_one_part_and_an_error_names_what_does_not(config, limit, allow_recent):
    assert split(config, size_of(config)) == [config]
    try:
        split(config, limit, allow_recent)
    except InvalidInput as error:
        message = str(error)
    else:
        return
    assert message.startswith(f"The configuration cannot be split into parts of at most {limit} bytes")
    sizes = [int(rest.split()[0]) for rest in message.split(" needs ")[1:]]
    assert sizes
    assert min(sizes) > limit


def entry(name: str, size: int = 0) -> dict[str, Any]:
    return {"file_path": name, "fill": "x" * size}


def files(*entries: Any, **settings: Any) -> dict[str, Any]:
    return {"logs": {**settings, "logs_collected": {"files": {"collect_list": list(entries)}}}}


def metrics(**collected: Any) -> dict[str, Any]:
    return {"metrics": {"metrics_collected": collected}}


AGENT = {"agent": {"region": "r"}}


@pytest.mark.parametrize(
    ("config", "parts"),
    [
        (files("a" * 50, "b" * 50, "c" * 50), [files("a" * 50, "b" * 50), files("c" * 50)]),
        (files("ü" * 25, "b" * 50, "c" * 50), [files("ü" * 25, "b" * 50), files("c" * 50)]),
        (metrics(procstat=["a" * 30, "b" * 30]), [metrics(procstat=["a" * 30]), metrics(procstat=["b" * 30])]),
        # The settings are in the first part that needs them. The settings of the agent are in the first part.
        (
            {**AGENT, **files("a" * 50, "b" * 50, force=5), **metrics(cpu={"a": "c" * 50}, mem={})},
            [{**AGENT, **files("a" * 50, force=5)}, files("b" * 50), metrics(cpu={"a": "c" * 50}, mem={})],
        ),
        # An item is first if it has room for the settings, which another item does not have.
        (
            {**AGENT, **metrics(cpu={"a": "c" * 80}, mem={"a": "d" * 70}, net={"a": "d" * 40})},
            [
                {**AGENT, **metrics(mem={"a": "d" * 70})},
                metrics(cpu={"a": "c" * 80}),
                metrics(net={"a": "d" * 40}),
            ],
        ),
        # Invalid sections stay as they are, each in one part.
        (
            {"metrics": {"namespace": "n" * 30}, "logs": {"logs_collected": {"files": []}}},
            [{"metrics": {"namespace": "n" * 30}}, {"logs": {"logs_collected": {"files": []}}}],
        ),
        (
            {"logs": ["a" * 30], "metrics": {"metrics_collected": {"procstat": {"b": "c" * 30}}}},
            [{"logs": ["a" * 30]}, {"metrics": {"metrics_collected": {"procstat": {"b": "c" * 30}}}}],
        ),
        ({"agent": {"a": "b" * 30}, "csm": {"c": "d" * 30}}, [{"agent": {"a": "b" * 30}}, {"csm": {"c": "d" * 30}}]),
    ],
)
def test_a_configuration_is_cut_between_the_things_to_collect(config, parts):
    assert split(config, max(map(size_of, parts))) == parts


E1, E2 = {"endpoint": "1" * 40}, {"endpoint": "2" * 40}


@pytest.mark.parametrize(
    ("config", "parts"),
    [
        (metrics(jmx=[E1, E2]), [metrics(jmx=[E1]), metrics(jmx=[E2])]),
        (metrics(otlp=[E1, E2]), [metrics(otlp=[E1]), metrics(otlp=[E2])]),
        (
            {"opentelemetry": {"a": 1, "collect": {"otlp": E1, "files": E2}}},
            [{"opentelemetry": {"a": 1, "collect": {"otlp": E1}}}, {"opentelemetry": {"collect": {"files": E2}}}],
        ),
    ],
)
def test_parts_that_only_recent_agents_merge_are_cut_only_if_allowed(config, parts):
    limit = size_of(config) - 1
    assert split(config, limit, allow_recent=True) == parts
    with pytest.raises(InvalidInput, match=rf"{limit} bytes when minified: the agent can merge each only as a whole"):
        split(config, limit)


def test_a_list_with_duplicates_that_only_a_merge_would_remove_is_not_cut():
    with pytest.raises(InvalidInput, match=r"\$\.metrics\.metrics_collected\.jmx needs 211 bytes"):
        split(metrics(jmx=[E1, E2, E1]), 160, allow_recent=True)


@pytest.mark.parametrize(
    ("config", "limit", "message"),
    [
        (
            files("a", entry("b", 300), "c", entry("d", 400)),
            300,
            (
                r"300 bytes when minified: the agent can merge each only as a whole: "
                r"\S+collect_list\[1\] needs 384 bytes, "
                r"\$\.logs\.logs_collected\.files\.collect_list\[3\] needs 484 bytes\. Shorten it, or use a larger tier"
            ),
        ),
        (
            {**AGENT, **metrics(**{"cpu.x": "ü" * 64, "mem": "c" * 120})},
            180,
            r"\$\.metrics\.metrics_collected\.mem needs 187 bytes with \$\.agent, which must be in the same part\. Sho",
        ),
        ({"agent": {"a": "b" * 100}}, 100, r"\$\.agent needs 118 bytes\."),
        ({**AGENT, "opentelemetry": {"collect": {"a": "b" * 100}}}, 100, r"\$\.opentelemetry needs 1\d\d bytes\."),
        (
            {"metrics": {"namespace": "n" * 90, "metrics_collected": {"cpu": "c" * 30}}},
            120,
            r"\$\.metrics\.metrics_collected\.cpu needs 1\d\d bytes with \$\.metrics\.namespace, which must be",
        ),
    ],
)
def test_a_part_that_cannot_be_cut_is_reported_with_its_size(config, limit, message):
    with pytest.raises(InvalidInput, match=message):
        split(config, limit)


def test_parts_are_numbered_and_merged_in_the_order_of_their_paths():
    names = part_names("AmazonCloudWatch-linux", 11)
    assert names[0] == "AmazonCloudWatch-linux"
    assert names[1:3] == ["AmazonCloudWatch-linux-2", "AmazonCloudWatch-linux-3"]
    assert [name.removeprefix("AmazonCloudWatch-linux") for name in merge_order(names)] == [
        *("", "-10", "-11", "-2", "-3", "-4", "-5", "-6", "-7", "-8", "-9")
    ]
    assert part_names("X", 1) == ["X"]


def test_many_parts_keep_their_order_as_far_as_the_agent_does():
    entries = [entry(str(number), 100) for number in range(30)]
    parts = split(files(*entries), 500)
    assert 9 < len(parts) < 30
    assert merge(parts) == files(*entries)
    names = part_names("X", len(parts))
    merged = merge(dict(zip(names, parts, strict=True))[name] for name in merge_order(names))
    assert merged != files(*entries)
    assert ignoring_order(merged) == ignoring_order(files(*entries))


def test_a_configuration_of_exactly_the_limit_keeps_its_order():
    config = {**files("a" * 50), **AGENT}
    [part] = split(config, size_of(config))
    assert minify(part) == minify(config)


@pytest.mark.parametrize(
    ("name", "stored", "parts", "others"),
    [
        ("x", ["x"], ["x"], []),
        ("x", ["x", "x-2", "x-3"], ["x", "x-2", "x-3"], ["x-2", "x-3"]),
        ("x-2", ["x", "x-2", "x-3"], ["x-2"], ["x", "x-3"]),
        ("x-3", ["x", "x-3"], ["x-3"], []),
        ("x-2", ["x-2"], ["x-2"], []),
        ("x-2", ["x-2", "x-2-2"], ["x-2", "x-2-2"], ["x-2-2"]),
        ("x-02", ["x", "x-2", "x-02"], ["x-02"], []),
        ("x-y", ["x", "x-y"], ["x-y"], []),
        ("x", ["y"], [], []),
    ],
)
def test_the_names_tell_the_parts_of_a_configuration(
    name: str, stored: list[str], parts: list[str], others: list[str]
) -> None:
    assert parts_of(name, stored) == parts
    assert other_parts(name, stored) == others


@given(st.lists(st.text(), min_size=1, max_size=200), st.integers(1, 10**6))
def test_a_record_has_all_parts_or_is_left_out_where_it_is_too_long(values: list[str], number: int) -> None:
    record = to_record(values, number)
    assert len(record) <= MAX_DESCRIPTION
    assert recorded_parts(record, number) == (tuple(map(digest, values)) if record else ())
    assert bool(record) or len(values) > 70
    assert recorded_parts(record, number + 1) == ()


@pytest.mark.parametrize("description", ["", "ours", f"{to_record(['{}'], 3)} x", f"x {to_record(['{}'], 3)}"])
def test_a_description_of_others_is_no_record(description: str) -> None:
    assert recorded_parts(description, 3) == ()


@given(json_values(), st.sampled_from([None, 2]))
def test_the_same_content_has_the_same_digest(value: object, indent: int | None) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=indent is None)
    assert digest(text) == digest(json.dumps(value, sort_keys=True))
    assert digest(f"{text}x") != digest(text)


@pytest.mark.parametrize("text", ["receivers: {}", "{", '{"a":' * 99999 + "1" + "}" * 99999])
def test_a_text_that_is_not_json_stands_for_itself(text: str) -> None:
    assert to_canonical(text) == text


def test_true_is_not_one() -> None:
    assert digest('{"a":true}') != digest('{"a":1}')
