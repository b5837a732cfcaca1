"""The results of an audit are merged from what the role has registered on the hosts of the accounts."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from task_variables import task_variables

from ansible_collections.cwagent.iam.plugins.action.cwagent_report import ActionModule

FINDING = {"rule": "r", "severity": "notice", "object": "o", "account": "1", "why": "It is so.", "fix": "run x"}
READ = {
    "account": {"label": "shop", "id": "1", "read_at": "2026-11-25T09:30:00Z"},
    "principals": [],
    "grantors": [],
    "unread": [],
    "findings": [FINDING],
}
HOSTS: dict[str, dict[str, Any]] = {
    "blog": {"__audit_access": {"failed": True, "msg": "Denied."}},
    "shop": {"__audit_access": {**READ, "changed": False}},
    "new": {},
}
OF_ROLE = SimpleNamespace(get_name=lambda: "cwagent.iam.audit")


class Copy:
    """The action of ``ansible.builtin.copy``, which cannot write some files. :param task: has its options."""

    def __init__(self, task: Any) -> None:
        self.args = task.args

    def run(self, task_vars: Any) -> dict[str, Any]:
        if self.args["dest"].startswith("/gone/"):
            return {"failed": True, "msg": "There is no folder /gone."}
        return {"changed": self.args["dest"] != "/same.json", "diff": {"after": self.args["content"]}}


def run(
    monkeypatch: pytest.MonkeyPatch,
    host: str = "shop",
    *,
    once: bool = False,
    role: Any = None,
    variables: dict[str, Any] | None = None,
    **args: Any,
) -> dict[str, Any]:
    monkeypatch.setattr(ActionBase, "run", lambda *_: {})
    action = object.__new__(ActionModule)
    task = SimpleNamespace(args=args, action="cwagent.iam.cwagent_report", run_once=once, _role=role)
    task.copy = lambda: SimpleNamespace(args=args)
    action._task = task
    action._templar = SimpleNamespace(template=lambda value: value)
    loader = SimpleNamespace(get=lambda _name, **given: Copy(given["task"]))
    action._shared_loader_obj = SimpleNamespace(action_loader=loader)
    action._connection = action._play_context = action._loader = None
    found: dict[str, Any] = action.run(None, task_variables(HOSTS, host, **(variables or {})))
    return found


def test_a_task_that_runs_once_reports_on_the_accounts_of_all_hosts_in_their_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = run(monkeypatch, audit="report", once=True)
    assert found["msg"][:2] == [
        "1 account read at 2026-11-25T09:30:00Z.",
        "! account blog was not read. The run fails with the reason.",
    ]
    counts = {"findings": {"notice": 1, "warning": 0, "error": 0}, "unread_accounts": 1}
    assert found["ansible_stats"] == {"data": {"cloudwatch_agent": counts}, "per_host": False, "aggregate": False}
    assert not found["changed"]
    [content] = run(monkeypatch, audit="files", once=True, report_files=["/a.json"])["diff"]
    accounts = json.loads(content["after"])["accounts"]
    assert accounts == [{"account": {"label": "blog"}, "error": "Denied."}, READ]


@pytest.mark.parametrize(
    ("host", "fail_at", "message"),
    [
        ("shop", "notice", "Findings of severity notice or above: 1. notice, r: o (shop): It is so."),
        ("shop", "warning", ""),
        ("shop", None, ""),
        ("blog", None, "Accounts that were not read: 1. Account blog was not read: Denied."),
    ],
)
def test_each_host_fails_for_its_own_account(
    monkeypatch: pytest.MonkeyPatch, host: str, fail_at: str | None, message: str
) -> None:
    given: dict[str, Any] = {"fail_at": fail_at} if fail_at else {}
    found = run(monkeypatch, host, audit="fail", **given)
    assert found == {"changed": False, **({"failed": True, "msg": message} if message else {})}


def test_a_run_without_results_says_what_it_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    groups = {"cwagent_accounts": ["shop", "blog"]}
    found = run(monkeypatch, "new", audit="report", variables={"groups": groups})
    assert found["failed"]
    assert found["msg"].startswith("Nothing was done: this run left out shop, blog or the task")


def test_every_file_that_can_be_written_is_written_privately(monkeypatch: pytest.MonkeyPatch) -> None:
    paths = ["/b.sarif", "/gone/a.json", "/a.html"]
    found = run(monkeypatch, audit="files", report_files=paths)
    assert found["files"] == ["/a.html", "/gone/a.json", "/b.sarif"]
    assert (found["changed"], found["failed"], len(found["diff"])) == (True, True, 2)
    assert found["msg"] == "Could not write /gone/a.json: There is no folder /gone."
    assert run(monkeypatch, audit="files", report_files=["/same.json"])["changed"] is False
    assert run(monkeypatch, audit="files")["skipped"]


def test_in_the_role_its_variables_and_the_settings_are_the_options(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is the default of the role, and the module has none."""
    for variables, fails in (
        ({}, False),
        ({"audit_fail_at": "notice"}, True),
        ({"cwagent_audit_fail_at": "notice"}, True),
        ({"cwagent_audit_fail_at": "notice", "audit_fail_at": "error"}, False),
    ):
        found = run(monkeypatch, audit="fail", role=OF_ROLE, variables=variables)
        assert found.get("failed", False) == fails, variables
    given = {"audit_report_files": ["/a.json"], "audit_parts": ["history"]}
    assert run(monkeypatch, audit="files", role=OF_ROLE, variables=given)["files"] == ["/a.json"]


@pytest.mark.parametrize("failure", ["", "The task 'Do it' failed."])
def test_a_run_fails_with_its_message_alone(monkeypatch: pytest.MonkeyPatch, failure: str) -> None:
    found = run(monkeypatch, error=failure)
    assert found == {"changed": False, **({"failed": True, "msg": failure} if failure else {})}


@pytest.mark.parametrize(
    "given", [("lines", "error"), ("lines", "audit"), ("error", "audit"), ("lines", "error", "audit")]
)
def test_options_that_make_the_task_do_different_things_are_refused(
    monkeypatch: pytest.MonkeyPatch, given: tuple[str, ...]
) -> None:
    """Otherwise, the task would silently ignore a failure."""
    values: dict[str, Any] = {"lines": ["a"], "error": "It failed.", "audit": "report"}
    with pytest.raises(AnsibleError, match="mutually exclusive"):
        run(monkeypatch, **{name: values[name] for name in given})
