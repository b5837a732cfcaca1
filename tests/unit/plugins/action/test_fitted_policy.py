"""A teardown tells the task that deletes fitted policies which principals have lost them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from task_variables import task_variables

from ansible_collections.cwagent.iam.plugins.action.cwagent_fitted_policy import ActionModule
from ansible_collections.cwagent.iam.plugins.plugin_utils._connections.aws_action import AwsAction

LOST = {"detached": [{"kind": "role", "name": "R", "policy": "arn"}]}
REMOVED = {"__cwagent": {"requires": []}, "__onprem_server_result": LOST}


@pytest.mark.parametrize(
    ("args", "variables", "added"),
    [
        ({"state": "absent"}, REMOVED, {"planned": [LOST]}),
        ({"state": "absent", "planned": []}, REMOVED, {}),
        ({"state": "absent"}, {"__onprem_server_result": LOST}, {}),
        ({"state": "present"}, REMOVED, {}),
        ({}, REMOVED, {}),
    ],
)
def test_principals_that_are_removed_do_not_keep_a_policy(
    args: dict[str, Any], variables: dict[str, Any], added: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AwsAction, "fill_options", lambda *_: "")
    monkeypatch.setattr(AwsAction, "run", lambda self, *_: self._task.args)
    action = object.__new__(ActionModule)
    action._task = SimpleNamespace(args=args)
    assert action.run(None, task_variables({"localhost": variables})) == {**args, **added}
