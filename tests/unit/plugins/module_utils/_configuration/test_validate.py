from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from json_values import json_values

from ansible_collections.cwagent.iam.plugins.module_utils._configuration.document import MAX_PROBLEMS
from ansible_collections.cwagent.iam.plugins.module_utils._configuration.problems import select, to_lines
from ansible_collections.cwagent.iam.plugins.module_utils._configuration.schema import add_schema_problems
from ansible_collections.cwagent.iam.plugins.module_utils._configuration.validate import METRICS, PLACEHOLDERS, SECTIONS
from ansible_collections.cwagent.iam.plugins.module_utils._configuration.validate import validate as validate_all
from ansible_collections.cwagent.iam.plugins.module_utils._ground.findings import ERROR, NOTICE, WARNING

FILE = {"file_path": "/var/log/app.log", "log_group_name": "app", "retention_in_days": 7}
EVENTS = {"event_name": "System", "event_levels": ["ERROR"], "log_group_name": "system"}
JOURNAL = {"log_group_name": "journal"}
VALID = {
    "agent": {
        "metrics_collection_interval": 60,
        "region": "eu-central-1",
        "debug": False,
        "credentials": {"role_arn": "arn:aws:iam::123456789012:role/agent"},
        "run_as_user": "cwagent",
        "service.name": "shop",
        "usage_metadata": [{"anything": 1}],
        "metric_batch_size": 1000,
        "flush_interval": "1s",
    },
    "metrics": {
        "namespace": "CWAgent",
        "append_dimensions": {"InstanceId": "${aws:InstanceId}"},
        "aggregation_dimensions": [["InstanceId"], []],
        "metrics_collected": {
            "cpu": {"measurement": ["usage_idle", {"name": "usage_user"}], "totalcpu": True, "resources": ["*"]},
            "procstat": [{"exe": "agent", "measurement": ["cpu_usage"]}],
            "statsd": {"metrics_aggregation_interval": 0, "service_address": ":8125"},
            "jmx": [{"endpoint": "localhost:1099"}],
            "otlp": {"grpc_endpoint": "localhost:4317"},
            "Memory": {"measurement": ["% Committed Bytes In Use"], "append_dimensions": {"a": "b"}},
            "prometheus": {"prometheus_config_path": "/etc/prometheus.yaml"},
        },
        "metrics_destinations": {"cloudwatch": {}, "amp": {"workspace_id": "ws-1"}},
        "force_flush_interval": 60.0,
    },
    "logs": {
        "log_stream_name": "{instance_id}",
        "concurrency": 1,
        "logs_collected": {
            "files": {"collect_list": [FILE, {**FILE, "file_path": "/b"}, {"file_path": "/c"}]},
            "windows_events": {"collect_list": [EVENTS, {"event_name": "A", "event_ids": [0, 65535]}]},
            "journald": {"collect_list": [{**JOURNAL, "units": ["sshd"], "matches": [{"_UID": "0"}]}]},
            "application_signals": {"anything": 1},
        },
        "metrics_collected": {"kubernetes": {"anything": 1}},
    },
    "traces": {"traces_collected": {"xray": {}}, "concurrency": 8, "buffer_size_mb": 3, "local_mode": True},
    "opentelemetry": {
        "cluster_name": "c",
        "resource_attributes": {"team": "a"},
        "collect": {
            "prometheus": {"config_path": "/etc/prometheus.yaml"},
            "host_metrics": {},
            "otlp": {"anything": 1},
            "files": {"collect_list": [{"file_path": "/a"}]},
            "windows_events": {"collect_list": [{"event_name": "System"}]},
        },
    },
}


def validate(content, **options):
    """The document without the notices of permissions, which test_permissions.py tests."""
    document = validate_all(content, **options)
    return replace(document, problems=[each for each in document.problems if each.severity != NOTICE])


def _with(path, value):
    """The valid configuration with another value in one place."""
    config = json.loads(json.dumps(VALID))
    place = config
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return config


def _without(path):
    config = _with(path, None)
    place = config
    for step in path[:-1]:
        place = place[step]
    del place[path[-1]]
    return config


def _found(config, **options):
    problems = validate(config, source="config", **options).problems
    return [(each.severity, each.rule.name, each.path, each.message) for each in problems]


