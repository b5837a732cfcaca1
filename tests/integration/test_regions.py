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
            inventory, "site", cwagent_key_store_directory=str(shared_controller.credentials), **variables
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


BY_REGION = [
    {"name": "AmazonCloudWatch-linux", "file": "linux.json", "regions": [HOME]},
    {"name": "AmazonCloudWatch-linux", "file": "windows.json", "regions": [AWAY, ONPREM]},
    {"name": "AmazonCloudWatch-web", "file": "windows.json"},
]
STORED_BY_REGION: dict[str, dict[str, Any]] = {
    HOME: {"AmazonCloudWatch-linux": LINUX, "AmazonCloudWatch-web": WINDOWS},
    AWAY: {"AmazonCloudWatch-linux": WINDOWS, "AmazonCloudWatch-web": WINDOWS},
    ONPREM: {"AmazonCloudWatch-linux": WINDOWS},  # no host is there
}


@pytest.mark.parametrize("source", ["instance", "onprem", "controller"])
def test_each_configuration_is_in_its_regions_only_and_teardown_deletes_it_there(
    controller: Controller, source: str
) -> None:
    aws = controller.aws
    [admin], [web] = aws.instances(1, region=HOME), aws.instances(1, region=AWAY)
    controller.file("linux.json", LINUX)
    controller.file("windows.json", WINDOWS)
    of_others = {"Name": "AmazonCloudWatch-web", "Value": "{}", "Type": "String"}
    aws.client("ssm", ONPREM).put_parameter(**of_others)
    hosts = {
        "ec2_admin": {"admin1": controller.instance_host(admin)},
        "ec2_servers": {"web1": {**controller.instance_host(web), "cwagent_region": AWAY}},
        **({"onprem_admin": {"ops1": {"ansible_become": False}}} if source == "onprem" else {}),
    }
    inventory = controller.inventory(hosts)

    def run(playbook: str, *arguments: str, **more: Any) -> Play:
        given: dict[str, Any] = {"cwagent_configs": BY_REGION, "cwagent_store_config_from": source}
        keys = str(controller.credentials)
        return controller.play(
            inventory, playbook, *arguments, cwagent_key_store_directory=keys, **given, **more
        ).assert_succeeded()

    done, again = run("site"), run("site")
    with_other = {**STORED_BY_REGION, ONPREM: {**STORED_BY_REGION[ONPREM], "AmazonCloudWatch-web": {}}}
    assert snapshot(aws, HOME, AWAY, ONPREM)["parameters"] == with_other
    assert (again.changed_tasks, again.writes) == ([], [])
    window = [named for each in done.results for named in (each.result.get("window") or {}).get("parameters") or ()]
    expected = {(name, region) for region, names in STORED_BY_REGION.items() for name in names}
    assert {(each["name"], each["region"]) for each in window} == (expected if source != "controller" else set())
    read = {(call.params["Name"], call.region) for call in again.calls if call.action == "GetParameter"}
    assert {each for each in read if each[0].startswith("AmazonCloudWatch-")} == expected

    run("teardown", cwagent_confirm="teardown")
    left = {HOME: {}, AWAY: {}, ONPREM: {"AmazonCloudWatch-web": {}}}
    assert snapshot(aws, HOME, AWAY, ONPREM)["parameters"] == left


def test_configurations_that_would_overwrite_each_other_are_refused_by_region(controller: Controller) -> None:
    """The second part of a configuration has the name of another one, which is an error where both are."""
    logs = [{"file_path": f"/var/log/{number}", "log_group_name": "x" * 90} for number in range(70)]
    controller.file("large.json", {"logs": {"logs_collected": {"files": {"collect_list": logs}}}})
    controller.file("linux.json", LINUX)
    [admin] = controller.aws.instances(1, region=HOME)
    inventory = controller.inventory({"ec2_admin": {"admin1": controller.instance_host(admin)}})

    def run(region: str) -> Play:
        configs = [
            {"name": "AmazonCloudWatch-x", "file": "large.json"},
            {"name": "AmazonCloudWatch-x-2", "file": "linux.json", "regions": [region]},
        ]
        given: dict[str, Any] = {"cwagent_configs": configs, "cwagent_split_config": True}
        return controller.play(inventory, "site", "--check", **given)

    refused = run(HOME).assert_failed()
    assert f"More than one configuration would be stored in AmazonCloudWatch-x-2 in {HOME};" in refused.message
    assert refused.writes == []
    run(AWAY).assert_succeeded()


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
