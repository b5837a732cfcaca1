from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.cwagent.iam.plugins.module_utils._call import outcome
from ansible_collections.cwagent.iam.plugins.module_utils._errors import CwagentError

CALL: Any = None


@pytest.mark.parametrize(
    ("details", "result"),
    [
        ({}, {"changed": False, "steps": []}),
        ({"changed": True, "steps": ["a"], "done": ["a"]}, {"changed": True, "steps": ["a"], "done": ["a"]}),
        ({"counts": {"create": 1}}, {"changed": False, "steps": [], "counts": {"create": 1}}),
        ({"warnings": ["Look."]}, {"changed": False, "steps": [], "warnings": ["Look."]}),
    ],
    ids=["no details", "steps", "counts", "warnings"],
)
def test_a_failed_call_returns_the_details_of_the_error(details, result):
    def work(_call):
        raise CwagentError("No.", **details)

    assert outcome(work, CALL) == {"failed": True, "msg": "No.", **result}


def test_other_exceptions_are_not_caught():
    def work(_call):
        raise ValueError("A bug.")

    with pytest.raises(ValueError, match=r"^A bug\.$"):
        outcome(work, CALL)


def test_the_call_returns_the_result_of_the_work():
    assert outcome(lambda _call: {"changed": True}, CALL) == {"changed": True}


@pytest.mark.parametrize("fails", [False, True])
def test_what_ansible_prints_as_it_is_has_no_control_characters(fails):
    """It quotes tags, names and errors that others chose."""

    def work(_call):
        if fails:
            raise CwagentError("tag \x1b[2J\nof web", warnings=["a\u202eb"])
        return {"msg": "tag \x1b[2J\nof web", "warnings": ["a\u202eb"]}

    result = outcome(work, CALL)
    assert (result["msg"], result["warnings"]) == ("tag [2J\nof web", ["ab"])


@pytest.mark.parametrize(("message", "is_kept"), [("A failed. B failed.", False), ("A failed. 1 more failed.", True)])
@pytest.mark.parametrize(
    ("key", "errors"),
    [("failures", {"a": "A failed.", "b": "B failed."}), ("problems", ["A failed.", "B failed."])],
)
def test_errors_that_the_message_contains_are_not_printed_again(message, is_kept, key, errors):
    def work(_call):
        raise CwagentError(f"{message} A failed.", **{key: errors})

    result = outcome(work, CALL)
    assert (result["msg"], result.get(key)) == (message, errors if is_kept else None)


@pytest.mark.parametrize(
    ("warning", "kept"),
    [
        ("Look.", ["Look."]),
        ("It is not known. A failed. Grant x.", ["It is not known."]),
        ("A failed. Grant x.", []),
        ("A failed. Grant y.", ["Grant y."]),
    ],
)
def test_a_warning_does_not_repeat_the_message_of_a_failure(warning: str, kept: list[str]) -> None:
    def work(_call: Any) -> dict[str, Any]:
        raise CwagentError("A failed. Grant x.", warnings=[warning])

    assert outcome(work, CALL)["warnings"] == kept
