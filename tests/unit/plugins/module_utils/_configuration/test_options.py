from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._configuration.document import MAX_SIZE
from ansible_collections.cwagent.iam.plugins.module_utils._configuration.options import (
    OFF,
    STRICT,
    WARN,
    GivenConfig,
    Validation,
    declared_config,
    desired_tags,
    read_file,
    refusal,
)
from ansible_collections.cwagent.iam.plugins.module_utils._configuration.options import validate_config as validation_of
from ansible_collections.cwagent.iam.plugins.module_utils._configuration.parameter_plan import (
    DesiredConfig,
    DesiredParameter,
)
from ansible_collections.cwagent.iam.plugins.module_utils._configuration.parts import minify
from ansible_collections.cwagent.iam.plugins.module_utils._configuration.problems import RULES
from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import InvalidInput

NAME = "AmazonCloudWatch-linux"
CONFIG = {"metrics": {"metrics_collected": {"mem": {"measurement": ["used"]}}}}
LOGS = {"logs": {"logs_collected": {"files": {"collect_list": [{"file_path": "/var/log/a.log"}]}}}}
PARAMS: dict[str, Any] = {
    "name": NAME,
    "config": CONFIG,
    "src": None,
    "config_validation": STRICT,
    "agent_schema": None,
    "has_onprem": False,
    "tags": None,
    "split_config": False,
    "split_recent": False,
    "parameter_tier": None,
    "state": "present",
}


def validate_config(params: dict[str, Any]) -> Validation:
    return validation_of(GivenConfig.of(params))


def desired_config(params: dict[str, Any]) -> tuple[DesiredConfig, list[str]]:
    desired, found = declared_config(GivenConfig.of(params), is_absent=params["state"] == "absent")
    return desired, [f"{each.source}: {each}" for each in found.warnings]


# Problems of each severity, and an error of a rule about which the agent can know better.
ERROR = {"metric": CONFIG["metrics"]}
LENIENT = {**CONFIG, "agent": {"regoin": "eu-central-1"}}
WARNING = {"agent": {"debug": True}}


def entries(*sizes: int, begin: int = 0) -> dict[str, Any]:
    """A configuration with entries of these sizes in bytes."""
    files = [{"file_path": f"/{i}".ljust(size, "x")} for i, size in enumerate(sizes, begin)]
    return {"logs": {"logs_collected": {"files": {"collect_list": files}}}}


def problems_of(**params: Any) -> list[tuple[str, str, str]]:
    """Where each problem is, and its rule."""
    found = validate_config({**PARAMS, **params}).to_result()["findings"]
    return [(each["file"], each["object"].partition(" ")[2], each["rule"]) for each in found]


def single(config: dict[str, Any] = CONFIG, tier: str | None = None) -> DesiredConfig:
    return DesiredConfig(NAME, config, (DesiredParameter(NAME, minify(config), tier),))


PARTS = [entries(6000), entries(6000, begin=1)]
DESIRED: dict[str, tuple[dict[str, Any], DesiredConfig]] = {
    "a mapping": ({}, single()),
    "a text": ({"config": json.dumps(CONFIG, indent=1)}, single()),
    "a list of one": ({"config": [CONFIG]}, single()),
    "a tier": ({"parameter_tier": "Advanced"}, single(tier="Advanced")),
    "a list of two": ({"config": [CONFIG, LOGS]}, single({**CONFIG, **LOGS})),
    "a list of three": ({"config": [json.dumps(CONFIG), LOGS, CONFIG]}, single({**CONFIG, **LOGS})),
    "split, not needed": (
        {"split_config": True},
        DesiredConfig(NAME, CONFIG, (DesiredParameter(NAME, minify(CONFIG)),), can_be_split=True),
    ),
    "split": (
        {"config": PARTS, "split_config": True, "parameter_tier": "Advanced"},
        DesiredConfig(
            NAME,
            entries(6000, 6000),
            tuple(
                DesiredParameter(name, minify(part), "Advanced")
                for name, part in zip((NAME, f"{NAME}-2"), PARTS, strict=True)
            ),
            can_be_split=True,
        ),
    ),
    "absent": ({"state": "absent", "config": None}, DesiredConfig(NAME)),
    "absent with all parts": (
        {"state": "absent", "config": None, "split_config": True},
        DesiredConfig(NAME, can_be_split=True),
    ),
}


