"""The configuration goes with its Regions, parts and tags from the inventory to Parameter Store, and away again."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from emulator import Kind
from emulator.snapshot import configurations, snapshot
from harness import (
    ADMIN_ROLE,
    ADMIN_USER,
    NEEDS_AWS_CLI,
    PARAMETER,
    SERVER_ROLE,
    SERVER_USER,
    SSM_POLICY,
    UNREACHABLE,
    Controller,
    Play,
    assert_admin_user_closed,
    assert_complete_report,
    create_role,
)
from storing import Storing

HOME, AWAY, ONPREM = "eu-central-1", "us-east-1", "eu-west-1"
WEB = "AmazonCloudWatch-web"
METRICS = {"metrics": {"metrics_collected": {"mem": {"measurement": ["mem_used_percent"]}}}}
"""A configuration without anything to warn of."""


def files_of(count: int) -> dict[str, Any]:
    """A configuration of so many log files, each of some 2 kB."""
    files = [
        {"file_path": f"/var/log/{number}{'x' * 2000}", "log_group_name": f"group-{number}"} for number in range(count)
    ]
    return {"logs": {"logs_collected": {"files": {"collect_list": files}}}}


def test_each_configuration_lives_in_its_regions_until_the_teardown(controller: Controller) -> None:
    """The Regions of hosts come from a variable, from an inventory plug-in, or from the AWS configuration."""
    aws = controller.aws
    fleet = Storing(controller)
    fleet.add_instance("admin1", group="ec2_admin")
    fleet.add_instance("web1")
    from_plugin: dict[str, Any] = {"placement": {"region": AWAY}}  # as the inventory plugin amazon.aws.aws_ec2 sets it
    fleet.add_instance("web2", region=AWAY, **from_plugin)
    del fleet.groups["ec2_servers"]["web2"]["cwagent_region"], fleet.groups["ec2_admin"]["admin1"]["cwagent_region"]
    fleet.add_host("db1", cwagent_region=HOME)
    fleet.add_host("db2", cwagent_region=ONPREM)
    fleet.add_host("ops1", group="onprem_admin", cwagent_region=HOME)
    # The list is text, as in a survey, and the files are beside the inventory.
    controller.file("metrics.json", METRICS)
    controller.file("large.json", files_of(5))
    configs = (
        f"[{{name: {PARAMETER}, file: metrics.json, regions: [{HOME}]}}, "
        f"{{name: {PARAMETER}, file: large.json, regions: [{AWAY}, {ONPREM}]}}, {{name: {WEB}, file: metrics.json}}]"
    )
    aws.client("ssm", AWAY).put_parameter(Name="AmazonCloudWatch-theirs", Value="{}", Type="String")
    settings = controller.file("config", f"[default]\nregion = {HOME}\n")
    env = {"AWS_REGION": "", "AWS_DEFAULT_REGION": "", "AWS_CONFIG_FILE": str(settings)}
    tags = {"team": "operations", "cost-center": 4711}
    fleet.variables |= {"cwagent_configs": configs, "cwagent_onprem_users": "shared", "cwagent_split_config": True}
    fleet.variables["cwagent_parameter_tags"] = tags

    done, again = [fleet.play("site", env=env).assert_succeeded() for _ in range(2)]
    assert (again.changed_tasks, again.writes, again.report) == ([], [], ["Nothing to do."])
    for each in (done, again):
        problems = re.compile("WARNING|Warning|ERROR|ignoring|DEPRECAT")
        assert [line for line in each.output.splitlines() if problems.search(line)] == []
    account = snapshot(aws, HOME, AWAY, ONPREM)
    ids = fleet.instances
    assert account["associations"] == dict.fromkeys(ids.values(), SERVER_ROLE)
    assert {name: len(user["keys"]) for name, user in account["users"].items()} == {SERVER_USER: 1, ADMIN_USER: 1}
    parts = [PARAMETER, f"{PARAMETER}-2"]
    stored = {
        HOME: [PARAMETER, WEB],
        AWAY: [*parts, "AmazonCloudWatch-theirs", WEB],
        ONPREM: [*parts, WEB],
    }
    assert {region: sorted(found) for region, found in account["parameters"].items()} == stored
    assert account["parameters"][HOME] == {PARAMETER: METRICS, WEB: METRICS}
    storing = [call.principal.rpartition(":")[2] for call in done.calls if call.action == "PutParameter"]
    assert storing == [f"assumed-role/{ADMIN_ROLE}/{ids['admin1']}"] * 8
    assert done.associated.count(ADMIN_ROLE) == 1
    [window] = [each.result["window"] for each in done.results if each.result.get("window", {}).get("parameters")]
    assert len(window["parameters"]) == 8
    order = f"Servers in {AWAY} fetch {parts[0]}, then append {parts[1]}, in this order."
    assert order in " ".join(done.report)
    tagged = f"- tag parameter '{WEB}' with team, cost-center"
    assert sum(line == tagged for line in done.report) == 3
    found = aws.client("ssm", ONPREM).list_tags_for_resource(ResourceType="Parameter", ResourceId=parts[1])["TagList"]
    assert {tag["Key"]: tag["Value"] for tag in found} == {"team": "operations", "cost-center": "4711"}
    assert_complete_report(done)

    fleet.play("teardown", env=env, cwagent_confirm="teardown").assert_succeeded()
    left = {HOME: {}, AWAY: {"AmazonCloudWatch-theirs": {}}, ONPREM: {}}
    assert {region: configurations(aws, region) for region in left} == left


def everything_shown(play: Play) -> str:
    return play.output + json.dumps([each.result for each in play.results])


def test_an_on_premises_host_stores_in_the_run_that_creates_its_key(controller: Controller) -> None:
    """Ansible looks for the host's Python itself, and warns of the one that it finds."""
    fleet = Storing(controller)
    fleet.add_host("ops1", group="onprem_admin", ansible_python_interpreter="auto")
    fleet.configure(METRICS)
    fleet.variables["cwagent_store_config_from"] = "onprem"
    predicted = fleet.play("site", "--check", "--diff").assert_succeeded()
    assert predicted.writes == []
    done = fleet.play("site", "--diff", "-vvvv").assert_succeeded()
    assert predicted.outcomes == done.outcomes
    assert "discovered Python interpreter" in done.words
    assert_complete_report(done)
    assert configurations(controller.aws) == {PARAMETER: METRICS}
    [stored] = [call for call in done.calls if call.action == "PutParameter"]
    assert stored.principal.endswith(f":user/{ADMIN_USER}")
    assert_admin_user_closed(controller.aws)
    saved = (controller.credentials / f"{ADMIN_USER}.credentials").read_text()
    assert saved.partition("aws_secret_access_key = ")[2].splitlines()[0] not in everything_shown(done)
    # A controller with on-premises servers only needs no permissions for roles and instances.
    calls = [call for play in (predicted, done) for call in play.calls]
    assert [call for call in calls if "Role" in call.action or call.service == "ec2"] == []


