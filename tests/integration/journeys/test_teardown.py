"""teardown.yml: must be confirmed, checks that the profiles are unused, and deletes only what site.yml created."""

from __future__ import annotations

import re
from typing import Any

from emulator.snapshot import snapshot
from harness import (
    ADMIN_ROLE,
    SERVER_ROLE,
    SERVER_USER,
    assert_complete_report,
    assert_no_writes,
    associate,
    disassociate,
    leave_restore_tag,
)
from in_process import run_module
from printed import assert_brief
from states import States, after_site, before_site

CONFIRMED: dict[str, Any] = {"cwagent_confirm": "teardown"}
OTHER = "AmazonCloudWatch-other"
USER, GONE = f"{SERVER_USER}-db1", f"{SERVER_USER}-gone"


def test_teardown_deletes_only_things_that_site_created(states: States) -> None:
    """A stopped instance was left with the admin profile by an interrupted run, and a person chose it for another one.

    Another parameter and a user of ours that no host has stay.
    """
    empty = states.begin(before_site).account()
    fleet = states.begin(after_site)
    aws = fleet.aws
    aws.client("ssm").put_parameter(Name=OTHER, Value='{"agent":{}}', Type="String")
    run_module(aws, "cwagent_iam_user", name=[GONE], access="server")
    others = snapshot(aws)["users"][GONE]
    chosen, interrupted = aws.instances(2, stopped=1)
    leave_restore_tag(aws, interrupted, SERVER_ROLE)
    for each in (chosen, interrupted):
        associate(aws, each, ADMIN_ROLE)

    # The interrupted run is cleaned up first.
    refused = fleet.play("teardown", **CONFIRMED).assert_failed()
    for instance, profile in ((chosen, ADMIN_ROLE), (interrupted, SERVER_ROLE)):
        where = f"Instance {instance} in {aws.region} is not in the inventory"
        assert f"{where} and has instance profile '{profile}'" in refused.message
        disassociate(aws, instance)
    replacement = ["DisassociateIamInstanceProfile", "AssociateIamInstanceProfile"]  # the instance is stopped
    assert refused.writes == [*replacement, "DeleteTags", "UntagRole"]
    aws.client("ec2").terminate_instances(InstanceIds=[chosen, interrupted])

    with assert_no_writes(aws):
        predicted = fleet.play("teardown", "--check", "--diff", **CONFIRMED).assert_succeeded()
    done = fleet.play("teardown", **CONFIRMED).assert_succeeded()
    assert_brief(predicted, "teardown, checked")
    assert_brief(done, "teardown")
    assert predicted.changed_tasks == done.changed_tasks
    summary = done.report[0]
    assert re.fullmatch(r"(\d+ updated, )?\d+ deleted:", summary)
    assert predicted.report == [re.sub(r"(updated|deleted)", r"would be \1", summary), *done.report[1:]]
    assert_complete_report(done)
    assert f"- delete role '{SERVER_ROLE}'" in done.report
    assert f"Users of this collection that no host of this inventory has: {GONE}." in " ".join(done.report)
    remains = " ".join(done.report)
    assert f"Configurations in {aws.region} that remain: {OTHER}." in remains
    assert f"aws ssm delete-parameters --region {aws.region} --names {OTHER}" in remains
    left: dict[str, Any] = {"users": {GONE: others}, "parameters": {aws.region: {OTHER: {"agent": {}}}}}
    assert fleet.account() == {**empty, **left}
    assert list(fleet.controller.credentials.iterdir()) == []
    file = fleet.key_file("db1")
    assert not file.exists()
    assert "credentials" not in file.with_name("common-config.toml").read_text()
    with assert_no_writes(aws):
        again = fleet.play("teardown", **CONFIRMED).assert_succeeded()
    assert (again.changed_tasks, again.report[0]) == ([], "Nothing to do.")


def test_with_the_credentials_of_another_account_no_access_key_is_lost(states: States) -> None:
    """The files on the controller and on the host are the only copies of the secret."""
    fleet = states.begin(after_site)
    fleet.remove("admin1", "web1", "web2")
    paths = (fleet.key_file("db1"), fleet.controller.credentials / f"{USER}.credentials")
    files = {path: path.read_text() for path in paths}
    fleet.aws.reset()
    for playbook, given in (
        ("teardown", CONFIRMED),
        ("remove_servers", {"cwagent_confirm": "remove_servers", "cwagent_remove_servers": ["db1"]}),
    ):
        with assert_no_writes(fleet.aws):
            refused = fleet.play(playbook, cwagent_store_config_from="controller", **given).assert_failed()
        assert f"has the access key of user '{USER}', and this account has no such user." in refused.message
        assert {path: path.read_text() for path in paths} == files