@pytest.mark.parametrize("case", DESIRED)
def test_the_desired_configuration_follows_the_options(case):
    params, desired = DESIRED[case]
    assert desired_config({**PARAMS, **params}) == (desired, [])


def test_lists_that_only_recent_agents_merge_are_split_on_demand():
    receivers = [{"grpc_endpoint": f"{each}:1".ljust(5000, "1")} for each in range(2)]
    params = {"config": {"metrics": {"metrics_collected": {"otlp": receivers}}}, "split_config": True}
    assert problems_of(**params) == [("config", "$", "size")]
    desired, warnings = desired_config({**PARAMS, **params, "split_recent": True})
    assert (desired.names, warnings) == ([NAME, f"{NAME}-2"], [])


@pytest.mark.parametrize(
    ("ending", "words"),
    [
        (".yaml", "OpenTelemetry"),
        (".yml", "OpenTelemetry"),
        (".tmp", "deletes"),
        (".json", ""),
        (".yaml-2", ""),
        ("yaml", ""),
    ],
)
def test_a_name_with_which_the_agent_does_not_read_json_is_refused_and_can_be_deleted(ending, words):
    params = {**PARAMS, "name": f"{NAME}{ending}"}
    assert desired_config({**params, "state": "absent"})[0].name == params["name"]
    if words:
        with pytest.raises(InvalidInput, match=rf"ends in \{ending}: the agent .*{words}.*Choose another name"):
            desired_config(params)
    else:
        assert desired_config(params)[0].name == params["name"]


YAML = {"name": f"{NAME}.yaml", "config": "receivers:\n  otlp:\n"}


@pytest.mark.parametrize(
    "more", [{}, {"split_config": True}, {"config_validation": "off"}, {"agent_schema": "/no/such/schema"}]
)
def test_yaml_under_such_a_name_is_one_parameter_with_the_text(more):
    found = validate_config({**PARAMS, **YAML, **more})
    assert found.desired
    assert [(each.name, each.value) for each in found.desired.parameters] == [(YAML["name"], YAML["config"])]
    assert (found.errors, found.warnings) == ([], [])
    assert [each.rule.name for each in found.notices] == (
        [] if more.get("config_validation") == "off" else ["opentelemetry"]
    )


def test_yaml_that_cannot_be_stored_is_refused(tmp_path):
    for text, rule in (("a: 'b", "yaml"), (f"a: {'b' * 9000}", "size")):
        found = validate_config({**PARAMS, **YAML, "config": text})
        assert (found.desired, [each.rule.name for each in found.errors]) == (None, [rule])
    missing = str(tmp_path / "missing.yaml")
    assert [each.rule.name for each in validate_config({**PARAMS, **YAML, "src": [missing]}).errors] == ["file"]
    with pytest.raises(InvalidInput, match="is one file"):
        validate_config({**PARAMS, **YAML, "config": ["a: 1", "b: 1"]})


@pytest.mark.parametrize("state", ["present", "absent", "validated"])
def test_a_name_that_is_not_valid_is_an_error(state):
    with pytest.raises(InvalidInput, match="does not begin with AmazonCloudWatch-"):
        desired_config({**PARAMS, "name": "linux", "state": state})


ALL = (STRICT, WARN, OFF)


