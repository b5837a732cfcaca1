"""A task of a playbook retires only users whose servers this run has seen with other credentials."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from input_runs import EU, inputs_of
from task_variables import task_variables

from ansible_collections.cwagent.iam.plugins.action.cwagent_iam_user import ActionModule
from ansible_collections.cwagent.iam.plugins.plugin_utils._connections.aws_action import AwsAction

INPUTS = {
    **inputs_of(),
    "hybrid_role_name": "Hybrid",
    "retired_users": {EU: ["agent"]},
    "onprem_hosts": {"db": {"user": "agent", "region": EU, "key_region": EU, "identity": "hybrid", "deliver": True}},
}
HELD = {"agent": "The limit leaves out db."}


@pytest.mark.parametrize(
    ("args", "inputs", "hold"),
    [
        ({"state": "retired"}, INPUTS, HELD),
        ({"state": "retired"}, {**INPUTS, "retired_users": {}}, {}),
        ({"state": "retired", "hold": {"other": "x"}}, INPUTS, {"other": "x"}),
        ({"state": "retired"}, None, None),
        ({"state": "retired"}, {"skipped": True}, None),
        ({"state": "absent"}, INPUTS, None),
        ({}, INPUTS, None),
    ],
)
def test_users_stay_until_their_servers_were_seen(
    args: dict[str, Any], inputs: dict[str, Any] | None, hold: dict[str, str] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AwsAction, "run", lambda self, *_: self._task.args)
    action = object.__new__(ActionModule)
    action._task = SimpleNamespace(args=args)
    hosts = {"localhost": {"__cwagent": inputs} if inputs else {}, "db": {}}
    assert action.run(None, task_variables(hosts)) == {**args, **({} if hold is None else {"hold": hold})}
    action._task = SimpleNamespace(args=args)
    assert action.run() == args
