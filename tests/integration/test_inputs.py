"""Where variables may be set, and how the default region is found; the number of calls of site.yml."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from emulator.snapshot import snapshot
from harness import (
    ADMIN_ROLE,
    ADMIN_USER,
    HERE,
    PARAMETER,
    SERVER_ROLE,
    SERVER_USER,
    Controller,
    Play,
)

from benchmarks import trace

CONFIG = {"agent": {"metrics_collection_interval": 60}}
GROUP_VARIABLES = {
    "cwagent_admin_role_name": "Monitoring-Admin",
    "cwagent_server_role_name": "Monitoring-Server",
    "cwagent_config_file": "agent.json",
    "cwagent_tags": {"team": "ops"},
}
# Without reads that wait after the last write of a task. In the task that stores, other writes follow these reads.
MOST_CALLS, MOST_CALLS_OF_A_SECOND_RUN = 59, 21
NO_REGION = {"AWS_REGION": "", "AWS_DEFAULT_REGION": ""}


@dataclass(frozen=True)
class Job:
    """Two runs of site.yml, with variables that are set for the group of the admin instance."""

    controller: Controller
    instance: str
    began: float
    done: Play
    again: Play

    @property
    def traced(self) -> Path:
        """Which task made which calls of the first run."""
        return self.controller.home / "traced.jsonl"


@pytest.fixture(scope="module")
def job(shared_controller: Controller) -> Job:
    [instance] = shared_controller.aws.instances(1)
    shared_controller.file("agent.json", CONFIG)
    (shared_controller.home / "group_vars").mkdir()
    shared_controller.file("group_vars/cwagent_ec2_admin.yml", GROUP_VARIABLES)
    inventory = shared_controller.inventory(
        {
            "ec2_servers": {"web1": shared_controller.instance_host(instance)},
            "ec2_admin": {"web1": {}},
            "onprem_servers": {"db1": {}, "db2": {}},
        }
    )

    def run(traced: str) -> Play:
        keys = str(shared_controller.credentials)
        env = {
            **trace.settings(shared_controller.home / traced),
            "ANSIBLE_CALLBACK_PLUGINS": f"{HERE / 'callback'}:{trace.CALLBACKS}",
            "ANSIBLE_CALLBACKS_ENABLED": "recorded,traced",
        }
        return shared_controller.play(inventory, "site", env=env, cwagent_key_store_directory=keys).assert_succeeded()

    began = time.time()
    return Job(shared_controller, instance, began, run("traced.jsonl"), run("again.jsonl"))


def test_variables_of_the_admin_instances_group_are_seen_everywhere(job: Job) -> None:
    after = snapshot(job.controller.aws)
    assert {name: role["tags"] for name, role in after["roles"].items()} == {
        "Monitoring-Admin": {"team": "ops", "cwagent:managed": "created"},
        "Monitoring-Server": {"team": "ops", "cwagent:managed": "created"},
    }
    assert {user["tags"]["team"] for user in after["users"].values()} == {"ops"}
    assert after["associations"] == {job.instance: "Monitoring-Server"}
    assert after["parameters"] == {job.controller.aws.region: {PARAMETER: CONFIG}}


def test_a_second_run_has_nothing_to_do(job: Job) -> None:
    assert (job.again.changed_tasks, job.again.writes, job.again.report) == ([], [], ["Nothing to do."])
    assert len(job.again.calls) <= MOST_CALLS_OF_A_SECOND_RUN


def test_a_run_from_nothing_makes_few_calls(job: Job) -> None:
    waits = sum(task.waits for task in trace.read(job.traced, job.done.calls, job.began))
    assert len(job.done.calls) - waits <= MOST_CALLS


def test_without_a_configuration_no_admin_instance_is_needed(controller: Controller) -> None:
    """The admin role exists all the same, so a configuration can be stored later without other permissions."""
    [instance] = controller.aws.instances(1)
    inventory = controller.inventory({"ec2_servers": {"web1": controller.instance_host(instance)}})
    before = snapshot(controller.aws)
    predicted = controller.play(inventory, "site", "--check").assert_succeeded()
    assert snapshot(controller.aws) == before
    done = controller.play(inventory, "site").assert_succeeded()
    assert predicted.changed_tasks == done.changed_tasks
    after = snapshot(controller.aws)
    assert after["roles"].keys() == {SERVER_ROLE, ADMIN_ROLE}
    assert after["associations"] == {instance: SERVER_ROLE}
    again = controller.play(inventory, "site").assert_succeeded()
    nothing_stored = "No configuration was given (cwagent_config_file or cwagent_configs), so nothing was stored."
    assert (again.changed_tasks, again.writes) == ([], [])
    assert nothing_stored in " ".join(again.report)
    controller.play(inventory, "teardown", cwagent_confirm="teardown").assert_succeeded()
    assert snapshot(controller.aws) == before


@pytest.fixture
def hosts(controller: Controller) -> dict[str, dict[str, Any]]:
    """An instance whose region the inventory plugin of amazon.aws has set, and an on-premises host without one."""
    [instance] = controller.aws.instances(1)
    server = controller.instance_host(instance, placement={"region": controller.aws.region})
    del server["cwagent_region"]
    return {"ec2_servers": {"web1": server}, "onprem_servers": {"db1": {}}, "onprem_admin": {"ops1": {}}}


def test_the_region_of_the_profile_is_the_one_of_the_instances(
    controller: Controller, hosts: dict[str, dict[str, Any]]
) -> None:
    """So the configuration is written once, and not for the default region too."""
    (controller.home / ".aws").mkdir()
    controller.file(".aws/config", f"[profile work]\nregion = {controller.aws.region}\n")
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    keys = "".join(f"{name.lower()} = {controller.aws.env()[name]}\n" for name in names)
    controller.file(".aws/credentials", f"[work]\n{keys}")
    files = {
        "AWS_CONFIG_FILE": str(controller.home / ".aws/config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(controller.home / ".aws/credentials"),
    }
    env = {**NO_REGION, **dict.fromkeys(names, ""), **files, "AWS_PROFILE": "work"}
    done = controller.play(
        controller.inventory(hosts),
        "site",
        env=env,
        cwagent_config_file=str(controller.file("agent.json", CONFIG)),
        cwagent_key_store_directory=str(controller.credentials),
        cwagent_store_config_from="controller",
    ).assert_succeeded()
    assert [call.params["Name"] for call in done.calls if call.action == "PutParameter"] == [PARAMETER]
    assert snapshot(controller.aws)["parameters"] == {controller.aws.region: {PARAMETER: CONFIG}}


def test_the_region_of_the_instances_serves_for_the_users(
    controller: Controller, hosts: dict[str, dict[str, Any]]
) -> None:
    """IAM is the same in all regions."""
    del hosts["ec2_servers"]["web1"]["cwagent_environment"]
    hosts["ec2_admin"] = {"web1": {}}
    keys = str(controller.credentials)
    done = controller.play(
        controller.inventory(hosts), "site", env=NO_REGION, cwagent_key_store_directory=keys
    ).assert_succeeded()
    after = snapshot(controller.aws)
    assert set(after["users"]) == {f"{SERVER_USER}-db1", ADMIN_USER}
    assert set(after["associations"].values()) == {SERVER_ROLE}
    assert "No configuration was given" in " ".join(done.report)
