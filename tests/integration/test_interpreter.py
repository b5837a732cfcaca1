"""A host whose Python Ansible looks for itself, which is the default: Ansible warns of what it has found."""

from __future__ import annotations

from typing import Any

import pytest
from harness import PARAMETER, Controller, assert_complete_report

WAYS: dict[str, dict[str, Any]] = {
    "instance": {"cwagent_store_config_from": "instance"},
    "on premises": {"cwagent_store_config_from": "onprem"},
}


@pytest.mark.parametrize("way", WAYS)
def test_a_warning_of_ansible_does_not_fail_the_task_that_stores(controller: Controller, way: str) -> None:
    [instance] = controller.aws.instances(1)
    groups: dict[str, dict[str, Any]] = {
        "ec2_admin": {"admin1": controller.instance_host(instance)},
        "onprem_admin": {"ops1": {}},
    }
    for hosts in groups.values():
        for host in hosts.values():
            host["ansible_python_interpreter"] = "auto"
    inventory = controller.inventory(groups)
    config = controller.file("agent.json", {"agent": {}})
    play = controller.play(inventory, "site", cwagent_config_file=str(config), **WAYS[way])
    assert "discovered Python interpreter" in play.words
    play.assert_succeeded()
    assert "PutParameter" in play.writes
    assert_complete_report(play)
    again = controller.play(inventory, "store_config", cwagent_config_file=str(config), **WAYS[way]).assert_succeeded()
    assert again.writes == []
    assert controller.aws.client("ssm").get_parameter(Name=PARAMETER)["Parameter"]["Version"] == 1
