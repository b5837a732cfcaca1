"""validate_config.yml: a pipeline without an AWS account learns everything that is wrong, in time and in its formats."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from harness import Controller, Play

NO_CREDENTIALS = {
    name: ""
    for name in (
        *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
        *("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL"),
    )
}
"""As in a pipeline without an AWS account; an empty value removes a variable."""

VALID = {"metrics": {"metrics_collected": {"mem": {"measurement": ["mem_used_percent"]}}}}
MAX_COLUMNS = 120
MAX_VALIDATION_SECONDS = 10
"""Of the task; the validator itself takes two at most, and starting a module on a busy machine takes the rest."""

NOT_VALID = "AmazonCloudWatch-linux is not valid: see above. Nothing was changed."


def sixty_problems() -> dict[str, Any]:
    """A configuration with 60 problems of several kinds, as many of each."""
    files = [
        {
            "file_path": f"/var/log/application-with-a-long-name/{number}.log",
            "log_group_name": f"application-{number} {{instance_idd}}",
            "log_stream_name": f"a text that is a reference {{{{ name_{number} }}}}",
            "retention_in_days": 1000 + number,
            "filters": [{"type": "exclude", "expression": "(?<!a)b"}],
            "timezone": "Europe/Berlin",
            "encoding": 8,
        }
        for number in range(10)
    ]
    return {"logs": {"logs_collected": {"files": {"collect_list": files}}}}


@pytest.fixture(scope="module")
def reports(shared_controller: Controller) -> Callable[..., tuple[Play, Path, Path]]:
    """Validates a file and asks for both reports, which do not exist before."""

    def run(file: Path, *arguments: str, **variables: Any) -> tuple[Play, Path, Path]:
        junit, sarif = (shared_controller.home / name for name in ("junit.xml", "report.sarif"))
        for each in (junit, sarif):
            each.unlink(missing_ok=True)
        written = {"cwagent_junit_file": str(junit), "cwagent_sarif_file": str(sarif)}
        given = {"cwagent_config_file": str(file), **written, **variables}
        inventory = shared_controller.inventory({})
        play = shared_controller.play(inventory, "validate_config", *arguments, env=NO_CREDENTIALS, **given)
        assert play.calls == [], "it never calls AWS"
        return play, junit, sarif

    return run


Reports = Callable[..., tuple[Play, Path, Path]]


def sarif_run(file: Path) -> Mapping[str, Any]:
    [run] = json.loads(file.read_text())["runs"]
    found: Mapping[str, Any] = run
    return found


def shown_problems(play: Play) -> list[str]:
    """The lines of the task that shows the problems."""
    [shown] = [each for each in play.results if each.task.endswith("Show what is wrong with the configurations")]
    lines: list[str] = shown.result["msg"]
    return lines


def test_a_valid_configuration_is_accepted(shared_controller: Controller, reports: Reports) -> None:
    play, junit, sarif = reports(shared_controller.file("valid.json", VALID))
    play.assert_succeeded()
    assert '"msg": "Valid: AmazonCloudWatch-linux."' in play.output
    assert [case.find("failure") for case in ET.fromstring(junit.read_text()).iter("testcase")] == [None]
    run = sarif_run(sarif)
    assert run["results"] == []
    assert run["invocations"][0]["executionSuccessful"] is True
    skipped = [each.task.rpartition(" : ")[2] for each in play.results if each.outcome == "skipped"]
    assert skipped == ["Show what is wrong with the configurations", "Refuse configurations that are not valid"]


def test_check_mode_validates_and_writes_no_report(shared_controller: Controller, reports: Reports) -> None:
    play, junit, sarif = reports(shared_controller.file("invalid.json", {"metric": {}}), "--check")
    assert play.assert_failed().message == NOT_VALID
    assert not junit.exists()
    assert not sarif.exists()


def test_sixty_problems_are_all_shown_and_reported(shared_controller: Controller, reports: Reports) -> None:
    """In lines that fit a terminal and an AWX job."""
    file = shared_controller.file("sixty.json", json.dumps(sixty_problems(), indent=2))
    play, junit, sarif = reports(file)
    assert play.assert_failed().code == 2
    assert play.message == NOT_VALID
    header, *lines = shown_problems(play)
    assert header == f"{file}: 60 problems"
    assert len([line for line in lines if "$.logs." in line]) == 60
    printed = [line for line in play.output.splitlines() if any(shown in line for shown in lines)]
    assert len(printed) == len(lines)
    assert [line for line in printed if len(line) > MAX_COLUMNS] == []
    assert len(list(ET.fromstring(junit.read_text()).iter("failure"))) == 60
    results = sarif_run(sarif)["results"]
    assert len(results) == 60
    assert {each["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for each in results} == {f"file://{file}"}


def test_what_could_not_be_validated_is_not_reported_as_valid(shared_controller: Controller, reports: Reports) -> None:
    """A pipeline can look at the reports only."""
    missing = shared_controller.home / "missing-schema.json"
    play, junit, sarif = reports(shared_controller.file("valid.json", VALID), store_config_schema=str(missing))
    assert f"{missing} cannot be read: No such file or directory. Nothing was changed." in play.assert_failed().message
    [error] = ET.fromstring(junit.read_text()).iter("error")
    assert str(missing) in str(error.get("message") or error.text)
    assert sarif_run(sarif)["invocations"][0]["executionSuccessful"] is False


def directory(home: Path) -> Path:
    (home / "directory").mkdir()
    return home / "directory"


def fifo(home: Path) -> Path:
    os.mkfifo(home / "fifo")
    return home / "fifo"


def endless(_home: Path) -> Path:
    return Path("/dev/zero")


@pytest.mark.parametrize("make", [directory, fifo, endless])
def test_what_is_not_a_regular_file_is_refused_without_reading_it(
    shared_controller: Controller, reports: Reports, make: Callable[[Path], Path]
) -> None:
    path = make(shared_controller.home)
    play, _, _ = reports(path)
    assert play.assert_failed().message == f"cwagent_config_file: {path} is not a regular file. Nothing was changed."
    [failed] = play.failures
    assert failed.seconds < MAX_VALIDATION_SECONDS


def test_a_megabyte_of_nesting_is_one_problem(shared_controller: Controller, reports: Reports) -> None:
    file = shared_controller.file("nested.json", "[" * 1024 * 1024)
    play, junit, _ = reports(file)
    assert play.assert_failed().message == NOT_VALID
    assert shown_problems(play) == [
        f"{file}: 1 problem",
        "  1:65 $: the configuration is nested more than 64 levels deep",
    ]
    assert len(list(ET.fromstring(junit.read_text()).iter("failure"))) == 1
    [validated] = [each for each in play.results if each.action.endswith("cwagent_config_parameter")]
    assert validated.seconds < MAX_VALIDATION_SECONDS