FILES = ("logs", "logs_collected", "files", "collect_list")
WINDOWS = ("logs", "logs_collected", "windows_events", "collect_list")
CPU = ("metrics", "metrics_collected", "cpu")
PROCESS = ("metrics", "metrics_collected", "procstat", 0)


def test_a_valid_configuration_has_no_problems():
    assert _found(VALID) == []
    assert validate(json.dumps(VALID), source="a.json").value == VALID


@pytest.mark.parametrize("section", SECTIONS)
def test_a_section_alone_has_no_problems_unless_it_is_the_agent(section):
    problems = _found({section: VALID[section]})
    message = "with the section 'agent' alone, the agent collects nothing"
    assert problems == ([(WARNING, "section", (), message)] if section == "agent" else [])


@pytest.mark.parametrize(
    ("config", "path", "message", "near"),
    [
        ({}, (), "the configuration is empty", ""),
        ({"metric": {}}, ("metric",), "unknown section", "metrics"),
        ({"Logs": {}}, ("Logs",), "unknown section", "logs"),
        ({"csm": {}}, ("csm",), "unknown section", ""),
        ({"logs": None}, ("logs",), "the section is null", ""),
        ({"traces": []}, ("traces",), "the section is a list without entries", ""),
    ],
)
def test_a_wrong_section_is_refused_always(config, path, message, near):
    problems = validate(config, source="config").problems
    assert [(each.severity, each.path, each.message, each.near) for each in problems] == [(ERROR, path, message, near)]
    assert select(problems, "off") == (problems, [])
    assert problems[0].allowed == ("an object" if path and path[0] in SECTIONS else ", ".join(SECTIONS))


@pytest.mark.parametrize(
    ("path", "near"),
    [
        (("agent", "reigon"), "region"),
        (("agent", "metrics_colection_interval"), "metrics_collection_interval"),
        (("agent", "omit-hostname"), "omit_hostname"),
        (("metrics", "name_space"), "namespace"),
        (("logs", "log_stream_names"), "log_stream_name"),
        (("logs", "logs_collected", "file"), "files"),
        ((*FILES, 0, "retention_in_day"), "retention_in_days"),
        ((*WINDOWS, 0, "event_level"), "event_levels"),
        (("traces", "trace_collected"), "traces_collected"),
        (("opentelemetry", "colect"), "collect"),
    ],
)
def test_a_misspelt_key_is_an_error_and_an_unknown_one_a_warning(path, near):
    problems = validate(_with(path, 1), source="config").problems
    assert [(each.severity, each.rule.name, each.path, each.near) for each in problems] == [
        (ERROR, "unknown-key", path, near)
    ]
    assert problems[0].message == "unknown key"
    assert near in problems[0].allowed.split(", ")
    unknown = (*path[:-1], "zzz")
    assert _found(_with(unknown, 1)) == [(WARNING, "unknown-key", unknown, "unknown key")]


@pytest.mark.parametrize(
    "path",
    [
        (*CPU, "anything"),
        (*PROCESS, "anything"),
        ("metrics", "metrics_collected", "anything"),
        ("logs", "metrics_collected", "anything"),
        ("traces", "traces_collected", "otlp"),
        ("metrics", "metrics_destinations", "cloudwatch", "anything"),
    ],
)
def test_other_keys_are_not_looked_at(path):
    assert _found(_with(path, {})) == []


INTERVAL = "an integer from 1 to 172800"
TEXT, FULL_TEXT, BOOLEAN, LIST, OBJECT = "a text", "a text that is not empty", "true or false", "a list", "an object"
FULL_LIST, FULL_OBJECT = "a list with at least one entry", "an object that is not empty"
LEVELS = "CRITICAL, ERROR, WARNING, INFORMATION, VERBOSE"


