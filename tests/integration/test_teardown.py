"""teardown.yml: must be confirmed, checks that the profiles are unused, and deletes only what site.yml created."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from emulator.snapshot import snapshot
from harness import (
    ADMIN_ROLE,
    PARAMETER,
    SERVER_POLICY,
    SERVER_ROLE,
    Controller,
    Play,
    assert_no_writes,
    associate,
    create_role,
    disassociate,
    leave_restore_tag,
)
from in_process import run_module

CONFIRMED = {"cwagent_confirm": "teardown"}


@dataclass(frozen=True)
class Provisioned:
    """An account after site.yml without a configuration, with an application that has the agent's permissions."""

    controller: Controller
    inventory: Path
    before: dict[str, Any]
    site: Play
    outside: str

    def teardown(self, *arguments: str, **variables: Any) -> Play:
        values: dict[str, Any] = {
            "cwagent_key_store_directory": str(self.controller.credentials),
            "cwagent_config_file": "agent.json",
        }
        return self.controller.play(self.inventory, "teardown", *arguments, **values, **variables)


@pytest.fixture(scope="module")
def provisioned(shared_controller: Controller) -> Provisioned:
    aws = shared_controller.aws
    admin, web1, web2, outside = aws.instances(4, stopped=1)
    create_role(aws, "shop", "AmazonS3ReadOnlyAccess")
    run_module(aws, "cwagent_iam_role", name="shop", access="server")
    associate(aws, web2, "shop")
    inventory = shared_controller.inventory(
        {
            "ec2_servers": {
                "web1": shared_controller.instance_host(web1),
                "web2": shared_controller.instance_host(web2),
            },
            "ec2_admin": {"admin1": shared_controller.instance_host(admin)},
            "onprem_servers": {"db1": {}},
            "onprem_admin": {"ops1": {}},
        }
    )
    before = snapshot(aws)
    site = shared_controller.play(
        inventory, "site", cwagent_key_store_directory=str(shared_controller.credentials)
    ).assert_succeeded()
    aws.client("ssm").put_parameter(Name=PARAMETER, Value='{"agent":{}}', Type="String")
    aws.client("ssm").put_parameter(Name="AmazonCloudWatch-other", Value='{"agent":{}}', Type="String")
    before["parameters"] = {aws.region: {"AmazonCloudWatch-other": {"agent": {}}}}
    return Provisioned(shared_controller, inventory, before, site, outside)


def test_without_a_configuration_the_admin_profile_is_never_associated(provisioned: Provisioned) -> None:
    assert provisioned.site.associated == [SERVER_ROLE, SERVER_ROLE]
    assert "PutParameter" not in provisioned.site.writes
    assert "No configuration was given (cwagent_config_file or cwagent_configs), so nothing was stored." in " ".join(
        provisioned.site.report
    )


def test_an_existing_profile_with_the_agents_policy_is_kept_without_a_warning(provisioned: Provisioned) -> None:
    assert "keeps instance profile" not in provisioned.site.words
    assert snapshot(provisioned.controller.aws)["roles"]["shop"] == provisioned.before["roles"]["shop"]
    assert SERVER_POLICY in provisioned.before["roles"]["shop"]["policies"]


@pytest.mark.parametrize("answer", ["", "remove_servers", "true"])
def test_teardown_must_be_confirmed(provisioned: Provisioned, answer: str) -> None:
    with assert_no_writes(provisioned.controller.aws):
        refused = provisioned.teardown(cwagent_confirm=answer).assert_failed()
    assert "To confirm, set cwagent_confirm to teardown." in refused.message


@pytest.mark.parametrize("profile", [SERVER_ROLE, ADMIN_ROLE])
def test_a_profile_on_an_instance_outside_the_inventory_is_an_error(provisioned: Provisioned, profile: str) -> None:
    """A person has associated it, so it is left."""
    associate(provisioned.controller.aws, provisioned.outside, profile)
    play = provisioned.teardown(**CONFIRMED).assert_failed()
    where = f"Instance {provisioned.outside} in {provisioned.controller.aws.region} is not in the inventory"
    assert f"{where} and has instance profile '{profile}'" in play.message
    assert play.writes == []
    disassociate(provisioned.controller.aws, provisioned.outside)


def test_an_instance_that_an_interrupted_run_left_is_restored_first(provisioned: Provisioned) -> None:
    leave_restore_tag(provisioned.controller.aws, provisioned.outside, SERVER_ROLE)
    associate(provisioned.controller.aws, provisioned.outside, ADMIN_ROLE)
    play = provisioned.teardown(**CONFIRMED).assert_failed()
    assert f"and has instance profile '{SERVER_ROLE}'" in play.message
    replacement = ["DisassociateIamInstanceProfile", "AssociateIamInstanceProfile"]  # the instance is stopped
    assert play.writes == [*replacement, "DeleteTags", "UntagRole"]
    disassociate(provisioned.controller.aws, provisioned.outside)


def test_teardown_deletes_only_things_that_site_created(provisioned: Provisioned) -> None:
    assert len(list(provisioned.controller.credentials.iterdir())) == 2
    with assert_no_writes(provisioned.controller.aws):
        predicted = provisioned.teardown("--check", "--diff", **CONFIRMED).assert_succeeded()
    done = provisioned.teardown(**CONFIRMED).assert_succeeded()
    assert predicted.changed_tasks == done.changed_tasks
    summary = done.report[0]
    assert re.fullmatch(r"(\d+ updated, )?\d+ deleted:", summary)
    assert predicted.report == [re.sub(r"(updated|deleted)", r"would be \1", summary), *done.report[1:]]
    assert f"- delete role '{SERVER_ROLE}'" in done.report
    assert snapshot(provisioned.controller.aws) == provisioned.before
    assert list(provisioned.controller.credentials.iterdir()) == []
    with assert_no_writes(provisioned.controller.aws):
        again = provisioned.teardown(**CONFIRMED).assert_succeeded()
    assert (again.changed_tasks, again.report) == ([], ["Nothing to do."])
