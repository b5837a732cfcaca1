from __future__ import annotations

import json
from typing import Any

import pytest
from aws_model import Gateway, Ssm
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter import plan as config_plan
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.plan import (
    SECTIONS,
    DesiredParameter,
    Parameter,
)
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.resource import ParameterResource
from ansible_collections.cwagent.iam.plugins.module_utils._converge import converge
from ansible_collections.cwagent.iam.plugins.module_utils._errors import (
    PERMISSION_RETRY_CODES,
    AwsApiError,
    InvalidInput,
)
from ansible_collections.cwagent.iam.plugins.module_utils._plan import apply

NAME, REGION = "AmazonCloudWatch-linux", "eu-central-1"
CONFIG = {"agent": {"interval": 60, "debug": True}, "metrics": {"namespace": "ü"}}
TEXT = '{"agent":{"interval":60,"debug":true},"metrics":{"namespace":"ü"}}'


def sized(size: int, fill: str = "ü") -> dict[str, Any]:
    """A configuration of so many bytes; written with characters of two bytes, so that counting those would differ."""
    room = size - len('{"agent":""}')
    return {"agent": fill * (room // 2) + "x" * (room % 2)}


def desired(config: dict[str, Any], tier: str | None = None) -> DesiredParameter:
    return DesiredParameter(NAME, config, tier)


def stored(config: dict[str, Any]) -> Parameter:
    return Parameter(desired(config).value)


@pytest.mark.parametrize(
    ("current", "size", "asked", "tier"),
    [
        (None, 4096, None, "Standard"),
        (None, 4097, None, "Advanced"),
        (None, 8192, None, "Advanced"),
        (None, 4096, "Standard", "Standard"),
        (None, 4096, "Advanced", "Advanced"),
        (None, 8192, "Advanced", "Advanced"),
        (4096, 4096, None, "Standard"),
        (4097, 12, "Standard", "Standard"),
        (4097, 4096, None, "Advanced"),
        (8192, 12, None, "Advanced"),
        (12, 4097, None, "Advanced"),
    ],
)
def test_tier(current, size, asked, tier):
    wanted = desired(sized(size), asked)
    assert len(wanted.value.encode()) == size
    assert config_plan.select_tier(None if current is None else stored(sized(current)), wanted) == tier


@pytest.mark.parametrize(
    ("size", "asked", "limit"), [(8193, None, 8192), (8193, "Advanced", 8192), (4097, "Standard", 4096)]
)
def test_too_large(size, asked, limit):
    with pytest.raises(InvalidInput, match=f"{size} bytes when minified; Parameter Store takes {limit} in the"):
        config_plan.select_tier(None, desired(sized(size), asked))


@pytest.mark.parametrize(
    ("current", "equal"),
    [
        (Parameter(TEXT), True),
        (Parameter(json.dumps(CONFIG, indent=4)), True),
        (Parameter(json.dumps(dict(reversed(CONFIG.items())))), True),
        (Parameter('{"agent":{"debug":true,"interval":60},"metrics":{"namespace":"\\u00fc"}}'), True),
        (Parameter(TEXT.replace("60", "61")), False),
        (Parameter(TEXT.replace("60", '"60"')), False),
        (Parameter(TEXT.replace("true", "1")), False),
        (Parameter('{"agent":{"interval":60,"debug":true}}'), False),
        (Parameter("not JSON"), False),
        (Parameter(""), False),
        (None, False),
    ],
)
def test_compared_by_meaning(current, equal):
    assert config_plan.is_stored(current, desired(CONFIG)) is equal
    steps = config_plan.plan(current, desired(CONFIG)).steps[NAME]
    assert [step.arguments for step in steps] == (
        []
        if equal
        else [{"name": NAME, "value": TEXT, "type": "String", "overwrite": True, "tier": "Standard"}]
    )  # fmt: skip
    assert all(step.retry_when == PERMISSION_RETRY_CODES for step in steps)


@pytest.mark.parametrize("value", [TEXT, "other"])
@pytest.mark.parametrize("kind", ["SecureString", "StringList"])
def test_a_parameter_of_another_type_is_refused(value, kind):
    with pytest.raises(InvalidInput, match=f"'{NAME}' exists with type {kind}, and Parameter Store changes no type"):
        config_plan.plan(Parameter(value, type=kind), desired(CONFIG))
    assert config_plan.plan_absent(Parameter(value, type=kind), NAME).changes


def test_order_in_lists_has_a_meaning():
    assert not config_plan.is_equivalent('{"agent":[2,1]}', {"agent": [1, 2]})


@pytest.mark.parametrize("current", [None, Parameter(TEXT)])
def test_too_large_is_refused_before_anything_is_compared(current):
    with pytest.raises(InvalidInput, match="8193 bytes"):
        config_plan.plan(current, desired(sized(8193)))


def test_absent():
    [[step]] = config_plan.plan_absent(Parameter(TEXT), NAME).steps.values()
    assert step.summary == f"delete parameter '{NAME}'"
    assert step.done_when == {"ParameterNotFound"}
    assert not config_plan.plan_absent(None, NAME).changes


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is not JSON: .* at line 1 column 1"),
        ('{\n  "agent": {},\n}', "is not JSON: .* at line [23] column"),
        ("agent: {}", "is not JSON"),
        ('{"agent": {"a": 1, "a": 2}}', "the key 'a' stands twice"),
        ('{"agent": {}, "agent": {}}', "the key 'agent' stands twice"),
        ('{"agent": {"a": NaN}}', "NaN is no JSON value"),
        ('{"agent": {"a": -Infinity}}', "-Infinity is no JSON value"),
        ("[]", "it is no JSON object"),
        ("null", "it is no JSON object"),
        ('"agent"', "it is no JSON object"),
        ("{}", "is empty: it needs one of the sections agent, logs, metrics"),
        ('{"agent": {}, "metric": {}, "log": {}}', "sections the agent does not know: log, metric. It knows agent"),
    ],
)
def test_parse_refuses(text, words):
    with pytest.raises(InvalidInput, match="^linux.json.*" + words):
        config_plan.parse(text, "linux.json")