@pytest.mark.parametrize(
    ("path", "values", "allowed"),
    [
        (("agent", "metrics_collection_interval"), ["60", 0, 172801, 1.5, True, None, []], INTERVAL),
        (("agent", "logfile"), [1, ["x"]], TEXT),
        (("agent", "region"), ["", 1], FULL_TEXT),
        (("agent", "debug"), ["false", 0, None], BOOLEAN),
        (("agent", "credentials"), ["x", []], OBJECT),
        (("agent", "credentials", "role_arn"), [1, ""], FULL_TEXT),
        (("agent", "metric_batch_size"), [0, "1"], "an integer of at least 1"),
        (("agent", "usage_metadata"), [{}], LIST),
        (("agent", "flush_jitter"), [0], TEXT),
        (("metrics", "namespace"), ["", 1], FULL_TEXT),
        (("metrics", "append_dimensions"), [[], "x"], OBJECT),
        (("metrics", "append_dimensions", "a"), [1, None], TEXT),
        (("metrics", "aggregation_dimensions"), [[], {}], FULL_LIST),
        (("metrics", "aggregation_dimensions", 0), ["InstanceId", {}], LIST),
        (("metrics", "aggregation_dimensions", 0, 0), [1], TEXT),
        (("metrics", "metrics_collected"), [{}, []], FULL_OBJECT),
        (CPU, [[], "x", True], OBJECT),
        ((*CPU, "measurement"), ["usage_idle", {}], LIST),
        ((*CPU, "measurement", 0), [1, None], "a text or an object"),
        ((*CPU, "resources"), ["*"], LIST),
        ((*CPU, "metrics_collection_interval"), ["60", -1], INTERVAL),
        ((*CPU, "totalcpu"), ["true"], BOOLEAN),
        ((*CPU, "append_dimensions"), ["x"], OBJECT),
        ((*CPU, "metrics_aggregation_interval"), [-1], "an integer from 0 to 172800"),
        (PROCESS[:-1], [{}, []], FULL_LIST),
        ((*PROCESS, "measurement", 0), [{"name": "cpu_usage"}], TEXT),
        (("metrics", "metrics_collected", "jmx"), ["x"], "an object or a list"),
        (("metrics", "metrics_collected", "jmx", 0), ["x"], OBJECT),
        (("metrics", "metrics_destinations", "amp", "workspace_id"), [""], FULL_TEXT),
        (("logs", "concurrency"), [0], "an integer of at least 1"),
        (("logs", "force_flush_interval"), ["5"], INTERVAL),
        (("logs", "logs_collected"), [{}], FULL_OBJECT),
        (("logs", "metrics_collected"), [[]], OBJECT),
        (FILES[:-1], [[]], OBJECT),
        (FILES, [{}, []], FULL_LIST),
        ((*FILES, 0), ["/var/log/messages"], OBJECT),
        ((*FILES, 0, "file_path"), ["", ["x"]], FULL_TEXT),
        ((*FILES, 2, "publish_multi_logs"), ["true"], BOOLEAN),
        ((*FILES, 2, "filters"), [{}], LIST),
        ((*FILES, 2, "filters"), [], LIST),
        ((*WINDOWS, 0, "event_levels"), ["ERROR", []], FULL_LIST),
        ((*WINDOWS, 0, "event_levels", 0), ["FATAL", 1, True], LEVELS),
        ((*WINDOWS, 1, "event_ids"), ["4625", []], FULL_LIST),
        ((*WINDOWS, 1, "event_ids", 0), ["4625", -1, 65536], "an integer from 0 to 65535"),
        ((*WINDOWS, 0, "event_format"), ["json", 1], "text, xml"),
        (("traces", "buffer_size_mb"), [2, "3"], "an integer of at least 3"),
        (("traces", "insecure"), ["false"], BOOLEAN),
        (("opentelemetry", "resource_attributes", "team"), [123], TEXT),
        (("opentelemetry", "collect", "host_metrics", "collection_interval"), ["60"], INTERVAL),
    ],
)
def test_the_problem_of_a_wrong_value_lists_the_allowed_values(path, values, allowed):
    for value in values:
        problems = validate(_with(path, value), source="config").problems
        assert [(each.severity, each.rule.name, each.path, each.allowed) for each in problems] == [
            (ERROR, "wrong-value", path, allowed)
        ]


def test_a_wrong_value_is_quoted_with_the_nearest_one():
    problems = validate(_with((*WINDOWS, 0, "event_levels"), ["error", "xyz"]), source="config").problems
    assert [(each.message, each.near) for each in problems] == [
        ("'error' is not valid", "ERROR"),
        ("'xyz' is not valid", ""),
    ]


# https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html
DAYS = {1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653}


