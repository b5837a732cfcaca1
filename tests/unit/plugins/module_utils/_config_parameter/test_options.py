from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.options import (
    OFF,
    STRICT,
    WARN,
    desired_config,
    desired_tags,
    known_state,
    refusal,
    validate_config,
)
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.plan import (
    DesiredConfig,
    DesiredParameter,
    Parameter,
)
from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput

NAME = "AmazonCloudWatch-linux"
CONFIG = {"metrics": {"metrics_collected": {"mem": {"measurement": ["used"]}}}}
LOGS = {"logs": {"logs_collected": {"files": {"collect_list": [{"file_path": "/var/log/a.log"}]}}}}
PARAMS: dict[str, Any] = {
    "name": NAME,
    "config": CONFIG,
    "src": None,
    "validation": STRICT,
    "schema": None,
    "has_onprem": False,
    "tags": None,
    "split": False,
    "split_recent": False,
    "tier": None,
    "state": "present",
}
# Problems of each severity.
ERROR = {"metric": CONFIG["metrics"]}
DOUBTFUL = {**CONFIG, "agent": {"regoin": "eu-central-1"}}
WARNING = {"agent": {"debug": True}}


def entries(*sizes: int, begin: int = 0) -> dict[str, Any]:
    """A configuration with entries of these sizes in bytes."""
    files = [{"file_path": f"/{i}".ljust(size, "x")} for i, size in enumerate(sizes, begin)]
    return {"logs": {"logs_collected": {"files": {"collect_list": files}}}}


def problems_of(**params: Any) -> list[tuple[str, str, str]]:
    """Where each problem is, and its rule."""
    found = validate_config({**PARAMS, **params}).to_result()["problems"]
    return [(each["file"], each["path"], each["rule"]) for each in found]


def single(config: dict[str, Any] = CONFIG, tier: str | None = None) -> DesiredConfig:
    return DesiredConfig(NAME, config, (DesiredParameter(NAME, config, tier),))


@pytest.mark.parametrize(
    ("params", "desired"),
    [
        ({}, single()),
        ({"config": json.dumps(CONFIG, indent=1)}, single()),
        ({"config": [CONFIG]}, single()),
        ({"tier": "Advanced"}, single(tier="Advanced")),
        ({"config": [CONFIG, LOGS]}, single({**LOGS, **CONFIG})),
        ({"config": [json.dumps(CONFIG), LOGS, CONFIG]}, single({**LOGS, **CONFIG})),
        (
            {"split": True},
            DesiredConfig(NAME, CONFIG, (DesiredParameter(NAME, CONFIG),), can_be_split=True),
        ),
        (
            {"config": [entries(6000), entries(6000, begin=1)], "split": True, "tier": "Advanced"},
            DesiredConfig(
                NAME,
                entries(6000, 6000),
                (
                    DesiredParameter(NAME, entries(6000), "Advanced"),
                    DesiredParameter(f"{NAME}-2", entries(6000, begin=1), "Advanced"),
                ),
                can_be_split=True,
            ),
        ),
        ({"state": "absent", "config": None}, DesiredConfig(NAME)),
        ({"state": "absent", "config": None, "split": True}, DesiredConfig(NAME, can_be_split=True)),
    ],
    ids=[
        "a mapping",
        "a text",
        "a list of one",
        "a tier",
        "a list of two",
        "a list of three",
        "split, not needed",
        "split",
        "absent",
        "absent with all parts",
    ],
)
def test_the_desired_configuration_follows_the_options(params, desired):
    assert desired_config({**PARAMS, **params}) == (desired, [])


def test_lists_that_only_recent_agents_merge_are_split_on_demand():
    receivers = [{"grpc_endpoint": f"{each}:1".ljust(5000, "1")} for each in range(2)]
    params = {"config": {"metrics": {"metrics_collected": {"otlp": receivers}}}, "split": True}
    assert problems_of(**params) == [("config", "$", "size")]
    desired, warnings = desired_config({**PARAMS, **params, "split_recent": True})
    assert (desired.names, warnings) == ([NAME, f"{NAME}-2"], [])


