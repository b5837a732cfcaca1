from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils._ground import call
from ansible_collections.cwagent.iam.plugins.module_utils._ground.call import Fleet, join_results, outcome
from ansible_collections.cwagent.iam.plugins.module_utils._ground.errors import CwagentError

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


COUNTS = {"create": 1, "update": 0, "delete": 2}


def result_of(name: str) -> dict[str, Any]:
    diff = {"before": "", "after": name}
    return {"changed": True, "steps": [name], "counts": COUNTS, "diff": diff, "warnings": ["w"], "items": [name]}


@given(st.lists(st.sampled_from("abc"), unique=True), st.sets(st.sampled_from("abc")))
def test_each_is_done_and_each_failure_is_reported(names: list[str], failing: set[str]) -> None:
    def converge(name: Any, check_mode: bool, wait: float | None) -> dict[str, Any]:
        assert (check_mode, wait) == (True, 5)
        if name in failing:
            raise CwagentError(
                f"No {name}.", changed=False, steps=[name], done=[], not_done=[name], failures={name: "No."}
            )
        return result_of(name)

    fleet = Fleet(check_mode=True, wait=5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(call, "converge", converge)
        resources: list[Any] = [*names]  # ``converge`` above takes names
        for each in resources:
            fleet.converge(each)
    failed, done = [name for name in names if name in failing], [name for name in names if name not in failing]
    if failed:
        with pytest.raises(CwagentError) as caught:
            fleet.result(["items"], of="all")
        assert str(caught.value) == " ".join(f"No {name}." for name in failed)
        found = caught.value.details
        assert (found["done"], found["not_done"], list(found["failures"])) == (done, failed, failed)
    else:
        found = fleet.result(["items"], of="all")
        assert "done" not in found
    assert (found["of"], found["steps"], found.get("items", [])) == ("all", names, done)
    assert found["changed"] == bool(done)
    assert found["counts"] == {kind: len(done) * count for kind, count in {**COUNTS, "update": 0}.items()}
    assert found["warnings"] == (["w"] if done else [])


def test_a_warning_is_in_the_result() -> None:
    fleet = Fleet(check_mode=False, wait=None)
    fleet.warn("Look.")
    found = fleet.result([])
    assert (found["changed"], found["steps"], found["warnings"]) == (False, [], ["Look."])


def test_only_changes_are_in_the_diff() -> None:
    results = [{"changed": changed, "diff": {"before": "a", "after": "b"}} for changed in (False, True)]
    assert join_results(results, [])["diff"] == [{"before": "a", "after": "b"}]


def test_only_the_named_keys_are_joined() -> None:
    results = [{"rotation": {"u": "due"}, "managed": True}, {"rotation": {"v": "current"}, "managed": False}]
    found = join_results(results, ["rotation"])
    assert found["rotation"] == {"u": "due", "v": "current"}
    assert "managed" not in found


def test_a_failure_that_several_have_is_reported_once() -> None:
    fleet = Fleet(check_mode=False, wait=None)
    fleet.errors += [CwagentError("No."), CwagentError("No."), CwagentError("Never.")]
    with pytest.raises(CwagentError, match=r"^No\. Never\.$"):
        fleet.result([])
