from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, replace
from typing import Any, ClassVar

import pytest
from aws_model import Gateway, Ssm
from hypothesis import given
from hypothesis import strategies as st
from json_values import json_values

from ansible_collections.cwagent.iam.plugins.module_utils._configuration import parameter_plan
from ansible_collections.cwagent.iam.plugins.module_utils._configuration.parameter import (
    ParameterResource,
    TagsResource,
)
from ansible_collections.cwagent.iam.plugins.module_utils._configuration.parameter_plan import (
    DesiredConfig,
    DesiredParameter,
    Parameter,
    State,
    desired_config,
)
from ansible_collections.cwagent.iam.plugins.module_utils._configuration.parts import (
    SECTION_RULES,
    comparable,
    merge,
    minify,
    part_names,
)
from ansible_collections.cwagent.iam.plugins.module_utils._ground.converge import converge
from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import (
    PERMISSION_RETRY_CODES,
    AwsApiError,
    ConsistencyTimeout,
    CwagentError,
    InvalidInput,
)
from ansible_collections.cwagent.iam.plugins.module_utils._ground.plan import Plan, Step, apply

NAME, REGION = "AmazonCloudWatch-linux", "eu-central-1"
SECOND, THIRD, FOURTH = part_names(NAME, 4)[1:]
CONFIG = {"agent": {"interval": 60, "debug": True}, "metrics": {"namespace": "ü"}}
TEXT = '{"agent":{"interval":60,"debug":true},"metrics":{"namespace":"ü"}}'

# Others can store any text. This is JSON that Python does not parse.
DEEPLY_NESTED = '{"a":' * 99999 + "1" + "}" * 99999


