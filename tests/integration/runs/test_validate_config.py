"""validate_config.yml: a pipeline without an AWS account learns everything that is wrong, in its formats."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from harness import CHECKOUT, NO_CREDENTIALS, Controller, Play
from printed import assert_brief

VALID = {"metrics": {"metrics_collected": {"mem": {"measurement": ["mem_used_percent"]}}}}
MAX_COLUMNS = 120


@dataclass(frozen=True)
class Pipeline:
    """Validates configurations, and asks for both reports."""

    controller: Controller

    @property
    def junit(self) -> Path:
        return self.controller.home / "report.junit.xml"

    @property
    def sarif(self) -> Path:
        return self.controller.home / "report.sarif"

    def run(self, *arguments: str, accounts: Mapping[str, Any] | None = None, **variables: Any) -> Play:
        written = [str(self.junit), str(self.sarif)]
        inventory = self.controller.inventory({"accounts": accounts} if accounts else {})
        given = {"cwagent_report_files": written, **variables}
        play = self.controller.play(inventory, "validate_config", *arguments, env=NO_CREDENTIALS, **given)
        assert play.calls == [], "it never calls AWS"
        return play


@pytest.fixture
def pipeline(controller: Controller) -> Pipeline:
    return Pipeline(controller)


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


def test_sixty_problems_are_all_shown_and_reported(pipeline: Pipeline) -> None:
    """In lines that fit a terminal and an AWX job. The task that fails has the first one itself, with its place."""
    file = pipeline.controller.file("sixty.json", json.dumps(sixty_problems(), indent=2))
    play = pipeline.run(cwagent_config_file=str(file))
    assert play.assert_failed().code == 2
    header, *lines = shown_problems(play)
    [first] = re.findall(r"^  (\d+:\d+ \$\.logs\..*?)(?=\n  \d|\Z)", "\n".join(lines), re.DOTALL)[:1]
    place = f"{file}: {' '.join(first.split())}"
    assert (
        play.message == f"AmazonCloudWatch-linux is not valid: {place} There are 59 more problems. Nothing was changed."
    )
    assert header == f"{file}: 60 problems"
    assert len([line for line in lines if "$.logs." in line]) == 60
    _, _, after = play.output.partition(header)
    printed = after.partition("ok: ")[0].splitlines()
    assert len([line for line in printed if "$.logs." in line]) == 60
    assert [line for line in printed if len(line) > MAX_COLUMNS] == []
    assert len(junit_elements(pipeline.junit, "failure")) == 60
    results = sarif_run(pipeline.sarif)["results"]
    assert len(results) == 60
    uris = {each["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for each in results}
    assert uris == {f"file://{file}"}


def test_warnings_and_notices_are_reported_and_fail_nothing(pipeline: Pipeline) -> None:
    """Formats for other playbooks are skipped with a warning."""
    home, windows = pipeline.controller.home, CHECKOUT / "examples" / "agent-config" / "windows.json"
    config = {**VALID, "agent": {"credentials": {"role_arn": "arn:aws:iam::123456789012:role/Central"}}}
    files = {"linux": windows, "windows": windows, "web": pipeline.controller.file("notice.json", config)}
    configs = [{"name": f"AmazonCloudWatch-{name}", "file": str(file)} for name, file in files.items()]
    written = [str(home / name) for name in ("two.sarif.json", "report.html", "report.sarif", "report.junit.xml")]
    play = pipeline.run(cwagent_configs=json.dumps(configs), cwagent_report_files=written).assert_succeeded()
    assert_brief(play, "validate_config")
    assert '"msg": "Valid: AmazonCloudWatch-linux, AmazonCloudWatch-windows, AmazonCloudWatch-web."' in play.output
    header, *lines = shown_problems(play)
    assert header == f"{windows}: 6 warnings"
    assert len([line for line in lines if "only Windows servers collect this" in line]) == 6
    assert f"{files['web']}: 1 notice" in lines
    needs = "assuming a role needs sts:AssumeRole, which CloudWatchAgentServerPolicy does not allow"
    assert lines[-1].endswith(f"$.agent.credentials.role_arn: {needs}")
    found = [(each["ruleId"], each["level"]) for each in sarif_run(pipeline.sarif)["results"]]
    assert found == [("platform", "warning")] * 6 + [("permission", "note")]
    failures = [str(each.get("message")) for each in junit_elements(pipeline.junit, "failure")]
    assert [needs in each for each in failures] == [False] * 6, "a notice is none"
    assert needs in " ".join(str(each.text) for each in junit_elements(pipeline.junit, "system-out"))
    assert sarif_run(pipeline.sarif) == sarif_run(home / "two.sarif.json")
    assert not (home / "report.html").exists()
    warning = f"[WARNING]: cwagent_report_files: skipped {home}/report.html, because this playbook writes only files"
    assert "".join(play.output.split()).count("".join(warning.split())) == 1, "a long path goes over several lines"


def test_each_account_has_its_own_reports_and_check_mode_writes_none(pipeline: Pipeline) -> None:
    """A pipeline can look at the reports only, so a configuration that was not validated is not reported as valid."""
    home, valid = pipeline.controller.home, str(pipeline.controller.file("valid.json", VALID))
    invalid, missing = str(pipeline.controller.file("invalid.json", {"metric": {}})), str(home / "missing-schema.json")
    accounts = {
        "shop": {"cwagent_config_file": valid},
        "blog": {"cwagent_config_file": invalid},
        "wiki": {"cwagent_config_file": valid, "cwagent_agent_schema": missing},
    }
    given: dict[str, Any] = {
        "accounts": {name: {"cwagent_account_aws_profile": name, **each} for name, each in accounts.items()},
        "cwagent_report_files": ",".join(str(home / name) for name in ("own.junit.xml", "own.sarif.json")),
    }
    problem = f"{invalid}: 1:2 $.metric: unknown section; did you mean 'metrics'?"
    expected = {
        "blog": f"AmazonCloudWatch-linux is not valid: {problem} Nothing was changed.",
        "wiki": f"{missing} cannot be read: No such file or directory. Nothing was changed.",
    }
    for arguments in (["--check"], []):
        assert list(home.glob("own*")) == []
        play = pipeline.run(*arguments, **given).assert_failed()
        assert {each.host: each.result["msg"] for each in play.failures} == expected
        assert play.output.count('"msg": "Valid: AmazonCloudWatch-linux."') == 1
    found = {}
    for name in accounts:
        [case] = junit_elements(home / f"own-{name}.junit.xml", "testcase")
        run = sarif_run(home / f"own-{name}.sarif.json")
        kinds = [each.tag for each in case if each.tag in ("failure", "error")]
        found[name] = kinds, len(run["results"]), run["invocations"][0]["executionSuccessful"]
    assert found == {"shop": ([], 0, True), "blog": (["failure"], 1, True), "wiki": (["error"], 0, False)}
