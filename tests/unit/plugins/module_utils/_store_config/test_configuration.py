"""A configuration from the result of its comparison, and the controller's work for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
from aws_model import Gateway, Ssm
from store_options import store_options

from ansible_collections.cwagent.iam.plugins.module_utils._config_parameter.plan import Parameter
from ansible_collections.cwagent.iam.plugins.module_utils._errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._store_config.configuration import Configuration, compared
from ansible_collections.cwagent.iam.plugins.module_utils._store_config.controller import ControllerSource, tidy
from ansible_collections.cwagent.iam.plugins.module_utils._store_config.transaction import Report, Source, Transaction

NAME = "AmazonCloudWatch-linux"
TEXT = '{"agent":{"metrics_collection_interval":60}}'
LARGE = json.dumps(
    {"logs": {"logs_collected": {"files": {"collect_list": [{"file_path": f"/{n}{'x' * 5000}"} for n in "ab"]}}}}
)


def stored(value: str, **more: Any) -> dict[str, Any]:
    return {"value": value, "type": "String", "version": 3, **more}


def comparison(
    config: Any = TEXT, previous: Any = None, region: Any = "eu-central-1", name: str = NAME
) -> dict[str, Any]:
    return {"name": name, "config": config, "previous": {NAME: {}} if previous is None else previous, "region": region}


def gateway(ssm: Ssm) -> Any:
    """The gateway to each region."""
    return lambda _region: Gateway(ssm)


def read(given: Any, tags: dict[str, str] | None = None, *, split: bool = False) -> Any:
    return compared(given, store_options(split=split).handling, tags or {})


@pytest.mark.parametrize(
    ("previous", "tags", "with_tags", "without"),
    [
        ({NAME: {}}, {}, 1, 1),
        ({NAME: {}}, {"team": "ops"}, 1, 1),  # a new parameter gets its tags as it is created
        ({NAME: stored(TEXT)}, {}, 0, 0),
        ({NAME: stored(TEXT, tags={})}, {"team": "ops"}, 1, 0),
        ({NAME: stored("{}", tags={})}, {"team": "ops"}, 2, 1),
    ],
)
def test_steps_to_store_with_and_without_tags(
    previous: dict[str, Any], tags: dict[str, str], with_tags: int, without: int
) -> None:
    found = read(comparison(previous=previous), tags)
    assert (len(found.plan.all_steps), len(found.plan_without_tags.all_steps)) == (with_tags, without)
    assert {name for step in found.plan_without_tags.all_steps for name in step.arguments} & {"tags"} == set()


def test_a_registered_comparison_is_read_unchanged() -> None:
    previous = {NAME: stored("{}"), f"{NAME}-2": stored("{}", tags={"a": "b"})}
    found = read(comparison(LARGE, previous), split=True)
    assert read(found.to_comparison(), split=True) == found


def test_parts_that_were_split_before_stay_as_they_are() -> None:
    """A run that goes back stores the earlier parts. Splitting the whole again could cut it in other places."""
    parts = ['{"agent":{"debug":true}}', '{"agent":{"region":"eu-central-1"}}']
    found = read({**comparison(), "parts": parts}, split=True)
    assert [(each.name, each.value) for each in found.desired.parameters] == [(NAME, parts[0]), (f"{NAME}-2", parts[1])]
    assert found.to_comparison()["parts"] == parts
    assert read(found.to_comparison(), split=True) == found
    assert "parts" not in read(comparison(), split=True).to_comparison()


@pytest.mark.parametrize("parts", [["{"], ["[]"], [1], "x", {"{}": "{}", "1": 1}, 1])
def test_parts_that_are_no_configurations_are_refused(parts: Any) -> None:
    with pytest.raises(InvalidInput, match="compared must be the result of a task"):
        read({**comparison(), "parts": parts}, split=True)


@pytest.mark.parametrize(("value", "steps"), [(None, 1), ("a: 1\n", 0), ("a: 2\n", 1), ('{"a": 1}', 1)])
@pytest.mark.parametrize("split", [False, True])
def test_text_in_yaml_is_compared_and_stored_as_it_is(value: str | None, steps: int, split: bool) -> None:
    name = f"{NAME}.yaml"
    found = read(comparison("a: 1\n", {name: stored(value) if value else {}}, name=name), split=split)
    assert read(found.to_comparison(), split=split) == found
    assert [step.arguments["value"] for step in found.plan.all_steps] == ["a: 1\n"] * steps
    after = {name: {"type": "String", "config": "a: 1\n"}} if steps else found.to_diff(found.plan)["before"]
    assert found.to_diff(found.plan)["after"] == after


def test_a_split_configuration_lists_its_parts_in_order_and_leftovers() -> None:
    parts, names = read(comparison(LARGE, {NAME: {}}), split=True), [NAME, f"{NAME}-2"]
    expected = {"name": NAME, "region": "eu-central-1", "parameters": [{"name": each} for each in names]}
    assert parts.to_result() == expected
    smaller = read(comparison(previous={each: stored("{}") for each in names}), split=True)
    assert (smaller.name, smaller.surplus) == (NAME, names[1:])


@pytest.mark.parametrize(("previous", "shown"), [({NAME: stored('{"agent":{}}')}, "prepared"), ({NAME: {}}, "after")])
def test_a_change_is_shown_by_path_and_a_new_configuration_as_a_whole(previous: dict[str, Any], shown: str) -> None:
    found = read(comparison(previous=previous))
    assert shown in found.to_diff(found.plan)


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize(
    "given",
    [
        {},
        {"name": NAME},
        {"name": NAME, "previous": {NAME: {}}, "config": TEXT},
        {**comparison(), "name": 5},
        5,
        *(comparison(config=each) for each in (None, 5, {}, "", "{", "null", "[]", '"text"', "5")),
        *(comparison(previous=each) for each in ({}, 5, [NAME], "text", {5: {}}, {"other": {}})),
        *(comparison(previous={NAME: each}) for each in (5, {"nope": 1}, {"value": 5})),
        *(comparison(region=each) for each in (None, 5, "", "*")),
        *(comparison(each, {f"{NAME}.yaml": {}}, name=f"{NAME}.yaml") for each in (None, 5, {})),
    ],
)
def test_anything_else_is_refused(given: Any, split: bool) -> None:
    with pytest.raises(InvalidInput):
        read(given, split=split)


@pytest.mark.parametrize("check_mode", [False, True])
def test_the_controller_stores_with_tags_and_acquires_nothing(check_mode: bool) -> None:
    ssm, new, report = Ssm({}), read(comparison(), {"team": "ops"}), Report()
    transaction = Transaction(ControllerSource(report, gateway(ssm)), [new], lambda: None, nullcontext)
    done = transaction.predict() if check_mode else transaction.run()
    assert done["steps"] == new.plan.summaries
    assert not done["released"]
    assert {name: each.tags for name, each in ssm.parameters.items()} == ({} if check_mode else {NAME: {"team": "ops"}})


@pytest.mark.parametrize("check_mode", [False, True])
@pytest.mark.parametrize("surplus", [False, True])
def test_only_differences_are_tagged_and_only_undeclared_parts_deleted(check_mode: bool, surplus: bool) -> None:
    """One configuration lacks a tag. Another has all tags, but has left a part with the name of the first one."""
    tags, names, report = {"team": "ops"}, [NAME, f"{NAME}-2", f"{NAME}-3"], Report()
    ssm = Ssm({name: Parameter(TEXT, version=3, tags={}) for name in names})
    complete = read(comparison(previous={each: stored(TEXT, tags=tags) for each in names}), tags, split=True)
    lacking = read(comparison(previous={names[1]: stored(TEXT, tags={})}, name=names[1]), tags)
    # The source had nothing to store.
    tidy(report, gateway(ssm), [complete, lacking], host="ops1", tags=True, surplus=surplus, check_mode=check_mode)
    left = names[:2] if surplus and not check_mode else names
    changed = {} if check_mode else {names[1]: tags}
    assert {name: each.tags for name, each in ssm.parameters.items()} == {**{name: {} for name in left}, **changed}
    assert len(report.to_result()["steps"]) == 1 + surplus


class Acquiring(Source):
    """A source that has to acquire its permission, and may not tag. It is interrupted as it does so."""

    def __init__(self, report: Report) -> None:
        super().__init__(report)
        self.waits: list[float | None] = []

    def acquire(self) -> None:
        self.began = True
        raise KeyboardInterrupt

    def store(self, configuration: Configuration) -> dict[str, Any]:
        raise NotImplementedError

    def release(self, wait: float | None = None) -> None:
        self.waits.append(wait)


def controller(report: Report) -> Source:
    return ControllerSource(report, gateway(Ssm({})))


@pytest.mark.parametrize(("make", "steps"), [(controller, 1), (Acquiring, 0)])
def test_a_difference_in_tags_alone_is_for_a_source_that_may_tag(make: Callable[[Report], Source], steps: int) -> None:
    found = read(comparison(previous={NAME: stored(TEXT, tags={})}), {"team": "ops"})
    predicted = Transaction(make(Report()), [found], lambda: None, nullcontext).predict()
    assert len(predicted["steps"]) == steps


def test_an_interrupted_run_releases_and_waits_ten_seconds_at_most() -> None:
    source = Acquiring(Report())
    with pytest.raises(KeyboardInterrupt):
        Transaction(source, [read(comparison())], lambda: None, nullcontext).run()
    assert source.waits == [10]
