"""A task of a playbook registers a server with the role that the run has managed in the account of the server."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from task_variables import task_variables

from ansible_collections.cwagent.iam.plugins.action.cwagent_hybrid_node import ActionModule
from ansible_collections.cwagent.iam.plugins.plugin_utils._connections.aws_action import AwsAction

MANAGED: dict[str, Any] = {"changed": True, "role": {"name": "Hybrid", "path": "/monitoring/"}}
NOT_MANAGED = "The server keeps the credentials that it has, because the role Hybrid was not managed."
ARGS = {"role": "Hybrid", "state": "registered"}
LEAVES = {"role": "Hybrid", "state": "deregistered"}
PLAIN = {"role": "Hybrid"}


@pytest.mark.parametrize(
    ("args", "result", "problem", "added"),
    [
        (ARGS, MANAGED, "", {"role": "monitoring/Hybrid", "planned": [MANAGED]}),
        (ARGS, {"skipped": True}, "", {**PLAIN, "planned": [{"skipped": True}]}),
        (ARGS, {"failed": True, "msg": "Denied."}, NOT_MANAGED, {}),
        (ARGS, None, NOT_MANAGED, {}),
        (LEAVES, None, "", {**PLAIN, "planned": [{"failed": True}]}),
    ],
)
def test_a_server_gets_the_role_of_its_account(
    args: dict[str, Any], result: Any, problem: str, added: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AwsAction, "fill_options", lambda *_: "")
    action = object.__new__(ActionModule)
    action._task = SimpleNamespace(args=args)
    action._templar = SimpleNamespace(template=lambda text: text.replace("{{ a }}", "blog"))
    hosts = {"shop": {}, "blog": {"__hybrid_server_role_result": result} if result else {}, "db": {}}
    groups = {"cwagent_accounts": ["shop", "blog"]}
    variables = task_variables(hosts, "db", groups, __cwagent_run="{{ x }}", cwagent_account="{{ a }}")
    assert action.fill_options(variables) == problem
    assert action._task.args == {**args, **added}


@pytest.mark.parametrize("problem", ["", "db: a fact sets cwagent_region."])
def test_another_playbook_gives_the_role_itself(problem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AwsAction, "fill_options", lambda *_: problem)
    action = object.__new__(ActionModule)
    action._task = SimpleNamespace(args=ARGS)
    action._templar = SimpleNamespace(template=str)
    hosts: dict[str, dict[str, Any]] = {"localhost": {}, "db": {}}
    assert action.fill_options(task_variables(hosts, "db")) == problem
    assert action.fill_options(task_variables(hosts, "db", __cwagent_run="")) == (problem or NOT_MANAGED)
    assert action._task.args == ARGS
