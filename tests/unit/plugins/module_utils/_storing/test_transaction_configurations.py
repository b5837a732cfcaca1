"""A configuration and its comparison, and the controller's work for it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

import pytest
from aws_model import Gateway, Ssm

from ansible_collections.cwagent.iam.plugins.module_utils._configuration.parameter_plan import Parameter, desired_config
from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._storing.controller import ControllerSource, tidy
from ansible_collections.cwagent.iam.plugins.module_utils._storing.options import Compared
from ansible_collections.cwagent.iam.plugins.module_utils._storing.transaction import (
    Comparison,
    Configuration,
    Report,
    Source,
    Transaction,
)

NAME = "AmazonCloudWatch-linux"
CONFIG, TEXT = {"agent": {"metrics_collection_interval": 60}}, '{"agent":{"metrics_collection_interval":60}}'
LARGE = json.dumps(
    {"logs": {"logs_collected": {"files": {"collect_list": [{"file_path": f"/{n}{'x' * 5000}"} for n in "ab"]}}}}
)


def stored(value: str, **more: Any) -> Parameter:
    return Parameter(value, version=3, **more)


def gateway(ssm: Ssm) -> Any:
    """The gateway to each region."""
    return lambda _region: Gateway(ssm)


def read(
    known: Mapping[str, Parameter | None] | None = None,
    tags: dict[str, str] | None = None,
    *,
    config: Any = None,
    name: str = NAME,
    split: bool = False,
) -> Configuration:
    desired = desired_config(
        name, CONFIG if config is None else config, None, can_be_split=split, tags=tags, digest="d1"
    )
    return Configuration(desired, {name: None} if known is None else known, "eu-central-1")


@pytest.mark.parametrize(
    ("known", "tags", "with_tags", "without"),
    [
        (None, {}, 1, 1),
        (None, {"team": "ops"}, 1, 1),  # a new parameter gets its tags as it is created
        (stored(TEXT), {}, 0, 0),
        (stored(TEXT, tags={}), {"team": "ops"}, 1, 0),
        (stored("{}", tags={}), {"team": "ops"}, 2, 1),
    ],
)
def test_steps_to_store_with_and_without_tags(
    known: Parameter | None, tags: dict[str, str], with_tags: int, without: int
) -> None:
    found = read({NAME: known}, tags)
    assert (len(found.plan.all_steps), len(found.plan_without_tags.all_steps)) == (with_tags, without)
    assert {name for step in found.plan_without_tags.all_steps for name in step.arguments} & {"tags"} == set()
    assert found.to_comparison()["differs"] == bool(with_tags)


@pytest.mark.parametrize(("value", "steps"), [(None, 1), ("a: 1\n", 0), ("a: 2\n", 1), ('{"a": 1}', 1)])
@pytest.mark.parametrize("split", [False, True])
def test_text_in_yaml_is_compared_and_stored_as_it_is(value: str | None, steps: int, split: bool) -> None:
    name = f"{NAME}.yaml"
    found = read({name: stored(value) if value else None}, config="a: 1\n", name=name, split=split)
    assert [step.arguments["value"] for step in found.plan.all_steps] == ["a: 1\n"] * steps
    after = {name: {"type": "String", "config": "a: 1\n"}} if steps else found.to_diff(found.plan)["before"]
    assert found.to_diff(found.plan)["after"] == after


def test_a_split_configuration_lists_its_parts_in_order_and_leftovers() -> None:
    parts, names = read(config=json.loads(LARGE), split=True), [NAME, f"{NAME}-2"]
    expected = {"name": NAME, "region": "eu-central-1", "parameters": [{"name": each} for each in names]}
    assert parts.to_result() == expected
    smaller = read({names[0]: stored(TEXT), names[1]: stored("{}")}, split=True)
    assert (smaller.name, smaller.surplus, len(smaller.warnings)) == (NAME, names[1:], 1)
    assert smaller.to_comparison()["differs"], "a later task deletes the rest"


@pytest.mark.parametrize(("known", "shown"), [(stored('{"agent":{}}'), "prepared"), (None, "after")])
def test_a_change_is_shown_by_path_and_a_new_configuration_as_a_whole(known: Parameter | None, shown: str) -> None:
    found = read({NAME: known})
    assert shown in found.to_diff(found.plan)


# The result of a task that compares, for later ones

ENTRY = {"name": NAME, "region": "eu-central-1", "digest": "d1", "exists": False, "differs": True}
RESULT = {"compared": [ENTRY], "source": "instance", "earlier_identity": {}}


def test_a_comparison_is_told_by_name_and_digest() -> None:
    assert read().to_comparison() == ENTRY
    identity = {"instance_profile": "Server", "role": "Server"}
    told = Comparison([read(), read({NAME: stored(TEXT)})], "onprem", identity).to_result()
    found = Compared.of(told)
    assert found == Compared([ENTRY, {**ENTRY, "exists": True, "differs": False}], "onprem", identity)
    assert TEXT not in json.dumps(told)


@pytest.mark.parametrize("result", [None, {"skipped": True, "changed": False}])
def test_a_task_that_was_skipped_has_compared_nothing(result: Any) -> None:
    assert Compared.of(result) is None


@pytest.mark.parametrize(
    ("regions", "digests"),
    [
        (["eu-central-1"], {"d1"}),
        (["us-east-1"], {"d2"}),
        (["us-east-1", "eu-central-1"], {"d1", "d2"}),
        ([""], {"d1", "d2"}),  # the region of the task
    ],
)
def test_the_digests_of_a_configuration_are_those_of_its_regions(regions: list[str], digests: set[str]) -> None:
    others = [
        {**ENTRY, "region": "us-east-1", "digest": "d2", "differs": False},
        {**ENTRY, "name": f"{NAME}-2", "exists": True},
    ]
    found = Compared([ENTRY, *others], "instance", {})
    assert found.digests_of(NAME, regions) == digests
    assert found.differing == {(NAME, "eu-central-1"): False, (f"{NAME}-2", "eu-central-1"): True}


@pytest.mark.parametrize(("name", "regions"), [(NAME, ["us-east-1"]), ("AmazonCloudWatch-web", ["eu-central-1"])])
def test_a_configuration_that_was_not_compared_is_refused(name: str, regions: list[str]) -> None:
    with pytest.raises(InvalidInput, match="compared must be the result of a task"):
        Compared([ENTRY], "instance", {}).digests_of(name, regions)


@pytest.mark.parametrize(
    "result",
    [
        {},
        {"failed": True},
        *({**RESULT, "source": each} for each in ("auto", "nowhere", None, 5)),
        *({**RESULT, "compared": each} for each in (None, 5, [5], ["x"], [{}], [[]])),
        *({**RESULT, "compared": [{**ENTRY, key: None}]} for key in ENTRY),
        *({key: RESULT[key] for key in RESULT if key != missing} for missing in RESULT),
    ],
)
def test_any_other_result_is_refused(result: Any) -> None:
    with pytest.raises(InvalidInput, match="compared must be the result of a task"):
        Compared.of(result)


@pytest.mark.parametrize("check_mode", [False, True])
def test_the_controller_stores_with_tags_and_acquires_nothing(check_mode: bool) -> None:
    ssm, new, report = Ssm({}), read(tags={"team": "ops"}), Report()
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
    complete = read({each: stored(TEXT, tags=tags) for each in names}, tags, split=True)
    lacking = read({names[1]: stored(TEXT, tags={})}, tags, name=names[1])
    # The source had nothing to store.
    tidy(
        report,
        gateway(ssm),
        [complete, lacking],
        names=names[:2],
        host="ops1",
        tags=True,
        surplus=surplus,
        check_mode=check_mode,
    )
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
    found = read({NAME: stored(TEXT, tags={})}, {"team": "ops"})
    predicted = Transaction(make(Report()), [found], lambda: None, nullcontext).predict()
    assert len(predicted["steps"]) == steps


def test_an_interrupted_run_releases_and_waits_ten_seconds_at_most() -> None:
    source = Acquiring(Report())
    with pytest.raises(KeyboardInterrupt):
        Transaction(source, [read()], lambda: None, nullcontext).run()
    assert source.waits == [10]
