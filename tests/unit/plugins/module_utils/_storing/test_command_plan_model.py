from __future__ import annotations

import base64
import gzip
import json
import zlib
from typing import Any

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import CwagentError
from ansible_collections.cwagent.iam.plugins.module_utils._servers.commands import Invocation
from ansible_collections.cwagent.iam.plugins.module_utils._storing.command_plan import (
    check_problems,
    check_stored,
    unpack_schema,
)

INSTANCE, REGION, NAME = "i-0123456789abcdef0", "eu-central-1", "AmazonCloudWatch-linux"
SUMMARY = f"store the configuration in parameter '{NAME}'"


def answered(status: str = "Success", **result: Any) -> Invocation:
    return Invocation(status, status, json.dumps(result))


def checked(**more: Any) -> Invocation:
    return answered(**{**CHECKED, **more})


def packed(text: bytes) -> str:
    return base64.b64encode(gzip.compress(text, mtime=0)).decode()


@pytest.mark.parametrize(
    ("invocation", "words"),
    [
        (answered(cli="aws-cli/2", regions={REGION: ""}, schema=""), ""),
        (answered(cli="", regions={}, schema=""), "it has no AWS CLI"),
        (
            answered(cli="aws-cli/2", regions={"us-east-1": " Could not connect ", REGION: ""}, schema=""),
            "does not reach Parameter Store in us-east-1 (Could not connect). A private subnet",
        ),
        (Invocation("Failed", "Undeliverable"), "gave no result: it could not be delivered to the agent"),
    ],
)
def test_the_check_reports_why_an_instance_could_not_store(invocation: Invocation, words: str) -> None:
    problems = check_problems(INSTANCE, invocation)
    assert [words in each and INSTANCE in each for each in problems] == ([True] if words else [])


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        (packed(b'{"type": "object"}'), '{"type": "object"}'),
        ("", ""),
        ("not base64", ""),
        (base64.b64encode(b"not gzip").decode(), ""),
        (packed(b"\xff"), ""),
        (base64.b64encode(zlib.compress(b"{}")).decode(), ""),
    ],
)
def test_the_schema_of_the_agent_is_unpacked(schema: str, text: str) -> None:
    assert unpack_schema(checked(schema=schema)) == text


def test_an_instance_cannot_fill_the_memory_of_the_controller() -> None:
    assert len(unpack_schema(checked(schema=packed(b" " * 20_000_000)))) == 2_000_000


def test_a_command_without_a_result_has_no_schema() -> None:
    assert unpack_schema(Invocation("Failed")) == ""


CHECKED: dict[str, Any] = {"cli": "aws-cli/2", "regions": {REGION: ""}, "schema": ""}
WRONG = [None, True, 1, 1.5, "\x1b[2J", "a\u202eb", [], ["x"], [[]], {}, {"x": 1}, {"\x1b": ""}]

IN_FORM = {("regions", "{}"), ("version", "1"), ("parameters", "[]")}


@pytest.mark.parametrize("name", CHECKED)
def test_a_check_in_another_form_is_no_result(name: str) -> None:
    """The instance decides what it answers, whatever the script prints."""
    for value in (each for each in WRONG if (name, repr(each)) not in IN_FORM):
        found = answered(**{**CHECKED, name: value})
        [problem] = check_problems(INSTANCE, found)
        assert f"instance {INSTANCE} gave no result" in problem
        assert problem.isprintable()
        assert unpack_schema(found) == ""


def parameter(status: str, error: str = "", region: str = REGION) -> dict[str, Any]:
    return {"region": region, "name": NAME, "status": status, "version": 4, "error": error}


@pytest.mark.parametrize("name", ["problem", "parameters", *parameter("stored")])
def test_a_report_in_another_form_is_no_proof_that_a_parameter_was_stored(name: str) -> None:
    for value in (each for each in WRONG if (name, repr(each)) not in IN_FORM):
        report = {"problem": "", "parameters": [parameter("stored")]}
        of_parameter = {**parameter("stored"), name: value}
        changed = {**report, name: value} if name in report else {**report, "parameters": [of_parameter]}
        with pytest.raises(CwagentError, match=f"Could not {SUMMARY}: the command on the instance did not") as caught:
            check_stored(answered(**changed), REGION, NAME, SUMMARY)
        assert str(caught.value).isprintable()


def test_a_parameter_that_was_stored_is_no_error() -> None:
    check_stored(answered(problem="", parameters=[parameter("stored")]), REGION, NAME, SUMMARY)


DENIED = (
    "An error occurred (AccessDeniedException) when calling the PutParameter operation: User: arn:aws:sts::1:assumed-"
    f"role/R/{INSTANCE} is not authorized to perform: ssm:PutParameter on resource: arn:aws:ssm:{REGION}:1:parameter/x "
    "because no identity-based policy allows the ssm:PutParameter action "
)


@pytest.mark.parametrize(
    ("invocation", "words"),
    [
        (answered(problem="", parameters=[parameter("changed")]), "something else has stored version 4 since"),
        (answered(problem="", parameters=[parameter("waiting", DENIED)]), f"R/{INSTANCE} lacks ssm:PutParameter on"),
        (
            answered(problem="", parameters=[parameter("failed", DENIED.replace("Denied", "Limit"))]),
            "from the instance (ssm:PutParameter): User:",
        ),
        (
            answered(
                problem="",
                parameters=[
                    parameter(
                        "waiting",
                        "An error occurred (ThrottlingException) when calling the PutParameter operation "
                        "(reached max retries: 0): Rate exceeded",
                    )
                ],
            ),
            "AWS throttled the call (ThrottlingException)",
        ),
        (
            answered(problem="", parameters=[parameter("waiting", " Could not connect ")]),
            "from the instance: Could not connect.",
        ),
        (answered(problem="", parameters=[parameter("waiting")]), "from the instance: its time was up."),
        (answered("Failed", problem="no-cli", parameters=[]), "it has no AWS CLI"),
        (answered("Failed", problem="no-role", parameters=[]), "did not get the credentials of the admin role in time"),
        (answered(problem="", parameters=[parameter("stored", region="us-east-1")]), "did not store it"),
        (Invocation("Cancelled", "Cancelled"), "did not store it: it was cancelled."),
    ],
)
def test_a_parameter_that_was_not_stored_is_an_error_with_its_reason(invocation: Invocation, words: str) -> None:
    with pytest.raises(CwagentError) as caught:
        check_stored(invocation, REGION, NAME, SUMMARY)
    assert str(caught.value).startswith(f"Could not {SUMMARY}")
    assert words in str(caught.value)