def test_only_a_retention_that_cloudwatch_has_is_valid():
    path = (*FILES, 2, "retention_in_days")
    for value in [*sorted({day + 1 for day in DAYS} - DAYS), 0, -2, "7", 7.5, True, None]:
        assert [each[1:3] for each in _found(_with(path, value))] == [("wrong-value", path)], value
    for value in (-1, *DAYS, 7.0):
        assert _found(_with(path, value)) == [], value


AMP = ("metrics", "metrics_destinations", "amp")


@pytest.mark.parametrize(
    ("path", "missing"),
    [
        *((path, path) for path in (("metrics", "metrics_collected"), ("traces", "traces_collected"), FILES)),
        *((path, path) for path in ((*FILES, 0, "file_path"), (*WINDOWS, 0, "event_name"), (*PROCESS, "measurement"))),
        *((path, path) for path in (("opentelemetry", "collect", "prometheus", "config_path"), AMP)),
        *((path, path) for path in ((*AMP, "workspace_id"),)),
        (AMP[:-1], AMP),
        ((*WINDOWS, 0, "event_levels"), None),
        ((*PROCESS, "exe"), None),
    ],
)
def test_a_missing_key_is_an_error(path, missing):
    """Of several keys of which an object needs one, none is named."""
    message = "the key is missing" if missing else "one of these keys is missing"
    assert _found(_without(path)) == [(ERROR, "missing-key", missing or path[:-1], message)]


def test_one_of_several_keys_is_enough():
    assert _found(_without(("logs", "metrics_collected"))) == []
    assert _found(_without(("logs", "logs_collected"))) == []
    problem = validate({"logs": {}}, source="config").problems[0]
    assert (problem.path, problem.allowed) == (("logs",), "logs_collected, metrics_collected")
    by_filter = {"event_name": "System", "filters": [{"type": "include", "expression": "a"}]}
    assert _found(_with((*WINDOWS, 0), by_filter)) == []


def test_a_misspelt_key_is_not_missing_too():
    config = {"metrics": {"metric_collected": {"mem": {}}, "zzz": 1}}
    assert [each[1:3] for each in _found(config)] == [
        ("unknown-key", ("metrics", "metric_collected")),
        ("unknown-key", ("metrics", "zzz")),
    ]


def test_an_entry_that_is_in_the_list_already_is_an_error():
    again = {key: FILE[key] for key in reversed(list(FILE))}
    assert _found(_with(FILES, [FILE, {"file_path": "/b"}, again, FILE])) == [
        (ERROR, "duplicate-entry", (*FILES, index), "the same as entry 0 of the list") for index in (2, 3)
    ]
    assert _found(_with((*CPU, "resources"), ["*", "*"])) == []
    assert _found(_with((*WINDOWS, 1, "event_ids"), [1, 1])) == []


DAYS_7 = {"retention_in_days": 7}
CLASSES = {"log_group_class": "STANDARD"}, {"log_group_class": "INFREQUENT_ACCESS"}


@pytest.mark.parametrize(
    ("first", "second", "values"),
    [
        (DAYS_7, {"retention_in_days": 14}, ("14", "7")),
        ({"retention_in_days": 14}, DAYS_7, ("7", "14")),
        (*CLASSES, ("'INFREQUENT_ACCESS'", "'STANDARD'")),
        *((DAYS_7, second, None) for second in (DAYS_7, {"retention_in_days": -1}, {}, CLASSES[0])),
        (DAYS_7, {"retention_in_days": 14, "log_group_name": "h"}, None),
    ],
)
@pytest.mark.parametrize("name", ["g", "G"])
def test_a_log_group_has_one_retention_and_one_class(first, second, values, name):
    key = next(iter(first))
    message = f"{values[0]} for a log group that has {values[1]} in files[0]" if values else ""
    first = {"file_path": "/a", "log_group_name": "g", **first}
    entries = [first, {"file_path": "/b", "log_group_name": name, **second}]
    expected = [(ERROR, "log-group", (*FILES, 1, key), message)] if message else []
    assert _found(_with(FILES, entries)) == expected
    # In another list, the log group is the same.
    events = {"event_name": "A", "event_ids": [1], "log_group_name": name, **second}
    config = _with(FILES, [first])
    config["logs"]["logs_collected"]["windows_events"]["collect_list"] = [events]
    expected = [(ERROR, "log-group", (*WINDOWS, 0, key), message)] if message else []
    assert _found(config) == expected


