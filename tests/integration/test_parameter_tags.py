"""The controller tags the parameters, and the admin principal only stores them."""

from __future__ import annotations

from typing import Any

import pytest
from emulator import Call, Emulator
from emulator.snapshot import configurations
from harness import PARAMETER, Controller, Play

TAGS = {"team": "operations", "cost-center": 4711, "shared": True}
SET = {"team": "operations", "cost-center": "4711", "shared": "true"}
CONFIG = {"agent": {"debug": False}}
TAG_ACTIONS = {"ListTagsForResource", "AddTagsToResource", "RemoveTagsFromResource"}


def tags_of(aws: Emulator) -> dict[str, str]:
    found = aws.client("ssm").list_tags_for_resource(ResourceType="Parameter", ResourceId=PARAMETER)["TagList"]
    return {tag["Key"]: tag["Value"] for tag in found}


def calls(play: Play, *actions: str) -> list[Call]:
    return [call for call in play.calls if call.action in actions]


class Storing:
    """An account in which a configuration is stored from one of the sources."""

    def __init__(self, controller: Controller, source: str) -> None:
        self.controller, self.aws, self.source = controller, controller.aws, source
        [admin] = self.aws.instances(1)
        groups: dict[str, dict[str, Any]] = {"ec2_admin": {"admin1": controller.instance_host(admin)}}
        if source == "onprem":
            groups = {"onprem_admin": {"ops1": {"ansible_become": False}}}
        self.inventory = controller.inventory(groups)
        self.config = controller.file("agent.json", CONFIG)

    def play(self, *arguments: str, **variables: Any) -> Play:
        given = {
            "cwagent_config_file": str(self.config),
            "cwagent_store_config_from": self.source,
            "cwagent_key_store_directory": str(self.controller.credentials),
            **variables,
        }
        return self.controller.play(self.inventory, "site", *arguments, **given).assert_succeeded()


@pytest.mark.parametrize("source", ["instance", "onprem", "controller"])
def test_the_controller_tags_parameters_and_only_wanted_tags_are_read(controller: Controller, source: str) -> None:
    account = Storing(controller, source)
    aws = account.aws
    predicted = account.play("--check", cwagent_parameter_tags=TAGS)
    assert predicted.writes == []
    done = account.play(cwagent_parameter_tags=TAGS)
    tagged = f"- tag parameter '{PARAMETER}' with team, cost-center, shared"
    assert (tagged in predicted.report, tagged in done.report) == (source != "controller",) * 2
    assert (configurations(aws), tags_of(aws)) == ({PARAMETER: CONFIG}, SET)
    controllers = {call.principal for call in calls(done, "GetParameter")}
    tagging = calls(done, *TAG_ACTIONS)
    assert {call.principal for call in tagging} <= controllers
    assert [call.principal for call in tagging if "Admin" in call.principal] == []
    # Where the controller stores itself, the parameter is created with its tags.
    assert len(calls(done, "AddTagsToResource")) == (source != "controller")

    again = account.play(cwagent_parameter_tags=TAGS)
    assert (again.changed_tasks, again.writes) == ([], [])
    assert len(calls(again, *TAG_ACTIONS)) == 1
    assert calls(account.play(), *TAG_ACTIONS) == []


def test_tags_alone_change_without_a_window_and_tags_of_others_stay(controller: Controller) -> None:
    account = Storing(controller, "instance")
    account.play()
    aws = account.aws
    theirs = [{"Key": "theirs", "Value": "x"}, {"Key": "team", "Value": "web"}]
    aws.client("ssm").add_tags_to_resource(ResourceType="Parameter", ResourceId=PARAMETER, Tags=theirs)
    predicted = account.play("--check", "--diff", cwagent_parameter_tags=TAGS)
    assert predicted.writes == []
    done = account.play("--diff", cwagent_parameter_tags=TAGS)
    assert predicted.changes == done.changes
    assert done.writes == ["AddTagsToResource"]
    assert tags_of(aws) == {**SET, "theirs": "x"}
    assert f"- tag parameter '{PARAMETER}' with team, cost-center, shared" in done.report
    assert '~ $.team: "web" -> "operations"' in done.output
    less = account.play(cwagent_parameter_tags={"team": "operations"})
    assert (less.changed_tasks, tags_of(aws)) == ([], {**SET, "theirs": "x"})
