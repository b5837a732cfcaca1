from __future__ import annotations

import json
import re
from dataclasses import replace
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
from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.resource import (
    KnownState,
    ParameterResource,
)
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


def config_of_size(size: int, fill: str = "ü") -> dict[str, Any]:
    """A configuration of this size in bytes. Most characters take two, so that counting characters would differ."""
    room = size - len('{"agent":""}')
    return {"agent": fill * (room // 2) + "x" * (room % 2)}


def declare(config: dict[str, Any], tier: str | None = None) -> DesiredParameter:
    return DesiredParameter(NAME, config, tier)


def parameter(config: dict[str, Any]) -> Parameter:
    return Parameter(declare(config).value)


@pytest.mark.parametrize(
    ("current_size", "size", "declared_tier", "tier"),
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
def test_the_smallest_tier_that_fits_is_selected(current_size, size, declared_tier, tier):
    desired = declare(config_of_size(size), declared_tier)
    assert len(desired.value.encode()) == size
    current = None if current_size is None else parameter(config_of_size(current_size))
    assert config_plan.select_tier(current, desired) == tier


@pytest.mark.parametrize(
    ("size", "declared_tier", "limit"), [(8193, None, 8192), (8193, "Advanced", 8192), (4097, "Standard", 4096)]
)
def test_a_configuration_over_the_limit_is_an_error(size, declared_tier, limit):
    with pytest.raises(InvalidInput, match=f"{size} bytes when minified; Parameter Store takes {limit} in the"):
        config_plan.select_tier(None, declare(config_of_size(size), declared_tier))


@pytest.mark.parametrize(
    ("current", "is_same"),
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
def test_a_configuration_is_stored_only_if_its_content_differs(current, is_same):
    assert config_plan.is_up_to_date(current, declare(CONFIG)) is is_same
    steps = config_plan.plan(current, declare(CONFIG)).steps[NAME]
    arguments = {"name": NAME, "value": TEXT, "type": "String", "overwrite": True, "tier": "Standard"}
    assert [step.arguments for step in steps] == ([] if is_same else [arguments])
    assert all(step.retry_when == PERMISSION_RETRY_CODES for step in steps)


@pytest.mark.parametrize(
    ("current", "counts"),
    [
        (None, {"create": 1, "update": 0, "delete": 0}),
        (Parameter("old"), {"create": 0, "update": 1, "delete": 0}),
        (Parameter(TEXT), {"create": 0, "update": 0, "delete": 0}),
    ],
)
def test_a_step_says_whether_it_creates_or_updates_the_parameter(current, counts):
    plan = config_plan.plan(current, declare(CONFIG))
    assert plan.counts == counts
    assert plan.summaries == [f"store the configuration in parameter '{NAME}'"] * any(counts.values())


@pytest.mark.parametrize("value", [TEXT, "other"])
@pytest.mark.parametrize("kind", ["SecureString", "StringList"])
def test_a_parameter_of_another_type_is_an_error_unless_it_is_deleted(value, kind):
    with pytest.raises(
        InvalidInput, match=f"'{NAME}' exists with type {kind}, and Parameter Store cannot change the type"
    ):
        config_plan.plan(Parameter(value, type=kind), declare(CONFIG))
    assert config_plan.plan_absent(Parameter(value, type=kind), NAME).has_changes


def test_lists_in_another_order_are_not_equivalent():
    assert not config_plan.is_equivalent('{"agent":[2,1]}', {"agent": [1, 2]})


@pytest.mark.parametrize("current", [None, Parameter(TEXT)])
def test_a_configuration_over_the_limit_is_an_error_whatever_is_stored(current):
    with pytest.raises(InvalidInput, match="8193 bytes"):
        config_plan.plan(current, declare(config_of_size(8193)))


def test_a_parameter_is_deleted():
    plan = config_plan.plan_absent(Parameter(TEXT), NAME)
    [[step]] = plan.steps.values()
    assert step.summary == f"delete parameter '{NAME}'"
    assert step.done_when == {"ParameterNotFound"}
    assert plan.counts == {"create": 0, "update": 0, "delete": 1}


def test_a_missing_parameter_is_not_deleted():
    assert not config_plan.plan_absent(None, NAME).has_changes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not JSON: .* at line 1 column 1"),
        ('{\n  "agent": {},\n}', "is not JSON: .* at line [23] column"),
        ("agent: {}", "is not JSON"),
        ('{"agent": {"a": 1, "a": 2}}', "duplicate key 'a'"),
        ('{"agent": {"b": 1, "b": 2, "a": 1, "a": 2}}', "duplicate key 'a'"),
        ('{"agent": {}, "agent": {}}', "duplicate key 'agent'"),
        ('{"agent": {"a": NaN}}', "NaN is not a JSON value"),
        ('{"agent": {"a": -Infinity}}', "-Infinity is not a JSON value"),
        ("[]", "it is not a JSON object"),
        ("null", "it is not a JSON object"),
        ('"agent"', "it is not a JSON object"),
        ("{}", "is empty: it needs at least one of the sections agent, logs, metrics"),
        (
            '{"agent": {}, "metric": {}, "log": {}}',
            "sections that the agent does not know: log, metric. The agent knows agent",
        ),
    ],
)
def test_text_that_is_not_a_configuration_is_an_error(text, message):
    with pytest.raises(InvalidInput, match="^linux.json.*" + message):
        config_plan.parse(text, "linux.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"agent": 1e999}', "a number or a character that is not valid in JSON"),
        ('{"agent": "\\ud800"}', "a number or a character that is not valid in JSON"),
        ('{"a":' * 99999, "cannot be parsed as JSON"),
    ],
    ids=["infinite number", "lone surrogate", "deeply nested"],
)
def test_text_that_cannot_be_stored_is_an_error(text, message):
    with pytest.raises(InvalidInput, match=message):
        config_plan.select_tier(None, declare(config_plan.parse(text, "linux.json")))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800"])
def test_a_mapping_that_cannot_be_stored_is_an_error(value):
    with pytest.raises(InvalidInput, match="not valid in JSON"):
        config_plan.select_tier(None, declare(config_plan.check_config({"agent": {"a": [value]}}, "config")))


@pytest.mark.parametrize(
    ("config", "is_valid"),
    [
        ({"agent": {"a": "{{ssm:b}}"}}, False),
        ({"agent": {"{{a}}": 1}}, False),
        ({"logs": {"a": ["b", {"c": "d {{"}]}}, False),
        ({"agent": {"a": "{instance_id}"}}, True),
        ({"agent": {"a": "}}", "b": {"c": {}}}}, True),
        ({"agent": {"a": "{ {"}}, True),
    ],
)
def test_what_parameter_store_takes_for_a_reference_is_refused(config, is_valid):
    """AWS says so when it is written only, which is when the admin window is open. The emulators store it."""
    if is_valid:
        assert "{{" not in declare(config_plan.check_config(config, "config")).value
        return
    with pytest.raises(InvalidInput, match=r"^config has '\{\{' in a text, which Parameter Store refuses"):
        config_plan.check_config(config, "config")


@pytest.mark.parametrize("section", sorted(SECTIONS))
def test_every_section_is_parsed(section):
    assert config_plan.parse(f' {{ "{section}" : {{ "a": [1.5, null, true, "ü"] }} }}\n', "x") == {
        section: {"a": [1.5, None, True, "ü"]}
    }


def test_two_sections_can_have_the_same_key():
    assert config_plan.parse('{"agent": {"a": 1}, "logs": {"a": 1}}', "x") == {"agent": {"a": 1}, "logs": {"a": 1}}


@pytest.mark.parametrize(
    ("name", "is_valid"),
    [
        ("AmazonCloudWatch-linux", True),
        ("AmazonCloudWatch-web.eu_1-A", True),
        ("AmazonCloudWatch-" + "x" * 900, True),
        ("AmazonCloudWatch-".ljust(config_plan.MAX_NAME, "x"), True),
        ("AmazonCloudWatch-".ljust(config_plan.MAX_NAME + 1, "x"), False),
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
def test_a_parameter_name_must_be_allowed_by_policy_and_aws(name, is_valid):
    if is_valid:
        config_plan.check_parameter_name(name)
        return
    with pytest.raises(
        InvalidInput, match=r"does not begin with AmazonCloudWatch-|AWS allows up to 954 characters, letters, digits"
    ):
        config_plan.check_parameter_name(name)


@pytest.mark.parametrize(
    ("current", "result"),
    [(Parameter("ü", version=3), {"name": NAME, "value": "ü", "size": 2, "version": 3}), (None, None)],
)
def test_the_result_has_the_size_in_bytes(current, result):
    assert config_plan.to_result(NAME, current) == result


@pytest.mark.parametrize(
    ("current", "diff"),
    [
        (Parameter(TEXT), {"name": NAME, "type": "String", "config": CONFIG}),
        (Parameter("broken"), {"name": NAME, "type": "String", "config": "broken"}),
        (None, {}),
    ],
)
def test_the_diff_has_the_configuration_in_readable_form(current, diff):
    assert config_plan.to_diff(NAME, current) == diff


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


def resource(ssm: Ssm, desired: DesiredParameter | None, known: KnownState | None = None) -> ParameterResource:
    gateway: Any = Gateway(ssm)
    return ParameterResource(gateway, NAME, desired, REGION, known)


@given(STORED, CONFIGS, st.booleans())
def test_applying_a_plan_leads_to_the_planned_state(current, config, small_but_advanced):
    is_advanced = current and (small_but_advanced or len(current.value.encode()) > 4096)
    ssm = Ssm(current, "Advanced" if is_advanced else "Standard")
    earlier_tier, store = ssm.tier, resource(ssm, declare(config))
    if current and current.type != "String":
        with pytest.raises(InvalidInput, match="SecureString"):
            store.plan(current)
        return
    plan = store.plan(current)
    apply(plan, store.execute, check_mode=False)
    assert plan.current is current
    assert ssm.parameter == plan.planned
    assert not store.plan(plan.planned).has_changes
    assert (earlier_tier, ssm.tier) != ("Advanced", "Standard")
    assert json.dumps(json.loads(plan.planned.value), sort_keys=True) == json.dumps(config, sort_keys=True)
    assert plan.has_changes == (plan.planned != current)


@given(STORED)
def test_applying_the_plan_of_a_deletion_leads_to_the_planned_state(current):
    ssm = Ssm(current)
    deletion = resource(ssm, None)
    plan = deletion.plan(current)
    apply(plan, deletion.execute, check_mode=False)
    assert plan.current is current
    assert ssm.parameter is plan.planned is None
    assert not deletion.plan(None).has_changes


def test_a_small_parameter_in_the_advanced_tier_remains_there():
    ssm = Ssm(Parameter("old"), "Advanced")
    store = resource(ssm, declare(CONFIG))
    [[step]] = store.plan(ssm.parameter).steps.values()
    store.execute(step)
    assert (ssm.parameter, ssm.tier) == (Parameter(TEXT, version=1), "Advanced")


def test_a_tier_that_the_user_chose_is_not_replaced_by_another():
    ssm = Ssm(Parameter("old"), "Advanced")
    store = resource(ssm, declare(CONFIG, "Standard"))
    [[step]] = store.plan(ssm.parameter).steps.values()
    with pytest.raises(AwsApiError, match="advanced"):
        store.execute(step)
    assert (ssm.parameter, ssm.tier) == (Parameter("old"), "Advanced")


@pytest.mark.parametrize(
    ("desired", "error"),
    [
        (declare(CONFIG), AwsApiError("no such key", "ValidationException")),
        (declare(CONFIG), AwsApiError("no access to advanced parameters", "AccessDeniedException")),
        (None, AwsApiError("advanced", "ValidationException")),
    ],
)
@pytest.mark.parametrize("name", [NAME, "AmazonCloudWatch-advanced"])
def test_other_errors_do_not_lead_to_the_advanced_tier(desired, error, name):
    """Such as one whose message has the name of the parameter."""
    error = AwsApiError(f"could not write '{name}' (parameter/{name}): {error}", error.code)
    executed = []

    class FailingGateway(Gateway):
        def execute(self, step: Any, max_attempts: int = 1) -> Any:
            executed.append(step)
            raise error

    gateway: Any = FailingGateway(Ssm(None))
    parameter = ParameterResource(gateway, name, desired and replace(desired, name=name), REGION)
    [[step]] = parameter.plan(None if desired else Parameter("old")).steps.values()
    with pytest.raises(AwsApiError, match=re.escape(str(error))):
        parameter.execute(step)
    assert executed == [step]


@pytest.mark.parametrize(("version", "planned_version"), [(None, 1), (1, 2), (7, 8)])
def test_the_planned_state_has_the_next_version(version, planned_version):
    plan = config_plan.plan(Parameter("old", version=version), declare(CONFIG))
    assert plan.planned == Parameter(TEXT, version=planned_version)


@pytest.mark.parametrize(
    ("current", "final", "result"),
    [
        (
            None,
            Parameter(TEXT, version=1),
            {
                "parameter": {"name": NAME, "value": TEXT, "size": len(TEXT.encode()), "version": 1},
                "region": REGION,
                "window_parameter": {"name": NAME, "region": REGION},
                "previous": {},
            },
        ),
        (
            Parameter(TEXT, version=3),
            None,
            {
                "parameter": None,
                "region": REGION,
                "window_parameter": {"name": NAME, "region": REGION},
                "previous": {"value": TEXT, "type": "String", "version": 3},
            },
        ),
    ],
)
def test_the_result_has_the_region_and_the_previous_parameter(current, final, result):
    plan = config_plan.plan(current, declare(CONFIG))
    assert resource(Ssm(current), declare(CONFIG)).to_result(plan, final) == result


@pytest.mark.parametrize("current", [None, Parameter("old", version=3), Parameter(TEXT, version=3)])
def test_a_known_state_is_not_read_again(current):
    ssm = Ssm(current)
    result = converge(resource(ssm, declare(CONFIG), KnownState(current)), False, None)
    assert ssm.parameter.value == TEXT
    assert result["parameter"]["version"] == ssm.parameter.version
    assert result["changed"] == (current is None or current.value == "old")


@given(CONFIGS.filter(lambda config: "{{" not in json.dumps(config)))
def test_parsing_returns_the_configuration_that_was_written(config):
    assert config_plan.parse(json.dumps(config), "x") == config
    assert config_plan.parse(declare(config).value, "x") == config