@pytest.mark.parametrize(
    ("config", "refused", "warned"),
    [(CONFIG, (), ()), (ERROR, ALL, ()), (LENIENT, (STRICT,), (WARN,)), (WARNING, (), (STRICT, WARN))],
    ids=["valid", "error", "lenient", "warning"],
)
@pytest.mark.parametrize("validation", ALL)
def test_the_option_validation_decides_which_problems_are_refused(config, refused, warned, validation):
    params = {**PARAMS, "config": config, "config_validation": validation}
    found = validate_config(params)
    assert (len(found.errors), len(found.warnings)) == (validation in refused, validation in warned)
    assert (found.desired is None) == bool(found.errors)
    if found.errors:
        with pytest.raises(InvalidInput) as caught:
            desired_config(params)
        assert str(caught.value) == refusal(found)
        assert caught.value.details == found.to_result()
    else:
        desired, shown = desired_config(params)
        assert desired == found.desired == single(config)
        assert shown == [f"config: {each}" for each in found.warnings]


def test_the_message_has_everything_that_is_wrong():
    found = validate_config({**PARAMS, "config": {"metric": {}, "log": {}, "agent": {"regoin": ""}}})
    lines = found.to_result()["problem_lines"]
    assert len(lines) == 4
    assert refusal(found) == "\n".join(["The configuration is not valid (3 problems), so it is not stored.", *lines])
    assert refusal(validate_config({**PARAMS, "config": ERROR})).startswith(
        "The configuration is not valid (1 problem), so"
    )


LONG_NAME = "AmazonCloudWatch-".ljust(954, "x")


@pytest.mark.parametrize(
    ("params", "size"),
    [
        ({"config": entries(8192)}, "is 8[0-9]* bytes when minified; Parameter Store takes 8192 in the Advanced tier"),
        ({"config": entries(4096), "parameter_tier": "Standard"}, "Parameter Store takes 4096 in the Standard tier"),
        ({"config": entries(8192), "split_config": True}, "cannot be split into parts of at most 8192 bytes"),
        ({"config": [entries(5000), entries(5000, begin=1)]}, "bytes when minified; Parameter Store takes 8192"),
        (
            {"config": entries(6000, 6000), "split_config": True, "name": LONG_NAME},
            "-2': AWS allows up to 954",
        ),
    ],
)
def test_a_size_over_the_limit_is_a_problem_whatever_is_validated(params, size):
    for validation in ALL:
        [problem] = validate_config({**PARAMS, **params, "config_validation": validation}).errors
        assert (problem.path, problem.rule.name) == ((), "size")
        assert problem.source == ("config" if isinstance(params["config"], dict) else "the configurations together")
        with pytest.raises(InvalidInput, match=size):
            desired_config({**PARAMS, **params, "config_validation": validation})


def test_the_size_is_one_problem_among_others_unless_the_configuration_is_no_use():
    large = {**entries(8192), "agent": {"regoin": ""}}
    assert problems_of(config=large) == [("config", "$.agent.regoin", "unknown-key"), ("config", "$", "size")]
    assert problems_of(config={**large, "metric": {}})[-1] == ("config", "$.metric", "section")


@pytest.mark.parametrize("config", [[], {}, "", "[]", None, 1])
def test_an_option_without_a_configuration_is_an_error(config):
    [(source, path, _rule)] = problems_of(config=config)
    assert (source, path) == ("config", "$")


# Several configurations


def test_each_problem_has_its_configuration_and_place():
    text = '{\n "agent": {\n  "regoin": ""}}'
    found = validate_config({**PARAMS, "config": [CONFIG, text, ERROR]})
    first = "3:3 $.agent.regoin: unknown key; did you mean 'region'?"
    second = "$.metric: unknown section; did you mean 'metrics'?"
    result = found.to_result()
    assert result["problem_lines"] == [
        *("config[1]: 1 problem", f"  {first}"),
        *("config[2]: 1 problem", f"  {second}"),
    ]
    assert result["failure"] == f"{NAME} is not valid: config[1]: {first} There is 1 more problem."
    for configs, failure in (([CONFIG], ""), ([CONFIG, ERROR], f"{NAME} is not valid: config[1]: {second}")):
        assert validate_config({**PARAMS, "config": configs}).to_result()["failure"] == failure