def test_a_file_that_changes_while_roles_are_managed_is_stored_by_the_next_run(controller: Controller) -> None:
    """The content that was validated is the content that is stored, and no result of a task has it."""
    fleet = Storing(controller)
    fleet.add_instance("admin1", group="ec2_admin")
    fleet.configure(METRICS)
    with ThreadPoolExecutor(1) as background:
        with fleet.blocked_at("CreateRole", Kind.THROTTLE):
            running = background.submit(fleet.play, "site", "-vvv")
            fleet.wait_for_calls("CreateRole")
            fleet.configure(files_of(1))
        failed = running.result().assert_failed()
    changed = "/agent.json has changed since it was validated in this run. Run again. Nothing was stored."
    assert failed.message.endswith(changed)
    assert not {"PutParameter", "CreateTags", "ReplaceIamInstanceProfileAssociation"} & {*failed.writes}
    assert "mem_used_percent" not in everything_shown(failed)
    fleet.play("site").assert_succeeded()
    assert configurations(controller.aws) == {PARAMETER: files_of(1)}
    fleet.assert_clean()


@NEEDS_AWS_CLI
def test_an_instance_that_ansible_cannot_reach_stores_by_run_command(controller: Controller) -> None:
    """Systems Manager reaches it from the beginning, by an application's profile."""
    create_role(controller.aws, "app", SSM_POLICY)
    fleet = Storing(controller)
    instance = fleet.add_instance("admin1", "app", group="ec2_admin", **UNREACHABLE)
    fleet.configure(METRICS)
    fleet.variables |= {"cwagent_store_config_from": "run_command", "cwagent_ssm_policy": SSM_POLICY}
    done = fleet.play("site", "--diff").assert_succeeded()
    assert_complete_report(done)
    [stored] = [call for call in done.calls if call.action == "PutParameter"]
    assert stored.principal.endswith(f":assumed-role/{ADMIN_ROLE}/{instance}")
    assert configurations(controller.aws) == {PARAMETER: METRICS}
    fleet.assert_clean()