@pytest.mark.parametrize("state", ["present", "absent", "validated"])
def test_a_name_that_is_not_valid_is_an_error(state):
    with pytest.raises(InvalidInput, match="does not begin with AmazonCloudWatch-"):
        desired_config({**PARAMS, "name": "linux", "state": state})


@pytest.mark.parametrize(
    ("config", "errors", "warnings"),
    [
        (CONFIG, {STRICT: 0, WARN: 0, OFF: 0}, {STRICT: 0, WARN: 0, OFF: 0}),
        (ERROR, {STRICT: 1, WARN: 1, OFF: 1}, {STRICT: 0, WARN: 0, OFF: 0}),
        (DOUBTFUL, {STRICT: 1, WARN: 0, OFF: 0}, {STRICT: 0, WARN: 1, OFF: 0}),
        (WARNING, {STRICT: 0, WARN: 0, OFF: 0}, {STRICT: 1, WARN: 1, OFF: 0}),
    ],
    ids=["valid", "error", "doubtful", "warning"],
)
@pytest.mark.parametrize("validation", [STRICT, WARN, OFF])
def test_the_option_validation_decides_which_problems_are_refused(config, errors, warnings, validation):
    params = {**PARAMS, "config": config, "validation": validation}
    found = validate_config(params)
    assert (len(found.errors), len(found.warnings)) == (errors[validation], warnings[validation])
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


@pytest.mark.parametrize(
    ("params", "size"),
    [
        ({"config": entries(8192)}, "is 8[0-9]* bytes when minified; Parameter Store takes 8192 in the Advanced tier"),
        ({"config": entries(4096), "tier": "Standard"}, "Parameter Store takes 4096 in the Standard tier"),
        ({"config": entries(8192), "split": True}, "cannot be split into parts of at most 8192 bytes"),
        ({"config": [entries(5000), entries(5000, begin=1)]}, "bytes when minified; Parameter Store takes 8192"),
    ],
)
@pytest.mark.parametrize("validation", [STRICT, WARN, OFF])
def test_a_size_over_the_limit_is_a_problem(params, size, validation):
    found = validate_config({**PARAMS, **params, "validation": validation})
    [problem] = found.errors
    assert (problem.path, problem.rule) == ((), "size")
    assert problem.source == ("config" if isinstance(params["config"], dict) else "the configurations together")
    with pytest.raises(InvalidInput, match=size):
        desired_config({**PARAMS, **params, "validation": validation})


def test_the_size_is_one_problem_among_others_unless_the_configuration_is_no_use():
    large = {**entries(8192), "agent": {"regoin": ""}}
    assert problems_of(config=large) == [("config", "$.agent.regoin", "unknown-key"), ("config", "$", "size")]
    assert problems_of(config={**large, "metric": {}})[-1] == ("config", "$.metric", "section")


def test_the_name_of_a_part_that_is_too_long_is_a_problem():
    params = {**PARAMS, "name": "AmazonCloudWatch-".ljust(954, "x"), "config": entries(6000, 6000), "split": True}
    with pytest.raises(InvalidInput, match="-2': AWS allows up to 954 characters"):
        desired_config(params)


@pytest.mark.parametrize("config", [[], {}, "", "[]", None, 1])
def test_an_option_without_a_configuration_is_an_error(config):
    [(source, path, _rule)] = problems_of(config=config)
    assert (source, path) == ("config", "$")


# Several configurations


def test_each_problem_has_its_configuration_and_place():
    text = '{\n "agent": {\n  "regoin": ""}}'
    found = validate_config({**PARAMS, "config": [CONFIG, text, ERROR]})
    assert found.to_result()["problem_lines"] == [
        "config[1]: 1 problem",
        "  3:3 $.agent.regoin: unknown key; did you mean 'region'?",
        "config[2]: 1 problem",
        "  $.metric: unknown section; did you mean 'metrics'?",
    ]


@pytest.mark.parametrize(
    ("configs", "message"),
    [
        ([CONFIG], ""),
        ([CONFIG, ERROR], "config[1]: $.metric: unknown section; did you mean 'metrics'?"),
        (
            [CONFIG, '{\n "agent": {\n  "regoin": ""}}', ERROR],
            "config[1]: 3:3 $.agent.regoin: unknown key; did you mean 'region'? There is 1 more problem.",
        ),
    ],
)
def test_the_first_problem_is_a_sentence(configs, message):
    found = validate_config({**PARAMS, "config": configs})
    assert found.to_result()["failure"] == (f"{found.name} is not valid: {message}" if message else "")


