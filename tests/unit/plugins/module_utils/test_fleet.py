"""Several resources are brought to their desired states as one. A resource that fails does not stop the others."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.cwagent.iam.plugins.module_utils import _fleet
from ansible_collections.cwagent.iam.plugins.module_utils._errors import CwagentError
from ansible_collections.cwagent.iam.plugins.module_utils._fleet import Fleet, join_results

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
        patch.setattr(_fleet, "converge", converge)
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