@pytest.mark.parametrize(
    ("text", "words"),
    [('{"agent": 1e999}', "no JSON"), ('{"agent": "\\ud800"}', "no JSON"), ('{"a":' * 99999, "not JSON")],
    ids=["infinite", "half a character", "deep"],
)
def test_parse_refuses_what_cannot_be_stored(text, words):
    with pytest.raises(InvalidInput, match=words):
        config_plan.select_tier(None, desired(config_plan.parse(text, "linux.json")))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800"])
def test_mappings_that_cannot_be_stored(value):
    with pytest.raises(InvalidInput, match="no JSON"):
        config_plan.select_tier(None, desired(config_plan.checked({"agent": {"a": [value]}}, "config")))


@pytest.mark.parametrize("section", sorted(SECTIONS))
def test_parse(section):
    assert config_plan.parse(f' {{ "{section}" : {{ "a": [1.5, null, true, "ü"] }} }}\n', "x") == {
        section: {"a": [1.5, None, True, "ü"]}
    }


def test_sections_may_repeat_each_others_keys():
    assert config_plan.parse('{"agent": {"a": 1}, "logs": {"a": 1}}', "x") == {"agent": {"a": 1}, "logs": {"a": 1}}


@pytest.mark.parametrize(
    ("name", "fine"),
    [
        ("AmazonCloudWatch-linux", True),
        ("AmazonCloudWatch-web.eu_1-A", True),
        ("AmazonCloudWatch-" + "x" * 900, True),
        ("AmazonCloudWatch-" + "x" * 994, True),
        ("AmazonCloudWatch-" + "x" * 995, False),
        ("amazoncloudwatch-linux", False),
        ("AmazonCloudWatch_linux", False),
        ("/AmazonCloudWatch-linux", False),
        ("AmazonCloudWatch-linux/eu", False),
        ("AmazonCloudWatch-linux\n", False),
        ("AmazonCloudWatch-linux eu", False),
        ("AmazonCloudWatch-ünix", False),
        ("AmazonCloudWatch-linux:1", False),
        ("linux", False),
        ("", False),
    ],
)
def test_parameter_names(name, fine):
    if fine:
        config_plan.check_parameter_name(name)
        return
    with pytest.raises(InvalidInput, match=r"does not begin with AmazonCloudWatch-|AWS allows letters"):
        config_plan.check_parameter_name(name)


def test_report_and_render():
    assert config_plan.report(NAME, Parameter("ü", version=3)) == {"name": NAME, "value": "ü", "size": 2, "version": 3}
    assert config_plan.report(NAME, None) is None
    assert config_plan.render(NAME, Parameter(TEXT)) == {"name": NAME, "type": "String", "config": CONFIG}
    assert config_plan.render(NAME, Parameter("broken"))["config"] == "broken"
    assert config_plan.render(NAME, None) == {}


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
CONFIGS = st.dictionaries(st.sampled_from(sorted(SECTIONS)), VALUES, min_size=1)
STORED = st.none() | st.builds(
    Parameter,
    value=CONFIGS.map(lambda config: json.dumps(config, indent=1)) | st.just("x" * 5000) | st.just("broken"),
    type=st.sampled_from(["String", "SecureString"]),
    version=st.integers(1, 9),
)