@pytest.mark.parametrize("entry", ["x", {"log_group_name": 1, "retention_in_days": 7}, {"retention_in_days": 14}])
def test_an_entry_without_a_log_group_has_no_other_retention(entry):
    assert "log-group" not in [each[1] for each in _found(_with((*FILES, 1), entry))]


def test_long_values_of_a_log_group_are_quoted_in_part():
    entries = [{"file_path": letter, "log_group_name": "g", "log_group_class": letter * 99} for letter in "ab"]
    assert [each[3] for each in _found(_with(FILES, entries))] == [
        f"'{'b' * 39}…' for a log group that has '{'a' * 39}…' in files[0]"
    ]


def test_an_entry_without_a_log_group_does_not_hide_entries_with_one():
    none = {"file_path": "/a"}
    kept = {"file_path": "/b", "log_group_name": "g", "retention_in_days": -1, "log_group_class": "STANDARD"}
    other = {**kept, "file_path": "/c", "log_group_class": "DELIVERY"}
    assert [each[2] for each in _found(_with(FILES, [none, kept, other]))] == [(*FILES, 2, "log_group_class")]


def test_each_log_group_is_compared_with_its_first_entry():
    entries = [{"file_path": str(index), "log_group_name": "g", "retention_in_days": 7} for index in range(4)]
    entries[1]["retention_in_days"] = entries[3]["retention_in_days"] = 14
    assert [each[2][-2] for each in _found(_with(FILES, entries))] == [1, 3]


NAME_FIELDS = [
    ("logs", "log_stream_name"),
    (*FILES, 0, "log_group_name"),
    (*FILES, 0, "log_stream_name"),
    (*WINDOWS, 0, "log_group_name"),
    (*WINDOWS, 0, "log_stream_name"),
]


@pytest.mark.parametrize(
    ("name", "braces", "near"),
    [
        *(
            (name, name, "{instance_id}")
            for name in ("{instance-id}", "{instanceid}", "${aws:InstanceId}", "${instance_id}")
        ),
        ("a/{InstanceId}", "{InstanceId}", "{instance_id}"),
        *((name, name, "{hostname}") for name in ("{ hostname }", "{hostname")),
        ("a hostname}", "hostname}", "{hostname}"),
        ("{local_hostnam}", "{local_hostnam}", "{local_hostname}"),
        ("{ipaddress}", "{ipaddress}", "{ip_address}"),
        ("{region}", "{region}", "{aws_region}"),
        ("{Date}", "{Date}", "{date}"),
        ("{account}", "{account}", "{account_id}"),
        *((name, name, "") for name in ("{environment}", "{}", "}", "${cluster}")),
        ("a{", "{", ""),
    ],
)
def test_a_brace_that_is_no_placeholder(name, braces, near):
    for path in NAME_FIELDS:
        problems = validate(_with(path, name), source="config").problems
        assert [(each.rule.name, each.path, each.message, each.near) for each in problems] == [
            ("placeholder", path, f"'{braces}' is not a placeholder of the agent", near)
        ]
        assert problems[0].severity == (ERROR if near else WARNING)
        assert problems[0].allowed == ", ".join(PLACEHOLDERS)


@pytest.mark.parametrize("path", NAME_FIELDS)
def test_placeholders_and_variables_of_the_environment_are_valid(path):
    for name in ("app", "{hostname}-{date}", "".join(PLACEHOLDERS), "${ENV_NAME}", "${ENV2}/x"):
        assert _found(_with(path, name)) == []


@pytest.mark.parametrize(
    "path",
    [
        (*FILES, 0, "file_path"),
        (*FILES, 0, "multi_line_start_pattern"),
        ("logs", "logs_collected", "journald", "collect_list", 0, "log_group_name"),
        ("logs", "logs_collected", "application_signals", "log_group_name"),
        ("metrics", "append_dimensions", "InstanceId"),
        ("opentelemetry", "collect", "files", "collect_list", 0, "log_group_name"),
    ],
)
def test_braces_elsewhere_are_not_looked_at(path):
    assert _found(_with(path, "{instanceid}")) == []


