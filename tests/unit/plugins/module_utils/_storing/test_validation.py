"""The problems of a task's configurations, in the message of one event and as a whole."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from store_options import store_options

from ansible_collections.cwagent.iam.plugins.module_utils._configuration.options import GivenConfig
from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import InvalidInput
from ansible_collections.cwagent.iam.plugins.module_utils._storing.comparison import Earlier, validate
from ansible_collections.cwagent.iam.plugins.module_utils._storing.options import NOT_COMPARED, Compared

NAME = "AmazonCloudWatch-linux"
VALID = {"agent": {"metrics_collection_interval": 60}, "metrics": {"metrics_collected": {"mem": {}}}}
MISSPELT = {**VALID, "agent": {"metrics_collection_intervall": 60, "reigon": "x"}}
LARGE = {"logs": {"logs_collected": {"files": {"collect_list": [{"file_path": f"/{n}{'x' * 5000}"} for n in "ab"]}}}}
FILES = {"valid": VALID, "misspelt": MISSPELT, "large": LARGE}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    return tmp_path


def in_folder(folder: Path, options: Any) -> Any:
    paths = {each: str(folder / f"{each.file}.json") if each.file else "" for each in options.configs}
    return replace(options, configs=[replace(each, file=path) for each, path in paths.items()])


def validated(folder: Path, *configs: tuple[str, str], schema: str = "", **more: Any) -> Any:
    given = [{"name": name, "file": file, "regions": []} for name, file in configs]
    options = store_options(**{"configs": given, "split_config": True, **more})
    return validate(in_folder(folder, options), schema)


def version(options: Any, text: str) -> Earlier:
    """An earlier version of the only configuration."""
    handling = replace(
        options.handling, config_validation="off" if options.handling.config_validation == "off" else "warn"
    )
    return Earlier(options.configs[0], GivenConfig(NAME, text, None, handling, "version 41 of x"))


def refusal(found: Any) -> str:
    with pytest.raises(InvalidInput) as failed:
        found.check()
    assert str(failed.value) == found.failure
    assert found.failure.endswith(" Nothing was changed.")
    return str(found.failure)


def test_valid_configurations_pass_in_their_regions(folder: Path) -> None:
    found = validated(folder, (NAME, "valid"), regions=["", "us-east-1", "eu-central-1"])
    found.check()
    assert [(given.name, given.regions) for given, _desired in found.valid] == [(NAME, ("eu-central-1", "us-east-1"))]
    assert found.to_result() == {"failure": "", "problem_lines": [], "findings": [], "errors": []}


@pytest.mark.parametrize("validation", ["strict", "warn", "off"])
def test_a_problem_of_an_earlier_version_is_a_warning(validation: str) -> None:
    options = store_options(configs=[{"name": NAME, "file": "none", "regions": []}], config_validation=validation)
    earlier = [version(options, json.dumps(MISSPELT))]
    found = validate(options, earlier=earlier)
    found.check()
    assert [desired.config for _given, desired in found.valid] == [MISSPELT]
    assert any("version 41 of x: 2 warnings" in line for line in found.problem_lines) == (validation != "off")


def test_an_earlier_version_that_no_agent_accepts_is_refused() -> None:
    options = store_options(configs=[{"name": NAME, "file": "none", "regions": []}])
    found = validate(options, earlier=[version(options, "[]")])
    assert refusal(found).startswith(f"{NAME} is not valid: version 41 of x: ")


def test_without_any_region_the_one_of_the_task_is_left_to_aws(folder: Path) -> None:
    [(given, _desired)] = validated(folder, (NAME, "valid"), region=None).valid
    assert given.regions == ("",)


def test_the_first_problem_of_each_is_in_the_message_and_all_are_in_the_result(folder: Path) -> None:
    found = validated(folder, (NAME, "misspelt"), ("AmazonCloudWatch-web", "valid"), ("AmazonCloudWatch-db", "none"))
    message = refusal(found)
    assert message.startswith(f"{NAME} is not valid: {folder}/misspelt.json: ")
    assert "AmazonCloudWatch-db is not valid: " in message
    assert len(found.to_result()["findings"]) == 3
    assert sum(" problem" in line for line in found.problem_lines) == 2
    assert found.errors == []


@pytest.mark.parametrize(
    ("config", "more", "error"),
    [
        (("a b", "valid"), {}, "a b"),
        ((NAME, "valid"), {"agent_schema": "/nonexistent/schema.json"}, "/nonexistent/schema.json"),
        ((NAME, "valid"), {"parameter_tags": {"aws:x": "y"}}, "aws:"),
        ((NAME, ""), {}, f"configs: {NAME} has no file, and no version to store again. Set its file."),
    ],
)
def test_problems_outside_of_a_configuration_are_errors(
    folder: Path, config: tuple[str, str], more: dict[str, Any], error: str
) -> None:
    found = validated(folder, config, **more)
    assert error in refusal(found)
    assert [error in each for each in found.errors] == [True]
    assert found.to_result()["findings"] == []


@pytest.mark.parametrize(
    ("configs", "shared"),
    [
        ([(NAME, "valid"), (NAME, "large")], f"{NAME} in eu-central-1"),
        ([(NAME, "large"), (f"{NAME}-2", "valid")], f"{NAME}-2 in eu-central-1"),
    ],
)
def test_configurations_that_would_overwrite_each_other_are_refused(
    folder: Path, configs: list[tuple[str, str]], shared: str
) -> None:
    found = validated(folder, *configs)
    assert refusal(found).startswith(f"More than one configuration would be stored in {shared}; a split configuration")
    assert len(found.errors) == 1


def test_one_name_in_different_regions_is_shared_by_nobody(folder: Path) -> None:
    params = [{"name": NAME, "file": "valid", "regions": [region]} for region in ("us-east-1", "us-west-2")]
    found = validated(folder, configs=params)
    found.check()


def test_the_schema_of_the_host_is_used(folder: Path) -> None:
    strict = json.dumps({"type": "object", "required": ["traces"]})
    found = validated(folder, (NAME, "valid"), agent_schema=strict)
    assert "traces" in refusal(found)


# Contents that an earlier task has validated


def again(folder: Path, known: Any, *configs: tuple[str, str], schema: str = "", **more: Any) -> Any:
    given = [{"name": name, "file": file, "regions": []} for name, file in configs]
    options = store_options(**{"configs": given, "split_config": True, **more})
    return validate(in_folder(folder, options), schema, known=known)


@pytest.mark.parametrize("split", [False, True])
def test_content_that_was_valid_is_the_same_configuration_without_another_validation(folder: Path, split: bool) -> None:
    """No rule is checked, so there is no second warning. A schema that cannot be read any more is no reason to fail."""
    configs = [(NAME, "misspelt"), ("AmazonCloudWatch-web", "large")]
    first = validated(folder, *configs[: 1 + split], config_validation="warn", split_config=split)
    first.check()
    found = again(folder, first, *configs[: 1 + split], config_validation="warn", split_config=split)
    found.check()
    assert [*found.valid] == [*first.valid]
    assert (found.problem_lines, first.problem_lines == []) == ([], False)
    assert [found.digests_of(given.name, given.regions) for given, _desired in first.valid] == [
        first.digests_of(given.name, given.regions) for given, _desired in first.valid
    ]


def test_the_schema_of_the_user_is_read_once_and_that_of_the_host_later(folder: Path) -> None:
    schema, config = folder / "schema.json", {"name": NAME, "file": f"{folder}/valid.json", "regions": []}
    schema.write_text("{}")
    options = store_options(configs=[config], agent_schema=str(schema))
    first = validate(options)
    schema.unlink()
    assert validate(options, known=first).failure == ""
    agent = json.dumps({"type": "object", "required": ["traces"]})
    assert validate(options, agent, known=first).failure.count("traces") == 1


CHANGED = "{} has changed since it was validated in this run. Run again."


@pytest.mark.parametrize("schema", ["", "{}"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"agent":', CHANGED),
        (b"", CHANGED),
        (b"\xff", CHANGED),
        (json.dumps(VALID, indent=1).encode(), CHANGED),
        (None, "{} cannot be read: No such file or directory."),
    ],
)
@pytest.mark.parametrize("name", [NAME, f"{NAME}.yaml"])
def test_other_content_is_refused_whatever_it_is(
    folder: Path, name: str, content: bytes | None, message: str, schema: str
) -> None:
    file = folder / "valid.json"
    if name != NAME:
        file.write_text("receivers: {}")
    first = validated(folder, (name, "valid"))
    first.check()
    file.unlink() if content is None else file.write_bytes(content)
    found = again(folder, first, (name, "valid"), schema=schema)
    assert found.errors == [message.format(file)]
    with pytest.raises(InvalidInput, match=r"Nothing was stored\.$"):
        found.check("Nothing was stored.")


def test_all_files_that_have_changed_are_listed(folder: Path) -> None:
    configs = [(NAME, "valid"), ("AmazonCloudWatch-web", "large")]
    first = validated(folder, *configs)
    for _name, file in configs:
        (folder / f"{file}.json").write_text("{}")
    assert again(folder, first, *configs).errors == [CHANGED.format(folder / f"{file}.json") for _name, file in configs]


def test_a_configuration_that_was_not_compared_is_an_error(folder: Path) -> None:
    entry = {"name": "AmazonCloudWatch-web", "region": "eu-central-1", "digest": "1", "exists": True, "differs": True}
    found = again(folder, Compared([entry], "instance", {}), (NAME, "valid"))
    assert found.errors == [NOT_COMPARED]


def test_an_earlier_version_that_is_another_one_by_now_is_refused() -> None:
    """Another run has stored something, so that previous is another version."""
    options = store_options(configs=[{"name": NAME, "file": "none", "regions": []}])
    texts = [json.dumps({"agent": {"region": region}}) for region in ("eu-central-1", "us-east-1")]
    first, second = ([version(options, text)] for text in texts)
    known = validate(options, earlier=first)
    assert validate(options, earlier=first, known=known).failure == ""
    assert validate(options, earlier=second, known=known).errors == [CHANGED.format("version 41 of x")]
