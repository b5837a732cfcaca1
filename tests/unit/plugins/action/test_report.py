"""The results of an audit are merged from what the role has registered on the hosts of the accounts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase
from task_variables import task_variables

from ansible_collections.cwagent.iam.plugins.action.cwagent_report import ActionModule
from ansible_collections.cwagent.iam.plugins.plugin_utils._audit_report import NOT_ASSUMED

FINDING = {"rule": "r", "severity": "notice", "object": "o", "account": "1", "why": "It is so.", "fix": "run x"}
READ = {
    "account": {"label": "shop", "id": "1", "read_at": "2026-11-25T09:30:00Z"},
    "principals": [],
    "grantors": [],
    "unread": [],
    "findings": [FINDING],
}
HOSTS: dict[str, dict[str, Any]] = {
    "shop": {"__audit_access": {**READ, "changed": False}},
    "blog": {"__audit_access": {"skipped": True}, "__audit_session": {"msg": "Denied."}},
    "new": {},
}


def run(monkeypatch: pytest.MonkeyPatch, **args: Any) -> dict[str, Any]:
    monkeypatch.setattr(ActionBase, "run", lambda *_: {})
    action = object.__new__(ActionModule)
    action._task = SimpleNamespace(args=args, action="cwagent.iam.cwagent_report")
    found: dict[str, Any] = action.run(None, task_variables(HOSTS, "shop"))
    return found


def test_the_results_of_the_hosts_are_merged_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    found = run(monkeypatch, audit_hosts=["blog", "shop"], fail_at="notice")
    blog = {"account": {"label": "blog"}, "error": f"{NOT_ASSUMED} Denied."}
    assert found["audit"]["accounts"] == [blog, READ]
    assert "Findings of severity notice or above: 1." in found["audit"]["failure"]
    counts = {"findings": {"notice": 1, "warning": 0, "error": 0}, "unread_accounts": 1}
    assert found["ansible_stats"] == {"data": {"cloudwatch_agent": counts}, "per_host": False, "aggregate": False}
    assert found["summary"][0] == "1 account read at 2026-11-25T09:30:00Z."
    assert not found["changed"]
    assert run(monkeypatch, audit_hosts=["shop"])["audit"]["failure"] == ""
    for failing, fails in (({"fail_at": "notice"}, True), ({}, False)):
        failed = run(monkeypatch, audit_hosts=["shop"], fail=True, **failing)
        assert (failed.get("failed", False), "audit" in failed) == (fails, False)
    assert run(monkeypatch, audit_hosts=[])["summary"] == ["No account was read."]


def test_hosts_whose_accounts_were_not_read_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AnsibleActionFail, match=r"^The role audit has not read the accounts of new, other\.$"):
        run(monkeypatch, audit_hosts=["shop", "new", "other"])


@pytest.mark.parametrize("failure", ["", "The task 'Do it' failed."])
def test_a_run_fails_with_its_message_alone(monkeypatch: pytest.MonkeyPatch, failure: str) -> None:
    found = run(monkeypatch, error=failure)
    assert found == {"changed": False, **({"failed": True, "msg": failure} if failure else {})}


@pytest.mark.parametrize(
    "given", [("lines", "error"), ("lines", "audit_hosts"), ("error", "audit_hosts"), ("lines", "error", "audit_hosts")]
)
def test_options_that_make_the_task_do_different_things_are_refused(
    monkeypatch: pytest.MonkeyPatch, given: tuple[str, ...]
) -> None:
    """Otherwise, the task would silently ignore a failure."""
    values = {"lines": ["a"], "error": "It failed.", "audit_hosts": ["shop"]}
    with pytest.raises(AnsibleError, match="mutually exclusive"):
        run(monkeypatch, **{name: values[name] for name in given})