def resource(ssm: Ssm, wanted: DesiredParameter | None) -> ParameterResource:
    gateway: Any = Gateway(ssm)
    return ParameterResource(gateway, NAME, wanted, REGION)


@given(STORED, CONFIGS, st.booleans())
def test_a_plan_leads_where_it_says(current, config, small_but_advanced):
    advanced = current and (small_but_advanced or len(current.value.encode()) > 4096)
    ssm = Ssm(current, "Advanced" if advanced else "Standard")
    tier, parameter = ssm.tier, resource(ssm, desired(config))
    if current and current.type != "String":
        with pytest.raises(InvalidInput, match="SecureString"):
            parameter.plan(current)
        return
    plan, planned = parameter.plan(current), parameter.after(current)
    apply(plan, parameter.execute, check_mode=False)
    assert ssm.parameter == planned
    assert not parameter.plan(planned).changes
    assert (tier, ssm.tier) != ("Advanced", "Standard")
    assert json.dumps(json.loads(planned.value), sort_keys=True) == json.dumps(config, sort_keys=True)
    assert plan.changes == (planned != current)


@given(STORED)
def test_a_removal_leads_where_it_says(current):
    ssm = Ssm(current)
    parameter = resource(ssm, None)
    apply(parameter.plan(current), parameter.execute, check_mode=False)
    assert ssm.parameter is parameter.after(current) is None
    assert not parameter.plan(None).changes


@pytest.mark.parametrize("asked", [None, "Standard"])
def test_a_small_parameter_that_is_advanced_stays_so(asked):
    ssm = Ssm(Parameter("old"), "Advanced")
    wanted = resource(ssm, desired(CONFIG, asked))
    [[step]] = wanted.plan(ssm.parameter).steps.values()
    if asked:  # the user's own choice is not replaced by another
        with pytest.raises(AwsApiError, match="advanced"):
            wanted.execute(step)
        return
    wanted.execute(step)
    assert (ssm.parameter, ssm.tier) == (Parameter(TEXT, version=1), "Advanced")


@pytest.mark.parametrize(
    ("wanted", "error"),
    [
        (desired(CONFIG), AwsApiError("no such key", "ValidationException")),
        (desired(CONFIG), AwsApiError("no rights on advanced parameters", "AccessDeniedException")),
        (None, AwsApiError("advanced", "ValidationException")),
    ],
)
def test_other_refusals_are_no_reason_to_pay_for_advanced(wanted, error):
    calls = []

    class Refusing(Gateway):
        def answer(self, step: Any, max_attempts: int = 1) -> Any:
            calls.append(step)
            raise error

    gateway: Any = Refusing(Ssm(None))
    parameter = ParameterResource(gateway, NAME, wanted, REGION)
    [[step]] = parameter.plan(None if wanted else Parameter("old")).steps.values()
    with pytest.raises(AwsApiError, match=str(error)):
        parameter.execute(step)
    assert calls == [step]


@pytest.mark.parametrize(("version", "planned"), [(None, 1), (1, 2), (7, 8)])
def test_the_version_it_would_get(version, planned):
    gateway: Any = None
    parameter = ParameterResource(gateway, NAME, desired(CONFIG), REGION)
    assert parameter.after(Parameter("old", version=version)) == Parameter(TEXT, version=planned)


def test_the_result_says_where_it_is():
    gateway: Any = None
    parameter = ParameterResource(gateway, NAME, desired(CONFIG), REGION)
    assert parameter.report(None, Parameter(TEXT, version=1)) == {
        "parameter": {"name": NAME, "value": TEXT, "size": len(TEXT.encode()), "version": 1},
        "region": REGION,
        "stored": {},
    }
    stored = {"value": TEXT, "type": "String", "version": 3}
    assert parameter.report(Parameter(TEXT, version=3), None) == {
        "parameter": None,
        "region": REGION,
        "stored": stored,
    }


@pytest.mark.parametrize("stored", [None, Parameter("old", version=3), Parameter(TEXT, version=3)])
def test_what_is_known_to_be_stored_is_not_read_again(stored):
    ssm = Ssm(stored)
    gateway: Any = Gateway(ssm)
    resource = ParameterResource(gateway, NAME, desired(CONFIG), REGION, is_known=True, stored=stored)
    result = converge(resource, False, None)
    assert ssm.parameter.value == TEXT
    assert result["parameter"]["version"] == ssm.parameter.version
    assert result["changed"] == (stored is None or stored.value == "old")


@given(CONFIGS)
def test_what_is_parsed_is_what_was_written(config):
    assert config_plan.parse(json.dumps(config), "x") == config
    assert config_plan.parse(desired(config).value, "x") == config