def test_files_are_read_and_merged(tmp_path):
    paths = []
    for name, config in (("a.json", CONFIG), ("b.json", LOGS)):
        path = tmp_path / name
        path.write_text(json.dumps(config))
        paths.append(str(path))
    params = {**PARAMS, "config": None, "src": paths}
    assert desired_config(params) == (single({**LOGS, **CONFIG}), [])
    assert desired_config({**params, "src": paths[:1]}) == (single(), [])


def test_a_file_that_cannot_be_read_is_one_problem_among_others(tmp_path):
    missing, wrong, valid = (str(tmp_path / name) for name in ("missing.json", "wrong.json", "valid.json"))
    (tmp_path / "wrong.json").write_text('{\n "metric": {}\n}')
    (tmp_path / "valid.json").write_text(json.dumps(CONFIG))
    found = validate_config({**PARAMS, "config": None, "src": [missing, wrong, valid]})
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
    assert (problem.source, problem.rule, problem.path) == ("the configurations together", "merge", ())
    assert "different values for $.agent.region, $.agent.debug" in problem.message


def test_a_problem_of_several_configurations_together_is_found():
    first, second = entries(20), entries(30)
    for config, days in ((first, 7), (second, 14)):
        config["logs"]["logs_collected"]["files"]["collect_list"][0] |= {
            "log_group_name": "a",
            "retention_in_days": days,
        }
    assert problems_of(config=[first, second]) == [
        (
            "the configurations together",
            "$.logs.logs_collected.files.collect_list[1].retention_in_days",
            "log-group",
        )
    ]


def test_a_problem_is_reported_where_it_is_and_not_again_for_the_whole():
    assert problems_of(config=[DOUBTFUL, LOGS]) == [("config[0]", "$.agent.regoin", "unknown-key")]
    assert problems_of(config=[DOUBTFUL, DOUBTFUL]) == [
        ("config[0]", "$.agent.regoin", "unknown-key"),
        ("config[1]", "$.agent.regoin", "unknown-key"),
    ]


PROMETHEUS = {"metrics": {"metrics_collected": {"prometheus": {"prometheus_config_path": "a.yaml"}}}}
AMP = {"metrics": {"metrics_destinations": {"amp": {"workspace_id": "ws-1"}}}}


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


def test_a_key_that_one_file_lacks_can_be_in_another_file():
    found = [path for _source, path, rule in problems_of(config=[PROMETHEUS, AMP]) if rule == "missing-key"]
    assert "$.metrics.metrics_destinations" not in found


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
    assert problems_of(schema=schema) == [("config", "$.metrics.namespace", "missing-key")]
    found = validate_config({**PARAMS, "schema": schema, "validation": WARN})
    assert found.desired == single()
    assert len(found.warnings) == 1
    assert problems_of(schema=schema, validation=OFF) == []