def test_a_valid_placeholder_does_not_hide_another_brace():
    config = _with(("logs", "log_stream_name"), "{date}-{x}")
    config["logs"]["logs_collected"]["journald"]["collect_list"][0]["log_group_name"] = "{y}"
    config["logs"]["logs_collected"]["files"]["collect_list"][0]["log_stream_name"] = "{{"
    config["logs"]["logs_collected"]["windows_events"]["collect_list"][0]["log_stream_name"] = "{z}"
    names = [each[3][1:4] for each in _found(config) if each[1] == "placeholder"]
    assert names == ["{x}", "{z}"]


def test_the_same_brace_twice_is_one_problem_and_two_are_two():
    assert [each[3][:5] for each in _found(_with(("logs", "log_stream_name"), "{a}{b}{a}"))] == ["'{a}'", "'{b}'"]


def test_a_reference_is_refused_always_and_is_no_placeholder_too():
    problems = validate(_with(("logs", "log_stream_name"), "{{instance-id}}"), source="config").problems
    assert [(each.severity, each.rule.name) for each in problems] == [(ERROR, "reference")]


PROMETHEUS = {
    "emf_processor": {"metric_declaration": [{"label_matcher": "a", "metric_selectors": ["a"]}]},
    "ecs_service_discovery": {
        "task_definition_list": [{"sd_task_definition_arn_pattern": "a", "sd_container_name_pattern": "a"}],
        "service_name_list_for_tasks": [{"sd_service_name_pattern": "a", "sd_container_name_pattern": "a"}],
    },
}
FILTERED = {"filters": [{"type": "include", "expression": "a"}]}


@pytest.mark.parametrize(
    ("config", "path"),
    [
        ({**FILE, "multi_line_start_pattern": "a"}, (*FILES, 0, "multi_line_start_pattern")),
        ({**FILE, "blacklist": "a"}, (*FILES, 0, "blacklist")),
        ({**FILE, **FILTERED}, (*FILES, 0, "filters", 0, "expression")),
        ({**EVENTS, **FILTERED}, (*WINDOWS, 0, "filters", 0, "expression")),
        (
            {**JOURNAL, **FILTERED},
            ("logs", "logs_collected", "journald", "collect_list", 0, "filters", 0, "expression"),
        ),
        (
            {"file_path": "/a"},
            ("opentelemetry", "collect", "files", "collect_list", 0, "multi_line_start_pattern"),
        ),
        *[
            (PROMETHEUS, ("logs", "metrics_collected", "prometheus", *path))
            for path in [
                ("emf_processor", "metric_declaration", 0, "label_matcher"),
                ("emf_processor", "metric_declaration", 0, "metric_selectors", 0),
                ("ecs_service_discovery", "task_definition_list", 0, "sd_task_definition_arn_pattern"),
                ("ecs_service_discovery", "task_definition_list", 0, "sd_container_name_pattern"),
                ("ecs_service_discovery", "service_name_list_for_tasks", 0, "sd_service_name_pattern"),
            ]
        ],
    ],
)
def test_a_regular_expression_that_go_refuses_is_an_error(config, path):
    base = VALID
    if config is PROMETHEUS:
        base = _with(path[:3], PROMETHEUS)
    elif "collect_list" in path:
        base = _with(path[:5], config)
    for pattern, problems in [
        ("^(?!a)", [(ERROR, "pattern", path, "the regular expression '^(?!a)' is not valid: Go has no lookahead")]),
        ("^[a-z]+$", []),
        ("{timestamp_format}", []),
    ]:
        changed = json.loads(json.dumps(base))
        place = changed
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = pattern
        assert [(*each[:3], each[3].split(",")[0]) for each in _found(changed)] == problems


FILES_OF_ROOT = [
    *(f"/var/log/{name}" for name in ("messages", "secure", "syslog", "auth.log", "kern.log", "cron", "maillog")),
    *("/var/log/boot.log", "/var/log/btmp", "/var/log/spooler", "/var/log/messages-*", "/var/log/audit/audit.log"),
    "/root/app.log",
]
FILES_OF_ALL = ["/var/log/app.log", "/var/log/messages2", "/opt/root/a", "/opt/var/log/messages"]


