"""A configuration from the result of its comparison, and the controller's work for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._aws import Aws
from ansible_collections.cwagent.iam.plugins.module_utils._errors import AwsApiError, InvalidInput
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


def read(given: Any, tags: dict[str, str] | None = None, *, split: bool = False) -> Any:
    return compared(given, None, tags or {}, split=split, split_recent=False)


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


def test_a_split_configuration_lists_its_parts_in_order_and_leftovers() -> None:
    parts = read(comparison(LARGE, {NAME: {}}), split=True)
    names = [NAME, f"{NAME}-2"]
    assert parts.to_result() == {
        "name": NAME,
        "region": "eu-central-1",
        "parameters": [{"name": each} for each in names],
    }
    smaller = read(comparison(previous={NAME: stored("{}"), f"{NAME}-2": stored("{}")}), split=True)
    assert (smaller.name, smaller.surplus) == (NAME, [f"{NAME}-2"])


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
    ],
)
def test_anything_else_is_refused(given: Any, split: bool) -> None:
    with pytest.raises(InvalidInput):
        read(given, split=split)


class Store(Aws):
    """A Parameter Store with these values, where nothing else is."""

    def __init__(self, **values: str) -> None:
        super().__init__(lambda *_: None)
        self.values = {name.replace("_", "-"): value for name, value in values.items()}
        self.tags: dict[str, dict[str, str]] = {}
        self.writes: list[str] = []

    def call(self, action: str, description: str, max_attempts: int = 0, **given: Any) -> dict[str, Any]:
        name = given.get("Name") or given["ResourceId"]
        if action == "ssm:GetParameter":
            if name not in self.values:
                raise AwsApiError(description, "ParameterNotFound")
            return {"Parameter": {"Value": self.values[name], "Type": "String", "Version": 1}}
        if action == "ssm:ListTagsForResource":
            return {"TagList": [{"Key": key, "Value": text} for key, text in self.tags.get(name, {}).items()]}
        self.writes.append(f"{action.partition(':')[2]} {name}")
        self.tags[name] = {each["Key"]: each["Value"] for each in given.get("Tags", [])}
        if action == "ssm:PutParameter":
            self.values[name] = given["Value"]
        if action == "ssm:DeleteParameter":
            del self.values[name]
        return {}


def run(store: Store, configurations: list[Any], *, tags: bool, surplus: bool, check_mode: bool) -> dict[str, Any]:
    report = Report()
    source = ControllerSource(report, lambda _region: store)

    def does() -> None:
        tidy(report, lambda _region: store, configurations, tags=tags, surplus=surplus, check_mode=check_mode)

    transaction = Transaction(source, configurations, does, nullcontext)
    return transaction.predict() if check_mode else transaction.run()


@pytest.mark.parametrize("check_mode", [False, True])
def test_the_controller_stores_with_tags_and_acquires_nothing(check_mode: bool) -> None:
    store, new = Store(), read(comparison(), {"team": "ops"})
    done = run(store, [new], tags=False, surplus=False, check_mode=check_mode)
    assert done["steps"] == new.plan.summaries
    assert not done["released"]
    assert store.writes == ([] if check_mode else [f"PutParameter {NAME}"])


@pytest.mark.parametrize("check_mode", [False, True])
@pytest.mark.parametrize("surplus", [False, True])
def test_only_differences_are_tagged_and_only_undeclared_parts_deleted(check_mode: bool, surplus: bool) -> None:
    """One configuration lacks a tag. Another has all tags, but has left a part with the name of the first one."""
    rest = f"{NAME}-3"
    store = Store(**{NAME: TEXT, f"{NAME}-2": TEXT, rest: TEXT})
    previous = {each: stored(TEXT, tags={"team": "ops"}) for each in (NAME, f"{NAME}-2", rest)}
    complete = read(comparison(previous=previous), {"team": "ops"}, split=True)
    other = {f"{NAME}-2": stored(TEXT, tags={})}
    lacking = read(comparison(previous=other, name=f"{NAME}-2"), {"team": "ops"})
    report = Report()
    tidy(
        report, lambda _region: store, [complete, lacking], tags=True, surplus=surplus, check_mode=check_mode
    )  # the source had nothing to store
    expected = [*([f"DeleteParameter {rest}"] if surplus else []), f"AddTagsToResource {NAME}-2"]
    assert store.writes == ([] if check_mode else expected)
    assert len(report.to_result()["steps"]) == len(expected)


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
    return ControllerSource(report, lambda _region: Aws(lambda *_: None))


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
