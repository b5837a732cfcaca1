"""An inventory with several regions, several configurations, and one user for all on-premises servers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from emulator.snapshot import snapshot
from harness import (
    ADMIN_ROLE,
    ADMIN_USER,
    SERVER_ROLE,
    SERVER_USER,
    Controller,
    Play,
)

HOME, AWAY, ONPREM = "eu-central-1", "us-east-1", "eu-west-1"
LINUX, WINDOWS = {"agent": {"run_as_user": "cwagent"}}, {"agent": {"debug": False}}


@dataclass(frozen=True)
class Spread:
    controller: Controller
    instances: dict[str, str]
    done: Play
    again: Play


@pytest.fixture(scope="module")
def spread(shared_controller: Controller) -> Spread:
    aws = shared_controller.aws
    [admin, web1], [web2] = aws.instances(2, region=HOME), aws.instances(1, region=AWAY)
    shared_controller.file("linux.json", LINUX)
    shared_controller.file("windows.json", WINDOWS)
    from_plugin = shared_controller.instance_host(
        web2, placement={"region": AWAY}
    )  # as the inventory plugin amazon.aws.aws_ec2 sets it
    del from_plugin["cwagent_region"]
    inventory = shared_controller.inventory(
        {
            "ec2_servers": {"web1": shared_controller.instance_host(web1), "web2": from_plugin},
            "ec2_admin": {"admin1": shared_controller.instance_host(admin)},
            "onprem_servers": {"db1": {}, "db2": {"cwagent_region": ONPREM}},
            "onprem_admin": {"ops1": {}},
        }
    )

    def run() -> Play:
        # The list is text, as in a survey, and the files are beside the inventory.
        configs = (
            "[{name: AmazonCloudWatch-linux, file: linux.json}, {name: AmazonCloudWatch-windows, file: windows.json}]"
        )
        variables: dict[str, Any] = {"cwagent_configs": configs, "cwagent_onprem_users": "shared"}
        return shared_controller.play(
            inventory, "site", cwagent_credentials_dir=str(shared_controller.credentials), **variables
        ).assert_succeeded()

    return Spread(shared_controller, {"admin1": admin, "web1": web1, "web2": web2}, run(), run())


def test_every_instance_has_the_profile_in_its_region(spread: Spread) -> None:
    aws, ids = spread.controller.aws, spread.instances
    assert snapshot(aws, HOME)["associations"] == {ids["admin1"]: SERVER_ROLE, ids["web1"]: SERVER_ROLE}
    assert snapshot(aws, AWAY)["associations"] == {ids["web2"]: SERVER_ROLE}


def test_every_configuration_is_stored_in_every_region_with_servers(spread: Spread) -> None:
    both = {"AmazonCloudWatch-linux": LINUX, "AmazonCloudWatch-windows": WINDOWS}
    assert snapshot(spread.controller.aws, HOME, AWAY, ONPREM)["parameters"] == dict.fromkeys(
        (HOME, AWAY, ONPREM), both
    )


def test_the_admin_instance_stores_all_in_one_window(spread: Spread) -> None:
    stored = [call.principal.rpartition(":")[2] for call in spread.done.calls if call.action == "PutParameter"]
    assert stored == [f"assumed-role/{ADMIN_ROLE}/{spread.instances['admin1']}"] * 6
    assert spread.done.associated.count(ADMIN_ROLE) == 1


def test_on_premises_servers_share_one_user(spread: Spread) -> None:
    users = snapshot(spread.controller.aws)["users"]
    assert {name: len(user["keys"]) for name, user in users.items()} == {SERVER_USER: 1, ADMIN_USER: 1}


def test_a_second_run_changes_nothing(spread: Spread) -> None:
    assert spread.again.changed_tasks == []
    assert spread.again.writes == []


def test_a_host_without_a_region_is_in_the_default_region(controller: Controller) -> None:
    """boto3 finds the default region in a file, and another host sets its own region."""
    [here], [there] = controller.aws.instances(1, region=HOME), controller.aws.instances(1, region=AWAY)
    without_region = controller.instance_host(here)
    del without_region["cwagent_region"]
    away = {**controller.instance_host(there), "cwagent_region": AWAY}
    inventory = controller.inventory({"ec2_servers": {"away": away}, "ec2_admin": {"here": without_region}})
    settings = controller.file("config", f"[default]\nregion = {HOME}\n")
    env = {"AWS_REGION": "", "AWS_DEFAULT_REGION": "", "AWS_CONFIG_FILE": str(settings)}
    controller.play(inventory, "site", "--check", env=env).assert_succeeded()