def test_files_are_read_and_merged(tmp_path):
    """A file that cannot be read is one problem among others."""
    texts = {"a.json": json.dumps(CONFIG), "b.json": json.dumps(LOGS), "wrong.json": '{\n "metric": {}\n}'}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    first, second, wrong, missing = (str(tmp_path / name) for name in (*texts, "missing.json"))
    params = {**PARAMS, "config": None}
    assert desired_config({**params, "src": [first, second]}) == (single({**CONFIG, **LOGS}), [])
    assert desired_config({**params, "src": [first]}) == (single(), [])
    found = validate_config({**params, "src": [missing, wrong, first]})
    assert found.desired is None
    assert found.to_result()["problem_lines"] == [
        f"{missing}: 1 problem",
        f"  $: {missing} cannot be read: No such file or directory",
        f"{wrong}: 1 problem",
        "  2:2 $.metric: unknown section; did you mean 'metrics'?",
    ]


def test_configurations_that_contradict_each_other_are_an_error():
    first = {**CONFIG, "agent": {"region": "eu-central-1", "debug": True}}
    second = {**LOGS, "agent": {"region": "us-east-1", "debug": False}}
    [problem] = validate_config({**PARAMS, "config": [first, second]}).errors
    assert (problem.source, problem.rule.name, problem.path) == ("the configurations together", "merge", ())
    assert "different values for $.agent.region, $.agent.debug" in problem.message


def test_a_problem_is_reported_where_it_is_and_not_again_for_the_whole():
    assert problems_of(config=[LENIENT, LOGS]) == [("config[0]", "$.agent.regoin", "unknown-key")]
    assert problems_of(config=[LENIENT, LENIENT]) == [
        ("config[0]", "$.agent.regoin", "unknown-key"),
        ("config[1]", "$.agent.regoin", "unknown-key"),
    ]


PROMETHEUS = {"metrics": {"metrics_collected": {"prometheus": {"prometheus_config_path": "a.yaml"}}}}


@pytest.mark.parametrize(
    ("configs", "params", "rules"),
    [
        ([WARNING], {}, ["section"]),
        ([WARNING, CONFIG], {}, []),
        ([WARNING, {"agent": {"region": "eu-central-1"}}], {}, ["section"] * 2),
        ([PROMETHEUS], {}, ["missing-key"]),
        ([CONFIG, PROMETHEUS], {}, ["missing-key"]),
        ([CONFIG], {"has_onprem": True}, ["on-premises"]),
        ([CONFIG, LOGS], {"has_onprem": True}, ["on-premises"] * 2),
        ([CONFIG, {"agent": {"region": "eu-central-1"}}], {"has_onprem": True}, []),
        ([CONFIG, {"metric": {}}], {}, ["section"]),
        ([CONFIG, {}], {}, ["section"]),
    ],
)
def test_one_configuration_can_have_the_parts_that_another_lacks(configs, params, rules):
    assert [rule for _source, _path, rule in problems_of(config=configs, **params)] == rules


# The schema


SCHEMA = {"properties": {"logs": {"required": ["log_stream_name"]}, "metrics": {"required": ["namespace"]}}}


@pytest.fixture
def schema_file(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "schema.json").write_text(json.dumps(SCHEMA))
    return tmp_path / "schema.json"


@pytest.mark.parametrize("given", ["mapping", "text", "path", "path in the home folder", "path with a variable"])
def test_the_configuration_is_validated_against_the_schema(given, schema_file):
    schema = {
        "mapping": SCHEMA,
        "text": f"\n{json.dumps(SCHEMA)}",
        "path": str(schema_file),
        "path in the home folder": "~/schema.json",
        "path with a variable": "$HOME/schema.json",
    }[given]
    assert problems_of(agent_schema=schema) == [("config", "$.metrics.namespace", "missing-key")]
    found = validate_config({**PARAMS, "agent_schema": schema, "config_validation": WARN})
    assert found.desired == single()
    assert len(found.warnings) == 1
    assert problems_of(agent_schema=schema, config_validation=OFF) == []


