"""An inventory that spans regions, several configurations, one user shared by on-premises servers."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from harness import ADMIN_ROLE, ADMIN_USER, SERVER_ROLE, SERVER_USER, Play, Workplace, account

HOME, AWAY, ONPREM = "eu-central-1", "us-east-1", "eu-west-1"
LINUX, WINDOWS = {"agent": {"run_as_user": "cwagent"}}, {"agent": {"debug": False}}


@dataclass(frozen=True)
class Spread:
    at: Workplace
    instances: dict[str, str]
    done: Play
    again: Play


@pytest.fixture(scope="module")
def spread(shared: Workplace) -> Spread:
    aws = shared.aws
    [admin, web1], [web2] = aws.instances(2, region=HOME), aws.instances(1, region=AWAY)
    shared.file("linux.json", LINUX)
    shared.file("windows.json", WINDOWS)
    as_inventoried = shared.on_instance(web2, placement={"region": AWAY})  # as amazon.aws.aws_ec2 gives it
    del as_inventoried["cwagent_region"]
    inventory = shared.inventory(
        {
            "ec2_servers": {"web1": shared.on_instance(web1), "web2": as_inventoried},
            "ec2_admin": {"admin1": shared.on_instance(admin)},
            "onprem_servers": {"db1": {}, "db2": {"cwagent_region": ONPREM}},
            "onprem_admin": {"ops1": {}},
        }
    )

    def run() -> Play:
        # Files beside the inventory, the list as a survey's text gives it
        configs = (
            "[{name: AmazonCloudWatch-linux, file: linux.json}, {name: AmazonCloudWatch-windows, file: windows.json}]"
        )
        given = {"cwagent_configs": configs, "cwagent_onprem_users": "shared"}
        return shared.play(inventory, "site", cwagent_credentials_dir=str(shared.credentials), **given).succeeded()

    return Spread(shared, {"admin1": admin, "web1": web1, "web2": web2}, run(), run())


def test_every_instance_carries_the_profile_in_its_region(spread: Spread) -> None:
    aws, ids = spread.at.aws, spread.instances
    assert account(aws, HOME)["carried"] == {ids["admin1"]: SERVER_ROLE, ids["web1"]: SERVER_ROLE}
    assert account(aws, AWAY)["carried"] == {ids["web2"]: SERVER_ROLE}


def test_every_configuration_is_stored_where_there_are_servers(spread: Spread) -> None:
    both = {"AmazonCloudWatch-linux": LINUX, "AmazonCloudWatch-windows": WINDOWS}
    assert account(spread.at.aws, HOME, AWAY, ONPREM)["parameters"] == dict.fromkeys((HOME, AWAY, ONPREM), both)


def test_all_in_one_go_by_the_admin_instance(spread: Spread) -> None:
    stored = [call.principal.rpartition(":")[2] for call in spread.done.calls if call.action == "PutParameter"]
    assert stored == [f"assumed-role/{ADMIN_ROLE}/{spread.instances['admin1']}"] * 6
    assert spread.done.put_on.count(ADMIN_ROLE) == 1


def test_on_premises_servers_share_one_user(spread: Spread) -> None:
    users = account(spread.at.aws)["users"]
    assert {name: len(user["keys"]) for name, user in users.items()} == {SERVER_USER: 1, ADMIN_USER: 1}


def test_a_second_run_changes_nothing(spread: Spread) -> None:
    assert spread.again.changes == []
    assert spread.again.writes == []


def test_a_host_without_a_region_is_in_the_default_one(workplace: Workplace) -> None:
    """Which boto3 finds where it likes, while another host has a region of its own."""
    [here], [there] = workplace.aws.instances(1, region=HOME), workplace.aws.instances(1, region=AWAY)
    nowhere = workplace.on_instance(here)
    del nowhere["cwagent_region"]
    away = {**workplace.on_instance(there), "cwagent_region": AWAY}
    inventory = workplace.inventory({"ec2_servers": {"away": away}, "ec2_admin": {"here": nowhere}})
    settings = workplace.file("config", f"[default]\nregion = {HOME}\n")
    env = {"AWS_REGION": "", "AWS_DEFAULT_REGION": "", "AWS_CONFIG_FILE": str(settings)}
    workplace.play(inventory, "site", "--check", env=env).succeeded()
