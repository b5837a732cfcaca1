"""validate_config.yml: a pipeline without an AWS account learns everything that is wrong, in its formats."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from harness import CHECKOUT, Controller, Play

NO_CREDENTIALS = dict.fromkeys(
    (
        *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
        *("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL"),
    ),
    "",
)
"""As in a pipeline without an AWS account; an empty value removes a variable."""

VALID = {"metrics": {"metrics_collected": {"mem": {"measurement": ["mem_used_percent"]}}}}
MAX_COLUMNS = 120


def assert_not_valid(play: Play, *problem: str) -> None:
    """Assert that the task that fails has the first problem itself, with its place and how many more there are."""
    words = " ".join(problem)
    assert play.assert_failed().message == f"AmazonCloudWatch-linux is not valid: {words} Nothing was changed."


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
        junit, sarif = (shared_controller.home / name for name in ("report.junit.xml", "report.sarif"))
        for each in (junit, sarif):
            each.unlink(missing_ok=True)
        written = [str(junit), str(sarif)]
        given = {"cwagent_config_file": str(file), "cwagent_report_files": written, **variables}
        inventory = shared_controller.inventory({})
        play = shared_controller.play(inventory, "validate_config", *arguments, env=NO_CREDENTIALS, **given)
        assert play.calls == [], "it never calls AWS"
        return play, junit, sarif

    return run


Reports = Callable[..., tuple[Play, Path, Path]]


def junit_elements(file: Path, name: str) -> list[ET.Element]:
    """The elements of a report that have a name."""
    return list(ET.fromstring(file.read_text()).iter(name))  # noqa: S314  this run has written it


def sarif_run(file: Path) -> Mapping[str, Any]:
    [run] = json.loads(file.read_text())["runs"]
    found: Mapping[str, Any] = run
    return found


def shown_problems(play: Play) -> list[str]:
    """The lines of the task that validates the configurations, which are in the output, too."""
    [lines] = [each.result["problem_lines"] for each in play.results if "problem_lines" in each.result]
    assert [line for line in lines if " ".join(line.split()) not in play.words] == []
    return list(lines)


def test_a_valid_configuration_is_accepted(shared_controller: Controller, reports: Reports) -> None:
    play, junit, sarif = reports(shared_controller.file("valid.json", VALID))
    play.assert_succeeded()
    assert '"msg": "Valid: AmazonCloudWatch-linux."' in play.output
    assert [case.find("failure") for case in junit_elements(junit, "testcase")] == [None]
    run = sarif_run(sarif)
    assert run["results"] == []
    assert run["invocations"][0]["executionSuccessful"] is True
    assert shown_problems(play) == []


def test_a_configuration_for_the_platform_of_another_name_is_a_warning(
    shared_controller: Controller, reports: Reports
) -> None:
    """The default name is AmazonCloudWatch-linux, and the example is for Windows."""
    file = CHECKOUT / "examples" / "agent-config" / "windows.json"
    play, junit, sarif = reports(file)
    play.assert_succeeded()
    header, *lines = shown_problems(play)
    assert header == f"{file}: 6 warnings"
    assert len([line for line in lines if "only Windows servers collect this" in line]) == 6
    assert [each["ruleId"] for each in sarif_run(sarif)["results"]] == ["platform"] * 6
    assert junit_elements(junit, "testcase") != []

    configs = json.dumps([{"name": "AmazonCloudWatch-windows", "file": str(file)}])
    play, _junit, sarif = reports(
        shared_controller.file("valid.json", VALID), cwagent_config_file="", cwagent_configs=configs
    )
    play.assert_succeeded()
    assert sarif_run(sarif)["results"] == []


def test_a_permission_that_the_server_policy_lacks_is_a_notice(shared_controller: Controller, reports: Reports) -> None:
    config = {**VALID, "agent": {"credentials": {"role_arn": "arn:aws:iam::123456789012:role/Central"}}}
    file = shared_controller.file("notice.json", config)
    play, junit, sarif = reports(file)
    play.assert_succeeded()
    assert '"msg": "Valid: AmazonCloudWatch-linux."' in play.output
    header, notice = shown_problems(play)
    assert header == f"{file}: 1 notice"
    needs = "assuming a role needs sts:AssumeRole, which CloudWatchAgentServerPolicy does not allow"
    assert notice.endswith(f"$.agent.credentials.role_arn: {needs}")
    assert [(each["ruleId"], each["level"]) for each in sarif_run(sarif)["results"]] == [("permission", "note")]
    [case] = junit_elements(junit, "testcase")
    assert case.find("failure") is None
    assert needs in str(case.findtext("system-out"))

    play, _junit, sarif = reports(file, cwagent_config_validation="off")
    play.assert_succeeded()
    assert (shown_problems(play), sarif_run(sarif)["results"]) == ([], [])


def test_check_mode_validates_and_writes_no_report(shared_controller: Controller, reports: Reports) -> None:
    file = shared_controller.file("invalid.json", {"metric": {}})
    play, junit, sarif = reports(file, "--check")
    assert_not_valid(play, f"{file}: 1:2 $.metric: unknown section; did you mean 'metrics'?")
    assert not junit.exists()
    assert not sarif.exists()


def test_formats_for_other_playbooks_are_skipped_with_a_warning(
    shared_controller: Controller, reports: Reports
) -> None:
    home = shared_controller.home
    files = [str(home / name) for name in ("two.sarif.json", "report.html", "report.sarif")]
    play, _junit, sarif = reports(shared_controller.file("valid.json", VALID), cwagent_report_files=files)
    play.assert_succeeded()
    assert sarif_run(sarif) == sarif_run(home / "two.sarif.json")
    assert not (home / "report.html").exists()
    warning = f"[WARNING]: cwagent_report_files: skipped {home}/report.html, because this playbook writes only files"
    assert "".join(play.output.split()).count("".join(warning.split())) == 1, "a long path goes over several lines"


def test_each_account_has_its_own_reports(shared_controller: Controller) -> None:
    accounts = {name: {"cwagent_account_aws_profile": name} for name in ("shop", "blog")}
    inventory = shared_controller.inventory({"accounts": accounts}, "accounts.yml")
    files = ",".join(str(shared_controller.home / name) for name in ("own.junit.xml", "own.sarif.json"))
    given: dict[str, Any] = {"cwagent_config_file": str(shared_controller.file("valid.json", VALID))}
    shared_controller.play(
        inventory, "validate_config", env=NO_CREDENTIALS, cwagent_report_files=files, **given
    ).assert_succeeded()
    assert sorted(path.name for path in shared_controller.home.glob("own*")) == [
        *("own-blog.junit.xml", "own-blog.sarif.json", "own-shop.junit.xml", "own-shop.sarif.json")
    ]


def test_sixty_problems_are_all_shown_and_reported(shared_controller: Controller, reports: Reports) -> None:
    """In lines that fit a terminal and an AWX job."""
    file = shared_controller.file("sixty.json", json.dumps(sixty_problems(), indent=2))
    play, junit, sarif = reports(file)
    assert play.assert_failed().code == 2
    header, *lines = shown_problems(play)
    [first] = re.findall(r"^  (\d+:\d+ \$\.logs\..*?)(?=\n  \d|\Z)", "\n".join(lines), re.DOTALL)[:1]
    assert_not_valid(play, f"{file}:", " ".join(first.split()), "There are 59 more problems.")
    assert header == f"{file}: 60 problems"
    assert len([line for line in lines if "$.logs." in line]) == 60
    _, _, after = play.output.partition(header)
    printed = after.partition("ok: ")[0].splitlines()
    assert len([line for line in printed if "$.logs." in line]) == 60
    assert [line for line in printed if len(line) > MAX_COLUMNS] == []
    assert len(junit_elements(junit, "failure")) == 60
    results = sarif_run(sarif)["results"]
    assert len(results) == 60
    assert {each["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for each in results} == {
        f"file://{file}"
    }


def test_a_configuration_without_a_validation_is_not_reported_as_valid(
    shared_controller: Controller, reports: Reports
) -> None:
    """A pipeline can look at the reports only."""
    missing = shared_controller.home / "missing-schema.json"
    play, junit, sarif = reports(shared_controller.file("valid.json", VALID), cwagent_agent_schema=str(missing))
    assert f"{missing} cannot be read: No such file or directory. Nothing was changed." in play.assert_failed().message
    [error] = junit_elements(junit, "error")
    assert str(missing) in str(error.get("message"))
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
def test_only_regular_files_are_read(
    shared_controller: Controller, reports: Reports, make: Callable[[Path], Path]
) -> None:
    """Reading the last two would not end."""
    path = make(shared_controller.home)
    play, _, _ = reports(path)
    assert play.assert_failed().message == f"cwagent_config_file: {path} is not a regular file. Nothing was changed."


def test_a_megabyte_of_nesting_is_one_problem(shared_controller: Controller, reports: Reports) -> None:
    file = shared_controller.file("nested.json", "[" * 1024 * 1024)
    play, junit, _ = reports(file)
    assert_not_valid(play, f"{file}: 1:65 $: the configuration is nested more than 64 levels deep.")
    assert shown_problems(play) == [
        f"{file}: 1 problem",
        "  1:65 $: the configuration is nested more than 64 levels deep",
    ]
    assert len(junit_elements(junit, "failure")) == 1


def test_configurations_that_would_overwrite_each_other_are_not_reported_as_valid(
    shared_controller: Controller, reports: Reports
) -> None:
    """One is split, and the other has the name of a part."""
    groups = [{"file_path": "/x" * 1000, "log_group_name": f"group-{number}"} for number in range(9)]
    large = {"logs": {"logs_collected": {"files": {"collect_list": groups}}}}
    listed = [
        {"name": "AmazonCloudWatch-linux", "file": str(shared_controller.file("large.json", large))},
        {"name": "AmazonCloudWatch-linux-2", "file": str(shared_controller.file("valid.json", VALID))},
    ]
    play, junit, sarif = reports(Path(), cwagent_config_file="", cwagent_configs=listed, cwagent_split_config=True)
    assert play.assert_failed().message.startswith(
        "More than one configuration would be stored in AmazonCloudWatch-linux-2;"
    )
    assert len(junit_elements(junit, "error")) == 1
    assert sarif_run(sarif)["invocations"][0]["executionSuccessful"] is False