def test_the_schema_is_for_several_configurations_as_a_whole():
    logs = {"logs": {**LOGS["logs"], "log_stream_name": "a"}}
    assert problems_of(config=[LOGS, {"logs": {"log_stream_name": "a"}}], agent_schema=SCHEMA) == []
    assert [path for _source, path, _rule in problems_of(config=[logs, CONFIG], agent_schema=SCHEMA)] == [
        "$.metrics.namespace"
    ]


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": 1}, "schema cannot be used as a JSON schema"),
        ("{", "schema is not a JSON schema"),
        ("/no/such/schema.json", "/no/such/schema.json cannot be read: No such file"),
        ("~no-such-user/schema.json", "~no-such-user/schema.json cannot be read: No such file"),
        (["agent"], r"\['agent'\] cannot be read: No such file"),
    ],
)
def test_a_schema_that_is_not_usable_is_an_error(schema, message):
    with pytest.raises(InvalidInput, match=message):
        validate_config({**PARAMS, "agent_schema": schema})
    assert validate_config({**PARAMS, "agent_schema": schema, "config_validation": OFF}).desired == single()


# Notices

NEEDS = {**CONFIG, "agent": {"credentials": {"role_arn": "arn:aws:iam::123456789012:role/Central"}}}
NOTICE = (
    "  $.agent.credentials.role_arn: assuming a role needs sts:AssumeRole, which CloudWatchAgentServerPolicy does not "
    "allow"
)


@pytest.mark.parametrize("validation", [STRICT, WARN])
def test_a_notice_is_reported_and_changes_nothing(validation):
    params = {**PARAMS, "config": NEEDS, "config_validation": validation}
    assert desired_config(params) == (single(NEEDS), [])
    found = validate_config(params)
    assert (found.errors, found.warnings, len(found.notices)) == ([], [], 1)
    result = found.to_result()
    assert result["problem_lines"] == ["config: 1 notice", NOTICE]
    assert (result["failure"], [each["severity"] for each in result["findings"]]) == ("", ["notice"])
    assert [each.source for each in validate_config({**params, "config": [NEEDS, LOGS]}).notices] == ["config[0]"]


def test_without_validation_there_are_no_notices():
    found = validate_config({**PARAMS, "config": NEEDS, "config_validation": OFF})
    assert (found.notices, found.desired) == ([], single(NEEDS))


@pytest.mark.parametrize(
    ("given", "tags"),
    [
        (None, {}),
        ({}, {}),
        (
            {"team": "ops", "shared": True, "off": False, "cost": 7, 8: None},
            {"team": "ops", "shared": "true", "off": "false", "cost": "7", "8": ""},
        ),
    ],
)
@pytest.mark.parametrize("more", [{}, {"split_config": True}])
def test_tags_are_text_and_belong_to_every_parameter(given, tags, more):
    desired, _warnings = desired_config({**PARAMS, **more, "tags": given})
    assert [each.tags for each in desired.parameters] == [tags]
    assert desired.has_tags == bool(tags)
    assert desired_tags(given) == tags


@pytest.mark.parametrize("tags", [{"aws:x": "y"}, {"team": "#"}, {"": "x"}, {"team": ["ops"]}])
def test_tags_that_aws_refuses_are_an_error(tags):
    with pytest.raises(InvalidInput, match="tag "):
        desired_config({**PARAMS, "tags": tags})


def collecting(*names, **more):
    entries = [{"file_path": each, **more} for each in names or ["/a"]]
    return {"logs": {"logs_collected": {"files": {"collect_list": entries}}}}


def with_agent(**more):
    return {**CONFIG, "agent": more}


