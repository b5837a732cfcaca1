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