@pytest.mark.parametrize("file", [*FILES_OF_ROOT, *FILES_OF_ALL])
def test_files_of_root_are_a_warning_where_the_agent_is_another_user(file):
    path = (*FILES, 0, "file_path")
    message = f"on most systems, the user 'cwagent' of run_as_user may not read '{file}'"
    assert _found(_with(path, file)) == [(WARNING, "run-as-user", path, message)] * (file in FILES_OF_ROOT)
    config = _with(path, file)
    config["agent"]["run_as_user"] = "root"
    assert _found(config) == []
    del config["agent"]["run_as_user"]
    assert _found(config) == []


APPEND_DIMENSIONS = (
    WARNING,
    "on-premises",
    ("metrics", "append_dimensions"),
    "servers that are not on EC2 send no metrics at all with these dimensions, which come from EC2",
)
NO_REGION = (
    WARNING,
    "on-premises",
    ("agent", "region"),
    "servers that are not on EC2 need a region, here or in the profile that the agent uses",
)


@pytest.mark.parametrize(
    ("config", "problems"),
    [
        (VALID, [APPEND_DIMENSIONS]),
        (_without(("metrics", "append_dimensions")), []),
        (_without(("agent", "region")), [APPEND_DIMENSIONS, NO_REGION]),
        ({"logs": VALID["logs"]}, [NO_REGION]),
    ],
)
def test_servers_that_are_not_on_ec2_have_their_own_rules(config, problems):
    assert _found(config, has_onprem=True) == problems
    assert _found(config) == []


def test_problems_are_in_the_order_of_the_text_with_their_places():
    text = '{\n "logs": {"log_stream_name": "{x}",},\n "agent": {"reigon": 1},\n "metric": {}\n}'
    problems = validate(text, source="a.json").problems
    assert [(each.source, each.line, each.column, each.rule.name) for each in problems] == [
        ("a.json", 2, 2, "missing-key"),
        ("a.json", 2, 11, "placeholder"),
        ("a.json", 2, 35, "json"),
        ("a.json", 3, 12, "unknown-key"),
        ("a.json", 4, 2, "section"),
    ]
    assert to_lines(problems)[0] == "a.json: 5 problems"


def test_one_place_has_one_problem_where_it_is_not_json():
    text = '{"agent": {"debug": True, "region": "a"}, "logs": {"metrics_collected": {}}}'
    assert [each[1:3] for each in _found(text)] == [("json", ("agent", "debug"))]


@pytest.mark.parametrize("content", ["[]", "{", None])
def test_content_without_sections_is_not_inspected(content):
    document = validate(content, source="config")
    assert document.value is None
    assert len(document.problems) == 1


def test_a_missing_key_has_the_place_of_its_container():
    text = '{"logs": {"logs_collected":\n{"files": {"collect_list": [{}]}}}}'
    assert [(each.line, each.column) for each in validate(text, source="a.json").problems] == [(2, 29)]


def test_a_configuration_has_a_limited_number_of_problems():
    config = {"agent": {f"zzz{index}": 1 for index in range(MAX_PROBLEMS)}, "logs": {"metrics_collected": {}}}
    problems = validate(config, source="config").problems
    assert {each.severity for each in problems} == {WARNING}
    assert len(problems) == MAX_PROBLEMS
    # One that is not shown could be an error.
    config["metric"] = {}
    more = validate(config, source="config").problems
    assert more[:-1] == problems
    assert (more[-1].severity, more[-1].source) == (ERROR, "config")
    assert more[-1].message == f"there are more than {MAX_PROBLEMS} problems; this shows some of them"


def _paths(value, path=()):
    yield path
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in children:
        yield from _paths(each, (*path, key))


CHANGES = st.tuples(st.sampled_from([each for each in _paths(VALID) if each]), json_values())


@given(st.lists(CHANGES, min_size=1, max_size=3))
@example([(("agent",), {"{{": None})])
def test_any_value_in_any_place_gives_short_problems_and_no_error(changes):
    config = {}
    for path, value in changes:
        config = _with(path, value)
    validate_linux = partial(validate, source="a.json", has_onprem=True, name="AmazonCloudWatch-linux")
    document = validate_linux(json.dumps(config))
    assert document.value == config
    for problem in document.problems:
        assert problem.line is not None
        assert len(problem.message) <= 200
        assert str(problem).isprintable()
    unlocated = validate_linux(config).problems
    assert {(each.rule.name, each.path) for each in unlocated} == {
        (each.rule.name, each.path) for each in document.problems
    }