def config_of_size(size: int, fill: str = "ü") -> dict[str, Any]:
    """A configuration of this size in bytes. Most characters take two, so that counting characters would differ."""
    room, width = size - len('{"agent":""}'), len(json.dumps(fill, ensure_ascii=False).encode()) - 2
    return {"agent": fill * (room // width) + "x" * (room % width)}


def config_of_parts(*sizes: int) -> dict[str, Any]:
    """A configuration whose entries have these sizes in bytes; no two are the same."""
    entries = [{"file_path": f"{i}".ljust(size - len('{"file_path":""}'), "x")} for i, size in enumerate(sizes)]
    return {"logs": {"logs_collected": {"files": {"collect_list": entries}}}}


def declare(config: dict[str, Any], tier: str | None = None) -> DesiredParameter:
    return DesiredParameter(NAME, minify(config), tier)


def whole(config: dict[str, Any], tier: str | None = None) -> DesiredConfig:
    """A configuration in one parameter, whatever its size."""
    return DesiredConfig(NAME, config, (declare(config, tier),))


def parts(config: dict[str, Any], tier: str | None = None) -> DesiredConfig:
    return desired_config(NAME, config, tier, can_be_split=True)


ABSENT, ABSENT_PARTS = DesiredConfig(NAME), DesiredConfig(NAME, can_be_split=True)


def parameter(config: dict[str, Any], version: int | None = None) -> Parameter:
    return Parameter(declare(config).value, version=version)


def one(current: Parameter | None) -> State:
    return {NAME: current}


def plan_one(current: Parameter | None, desired: DesiredParameter) -> Plan[State]:
    return parameter_plan.plan(one(current), DesiredConfig(NAME, parameters=(desired,)))


@pytest.mark.parametrize(
    ("current_size", "size", "declared_tier", "tier"),
    [
        *((None, 4096, tier, tier) for tier in ("Standard", "Advanced")),
        (None, 8192, "Advanced", "Advanced"),
        (4096, 4096, None, "Standard"),
        (4097, 12, "Standard", "Standard"),
        *((current, size, None, "Advanced") for current, size in ((4097, 4096), (8192, 12), (12, 4097))),
        (None, 8193, "Advanced", 8192),
        (None, 4097, "Standard", 4096),
    ],
)
def test_the_smallest_tier_that_fits_is_selected(current_size, size, declared_tier, tier):
    """If none fits, the error has the limit."""
    desired = declare(config_of_size(size), declared_tier)
    assert len(desired.value.encode()) == size
    current = None if current_size is None else parameter(config_of_size(current_size))
    if isinstance(tier, str):
        assert parameter_plan.select_tier(current, desired) == tier
        return
    with pytest.raises(InvalidInput, match=f"{size} bytes when minified; Parameter Store takes {tier} in the"):
        parameter_plan.select_tier(current, desired)


@pytest.mark.parametrize("fill", ["x", "ü", "日", "😀", '"', "\n", "\x01"])
@pytest.mark.parametrize(
    ("size", "tier"), [(4095, "Standard"), (4096, "Standard"), (4097, "Advanced"), (8192, "Advanced"), (8193, None)]
)
def test_the_size_counts_the_bytes_of_the_minified_text(size, tier, fill):
    config = config_of_size(size, fill)
    desired = declare(config)
    assert len(desired.value.encode()) == size
    if tier:
        [[step]] = plan_one(None, desired).steps.values()
        assert step.arguments["tier"] == tier
        assert json.loads(step.arguments["value"]) == config
    else:
        with pytest.raises(InvalidInput, match=f"{size} bytes when minified"):
            plan_one(None, desired)


SAME = [
    TEXT,
    json.dumps(CONFIG, indent=4),
    json.dumps(dict(reversed(CONFIG.items()))),
    '{"agent":{"debug":true,"interval":60},"metrics":{"namespace":"\\u00fc"}}',
]
OTHERS = [
    *(TEXT.replace(*each) for each in (("60", "61"), ("60", '"60"'), ("true", "1"))),
    *('{"agent":{"interval":60,"debug":true}}', "not JSON", "", DEEPLY_NESTED),
]


@pytest.mark.parametrize(
    ("value", "kind"),
    [*((value, None) for value in SAME), *((value, "update") for value in OTHERS), (None, "create")],
)
def test_a_configuration_is_stored_only_if_its_content_differs(value, kind):
    current = None if value is None else Parameter(value)
    assert parameter_plan.is_up_to_date(current, declare(CONFIG)) is (kind is None)
    plan = plan_one(current, declare(CONFIG))
    tier = "Advanced" if value == DEEPLY_NESTED else "Standard"
    arguments = {"name": NAME, "value": TEXT, "type": "String", "overwrite": True, "tier": tier}
    assert [step.arguments for step in plan.all_steps] == [arguments] * bool(kind)
    assert all(step.retry_when == PERMISSION_RETRY_CODES for step in plan.all_steps)
    assert plan.counts == {each: int(each == kind) for each in ("create", "update", "delete")}
    assert plan.summaries == [f"store the configuration in parameter '{NAME}'"] * bool(kind)


@pytest.mark.parametrize("value", [TEXT, "other"])
@pytest.mark.parametrize("kind", ["SecureString", "StringList"])
def test_a_parameter_of_another_type_is_an_error_unless_it_is_deleted(value, kind):
    unchangeable = f"'{NAME}' exists with type {kind}, and Parameter Store cannot change the type"
    message = f"{unchangeable}. The collection stores only type String"
    with pytest.raises(InvalidInput, match=message):
        plan_one(Parameter(value, type=kind), declare(CONFIG))
    [deletion] = parameter_plan.plan(one(Parameter(value, type=kind)), ABSENT).all_steps
    assert deletion.done_when == {"ParameterNotFound"}
    assert not parameter_plan.plan(one(None), ABSENT).has_changes


def test_lists_in_another_order_are_not_equivalent():
    assert plan_one(Parameter('{"agent":[2,1]}'), declare({"agent": [1, 2]})).has_changes


@pytest.mark.parametrize(
    "name", ["linux", "web.eu_1-A", "x" * 900, "x" * (parameter_plan.MAX_NAME - len("AmazonCloudWatch-"))]
)
def test_a_parameter_name_can_have_any_letters_that_aws_allows(name):
    parameter_plan.check_parameter_name(f"AmazonCloudWatch-{name}")


@pytest.mark.parametrize(
    "name",
    [
        "AmazonCloudWatch-".ljust(955, "x"),
        *(f"AmazonCloudWatch-{name}" for name in ("linux/eu", "linux\n", "linux eu", "ünix", "linux:1")),
        *("amazoncloudwatch-linux", "AmazonCloudWatch_linux", "/AmazonCloudWatch-linux", "linux", ""),
    ],
)
def test_a_parameter_name_must_be_allowed_by_policy_and_aws(name):
    is_ours = name.startswith("AmazonCloudWatch-")
    words = "AWS allows up to 954 characters, letters, digits" if is_ours else "does not begin with AmazonCloudWatch-"
    with pytest.raises(InvalidInput, match=words):
        parameter_plan.check_parameter_name(name)


@pytest.mark.parametrize(
    ("current", "result"),
    [(Parameter("ü", version=3), {"name": NAME, "value": "ü", "size": 2, "version": 3}), (None, None)],
)
def test_the_result_has_the_size_in_bytes(current, result):
    assert parameter_plan.to_result(NAME, current) == result


@pytest.mark.parametrize(
    ("current", "diff"),
    [
        (Parameter(TEXT), {NAME: {"type": "String", "config": CONFIG}}),
        (Parameter("broken"), {NAME: {"type": "String", "config": "broken"}}),
        (Parameter(DEEPLY_NESTED), {NAME: {"type": "String", "config": DEEPLY_NESTED}}),
        (None, {}),
    ],
)
def test_the_diff_has_the_configuration_in_readable_form(current, diff):
    assert parameter_plan.to_diff(one(current)) == diff


def test_a_change_of_several_parts_is_shown_part_by_part():
    before, after = parts(config_of_parts(8000, 8000, 8000)), parts(config_of_parts(8000, 7999, 7998))
    stored = {each.name: Parameter(each.value) for each in before.parameters}
    lines = converge(resource(Ssm(stored), after), True, None)["diff"]["prepared"].splitlines()
    assert [line for line in lines if line.startswith("p")] == [f"parameter '{name}'" for name in (SECOND, THIRD)]


@pytest.mark.parametrize("value", [None, "not JSON", DEEPLY_NESTED, json.dumps(CONFIG, indent=1), TEXT])
@pytest.mark.parametrize("desired", [whole(CONFIG), ABSENT], ids=["stored", "absent"])
def test_anything_but_a_change_is_shown_as_a_whole(value, desired):
    current = None if value is None else Parameter(value)
    after = Parameter(TEXT) if desired.parameters else None
    result = converge(resource(Ssm(one(current)), desired, one(current)), True, None)
    assert result["diff"] == {
        "before": parameter_plan.to_diff(one(current)),
        "after": parameter_plan.to_diff(one(after)),
    }


CONFIGS = st.dictionaries(st.sampled_from(sorted(SECTION_RULES)), json_values(), min_size=1)
STORED = st.none() | st.builds(
    Parameter,
    value=CONFIGS.map(lambda config: json.dumps(config, indent=1)) | st.just("x" * 5000) | st.just("broken"),
    type=st.sampled_from(["String", "SecureString"]),
    version=st.integers(1, 9),
)
# Of so many sizes that up to four parts are needed.
LARGE_CONFIGS = st.lists(st.integers(20, 8000), min_size=1, max_size=4).map(lambda sizes: config_of_parts(*sizes))


def resource(ssm: Ssm, desired: DesiredConfig, known: State | None = None) -> ParameterResource:
    gateway: Any = Gateway(ssm)
    return ParameterResource(gateway, desired, REGION, known)


def failing(ssm: Ssm, error_of: Callable[[Step], AwsApiError | None]) -> Any:
    """A gateway that fails for some steps, and has the list of those it executed."""

    class FailingGateway(Gateway):
        executed: ClassVar[list[Step]] = []

        def execute(self, step: Any, max_attempts: int = 1) -> Any:
            self.executed.append(step)
            error = error_of(step)
            if error:
                raise error
            return super().execute(step)

    return FailingGateway(ssm)


@given(STORED, CONFIGS, st.booleans())
def test_applying_a_plan_leads_to_the_planned_state(current, config, small_but_advanced):
    is_advanced = current and (small_but_advanced or len(current.value.encode()) > 4096)
    ssm = Ssm(one(current), [NAME] if is_advanced else [])
    earlier_tier, store = ssm.tiers.get(NAME), resource(ssm, whole(config))
    if current and current.type != "String":
        with pytest.raises(InvalidInput, match="SecureString"):
            store.plan(one(current))
        return
    plan = store.plan(one(current))
    apply(plan, store.execute, check_mode=False)
    assert plan.current == one(current)
    assert ssm.parameters == plan.planned
    assert not store.plan(plan.planned).has_changes
    assert (earlier_tier, ssm.tiers[NAME]) != ("Advanced", "Standard")
    stored = ssm.parameters[NAME].value
    assert json.dumps(json.loads(stored), sort_keys=True) == json.dumps(config, sort_keys=True)
    assert plan.has_changes == (plan.planned != plan.current)


@pytest.mark.parametrize(("tier", "is_moved"), [(None, True), ("Standard", False)])
def test_a_small_parameter_remains_in_the_advanced_tier_unless_the_user_chose_another(tier, is_moved):
    ssm = Ssm(one(Parameter("old")), [NAME])
    store = resource(ssm, whole(CONFIG, tier))
    [[step]] = store.plan(ssm.parameters).steps.values()
    with nullcontext() if is_moved else pytest.raises(AwsApiError, match="advanced"):
        store.execute(step)
    assert ssm.parameters == one(Parameter(TEXT, version=1) if is_moved else Parameter("old"))
    assert ssm.tiers == {NAME: "Advanced"}


@pytest.mark.parametrize(
    ("config", "error"),
    [
        (CONFIG, AwsApiError("no such key", "ValidationException")),
        (CONFIG, AwsApiError("no access to advanced parameters", "AccessDeniedException")),
        (None, AwsApiError("advanced", "ValidationException")),
    ],
    ids=["another mistake", "another code", "deletion"],
)
@pytest.mark.parametrize("name", [NAME, "AmazonCloudWatch-advanced"])
def test_other_errors_do_not_lead_to_the_advanced_tier(config, error, name):
    """For example, an error whose message contains the name of the parameter."""
    error = AwsApiError(f"could not write '{name}' (parameter/{name}): {error}", error.code)
    gateway = failing(Ssm({}), lambda _step: error)
    desired = desired_config(name, config, None, can_be_split=False) if config else DesiredConfig(name)
    store = ParameterResource(gateway, desired, REGION)
    [[step]] = store.plan({name: None if config else Parameter("old")}).steps.values()
    with pytest.raises(AwsApiError, match=re.escape(str(error))):
        store.execute(step)
    assert gateway.executed == [step]


def shown(version: int) -> dict[str, Any]:
    return {"name": NAME, "value": TEXT, "size": len(TEXT.encode()), "version": version}


@pytest.mark.parametrize(
    ("current", "desired", "parameters"),
    [
        (None, whole(CONFIG), [shown(1)]),
        (Parameter(TEXT, version=3), ABSENT, []),
        (Parameter(TEXT, version=3), whole(CONFIG), [shown(3)]),
    ],
    ids=["created", "deleted", "unchanged"],
)
@pytest.mark.parametrize("check_mode", [True, False])
def test_the_result_has_the_region(current, desired, parameters, check_mode):
    done = converge(resource(Ssm(one(current)), desired), check_mode, None)
    assert (done["region"], done["surplus"], done["parameters"]) == (REGION, [], parameters)
    assert done["window_parameters"] == [{"name": NAME, "region": REGION}] * (parameters != [shown(3)])


@pytest.mark.parametrize("current", [None, Parameter("old", version=3), Parameter(TEXT, version=3)])
def test_a_known_state_is_not_read_first(current):
    ssm = Ssm(one(current))
    result = converge(resource(ssm, whole(CONFIG), one(current)), False, None)
    assert ssm.read == []
    assert ssm.parameters[NAME].value == TEXT
    assert result["parameters"][0]["version"] == ssm.parameters[NAME].version
    assert result["changed"] == (current is None or current.value == "old")


# Several parameters


@pytest.mark.parametrize(
    ("config", "tier", "sizes"),
    [
        (config_of_parts(7000), None, [(NAME, "Advanced")]),
        (config_of_parts(3000), None, [(NAME, "Standard")]),
        (config_of_parts(7000, 7000), None, [(NAME, "Advanced"), (SECOND, "Advanced")]),
        (config_of_parts(7000, 3000), None, [(NAME, "Advanced"), (SECOND, "Standard")]),
        (config_of_parts(7000, 3000), "Advanced", [(NAME, "Advanced"), (SECOND, "Advanced")]),
        (config_of_parts(3000, 3000), "Standard", [(NAME, "Standard"), (SECOND, "Standard")]),
        (config_of_parts(3000, 3000, 3000), None, [(NAME, "Advanced"), (SECOND, "Standard")]),
    ],
)  # fmt: skip
def test_each_part_has_a_name_a_tier_and_a_step(config, tier, sizes):
    desired = parts(config, tier)
    plan = parameter_plan.plan(dict.fromkeys(desired.names), desired)
    assert [(step.arguments["name"], step.arguments["tier"]) for step in plan.all_steps] == sizes
    assert list(plan.steps) == desired.names == [name for name, _tier in sizes]
    assert all(len(steps) == 1 for steps in plan.steps.values())
    assert plan.summaries == [f"store the configuration in parameter '{name}'" for name in desired.names]


def test_only_the_parts_that_differ_are_stored():
    desired = parts(config_of_parts(8000, 8000, 8000))
    first, second, third = (Parameter(each.value, version=2) for each in desired.parameters)
    cases: list[tuple[State, list[str]]] = [
        ({NAME: first, SECOND: second, THIRD: third}, []),
        ({NAME: first, SECOND: third, THIRD: third}, [SECOND]),
        ({NAME: first, SECOND: second, THIRD: None}, [THIRD]),
        ({NAME: second, SECOND: None, THIRD: third}, [NAME, SECOND]),
    ]
    for current, stored in cases:
        result = converge(resource(Ssm(current), desired), False, None)
        assert result["steps"] == [f"store the configuration in parameter '{name}'" for name in stored]
        assert result["window_parameters"] == [{"name": name, "region": REGION} for name in stored]
        assert [each["name"] for each in result["parameters"]] == [NAME, SECOND, THIRD]
        assert [each["value"] for each in result["parameters"]] == [first.value, second.value, third.value]


@given(LARGE_CONFIGS, LARGE_CONFIGS, st.booleans())
def test_the_way_from_some_parts_to_others_leads_to_the_planned_state(earlier, later, other_tier):
    ssm = Ssm({})
    for config in (earlier, later, earlier):
        desired = parts(config, "Advanced" if other_tier else None)
        store = resource(ssm, desired)
        plan = store.plan(store.read())
        found = dict(ssm.parameters)
        apply(plan, store.execute, check_mode=False)
        assert ssm.parameters == plan.planned
        assert not store.plan(store.read()).has_changes
        stored = [json.loads(ssm.parameters[name].value) for name in desired.names]
        assert comparable(merge(stored)) == comparable(merge([config]))
        surplus = sorted(found.keys() - set(desired.names))
        assert parameter_plan.surplus(plan.current, desired) == surplus
        assert {name: ssm.parameters[name] for name in surplus} == {name: found[name] for name in surplus}
    deletion = resource(ssm, ABSENT_PARTS)
    apply(deletion.plan(deletion.read()), deletion.execute, check_mode=False)
    assert ssm.parameters == {}


@pytest.mark.parametrize(
    ("stored", "sizes", "surplus"),
    [
        ([], [8000], []),
        ([NAME], [8000], []),
        ([NAME, SECOND], [8000], [SECOND]),
        ([NAME, SECOND, THIRD], [8000], [SECOND, THIRD]),
        ([NAME, SECOND, THIRD], [8000, 8000], [THIRD]),
        ([NAME, SECOND, THIRD], [8000, 8000, 8000], []),
        ([NAME, SECOND, FOURTH], [8000], [SECOND]),
        ([SECOND], [8000], []),
    ],
)
@pytest.mark.parametrize("check_mode", [True, False])
def test_parameters_of_an_earlier_configuration_are_reported_and_remain(stored, sizes, surplus, check_mode):
    ssm = Ssm({name: Parameter("{}", version=1) for name in stored})
    result = converge(resource(ssm, parts(config_of_parts(*sizes))), check_mode, None)
    assert result["surplus"] == surplus
    assert {name: ssm.parameters[name].value for name in surplus} == dict.fromkeys(surplus, "{}")
    if surplus:
        [warning] = result["warnings"]
        assert f"'{NAME}' has {len(sizes)} part{'s' if len(sizes) > 1 else ''}, and" in warning
        assert f"further parameters: {', '.join(surplus)}." in warning
    else:
        assert result["warnings"] == []


def test_without_a_split_no_other_parameters_are_read():
    ssm = Ssm({name: Parameter("{}") for name in (NAME, SECOND)})
    for desired in (whole(CONFIG), ABSENT):
        result = converge(resource(ssm, desired), True, None)
        assert ssm.read == [NAME]
        assert (result["surplus"], result["warnings"]) == ([], [])
        ssm.read.clear()


@pytest.mark.parametrize(
    ("desired", "deleted", "remaining"),
    [(ABSENT, [NAME], [SECOND, THIRD]), (ABSENT_PARTS, [THIRD, SECOND, NAME], [])],
    ids=["alone", "with all parts"],
)
@pytest.mark.parametrize("check_mode", [True, False])
def test_all_parts_are_deleted_where_there_can_be_some(desired, deleted, remaining, check_mode):
    stored = {name: Parameter("{}", version=1) for name in (NAME, SECOND, THIRD)}
    ssm = Ssm(stored)
    result = converge(resource(ssm, desired), check_mode, None)
    assert result["steps"] == [f"delete parameter '{name}'" for name in deleted]
    assert result["counts"]["delete"] == len(deleted)
    assert (result["parameters"], result["surplus"], result["warnings"]) == ([], [], [])
    assert list(ssm.parameters) == (list(stored) if check_mode else remaining)


def test_the_next_run_finds_all_parts_that_could_not_be_deleted():
    ssm = Ssm({name: Parameter("{}") for name in (NAME, SECOND, THIRD)})
    denied = AwsApiError("denied", "AccessDeniedException")
    gateway = failing(ssm, lambda step: denied if step.arguments["name"] == SECOND else None)
    with pytest.raises(CwagentError, match="denied"):
        converge(ParameterResource(gateway, ABSENT_PARTS, REGION), False, None)
    result = converge(resource(ssm, ABSENT_PARTS), False, None)
    assert result["steps"] == [f"delete parameter '{name}'" for name in (SECOND, NAME)]
    assert ssm.parameters == {}


# Reading a stored configuration back


class LaterSsm(Ssm):
    """Parameter Store that shows something else after it was written.

    :param shown: the first parameter, as the next reads after a write show it. Later reads show the real one.
    """

    def __init__(self, parameters: State, shown: list[Parameter | None]) -> None:
        super().__init__(parameters)
        self._shown = shown
        self._is_written = False

    def put_parameter(self, *arguments: Any, **named: Any) -> None:
        super().put_parameter(*arguments, **named)
        self._is_written = True

    def get_parameter(self, name: str) -> dict[str, Any] | None:
        found = super().get_parameter(name)
        if not (self._is_written and self._shown and name == NAME):
            return found
        shown = self._shown.pop(0)
        return {"Parameter": {key.title(): value for key, value in asdict(shown).items()}} if shown else None


OLD, WRITTEN = Parameter("{}", version=4), Parameter(TEXT, version=5)


@pytest.mark.parametrize(
    ("current", "shown", "seconds"),
    [
        (OLD, [], 0),
        (OLD, [OLD], 2),
        (OLD, [OLD] * 7, 14),
        (None, [None, None], 4),
        (OLD, [replace(WRITTEN, version=6)], 0),  # another writer had the same configuration
    ],
    ids=["shown at once", "shown later", "shown at last", "created", "written twice"],
)
def test_a_stored_value_is_read_back_until_it_is_shown(current, shown, seconds, clock):
    reads = max(len(shown), 1)
    ssm = LaterSsm(one(current), shown)
    result = converge(resource(ssm, whole(CONFIG)), False, 15)
    assert (clock.now, result["parameters"][0]["value"]) == (seconds, TEXT)
    assert ssm.read == [NAME] * (1 + reads + bool(seconds))


@pytest.mark.parametrize(("current", "shown"), [(OLD, OLD), (None, None), (OLD, None)])
def test_a_value_that_is_never_shown_is_an_error(current, shown, clock):
    ssm = LaterSsm(one(current), [shown] * 99)
    with pytest.raises(ConsistencyTimeout, match=f"Not visible yet: store the configuration in parameter '{NAME}'"):
        converge(resource(ssm, whole(CONFIG)), False, 15)
    assert clock.now == 15


@pytest.mark.parametrize(
    ("current", "shown"),
    [
        (OLD, Parameter('{"agent":{}}', version=6)),
        (OLD, Parameter('{"agent":{}}', version=5)),
        (OLD, Parameter(json.dumps(CONFIG), version=6)),
        (None, Parameter("broken", version=2)),
        (None, Parameter("broken", version=1)),
    ],
    ids=["newer", "lost race", "other spaces", "created", "created, lost race"],
)
def test_a_value_that_something_else_wrote_meanwhile_is_an_error(current, shown, clock):
    with pytest.raises(CwagentError) as caught:
        converge(resource(LaterSsm(one(current), [shown]), whole(CONFIG)), False, 15)
    assert str(caught.value) == (
        f"parameter '{NAME}' has another value than the one that was just stored: something else wrote version "
        f"{shown.version}. Find out what, then run again."
    )
    assert caught.value.details["changed"] is True
    assert clock.now == 0


def test_each_part_is_read_back(clock):
    desired = parts(config_of_parts(8000, 8000))
    current = {each.name: Parameter(each.value, version=1) for each in desired.parameters}
    overwritten = Parameter("{}", version=7)
    # The first part has the desired value already, so it is not written and is nobody's mistake.
    ssm = LaterSsm({**current, SECOND: None}, [current[NAME]])
    assert converge(resource(ssm, desired), False, 15)["changed"]
    with pytest.raises(CwagentError, match=f"'{NAME}' has another value .* version 7"):
        converge(resource(LaterSsm({}, [overwritten]), desired), False, 15)
    assert clock.now == 0


def test_an_unwritten_value_is_not_checked():
    plan = parameter_plan.plan(one(replace(WRITTEN, version=3)), whole(CONFIG))
    parameter_plan.check_stored(plan, one(Parameter("other", version=9)))


def test_in_check_mode_nothing_is_read_back(clock):
    ssm = LaterSsm(one(OLD), [OLD] * 9)
    result = converge(resource(ssm, whole(CONFIG)), True, 15)
    assert ssm.read == [NAME]
    assert result["parameters"][0] == {"name": NAME, "value": TEXT, "size": len(TEXT.encode()), "version": 5}


# Tags

TAGS = st.dictionaries(st.sampled_from(["team", "cost-center", "stage"]), st.text(max_size=3), max_size=3)


@given(STORED.filter(lambda found: found is None or found.type == "String"), TAGS, TAGS, st.booleans())
def test_tags_are_set_and_tags_of_others_stay(current, others, tags, same):
    if current:
        current = replace(current, value=TEXT if same else current.value, tags=others)
    desired = desired_config(NAME, CONFIG, None, can_be_split=False, tags=tags)
    ssm = Ssm(one(current))
    store = resource(ssm, desired)
    result = converge(store, False, 0)
    found = ssm.parameters[NAME]
    assert json.loads(found.value) == CONFIG
    assert (found.tags or {}) == ({**others, **tags} if current else tags)
    assert converge(store, False, 0)["steps"] == []
    assert (ssm.tags_read != []) == bool(tags)
    missing = [key for key in tags if not current or others.get(key) != tags[key]]
    assert any(step.startswith("tag ") for step in result["steps"]) == bool(current and missing)
    assert result["window_parameters"] == [{"name": NAME, "region": REGION}] * any(
        step.startswith("store ") for step in result["steps"]
    )


def test_a_new_parameter_has_its_tags_from_its_creation_on():
    """AWS takes no tags for a parameter that may exist already; an organization may deny one without."""
    desired = desired_config(NAME, config_of_parts(8000, 8000), None, can_be_split=True, tags={"team": "ops"})
    steps = parameter_plan.plan(dict.fromkeys(desired.names), desired).all_steps
    assert [(step.action, step.arguments["tags"], "overwrite" in step.arguments) for step in steps] == [
        ("ssm:PutParameter", {"team": "ops"}, False)
    ] * 2


def test_a_parameter_that_was_created_meanwhile_is_overwritten_and_tagged(clock):
    ssm = Ssm({NAME: Parameter("theirs", version=4, tags={"team": "web", "stage": "live"})})
    desired = desired_config(NAME, CONFIG, None, can_be_split=False, tags={"team": "ops"})
    result = converge(resource(ssm, desired, one(None)), False, 30)
    assert clock.now == 2
    assert ssm.parameters[NAME] == Parameter(TEXT, version=5, tags={"team": "ops", "stage": "live"})
    assert result["steps"] == [f"store the configuration in parameter '{NAME}'", f"tag parameter '{NAME}' with team"]


@pytest.mark.parametrize("check_mode", [True, False])
@pytest.mark.parametrize(
    ("stored", "steps", "diff"),
    [
        (
            {"team": "web"},
            [f"tag parameter '{NAME}' with team, stage"],
            ['~ $.team: "web" -> "ops"', '+ $.stage: "live"'],
        ),
        ({"team": "ops", "stage": "live", "theirs": ""}, [], []),
    ],
)
def test_tags_alone_are_set_without_the_configuration(stored, steps, diff, check_mode):
    ssm = Ssm(one(Parameter(TEXT, version=1, tags=stored)))
    gateway: Any = Gateway(ssm)
    tags = {"team": "ops", "stage": "live"}
    result = converge(TagsResource(gateway, NAME, tags, REGION), check_mode, 0)
    assert (result["steps"], ssm.read) == (steps, [])
    assert result["diff"] == ({"prepared": "\n".join([f"tags of parameter '{NAME}'", *diff, ""])} if diff else {})
    assert result["parameters"] == [{"name": NAME, "tags": {**stored, **tags}}]
    assert ssm.parameters[NAME].tags == (stored if check_mode else {**stored, **tags})


def test_check_mode_tags_a_parameter_that_another_task_will_have_created():
    gateway: Any = Gateway(Ssm({}))
    result = converge(TagsResource(gateway, NAME, {"team": "ops"}, REGION), True, 0)
    assert result["steps"] == [f"tag parameter '{NAME}' with team"]


def test_another_error_than_a_missing_parameter_is_raised():
    class Denied(Gateway):
        def find(self, *arguments: Any, **options: Any) -> Any:
            raise AwsApiError("no", "AccessDeniedException")

    gateway: Any = Denied(Ssm({}))
    with pytest.raises(AwsApiError, match="no"):
        TagsResource(gateway, NAME, {}, REGION).read()


def test_changes_of_tags_and_configurations_are_shown_together():
    desired = desired_config(NAME, CONFIG, None, can_be_split=False, tags={"team": "ops"})
    stored = Parameter(TEXT.replace("60", "61"), version=1, tags={"stage": "live"})
    lines = converge(resource(Ssm(one(stored)), desired), True, None)["diff"]["prepared"].splitlines()
    assert lines == [
        f"parameter '{NAME}'",
        "~ $.agent.interval: 61 -> 60",
        f"tags of parameter '{NAME}'",
        '+ $.team: "ops"',
    ]
    created = converge(resource(Ssm({}), desired), True, None)["diff"]["after"]
    assert created == {NAME: {"type": "String", "config": CONFIG, "tags": {"team": "ops"}}}


@pytest.mark.parametrize("config", [CONFIG, "a: 1 # one"])
def test_a_configuration_in_one_parameter_is_in_it_as_a_whole(config):
    name = NAME if config == CONFIG else f"{NAME}.yaml"
    assert desired_config(name, config, None, can_be_split=True).configs == [config]


def test_each_parameter_of_a_split_configuration_has_its_part():
    config = config_of_parts(6000, 6000)
    desired = desired_config(NAME, config, None, can_be_split=True)
    assert [minify(each) for each in desired.configs] == [each.value for each in desired.parameters]
    assert desired.names == [NAME, f"{NAME}-2"]