# A violation of each rule, in each of its severities.
VIOLATIONS: list[dict[str, Any]] = [
    {"src": ["/no/such.json"], "config": None},
    {"config": "{"},
    {"config": "a: 'b", "name": YAML["name"]},
    {**YAML},
    {"config": with_agent(region="{{ x }}")},
    {"config": [with_agent(debug=True), with_agent(debug=False)]},
    {"config": entries(9000)},
    {"config": "".join(["[", *["x,"] * 1001])},
    {"config": {str(number): 1 for number in range(1001)}},
    {"config": ERROR},
    {"config": WARNING},
    {"config": LENIENT},
    {"config": with_agent(new_setting=1)},
    {"config": {"metrics": {"metrics_collected": {"cpuu": {"measurement": ["usage_idle"]}}}}},
    {"config": {"metrics": {"metrics_collected": {"procstat": [{"exe": "a", "measurment": ["cpu_usage"]}]}}}},
    {"config": {"logs": {"logs_collected": {"files": {"collect_list": [{}]}}}}},
    {"config": with_agent(debug=7)},
    {"config": collecting("/a", "/a")},
    {"config": [collecting(log_group_name="a", retention_in_days=days) for days in (1, 7)]},
    {"config": collecting(log_group_name="{instanceid}")},
    {"config": collecting(log_group_name="{colour}")},
    {"config": collecting(multi_line_start_pattern="(")},
    {"config": {**collecting("/var/log/messages"), "agent": {"run_as_user": "cwagent"}}},
    {"name": "AmazonCloudWatch-windows"},
    {"has_onprem": True},
    {"config": NEEDS},
]


def test_every_rule_has_violations_of_the_severities_that_it_declares(monkeypatch, tmp_path):
    found = [validate_config({**PARAMS, **each}) for each in VIOLATIONS]
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    (tmp_path / "schema.json").write_text("{}")
    found += [validate_config({**PARAMS, "agent_schema": each}) for each in (str(tmp_path / "schema.json"), {"a": 1})]
    problems = [problem for each in found for problem in (*each.errors, *each.warnings, *each.notices)]
    declared = {(rule.name, severity) for rule in RULES for severity in rule.severities}
    assert {(each.rule.name, each.severity) for each in problems} == declared


def test_the_user_decides_about_the_rules_that_newer_agents_can_know_better():
    assert {rule.name for rule in RULES if rule.is_lenient} == {
        *("unknown-key", "misspelled", "missing-key", "wrong-value", "duplicate-entry"),
        *("log-group", "placeholder", "pattern", "schema"),
    }
    assert {rule.name for rule in RULES if not rule.listed} == {"permission", "opentelemetry"}


@pytest.mark.parametrize("size", [0, 1, MAX_SIZE])
def test_a_file_is_read_in_full(tmp_path, size):
    path = tmp_path / "linux.json"
    path.write_bytes(b" " * size)
    assert read_file(str(path)) == b" " * size


def _too_large(path):
    path.write_bytes(b" " * (MAX_SIZE + 1))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "cannot be read: No such file or directory."),
        (os.mkdir, "cannot be read: Is a directory."),
        (os.mkfifo, "cannot be read: it is not a regular file."),
        (lambda path: path.symlink_to("/dev/zero"), "cannot be read: it is not a regular file."),
        (lambda path: path.symlink_to(path), "cannot be read: Too many levels of symbolic links."),
        (_too_large, f"cannot be read: it is larger than {MAX_SIZE} bytes."),
    ],
)
def test_an_endless_or_irregular_file_is_an_error_at_once(tmp_path, make, message):
    path = tmp_path / "linux.json"
    make(path)
    descriptors = Path("/proc/self/fd")
    open_files = len(list(descriptors.iterdir())) if descriptors.is_dir() else 0
    with pytest.raises(InvalidInput) as caught:
        read_file(str(path))
    assert str(caught.value) == f"{path} {message}"
    assert not open_files or len(list(descriptors.iterdir())) == open_files


def test_no_more_of_a_file_is_read_than_it_can_have(tmp_path):
    path = tmp_path / "linux.json"
    with path.open("wb") as file:
        file.truncate(2**40)  # it has no content, so it takes no space
    with pytest.raises(InvalidInput, match="larger than"):
        read_file(str(path))