ONLY_LINUX = [
    *(
        ("metrics", "metrics_collected", plugin)
        for plugin in (
            *("collectd", "cpu", "disk", "diskio", "efa", "ethtool"),
            *("mem", "net", "netstat", "processes", "swap"),
        )
    ),
    ("logs", "logs_collected", "journald"),
]
# The object names of performance counters, as Windows and its applications register them.
COUNTERS = [
    *("LogicalDisk", "PhysicalDisk", "Memory", "Processor", "Processor Information", "Paging File", "System"),
    *("TCPv4", "TCPv6", "UDPv4", "Network Interface", "Web Service", ".NET CLR Memory", "ASP.NET", "SQLServer:Locks"),
]
ONLY_WINDOWS = [
    *(("metrics", "metrics_collected", counter) for counter in COUNTERS),
    ("logs", "logs_collected", "windows_events"),
    ("opentelemetry", "collect", "windows_events"),
]
ON_BOTH = [
    *(
        ("metrics", "metrics_collected", plugin)
        for plugin in ("statsd", "procstat", "nvidia_gpu", "nvidia_smi", "jmx", "otlp", "prometheus")
    ),
    *(("logs", "logs_collected", each) for each in ("files", "application_signals")),
    *(("logs", "metrics_collected", each) for each in ("emf", "kubernetes", "ecs", "prometheus", "otlp")),
    *(("opentelemetry", "collect", each) for each in ("host_metrics", "files", "otlp", "prometheus")),
    ("traces", "traces_collected", "xray"),
]
NAMES_FOR = {"Linux": ["AmazonCloudWatch-linux", "AmazonCloudWatch-web-LINUX"], "Windows": ["AmazonCloudWatch-windows"]}
NAMES_FOR_ANY = ["", "AmazonCloudWatch-web", "AmazonCloudWatch-linux-web", "AmazonCloudWatch-mylinux", "windows"]


def _nested(path, value):
    """A configuration with one section."""
    for step in reversed(path):
        value = {step: value}
    return value


def _platform_problems(config, name):
    return [each for each in validate(config, source="config", name=name).problems if each.rule.name == "platform"]


@pytest.mark.parametrize(
    ("path", "platform", "other"),
    [
        *((path, "Linux", "Windows") for path in ONLY_LINUX),
        *((path, "Windows", "Linux") for path in ONLY_WINDOWS),
        *((path, "", "") for path in ON_BOTH),
    ],
)
def test_a_section_that_the_named_platform_lacks_is_warned_about(path, platform, other):
    for named, names in NAMES_FOR.items():
        for name in names:
            ending = name[name.rindex("-") :]
            message = (
                f"only {platform} servers collect this, but the parameter's name ends in {ending}; store it under "
                "another name"
            )
            problems = _platform_problems(_nested(path, {}), name)
            found = [(each.severity, each.path, each.message) for each in problems]
            assert found == ([(WARNING, path, message)] if named == other else [])
    for name in NAMES_FOR_ANY:
        assert _platform_problems(_nested(path, {}), name) == []


@pytest.mark.parametrize("value", [None, [], ["Memory"], [{"Memory": {}}], "Memory", 1])
@pytest.mark.parametrize("path", [("metrics",), ("metrics", "metrics_collected"), ("logs", "logs_collected")])
def test_a_section_of_another_type_belongs_to_no_platform(path, value):
    assert _platform_problems(_nested(path, value), "AmazonCloudWatch-linux") == []


PLUGINS = SECTIONS["metrics"].keys["metrics_collected"].keys
KEYS = PLUGINS["cpu"].keys

# Names beside the agent's: performance counters of Windows, and metrics and plug-ins that a newer agent could have.
OBJECTS_OF_WINDOWS = [
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


@pytest.mark.parametrize("plugin", [*PLUGINS, *OBJECTS_OF_WINDOWS, *OTHERS])
def test_known_names_and_names_of_others_are_not_misspelled(plugin):
    assert _misspelled(_entry(plugin, **{key: [] for key in [*KEYS, *OTHERS]})) == []


@pytest.mark.parametrize("measurement", [None, "used", [1, None, [], {}, {"name": 1}]])
@pytest.mark.parametrize("plugin", METRICS)
def test_values_of_another_type_have_no_metrics(plugin, measurement):
    assert _misspelled(_entry(plugin, measurement=measurement)) == []
