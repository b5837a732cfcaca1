"""A run of site.yml with nothing to do is one task that reads. What is to do is found, and nothing else is done."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from emulator import Emulator
from harness import (
    ADMIN_USER,
    PARAMETER,
    SERVER_ROLE,
    SERVER_USER,
    WINDOW_POLICY,
    Controller,
    Play,
    allow,
    leave_restore_tag,
)

CONFIG = {"agent": {"metrics_collection_interval": 60}, "metrics": {"metrics_collected": {"mem": {}}}}
LOCAL_ACTIONS = {"cwagent.iam.cwagent_inputs", "cwagent.iam.cwagent_role_inputs", "cwagent.iam.cwagent_role_tasks"}
"""The collection's actions that run on the controller and call no AWS API."""
PREFLIGHT = "cwagent.iam.cwagent_preflight"
USER = f"{SERVER_USER}-db1"


@dataclass(frozen=True)
class Site:
    """An account as site.yml leaves it."""

    controller: Controller
    inventory: Path
    instance: str

    @property
    def aws(self) -> Emulator:
        return self.controller.aws

    @property
    def iam(self) -> Any:
        return self.aws.client("iam")

    def run(self, *arguments: str, **variables: Any) -> Play:
        paths: dict[str, Any] = {
            "cwagent_config_file": str(self.controller.home / "agent.json"),
            "cwagent_key_store_directory": str(self.controller.credentials),
        }
        return self.controller.play(self.inventory, "site", *arguments, **paths, **variables).assert_succeeded()


@pytest.fixture(scope="module")
def site(shared_controller: Controller) -> Site:
    [instance] = shared_controller.aws.instances(1)
    shared_controller.file("agent.json", CONFIG)
    inventory = shared_controller.inventory(
        {
            "ec2_admin": {"admin1": shared_controller.instance_host(instance)},
            "onprem_servers": {"db1": {}, "db2": {}},
            "onprem_admin": {"ops1": {}},
        }
    )
    found = Site(shared_controller, inventory, instance)
    found.run()
    return found


@pytest.fixture
def disturbed(site: Site) -> Iterator[Site]:
    """The account, which is as site.yml leaves it again after the test."""
    yield site
    site.run()


def modules_of(play: Play) -> list[str]:
    """The collection's modules that ran and can call AWS."""
    ran = [each.action for each in play.results if each.outcome != "skipped"]
    return [action for action in ran if action.startswith("cwagent.iam.") and action not in LOCAL_ACTIONS]


@pytest.mark.parametrize("arguments", [(), ("--check", "--diff")], ids=["run", "check mode"])
def test_one_task_reads_everything(site: Site, arguments: tuple[str, ...]) -> None:
    play = site.run(*arguments)
    assert modules_of(play) == [PREFLIGHT]
    assert play.report == ["Nothing to do."]
    assert play.changed_tasks == []
    assert sorted(call.action for call in play.calls) == [
        *("DescribeIamInstanceProfileAssociations", "DescribeTags", "GetAccountAuthorizationDetails"),
        *("GetInstanceProfile", "GetInstanceProfile", "GetParameter"),
        *("ListAccessKeys", "ListAccessKeys", "ListAccessKeys"),
    ]


def test_descriptions_take_a_call_each(site: Site) -> None:
    play = site.run(ec2_server_description="Lets EC2 instances run the CloudWatch agent")
    assert modules_of(play) == [PREFLIGHT]
    assert len(play.calls) == 10


def open_user_window(site: Site) -> None:
    policy = json.dumps(allow("ssm:GetParameter"))
    site.iam.put_user_policy(UserName=ADMIN_USER, PolicyName=WINDOW_POLICY, PolicyDocument=policy)


def activate_key(site: Site) -> None:
    [key] = site.iam.list_access_keys(UserName=ADMIN_USER)["AccessKeyMetadata"]
    site.iam.update_access_key(UserName=ADMIN_USER, AccessKeyId=key["AccessKeyId"], Status="Active")


def leave_tag(site: Site) -> None:
    leave_restore_tag(site.aws, site.instance, SERVER_ROLE)


def detach_user_policy(site: Site) -> None:
    [policy] = site.iam.list_attached_user_policies(UserName=USER)["AttachedPolicies"]
    site.iam.detach_user_policy(UserName=USER, PolicyArn=policy["PolicyArn"])


def lose_saved_key(site: Site) -> None:
    next(site.controller.credentials.glob(f"{USER}*")).unlink()


def change_configuration(site: Site) -> None:
    site.controller.file("agent.json", {**CONFIG, "agent": {"metrics_collection_interval": 30}})


RESTORE = ["cwagent_admin_window", "cwagent_admin_window", "cwagent_admin_instance"]
VALIDATE = ["cwagent_config_parameter", "cwagent_config_parameter"]
ROLES = ["cwagent_iam_role", "cwagent_instance_profile", "cwagent_iam_role"]
USERS = ["cwagent_iam_user", "cwagent_iam_user"]


@pytest.mark.parametrize(
    ("disturb", "modules", "steps"),
    [
        (open_user_window, [*RESTORE, *VALIDATE, *ROLES, *USERS], "close the admin window of user"),
        (activate_key, [*RESTORE, *VALIDATE, *ROLES, *USERS], "deactivate access key"),
        (leave_tag, [*RESTORE, *VALIDATE, *ROLES, *USERS], "remove the restore tag"),
        (detach_user_policy, [*VALIDATE, *USERS], "attach CloudWatchAgentServerPolicy"),
        (lose_saved_key, [*VALIDATE, *USERS], "create an access key"),
    ],
)
def test_a_part_with_something_to_do_and_those_after_it_are_done(
    disturbed: Site, disturb: Callable[[Site], None], modules: list[str], steps: str
) -> None:
    disturb(disturbed)
    play = disturbed.run()
    assert modules_of(play) == [PREFLIGHT, *(f"cwagent.iam.{module}" for module in modules)]
    assert steps in " ".join(play.report)


def test_a_configuration_that_differs_is_stored_and_no_role_is_read_again(disturbed: Site) -> None:
    change_configuration(disturbed)
    play = disturbed.run()
    assert not {f"cwagent.iam.{module}" for module in [*ROLES, *USERS]} & {*modules_of(play)} - {
        "cwagent.iam.cwagent_admin_instance"
    }
    value = disturbed.aws.client("ssm").get_parameter(Name=PARAMETER)["Parameter"]["Value"]
    assert json.loads(value)["agent"]["metrics_collection_interval"] == 30
    disturbed.controller.file("agent.json", CONFIG)


def test_what_is_doubtful_in_a_configuration_is_shown(site: Site) -> None:
    """On-premises servers need a region, which this configuration leaves to the profile."""
    [shown] = [each for each in site.run().results if each.task == "Show what is doubtful in the configurations"]
    assert "servers that are not on EC2 need a region" in " ".join(shown.result["msg"])


def test_variables_of_the_storing_host_are_compared(site: Site) -> None:
    """The tier is an option of the role store_config, for the host that stores."""
    assert modules_of(site.run(cwagent_parameter_tier="Advanced")) == [PREFLIGHT]
