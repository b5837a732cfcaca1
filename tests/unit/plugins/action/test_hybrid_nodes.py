"""A task of a playbook knows from the run which servers deregister themselves."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from input_runs import inputs_of
from task_variables import task_variables

from ansible_collections.cwagent.iam.plugins.action.cwagent_hybrid_nodes import ActionModule
from ansible_collections.cwagent.iam.plugins.plugin_utils._connections.aws_action import AwsAction

INPUTS = {**inputs_of(), "delivery_hosts": ["db"], "hybrid_role_name": "Hybrid", "requires": ["confirmation"]}
OF_RUN = {"reached_hosts": ["db"], "keep_nodes": [], "planned": [], "role": "Hybrid"}


@pytest.mark.parametrize(
    ("args", "inputs", "added"),
    [
        ({}, INPUTS, OF_RUN),
        ({"deregister": False}, INPUTS, {**OF_RUN, "role": ""}),
        ({"reached_hosts": [], "role": "Other"}, INPUTS, {"keep_nodes": [], "planned": []}),
        ({}, {"skipped": True}, {}),
        ({}, {}, {}),
    ],
)
def test_a_playbook_adds_what_its_run_knows(
    args: dict[str, Any], inputs: dict[str, Any], added: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AwsAction, "fill_options", lambda *_: "")
    action = object.__new__(ActionModule)
    action._task = SimpleNamespace(args=args)
    hosts = {"localhost": {"__cwagent": inputs} if inputs else {}, "db": {"__cwagent_reached": {"rc": 0}}}
    assert action.fill_options(task_variables(hosts)) == ""
    assert action._task.args == {**args, **added}
    action._task = SimpleNamespace(args=args)
    assert action.fill_options({}) == ""
    assert action._task.args == args