def test_the_schema_is_for_several_configurations_as_a_whole():
    logs = {"logs": {**LOGS["logs"], "log_stream_name": "a"}}
    assert problems_of(config=[LOGS, {"logs": {"log_stream_name": "a"}}], schema=SCHEMA) == []
    assert [path for _source, path, _rule in problems_of(config=[logs, CONFIG], schema=SCHEMA)] == [
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
        validate_config({**PARAMS, "schema": schema})
    assert validate_config({**PARAMS, "schema": schema, "validation": OFF}).desired == single()


@pytest.mark.parametrize("config", [CONFIG, [CONFIG, LOGS]])
def test_without_jsonschema_each_configuration_has_a_problem(monkeypatch, config):
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    found = problems_of(config=config, schema=SCHEMA)
    assert [rule for _source, _path, rule in found] == ["schema"] * (1 if config is CONFIG else 2)


# Notices

NEEDS = {**CONFIG, "agent": {"credentials": {"role_arn": "arn:aws:iam::123456789012:role/Central"}}}
NOTICE = (
    "  $.agent.credentials.role_arn: assuming a role needs sts:AssumeRole, which CloudWatchAgentServerPolicy does not "
    "allow"
)


@pytest.mark.parametrize("validation", [STRICT, WARN])
def test_a_notice_is_reported_and_changes_nothing(validation):
    params = {**PARAMS, "config": NEEDS, "validation": validation}
    assert desired_config(params) == (single(NEEDS), [])
    found = validate_config(params)
    assert (found.errors, found.warnings, len(found.notices)) == ([], [], 1)
    result = found.to_result()
    assert result["problem_lines"] == ["config: 1 notice", NOTICE]
    assert (result["failure"], [each["severity"] for each in result["findings"]]) == ("", ["info"])
    assert [each["severity"] for each in result["problems"]] == ["notice"]


def test_notices_come_after_errors_and_warnings():
    lines = validate_config({**PARAMS, "config": {**NEEDS, "metric": {}}}).to_result()["problem_lines"]
    assert [line for line in lines if line.startswith("config")] == ["config: 1 problem", "config: 1 notice"]


def test_without_validation_there_are_no_notices():
    found = validate_config({**PARAMS, "config": NEEDS, "validation": OFF})
    assert (found.notices, found.desired) == ([], single(NEEDS))


def test_several_configurations_have_the_notice_of_one_once():
    found = validate_config({**PARAMS, "config": [NEEDS, LOGS]})
    assert [each.source for each in found.notices] == ["config[0]"]


# The known state


@pytest.mark.parametrize(
    ("known_values", "known"),
    [
        (None, None),
        ({NAME: {}}, {NAME: None}),
        ({NAME: {"value": "{}", "type": "String", "version": 2}}, {NAME: Parameter("{}", version=2)}),
        ({NAME: {"value": "{}"}}, {NAME: Parameter("{}")}),
        (
            {NAME: {"value": "{}", "type": "SecureString", "version": 2}, f"{NAME}-2": {}, f"{NAME}-13": {}},
            {NAME: Parameter("{}", "SecureString", 2), f"{NAME}-2": None, f"{NAME}-13": None},
        ),
    ],
    ids=["not given", "no parameter", "a parameter", "no version", "parts"],
)
def test_the_known_state_follows_the_option(known_values, known):
    assert known_state(known_values, NAME) == known


@pytest.mark.parametrize(
    "known_values",
    [
        {},
        {"value": "{}", "type": "String", "version": 2},
        {NAME: "{}"},
        {NAME: ["{}"]},
        {NAME: {"value": "{}", "size": 2}},
        {NAME: {"version": 2}},
        {f"{NAME}-2": {}},
        {"AmazonCloudWatch-other": {}},
        {NAME: {}, "AmazonCloudWatch-other": {"value": "{}"}},
        {NAME: {}, f"{NAME}x2": {}},
        {NAME: {}, f"{NAME}-2x": {}},
    ],
)
def test_a_known_state_that_is_no_result_for_this_parameter_is_an_error(known_values):
    with pytest.raises(InvalidInput, match=f"known_values is not the result 'previous' of a task for .* '{NAME}'"):
        known_state(known_values, NAME)


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
@pytest.mark.parametrize("more", [{}, {"split": True}])
def test_tags_are_text_and_belong_to_every_parameter(given, tags, more):
    desired, _warnings = desired_config({**PARAMS, **more, "tags": given})
    assert [each.tags for each in desired.parameters] == [tags]
    assert desired.has_tags == bool(tags)
    assert desired_tags({**PARAMS, "tags": given}) == tags


@pytest.mark.parametrize("tags", [{"aws:x": "y"}, {"team": "#"}, {"": "x"}, {"team": ["ops"]}])
def test_tags_that_aws_refuses_are_an_error(tags):
    with pytest.raises(InvalidInput, match="tag "):
        desired_config({**PARAMS, "tags": tags})


def test_known_tags_are_part_of_the_known_state():
    found = {"value": "{}", "type": "String", "version": 2, "tags": {"team": "ops"}}
    assert known_state({NAME: found}, NAME) == {NAME: Parameter("{}", "String", 2, {"team": "ops"})}
